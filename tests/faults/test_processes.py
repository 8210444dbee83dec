"""Processes that are told to stop, die, or sleep through their lease, while documents are on their way."""

import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from s4.platform.database import migrate
from tests.factories import calls
from tests.factories.catalog import sqlite_url
from tests.factories.deployment import ADMIN_KEY, FAST, Deployment, running
from tests.factories.nursery import PATIENCE_SECONDS, until
from tests.factories.provider import CountingProvider, counting_provider
from tests.leash import leashed

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def provider() -> Iterator[CountingProvider]:
    with counting_provider() as started:
        yield started


def settings(provider: CountingProvider) -> dict[str, str]:
    """Leases so short that a successor is found within the test."""
    return FAST | {"S4_JOB_LEASE_SECONDS": "2", "S4_JOB_BACKOFF_SECONDS": "0.2"} | provider.settings


def children(pid: int) -> list[int]:
    found = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):
            found += [int(child) for child in (task / "children").read_text().split()]
    return found


def process_id(deployment: Deployment) -> int:
    assert deployment._process is not None
    return deployment._process.pid


def worker_of(deployment: Deployment) -> int:
    """The process id of the worker child of `s4 serve`."""

    def look() -> int | None:
        for pid in children(process_id(deployment)):
            with contextlib.suppress(OSError):
                if b"worker" in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0"):
                    return pid
        return None

    found: int = until(look, "no worker")
    return found


