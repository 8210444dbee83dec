"""SQLite under SQLAlchemy, with one trip to a connection's thread for each statement.

SQLAlchemy's adapter makes four: to open a cursor, to execute, to fetch the rows that are all fetched anyway, to close.
A trip costs two switches of threads and a turn of the event loop, more than SQLite needs to answer. A connection that
only reads begins its transaction on the first statement's trip, and does not wait for its end: whatever is asked next
stands in line behind it.
"""

import sqlite3
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import aiosqlite
import sqlalchemy as sa
from sqlalchemy.dialects.sqlite.aiosqlite import (
    AsyncAdapt_aiosqlite_connection,
    AsyncAdapt_aiosqlite_cursor,
    AsyncAdapt_aiosqlite_dbapi,
)


@dataclass(slots=True)
class _Done:
    """What a cursor tells of a statement that was executed; the cursor itself is closed."""

    description: Any = None
    rowcount: int = -1
    lastrowid: int | None = None
    arraysize: int = 1

    def close(self) -> None:
        """Nothing is open."""


class _Cursor(AsyncAdapt_aiosqlite_cursor):
    __slots__ = ()

    _awaitable_cursor_close = False

    def _aenter_cursor(self, cursor: Any) -> Any:
        return cursor

    def _make_new_cursor(self, connection: Any) -> Any:  # noqa: ARG002 (the base class's)
        return _Done()

    async def _execute_async(self, operation: Any, parameters: Any) -> None:
        await self._in_one_trip(_execute, operation, () if parameters is None else parameters)

    async def _executemany_async(self, operation: Any, seq_of_parameters: Any) -> None:
        await self._in_one_trip(_execute_many, operation, seq_of_parameters)

    async def _in_one_trip(self, work: Any, *arguments: Any) -> None:
        connection = cast(Any, self._connection)
        adapter = cast(_Connection, self._adapt_connection)
        async with adapter._execute_mutex:
            begins, adapter.begins = adapter.begins, False
            if begins:
                work, arguments = _begun, (work, *arguments)
            done, rows = await connection._execute(work, connection._conn, *arguments)
            self._cursor, self._rows = done, deque(rows)


class _Connection(AsyncAdapt_aiosqlite_connection):
    __slots__ = ("begins",)

    _cursor_cls = _Cursor

    def __init__(self, dbapi: Any, connection: Any) -> None:
        super().__init__(dbapi, connection)
        self.begins = False
        """Whether a transaction begins with the next statement."""


class _ReadingConnection(_Connection):
    __slots__ = ()

    def rollback(self) -> None:
        connection = cast(Any, self._connection)
        if self.begins:
            self.begins = False
        elif connection._connection:
            connection._tx.put_nowait((None, connection._conn.rollback))


class OneTripSqlite(AsyncAdapt_aiosqlite_dbapi):
    """The `module` of an engine."""

    def __init__(self, *, reads_only: bool = False) -> None:
        super().__init__(aiosqlite, sqlite3)
        self._made = _ReadingConnection if reads_only else _Connection

    def connect(self, *arguments: Any, **options: Any) -> AsyncAdapt_aiosqlite_connection:
        return self._made(self, super().connect(*arguments, **options)._connection)


def begin_with_next_statement(connection: sa.Connection) -> None:
    """For the event `begin` of an engine that only reads."""
    cast(_Connection, connection.connection.dbapi_connection).begins = True


def _begun(connection: sqlite3.Connection, work: Any, *arguments: Any) -> Any:
    connection.execute("BEGIN")
    return work(connection, *arguments)


def _execute(connection: sqlite3.Connection, statement: str, values: Any) -> tuple[_Done, Sequence[Any]]:
    cursor = connection.cursor()
    try:
        cursor.execute(statement, values)
        rows = cursor.fetchall() if cursor.description else ()
        return _Done(cursor.description, cursor.rowcount, cursor.lastrowid), rows
    finally:
        cursor.close()


def _execute_many(connection: sqlite3.Connection, statement: str, values: Any) -> tuple[_Done, Sequence[Any]]:
    cursor = connection.cursor()
    try:
        cursor.executemany(statement, values)
        return _Done(None, cursor.rowcount, cursor.lastrowid), ()
    finally:
        cursor.close()
