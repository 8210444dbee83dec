"""A made-up library of documents, and a quick way to have S4 hold it.

The text is drawn from a vocabulary with Zipf's distribution, as words of a language are; every document has a subject
with words of its own, so that queries have something to find. The rows go into the index by the same writer, and into
the catalog by the same statements, that a worker uses; left out is what does not matter to searching: bytes in the
bucket, extraction, one job per document.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from s4.domains.documents.queries import rows as document_rows
from s4.domains.indexing.queries import tables as index_queries
from s4.domains.tenants import NewTenant
from s4.engine.embedding.base import Embedder
from s4.engine.vectors import ChunkRow, TableWriter, chunk_id, inspect
from s4.entrypoints.bootstrap import RANDOM, Core
from s4.kernel.context import NOWHERE, AdminContext
from s4.kernel.ids import FIRST_INCARNATION, DocumentId, TenantId, new_document_id, new_version_id
from s4.platform.database import Connection
from s4.platform.http.routing import Credentials

CHUNKS_PER_DOCUMENT = 20
WORDS_PER_CHUNK = 120  # near the 256 tokens of a full chunk
VOCABULARY = 30_000
ZIPF_EXPONENT = 1.07  # as measured on large English texts
SUBJECTS = 400
WORDS_PER_SUBJECT = 30
SUBJECT_PART = 0.25  # of a chunk's words
BATCH_DOCUMENTS = 500  # 10,000 chunks per commit: a bulk load in large batches
_SYLLABLES = ("ba", "ce", "di", "fo", "gu", "ha", "je", "ki", "lo", "mu", "na", "pe", "qui", "ro", "su", "ta")


@dataclass(frozen=True, slots=True)
class Shelf:
    """A tenant that holds so many chunks, at the version that searches open."""

    tenant_id: TenantId
    api_key: str
    chunks: int
    version: int
    size_bytes: int


class Writer:
    """Makes text, and questions about what it wrote. The same seed makes the same."""

    def __init__(self, seed: int) -> None:
        self._random = np.random.default_rng(seed)
        self._words = np.array([_word(number) for number in range(VOCABULARY)])
        weights = 1.0 / np.arange(1, VOCABULARY + 1) ** ZIPF_EXPONENT
        self._cumulated = np.cumsum(weights / weights.sum())
        # Subjects are made of rarer words; the commonest thousand belong to everybody.
        self._subjects = self._random.integers(1_000, VOCABULARY, size=(SUBJECTS, WORDS_PER_SUBJECT))
        self._written: list[int] = []

    def document(self) -> list[str]:
        """The texts of its chunks."""
        self._written.append(int(self._random.integers(SUBJECTS)))
        subject = self._subjects[self._written[-1]]
        shape = (CHUNKS_PER_DOCUMENT, WORDS_PER_CHUNK)
        common = np.searchsorted(self._cumulated, self._random.random(shape))
        special = subject[self._random.integers(WORDS_PER_SUBJECT, size=shape)]
        chosen = np.where(self._random.random(shape) < SUBJECT_PART, special, np.minimum(common, VOCABULARY - 1))
        return [" ".join(self._words[row]) for row in chosen]

    def query(self) -> str:
        """Three words of a document's subject and one of the language."""
        subject = self._subjects[self._random.choice(self._written)]
        special = self._random.choice(subject, size=3, replace=False)
        common = np.searchsorted(self._cumulated, self._random.random(1))
        numbers: NDArray[np.int64] = np.minimum(np.concatenate([special, common]), VOCABULARY - 1)
        return " ".join(self._words[numbers])


def _word(number: int) -> str:
    """Another one for each number."""
    text = ""
    number += len(_SYLLABLES)
    while number:
        number, rest = divmod(number, len(_SYLLABLES))
        text += _SYLLABLES[rest]
    return text


