"""Twenty API processes and five workers on a database that takes fifty connections, and behind a pooler in transaction
mode. Needs Debian's `pgbouncer`."""

import contextlib
import secrets
import signal
import subprocess
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import psycopg
import pytest

from tests.factories.command_line import S4
from tests.factories.deployment import ADMIN_KEY, FAST, Deployment, clean_environment
from tests.factories.nursery import until
from tests.leash import leashed
from tests.servers import PostgreSQL, PostgresServer, free_ports

pytestmark = [pytest.mark.ops, pytest.mark.timeout(1200)]  # twenty-five processes start on whatever cores there are

REPLICAS, WORKERS = 20, 5
CONNECTIONS_MAX = 50
POOLED = 15
"""Sessions that the pooler opens at the server."""
ENDING = 3
"""Sessions that the server still counts though the process that closed them has opened another."""
DOCUMENTS, SEARCHES = 3, 10
"""Of each replica."""


@pytest.fixture(scope="module")
def narrow() -> Iterator[PostgresServer]:
    server = PostgreSQL(connections_max=CONNECTIONS_MAX)
    try:
        yield server.wait()
    finally:
        server.stop()


@contextlib.contextmanager
def pooler(server: PostgresServer, folder: Path) -> Iterator[int]:
    """PgBouncer's port."""
    (port,) = free_ports(1)
    folder.chmod(0o755)
    config = folder / "pgbouncer.ini"
    config.write_text(
        f"[databases]\n* = host=127.0.0.1 port={server.port} user=postgres\n"
        f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = any\n"
        f"pool_mode = transaction\ndefault_pool_size = {POOLED}\nmax_client_conn = 500\n"
    )
    process = subprocess.Popen(leashed(["/usr/sbin/pgbouncer", "-u", "nobody", str(config)]), stderr=subprocess.DEVNULL)
    try:
        until(lambda: _listens(port), "PgBouncer answers")
        yield port
    finally:
        process.kill()
        process.wait()


def _listens(port: int) -> bool:
    with contextlib.suppress(psycopg.OperationalError), psycopg.connect(f"postgresql://s4@127.0.0.1:{port}/postgres"):
        return True
    return False


@pytest.mark.parametrize(("way", "pool"), [("direct", 1), ("pooler", 5)])
def test_twenty_api_processes_and_five_workers_live_on_fifty_connections(
    way: str, pool: int, narrow: PostgresServer, tmp_path: Path
) -> None:
    url = narrow.new_database()
    with contextlib.ExitStack() as stack:
        through = url
        if way == "pooler":
            through = url.replace(f":{narrow.port}/", f":{stack.enter_context(pooler(narrow, tmp_path))}/")
        environment = {
            **FAST,
            "S4_ADMIN_API_KEY": ADMIN_KEY,
            "S4_SECRET_KEY": secrets.token_hex(32),
            "S4_DATABASE_URL": through,
            "S4_DATABASE_POOL_SIZE": str(pool),
            "S4_STORE_URL": (tmp_path / "objects").as_uri(),
        }
        most = stack.enter_context(watched(url))
        replicas = stack.enter_context(fleet(tmp_path, environment))
        with replicas[0].new_tenant() as acme:
            key = acme.headers["X-Tenant-Key"]
        with ThreadPoolExecutor(REPLICAS) as callers:
            statuses = sum(callers.map(lambda replica: used(replica, key), replicas), Counter())
    bound = REPLICAS * pool + WORKERS * (pool + 1) if way == "direct" else POOLED
    assert set(statuses) <= {200, 201, 202}, statuses
    assert 1 < max(most) <= bound + ENDING
    print(f"{way}: at most {max(most)} sessions of {CONNECTIONS_MAX}")


@contextlib.contextmanager
def fleet(folder: Path, environment: dict[str, str]) -> Iterator[list[Deployment]]:
    """All processes. The threads that start them live until the end: the kernel ends what a thread started with it."""
    s4 = [Deployment(folder / "data", environment, ("--no-worker",)) for _ in range(REPLICAS)]
    with ThreadPoolExecutor(REPLICAS) as starters:
        workers: list[subprocess.Popen[bytes]] = []
        try:
            s4[0].start()  # brings the schema
            command = leashed([S4, "worker", "--data-dir", folder / "data"])
            workers.extend(
                subprocess.Popen(command, env=clean_environment() | environment, stderr=subprocess.DEVNULL)
                for _ in range(WORKERS)
            )
            list(starters.map(Deployment.start, s4[1:]))
            yield s4
        finally:
            for worker in workers:
                worker.send_signal(signal.SIGKILL)
                worker.wait()
            for each in s4:
                with contextlib.suppress(AssertionError):  # it never started
                    each.kill()


def used(replica: Deployment, key: str) -> Counter[int]:
    """Uploads, waiting and searches through one process, with the statuses of all answers."""
    statuses: Counter[int] = Counter()
    with replica.tenant(key) as tenant:
        for number in range(DOCUMENTS):
            name = f"{secrets.token_hex(4)}-{number}.txt"
            answer = tenant.put(f"/documents/by-key/{name}", content=f"Tide {name} follows the moon.".encode())
            statuses[answer.status_code] += 1
            statuses[settled(tenant, name)] += 1
        for _ in range(SEARCHES):
            statuses[tenant.post("/search", json={"query": "moon"}).status_code] += 1
    return statuses


def settled(tenant: httpx.Client, name: str) -> int:
    while True:
        answer = tenant.get(f"/documents/by-key/{name}", params={"wait": 60})
        if answer.status_code != 200 or answer.json()["status"] == "ready":
            return answer.status_code
        assert answer.json()["status"] == "processing", answer.text


@contextlib.contextmanager
def watched(url: str) -> Iterator[list[int]]:
    """How many sessions the database has, looked at all the time, this one not counted."""
    seen, ended = [0], threading.Event()

    def look() -> None:
        with psycopg.connect(url, autocommit=True) as asking:
            while not ended.wait(0.02):
                found = asking.execute(
                    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
                    "AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
                ).fetchone()
                seen.append(int(found[0]) if found else 0)

    looking = threading.Thread(target=look, daemon=True)
    looking.start()
    try:
        yield seen
    finally:
        ended.set()
        looking.join()
