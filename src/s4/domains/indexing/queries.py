"""All SQL on what is searchable."""

from datetime import datetime

import sqlalchemy as sa

from s4.domains.documents.models import documents
from s4.domains.documents.queries import rows
from s4.domains.indexing.models import document_index, index_tables
from s4.kernel.ids import DocumentId, GenerationId, TenantId
from s4.platform.database import Connection, upsert


async def table_version(connection: Connection, tenant_id: TenantId, generation: GenerationId) -> int | None:
    """The version that searches open; None when nothing was ever indexed."""
    found = await connection.execute(
        sa.select(index_tables.c.lance_version).where(
            index_tables.c.tenant_id == tenant_id, index_tables.c.generation_id == generation
        )
    )
    version: int | None = found.scalar_one_or_none()
    return version


async def has_table(connection: Connection, tenant_id: TenantId) -> bool:
    """Whether anything was ever indexed, in any generation."""
    found = await connection.execute(sa.select(sa.exists().where(index_tables.c.tenant_id == tenant_id)))
    return bool(found.scalar_one())


async def move_table(
    connection: Connection, tenant_id: TenantId, generation: GenerationId, *, version: int, now: datetime
) -> int:
    """Searches open `version` from this transaction on; never an older one than before. Answers with the number of
    commits since the table was compacted."""
    newest = sa.case((index_tables.c.lance_version > version, index_tables.c.lance_version), else_=sa.literal(version))
    moved = await connection.execute(
        upsert(
            connection,
            index_tables,
            {
                "tenant_id": tenant_id,
                "generation_id": generation,
                "lance_version": version,
                "commits_since_optimize": 1,
                "updated_at": now,
            },
            conflict=["tenant_id", "generation_id"],
            update={
                "lance_version": newest,
                "commits_since_optimize": index_tables.c.commits_since_optimize + 1,
                "updated_at": now,
            },
        ).returning(index_tables.c.commits_since_optimize)
    )
    return int(moved.scalar_one())


async def optimized(
    connection: Connection, tenant_id: TenantId, generation: GenerationId, *, version: int, now: datetime
) -> None:
    """After compaction: the compacted version holds the same rows."""
    await move_table(connection, tenant_id, generation, version=version, now=now)
    await connection.execute(
        sa.update(index_tables)
        .where(index_tables.c.tenant_id == tenant_id, index_tables.c.generation_id == generation)
        .values(commits_since_optimize=0)
    )


async def tables_to_optimize(
    connection: Connection, generation: GenerationId, *, commits_min: int, limit: int
) -> list[TenantId]:
    """Tenants whose tables have had at least so many commits since they were compacted."""
    rows = await connection.execute(
        sa.select(index_tables.c.tenant_id)
        .where(
            index_tables.c.generation_id == generation,
            index_tables.c.commits_since_optimize >= commits_min,
        )
        .order_by(index_tables.c.commits_since_optimize.desc())
        .limit(limit)
    )
    return [TenantId(text) for text in rows.scalars()]


async def searchable_revision(
    connection: Connection, tenant_id: TenantId, generation: GenerationId, document_id: DocumentId
) -> int:
    """0 when no revision of the document is in this generation."""
    found = await connection.execute(
        sa.select(document_index.c.searchable_revision).where(
            document_index.c.tenant_id == tenant_id,
            document_index.c.generation_id == generation,
            document_index.c.document_id == document_id,
        )
    )
    return found.scalar_one_or_none() or 0


async def floors(connection: Connection, tenant_id: TenantId, generation: GenerationId) -> dict[str, int]:
    """Document to the revision below which its rows are dead: the searchable one, or the one after its deletion."""
    searchable = sa.func.coalesce(document_index.c.searchable_revision, 0)
    deleted_up_to = documents.c.searchable_floor
    found = await connection.execute(
        sa.select(
            documents.c.document_id,
            sa.case((searchable > deleted_up_to, searchable), else_=deleted_up_to + 1).label("floor"),
        )
        .outerjoin(
            document_index,
            sa.and_(
                document_index.c.tenant_id == documents.c.tenant_id,
                document_index.c.document_id == documents.c.document_id,
                document_index.c.generation_id == generation,
            ),
        )
        .where(documents.c.tenant_id == tenant_id)
    )
    return {row.document_id: row.floor for row in found}


async def publish(
    connection: Connection,
    tenant_id: TenantId,
    generation: GenerationId,
    document_id: DocumentId,
    *,
    revision: int,
    chunks: int,
) -> None:
    """Makes a revision the searchable one; never an older one than before."""
    await connection.execute(
        upsert(
            connection,
            document_index,
            {
                "tenant_id": tenant_id,
                "generation_id": generation,
                "document_id": document_id,
                "searchable_revision": revision,
                "chunks": chunks,
            },
            conflict=["tenant_id", "generation_id", "document_id"],
            update={"searchable_revision": revision, "chunks": chunks},
        )
    )


async def withdraw(
    connection: Connection, tenant_id: TenantId, document_id: DocumentId, *, up_to_revision: int
) -> None:
    """Forgets what was searchable of a deleted document, in every generation."""
    await connection.execute(
        sa.delete(document_index).where(
            document_index.c.tenant_id == tenant_id,
            document_index.c.document_id == document_id,
            document_index.c.searchable_revision <= up_to_revision,
        )
    )


async def unindexed(
    connection: Connection, generation: GenerationId, *, limit: int
) -> list[tuple[TenantId, DocumentId]]:
    """Ready documents whose content this generation lacks and that no job is about to index."""
    lacking = await connection.execute(
        sa.select(documents.c.tenant_id, documents.c.document_id)
        .outerjoin(
            document_index,
            sa.and_(
                document_index.c.tenant_id == documents.c.tenant_id,
                document_index.c.document_id == documents.c.document_id,
                document_index.c.generation_id == generation,
            ),
        )
        .where(
            documents.c.state == "live",
            documents.c.status == "ready",
            sa.func.coalesce(document_index.c.searchable_revision, 0) < documents.c.content_revision,
            sa.not_(rows.awaits_indexing()),
        )
        .limit(limit)
    )
    return [(TenantId(row.tenant_id), DocumentId(row.document_id)) for row in lacking]
