"""Jobs that name no generation are done where their tenant is served."""

from collections.abc import Mapping

from s4.domains.documents import jobs as document_jobs
from s4.domains.indexing.queries import uses
from s4.domains.indexing.service import IndexingService
from s4.domains.tenants import queries as tenant_queries
from s4.kernel.errors import S4Error, Unavailable
from s4.kernel.ids import GenerationId, TenantId
from s4.platform.database import Connection, Database
from s4.platform.jobs import ClaimedJob, JobHandler, JobRun


class Dispatch:
    """Runs in workers. `own` serves tenants that were not moved, `others` those that were."""

    def __init__(
        self, database: Database, own: IndexingService, others: Mapping[GenerationId, IndexingService]
    ) -> None:
        self._database = database
        self._own = own
        self._others = others

    def handlers(self) -> dict[str, JobHandler]:
        handlers = {
            document_jobs.INDEX: JobHandler(self.index, self.on_failed),
            document_jobs.UNINDEX: JobHandler(self._own.unindex),  # which sees to the others
        }
        for service in (self._own, *self._others.values()):
            handlers |= service.handlers()
        return handlers

    async def index(self, run: JobRun) -> bool:
        """Raises `Unavailable` when no worker knows the model that serves the tenant."""
        async with self._database.read() as connection:
            served = await tenant_queries.served_generation(connection, TenantId(run.job.tenant_id))
        service = self._service(served)
        if service is not None:
            return await service.index(run)
        assert served is not None, "what is not moved is our own's"

        async def leave(connection: Connection) -> None:
            if served not in await uses.at_work(connection, await self._database.now(connection)):
                raise Unavailable(
                    f"The tenant is served from {served}, and no worker has a model of S4_INDEX_MODELS that makes it."
                )
            request = document_jobs.index(run.job.tenant_id, run.job.subject, into=served)
            await run.queue.enqueue(connection, request)
            await run.finish(connection)

        await self._database.transact(leave)
        return True

    async def on_failed(self, connection: Connection, job: ClaimedJob, error: S4Error) -> None:
        """As the service that tried."""
        served = await tenant_queries.served_generation(connection, TenantId(job.tenant_id))
        await (self._service(served) or self._own).on_failed(connection, job, error)

    def _service(self, served: GenerationId | None) -> IndexingService | None:
        return self._own if served in (None, self._own.generation_id) else self._others.get(served)
