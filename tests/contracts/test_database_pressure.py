"""What a PostgreSQL server shows of who holds others up."""

import asyncio
from pathlib import Path

import sqlalchemy as sa

from s4.platform.database import Connection, Database
from s4.platform.database.pressure import Session, log_bytes, pressure
from s4.platform.jobs.models import leases
from tests.factories.catalog import open_catalog, sqlite_url

PATIENCE_SECONDS = 60


async def looked(catalog: Database) -> tuple[Session, ...]:
    async with catalog.read() as connection:
        found = await pressure(connection, held_seconds=0.0)
    assert found is not None
    assert 0 < found.connections < found.connections_max
    return found.sessions


async def test_who_holds_a_lock_is_named_with_how_many_wait(postgres_url: str) -> None:
    catalog = open_catalog(postgres_url)
    holds, ends = asyncio.Event(), asyncio.Event()

    async def insert(connection: Connection) -> None:
        values = {"name": "x", "owner": "", "token": 0, "until": await catalog.now(connection)}
        await connection.execute(sa.insert(leases).values(**values))

    async def hold(connection: Connection) -> None:
        await insert(connection)
        holds.set()
        await ends.wait()

    async def wait(connection: Connection) -> None:
        await insert(connection)

    holding = asyncio.create_task(catalog.transact(hold))
    await holds.wait()
    waiting = asyncio.create_task(catalog.transact(wait))
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            while not (blocked := [each for each in await looked(catalog) if each.waiting]):
                pass  # each look is a round trip
    finally:
        ends.set()
        await asyncio.gather(holding, waiting, return_exceptions=True)  # the second finds the name taken
    assert [(each.waiting, each.state) for each in blocked] == [(1, "idle in transaction")]
    assert [each for each in await looked(catalog) if each.waiting] == []
    await catalog.aclose()


async def test_sqlite_has_no_sessions_but_a_log(tmp_path: Path) -> None:
    url = sqlite_url(tmp_path)
    catalog = open_catalog(url)
    async with catalog.read() as connection:
        assert await pressure(connection, held_seconds=0.0) is None
    await catalog.transact(lambda c: c.execute(sa.delete(leases)))
    assert log_bytes(url) > 0
    await catalog.aclose()
