"""The stage of a storm: two API processes and two workers, and a faulty network before everything that they need.

PostgreSQL and Redis are the storm's own, for they are killed; SeaweedFS is the session's. Processes are started through
the nursery; each life of a process has a log of its own.
"""

import contextlib
import os
import secrets
import signal
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psycopg
from psycopg import sql

from s4.platform.database import migrate
from tests.factories.deployment import ADMIN_KEY, FAST
from tests.factories.loops import in_thread
from tests.factories.nursery import Nursery, Process, nursery
from tests.factories.provider import CountingProvider, counting_provider, proxy_in_thread
from tests.fault_proxy import FaultProxy
from tests.servers import PostgreSQL, RedisServer, S3Server
from tests.storm.line import ANSWER_SECONDS_MAX, Line, Witness, Wrong
from tests.tcp_proxy import TcpProxy, tcp_proxy

_COMPLAINTS = 20
DISK_MIB = 96  # what four processes keep at work, several times over
HURRIED = FAST | {
    "S4_ADMIN_API_KEY": ADMIN_KEY,
    # Short, so that every bound is reached within a storm. A commit's lease must exceed the store's deadline.
    "S4_STORE_TIMEOUT_SECONDS": "3",
    "S4_STORE_CONNECT_TIMEOUT_SECONDS": "1",
    "S4_STORE_RETRIES_MAX": "2",
    "S4_COMMIT_LEASE_SECONDS": "4",
    "S4_COMMIT_WAIT_SECONDS": "2",
    "S4_DATABASE_TIMEOUT_SECONDS": "3",
    "S4_UPLOAD_SECONDS_MAX": "10",
    "S4_JOB_LEASE_SECONDS": "3",
    "S4_JOB_BACKOFF_SECONDS": "0.2",
    "S4_JOB_BACKOFF_MAX_SECONDS": "2",
    "S4_EMBEDDING_TIMEOUT_SECONDS": "2",
    "S4_EMBEDDING_QUERY_TIMEOUT_SECONDS": "1",
    "S4_EMBEDDING_RETRIES_MAX": "1",
    "S4_EMBEDDING_PROBE_SECONDS_MAX": "0.5",
    "S4_SWEEP_SECONDS": "1",
    "S4_GARBAGE_GRACE_SECONDS": "0",
    "S4_INDEX_GRACE_SECONDS": "5",
    "S4_AUDIT_SEAL_SECONDS": "2",
}
UNFORGIVING = {"S4_UPLOAD_SECONDS_MAX": "0.001"}
"""For workers: nothing is too young to be collected but what a reservation or a ticket protects."""


@dataclass
class Post:
    """Where a process serves: it is started anew after every death."""

    name: str
    arguments: list[str]
    environment: dict[str, str]
    folder: Path
    nursery: Nursery
    process: Process | None = None
    logs: list[Path] = field(default_factory=list)
    struck: bool = False
    """A fault has it: nobody else starts, kills or stops it."""
    _url: str = ""

    def start(self) -> None:
        log = self.folder / f"{self.name}-{len(self.logs)}.log"
        self.logs.append(log)
        self._url = ""
        self.process = self.nursery.start(self.arguments, self.environment, log)

    @property
    def is_up(self) -> bool:
        """It said that it had begun."""
        assert self.process is not None
        return bool(self.process.events("api.started") or self.process.events("worker.started"))

    @property
    def url(self) -> str:
        """Of an API; empty until it listens, or when it is known to be away."""
        if self.process is None or self.process.has_ended:
            return ""
        if not self._url and (started := self.process.events("api.started")):
            self._url = str(started[0]["details"]["url"])
        return self._url

    def kill(self) -> None:
        if self.process is not None:
            with contextlib.suppress(ProcessLookupError):
                self.process.send(signal.SIGCONT)
            self.process.kill()


