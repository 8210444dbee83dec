"""Vectors that were paid for are kept for the next time, but not without end.

The listing that `collect` makes anyway says how many bytes of them each tenant keeps. Of who keeps more than twice what
the chunks of its documents have, a job removes those that were written long ago, the oldest first, down to that. What
is removed is missed by nobody but who needs it again: that costs a call to the provider. So nothing goes while a
backup reads, while much of a tenant waits to be indexed (a catalog made anew needs all that there is), or where nothing
says how large a vector is.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

import structlog

from s4.domains.indexing import description_of, lying_in
from s4.domains.indexing import jobs as index_jobs
from s4.domains.indexing.queries import held
from s4.domains.maintenance.holds import any_stands
from s4.domains.maintenance.repairs import Table
from s4.kernel import keys
from s4.kernel.ids import GenerationId, TenantId
from s4.kernel.keys import KeyKind
from s4.platform.database import Connection, Database
from s4.platform.jobs import JobHandler, JobRun, Queue
from s4.platform.objects import ObjectInfo, ObjectStore
from s4.platform.telemetry import metrics

log = structlog.get_logger()

_TIMES = 2
"""Of the vectors that documents have: as much again for what was replaced and may come back."""
_BATCH = 1000  # of one request to the store; before each it is asked whether a backup reads
_VALUE_BYTES = 4  # of one dimension
_UNKNOWN_PART_MAX = 0.1  # of a tenant's documents: then nobody knows yet how many chunks it has


@dataclass(slots=True)
class Kept:
    """Bytes of one tenant's vectors; `old_bytes` of them may go."""

    size_bytes: int = 0
    old_bytes: int = 0


class Trimming:
    """Runs in workers. `kept_for`: what was written since then stays in any case."""

    def __init__(self, database: Database, store: ObjectStore, queue: Queue, *, kept_for: timedelta) -> None:
        self._database = database
        self._store = store
        self._queue = queue
        self._kept_for = kept_for
        self._dimensions: dict[GenerationId, int] = {}

    def handlers(self) -> dict[str, JobHandler]:
        return {index_jobs.TRIM: JobHandler(self.trim)}

    def count(self, objects: Iterable[ObjectInfo], kept: dict[TenantId, Kept], *, now: datetime) -> None:
        """Adds what is vectors of these to `kept`."""
        for info in objects:
            parsed = keys.parse(info.key)
            if parsed is not None and parsed.kind is KeyKind.EMBEDDING and parsed.tenant_id is not None:
                of = kept.setdefault(parsed.tenant_id, Kept())
                of.size_bytes += info.size
                of.old_bytes += info.size if self._is_old(info, now) else 0

    async def collect(self, kept: Mapping[TenantId, Kept], tables: Iterable[Table]) -> int:
        """Asks for those who keep too much, `tables` being what the listing found. Answers with their number."""
        lying: defaultdict[TenantId, set[GenerationId]] = defaultdict(set)
        for owner, generation, _ in tables:
            lying[owner].add(generation)
        asked = 0
        for tenant_id, of in sorted(kept.items()):
            if not of.old_bytes:
                continue
            bound = await self._bound(tenant_id, lying[tenant_id])
            if bound is not None and of.size_bytes > bound:
                await self._database.transact(partial(self._ask, tenant_id=tenant_id))
                asked += 1
        return asked

    async def _ask(self, connection: Connection, *, tenant_id: TenantId) -> None:
        await self._queue.enqueue(connection, index_jobs.trim(tenant_id))

    async def trim(self, run: JobRun) -> bool:
        """Goes on, the next time it is asked for, where it was interrupted."""
        tenant_id = TenantId(run.job.tenant_id)
        if (bound := await self._bound(tenant_id, await lying_in(self._store, tenant_id))) is None:
            return False
        async with self._database.read() as connection:
            now = await self._database.now(connection)
        lying = [info async for info in self._store.list(keys.embeddings(tenant_id))]
        doomed: list[ObjectInfo] = []
        left = sum(info.size for info in lying)
        for info in sorted(lying, key=lambda info: info.last_modified):
            if left <= bound or not self._is_old(info, now):
                break
            doomed.append(info)
            left -= info.size
        for start in range(0, len(doomed), _BATCH):
            async with self._database.read() as connection:
                if await any_stands(self._database, connection):
                    return False
            await self._remove(doomed[start : start + _BATCH])
        return False

    async def _remove(self, doomed: list[ObjectInfo]) -> None:
        await self._store.delete([info.key for info in doomed])
        size_bytes = sum(info.size for info in doomed)
        metrics.EMBEDDING_CACHE_BYTES.labels("removed").inc(size_bytes)
        log.info("embedding_cache.trimmed", count=len(doomed), size_bytes=size_bytes)

    def _is_old(self, info: ObjectInfo, now: datetime) -> bool:
        return now - info.last_modified > self._kept_for

    async def _bound(self, tenant_id: TenantId, lying: Collection[GenerationId]) -> int | None:
        """Bytes that the tenant may keep for long, whose tables are of these generations; None: nobody can tell now."""
        dimensions = {each: await self._dimension(tenant_id, each) for each in lying}
        async with self._database.read() as connection:
            documents, unknown, has = await held.living(connection, tenant_id)
            if unknown > _UNKNOWN_PART_MAX * documents:
                return None
            size_bytes = 0
            for generation, dimension in dimensions.items():
                if dimension is None:
                    return None
                _, chunks = await held.contents(connection, tenant_id, generation)
                # What is archived, or of a table that is made anew, is not there now.
                size_bytes += max(chunks, has) * dimension * _VALUE_BYTES
        return _TIMES * size_bytes

    async def _dimension(self, tenant_id: TenantId, generation: GenerationId) -> int | None:
        """Of a generation's vectors, whoever's they are: looked up once."""
        if generation not in self._dimensions:
            described = await description_of(self._store, tenant_id, generation)
            if described is None:
                return None
            self._dimensions[generation] = int(described["dimension"])
        return self._dimensions[generation]
