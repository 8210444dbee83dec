"""The queue's statements: enqueue, claim, finish, hand back, recover. The story is told in the package's docstring."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from s4.kernel.ids import JobId, RandomBytes, base32, new_job_id
from s4.platform.database import Connection, Database, adding, merging
from s4.platform.jobs.kinds import broad, narrowed, narrowed_to
from s4.platform.jobs.leases import LeaseLost
from s4.platform.jobs.models import job_turns, jobs
from s4.platform.telemetry import traces

SYSTEM = ""
"""The tenant of jobs that belong to none."""

_ERROR_CHARS_MAX = 2000


@dataclass(frozen=True, slots=True)
class JobRequest:
    """What to run. Enqueuing the same kind, tenant and subject again replaces a waiting job."""

    kind: str
    tenant_id: str
    subject: str
    payload: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ClaimedJob:
    """A job in this worker's hands, until `lease_token` is outgrown."""

    job_id: JobId
    kind: str
    tenant_id: str
    subject: str
    payload: Mapping[str, Any]
    attempts: int
    crashes: int
    created_at: datetime
    lease_token: str


def _asked_again(new: Any) -> dict[str, Any]:
    """What becomes of a job that is there when the job `new` is asked for."""
    running = jobs.c.state == "running"
    overdue = sa.and_(jobs.c.state == "ready", jobs.c.run_at < new.created_at)
    keeps_place = sa.and_(overdue, jobs.c.run_at < new.run_at)
    return {
        "payload": new.payload,
        "again": running,
        "state": sa.case((running, "running"), else_="ready"),
        "run_at": sa.case((keeps_place, jobs.c.run_at), else_=new.run_at),
        "attempts": sa.case((running, jobs.c.attempts), else_=0),
        "crashes": sa.case((running, jobs.c.crashes), else_=0),
        "created_at": new.created_at,
    }


_DUE = sa.and_(
    jobs.c.state == "ready",
    jobs.c.run_at <= sa.bindparam("now"),
    jobs.c.kind.in_(sa.bindparam("kinds", expanding=True)),
)


def _tenants_by_turn() -> sa.Select[Any]:
    """Tenants with a job of `kinds` that can run, the longest unserved first, but for those of `passing_over`.

    A recursive query skips from tenant to tenant along the index: its cost follows the number of tenants that wait,
    not the number of their jobs.
    """
    first = sa.select(sa.func.min(jobs.c.tenant_id).label("tenant_id")).where(jobs.c.state == "ready")
    waiting = first.cte("waiting", recursive=True)
    inner = jobs.alias()
    following = (
        sa.select(sa.func.min(inner.c.tenant_id))
        .where(inner.c.state == "ready", inner.c.tenant_id > waiting.c.tenant_id)
        .correlate(waiting)
        .scalar_subquery()
    )
    waiting = waiting.union_all(sa.select(following).where(waiting.c.tenant_id.is_not(None)))
    return (
        sa.select(waiting.c.tenant_id)
        .outerjoin(job_turns, job_turns.c.tenant_id == waiting.c.tenant_id)
        .where(
            waiting.c.tenant_id.is_not(None),
            waiting.c.tenant_id.not_in(sa.bindparam("passing_over", expanding=True)),
            sa.exists().where(_DUE, jobs.c.tenant_id == waiting.c.tenant_id).correlate(waiting),
        )
        .order_by(job_turns.c.claimed_at.asc().nulls_first(), waiting.c.tenant_id)
        .limit(16)  # enough to step over tenants whose only job another worker has just locked
    )


# Made once: workers ask all the time, and to make these takes longer than to execute them.
_TENANTS_BY_TURN = _tenants_by_turn()
_NEXT_JOB = (
    sa.select(jobs)
    .where(_DUE, jobs.c.tenant_id == sa.bindparam("tenant"))
    .order_by(jobs.c.run_at)
    .limit(1)
    .with_for_update(skip_locked=True)
)
_OF_JOB = sa.update(jobs).where(jobs.c.job_id == sa.bindparam("job"))


