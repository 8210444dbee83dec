"""What the publication of a change asks of the other generations that its tenant is in."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime

from s4.domains.documents import jobs as document_jobs
from s4.domains.indexing.queries import held as held_queries
from s4.domains.indexing.queries import tables as queries
from s4.domains.indexing.queries import uses
from s4.domains.tenants import Role
from s4.kernel.ids import DocumentId, GenerationId, TenantId
from s4.platform.database import Connection, Database
from s4.platform.jobs import ClaimedJob, Queue


@dataclass(frozen=True, slots=True)
class Place:
    """What a tenant has of this generation and of others. `others`: which it is to be found in as well, and whether a
    document is not ready before it is there."""

    is_held: bool
    is_served: bool
    others: dict[GenerationId, bool]


class Elsewhere:
    """One per publisher, of its generation."""

    def __init__(self, database: Database, queue: Queue, own: GenerationId) -> None:
        self._database = database
        self._queue = queue
        self._own = own

    async def place(self, connection: Connection, tenant_id: TenantId, now: datetime) -> Place:
        if held := await held_queries.kept_still(connection, tenant_id):
            used = await uses.at_work(connection, now)
            own = held.pop(self._own, None)
            others = {
                generation: each.is_awaited
                for generation, each in held.items()
                if each.holding.role is Role.SERVED or (generation in used and not each.is_stopped)
            }
            return Place(own is not None, own is not None and own.holding.role is Role.SERVED, others)
        others = await uses.at_work_everywhere(connection, now)
        others.pop(self._own, None)
        return Place(True, True, others)

    async def ask_to_remove(self, job: ClaimedJob) -> None:
        """As `remove`, in a transaction of its own."""

        async def ask(connection: Connection) -> None:
            place = await self.place(connection, TenantId(job.tenant_id), await self._database.now(connection))
            await self.remove(connection, job, place.others)

        await self._database.transact(ask)

    async def remove(self, connection: Connection, job: ClaimedJob, others: Collection[GenerationId]) -> None:
        """Asks that the deleted document of `job` leave the others."""
        if job.kind != document_jobs.UNINDEX:
            return  # asked for by whoever had the first job
        revision = int(job.payload["revision"])
        for other in others:
            request = document_jobs.unindex(job.tenant_id, job.subject, revision=revision, out_of=other)
            await self._queue.enqueue(connection, request)

    async def index(
        self,
        connection: Connection,
        tenant_id: TenantId,
        document_id: DocumentId,
        revision: int,
        others: Mapping[GenerationId, bool],
    ) -> bool:
        """Asks for what others lack of this revision. Whether a complete one is among them: the document is not ready
        before that has it."""
        awaited = False
        for other, complete in others.items():
            known = await queries.searchable_revision(connection, tenant_id, other, document_id)
            if known < revision:
                await self._queue.enqueue(connection, document_jobs.index(tenant_id, document_id, into=other))
                awaited = awaited or complete
        return awaited
