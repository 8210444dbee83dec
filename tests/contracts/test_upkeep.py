"""Everything regular and the checklist, on every database: what is due, what is overdue, and who said so."""

import secrets
from datetime import datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from s4.domains import audit, upkeep
from s4.domains.audit.queries import Wanted, page
from s4.domains.backup import queries as backup_queries
from s4.domains.backup.models import backup_runs
from s4.domains.backup.service import refresh_gauges
from s4.domains.maintenance.model import SERVING, Deployment
from s4.domains.maintenance.queries import write_deployment
from s4.domains.maintenance.replication import REPLICATE
from s4.domains.maintenance.service import COLLECT, RECOUNT
from s4.domains.upkeep import checklist
from s4.domains.upkeep.schedule import ScheduleService, set_gauges
from s4.kernel.context import Actor, AdminContext
from s4.kernel.errors import Forbidden, NotFound
from s4.kernel.pages import PageRequest
from s4.kernel.permissions import AdminRole
from s4.platform.database import Connection, Database
from s4.platform.jobs import (
    Leases,
    Outcome,
    Queue,
    RegularTask,
    Scheduler,
    TaskState,
    record_drift,
    record_success,
    states,
)
from s4.platform.jobs.models import schedule
from s4.platform.telemetry import metrics

KIND = "test.sweep"
HOUR = timedelta(hours=1)
OWNER = AdminContext("ada", AdminRole.OWNER)


@pytest.fixture
def queue(catalog: Database) -> Queue:
    return Queue(catalog, secrets.token_bytes)


def scheduler(catalog: Database, queue: Queue, *tasks: RegularTask) -> Scheduler:
    return Scheduler(catalog, queue, Leases(catalog, owner="s", duration=HOUR), tasks)


async def now(catalog: Database) -> datetime:
    async with catalog.read() as connection:
        return await catalog.now(connection)


async def seen(catalog: Database, after: timedelta = timedelta()) -> list[TaskState]:
    """As somebody sees it who looks so much later."""
    moment = await now(catalog) + after
    async with catalog.read() as connection:
        return await states(connection, moment)


async def succeed(catalog: Database, kind: str = KIND) -> None:
    async def end(connection: Connection) -> None:
        await connection.execute(sa.text("DELETE FROM jobs"))
        await record_success(connection, kind, now=await catalog.now(connection))

    await catalog.transact(end)


async def test_a_task_is_overdue_when_its_last_success_lies_twice_its_interval_back(
    catalog: Database, queue: Queue
) -> None:
    await scheduler(catalog, queue, RegularTask(KIND, HOUR)).tick()
    (fired,) = await seen(catalog)
    assert (fired.outcome, fired.every, fired.last_succeeded_at) == (Outcome.WAITING, HOUR, None)
    await succeed(catalog)
    (well,) = await seen(catalog)
    assert (well.outcome, well.is_overdue) == (Outcome.OK, False)
    assert [state.is_overdue for state in await seen(catalog, 2 * HOUR)] == [False]
    assert [state.is_overdue for state in await seen(catalog, 3 * HOUR)] == [True]


async def test_a_task_that_begins_to_be_regular_is_not_overdue_and_one_that_ends_to_be_is_not_shown(
    catalog: Database, queue: Queue
) -> None:
    both = (RegularTask(KIND, HOUR), RegularTask("test.other", HOUR))
    await scheduler(catalog, queue, *both).tick()
    long_ago = await now(catalog) - timedelta(days=9)
    await catalog.transact(lambda c: c.execute(sa.update(schedule).values(seen_at=long_ago, first_at=long_ago)))
    assert {state.is_overdue for state in await seen(catalog)} == {True}, "nobody schedules"
    await scheduler(catalog, queue, both[0]).tick()
    assert [(state.task, state.is_overdue) for state in await seen(catalog)] == [(KIND, False)]


@pytest.mark.parametrize(
    ("job", "outcome"),
    [
        ({"state": "running"}, Outcome.RUNNING),
        ({"state": "ready", "attempts": 2, "last_error": "Broken."}, Outcome.RETRYING),
        ({"state": "failed", "attempts": 5, "last_error": "Broken."}, Outcome.FAILED),
    ],
)
async def test_the_outcome_is_that_of_its_job(
    catalog: Database, queue: Queue, job: dict[str, Any], outcome: Outcome
) -> None:
    await scheduler(catalog, queue, RegularTask(KIND, HOUR)).tick()
    await catalog.transact(
        lambda c: c.execute(sa.text(f"UPDATE jobs SET {', '.join(f'{name} = :{name}' for name in job)}"), job)
    )
    (state,) = await seen(catalog)
    assert (state.outcome, state.error) == (outcome, job.get("last_error"))


