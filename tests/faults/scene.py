"""The stage of a crash: a catalog and a bucket, processes that die there, and one that survives.

Victims are real `s4 serve` and `s4 worker` processes with a fail-point armed. The survivor is the same program in this
process, API and worker, wired by the real bootstrap and listening on a socket: it stands for the replica that goes on
and for the process that is started anew. Time passes when the test says so (`let_time_pass` moves every deadline in the
catalog into the past), so nothing waits for a lease.
"""

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import httpx
import sqlalchemy as sa
import uvicorn

from s4.domains.announcements.jobs import TELL
from s4.domains.audit.sealer import SEAL
from s4.domains.audit.verifier import VERIFY
from s4.domains.documents.models import upload_reservations
from s4.domains.events.models import webhook_deliveries
from s4.domains.maintenance import service as maintenance
from s4.domains.maintenance.replication import REPLICATE
from s4.domains.usage.rollups import ROLL_UP
from s4.domains.webhooks import service as webhooks
from s4.entrypoints.api import create_app
from s4.entrypoints.bootstrap import open_worker
from s4.entrypoints.operations import ProcessState
from s4.kernel.settings import Settings
from s4.platform.chains.models import commit_tickets
from s4.platform.database import Connection, migrate, open_database, upsert
from s4.platform.jobs import JobRequest
from s4.platform.jobs.models import jobs, leases, schedule
from tests.factories.deployment import ADMIN_KEY, FAST, flags
from tests.factories.house import House, open_house
from tests.factories.nursery import PATIENCE_SECONDS, Nursery, Process, until
from tests.factories.provider import CountingProvider

T = TypeVar("T")

EXIT_CODE = 137
A_LONG_TIME = timedelta(days=1)
"""Longer than any lease, ticket, pause or reservation lasts."""
MIB = 1 << 20

SETTINGS = FAST | {
    "S4_ADMIN_API_KEY": ADMIN_KEY,
    "S4_STORE_PART_BYTES": str(5 * MIB),  # the least that S3 takes
    "S4_JOB_LEASE_SECONDS": "60",  # beats are rare, so that hardly any process is stopped in the middle of one
    "S4_COMMIT_WAIT_SECONDS": "3",
    "S4_TENANT_DELETE_GRACE_DAYS": "0",
    "S4_WEBHOOKS_ALLOWED_NETWORKS": "127.0.0.0/8",
}
NO_GRACE = {"S4_GARBAGE_GRACE_SECONDS": "0", "S4_UPLOAD_SECONDS_MAX": "0.001", "S4_INDEX_GRACE_SECONDS": "0"}
"""For sweeps: whatever is dead may go at once."""


