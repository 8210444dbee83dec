"""SQL of taking over what lies in the bucket: tables, and what they hold of documents."""

from collections.abc import Sequence
from datetime import datetime

from s4.domains.indexing.models import document_index, index_tables
from s4.domains.indexing.queries.tables import files
from s4.engine.vectors import Sums
from s4.kernel.ids import DocumentId, GenerationId, Incarnation, TenantId
from s4.platform.database import Connection, newer, upsert


async def attach(
    connection: Connection,
    tenant_id: TenantId,
    generation: GenerationId,
    incarnation: Incarnation,
    *,
    version: int,
    sums: Sums,
    commits: int,
    now: datetime,
) -> None:
    """Names a table that the bucket had before the catalog, in place of what was named. The caller holds its lease.
    `commits`: as of so many since it was compacted."""
    values = {
        "tenant_id": tenant_id,
        "generation_id": generation,
        "lance_version": version,
        "commits_since_optimize": commits,
        "updated_at": now,
        "incarnation": incarnation,
        "files": files(sums),
    }
    identity = ["tenant_id", "generation_id"]
    moved = {name: value for name, value in values.items() if name not in identity}
    await connection.execute(upsert(connection, index_tables, values, conflict=identity, update=moved))


async def publish_all(
    connection: Connection,
    tenant_id: TenantId,
    generation: GenerationId,
    held: Sequence[tuple[DocumentId, int, int]],
) -> None:
    """Makes revisions searchable, never older ones than before. `held`: document, revision and chunks."""
    values = [
        {"tenant_id": tenant_id, "generation_id": generation, "document_id": document_id,
         "searchable_revision": revision, "chunks": chunks}
        for document_id, revision, chunks in held
    ]  # fmt: skip
    if values:
        key = ("tenant_id", "generation_id", "document_id")
        await connection.execute(newer(connection, document_index, conflict=key, by="searchable_revision"), values)
