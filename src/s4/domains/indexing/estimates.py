"""What it would take to build a tenant's index with another model, before anybody pays for it.

Some documents are cut as the model would have them, and the rest is reckoned by how many chunks they have now. One
group of them is embedded, to see how long that takes; its vectors are kept, so that it is paid for once.
"""

import asyncio
import time
from dataclasses import dataclass

from s4.domains import usage
from s4.domains.documents import texts
from s4.domains.documents.queries import rows as document_rows
from s4.domains.indexing.model import Model
from s4.domains.indexing.queries import held as queries
from s4.domains.indexing.service import IndexingLimits, cut
from s4.domains.indexing.vectors_cache import Tokens, VectorsCache
from s4.engine.chunking import Chunk
from s4.kernel.ids import DocumentId, TenantId
from s4.platform.database import Connection, Database
from s4.platform.objects import ObjectStore

_SAMPLED_MAX = 50  # documents: a text is a request to the store and some hundredths of a second
_TIMED_CHUNKS = 16


@dataclass(frozen=True, slots=True)
class Estimate:
    """`sampled`: of the documents, those that it was reckoned from; all of them make it exact. `unpaid_tokens`: without
    those whose vectors are kept. `seconds`: with one document at a time; None where nothing is left to pay."""

    documents: int
    sampled: int
    chunks: int
    tokens: int
    unpaid_tokens: int
    cost: float
    seconds: float | None


@dataclass(slots=True)
class _Sampled:
    chunks: list[Chunk]
    tokens: int
    unpaid_tokens: int
    chunks_now: int


class Estimator:
    """Stateless."""

    def __init__(self, database: Database, store: ObjectStore, *, chunks_max: int) -> None:
        self._database = database
        self._store = store
        self._chunks_max = chunks_max

    async def estimate(self, tenant_id: TenantId, model: Model) -> Estimate:
        """Raises `Unavailable` while the model's provider is."""
        await model.embedder.prepare()
        cache = VectorsCache(self._store, model.embedder)
        async with self._database.read() as connection:
            documents, chunks_now = await queries.ready(connection, tenant_id)
            drawn = await queries.sample(connection, tenant_id, limit=_SAMPLED_MAX)
        looked = [await self._look(tenant_id, document_id, model, cache) for document_id in drawn]
        sampled = [each for each in looked if each is not None]
        now = sum(each.chunks_now for each in sampled)
        times = chunks_now / now if now else 0.0
        unpaid = round(times * sum(each.unpaid_tokens for each in sampled))
        pace = await self._pace(tenant_id, sampled, cache)
        return Estimate(
            documents,
            len(sampled),
            round(times * sum(len(each.chunks) for each in sampled)),
            round(times * sum(each.tokens for each in sampled)),
            unpaid,
            model.cost(unpaid),
            unpaid / pace if pace else None,
        )

    async def _look(
        self, tenant_id: TenantId, document_id: DocumentId, model: Model, cache: VectorsCache
    ) -> _Sampled | None:
        """None for a document that went meanwhile, or whose text is not kept."""
        async with self._database.read() as connection:
            document = await document_rows.live(connection, tenant_id, document_id)
        text = await texts.load(self._store, document) if document is not None else None
        if document is None or text is None:
            return None
        limits = IndexingLimits(model.chunk_tokens_max, model.chunk_overlap_tokens, self._chunks_max)
        chunks = await asyncio.to_thread(cut, text, model.embedder, limits)
        embedded = [piece.embed_text for piece in chunks]
        tokens = await asyncio.to_thread(lambda: sum(map(model.embedder.count_tokens, embedded)))
        return _Sampled(chunks, tokens, await cache.unpaid_tokens(tenant_id, embedded), document.chunks or 0)

    async def _pace(self, tenant_id: TenantId, sampled: list[_Sampled], cache: VectorsCache) -> float | None:
        """Tokens a second."""
        unpaid = next((each.chunks for each in sampled if each.unpaid_tokens), None)
        if unpaid is None:
            return None
        tokens = Tokens()
        started = time.perf_counter()
        await cache.embed(tenant_id, [piece.embed_text for piece in unpaid[:_TIMED_CHUNKS]], tokens)
        seconds = time.perf_counter() - started

        async def meter(connection: Connection) -> None:
            now = await self._database.now(connection)
            await usage.add(connection, tenant_id, now, {"embedding_tokens_paid": tokens.paid})

        await self._database.transact(meter)
        return tokens.paid / seconds if tokens.paid else None