async def admin_of(core: Core) -> AdminContext:
    """The administrator of the environment's key."""
    assert core.settings.admin_api_key is not None
    admin_key = core.settings.admin_api_key.get_secret_value()
    return await core.access.admin(Credentials(tenant_key=None, admin_key=admin_key, origin=NOWHERE))


async def fill(core: Core, writer: Writer, *, chunks: int, embedder: Embedder | None = None) -> Shelf:
    """A new tenant with so many chunks, indexed and compacted as maintenance leaves a table. `embedder`: a quicker one
    of as many dimensions."""
    embedder = embedder or core.embedder
    tenant, api_key = await core.tenants.create(
        await admin_of(core), NewTenant(f"{chunks} chunks", None, None, "local")
    )
    prefix = core.generation.prefix(tenant.tenant_id, FIRST_INCARNATION)
    table = await core.vectors.writer(prefix, core.generation.dimension)
    try:
        missing = chunks // CHUNKS_PER_DOCUMENT
        while missing:
            batch = min(missing, BATCH_DOCUMENTS)
            await _add(core, embedder, tenant.tenant_id, table, [writer.document() for _ in range(batch)])
            missing -= batch
        done = await table.optimize()
        stats = await table.stats()
    finally:
        await table.close()
    recorded = await inspect(core.store, prefix, done.version, {})

    async def publish(connection: Connection) -> None:
        now = await core.database.now(connection)
        await index_queries.optimized(
            connection,
            tenant.tenant_id,
            core.generation.id,
            FIRST_INCARNATION,
            version=done.version,
            sums=recorded.sums,
            now=now,
        )

    await core.database.transact(publish)
    return Shelf(tenant.tenant_id, api_key, done.rows, done.version, stats.size_bytes)


async def _add(
    core: Core, embedder: Embedder, tenant_id: TenantId, table: TableWriter, documents: list[list[str]]
) -> None:
    """One commit of the index, one transaction of the catalog."""
    ids = [new_document_id(RANDOM) for _ in documents]
    vectors = await embedder.embed_documents([text for texts in documents for text in texts])
    rows: list[ChunkRow] = []
    for document_id, texts in zip(ids, documents, strict=True):
        start = 0
        for ordinal, text in enumerate(texts):
            rows.append(
                ChunkRow(
                    chunk_id=chunk_id(document_id, 1, ordinal),
                    document_id=document_id,
                    revision=1,
                    ordinal=ordinal,
                    text=text,
                    vector=vectors[len(rows)],
                    page=1 + ordinal // 2,
                    char_start=start,
                    char_end=start + len(text),
                    heading=None,
                )
            )
            start += len(text) + 1
    version = await table.apply(rows)

    async def publish(connection: Connection) -> None:
        now = await core.database.now(connection)
        for document_id, texts in zip(ids, documents, strict=True):
            await document_rows.put(connection, _row(tenant_id, document_id, texts, now))
            await index_queries.publish(
                connection, tenant_id, core.generation.id, document_id, revision=1, chunks=len(texts)
            )
        await index_queries.move_table(
            connection, tenant_id, core.generation.id, FIRST_INCARNATION, version=version, sums={}, now=now
        )

    await core.database.transact(publish)


def _row(tenant_id: TenantId, document_id: DocumentId, texts: list[str], now: datetime) -> dict[str, Any]:
    return {
        "tenant_id": tenant_id,
        "document_id": document_id,
        "revision": 1,
        "state": "live",
        "key": None,
        "version_id": new_version_id(RANDOM),
        "content_revision": 1,
        "searchable_floor": 0,
        "filename": f"{document_id}.txt",
        "content_type": "text/plain",
        "size_bytes": sum(map(len, texts)),
        "sha256": "0" * 64,
        "metadata": {"category": "benchmark"},
        "uploaded_at": now,
        "updated_at": now,
        "status": "ready",
        "chunks": len(texts),
        "pages": len(texts) // 2,
        "indexed_at": now,
    }