class Survivor:
    """API and worker in a thread with a loop of its own. `sweeper` is another worker, to which nothing is too young."""

    def __init__(self, data_dir: Path, environment: Mapping[str, str]) -> None:
        self._data_dir = data_dir
        self._environment = dict(environment)
        self._ready = threading.Event()
        self._failure: BaseException | None = None
        self._stop = asyncio.Event()
        self.url = ""
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), daemon=True)
        self._thread.start()
        self._ready.wait()
        if self._failure is not None:
            raise self._failure

    async def _run(self) -> None:
        self._loop = asyncio.get_running_loop()
        try:
            async with open_house(self._data_dir, **flags(self._environment)) as self.house, self._sweeper():
                config = uvicorn.Config(
                    create_app(self.house.core, ProcessState()), port=0, log_config=None, lifespan="off"
                )
                server = uvicorn.Server(config)
                serving = asyncio.create_task(server._serve())
                while not server.started:  # noqa: ASYNC110 (uvicorn offers no event)
                    await asyncio.sleep(0.001)
                self.url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
                self._ready.set()
                await self._stop.wait()
                server.should_exit = server.force_exit = True
                await serving
        except BaseException as failure:
            self._failure = failure
        finally:
            self._ready.set()

    @contextlib.asynccontextmanager
    async def _sweeper(self) -> AsyncIterator[None]:
        impatient = Settings.model_validate(self.house.core.settings.model_dump() | flags(NO_GRACE))
        core = replace(self.house.core, settings=impatient)
        async with open_worker(core) as parts:
            self.sweeper = House(core, parts)
            yield

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        """Runs it in the survivor's loop."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(timeout=120)

    def close(self) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(timeout=60)


@dataclass
class Scene:
    """One deployment."""

    folder: Path
    environment: dict[str, str]
    provider: CountingProvider
    nursery: Nursery
    new_catalog: Callable[[], str]
    """Makes an empty database and answers with its URL."""
    victims: list[Process] = field(default_factory=list)
    _survivor: Survivor | None = None
    tenant_id: str = ""
    key: str = ""

    # -- the survivor

    @property
    def survivor(self) -> Survivor:
        """Opened when it is first needed: some processes die before there is anybody else."""
        if self._survivor is None:
            self._survivor = Survivor(self.folder, self.environment)
            self.transact(_postpone_regular_tasks)
        return self._survivor

    @property
    def house(self) -> House:
        return self.survivor.house

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        return self.survivor.do(work)

    def transact(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        return self.do(self.house.core.database.transact(work))

    def work(self) -> None:
        """All jobs that are due, by the worker to which nothing is too young, to the last bit of tidying."""
        self.do(self._work(self.survivor.sweeper))

    @staticmethod
    async def _work(house: House) -> None:
        await house.work()
        await asyncio.gather(*house.parts.indexing._publisher._writers.values(), return_exceptions=True)

    def enqueue(self, request: JobRequest) -> None:
        self.transact(lambda c: self.house.core.queue.enqueue(c, request))

    def close_survivor(self) -> None:
        if self._survivor is not None:
            self._survivor.close()
            self._survivor = None

    def tenant(self) -> httpx.Client:
        """The tenant, at the survivor."""
        return self.tenant_at(self.survivor.url)

    def tenant_at(self, url: str) -> httpx.Client:
        return httpx.Client(base_url=f"{url}/api/v1", headers={"X-Tenant-Key": self.key}, timeout=60)

    def admin_at(self, url: str) -> httpx.Client:
        return httpx.Client(base_url=f"{url}/api/v1", headers={"X-Admin-Key": ADMIN_KEY}, timeout=60)

    def admin(self) -> httpx.Client:
        return self.admin_at(self.survivor.url)

    def let_time_pass(self) -> None:
        """So much that every lease, ticket, pause and reservation has run out. Needs nobody who lives."""

        async def move() -> None:
            database = open_database(self.environment["S4_DATABASE_URL"], pool_size=1, timeout_seconds=PATIENCE_SECONDS)
            await database.transact(_let_time_pass)
            await database.aclose()

        asyncio.run(move())

    def lose_catalog(self) -> None:
        """The database is gone; an empty, migrated one takes its place. The bucket stays."""
        self.close_survivor()
        self.environment["S4_DATABASE_URL"] = self.new_catalog()
        migrate.upgrade(self.environment["S4_DATABASE_URL"])

    # -- victims

    def victim(self, *arguments: str, failpoints: str = "", **environment: str) -> Process:
        log = self.folder / f"log-{len(self.victims)}"
        said = {"S4_DATA_DIR": str(self.folder), "S4_FAILPOINTS": failpoints} | environment
        process = self.nursery.start(list(arguments), self.environment | said, log)
        self.victims.append(process)
        return process

    def serve(self, failpoints: str = "") -> tuple[Process, str]:
        """An API that listens, and its address."""
        process = self.victim("serve", "--no-worker", "--port", "0", failpoints=failpoints)
        until(lambda: process.events("api.started") or process.has_ended, "the API does not start")
        assert not process.has_ended, process.tail()
        return process, str(process.events("api.started")[0]["details"]["url"])

    def worker(self, failpoints: str = "", **environment: str) -> Process:
        """A worker to which, as to the survivor's, nothing is too young. One job at a time: what it was paying for in
        another's name when it died could not be told from paying twice."""
        return self.victim("worker", failpoints=failpoints, **NO_GRACE | {"S4_WORKER_CONCURRENCY": "1"} | environment)

    def close(self) -> None:
        for process in self.victims:
            process.kill()
        self.close_survivor()


async def _let_time_pass(connection: Connection) -> None:
    for table, columns, identity in (
        (commit_tickets, ("sealed_at",), "subject"),
        (jobs, ("lease_until", "run_at"), "job_id"),
        (leases, ("until",), "name"),
        (upload_reservations, ("expires_at",), "version_id"),
        (webhook_deliveries, ("next_at",), "delivery_id"),
    ):
        for row in (await connection.execute(sa.select(table))).all():
            values = row._mapping
            moved = {name: values[name] - A_LONG_TIME for name in columns if values[name] is not None}
            await connection.execute(sa.update(table).where(table.c[identity] == values[identity]).values(moved))


async def _postpone_regular_tasks(connection: Connection) -> None:
    """A worker fires them at its first breath otherwise; here each case says which sweep runs."""
    for kind in (
        maintenance.RESOLVE,
        maintenance.RECONCILE,
        maintenance.COLLECT,
        maintenance.RECOUNT,
        maintenance.OPTIMIZE,
        maintenance.DEPARTURES,
        maintenance.CHECK,
        SEAL,
        VERIFY,
        TELL,
        ROLL_UP,
        REPLICATE,
        webhooks.PURGE,
    ):
        await connection.execute(
            upsert(connection, schedule, {"task": kind, "next_at": datetime.now(UTC) + A_LONG_TIME}, conflict=["task"])
        )
