"""The queue, the leases and the scheduler, on every database."""

import asyncio
import contextlib
import secrets
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from s4.kernel.errors import DocumentRejected, S4Error, Unavailable
from s4.platform.database import Connection, Database
from s4.platform.jobs import (
    ClaimedJob,
    Held,
    JobHandler,
    JobRequest,
    JobRun,
    LeaseLost,
    Leases,
    Queue,
    RegularTask,
    Scheduler,
    Worker,
    WorkerLimits,
)
from s4.platform.jobs.models import jobs, leases, schedule
from s4.platform.turns import Turns

HOUR = timedelta(hours=1)
KIND = "test.job"


@pytest.fixture
def queue(catalog: Database) -> Queue:
    return Queue(catalog, secrets.token_bytes)


async def enqueue(catalog: Database, queue: Queue, *requests: tuple[str, str]) -> None:
    async def work(connection: Connection) -> None:
        for tenant, subject in requests:
            await queue.enqueue(connection, JobRequest(KIND, tenant, subject, {"of": subject}))

    await catalog.transact(work)


async def claim(queue: Queue, *, lease: timedelta = HOUR, owner: str = "worker") -> ClaimedJob | None:
    return await queue.claim(owner=owner, lease=lease, kinds=[KIND])


async def claimed(queue: Queue, *, lease: timedelta = HOUR) -> ClaimedJob:
    job = await claim(queue, lease=lease)
    assert job is not None
    return job


async def states(catalog: Database) -> list[tuple[str, str, int, int]]:
    async with catalog.read() as connection:
        rows = await connection.execute(
            sa.select(jobs.c.subject, jobs.c.state, jobs.c.attempts, jobs.c.crashes).order_by(jobs.c.subject)
        )
        return [tuple(row) for row in rows]  # type: ignore[misc]


async def test_a_job_is_claimed_once_whoever_races(catalog: Database, queue: Queue) -> None:
    await enqueue(catalog, queue, *((f"tenant{n % 3}", f"job{n}") for n in range(30)))

    async def racer() -> list[str]:
        mine = []
        while job := await claim(queue):
            mine.append(job.subject)
        return mine

    taken: Sequence[list[str]] = await asyncio.gather(*(racer() for _ in range(4)))
    assert sorted(subject for mine in taken for subject in mine) == sorted(f"job{n}" for n in range(30))


async def test_tenants_take_turns(catalog: Database, queue: Queue) -> None:
    await enqueue(catalog, queue, *(("noisy", f"n{n}") for n in range(20)), ("quiet", "q0"), ("quiet", "q1"))
    served = [(await claimed(queue)).tenant_id for _ in range(4)]
    assert served == ["noisy", "quiet", "noisy", "quiet"]


async def test_a_claim_passes_over_whom_it_is_told_to(catalog: Database, queue: Queue) -> None:
    await enqueue(catalog, queue, *((f"held{n:02d}", "x") for n in range(20)), ("free", "a"))
    held = [f"held{n:02d}" for n in range(20)]

    found = await queue.claim(owner="worker", lease=HOUR, kinds=[KIND], passing_over=held)
    nothing = await queue.claim(owner="worker", lease=HOUR, kinds=[KIND], passing_over=held)

    assert found is not None
    assert (found.tenant_id, nothing) == ("free", None)
    assert (await claimed(queue)).tenant_id == "held00"


async def test_a_finished_job_is_gone_and_a_repeated_request_runs_once_more(catalog: Database, queue: Queue) -> None:
    await enqueue(catalog, queue, ("t", "a"))
    first = await claimed(queue)
    await enqueue(catalog, queue, ("t", "a"))
    assert await claim(queue) is None, "it runs already"
    await catalog.transact(lambda c: queue.finish(c, first))
    again = await claimed(queue)
    assert (again.subject, again.attempts) == ("a", 1)
    await catalog.transact(lambda c: queue.finish(c, again))
    assert await states(catalog) == []


async def test_a_lost_lease_returns_the_job_and_refuses_the_one_that_overslept(catalog: Database, queue: Queue) -> None:
    await enqueue(catalog, queue, ("t", "a"))
    sleeper = await claimed(queue, lease=timedelta(0))
    assert [job.crashes for job in await queue.recover_lost()] == [1]
    successor = await claimed(queue)
    assert (successor.attempts, successor.crashes) == (2, 1)
    for end in (
        lambda c: queue.finish(c, sleeper),
        lambda c: queue.retry(c, sleeper, pause=HOUR, error="x"),
        lambda c: queue.fail(c, sleeper, error="x"),
        lambda c: queue.release(c, sleeper),
    ):
        with pytest.raises(LeaseLost):
            await catalog.transact(end)
    await catalog.transact(lambda c: queue.finish(c, successor))