async def test_a_task_is_run_before_its_time_and_its_next_is_counted_from_there(
    catalog: Database, queue: Queue
) -> None:
    await scheduler(catalog, queue, RegularTask(KIND, HOUR)).tick()
    await succeed(catalog)
    requested_at = await ScheduleService(catalog, queue).run(OWNER, KIND)
    (state,) = await seen(catalog)
    assert state.outcome is Outcome.WAITING
    assert state.next_at == requested_at + HOUR
    async with catalog.read() as connection:
        entries, _ = await page(connection, Wanted(action="schedule.run"), PageRequest(1, 10))
    assert [(each.entry.subject, each.entry.actor) for each in entries] == [(f"task/{KIND}", "ada")]


async def test_what_no_setting_makes_regular_can_be_asked_for_and_what_nobody_knows_cannot(
    catalog: Database, queue: Queue
) -> None:
    service = ScheduleService(catalog, queue)
    await scheduler(catalog, queue, RegularTask(KIND, HOUR)).tick()
    requested_at = await service.run(OWNER, "backup.drill")
    await succeed(catalog, "backup.drill")
    state = await service.task(OWNER, "backup.drill")
    assert state.last_succeeded_at is not None
    assert state.last_succeeded_at >= requested_at
    assert [each.task for each in await service.tasks(OWNER)] == [KIND], "nobody promised that it comes again"
    with pytest.raises(NotFound):
        await service.run(OWNER, "test.unknown")
    with pytest.raises(Forbidden):
        await service.run(AdminContext("eve", AdminRole.AUDITOR), KIND)


async def test_metrics_say_how_often_and_when_last(catalog: Database, queue: Queue) -> None:
    await scheduler(catalog, queue, RegularTask(KIND, HOUR)).tick()
    (state,) = await seen(catalog)
    set_gauges([state], await now(catalog))
    assert state.since is not None
    assert metrics.SCHEDULE_INTERVAL.labels(KIND)._value.get() == 3600
    assert metrics.SCHEDULE_LAST_SUCCESS.labels(KIND)._value.get() == pytest.approx(state.since.timestamp())


async def test_a_second_region_falls_behind_also_where_no_copying_ends(catalog: Database, queue: Queue) -> None:
    await scheduler(catalog, queue, RegularTask(REPLICATE, HOUR)).tick()
    set_gauges(await seen(catalog), await now(catalog) + HOUR)
    assert metrics.REPLICATION_LAG._value.get() == pytest.approx(3600, abs=60)
    await succeed(catalog, REPLICATE)
    set_gauges(await seen(catalog), await now(catalog) + 2 * HOUR)
    assert metrics.REPLICATION_LAG._value.get() == pytest.approx(7200, abs=60)
    set_gauges([], await now(catalog))
    assert metrics.REPLICATION_LAG._value.get() == 0, "nobody copies any more"


async def test_what_a_worker_found_to_differ_is_told_when_it_has_gone_until_a_run_finds_nothing(
    catalog: Database, queue: Queue
) -> None:
    await scheduler(catalog, queue, RegularTask(COLLECT, HOUR), RegularTask(RECOUNT, HOUR)).tick()
    await catalog.transact(lambda c: record_drift(c, COLLECT, drift_bytes=5))
    set_gauges(await seen(catalog), await now(catalog))
    assert drifts() == (5, 0)
    await catalog.transact(lambda c: record_drift(c, RECOUNT, drift_bytes=7))
    await catalog.transact(lambda c: record_drift(c, COLLECT, drift_bytes=0))
    set_gauges(await seen(catalog), await now(catalog))
    assert drifts() == (0, 7)


def drifts() -> tuple[float, float]:
    """Of documents, of balances."""
    return metrics.STORAGE_DRIFT_BYTES._value.get(), metrics.USAGE_DRIFT_BYTES._value.get()


# -- backups


async def overdue_seconds(catalog: Database, *, made: timedelta, age_max: timedelta) -> float:
    """`made`: the deployment, so long ago."""
    moment = await now(catalog)
    async with catalog.read() as connection:
        await refresh_gauges(connection, moment, made_at=moment - made, age_max=age_max)
    return metrics.BACKUP_OVERDUE._value.get()


