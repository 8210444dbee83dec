"""Many documents at little cost: rows of the index and of the catalog, by the statements that a worker uses, without
bytes in the bucket and without jobs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import numpy as np
import sqlalchemy as sa

from s4.domains.documents.metadata import flatten
from s4.domains.documents.queries import rows as document_rows
from s4.domains.indexing.models import document_index
from s4.domains.indexing.queries import tables as index_queries
from s4.engine.vectors import ChunkRow, chunk_id, inspect
from s4.entrypoints.bootstrap import RANDOM
from s4.kernel.ids import FIRST_INCARNATION, DocumentId, new_document_id, new_version_id
from s4.platform.database import Connection
from tests.factories.house import House, Tenant

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
WORD = "shared"
"""Every chunk says this, and nothing else."""
SILENT = "silent"
_BATCH = 500
_NEAREST, _FARTHEST = 0.95, 0.05


@dataclass(frozen=True)
class Shelved:
    """`system` are the fields that filters know, as the catalog stores them."""

    document_id: DocumentId
    metadata: dict[str, Any]
    system: dict[str, Any] = field(default_factory=dict)


async def fill(
    house: House,
    tenant: Tenant,
    metadata: Sequence[Mapping[str, Any]],
    *,
    chunks: int = 1,
    is_mixed: bool = False,
    silent: int = 0,
    texts: Sequence[str] | None = None,
) -> list[Shelved]:
    """Documents with this metadata, the nearest to `WORD` first: each is a little farther than the one before; mixed,
    near and far chunks are in any of them. The first `silent` do not say `WORD`; with `texts` each says its own."""
    said = texts or [SILENT] * silent + [WORD] * (len(metadata) - silent)
    core = house.core
    tenant_id = tenant.context.tenant_id
    question = await core.embedder.embed_query(WORD)
    cosines = np.linspace(_NEAREST, _FARTHEST, len(metadata) * chunks)
    vectors = _around(question, np.random.default_rng(3).permutation(cosines) if is_mixed else cosines)
    shelved = [_shelved(number, dict(each)) for number, each in enumerate(metadata)]
    prefix = core.generation.prefix(tenant_id, FIRST_INCARNATION)
    writer = await core.vectors.writer(prefix, core.generation.dimension)
    try:
        await writer.apply(
            [
                ChunkRow(chunk_id(each.document_id, 1, ordinal), each.document_id, 1, ordinal,
                         said[number], vectors[number * chunks + ordinal],
                         None, 0, len(WORD), None)
                for number, each in enumerate(shelved)
                for ordinal in range(chunks)
            ]
        )  # fmt: skip
        done = await writer.optimize()
    finally:
        await writer.close()
    sums = (await inspect(core.store, prefix, done.version, {})).sums

    async def enter(connection: Connection, batch: Sequence[Shelved]) -> None:
        await document_rows.add_all(
            connection,
            [_row(tenant_id, each, chunks) for each in batch],
            {each.document_id: list(flatten(each.metadata)) for each in batch},
        )
        one = {"tenant_id": tenant_id, "generation_id": core.generation.id, "searchable_revision": 1, "chunks": chunks}
        await connection.execute(sa.insert(document_index), [one | {"document_id": d.document_id} for d in batch])
        await index_queries.move_table(
            connection, tenant_id, core.generation.id, FIRST_INCARNATION, version=done.version, sums=sums, now=EPOCH
        )

    for start in range(0, len(shelved), _BATCH):
        await core.database.transact(partial(enter, batch=shelved[start : start + _BATCH]))
    await core.database.analyze()
    return shelved


def _around(question: np.ndarray, cosines: np.ndarray) -> np.ndarray:
    """Unit vectors with these cosines to the question, and nothing else in common."""
    noise = np.random.default_rng(8).normal(size=(len(cosines), len(question)))
    noise -= np.outer(noise @ question, question)
    noise /= np.linalg.norm(noise, axis=1, keepdims=True)
    found: np.ndarray = cosines[:, None] * question + np.sqrt(1 - cosines**2)[:, None] * noise
    return found.astype(np.float32)


def _shelved(number: int, metadata: dict[str, Any]) -> Shelved:
    document_id = new_document_id(RANDOM)
    system = {
        "document_id": document_id,
        "key": f"shelf/{number % 100:02d}/{number}" if number % 10 else None,
        "filename": f"{number:05d}.{'txt' if number % 4 else 'md'}",
        "content_type": "text/plain" if number % 4 else "text/markdown",
        "size": number,
        "sha256": f"{number:064x}",
        "uploaded_at": EPOCH + timedelta(minutes=number),
        "updated_at": EPOCH + timedelta(hours=number),
    }
    return Shelved(document_id, metadata, system)


def _row(tenant_id: str, shelved: Shelved, chunks: int) -> dict[str, Any]:
    system = {name: value for name, value in shelved.system.items() if name != "size"}
    return system | {
        "size_bytes": shelved.system["size"],
        "tenant_id": tenant_id,
        "revision": 1,
        "state": "live",
        "version_id": new_version_id(RANDOM),
        "content_revision": 1,
        "searchable_floor": 0,
        "metadata": shelved.metadata,
        "status": "ready",
        "chunks": chunks,
        "indexed_at": EPOCH,
    }