@dataclass
class Stage:
    """What faults break and clients use."""

    witness: Witness
    store: FaultProxy
    provider: FaultProxy
    database: TcpProxy
    redis: TcpProxy
    postgresql: PostgreSQL
    redis_server: RedisServer
    catalog_url: str
    """Past the proxy."""
    bill: CountingProvider
    apis: list[Post]
    workers: list[Post]
    bucket: S3Server
    bucket_name: str
    bucket_prefix: str
    disk: Path | None
    """A small file system on which all processes keep their files, where one could be made."""
    secret_words: list[str]
    store_spoilt: int = 0
    """Answers of the store in which a fault changed a bit."""
    struck: set[str] = field(default_factory=set)
    """Servers that a fault has, so that no other takes them."""

    @property
    def posts(self) -> list[Post]:
        return [*self.apis, *self.workers]

    def urls(self) -> list[str]:
        return [url for post in self.apis if (url := post.url)]

    def sessions(self) -> list[str]:
        """What PostgreSQL's sessions do and whom they wait for: for whoever looks why nobody goes on."""
        asked = (
            "SELECT pid, state, wait_event, now() - xact_start, pg_blocking_pids(pid), left(query, 200) "
            "FROM pg_stat_activity WHERE state <> 'idle' AND pid <> pg_backend_pid()"
        )
        with psycopg.connect(self.catalog_url) as connection:
            return [str(row) for row in connection.execute(asked)]

    def waiting(self) -> list[str]:
        """What the catalog says is still to be done, and what workers last complained of: for whoever looks why
        something is never done."""
        with psycopg.connect(self.catalog_url) as connection:
            rows = [
                f"{table}: {row}"
                for table in ("upload_reservations", "commit_tickets", "jobs", "schedule", "leases")
                for row in connection.execute(sql.SQL("SELECT now(), * FROM {}").format(sql.Identifier(table)))
            ]
        for post in self.workers:
            for log in post.logs[-2:]:
                lines = [line for line in log.read_text(errors="replace").splitlines() if '"info"' not in line]
                rows += [f"{log.name}: {line}" for line in lines[-_COMPLAINTS:]]
        return rows

    def heal(self) -> None:
        for proxy in (self.store, self.provider, self.database, self.redis):
            proxy.heal()

    def keep(self) -> None:
        """Starts again who died without being struck, and says so unless it died while it was starting."""
        for post in self.posts:
            if not post.struck and post.process is not None and post.process.has_ended:
                if post.is_up:
                    self.witness.blame(Wrong.ENDED, f"{post.name} ended by itself:\n{post.process.tail()}")
                post.kill()  # and whatever it left behind
                post.start()

    def client(self, line: Line, **headers: str) -> httpx.Client:
        return httpx.Client(
            base_url="http://replicas/api/v1", headers=headers, timeout=ANSWER_SECONDS_MAX, transport=line
        )


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[Path | None]:
    """A file system of `DISK_MIB`; None where that is not ours to make."""
    folder.mkdir()
    options = ["-t", "tmpfs", "-o", f"size={DISK_MIB}m", "s4-storm", str(folder)]
    made = os.geteuid() == 0 and subprocess.run(["/bin/mount", *options], capture_output=True).returncode == 0
    try:
        yield folder if made else None
    finally:
        if made:
            subprocess.run(["/bin/umount", "--lazy", str(folder)], check=True)


@contextlib.contextmanager
def open_stage(folder: Path, bucket: S3Server, bucket_name: str) -> Iterator[Stage]:
    """Everything runs and nothing is broken yet. All ends with the block."""
    prefix = secrets.token_hex(8)
    with contextlib.ExitStack() as stack:
        postgresql, redis_server = PostgreSQL(), RedisServer()
        for server in (postgresql, redis_server):
            stack.callback(server.stop)
            server.start()
        forking = stack.enter_context(nursery())
        disk = stack.enter_context(small_disk(folder / "disk"))
        provider = stack.enter_context(counting_provider())
        store_line = stack.enter_context(proxy_in_thread(bucket.endpoint))
        provider_line = stack.enter_context(proxy_in_thread(provider.base_url.removesuffix("/v1")))
        url = postgresql.wait().new_database()
        migrate.upgrade(url)
        database_line = stack.enter_context(in_thread(tcp_proxy("127.0.0.1", _port(url))))
        redis_line = stack.enter_context(in_thread(tcp_proxy("127.0.0.1", _port(redis_server.wait()))))
        words = {name: secrets.token_hex(16) for name in ("secret_key", "password", "embedding_key")}
        environment = HURRIED | provider.settings | {
            "S4_SECRET_KEY": words["secret_key"],
            "S4_DATABASE_URL": _through(url.replace("postgres@", f"postgres:{words['password']}@"), database_line),
            "S4_REDIS_URL": f"redis://127.0.0.1:{redis_line.port}/0",
            "S4_REDIS_TIMEOUT_SECONDS": "0.2",
            "S4_STORE_URL": f"s3://{bucket_name}/{prefix}",
            "S4_STORE_ENDPOINT": store_line.endpoint,
            "S4_STORE_ACCESS_KEY_ID": bucket.access_key,
            "S4_STORE_SECRET_ACCESS_KEY": bucket.secret_key,
            "S4_EMBEDDING_BASE_URL": f"{provider_line.endpoint}/v1",
            "S4_EMBEDDING_API_KEY": words["embedding_key"],
        }  # fmt: skip
        posts = {
            name: _post(name, arguments, environment, folder, disk, forking)
            for name, arguments in {
                "api-1": ["serve", "--no-worker", "--port", "0"],
                "api-2": ["serve", "--no-worker", "--port", "0"],
                "worker-1": ["worker"],
                "worker-2": ["worker"],
            }.items()
        }
        for post in posts.values():
            stack.callback(post.kill)
            post.start()
        yield Stage(
            Witness(),
            store_line,
            provider_line,
            database_line,
            redis_line,
            postgresql,
            redis_server,
            url,
            provider,
            [posts["api-1"], posts["api-2"]],
            [posts["worker-1"], posts["worker-2"]],
            bucket,
            bucket_name,
            prefix,
            disk,
            [*words.values(), ADMIN_KEY, bucket.secret_key],
        )


def _post(
    name: str, arguments: list[str], environment: Mapping[str, str], folder: Path, disk: Path | None, forking: Nursery
) -> Post:
    own = (disk or folder) / name
    scratch = own / "tmp"
    scratch.mkdir(parents=True)
    places = {"S4_DATA_DIR": str(own / "data"), "TMPDIR": str(scratch)}
    patience = UNFORGIVING if arguments == ["worker"] else {}
    return Post(name, arguments, {**environment, **places, **patience}, folder, forking)


def _port(url: str) -> int:
    return httpx.URL(url).port or 0


def _through(url: str, line: TcpProxy) -> str:
    """The same URL by way of the proxy."""
    return url.replace(f":{_port(url)}/", f":{line.port}/")
