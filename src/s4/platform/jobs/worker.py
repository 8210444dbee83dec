"""The worker: claims jobs, runs their handlers side by side, and decides what an error means.

Decisions: `LeaseLost` drops the work; `Unavailable` waits, bounded by the job's age, because a provider's bad hour
is not the document's fault, and costs not even an attempt when nothing was tried; a `DocumentRejected` or any other
`S4Error` of the caller's kind ends the job at once; everything else is retried with backoff until attempts run out.
When a job ends badly its handler's `on_failed` runs in the same transaction, so that nothing stays "processing".
"""

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial

import structlog

from s4.kernel.errors import DocumentRejected, S4Error, Unavailable
from s4.platform.database import Connection, Database
from s4.platform.jobs.held import Held
from s4.platform.jobs.kinds import broad
from s4.platform.jobs.leases import LeaseLost
from s4.platform.jobs.queue import ClaimedJob, Queue
from s4.platform.telemetry import metrics, traces
from s4.platform.turns import on_behalf_of

log = structlog.get_logger()

CRASHES_MAX = 3
"""A job that took its worker down so often is not tried again: the third time is no accident."""


@dataclass(frozen=True, slots=True)
class WorkerLimits:
    """Bounds of a worker; their meaning stands in `kernel/settings.py`."""

    concurrency: int
    lease: timedelta
    poll: timedelta
    attempts_max: int
    backoff: timedelta
    backoff_max: timedelta
    patience: timedelta
    reserved: int = 0
    """Of `concurrency`: the last slots, for tenants that hold none in this worker."""


@dataclass(slots=True)
class JobRun:
    """One attempt. A handler that publishes in a transaction of its own calls `finish` inside it."""

    job: ClaimedJob
    queue: Queue
    finished: bool = field(default=False)

    async def finish(self, connection: Connection) -> None:
        """Ends the job in `connection`'s transaction. Raises `LeaseLost` when it was taken away meanwhile."""
        await self.queue.finish(connection, self.job)


@dataclass(frozen=True, slots=True)
class JobHandler:
    """How a kind of job runs, and what becomes of its subject when it ends badly.

    `run` answers True when it finished the job in a transaction of its own.
    """

    run: Callable[[JobRun], Awaitable[bool]]
    on_failed: Callable[[Connection, ClaimedJob, S4Error], Awaitable[None]] | None = None


class _EnqueuedAnew(Exception):
    """The job was enqueued again while it ran, so its failure is not the end."""


