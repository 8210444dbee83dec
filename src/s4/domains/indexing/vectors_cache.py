"""Vectors that were paid for once are not paid for again: they are kept in the bucket by embedding space and text.

Groups of chunks are stored as soon as they are embedded, so work that was cut off resumes after the last whole group.
What was answered and could not be stored yet (a later request of the same group failed, or the store did) waits in
memory for the next attempt. So a text is paid for twice only when its answer was lost: on the way, or with the process
that had not stored it; then it was one of the few groups in flight.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from weakref import WeakValueDictionary

import numpy as np
import structlog

from s4.domains.indexing.together import Together
from s4.engine.embedding.base import Embedder, Vectors
from s4.engine.embedding.groups import Group, decode_vectors, encode_vectors, groups
from s4.kernel import keys
from s4.kernel.errors import DataCorrupt, Unavailable
from s4.kernel.ids import TenantId
from s4.kernel.keys import ObjectKey
from s4.platform.faults import failpoint
from s4.platform.objects import ObjectMissing, ObjectStore
from s4.platform.telemetry import metrics

log = structlog.get_logger()

_PARALLEL = 4  # groups in flight: hides the provider's round trip without flooding it
_FINISH_SECONDS_MAX = 60.0  # for what is in flight when a sibling fails: a provider's slowest good answer
_ANSWERED_GROUPS_MAX = 64  # in memory: of some 32 chunks with 1,536 dimensions, 15 MB


@dataclass(slots=True)
class Tokens:
    """Of one document's chunks: those that the embedder was asked for, and those whose vectors were there."""

    paid: int = 0
    cached: int = 0


class VectorsCache:
    """An embedder with a memory per tenant."""

    def __init__(self, store: ObjectStore, embedder: Embedder) -> None:
        self._store = store
        self._embedder = embedder
        self._together = Together(embedder)
        self._turns: WeakValueDictionary[ObjectKey, asyncio.Lock] = WeakValueDictionary()
        self._answered: OrderedDict[ObjectKey, dict[str, Vectors]] = OrderedDict()
        """By group: rows that were paid for and are not stored yet, by text."""

    async def embed(self, tenant_id: TenantId, texts: Sequence[str], tokens: Tokens | None = None) -> Vectors:
        """One unit vector per text, in order: shape (n, dimension). When one group fails, those in flight are still
        waited for and stored, since they are paid for; no further one is begun. `tokens` are counted meanwhile."""
        gate = asyncio.Semaphore(_PARALLEL)
        parts = await asyncio.to_thread(groups, texts)  # hashes every text: half a second for the longest document
        failures: list[Exception] = []

        async def one(group: Group) -> Vectors | None:
            async with gate:
                if failures:
                    return None
                try:
                    return await self._group(tenant_id, group, texts[group.start : group.end], tokens or Tokens())
                except Exception as error:
                    failures.append(error)
                    raise

        tasks = [asyncio.create_task(one(group)) for group in parts]
        if not tasks:
            return np.empty((0, self._embedder.dimension), dtype=np.float32)
        try:
            _, in_flight = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
            if in_flight:
                await asyncio.wait(in_flight, timeout=_FINISH_SECONDS_MAX)
        finally:
            for task in tasks:
                task.cancel()
            made = await asyncio.gather(*tasks, return_exceptions=True)
        if failures:
            raise min(failures, key=_hope)
        return np.concatenate([rows for rows in made if isinstance(rows, np.ndarray)])

    async def unpaid_tokens(self, tenant_id: TenantId, texts: Sequence[str]) -> int:
        """How many tokens `embed` would have the embedder asked for: one request to the store per group."""
        gate = asyncio.Semaphore(_PARALLEL)

        async def one(group: Group) -> int:
            async with gate:
                try:
                    await self._store.head(keys.embedding_group(tenant_id, self._embedder.space, group.hash))
                    return 0
                except ObjectMissing:
                    return await self._count(list(dict.fromkeys(texts[group.start : group.end])))

        return sum(await asyncio.gather(*map(one, await asyncio.to_thread(groups, texts))))

    async def _group(self, tenant_id: TenantId, group: Group, texts: Sequence[str], tokens: Tokens) -> Vectors:
        key = keys.embedding_group(tenant_id, self._embedder.space, group.hash)
        # The same text in two documents at once: the second waits, and finds what the first has stored.
        turn = self._turns.setdefault(key, asyncio.Lock())
        async with turn:
            kept = await self._kept(key, len(texts))
            if kept is not None:
                metrics.EMBEDDING_CACHE.labels("hit").inc(len(texts))
                cached = await self._count(texts)  # added afterwards: other groups add theirs meanwhile
                tokens.cached += cached
                return kept
            metrics.EMBEDDING_CACHE.labels("miss").inc(len(texts))
            vectors = await self._ask(tenant_id, key, texts, tokens)
            failpoint("index.group_answered")
            data = encode_vectors(vectors)
            await self._store.put(key, data)
            metrics.EMBEDDING_CACHE_BYTES.labels("written").inc(len(data))
            self._answered.pop(key, None)
            failpoint("index.group_embedded")
            return vectors

    async def _kept(self, key: ObjectKey, count: int) -> Vectors | None:
        try:
            data = await self._store.get(key)
            metrics.EMBEDDING_CACHE_BYTES.labels("read").inc(len(data))
            return decode_vectors(data, count, self._embedder.dimension)
        except ObjectMissing:
            return None
        except DataCorrupt:
            log.warning("embedding_cache.corrupt", object_key=key)
            return None

    async def _count(self, texts: Sequence[str]) -> int:
        return await asyncio.to_thread(lambda: sum(map(self._embedder.count_tokens, texts)))

    async def _ask(self, tenant_id: TenantId, key: ObjectKey, texts: Sequence[str], tokens: Tokens) -> Vectors:
        """The group's vectors. Equal texts are asked for once, and what an earlier attempt was answered not again."""
        answered = self._answered.pop(key, {})
        missing = [text for text in dict.fromkeys(texts) if text not in answered]

        paid: list[str] = []

        def keep(part: Sequence[str], rows: Vectors) -> None:
            answered.update(zip(part, rows, strict=True))
            paid.extend(part)

        try:
            if missing:
                await self._together.embed(tenant_id, missing, keep)
        finally:
            asked = await self._count(paid)
            tokens.paid += asked
            if answered:
                self._answered[key] = answered
                while len(self._answered) > _ANSWERED_GROUPS_MAX:
                    self._answered.popitem(last=False)
        return np.stack([answered[text] for text in texts])


def _hope(error: Exception) -> int:
    """The least comes first: a verdict on the document, then a failure, then what was not even tried."""
    return 1 + error.untried if isinstance(error, Unavailable) else 0