class Queue:
    """Stateless: every process makes its own."""

    def __init__(self, database: Database, random: RandomBytes) -> None:
        self._database = database
        self._random = random

    async def enqueue(self, connection: Connection, *requests: JobRequest, not_before: datetime | None = None) -> None:
        """Part of the caller's transaction. A job that runs at this moment runs once more afterwards; one that waits
        keeps its place, or whoever is asked for again and again would never have a turn; an earlier one it takes. Many
        at once: in one order everywhere, or two transactions may wait for each other's."""
        now = await self._database.now(connection)
        await connection.execute(
            merging(connection, jobs, conflict=("kind", "tenant_id", "subject"), merged=_asked_again),
            [
                {
                    "job_id": new_job_id(self._random),
                    "kind": request.kind,
                    "tenant_id": request.tenant_id,
                    "subject": request.subject,
                    "payload": {**request.payload, **traces.carried()},
                    "state": "ready",
                    "run_at": not_before or now,
                    "again": False,
                    "attempts": 0,
                    "crashes": 0,
                    "last_error": None,
                    "created_at": now,
                }
                for request in requests
            ],
        )

    async def claim(
        self, *, owner: str, lease: timedelta, kinds: Sequence[str], passing_over: Collection[str] = ()
    ) -> ClaimedJob | None:
        """The next job, by turns of tenants, those in `passing_over` left out; counts the attempt and takes the
        lease."""
        return await self._database.transact(
            lambda connection: self._claim(connection, owner, lease, kinds, passing_over)
        )

    async def _claim(
        self,
        connection: Connection,
        owner: str,
        lease: timedelta,
        kinds: Sequence[str],
        passing_over: Collection[str],
    ) -> ClaimedJob | None:
        now = await self._database.now(connection)
        wanted = {"now": now, "kinds": list(kinds)}
        by_turn = await connection.execute(_TENANTS_BY_TURN, {**wanted, "passing_over": list(passing_over)})
        for tenant_id in list(by_turn.scalars()):
            row = (await connection.execute(_NEXT_JOB, {**wanted, "tenant": tenant_id})).one_or_none()
            if row is None:
                continue
            token = base32(self._random(16))
            claimed = {
                "state": "running",
                "attempts": row.attempts + 1,
                "again": False,
                "lease_owner": owner,
                "lease_token": token,
                "lease_until": now + lease,
                "claimed_at": now,
            }
            await connection.execute(_OF_JOB, {"job": row.job_id, **claimed})
            turn = adding(connection, job_turns, conflict=["tenant_id"], added=(), replaced=["claimed_at"])
            await connection.execute(turn, {"tenant_id": tenant_id, "claimed_at": now})
            return ClaimedJob(
                job_id=JobId(row.job_id),
                kind=row.kind,
                tenant_id=row.tenant_id,
                subject=row.subject,
                payload=row.payload,
                attempts=row.attempts + 1,
                crashes=row.crashes,
                created_at=row.created_at,
                lease_token=token,
            )
        return None

    async def finish(self, connection: Connection, job: ClaimedJob) -> None:
        """Part of the transaction that makes the work visible. Raises `LeaseLost` when the job was taken away."""
        held = sa.and_(jobs.c.job_id == job.job_id, jobs.c.lease_token == job.lease_token)
        gone = await connection.execute(sa.delete(jobs).where(held, jobs.c.again.is_(False)))
        if gone.rowcount == 1:
            return
        now = await self._database.now(connection)
        repeated = await connection.execute(
            sa.update(jobs)
            .where(held)
            .values(state="ready", run_at=now, attempts=0, crashes=0, again=False, **_NO_LEASE)
        )
        if repeated.rowcount != 1:
            raise LeaseLost(job.job_id)

    async def retry(self, connection: Connection, job: ClaimedJob, *, pause: timedelta, error: str) -> None:
        """Back to the queue after a failure. The attempt stays counted."""
        now = await self._database.now(connection)
        await self._hand_back(connection, job, run_at=now + pause, last_error=error[:_ERROR_CHARS_MAX])

    async def release(self, connection: Connection, job: ClaimedJob, *, pause: timedelta = timedelta()) -> None:
        """Back to the queue as if it had not been claimed, at once or after `pause`."""
        now = await self._database.now(connection)
        await self._hand_back(connection, job, run_at=now + pause, attempts=job.attempts - 1)

    async def fail(self, connection: Connection, job: ClaimedJob, *, error: str) -> bool:
        """The end: kept for the operator, who may retry it. False when it was enqueued anew meanwhile: then it runs
        again, and nothing has ended."""
        await self._hand_back(
            connection,
            job,
            state=sa.case((jobs.c.again, "ready"), else_="failed"),
            attempts=sa.case((jobs.c.again, 0), else_=jobs.c.attempts),
            crashes=sa.case((jobs.c.again, 0), else_=jobs.c.crashes),
            last_error=error[:_ERROR_CHARS_MAX],
        )
        state = await connection.execute(sa.select(jobs.c.state).where(jobs.c.job_id == job.job_id))
        return bool(state.scalar_one() == "failed")

    async def forget(self, connection: Connection, request: JobRequest) -> None:
        """Drops the job if it has failed, whoever could do it: its subject is gone, and there is nothing left to
        retry."""
        await connection.execute(
            sa.delete(jobs).where(
                of_kind(request.kind),
                jobs.c.tenant_id == request.tenant_id,
                jobs.c.subject == request.subject,
                jobs.c.state == "failed",
            )
        )

    async def withdraw(self, connection: Connection, kind: str, tenant_id: str, subjects: Sequence[str]) -> None:
        """Drops jobs that wait: what they were to do is done. One that runs finds nothing to do."""
        waits = jobs.c.kind == kind, jobs.c.tenant_id == tenant_id, jobs.c.state == "ready"
        if subjects:
            await connection.execute(sa.delete(jobs).where(*waits, jobs.c.subject.in_(subjects)))

    async def abandon(self, connection: Connection, *, but_for: Collection[str]) -> list[JobRequest]:
        """Drops the jobs that only workers of others than `but_for` can do, and answers with them: nobody is left to
        claim them. What runs is let be."""
        kinds = list((await connection.execute(sa.select(jobs.c.kind).where(_NARROWED).distinct())).scalars())
        left = [kind for kind in kinds if narrowed_to(kind) not in but_for]
        if not left:
            return []
        gone = await connection.execute(
            sa.delete(jobs)
            .where(jobs.c.kind.in_(left), jobs.c.state != "running")
            .returning(jobs.c.kind, jobs.c.tenant_id, jobs.c.subject, jobs.c.payload)
        )
        return [JobRequest(row.kind, row.tenant_id, row.subject, row.payload) for row in gone]

    async def _hand_back(self, connection: Connection, job: ClaimedJob, **values: Any) -> None:
        done = await connection.execute(
            sa.update(jobs)
            .where(jobs.c.job_id == job.job_id, jobs.c.lease_token == job.lease_token)
            .values(
                **({"state": "ready", "again": False} | values | _NO_LEASE),
            )
        )
        if done.rowcount != 1:
            raise LeaseLost(job.job_id)

    async def holds(self, connection: Connection, job: ClaimedJob) -> bool:
        """Whether the job is still this worker's; locks the row for the transaction."""
        found = await connection.execute(
            sa.select(jobs.c.job_id)
            .where(jobs.c.job_id == job.job_id, jobs.c.lease_token == job.lease_token)
            .with_for_update()
        )
        return found.one_or_none() is not None

    async def recover_lost(self) -> list[ClaimedJob]:
        """Returns jobs of silent workers to the queue and counts the crash. Answers with what was recovered."""

        async def recover(connection: Connection) -> list[ClaimedJob]:
            now = await self._database.now(connection)
            lost = (
                await connection.execute(
                    sa.select(jobs)
                    .where(jobs.c.state == "running", jobs.c.lease_until < now)
                    .limit(100)  # a bound for the transaction; the next round takes the rest
                    .with_for_update(skip_locked=True)
                )
            ).all()
            for row in lost:
                await connection.execute(
                    sa.update(jobs)
                    .where(jobs.c.job_id == row.job_id)
                    .values(state="ready", crashes=row.crashes + 1, run_at=now, again=False, **_NO_LEASE)
                )
            return [
                ClaimedJob(
                    job_id=JobId(row.job_id),
                    kind=row.kind,
                    tenant_id=row.tenant_id,
                    subject=row.subject,
                    payload=row.payload,
                    attempts=row.attempts,
                    crashes=row.crashes + 1,
                    created_at=row.created_at,
                    lease_token="",
                )
                for row in lost
            ]

        return await self._database.transact(recover)

    async def depth(self, connection: Connection) -> list[tuple[str, str, int]]:
        """(kind, state, count), for the metrics."""
        rows = await connection.execute(
            sa.select(jobs.c.kind, jobs.c.state, sa.func.count()).group_by(jobs.c.kind, jobs.c.state)
        )
        counted: Counter[tuple[str, str]] = Counter()
        for kind, state, count in rows:
            counted[broad(kind), state] += count
        return [(kind, state, count) for (kind, state), count in counted.items()]

    async def oldest_ready(self, connection: Connection) -> datetime | None:
        """When the oldest job that could run by now became due."""
        now = await self._database.now(connection)
        oldest: datetime | None = (
            await connection.execute(
                sa.select(jobs.c.run_at)
                .where(jobs.c.state == "ready", jobs.c.run_at <= now)
                .order_by(jobs.c.run_at)
                .limit(1)
            )
        ).scalar_one_or_none()
        return oldest


def of_kind(kind: str) -> sa.ColumnElement[bool]:
    """A condition on rows of `jobs`: whoever can do it."""
    return sa.or_(jobs.c.kind == kind, jobs.c.kind.startswith(narrowed(kind, "")))


_NARROWED = jobs.c.kind.contains("/")
_NO_LEASE = {"lease_owner": None, "lease_token": None, "lease_until": None}
