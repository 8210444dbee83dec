"""How many sessions a process has at the server, counted there."""

import asyncio

import psycopg
import sqlalchemy as sa

from s4.platform.database import Connection, open_database
from tests.factories.nursery import until

POOL = 3


def sessions(url: str) -> int:
    with psycopg.connect(url, autocommit=True) as asking:
        (count,) = asking.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        ).fetchone() or (-1,)
    return int(count)


async def test_a_burst_opens_no_more_than_the_pool_and_gives_it_back(postgres_url: str) -> None:
    database = open_database(postgres_url, pool_size=POOL, timeout_seconds=30)
    inside, leave = asyncio.Semaphore(0), asyncio.Event()

    async def work(connection: Connection) -> None:
        await connection.execute(sa.text("SELECT 1"))
        inside.release()
        await leave.wait()

    crowd = [asyncio.create_task(database.transact(work)) for _ in range(4 * POOL)]
    try:
        for _ in range(POOL):
            await inside.acquire()
        assert await asyncio.to_thread(sessions, postgres_url) == POOL
        assert not await database.give_back(), "not while they are in use"
    finally:
        leave.set()
        await asyncio.gather(*crowd)

    assert await database.give_back()
    await asyncio.to_thread(until, lambda: sessions(postgres_url) == 0, "the server has ended the sessions")
    await database.ping()
    assert await asyncio.to_thread(sessions, postgres_url) == 1
    await database.aclose()
