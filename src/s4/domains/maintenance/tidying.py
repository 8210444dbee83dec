"""Keeps index tables short, and the space that they take bounded.

A table is tidied after so many commits, and once more when it has rested. What a commit superseded stays for a grace.
So whoever tidies asks that it be cleaned up when that is over, and whoever cleans up asks again while anything is left.
"""

from datetime import timedelta

import structlog

from s4.domains.indexing import Generation, Publisher
from s4.domains.indexing import jobs as index_jobs
from s4.domains.indexing.queries import tables as index_queries
from s4.domains.maintenance.holds import grace_of_versions
from s4.domains.maintenance.repairs import Repairs
from s4.engine.vectors import VectorStore, fragments_of, remove_superseded
from s4.kernel.ids import TenantId
from s4.platform.database import Connection, Database
from s4.platform.faults import failpoint
from s4.platform.jobs import JobHandler, JobRun, Queue, narrowed
from s4.platform.objects import ObjectStore

log = structlog.get_logger()

_CLEAN_AGAIN_MIN = timedelta(seconds=30)  # so that a short grace, or a store whose clock is ahead, makes nobody hurry


class Tidying:
    """One per process and generation."""

    def __init__(
        self,
        database: Database,
        store: ObjectStore,
        vectors: VectorStore,
        queue: Queue,
        publisher: Publisher,
        repairs: Repairs,
        generation: Generation,
        *,
        index_grace: timedelta,
    ) -> None:
        self._database = database
        self._store = store
        self._vectors = vectors
        self._queue = queue
        self._publisher = publisher
        self._repairs = repairs
        self._generation = generation
        self._index_grace = index_grace

    def handlers(self) -> dict[str, JobHandler]:
        return {
            narrowed(index_jobs.OPTIMIZE, self._generation.id): JobHandler(self.optimize),
            narrowed(index_jobs.CLEAN, self._generation.id): JobHandler(self.clean),
        }

    async def optimize(self, run: JobRun) -> bool:
        """Merges what is due of a tenant's table, and drops rows that the catalog does not vouch for."""
        tenant_id = TenantId(run.job.tenant_id)
        log.info("index.optimized", pruned=await self._optimize(tenant_id))
        if await self._clean(tenant_id):
            await self._database.transact(lambda connection: self._clean_later(connection, tenant_id))
        return False

    async def clean(self, run: JobRun) -> bool:
        """Removes what was superseded longer ago than any reader needs it."""
        tenant_id = TenantId(run.job.tenant_id)
        if not await self._clean(tenant_id):
            return False

        async def again(connection: Connection) -> None:
            await run.finish(connection)
            await self._clean_later(connection, tenant_id)

        await self._database.transact(again)
        return True

    async def _optimize(self, tenant_id: TenantId) -> int:
        """Answers with the number of (document, revision) pairs that were pruned."""
        async with self._publisher.exclusive(tenant_id) as lease:
            async with self._database.read() as connection:
                table = await index_queries.table_record(connection, tenant_id, self._generation.id)
                floors = await index_queries.floors(connection, tenant_id, self._generation.id)
                published = await index_queries.published(connection, tenant_id, self._generation.id)
            if table is None or table.state.version == 0:
                return 0
            incarnation, version = table.state.incarnation, table.state.version
            prefix = self._generation.prefix(tenant_id, incarnation)
            # Before bytes that have turned are written again as if they were right.
            sums = await self._publisher.inspected(tenant_id, incarnation, version, table.sums)
            reader = await self._vectors.reader(prefix, version)
            pairs = await reader.all_pairs() if reader is not None else {}
            # Only what no publication can need any more. What is not searchable yet may become so at any moment, for we
            # may have slept through our lease; and what a deletion never proved dead is not dead.
            dead = [pair for pair in pairs if pair[1] < floors.get(pair[0], 0)]
            lost = published.difference(pairs) if reader is not None else set()
            writer = await self._vectors.writer(prefix, self._generation.dimension)
            try:
                failpoint("optimize.planned")
                if dead:
                    await writer.prune(dead)
                failpoint("optimize.pruned")
                done = await writer.optimize(await fragments_of(self._store, prefix, await writer.latest()))
                failpoint("optimize.compacted")
            finally:
                await writer.close()
            sums = await self._publisher.inspected(tenant_id, incarnation, done.version, sums)

            async def publish(connection: Connection) -> None:
                await self._publisher.verify(connection, lease)
                now = await self._database.now(connection)
                await index_queries.optimized(
                    connection,
                    tenant_id,
                    self._generation.id,
                    incarnation,
                    version=done.version,
                    sums=sums,
                    now=now,
                )
                await index_queries.withdraw_lost(connection, tenant_id, self._generation.id, lost)

            await self._database.transact(publish)
            failpoint("optimize.published")
        if lost:
            await self._repairs.bring_back(tenant_id, lost)
        return len(dead)

    async def _clean(self, tenant_id: TenantId) -> bool:
        """Whether something had to stay that may go later. Needs no lease: what is removed, nobody writes or names any
        more."""
        async with self._database.read() as connection:
            now = await self._database.now(connection)
            table = await index_queries.table_record(connection, tenant_id, self._generation.id)
            grace = await grace_of_versions(self._database, connection, self._index_grace)
        if table is None or table.state.version == 0:
            return False
        removed = await remove_superseded(
            self._store,
            self._generation.prefix(tenant_id, table.state.incarnation),
            keep_version=table.state.version,
            grace=grace,
            now=now,
        )
        if removed.versions:
            log.info("index.cleaned", versions=removed.versions, size_bytes=removed.size_bytes)
        return removed.left > 0

    async def _clean_later(self, connection: Connection, tenant_id: TenantId) -> None:
        later = await self._database.now(connection) + max(self._index_grace, _CLEAN_AGAIN_MIN)
        await self._queue.enqueue(connection, index_jobs.clean(tenant_id, self._generation.id), not_before=later)
