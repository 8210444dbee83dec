"""SQLite in few trips to its thread: the same answers, transactions that begin and end, errors that come through."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiosqlite
import pytest
import sqlalchemy as sa

from s4.platform.database import Connection, Database, open_database

ONE = sa.text("SELECT 1")


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    opened = open_database(f"sqlite:///{tmp_path}/catalog.db", pool_size=2, timeout_seconds=5)
    await opened.transact(lambda c: c.execute(sa.text("CREATE TABLE pair (a INTEGER PRIMARY KEY, b TEXT NOT NULL)")))
    yield opened
    await opened.aclose()


@pytest.fixture
def trips(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """What was sent to a connection's thread."""
    sent: list[object] = []
    send = aiosqlite.Connection._execute

    async def counted(self: aiosqlite.Connection, work: Any, *arguments: Any, **named: Any) -> Any:
        sent.append(work)
        return await send(self, work, *arguments, **named)

    monkeypatch.setattr(aiosqlite.Connection, "_execute", counted)
    return sent


async def insert(database: Database, *rows: tuple[int, str]) -> None:
    given = [{"a": a, "b": b} for a, b in rows]
    await database.transact(lambda c: c.execute(sa.text("INSERT INTO pair VALUES (:a, :b)"), given))


async def held(connection: Connection) -> list[tuple[int, str]]:
    return [(row.a, row.b) for row in await connection.execute(sa.text("SELECT a, b FROM pair ORDER BY a"))]


async def test_a_read_is_one_trip_for_each_statement(database: Database, trips: list[object]) -> None:
    await insert(database, (1, "one"), (2, "two"))
    async with database.read() as connection:
        await connection.execute(ONE)  # the connection is made
    trips.clear()
    async with database.read() as connection:
        assert await held(connection) == [(1, "one"), (2, "two")]
        await connection.execute(ONE)
    assert len(trips) == 2


async def test_a_read_sees_one_state_and_the_next_one_the_newest(database: Database) -> None:
    await insert(database, (1, "one"))
    for known in ([(1, "one")], [(1, "one"), (2, "two")]):
        async with database.read() as connection:
            assert await held(connection) == known
            await insert(database, (len(known) + 1, "two" if len(known) == 1 else "three"))
            assert await held(connection) == known


async def test_a_read_without_a_statement_leaves_no_transaction_behind(database: Database) -> None:
    async with database.read():
        pass
    await insert(database, (1, "one"))
    async with database.read() as connection:
        assert await held(connection) == [(1, "one")]


async def test_a_write_that_fails_is_undone_and_says_why(database: Database) -> None:
    async def twice(connection: Connection) -> None:
        await connection.execute(sa.text("INSERT INTO pair VALUES (7, 'seven')"))
        await connection.execute(sa.text("INSERT INTO pair VALUES (7, 'again')"))

    with pytest.raises(sa.exc.IntegrityError, match="UNIQUE"):
        await database.transact(twice)
    async with database.read() as connection:
        assert await held(connection) == []


async def test_counts_and_returned_rows_are_those_of_the_statement(database: Database) -> None:
    await insert(database, (1, "one"), (2, "two"), (3, "three"))

    async def change(connection: Connection) -> tuple[int, list[int]]:
        changed = await connection.execute(sa.text("UPDATE pair SET b = 'x' WHERE a < 3"))
        gone = await connection.execute(sa.text("DELETE FROM pair WHERE b = 'x' RETURNING a"))
        return changed.rowcount, sorted(gone.scalars())

    assert await database.transact(change) == (2, [1, 2])


async def test_a_read_that_is_given_up_leaves_its_connection_usable(database: Database) -> None:
    slow = sa.text(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 300000) SELECT max(i) FROM n"
    )
    for _ in range(4):  # more often than there are connections
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.001), database.read() as connection:
                await connection.execute(slow)
    async with database.read() as connection:
        assert (await connection.execute(ONE)).scalar_one() == 1
