"""Vectors that were paid for once are not paid for again: they are kept in the bucket by embedding space and text.

Groups of chunks are stored as soon as they are embedded, so work that was cut off resumes after the last whole group.
"""

import asyncio
from collections.abc import Sequence

import numpy as np
import structlog

from s4.engine.embedding.base import Embedder, Vectors
from s4.engine.embedding.groups import Group, decode_vectors, encode_vectors, groups
from s4.kernel import keys
from s4.kernel.errors import DataCorrupt
from s4.kernel.ids import TenantId
from s4.platform.faults import failpoint
from s4.platform.objects import ObjectMissing, ObjectStore
from s4.platform.telemetry import metrics

log = structlog.get_logger()

_PARALLEL = 4  # groups in flight: hides the provider's round trip without flooding it


class VectorsCache:
    """An embedder with a memory per tenant."""

    def __init__(self, store: ObjectStore, embedder: Embedder) -> None:
        self._store = store
        self._embedder = embedder

    async def embed(self, tenant_id: TenantId, texts: Sequence[str]) -> Vectors:
        """One unit vector per text, in order: shape (n, dimension)."""
        gate = asyncio.Semaphore(_PARALLEL)

        async def one(group: Group) -> Vectors:
            async with gate:
                return await self._group(tenant_id, group, texts[group.start : group.end])

        try:
            async with asyncio.TaskGroup() as tasks:
                made = [tasks.create_task(one(group)) for group in groups(texts)]
        except ExceptionGroup as failed:
            raise failed.exceptions[0] from None  # whoever decides what an error means knows none in groups
        if not made:
            return np.empty((0, self._embedder.dimension), dtype=np.float32)
        return np.concatenate([task.result() for task in made])

    async def _group(self, tenant_id: TenantId, group: Group, texts: Sequence[str]) -> Vectors:
        key = keys.embedding_group(tenant_id, self._embedder.space, group.hash)
        try:
            kept = decode_vectors(await self._store.get(key), len(texts), self._embedder.dimension)
            metrics.EMBEDDING_CACHE.labels("hit").inc(len(texts))
            return kept
        except ObjectMissing:
            pass
        except DataCorrupt:
            log.warning("embedding_cache.corrupt", key=key)
        metrics.EMBEDDING_CACHE.labels("miss").inc(len(texts))
        vectors = await self._embedder.embed_documents(texts)
        failpoint("index.group_answered")
        await self._store.put(key, encode_vectors(vectors))
        failpoint("index.group_embedded")
        return vectors