async def test_a_backup_is_overdue_when_it_is_older_than_it_may_be(catalog: Database) -> None:
    assert await overdue_seconds(catalog, made=HOUR, age_max=2 * HOUR) == 0, "a new deployment has none yet"
    assert await overdue_seconds(catalog, made=3 * HOUR, age_max=2 * HOUR) == pytest.approx(3600)
    assert await overdue_seconds(catalog, made=3 * HOUR, age_max=timedelta()) == 0, "nobody promised one"
    moment = await now(catalog)
    run = {"run_id": "run_1", "kind": "backup", "backup_id": "bak_1", "outcome": "ok", "started_at": moment,
           "ended_at": moment, "point": moment - HOUR, "said": {}}  # fmt: skip
    await catalog.transact(lambda c: backup_queries.note_run(c, run))
    assert await overdue_seconds(catalog, made=3 * HOUR, age_max=2 * HOUR) == 0
    assert await overdue_seconds(catalog, made=3 * HOUR, age_max=HOUR / 2) == pytest.approx(1800, abs=60)


# -- checklist


async def items(catalog: Database, after: timedelta = timedelta()) -> dict[str, upkeep.ItemState]:
    moment = await now(catalog) + after
    async with catalog.read() as connection:
        return {state.item.name: state for state in await checklist.states(connection, moment)}


async def made(catalog: Database) -> None:
    moment = await now(catalog)
    await catalog.transact(lambda c: write_deployment(c, Deployment("epo_1", SERVING, 1), now=moment))


async def test_what_was_never_done_is_due_an_interval_after_the_deployment_was_made(catalog: Database) -> None:
    await made(catalog)
    assert not any(state.is_overdue for state in (await items(catalog)).values())
    later = await items(catalog, timedelta(days=8))
    overdue = {name for name, state in later.items() if state.is_overdue}
    assert overdue == {"security-patches", "backup-verification", "audit-verification"}
    assert {state.last for state in later.values()} == {None}


async def test_somebody_says_that_it_was_done_and_the_trail_has_it(catalog: Database) -> None:
    state = await upkeep.Checklist(catalog).done(OWNER, "cost-review", "12 % less than the bill.")
    assert state.last is not None
    assert (state.last.by, state.last.note) == ("admin/ada", "12 % less than the bill.")
    assert state.due_at == state.last.at + timedelta(days=31)
    assert (await items(catalog, timedelta(days=32)))["cost-review"].is_overdue
    async with catalog.read() as connection:
        entries, _ = await page(connection, Wanted(action="checklist.done"), PageRequest(1, 10))
    assert [each.entry.after for each in entries] == [{"note": "12 % less than the bill."}]
    with pytest.raises(NotFound, match="cost-review"):
        await upkeep.Checklist(catalog).done(OWNER, "cost-revue", "")


async def test_a_part_of_s4_marks_an_item_in_its_own_transaction(catalog: Database) -> None:
    moment = await now(catalog)
    worker = Actor("system", "reports")
    await catalog.transact(
        lambda c: upkeep.mark_done(c, worker, "performance-review", note="reports/2026-11.md", now=moment)
    )
    last = (await items(catalog))["performance-review"].last
    assert last is not None
    assert (last.by, last.note) == ("system/reports", "reports/2026-11.md")


async def test_a_drill_that_was_passed_ticks_the_restore_test_and_one_that_failed_does_not(catalog: Database) -> None:
    moment = await now(catalog)

    def run(outcome: str, ended_at: datetime) -> dict[str, Any]:
        return {
            "run_id": f"run_{outcome}", "kind": "drill", "backup_id": "bkp_1", "outcome": outcome, "said": {},
            "started_at": ended_at, "ended_at": ended_at, "point": None,
        }  # fmt: skip

    runs = [run("ok", moment - timedelta(days=80)), run("failed", moment - timedelta(days=1))]
    await catalog.transact(lambda c: c.execute(sa.insert(backup_runs), runs))
    state = (await items(catalog))["restore-test"]
    assert state.last is not None
    assert state.last.at == moment - timedelta(days=80)
    assert "bkp_1" in state.last.note
    assert (await items(catalog, timedelta(days=11)))["restore-test"].is_overdue
    await catalog.transact(lambda c: audit.record(c, OWNER.actor, "x", "y"))  # an entry of another kind changes nothing
    assert (await items(catalog))["restore-test"] == state
