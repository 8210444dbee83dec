"""Generations side by side: two sets of processes over one catalog and bucket, each with its own way of indexing.

Every process says which generation it uses and whether it indexes, and is believed for a minute. A document is indexed
first by whoever claims its job; the publication then asks for a job of every other generation at work, which only its
workers claim. A generation that is new, or was out of use for a while, is *filled* beside what is served, and nobody
waits for it. Once it holds everything that is promised it is *complete*: from then on no document is ready before it is
there as well, so that both sets find the same, and one may take over from the other.

A process may also index into generations of other models *by tenant*: of those tenants only that were moved there
(`moves.py`). Such a tenant holds the generations that its head names and no others, whatever its neighbours do.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

import structlog

from s4.domains.documents import jobs as document_jobs
from s4.domains.documents.model import DocumentStatus
from s4.domains.documents.queries import rows as document_rows
from s4.domains.indexing.model import Models
from s4.domains.indexing.queries import held as held_queries
from s4.domains.indexing.queries import progress, uses
from s4.domains.indexing.queries import tables as queries
from s4.domains.tenants import Role
from s4.kernel.errors import Unavailable
from s4.kernel.ids import GenerationId, TenantId
from s4.platform.background import in_background
from s4.platform.database import Connection, Database
from s4.platform.jobs import JobRequest, Queue, RegularJob, broad

log = structlog.get_logger()

FILL = "indexing.fill"
_FILL_EVERY = timedelta(seconds=10)
_SEEN_EVERY = uses.USE_LASTS / 5  # two may fail before others doubt it
_JOBS_WAITING_MAX = 500  # of one generation that is filled: the next come when these are done
BUILD_JOBS_MAX = 64
"""Of what is built for a tenant: its new documents wait behind them."""


@dataclass(frozen=True, slots=True)
class Coverage:
    """How far a generation in use has come. `lacking`: documents that others find and it does not; `failed` of them
    were tried in vain."""

    generation: GenerationId
    complete: bool
    lacking: int
    failed: int


class Generations:
    """Who uses which, and what each has. `process` is a name of random characters."""

    def __init__(self, database: Database, queue: Queue, models: Models, *, process: str) -> None:
        self._database = database
        self._queue = queue
        self._models = models
        self._process = process

    def regular_jobs(self) -> list[RegularJob]:
        return [RegularJob(FILL, _FILL_EVERY, self.fill)]

    @contextlib.asynccontextmanager
    async def in_use(self, *, works: bool) -> AsyncIterator[None]:
        """This process uses its generation, for the length of the block; `works`: it also runs its jobs."""
        await self._say(works)
        try:
            async with in_background(self._keep_saying(works)):
                yield
        finally:
            with contextlib.suppress(Unavailable):  # then it is believed a minute longer
                await self._database.transact(lambda c: uses.leave(c, self._process, *self._by_tenant()))
                await self._go_on_without_the_gone()  # at once: an older release that comes next cannot do it

    async def _say(self, works: bool) -> None:
        async def say(connection: Connection) -> None:
            now = await self._database.now(connection)
            for name, generation in self._by_tenant().items():
                await uses.use(connection, name, generation, now, works=works, by_tenant=True)
            if (own := self._models.own_id) is not None:  # else nothing can be indexed with it
                await uses.use(connection, self._process, own, now, works=works)

        try:
            await self._database.transact(say)
        except Unavailable as error:
            log.debug("generation.use_unsaid", error=error.message)

    def _by_tenant(self) -> dict[str, GenerationId]:
        """Names of this process's other uses."""
        others = enumerate(self._models.others())
        return {f"{self._process}.{number}": model.generation.id for number, model in others}

    async def _keep_saying(self, works: bool) -> None:
        while True:
            await asyncio.sleep(_SEEN_EVERY.total_seconds())
            await self._say(works)

    # -- filling

    async def fill(self) -> None:
        """Asks for what each generation at work lacks, a part at a time, and notes which are complete. What waits for
        workers that are gone goes on without them."""
        used = await self._go_on_without_the_gone()
        for generation, complete in used.items():
            if complete or await self._database.transact(partial(self._ask, generation=generation)):
                continue
            if await self._database.transact(partial(queries.completed, generation=generation)):
                log.info("generation.completed", generation=generation)
        for tenant_id, built in await self._database.transact(self._built):
            await self.build(tenant_id, built)

    async def build(self, tenant_id: TenantId, generation: GenerationId) -> None:
        """Asks for more of what is built for a tenant, if few documents are left to do of those that were asked for."""

        async with self._database.read() as connection:
            held = (await held_queries.of(connection, tenant_id)).get(generation)
            if held is None or held.is_stopped or held.holding.role is not Role.BUILDING:
                return
            limit = BUILD_JOBS_MAX - await held_queries.jobs_into(connection, generation, "ready", tenant_id)
        if limit > BUILD_JOBS_MAX * 3 // 4:
            await self._database.transact(
                lambda c: ask_for_absent(
                    c, self._queue, generation, limit=limit, with_failed=False, tenant_id=tenant_id
                )
            )

    async def _built(self, connection: Connection) -> list[tuple[TenantId, GenerationId]]:
        used = await uses.at_work(connection, await self._database.now(connection))
        return await held_queries.being_built(connection, used)

    async def _go_on_without_the_gone(self) -> dict[GenerationId, bool]:
        """Answers with the generations at work for every tenant, and whether each is complete."""
        used, abandoned = await self._database.transact(self._abandon)
        for job in abandoned:
            if broad(job.kind) == document_jobs.INDEX:
                await self._database.transact(partial(self._go_on, job=job))
        return used

    async def _abandon(self, connection: Connection) -> tuple[dict[GenerationId, bool], list[JobRequest]]:
        now = await self._database.now(connection)
        used = await uses.at_work(connection, now)
        await uses.forget_silent(connection, now)
        abandoned = await self._queue.abandon(connection, but_for=used)
        return await uses.at_work_everywhere(connection, now), abandoned

    async def _go_on(self, connection: Connection, job: JobRequest) -> None:
        """A document that was not ready because a generation lacked it that is gone now."""
        row = await document_rows.lock(connection, job.tenant_id, job.subject)
        if row is not None and row.state == "live" and row.status == DocumentStatus.PROCESSING:
            await self._queue.enqueue(connection, document_jobs.index(job.tenant_id, job.subject))

    async def _ask(self, connection: Connection, generation: GenerationId) -> bool:
        """Whether there is something to wait for."""
        waiting = await held_queries.jobs_into(connection, generation, "ready")
        if waiting >= _JOBS_WAITING_MAX // 2:
            return True
        limit = _JOBS_WAITING_MAX - waiting
        return bool(await ask_for_absent(connection, self._queue, generation, limit=limit, with_failed=False))

    async def ask_for_lost(self, *, limit: int) -> int:
        """Asks for ready documents that a generation at work lacks and nobody is about to index, those too that failed
        there: whatever lost a job on the way. Answers with their number."""

        async def ask(connection: Connection) -> int:
            count = 0
            now = await self._database.now(connection)
            everywhere = await uses.at_work_everywhere(connection, now)
            for generation in await uses.at_work(connection, now):
                count += await ask_for_absent(
                    connection,
                    self._queue,
                    generation,
                    limit=limit,
                    with_failed=True,
                    everywhere=generation in everywhere,
                )
            return count

        return await self._database.transact(ask)

    async def done(self) -> Mapping[str, float]:
        """Of the ready documents that a generation in use is to hold, or one that is built for tenants, the share that
        it holds."""
        async with self._database.read() as connection:
            used = await uses.in_use(connection, await self._database.now(connection))
            counted = await progress.built(connection)
            for generation, complete in used.items():
                if not complete:
                    counted[generation] = await progress.filled(connection, generation)
        whole: dict[str, float] = dict.fromkeys(used, 1.0)
        return whole | {each: here / ready for each, (ready, here) in counted.items() if ready}

    async def coverage(self) -> list[Coverage]:
        """Of the generations in use for every tenant."""
        async with self._database.read() as connection:
            used = await uses.in_use(connection, await self._database.now(connection))
            return [
                Coverage(
                    generation,
                    complete,
                    await queries.lacking(connection, generation),
                    await held_queries.jobs_into(connection, generation, "failed"),
                )
                for generation, complete in used.items()
            ]


async def ask_for_absent(
    connection: Connection,
    queue: Queue,
    generation: GenerationId,
    *,
    limit: int,
    with_failed: bool,
    tenant_id: TenantId | None = None,
    everywhere: bool = True,
) -> int:
    """Asks for `queries.unindexed`. Answers with their number."""
    absent = await queries.unindexed(
        connection, generation, limit=limit, with_failed=with_failed, tenant_id=tenant_id, everywhere=everywhere
    )
    for tenant, document in absent:
        await queue.enqueue(connection, document_jobs.index(tenant, document, into=generation))
    return len(absent)