async def test_handing_back_costs_no_attempt(catalog: Database, queue: Queue) -> None:
    await enqueue(catalog, queue, ("t", "a"))
    job = await claimed(queue)
    await catalog.transact(lambda c: queue.release(c, job))
    assert (await claimed(queue)).attempts == 1


async def test_a_paused_job_waits_for_its_time(catalog: Database, queue: Queue) -> None:
    await enqueue(catalog, queue, ("t", "a"))
    job = await claimed(queue)
    await catalog.transact(lambda c: queue.retry(c, job, pause=HOUR, error="later"))
    assert await claim(queue) is None
    await enqueue(catalog, queue, ("t", "a"))  # somebody wants it anew: now
    assert (await claimed(queue)).attempts == 1


async def test_a_job_that_fails_while_wanted_again_is_ready_again(catalog: Database, queue: Queue) -> None:
    await enqueue(catalog, queue, ("t", "a"))
    job = await claimed(queue)
    await enqueue(catalog, queue, ("t", "a"))
    await catalog.transact(lambda c: queue.fail(c, job, error="the old content was bad"))
    assert await states(catalog) == [("a", "ready", 0, 0)]


async def test_a_job_and_its_cause_are_one_transaction(catalog: Database, queue: Queue) -> None:
    async def work(connection: Connection) -> None:
        await queue.enqueue(connection, JobRequest(KIND, "t", "a", {}))
        raise RuntimeError("the cause did not happen")

    with pytest.raises(RuntimeError):
        await catalog.transact(work)
    assert await claim(queue) is None


# -- leases


async def test_a_lease_has_one_owner_until_it_ends(catalog: Database) -> None:
    mine = Leases(catalog, owner="me", duration=HOUR)
    yours = Leases(catalog, owner="you", duration=HOUR)
    lease = await mine.acquire("table")
    assert lease is not None
    assert await yours.acquire("table") is None
    await mine.release(lease)
    successor = await yours.acquire("table")
    assert successor is not None
    assert successor.token > lease.token
    with pytest.raises(LeaseLost):
        await catalog.transact(lambda c: mine.verify(c, lease))
    await catalog.transact(lambda c: yours.verify(c, successor))
    await mine.release(lease)  # of a lost one: changes nothing
    await catalog.transact(lambda c: yours.verify(c, successor))


async def test_racing_for_a_lease_has_one_winner(catalog: Database) -> None:
    racers = [Leases(catalog, owner=f"racer{n}", duration=HOUR) for n in range(8)]
    won = await asyncio.gather(*(racer.acquire("table") for racer in racers))
    assert sum(lease is not None for lease in won) == 1


# -- scheduler


async def test_a_due_task_is_enqueued_once_by_one_scheduler(catalog: Database, queue: Queue) -> None:
    tasks = [RegularTask(KIND, HOUR)]
    schedulers = [Scheduler(catalog, queue, Leases(catalog, owner=f"s{n}", duration=HOUR), tasks) for n in range(3)]
    fired = await asyncio.gather(*(scheduler.tick() for scheduler in schedulers))
    assert sorted(map(len, fired)) == [0, 0, 1]
    assert [await scheduler.tick() for scheduler in schedulers] == [[], [], []], "not due again"
    await catalog.transact(lambda c: c.execute(sa.update(schedule).values(next_at=schedule.c.last_started_at)))
    assert sum([len(await scheduler.tick()) for scheduler in schedulers]) == 1


async def test_only_the_holder_of_the_lease_fires_until_it_falls_silent(catalog: Database, queue: Queue) -> None:
    always_due = [RegularTask(KIND, timedelta(0))]
    first, second = (
        Scheduler(catalog, queue, Leases(catalog, owner=owner, duration=HOUR), always_due) for owner in ("a", "b")
    )
    assert [await each.tick() for each in (first, second, first, second)] == [[KIND], [], [KIND], []]
    await catalog.transact(lambda c: c.execute(sa.update(leases).values(until=datetime(2020, 1, 1, tzinfo=UTC))))
    assert [await each.tick() for each in (second, first)] == [[KIND], []]


