"""What the parts of an examination share: settings, one look at each dependency, and the processes that were named.

A dependency is asked once whether it lives, with a limit. If it does not, one line says so, and whatever needed it
raises `Away` at once instead of waiting for it too.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from urllib.parse import unquote, urlsplit

from s4.domains.tenants import queries as tenant_queries
from s4.entrypoints.bootstrap import database_url
from s4.entrypoints.configuration import Configuration
from s4.kernel.clock import Clock, SystemClock
from s4.kernel.errors import S4Error
from s4.kernel.settings import Settings
from s4.platform.database import Connection, Database, is_there, migrate, open_database
from s4.platform.objects import ObjectStore, open_store

DATABASE, STORE, NO_CATALOG = "database", "object store", "missing catalog"


def how_long(span: timedelta) -> str:
    """For a person: `45 s`, `12 min`, `3.5 h`, `9 days`."""
    seconds = max(0.0, span.total_seconds())
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 172_800 else f"{seconds / 86_400:.0f} days"


def _is_there(store_url: str) -> bool:
    """Not a directory that opening would make."""
    url = urlsplit(store_url)
    return url.scheme != "file" or Path(unquote(url.path)).exists()


class Away(Exception):
    """A dependency that another line tells about. `dependency` is None where there is nothing yet to look at."""

    def __init__(self, dependency: str | None) -> None:
        super().__init__(dependency)
        self.dependency = dependency


@dataclass(frozen=True, slots=True)
class Patience:
    """In seconds: for a dependency to say that it lives, for a worker that was just started to be at work, for one
    part, and for the whole of what a store must do."""

    alive: float = 5.0
    worker: float = 10.0
    part: float = 20.0
    store: float = 60.0


@dataclass
class Bedside:
    """One examination's. `proc` and `clock` are for tests."""

    loaded: Configuration
    addresses: Sequence[str] = ()
    patience: Patience = field(default_factory=Patience)
    proc: Path = Path("/proc")
    clock: Clock = field(default_factory=SystemClock)
    _database: Database | None = None
    _store: ObjectStore | None = None
    _asked: dict[str, "asyncio.Task[None]"] = field(default_factory=dict)

    @property
    def settings(self) -> Settings:
        return self.loaded.settings

    @asynccontextmanager
    async def catalog(self) -> AsyncIterator[Connection]:
        """A read transaction. Raises `Away` also while the schema is older than this release, which is told, too."""
        await self._database_lives()
        await self._once("schema", self._has_schema)  # before a connection is taken: it needs one, too
        async with self.database.read() as connection:
            yield connection

    @asynccontextmanager
    async def any_catalog(self) -> AsyncIterator[Connection]:
        """The same, whatever its schema."""
        await self._database_lives()
        async with self.database.read() as connection:
            yield connection

    async def _database_lives(self) -> None:
        if not is_there(database_url(self.settings)):
            raise Away(NO_CATALOG)
        await self._once(DATABASE, self._ping)

    @property
    def database(self) -> Database:
        if self._database is None:
            settings = self.settings
            self._database = open_database(
                database_url(settings), pool_size=4, timeout_seconds=settings.database_timeout_seconds
            )
        return self._database

    async def store(self) -> ObjectStore:
        """Raises `Away`."""
        if self._store is None:
            if not _is_there(self.settings.store_url or ""):
                raise Away(None)
            self._store = open_store(self.settings)
        await self._once(STORE, self._store.ping)
        return self._store

    async def names(self, connection: Connection, tenant_ids: Iterable[str]) -> dict[str, str]:
        """`tenant ten_… (Acme)`, by id."""
        wanted = list(dict.fromkeys(tenant_ids))
        known = await tenant_queries.names(connection, wanted) if wanted else {}
        return {each: f"tenant {each} ({known[each]})" if known.get(each) else f"tenant {each}" for each in wanted}

    async def aclose(self) -> None:
        for task in self._asked.values():
            task.cancel()
        await asyncio.gather(*self._asked.values(), return_exceptions=True)
        if self._database is not None:
            await self._database.aclose()
        if self._store is not None:
            await self._store.aclose()

    async def _once(self, dependency: str, ask: Callable[[], Awaitable[None]]) -> None:
        """Asks at the first call; the others wait for the same answer."""

        async def asked() -> None:
            async with asyncio.timeout(self.patience.alive):
                await ask()

        if dependency not in self._asked:
            self._asked[dependency] = asyncio.create_task(asked())
        try:
            await asyncio.shield(self._asked[dependency])
        except (S4Error, TimeoutError, OSError) as error:
            raise Away(dependency) from error

    async def _ping(self) -> None:
        await self.database.ping()

    async def _has_schema(self) -> None:
        async with self.database.read() as connection:
            if await connection.run_sync(migrate.lacks_steps):
                raise S4Error("The schema is older than this release.")
