"""Transactions: short, without network calls inside, begun anew when the database asks for it.

SQLite: every write transaction starts with `BEGIN IMMEDIATE` (a deferred one that reads and then writes fails at
once when another process wrote meanwhile, whatever the timeout), on one connection per process, so that writers of
a process queue in order instead of racing. PostgreSQL: READ COMMITTED with explicit row locks; serialization
failures and deadlocks are repeated. A database that does not answer becomes `Unavailable`.
"""

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry
from sqlalchemy.util import greenlet_spawn

from s4.kernel.errors import Unavailable
from s4.platform.database.sqlite_driver import OneTripSqlite, begin_with_next_statement
from s4.platform.telemetry import metrics, traces

Connection = AsyncConnection
T = TypeVar("T")

_DEADLINE_FACTOR = 2  # of the wait for a connection: a transaction is short, even one that waits for locks
_IDLE_SECONDS = 60.0  # a connection anew takes some ms: once a minute costs nobody anything
_BUSY_SECONDS = 0.5  # until the next look, while one is in use: transactions are shorter
_ATTEMPTS_MAX = 8  # of one transaction; with backoff about two seconds of contention
_VERBS = frozenset({"select", "insert", "update", "delete"})  # how statements are told apart
_RETRYABLE_STATES = {"40001", "40P01"}  # serialization_failure, deadlock_detected


class _Pool:
    """What is counted of an engine's connections."""

    def __init__(self, name: str, engine: AsyncEngine) -> None:
        self.waiting = metrics.DATABASE_POOL_WAITING.labels(name)
        self.in_use = metrics.DATABASE_POOL_IN_USE.labels(name)
        size = engine.pool.size() if isinstance(engine.pool, sa.pool.QueuePool) else 0
        metrics.DATABASE_POOL_SIZE.labels(name).set(size)