async def test_a_scheduler_that_sleeps_through_its_lease_fires_nothing_and_goes_on(
    catalog: Database, queue: Queue
) -> None:
    tasks = [RegularTask(KIND, HOUR)]
    sleeper = Scheduler(catalog, queue, Leases(catalog, owner="a", duration=timedelta(0)), tasks)
    assert await sleeper.tick() == [], "its lease had run out before it fired"
    assert await Scheduler(catalog, queue, Leases(catalog, owner="b", duration=HOUR), tasks).tick() == [KIND]


# -- worker


def worker(
    catalog: Database,
    queue: Queue,
    handler: JobHandler,
    *,
    patience: timedelta = HOUR,
    concurrency: int = 2,
    reserved: int = 0,
    held: Held | None = None,
) -> Worker:
    tick = timedelta(milliseconds=1)
    limits = WorkerLimits(
        concurrency=concurrency,
        lease=HOUR,
        poll=tick,
        attempts_max=3,
        backoff=tick,
        backoff_max=tick,
        patience=patience,
        reserved=reserved,
    )
    return Worker(catalog, queue, {KIND: handler}, owner="worker", limits=limits, held=held)


async def test_a_job_that_could_not_be_handed_back_is_held_no_longer(
    catalog: Database, queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The catalog goes away while the job is at work: nobody does it any more, so it must run out."""
    held = Held()
    seen: list[int] = []

    async def fail(_: JobRun) -> bool:
        seen.append(len(held.job_tokens))
        raise ValueError("a bug")

    async def away(*_: object, **__: object) -> None:
        raise Unavailable("the database restarts")

    monkeypatch.setattr(queue, "retry", away)
    await catalog.transact(lambda c: queue.enqueue(c, JobRequest(KIND, "t", "a", {})))
    await worker(catalog, queue, JobHandler(fail), held=held).run_until_idle()
    assert seen == [1]
    assert held.job_tokens == []
    assert [state for _, state, _, _ in await states(catalog)] == ["running"]


async def run_to_end(catalog: Database, running: Worker) -> None:
    async with asyncio.timeout(30):
        while any(state == "ready" for _, state, _, _ in await states(catalog)):
            await running.run_until_idle()


@pytest.mark.parametrize(
    ("error", "attempts"),
    [
        (ValueError("a bug"), 3),
        (DocumentRejected("hopeless"), 1),
        (Unavailable("gone for ever", retry_after=timedelta(0)), None),
    ],
)
async def test_every_error_ends_in_a_bounded_number_of_attempts(
    catalog: Database, queue: Queue, error: Exception, attempts: int | None
) -> None:
    ended: list[str] = []

    async def run(_: JobRun) -> bool:
        raise error

    async def on_failed(_: Connection, job: ClaimedJob, reason: S4Error) -> None:
        ended.append(f"{job.subject}: {type(reason).__name__}")

    await enqueue(catalog, queue, ("t", "a"))
    patience = timedelta(seconds=0.2) if attempts is None else HOUR
    await run_to_end(catalog, worker(catalog, queue, JobHandler(run, on_failed), patience=patience))
    assert len(ended) == 1
    [(_, state, tried, _)] = await states(catalog)
    assert state == "failed"
    assert attempts is None or tried == attempts


async def test_a_waiting_job_that_is_asked_for_again_keeps_its_place(catalog: Database, queue: Queue) -> None:
    """Else a table that is written all the time would never be compacted: every write asks for it anew."""
    await enqueue(catalog, queue, ("t", "compaction"))
    for number in range(3):
        await enqueue(catalog, queue, ("t", f"document{number}"))
        await enqueue(catalog, queue, ("t", "compaction"))

    assert (await claimed(queue)).subject == "compaction"


async def test_a_waiting_job_takes_an_earlier_place_that_it_is_asked_for_at(catalog: Database, queue: Queue) -> None:
    await enqueue(catalog, queue, ("t", "document"), ("t", "compaction"))
    request = JobRequest(KIND, "t", "compaction", {})

    async def ask(connection: Connection) -> None:
        await queue.enqueue(connection, request, not_before=await catalog.now(connection) - HOUR)

    await catalog.transact(ask)

    assert (await claimed(queue)).subject == "compaction"


async def test_a_failed_job_can_be_forgotten_and_one_that_waits_cannot(catalog: Database, queue: Queue) -> None:
    await enqueue(catalog, queue, ("t", "failed"))
    job = await claimed(queue)
    await catalog.transact(lambda c: queue.fail(c, job, error="hopeless"))
    await enqueue(catalog, queue, ("t", "waits"), ("other", "failed"))

    for subject in ("failed", "waits"):
        request = JobRequest(KIND, "t", subject, {})
        await catalog.transact(lambda c, request=request: queue.forget(c, request))  # type: ignore[misc]

    assert [(subject, state) for subject, state, _, _ in await states(catalog)] == [
        ("failed", "ready"),
        ("waits", "ready"),
    ]


async def test_a_job_that_keeps_killing_its_worker_ends_failed(catalog: Database, queue: Queue) -> None:
    ran: list[int] = []
    failed: list[str] = []

    async def run(run: JobRun) -> bool:
        ran.append(run.job.crashes)
        return False

    async def on_failed(_: Connection, job: ClaimedJob, reason: S4Error) -> None:
        failed.append(reason.code)

    await enqueue(catalog, queue, ("t", "poison"))
    for _ in range(3):  # claimed by a worker that dies
        await claimed(queue, lease=timedelta(0))
        await queue.recover_lost()
    await run_to_end(catalog, worker(catalog, queue, JobHandler(run, on_failed)))
    assert (ran, failed) == ([], ["resource_limit"])


async def test_a_job_that_was_lost_before_runs_alone(catalog: Database, queue: Queue) -> None:
    at_once = 0
    most: dict[str, int] = {}

    async def run(run: JobRun) -> bool:
        nonlocal at_once
        at_once += 1
        await asyncio.sleep(0)
        most[run.job.subject] = max(most.get(run.job.subject, 0), at_once)
        at_once -= 1
        return False

    await enqueue(catalog, queue, ("a", "poison"))
    await claimed(queue, lease=timedelta(0))
    await queue.recover_lost()
    await enqueue(catalog, queue, *((f"t{n}", f"job{n}") for n in range(6)))
    await run_to_end(catalog, worker(catalog, queue, JobHandler(run)))
    assert most["poison"] == 1
    assert len(most) == 7


async def test_the_last_slots_are_for_tenants_that_hold_none(catalog: Database, queue: Queue) -> None:
    running: dict[str, int] = {}
    most: dict[str, int] = {}
    quiet_ran, noisy_may_end = asyncio.Event(), asyncio.Event()

    async def run(run: JobRun) -> bool:
        tenant = run.job.tenant_id
        running[tenant] = running.get(tenant, 0) + 1
        most[tenant] = max(most.get(tenant, 0), running[tenant])
        if tenant == "noisy":
            await noisy_may_end.wait()
        else:
            quiet_ran.set()
        running[tenant] -= 1
        return False

    await enqueue(catalog, queue, *(("noisy", f"n{n}") for n in range(9)))
    sharing = worker(catalog, queue, JobHandler(run), concurrency=4, reserved=1)
    working = asyncio.create_task(sharing.run())
    async with asyncio.timeout(30):
        while running.get("noisy", 0) < 3:  # noqa: ASYNC110  # until it has its share
            await asyncio.sleep(0.001)
        await enqueue(catalog, queue, ("quiet", "q"))
        await quiet_ran.wait()
    noisy_may_end.set()
    async with asyncio.timeout(30):
        while await states(catalog):  # noqa: ASYNC110  # until all are done
            await asyncio.sleep(0.001)
    await sharing.stop(within=HOUR)
    await working
    assert most == {"noisy": 3, "quiet": 1}


async def test_work_is_done_on_behalf_of_its_tenant(catalog: Database, queue: Queue) -> None:
    place = Turns(1)
    order: list[str] = []

    async def run(run: JobRun) -> bool:
        async with place.place():
            order.append(run.job.tenant_id)
        return False

    async def until_waiting(count: int) -> None:
        async with asyncio.timeout(30):
            while place.waiting < count:  # noqa: ASYNC110  # until so many ask for the one place
                await asyncio.sleep(0.001)

    await place.acquire()
    sharing = worker(catalog, queue, JobHandler(run), concurrency=4)
    working = asyncio.create_task(sharing.run())
    await enqueue(catalog, queue, *(("noisy", f"n{n}") for n in range(3)))
    await until_waiting(3)
    await enqueue(catalog, queue, ("quiet", "late"))
    await until_waiting(4)
    place.release()
    await sharing.stop(within=HOUR)
    await working
    assert order == ["noisy", "quiet", "noisy", "noisy"]


async def test_a_stopping_worker_hands_its_jobs_back(catalog: Database, queue: Queue) -> None:
    begun = asyncio.Event()

    async def run(_: JobRun) -> bool:
        begun.set()
        await asyncio.Event().wait()
        return False

    await enqueue(catalog, queue, ("t", "endless"))
    stopping = worker(catalog, queue, JobHandler(run))
    running = asyncio.create_task(stopping.run())
    await begun.wait()
    await stopping.stop(within=timedelta(0))
    await running
    assert await states(catalog) == [("endless", "ready", 0, 0)]


async def test_a_worker_outlives_an_absent_catalog(catalog: Database, queue: Queue) -> None:
    done = asyncio.Event()

    async def run(_: JobRun) -> bool:
        done.set()
        return False

    class Flaky(Queue):
        failures = 3

        async def recover_lost(self) -> list[ClaimedJob]:
            if self.failures:
                self.failures -= 1
                raise Unavailable("the database restarts")
            return await super().recover_lost()

    await enqueue(catalog, queue, ("t", "a"))
    surviving = worker(catalog, Flaky(catalog, secrets.token_bytes), JobHandler(run))
    running = asyncio.create_task(surviving.run())
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(20):
            await done.wait()
    await surviving.stop(within=timedelta(seconds=5))
    await running
    assert done.is_set()


# -- a clock that is set back


async def set_back_by_an_hour(catalog: Database) -> None:
    """As if it had been: whatever was stamped so far lies an hour further ahead."""

    async def move(connection: Connection) -> None:
        for column in (jobs.c.run_at, jobs.c.created_at, jobs.c.lease_until, leases.c.until, schedule.c.next_at):
            rows = (await connection.execute(sa.select(*column.table.primary_key, column))).all()
            for *identity, moment in rows:
                if moment is not None:
                    where = sa.tuple_(*column.table.primary_key) == sa.tuple_(*identity)
                    await connection.execute(sa.update(column.table).where(where).values({column.name: moment + HOUR}))

    await catalog.transact(move)


async def test_a_clock_that_is_set_back_keeps_nobody_waiting_and_takes_no_lease_from_who_lives(
    catalog: Database, queue: Queue
) -> None:
    lease = timedelta(seconds=5)
    alive, dead = (Leases(catalog, owner=owner, duration=lease) for owner in ("alive", "dead"))
    scheduler = Scheduler(catalog, queue, alive, [RegularTask("test.sweep", HOUR)])
    assert await scheduler.tick() == ["test.sweep"]
    held = await alive.acquire("table/held")
    assert held is not None
    assert await dead.acquire("table/left") is not None
    await enqueue(catalog, queue, ("acme", "runs"), ("zeta", "waits"))
    running = await claim(queue, lease=lease, owner="alive")
    assert running is not None

    await set_back_by_an_hour(catalog)
    assert await claim(queue) is None, "all of it is due in an hour"
    await scheduler.tick()

    assert (await claimed(queue)).subject == "waits"
    async with catalog.read() as connection:
        now = await catalog.now(connection)
        ends = (await connection.execute(sa.select(leases.c.until))).scalars().all()
        job_ends = await connection.execute(sa.select(jobs.c.lease_until).where(jobs.c.job_id == running.job_id))
        next_at = (await connection.execute(sa.select(schedule.c.next_at))).scalar_one()
    assert all(end <= now + lease for end in [*ends, job_ends.scalar_one()]), (
        "who died is waited for no longer than that"
    )
    assert next_at <= now + HOUR
    await catalog.transact(lambda c: alive.verify(c, held))
    assert await queue.recover_lost() == []
    await catalog.transact(lambda c: queue.finish(c, running))


async def test_patience_is_measured_by_the_clock_of_the_database(
    catalog: Database, queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process whose own clock is ahead would give up at once."""

    async def unavailable(_: JobRun) -> bool:
        raise Unavailable("The provider is down.")

    await enqueue(catalog, queue, ("acme", "one"))
    ahead = time.time() + 2 * HOUR.total_seconds()
    monkeypatch.setattr(time, "time", lambda: ahead)
    await worker(catalog, queue, JobHandler(unavailable), patience=HOUR).run_until_idle()
    assert await states(catalog) == [("one", "ready", 1, 0)]
