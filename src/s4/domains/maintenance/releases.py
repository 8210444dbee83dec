"""What a tenant has released of its index goes from the bucket: the table, and vectors that no other generation uses.

The job rides in the commit of the release. `collect` finds what a job that was lost left behind, or a writer that
overslept wrote since, of tenants whose heads say what they hold.
"""

from collections.abc import Collection
from functools import partial

import structlog

from s4.domains.indexing import Publisher, description_of, lying_in
from s4.domains.indexing import jobs as index_jobs
from s4.domains.indexing.queries import held
from s4.domains.maintenance.holds import any_stands
from s4.domains.maintenance.repairs import Table
from s4.engine.vectors import VectorStore
from s4.kernel import keys
from s4.kernel.errors import Unavailable
from s4.kernel.ids import GenerationId, TenantId
from s4.kernel.keys import ObjectPrefix
from s4.platform.database import Connection, Database
from s4.platform.jobs import JobHandler, JobRun, Queue
from s4.platform.objects import ObjectStore

log = structlog.get_logger()


class Releases:
    """Runs in workers."""

    def __init__(
        self, database: Database, store: ObjectStore, vectors: VectorStore, queue: Queue, publisher: Publisher
    ) -> None:
        self._database = database
        self._store = store
        self._vectors = vectors
        self._queue = queue
        self._publisher = publisher

    def handlers(self) -> dict[str, JobHandler]:
        return {index_jobs.DISCARD: JobHandler(self.discard)}

    async def discard(self, run: JobRun) -> bool:
        """Raises `Unavailable` while a backup reads what is there."""
        tenant_id, generation = TenantId(run.job.tenant_id), GenerationId(run.job.subject)
        async with self._publisher.exclusive(tenant_id, generation):  # nobody writes it meanwhile
            async with self._database.read() as connection:
                if generation in await held.of(connection, tenant_id):
                    return False  # it is built again
                if await any_stands(self._database, connection):
                    raise Unavailable("A backup reads the bucket; what was released goes when it is done.")
            count = await self._remove(tenant_id, generation)
        log.info("generation.discarded", tenant_id=tenant_id, generation=generation, count=count)
        return False

    async def collect(self, tables: Collection[Table]) -> int:
        """Asks that those of `tables` go which their tenants hold no more. Answers with their number."""
        count = 0
        for tenant_id in sorted({table[0] for table in tables}):
            async with self._database.read() as connection:
                holds = await held.of(connection, tenant_id)
            lying = {generation for each, generation, _ in tables if each == tenant_id}
            released = sorted(lying - holds.keys()) if holds else []
            if released:
                await self._database.transact(partial(self._ask, tenant_id=tenant_id, released=released))
            count += len(released)
        return count

    async def _ask(self, connection: Connection, tenant_id: TenantId, released: Collection[GenerationId]) -> None:
        await self._queue.enqueue(connection, *(index_jobs.discard(tenant_id, each) for each in released))

    async def _remove(self, tenant_id: TenantId, generation: GenerationId) -> int:
        """Answers with the number of objects. The description goes last: it says which vectors were the table's."""
        lying = await lying_in(self._store, tenant_id)
        spaces = {each: await self._space(tenant_id, each) for each in lying}
        space = spaces.pop(generation, None)
        count = 0
        for incarnation in lying.get(generation, []):
            prefix = keys.generation(tenant_id, generation, incarnation)
            count += await self._empty(keys.index_table(prefix))
            await self._vectors.forget(prefix)
        if space is not None and space not in spaces.values():
            count += await self._empty(keys.embedding_space(tenant_id, space))
        await self._store.delete([keys.generation_manifest(tenant_id, generation)])
        return count

    async def _empty(self, prefix: ObjectPrefix) -> int:
        doomed = [info.key async for info in self._store.list(prefix)]
        await self._store.delete(doomed)
        return len(doomed)

    async def _space(self, tenant_id: TenantId, generation: GenerationId) -> str | None:
        """Whose vectors it is made of; None where nothing says it."""
        described = await description_of(self._store, tenant_id, generation)
        return str(described["space"]) if described is not None else None
