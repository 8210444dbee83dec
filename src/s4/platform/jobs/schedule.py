"""One leased scheduler for everything regular. When a task is due it becomes a job, and workers do the rest.

A task that was due several times while nobody ran is enqueued once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

import sqlalchemy as sa

from s4.platform.database import Connection, Database, upsert
from s4.platform.jobs.leases import LeaseLost, Leases
from s4.platform.jobs.models import jobs, leases, schedule
from s4.platform.jobs.queue import SYSTEM, JobRequest, Queue

LEASE = "scheduler"
_SEEN_EVERY = timedelta(minutes=1)  # a write for each task; less often than the scheduler looks
_DROPPED_AFTER = timedelta(minutes=15)  # behind the others: no scheduler has it any more
_OVERDUE_TIMES = 2  # of its interval since it last succeeded
_OVERDUE_MORE = timedelta(minutes=2)  # for its job to wait and run, where the interval is short


@dataclass(frozen=True, slots=True)
class RegularTask:
    """`kind` names the job that is enqueued every `every`."""

    kind: str
    every: timedelta


class Scheduler:
    """Call `tick` often; only the holder of the lease acts."""

    def __init__(self, database: Database, queue: Queue, leases: Leases, tasks: Sequence[RegularTask]) -> None:
        self._database = database
        self._queue = queue
        self._leases = leases
        self._tasks = tuple(tasks)

    async def tick(self) -> list[str]:
        """Enqueues what is due and answers with the kinds that were."""
        lease = await self._leases.acquire(LEASE)
        if lease is None:
            return []

        async def fire(connection: Connection) -> list[str]:
            await self._leases.verify(connection, lease)
            now = await self._database.now(connection)
            known = {row.task: row for row in await connection.execute(sa.select(schedule))}
            fired = []
            for task in self._tasks:
                row = known.get(task.kind)
                seen_at = row.seen_at if row is not None else None
                if seen_at is None or not now - _SEEN_EVERY <= seen_at <= now:
                    await _note_seen(connection, task, now, anew=seen_at is None or seen_at < now - _DROPPED_AFTER)
                if row is not None and row.next_at > now:
                    continue
                due = await connection.execute(
                    sa.update(schedule)
                    .where(schedule.c.task == task.kind, schedule.c.next_at <= now)
                    .values(next_at=now + task.every, last_started_at=now)
                )
                if due.rowcount:
                    await self._queue.enqueue(connection, JobRequest(task.kind, SYSTEM, task.kind, {}))
                    fired.append(task.kind)
            return fired

        try:
            return await self._database.transact(fire)
        except LeaseLost:  # it slept between the two transactions; whoever has the lease now fires
            return []


async def _note_seen(connection: Connection, task: RegularTask, now: datetime, *, anew: bool) -> None:
    """`anew`: nobody had it for a while, so that it cannot be overdue yet."""
    seen = {"every_seconds": task.every.total_seconds(), "seen_at": now}
    begins = {"first_at": now}
    values = {"task": task.kind, "next_at": now} | seen | begins
    update = seen | (begins if anew else {})
    await connection.execute(upsert(connection, schedule, values, conflict=["task"], update=update))


async def record_success(connection: Connection, kind: str, *, now: datetime) -> None:
    """Notes that a regular task came to its end; part of the transaction that ends its job."""
    await connection.execute(
        sa.update(schedule).where(schedule.c.task == kind).values(last_finished_at=now, last_outcome="ok")
    )


async def record_drift(connection: Connection, kind: str, *, drift_bytes: int) -> None:
    """Notes by how much what a regular task compared differed: whoever found it may be gone when somebody asks."""
    await connection.execute(sa.update(schedule).where(schedule.c.task == kind).values(drift_bytes=drift_bytes))


class Outcome(StrEnum):
    """How a regular task stands: `OK` ended well, `NEVER` has not ended yet, `RETRYING` failed and is repeated,
    `FAILED` was given up until it is due again."""

    OK = "ok"
    NEVER = "never"
    WAITING = "waiting"
    RUNNING = "running"
    RETRYING = "retrying"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class TaskState:
    """A regular task as the catalog has it. `every` and `since`, from when on it is regular without a break, are None
    until a scheduler of this release has had it. `error`: of the last attempt, where that failed. `drift_bytes`: what
    the last run found, of a task that compares."""

    task: str
    every: timedelta | None
    since: datetime | None
    last_started_at: datetime | None
    last_succeeded_at: datetime | None
    next_at: datetime
    outcome: Outcome
    error: str | None
    is_overdue: bool
    drift_bytes: int


async def states(connection: Connection, now: datetime) -> list[TaskState]:
    """Every task that is regular now, by name."""
    rows = (await connection.execute(_WITH_JOB.order_by(schedule.c.task))).all()
    newest = max((row.seen_at for row in rows if row.seen_at is not None), default=None)
    return [
        _state(row, now)
        for row in rows
        if newest is None or (row.seen_at is not None and row.seen_at >= newest - _DROPPED_AFTER)
    ]


async def state_of(connection: Connection, task: str, now: datetime) -> TaskState | None:
    """One task, also of one that is not regular but was asked for; None for what never was."""
    row = (await connection.execute(_WITH_JOB.where(schedule.c.task == task))).one_or_none()
    return _state(row, now) if row is not None else None


_JOB = sa.and_(jobs.c.kind == schedule.c.task, jobs.c.tenant_id == SYSTEM, jobs.c.subject == schedule.c.task)
_WITH_JOB = sa.select(schedule, jobs.c.state, jobs.c.attempts, jobs.c.last_error).outerjoin(jobs, _JOB)


def _state(row: sa.Row[tuple[object, ...]], now: datetime) -> TaskState:
    every = timedelta(seconds=row.every_seconds) if row.every_seconds is not None else None
    since = max(filter(None, (row.last_finished_at, row.first_at)), default=None)
    outcome = _outcome(row)
    return TaskState(
        row.task,
        every,
        row.first_at,
        row.last_started_at,
        row.last_finished_at,
        row.next_at,
        outcome,
        row.last_error if outcome in (Outcome.RETRYING, Outcome.FAILED) else None,
        every is not None and since is not None and now > since + _OVERDUE_TIMES * every + _OVERDUE_MORE,
        row.drift_bytes or 0,
    )


def _outcome(row: sa.Row[tuple[object, ...]]) -> Outcome:
    match row.state:
        case None:
            return Outcome.OK if row.last_finished_at is not None else Outcome.NEVER
        case "running":
            return Outcome.RUNNING
        case "failed":
            return Outcome.FAILED
        case _ if row.attempts:
            return Outcome.RETRYING
        case _:
            return Outcome.WAITING


async def run_now(connection: Connection, queue: Queue, kind: str, *, now: datetime) -> None:
    """Enqueues a task before its time, as the scheduler would: one that runs at this moment runs once more, and never
    do two workers run it side by side. Its next time is counted from here."""
    await queue.enqueue(connection, JobRequest(kind, SYSTEM, kind, {}))
    known = sa.select(schedule.c.every_seconds).where(schedule.c.task == kind)
    every = (await connection.execute(known)).scalar_one_or_none()
    moved = {"next_at": now + timedelta(seconds=every)} if every is not None else {}
    asked = {"last_started_at": now} | moved
    values = {"task": kind, "next_at": now} | asked  # due, should it become regular one day
    await connection.execute(upsert(connection, schedule, values, conflict=["task"], update=asked))


async def somebody_schedules(connection: Connection, now: datetime) -> bool:
    """Whether a worker lives that fires what is due."""
    held = sa.select(leases.c.name).where(leases.c.name == LEASE, leases.c.owner != "", leases.c.until > now)
    return (await connection.execute(held)).one_or_none() is not None
