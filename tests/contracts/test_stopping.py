"""What a process holds is free at once when it stops, not when the lease runs out: here leases last an hour."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from s4.platform.database import Database
from s4.platform.jobs import (
    ClaimedJob,
    Held,
    JobHandler,
    JobRequest,
    JobRun,
    Leases,
    Queue,
    Worker,
    WorkerLimits,
    heartbeat,
)
from s4.platform.jobs.models import jobs
from tests.contracts.object_stores import s3_settings
from tests.factories.catalog import open_catalog
from tests.factories.house import open_house
from tests.factories.receiver import receiving
from tests.factories.webhook_kit import Kit, kit_over
from tests.fault_proxy import Fault, Mode, fault_proxy
from tests.servers import S3Server

HOUR = timedelta(hours=1)
KIND = "test.job"
PATIENCE_SECONDS = 30.0  # for what is awaited; it takes milliseconds


class Hesitating(Queue):
    """Stands between the catalog's answer and whoever asked for a job: there a stop may come as well."""

    def __init__(self, database: Database) -> None:
        super().__init__(database, secrets.token_bytes)
        self.has_claimed, self.may_answer = asyncio.Event(), asyncio.Event()

    async def claim(self, **wanted: Any) -> ClaimedJob | None:
        job = await super().claim(**wanted)
        self.has_claimed.set()
        await self.may_answer.wait()
        return job


async def never(_: JobRun) -> bool:
    raise AssertionError("it ran although the worker was told to stop")


async def test_a_job_that_is_claimed_while_the_worker_stops_goes_back_uncounted(catalog: Database) -> None:
    queue = Hesitating(catalog)
    await catalog.transact(lambda c: queue.enqueue(c, JobRequest(KIND, "t", "late", {})))
    limits = WorkerLimits(
        concurrency=2, lease=HOUR, poll=HOUR, attempts_max=5, backoff=HOUR, backoff_max=HOUR, patience=HOUR
    )
    stopping = Worker(catalog, queue, {KIND: JobHandler(never)}, owner="stopping", limits=limits)
    running = asyncio.create_task(stopping.run())
    await queue.has_claimed.wait()

    await stopping.stop(within=HOUR)
    queue.may_answer.set()
    await running

    async with catalog.read() as connection:
        row = (await connection.execute(sa.select(jobs.c.state, jobs.c.attempts, jobs.c.crashes))).one()
    assert tuple(row) == ("ready", 0, 0)


async def test_whoever_stops_leaves_no_lease_behind(catalog: Database) -> None:
    mine, yours = (Leases(catalog, owner=owner, duration=HOUR) for owner in ("stops", "stays"))
    for name in ("scheduler", "table/a"):
        assert await mine.acquire(name)
    kept = await yours.acquire("table/b")
    assert kept is not None

    await mine.release_all()

    assert await yours.acquire("scheduler")
    assert await yours.acquire("table/a")
    await catalog.transact(lambda c: yours.verify(c, kept))


async def test_a_lease_that_was_given_back_is_not_extended_by_a_beat_that_looked_at_the_clock_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It would stay held for as long as its process lives, by nobody."""
    url = f"sqlite:///{tmp_path / 'catalog.sqlite'}"
    catalog = open_catalog(url)
    mine, yours = (Leases(catalog, owner=owner, duration=HOUR) for owner in ("mine", "yours"))
    lease = await mine.acquire("table")
    assert lease is not None
    looked_at = datetime.now(UTC)

    class Before(datetime):
        @classmethod
        def now(cls, _: Any = None) -> "Before":
            return cls.fromtimestamp(looked_at.timestamp(), UTC)

    await mine.release(lease)
    monkeypatch.setattr(heartbeat, "datetime", Before)
    held = Held()
    held.take_lease(lease.name)  # it was read before
    beating = heartbeat.Heartbeat(url, owner="mine", lease=HOUR, held=held)
    beating._beat(beating._engine())

    assert await yours.acquire("table"), "the beat took it back"
    await catalog.aclose()


# -- the table of a tenant


async def test_a_worker_that_stops_in_the_middle_of_a_commit_leaves_the_table_to_the_next(
    tmp_path: Path, postgres_url: str, s3_server: S3Server, s3_shared_bucket: str
) -> None:
    """The store hangs, so the commit does not end in its time. The next worker has a way to the store that works."""
    settings = s3_settings(s3_server, s3_shared_bucket, job_lease_seconds=3600).model_dump(exclude_unset=True)
    settings |= {"database_url": postgres_url}
    async with fault_proxy(s3_server.endpoint) as proxy:
        hanging = proxy.add(Fault(Mode.HANG, method="PUT", path="chunks.lance"))
        async with open_house(tmp_path / "first", **settings | {"store_endpoint": proxy.endpoint}) as first:
            acme = await first.tenant()
            document = await first.put(acme, "tides", "Tides follow the moon.")
            running = asyncio.create_task(first.parts.worker.run())
            async with asyncio.timeout(PATIENCE_SECONDS):
                await hanging.hit.wait()
            await first.parts.worker.stop(within=timedelta(0))
            await running
        async with open_house(tmp_path / "second", **settings) as second:
            async with asyncio.timeout(PATIENCE_SECONDS):  # half of what a worker waits for a table
                await second.work()
            acme = await second.known(acme.key)
            assert await second.found(acme, "tides") == [document.document_id]


# -- deliveries


@pytest.fixture
async def kit(catalog: Database, object_store: Any) -> AsyncIterator[Kit]:
    made = kit_over(catalog, object_store)
    yield made
    await made.outbound.aclose()


@pytest.mark.parametrize("object_store", ["memory"], indirect=True)
async def test_a_delivery_that_is_cut_off_by_the_stop_is_due_at_once_and_uncounted(kit: Kit) -> None:
    context = await kit.tenant()
    async with receiving(lambda _: None) as receiver:
        webhook = await kit.webhook(context, receiver.url)
        await kit.emit(context)
        pump = kit.pump()
        running = asyncio.create_task(pump.run())
        await receiver.until(1)

        await pump.stop(within=timedelta(0))

        await running
        receiver.answer = lambda _: 200
        await kit.pump().run_until_idle()
        assert len({got.headers["x-s4-delivery"] for got in receiver.got}) == 1
        assert len(receiver.got) == 2
    delivery = await kit.only(context, webhook)
    assert (delivery.state, delivery.attempts) == ("delivered", 1)


@pytest.mark.parametrize("object_store", ["memory"], indirect=True)
async def test_a_delivery_that_is_claimed_while_the_pump_stops_is_not_sent_and_due_at_once(
    kit: Kit, monkeypatch: pytest.MonkeyPatch
) -> None:
    context = await kit.tenant()
    async with receiving() as receiver:
        webhook = await kit.webhook(context, receiver.url)
        await kit.emit(context)
        pump = kit.pump()
        has_claimed, may_answer = asyncio.Event(), asyncio.Event()
        claim = pump._claim

        async def hesitating(*wanted: Any) -> Any:
            claimed = await claim(*wanted)
            has_claimed.set()
            await may_answer.wait()
            return claimed

        monkeypatch.setattr(pump, "_claim", hesitating)
        running = asyncio.create_task(pump.run())
        await has_claimed.wait()
        await pump.stop(within=HOUR)
        may_answer.set()
        await running
        assert receiver.got == []
        await kit.pump().run_until_idle()
        assert len(receiver.got) == 1
    assert (await kit.only(context, webhook)).attempts == 1