class Database:
    """Opened by `open_database`. `transact` for writes, `read` for reads, `now` for the only clock leases trust."""

    def __init__(
        self, *, reader: AsyncEngine, writer: AsyncEngine, url: str, deadline_seconds: float | None = None
    ) -> None:
        """`deadline_seconds` bounds a whole transaction: a server that was frozen answers no statement timeout."""
        self._deadline_seconds = deadline_seconds
        self._reader = reader
        self._writer = writer
        self.url = url
        self.dialect: str = writer.dialect.name
        self._pools = {reader: _Pool("read", reader), writer: _Pool("write", writer)}
        if reader is writer:
            self._pools = {writer: _Pool("both", writer)}
        for engine in self._pools:
            sa.event.listen(engine.sync_engine, "before_cursor_execute", _begin_statement)
            sa.event.listen(engine.sync_engine, "after_cursor_execute", _end_statement)

    @contextlib.asynccontextmanager
    async def read(self) -> AsyncIterator[Connection]:
        """A read transaction: all its statements see one state on SQLite, each the newest one on PostgreSQL."""
        started = time.perf_counter()
        try:
            async with asyncio.timeout(self._deadline_seconds), self._counted(self._reader, "read") as connection:
                yield connection
        except (sa.exc.DBAPIError, sa.exc.TimeoutError, OSError) as error:
            raise _translated(error) from error
        finally:
            metrics.DATABASE_SECONDS.labels("read").observe(time.perf_counter() - started)

    @contextlib.asynccontextmanager
    async def snapshot(self) -> AsyncIterator[Connection]:
        """A read transaction whose statements all see one state, on PostgreSQL too. For what reads a whole table: no
        deadline bounds it, for it holds no lock."""
        try:
            async with self._counted(self._reader, "read") as connection:
                if self.dialect == "postgresql":
                    await connection.execution_options(isolation_level="REPEATABLE READ")
                yield connection
        except (sa.exc.DBAPIError, sa.exc.TimeoutError, OSError) as error:
            raise _translated(error) from error

    async def transact(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        """Runs `work` in one write transaction and commits. `work` may run several times: no other effects in it."""
        started = time.perf_counter()
        try:
            for attempt in range(1, _ATTEMPTS_MAX + 1):
                try:
                    async with (
                        asyncio.timeout(self._deadline_seconds),
                        self._counted(self._writer, "write") as connection,
                        connection.begin(),
                    ):
                        return await work(connection)
                except sa.exc.DBAPIError as error:
                    reason = _retry_reason(error)
                    if reason is None or attempt == _ATTEMPTS_MAX:
                        raise
                    metrics.DATABASE_RETRIES.labels(reason).inc()
                await asyncio.sleep(random.uniform(0.005, 0.02) * 2**attempt)  # noqa: S311 (spreads contenders)
            raise AssertionError("unreachable: the last attempt returns or raises")
        except (sa.exc.DBAPIError, sa.exc.TimeoutError, OSError) as error:
            raise _translated(error) from error
        finally:
            metrics.DATABASE_SECONDS.labels("write").observe(time.perf_counter() - started)

    @contextlib.asynccontextmanager
    async def _counted(self, engine: AsyncEngine, kind: str) -> AsyncIterator[Connection]:
        """A connection of the engine's pool, counted while it is waited for and while it is held: a span, in which
        `connected` tells the one from the other."""
        pool = self._pools[engine]
        counted = pool.waiting
        counted.inc()
        try:
            with traces.span(f"database {kind}", {"db.system.name": self.dialect}) as span:
                async with engine.connect() as connection:
                    counted.dec()
                    counted = pool.in_use
                    counted.inc()
                    span.happened("connected")
                    yield connection
        finally:
            counted.dec()

    async def now(self, connection: Connection) -> datetime:
        """The database's clock: the one that all processes share."""
        if self.dialect == "postgresql":
            moment: datetime = (await connection.execute(sa.text("SELECT clock_timestamp()"))).scalar_one()
            return moment.astimezone(UTC)
        return datetime.now(UTC)  # SQLite runs in this machine's processes: their clock is its clock

    async def exclude(self, connection: Connection, *names: str) -> None:
        """Until this transaction ends, no other that excludes one of `names` goes on; they are taken in this order. On
        SQLite writers are alone anyway."""
        if self.dialect == "postgresql":
            locks = (
                "SELECT pg_advisory_xact_lock(hashtextextended(name, 0)) FROM unnest(CAST(:names AS text[])) AS name"
            )
            await connection.execute(sa.text(locks), {"names": list(names)})

    async def analyze(self) -> None:
        """For after much was written at once. PostgreSQL looks at new rows by itself within a minute; until then it
        takes 10,000 documents for one, and a range of their metadata took 74 s. What fails here, they do then."""
        if self.dialect == "postgresql":
            with contextlib.suppress(Unavailable):
                await self.transact(lambda connection: connection.execute(sa.text("ANALYZE")))

    async def ping(self) -> None:
        """Raises `Unavailable` unless a statement is answered."""
        async with self.read() as connection:
            await connection.execute(sa.text("SELECT 1"))

    async def give_back_idle(self) -> None:
        """For ever: connections that a burst has opened go back to a server that others share."""
        pause_seconds = _IDLE_SECONDS
        while True:
            await asyncio.sleep(pause_seconds)
            pause_seconds = _IDLE_SECONDS if await self.give_back() else _BUSY_SECONDS

    async def give_back(self) -> bool:
        """Closes all connections, if none is in use right now; the next transaction opens one."""
        pool = self._writer.pool
        if self.dialect != "postgresql" or not isinstance(pool, sa.pool.QueuePool):
            return True
        if pool.checkedout() > 0:
            return False
        await self._writer.dispose(close=False)  # from here on nobody takes one of the old pool
        await greenlet_spawn(pool.dispose)
        return True

    async def aclose(self) -> None:
        await self._reader.dispose()
        await self._writer.dispose()


def is_there(url: str) -> bool:
    """Not a file that opening would make. What a server holds is seen when it is asked."""
    parsed = sa.make_url(url)
    return parsed.get_backend_name() != "sqlite" or parsed.database is None or Path(parsed.database).exists()


def open_database(url: str, *, pool_size: int, timeout_seconds: float) -> Database:
    """`url` is `sqlite:///path` or `postgresql://…`. Connects lazily."""
    parsed = sa.make_url(url)
    if parsed.get_backend_name() == "sqlite":
        return _open_sqlite(parsed, pool_size=pool_size, timeout_seconds=timeout_seconds)
    engine = create_async_engine(
        parsed.set(drivername="postgresql+psycopg"),
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=timeout_seconds,
        pool_pre_ping=True,
        # No server-side prepared statements: they break behind a pooler in transaction mode.
        connect_args={"connect_timeout": max(2, int(timeout_seconds)), "prepare_threshold": None},
    )
    deadline_seconds = _DEADLINE_FACTOR * timeout_seconds
    end_what_falls_silent(engine.sync_engine, after_seconds=deadline_seconds)
    return Database(reader=engine, writer=engine, url=url, deadline_seconds=deadline_seconds)


def end_what_falls_silent(engine: sa.Engine, *, after_seconds: float) -> None:
    """Lets PostgreSQL end a session that says nothing within a transaction: its process or its network is gone without
    a word, and until the server notices, hours later, its locks would hold up everybody else.

    A session whose network went in the middle of a statement is not idle: it waits for the rest. From PostgreSQL 17 on
    that has a bound as well; before, only a network that answers no probe is noticed. No transaction of ours takes
    longer: its process has given up by then.
    """
    milliseconds = max(1, int(after_seconds * 1000))
    probes = 3
    bounds = {
        "idle_in_transaction_session_timeout": milliseconds,
        "transaction_timeout": milliseconds,
        "tcp_user_timeout": milliseconds,
        "tcp_keepalives_idle": max(1, int(after_seconds / 2)),
        "tcp_keepalives_interval": max(1, int(after_seconds / 2 / probes)),
        "tcp_keepalives_count": probes,
    }
    # A statement, not startup parameters: poolers refuse those. It passes over what an older server does not know.
    values = ", ".join(f"('{name}', '{value}')" for name, value in bounds.items())
    statement = (
        f"SELECT set_config(name, value, false) FROM (VALUES {values}) AS bounds (name, value) "  # noqa: S608 (ours)
        "JOIN pg_settings USING (name)"
    )

    def bound(connection: Any, _entry: ConnectionPoolEntry) -> None:
        cursor = connection.cursor()
        cursor.execute(statement)
        cursor.close()
        connection.commit()

    sa.event.listen(engine, "connect", bound)


def _open_sqlite(url: sa.URL, *, pool_size: int, timeout_seconds: float) -> Database:
    if url.database:
        Path(url.database).parent.mkdir(parents=True, exist_ok=True)
    async_url = url.set(drivername="sqlite+aiosqlite")

    def engine(size: int, driver: OneTripSqlite, begin: Callable[[sa.Connection], object]) -> AsyncEngine:
        made = create_async_engine(
            async_url,
            module=driver,
            poolclass=sa.pool.AsyncAdaptedQueuePool,
            pool_size=size,
            max_overflow=0,
            pool_timeout=timeout_seconds,
            connect_args={"timeout": timeout_seconds, "isolation_level": None},
        )
        sa.event.listen(made.sync_engine, "connect", _sqlite_pragmas)
        sa.event.listen(made.sync_engine, "begin", begin)
        return made

    return Database(
        reader=engine(pool_size, OneTripSqlite(reads_only=True), begin_with_next_statement),
        writer=engine(1, OneTripSqlite(), lambda connection: connection.exec_driver_sql("BEGIN IMMEDIATE")),
        url=url.render_as_string(False),
    )


def _begin_statement(_connection: Any, _cursor: Any, _statement: str, _values: Any, context: Any, _many: bool) -> None:
    metrics.DATABASE_STATEMENTS.inc()
    context.s4_began = time.perf_counter()


def _end_statement(_connection: Any, _cursor: Any, statement: str, _values: Any, context: Any, _many: bool) -> None:
    verb = statement[:6].lower()
    verb = verb if verb in _VERBS else "other"
    seconds = time.perf_counter() - context.s4_began
    metrics.DATABASE_STATEMENT_SECONDS.labels(verb).observe(seconds)
    traces.current().happened(verb, {"s4.seconds": seconds})


def _sqlite_pragmas(connection: Any, _entry: ConnectionPoolEntry) -> None:
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "cache_size=-16384"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _retry_reason(error: sa.exc.DBAPIError) -> str | None:
    state = getattr(error.orig, "sqlstate", None)
    if state in _RETRYABLE_STATES:
        return "serialization"
    if "database is locked" in str(error.orig):
        return "locked"
    return None


def is_damage(error: Exception) -> bool:
    """Whether SQLite says that the file is not what it wrote."""
    return "is not a database" in str(error) or "image is malformed" in str(error)


_DATABASE = {"dependency": "database"}


def _translated(error: Exception) -> Exception:
    """A database that is away or busy is `Unavailable`; a broken statement stays the bug that it is."""
    if isinstance(error, (sa.exc.TimeoutError, OSError)):
        metrics.DATABASE_ERRORS.labels("busy").inc()
        return Unavailable("The catalog database is busy; try again.", details=_DATABASE)
    if "no such " in str(error) or "syntax error" in str(error):  # SQLite calls these operational, too
        return error
    if is_damage(error):
        metrics.DATABASE_ERRORS.labels("unavailable").inc()
        return Unavailable("The catalog database is damaged.", details=_DATABASE)
    if isinstance(error, (sa.exc.OperationalError, sa.exc.InterfaceError)) or (
        isinstance(error, sa.exc.DBAPIError) and error.connection_invalidated
    ):
        metrics.DATABASE_ERRORS.labels("unavailable").inc()
        return Unavailable("The catalog database does not answer; try again.", details=_DATABASE)
    return error