def is_alive(pid: int) -> bool:
    """Dead is also who waits to be buried."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def jobs_of(data_dir: Path) -> list[tuple[str, int, int]]:
    """(state, attempts, crashes) of what waits in the catalog."""
    with contextlib.closing(sqlite3.connect(data_dir / "catalog.sqlite")) as catalog:
        return catalog.execute("SELECT state, attempts, crashes FROM jobs WHERE kind = 'documents.index'").fetchall()


def test_told_to_stop_it_hands_unfinished_work_back_and_loses_nothing(
    tmp_path: Path, provider: CountingProvider
) -> None:
    environment = settings(provider) | {"S4_SHUTDOWN_SECONDS": "0.5"}
    provider.hold()
    with running(tmp_path, **environment) as deployment, deployment.new_tenant() as tenant:
        key = tenant.headers["X-Tenant-Key"]
        stored = [calls.stored(calls.put(tenant, f"{n}", f"text with word{n}"))["document_id"] for n in range(6)]
        assert provider.arrived.wait(PATIENCE_SECONDS), "work is under way, and the provider keeps it waiting"
        worker = worker_of(deployment)
        offspring = children(worker)
        assert deployment.stop() == 0
        until(lambda: not any(map(is_alive, [worker, *offspring])), "somebody lives on")
    assert sorted(jobs_of(tmp_path)) == [("ready", 0, 0)] * 6, "handed back: no attempt, no crash is counted"
    provider.gate.set()
    with running(tmp_path, **environment) as deployment, deployment.tenant(key) as tenant:
        for n, document_id in enumerate(stored):
            assert calls.wait(tenant, document_id)["status"] == "ready"
            assert calls.found(tenant, f"word{n}") == [document_id]


def test_told_to_stop_it_finishes_what_takes_less_than_its_grace(tmp_path: Path, provider: CountingProvider) -> None:
    provider.hold()
    with running(tmp_path, **settings(provider)) as deployment, deployment.new_tenant() as tenant:
        calls.stored(calls.put(tenant, "one", "text"))
        assert provider.arrived.wait(PATIENCE_SECONDS)
        threading.Timer(0.5, provider.gate.set).start()
        assert deployment.stop() == 0
    assert jobs_of(tmp_path) == [], "done, not handed back"


def test_a_worker_that_dies_is_started_anew_while_the_api_goes_on(tmp_path: Path, provider: CountingProvider) -> None:
    provider.hold()
    with running(tmp_path, **settings(provider)) as deployment, deployment.new_tenant() as tenant:
        before = calls.stored(calls.put(tenant, "before", "text from before"))["document_id"]
        assert provider.arrived.wait(PATIENCE_SECONDS)
        worker = worker_of(deployment)
        offspring = children(worker)
        os.kill(worker, signal.SIGKILL)
        provider.gate.set()
        after = calls.stored(calls.put(tenant, "after", "text from after"))["document_id"]
        assert calls.detail(tenant, before)["status"] == "processing"
        assert calls.wait(tenant, before)["status"] == calls.wait(tenant, after)["status"] == "ready"
        assert calls.found(tenant, "before") == [before]
        assert worker_of(deployment) != worker
        assert len(deployment.events("worker.died")) == 1
        until(lambda: not any(map(is_alive, offspring)), "a child of the dead worker lives on")


class Worker:
    """`s4 worker` beside the deployment."""

    def __init__(self, data_dir: Path, environment: dict[str, str]) -> None:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("S4_")}
        self.events: list[dict[str, Any]] = []
        self.process = subprocess.Popen(
            leashed([sys.executable, "-m", "s4.entrypoints.cli", "worker", "--data-dir", data_dir]),
            env=clean | environment | {"S4_ADMIN_API_KEY": ADMIN_KEY},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            with contextlib.suppress(ValueError):
                self.events.append(json.loads(line))

    def saw(self, event_type: str, count: int = 1) -> bool:
        return len([event for event in list(self.events) if event.get("event_type") == event_type]) >= count

    def end(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@contextlib.contextmanager
def worker(data_dir: Path, environment: dict[str, str]) -> Iterator[Worker]:
    started = Worker(data_dir, environment)
    try:
        until(lambda: started.saw("worker.started"), "the worker does not start")
        yield started
    finally:
        started.end()


def stop_between_transactions(pid: int, data_dir: Path) -> None:
    """SQLite has one write lock: whoever is stopped while it holds it stops all, and that is not what is tried here."""
    for _ in range(100):
        os.kill(pid, signal.SIGSTOP)
        with contextlib.closing(sqlite3.connect(data_dir / "catalog.sqlite", timeout=0.2)) as connection:
            try:
                connection.execute("BEGIN IMMEDIATE")
                connection.rollback()
                return
            except sqlite3.OperationalError:
                os.kill(pid, signal.SIGCONT)
    raise AssertionError("the worker is in a transaction whenever it is stopped")


@pytest.mark.long
def test_a_worker_that_sleeps_through_its_lease_harms_nothing_when_it_wakes(
    tmp_path: Path, provider: CountingProvider
) -> None:
    """It holds a replaced and a deleted document in their old state, and its vectors arrive when it wakes."""
    environment = settings(provider)
    with (
        running(tmp_path, "--no-worker", **environment) as deployment,
        deployment.new_tenant() as tenant,
        worker(tmp_path, environment) as sleeper,
    ):
        provider.hold()
        replaced = calls.stored(calls.put(tenant, "replaced", "the ancient wording"))["document_id"]
        deleted = calls.stored(calls.put(tenant, "deleted", "the doomed wording"))["document_id"]
        kept = calls.stored(calls.put(tenant, "kept", "the lasting wording"))["document_id"]
        until(lambda: [state for state, _, _ in jobs_of(tmp_path)] == ["running"] * 3, "all three in its hands")
        assert provider.arrived.wait(PATIENCE_SECONDS)
        stop_between_transactions(sleeper.process.pid, tmp_path)
        provider.gate.set()
        calls.stored(calls.put(tenant, "replaced", "the modern wording"))
        assert tenant.delete(f"/documents/{deleted}").status_code == 204
        with worker(tmp_path, environment) as successor:
            for document_id in (replaced, kept):
                assert calls.wait(tenant, document_id)["status"] == "ready"
            version = calls.detail(tenant, replaced)["version"]
            os.kill(sleeper.process.pid, signal.SIGCONT)
            until(lambda: sleeper.saw("job.lease_lost", 1), "it learns that it lost its jobs")
            latest = calls.stored(calls.put(tenant, "later", "a later commit"))["document_id"]
            assert calls.wait(tenant, latest)["status"] == "ready"
            assert calls.found(tenant, "ancient") == calls.found(tenant, "doomed") == []
            assert calls.found(tenant, "modern") == [replaced]
            assert calls.found(tenant, "lasting") == [kept]
            assert calls.found(tenant, "later") == [latest]
            assert calls.detail(tenant, replaced)["version"] == version
            assert successor.saw("documents.indexed")


def test_when_the_worker_that_fires_what_is_regular_dies_another_one_takes_over(tmp_path: Path) -> None:
    environment = FAST | {
        "S4_JOB_LEASE_SECONDS": "2",
        "S4_SWEEP_SECONDS": "0.5",  # always due when the scheduler looks
        "S4_LOG_LEVEL": "debug",  # which tells of every firing
    }
    migrate.upgrade(sqlite_url(tmp_path))
    with worker(tmp_path, environment) as first:
        until(lambda: first.saw("schedule.fired"), "the only worker fires nothing")
        with worker(tmp_path, environment) as second:
            first.end()
            until(lambda: second.saw("schedule.fired"), "nobody takes over")


TEST_PROCESS = """
import signal, sys
from pathlib import Path
from tests.factories.deployment import FAST, Deployment
from tests.factories.provider import running_model
from tests.servers import PostgreSQL, SeaweedFS

postgresql, seaweedfs = PostgreSQL(), SeaweedFS()
postgresql.start()
seaweedfs.start()
Deployment(Path(sys.argv[1]), FAST).start()
with running_model():
    print(*seaweedfs._ports, flush=True)
    signal.pause()
"""


def test_servers_die_with_the_test_process_that_started_them(tmp_path: Path) -> None:
    """As when a test hits its time limit, which ends the process without another word."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
        Path(scratch).chmod(0o755)  # PostgreSQL runs as `nobody`
        process = subprocess.Popen(
            leashed([sys.executable, "-c", TEST_PROCESS, tmp_path]),
            cwd=REPOSITORY,
            env=os.environ | {"TMPDIR": scratch},
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        ports = process.stdout.readline().split()
        started = offspring(process.pid)
        names = {Path(f"/proc/{pid}/comm").read_text().strip() for pid in started}
        assert {"postgres", "weed"} <= names
        assert len(children(process.pid)) == 4

        process.kill()

        process.wait()
        until(lambda: not any(map(is_alive, started)), "a server outlives the test process")
        for port in ports:
            for leftover in Path("/tmp").glob(f"seaweedfs-*-{port}.sock"):
                leftover.unlink(missing_ok=True)


def offspring(pid: int) -> list[int]:
    """Children, and theirs."""
    found: list[int] = []
    for child in children(pid):
        found += [child, *offspring(child)]
    return found