class Worker:
    """Runs until told to stop; hands back what it cannot finish in time."""

    def __init__(
        self,
        database: Database,
        queue: Queue,
        handlers: Mapping[str, JobHandler],
        *,
        owner: str,
        limits: WorkerLimits,
        held: Held | None = None,
    ) -> None:
        """`held`: what the owner's heartbeat keeps."""
        self._database = database
        self._queue = queue
        self._handlers = dict(handlers)
        self._owner = owner
        self._limits = limits
        self._held = held or Held()
        self._stopping = asyncio.Event()
        self._running: dict[asyncio.Task[None], ClaimedJob] = {}

    async def run(self) -> None:
        """Claims and runs until `stop`."""
        recover_at = 0.0
        while not self._stopping.is_set():
            try:
                if time.monotonic() >= recover_at:
                    await self._recover()
                    recover_at = time.monotonic() + self._limits.lease.total_seconds() / 3
                claimed = await self._fill()
            except Unavailable as error:
                log.warning("worker.catalog_unavailable", error=error.message)
                claimed = False
            if not claimed:
                await self._pause()

    async def stop(self, *, within: timedelta) -> None:
        """No new claims; lets running jobs finish until `within` has passed, then hands the rest back. What `run` has
        just claimed goes back before it ends."""
        self._stopping.set()
        if self._running:
            await asyncio.wait(list(self._running), timeout=within.total_seconds())
        for task in list(self._running):
            task.cancel()
        if self._running:
            await asyncio.wait(list(self._running))

    async def run_until_idle(self) -> None:
        """For tests and tools: runs what is due now and what that enqueues, then returns."""
        while True:
            claimed = await self._fill()
            if self._running:
                await asyncio.wait(list(self._running), return_when=asyncio.FIRST_COMPLETED)
            elif not claimed:
                return

    async def _pause(self) -> None:
        waits: set[asyncio.Future[object]] = {asyncio.ensure_future(self._stopping.wait())}
        stop_wait = next(iter(waits))
        held_up = len(self._running) >= self._limits.concurrency or self._tenants_with_their_share()
        await asyncio.wait(
            waits | set(self._running) if held_up else waits,
            timeout=self._limits.poll.total_seconds(),
            return_when=asyncio.FIRST_COMPLETED,
        )
        stop_wait.cancel()

    async def _fill(self) -> bool:
        """Claims while there is room. A job that was lost before runs alone."""
        claimed_any = False
        while len(self._running) < self._limits.concurrency and not self._stopping.is_set():
            job = await self._queue.claim(
                owner=self._owner,
                lease=self._limits.lease,
                kinds=list(self._handlers),
                passing_over=self._tenants_with_their_share(),
            )
            if job is None:
                break
            claimed_any = True
            self._held.take_job(job.lease_token)
            if job.crashes and self._running:
                await asyncio.wait(list(self._running))
            if self._stopping.is_set():  # meanwhile: `stop` waits for nothing that begins now
                self._held.leave_job(job.lease_token)
                await self._database.transact(partial(self._queue.release, job=job))
                break
            task = asyncio.create_task(self._attempt(job))
            self._running[task] = job
            task.add_done_callback(self._running.pop)
            if job.crashes:
                await asyncio.wait([task])
        return claimed_any

    def _tenants_with_their_share(self) -> set[str]:
        """Tenants that may take no further slot now: when only reserved ones are free, all that hold one here."""
        free = self._limits.concurrency - len(self._running)
        if free > self._limits.reserved:
            return set()
        return {job.tenant_id for job in self._running.values()}

    async def _recover(self) -> None:
        for job in await self._queue.recover_lost():
            metrics.JOBS.labels(broad(job.kind), "lost").inc()
            log.warning("job.lost", kind=job.kind, subject=job.subject, tenant_id=job.tenant_id, crashes=job.crashes)

    async def _attempt(self, job: ClaimedJob) -> None:
        started = time.perf_counter()
        kind = broad(job.kind)
        with (
            traces.job(f"job {kind}", job.payload) as span,
            structlog.contextvars.bound_contextvars(
                tenant_id=job.tenant_id or None, job_id=job.job_id, trace_id=span.trace_id
            ),
            on_behalf_of(job.tenant_id),
        ):
            try:
                outcome = await self._outcome(job)
            except asyncio.CancelledError:
                outcome = "released"
                with contextlib.suppress(LeaseLost, Unavailable):
                    await self._database.transact(lambda c: self._queue.release(c, job))
            except LeaseLost:
                outcome = "lost"
                log.warning("job.lease_lost", kind=job.kind, subject=job.subject)
            except Unavailable as error:
                # The catalog itself went away: the lease expires and the job returns.
                outcome = "lost"
                log.warning("job.catalog_unavailable", kind=job.kind, error=error.message)
            finally:
                # What could not be handed back must run out: nobody does it any more.
                self._held.leave_job(job.lease_token)
            metrics.JOBS.labels(kind, outcome).inc()
            metrics.JOB_SECONDS.labels(kind).observe(time.perf_counter() - started)
            _describe(span, job, outcome)

    async def _outcome(self, job: ClaimedJob) -> str:
        handler = self._handlers[job.kind]
        run = JobRun(job, self._queue)
        try:
            if job.crashes >= CRASHES_MAX:
                raise DocumentRejected(
                    "Processing this document ended the worker several times, so it is not tried again.",
                    code="resource_limit",
                )
            if not await handler.run(run):
                await self._database.transact(run.finish)
            _note_end(job, "ok", "")
            return "ok"
        except LeaseLost:
            raise
        except Exception as error:
            return await self._after_error(job, handler, error)

    async def _after_error(self, job: ClaimedJob, handler: JobHandler, error: Exception) -> str:
        verdict, pause = self._verdict(job, error, await self._age(job))
        described = _described(error)
        if verdict == "deferred":
            log.debug("job.deferred", kind=job.kind, subject=job.subject, pause_seconds=round(pause.total_seconds(), 1))
            await self._database.transact(lambda c: self._queue.release(c, job, pause=pause))
            return verdict
        if verdict == "retry":
            log.warning(
                "job.retried", kind=job.kind, subject=job.subject, attempts=job.attempts, error=described,
                pause_seconds=round(pause.total_seconds(), 1), exc_info=not isinstance(error, S4Error),
            )  # fmt: skip
            await self._database.transact(lambda c: self._queue.retry(c, job, pause=pause, error=described))
            return "retry"
        final = (
            error
            if isinstance(error, S4Error)
            else S4Error("Processing failed for an internal reason; the operator has been told.")
        )

        async def end(connection: Connection) -> None:
            # The subject before the job, as whoever enqueues locks them: the other order would deadlock.
            if handler.on_failed is not None:
                await handler.on_failed(connection, job, final)
            if not await self._queue.fail(connection, job, error=described):
                raise _EnqueuedAnew  # rolled back: what failed is outdated, and its subject waits for the next run

        try:
            await self._database.transact(end)
        except _EnqueuedAnew:
            await self._database.transact(lambda c: self._queue.fail(c, job, error=described))
            return "retry"
        ours = not isinstance(error, S4Error)
        _note_end(job, "failed", error.code if isinstance(error, S4Error) else "internal")
        log.log(
            logging.ERROR if ours else logging.WARNING,
            "job.failed", kind=job.kind, subject=job.subject, attempts=job.attempts, error=described,
            exc_info=error if ours else None,
        )  # fmt: skip
        return "failed"

    async def _age(self, job: ClaimedJob) -> timedelta:
        """By the clock that stamped it: a process whose own is ahead would lose patience at once."""
        async with self._database.read() as connection:
            return await self._database.now(connection) - job.created_at

    def _verdict(self, job: ClaimedJob, error: Exception, age: timedelta) -> tuple[str, timedelta]:
        pause = min(self._limits.backoff * 2 ** min(job.attempts - 1, 16), self._limits.backoff_max)
        pause *= random.uniform(0.7, 1.3)  # noqa: S311 (spreads those that failed together)
        if isinstance(error, Unavailable):
            if age >= self._limits.patience:
                return "failed", pause
            # A little late: all that wait would otherwise come at the moment of the next question.
            asked = error.retry_after * random.uniform(1.0, 1.2)  # noqa: S311 (as above)
            return ("deferred", asked) if error.untried else ("retry", max(pause, asked))
        if isinstance(error, S4Error):
            return "failed", pause
        return ("retry" if job.attempts < self._limits.attempts_max else "failed"), pause


def _describe(span: traces.Span, job: ClaimedJob, outcome: str) -> None:
    span.note({"s4.job_id": job.job_id, "s4.job.attempts": job.attempts, "s4.job.outcome": outcome})
    if job.tenant_id:
        span.note({"s4.tenant_id": job.tenant_id})
    if outcome in ("retry", "failed", "lost"):
        span.failed(outcome)


def _note_end(job: ClaimedJob, outcome: str, reason: str) -> None:
    metrics.JOBS_ENDED.labels(broad(job.kind), outcome, reason).inc()
    metrics.JOB_ATTEMPTS.labels(outcome).observe(job.attempts)


def _described(error: Exception) -> str:
    """For logs and the job's row. What a rejection says to the tenant may name files inside the document."""
    if isinstance(error, DocumentRejected):
        return error.code
    return error.message if isinstance(error, S4Error) else f"{type(error).__name__}: {error}"
