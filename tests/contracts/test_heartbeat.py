"""The heartbeat, on every database, and over a network that forgets connections."""

import asyncio
import secrets
import threading
from collections.abc import Callable
from contextlib import AsyncExitStack, ExitStack
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from s4.platform.database import Connection, Database
from s4.platform.jobs import Held, JobRequest, Leases, Queue
from s4.platform.jobs.heartbeat import Heartbeat
from s4.platform.jobs.models import jobs, leases
from tests.factories.catalog import open_catalog
from tests.servers import PostgresServer
from tests.tcp_proxy import Trouble, tcp_proxy

KIND = "test.job"
LONG = timedelta(hours=1)
"""Of leases that no pause of the machine lets run out."""
FASTER = 3600
"""Times that a beat comes sooner than it would."""
PATIENCE_SECONDS = 60


class Hurried(threading.Event):
    """The stop of a heartbeat that pauses more shortly. `pauses`: what it would wait."""

    def __init__(self) -> None:
        super().__init__()
        self.pauses: list[timedelta] = []

    def wait(self, timeout: float | None = None) -> bool:
        assert timeout is not None
        self.pauses.append(timedelta(seconds=timeout))
        return super().wait(timeout / FASTER)


def hurried(heartbeat: Heartbeat) -> Hurried:
    heartbeat._stop = stop = Hurried()
    return stop


async def test_the_heartbeat_keeps_jobs_and_leases_from_running_out(catalog: Database, catalog_url: str) -> None:
    queue = Queue(catalog, secrets.token_bytes)
    await catalog.transact(lambda c: queue.enqueue(c, JobRequest(KIND, "t", "a", {})))
    job = await queue.claim(owner="worker", lease=LONG, kinds=[KIND])
    assert job is not None
    held = Held()
    held.take_job(job.lease_token)
    lease = await Leases(catalog, owner="worker", duration=LONG, held=held).acquire("table")
    assert lease is not None
    heartbeat = Heartbeat(catalog_url, owner="worker", lease=LONG, held=held)
    stop = hurried(heartbeat)
    heartbeat.start()

    async def ends() -> tuple[object, object]:
        async with catalog.read() as connection:
            of_job = (await connection.execute(sa.select(jobs.c.lease_until))).scalar_one()
            return of_job, (await connection.execute(sa.select(leases.c.until))).scalar_one()

    try:
        for _ in range(2):
            first = await ends()
            async with asyncio.timeout(PATIENCE_SECONDS):
                while True:
                    now = await ends()
                    if now[0] > first[0] and now[1] > first[1]:  # type: ignore[operator]
                        break
                    await asyncio.sleep(0.02)
    finally:
        heartbeat.stop()
    assert max(stop.pauses) <= LONG / 3, "two beats may fail before a lease is lost"
    assert await queue.recover_lost() == []
    await catalog.transact(lambda c: queue.finish(c, job))


async def test_what_a_transaction_has_locked_holds_up_the_beat_of_nothing_else(postgres_url: str) -> None:
    catalog = open_catalog(postgres_url)
    queue = Queue(catalog, secrets.token_bytes)
    for subject in ("locked", "free"):
        await catalog.transact(lambda c, subject=subject: queue.enqueue(c, JobRequest(KIND, "t", subject, {})))
    running = [await queue.claim(owner="worker", lease=LONG, kinds=[KIND]) for _ in range(2)]
    by_subject = {job.subject: job for job in running if job is not None}
    held = Held()
    for job in by_subject.values():
        held.take_job(job.lease_token)
    heartbeat = Heartbeat(postgres_url, owner="worker", lease=LONG, held=held)
    hurried(heartbeat)

    async def ends(subject: str) -> datetime:
        async with catalog.read() as connection:
            until: datetime = (
                await connection.execute(sa.select(jobs.c.lease_until).where(jobs.c.subject == subject))
            ).scalar_one()
            return until

    async def twice_extended(connection: Connection) -> None:
        assert await queue.holds(connection, by_subject["locked"])
        heartbeat.start()
        for _ in range(2):
            first = await ends("free")
            async with asyncio.timeout(PATIENCE_SECONDS):
                while await ends("free") == first:  # noqa: ASYNC110 (a row tells nobody)
                    await asyncio.sleep(0.02)
        assert await queue.holds(connection, by_subject["locked"])

    try:
        await catalog.transact(twice_extended)
    finally:
        heartbeat.stop()
        await catalog.aclose()


async def test_what_the_process_does_not_know_to_hold_runs_out(catalog: Database, catalog_url: str) -> None:
    """Its claim's answer got lost, or it could not hand the job back."""
    queue = Queue(catalog, secrets.token_bytes)
    short = timedelta(seconds=1)
    await catalog.transact(lambda c: queue.enqueue(c, JobRequest(KIND, "t", "a", {})))
    assert await queue.claim(owner="worker", lease=short, kinds=[KIND]) is not None
    assert await Leases(catalog, owner="worker", duration=short).acquire("table") is not None
    heartbeat = Heartbeat(catalog_url, owner="worker", lease=short, held=Held())
    heartbeat.start()
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while True:
                if await queue.recover_lost():
                    break
                await asyncio.sleep(0.02)
            others = Leases(catalog, owner="another", duration=short)
            while True:
                if await others.acquire("table") is not None:
                    break
                await asyncio.sleep(0.02)
    finally:
        heartbeat.stop()


async def test_a_heartbeat_whose_connection_is_forgotten_by_the_network_beats_on(
    postgres_url: str, postgres_server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And hangs up in its time, which is here a third of a lease of three seconds, and not of the hour that it has."""
    timer = threading.Timer

    def sooner(interval: float, act: Callable[[], None]) -> threading.Timer:
        assert interval == LONG.total_seconds() / 3
        return timer(1.0, act)

    monkeypatch.setattr(threading, "Timer", sooner)
    catalog = open_catalog(postgres_url)
    async with AsyncExitStack() as stack:
        stack.push_async_callback(catalog.aclose)
        beating = stack.enter_context(ExitStack())  # ends when the line has: who waits for it is let go
        line = await stack.enter_async_context(tcp_proxy("127.0.0.1", postgres_server.port))
        held = Held()
        lease = await Leases(catalog, owner="worker", duration=LONG, held=held).acquire("table")
        assert lease is not None
        behind_the_line = postgres_url.replace(f":{postgres_server.port}/", f":{line.port}/")
        heartbeat = Heartbeat(behind_the_line, owner="worker", lease=LONG, held=held)
        hurried(heartbeat)
        heartbeat.start()
        beating.callback(heartbeat.stop)

        async def extended(beyond: datetime) -> datetime:
            async with asyncio.timeout(PATIENCE_SECONDS):
                while True:
                    async with catalog.read() as connection:
                        until: datetime = (await connection.execute(sa.select(leases.c.until))).scalar_one()
                    if until > beyond:
                        return until
                    await asyncio.sleep(0.02)

        first = await extended(datetime(2020, 1, 1, tzinfo=UTC))
        connected = await extended(first)
        line.begin(Trouble.FORGET)
        await extended(await extended(connected))
        await catalog.transact(lambda c: Leases(catalog, owner="worker", duration=LONG).verify(c, lease))
