"""A real S4: `s4 serve` as a process group of its own, over HTTP, with nothing mocked."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, Queue
from typing import Any

import httpx

from tests.leash import leashed

START_SECONDS_MAX = 180
WORKER_SECONDS_MAX = 180  # workers step back where others want the processors
ADMIN_KEY = "test-admin-key-0123456789-abcdefghij"


@dataclass
class Deployment:
    """A running `s4 serve`. `environment` holds its `S4_*` variables; `log` every line it wrote."""

    data_dir: Path
    environment: dict[str, str]
    arguments: tuple[str, ...] = ()
    program: tuple[str, ...] = (sys.executable, "-m", "s4.entrypoints.cli")
    url: str = ""
    log: list[str] = field(default_factory=list)
    _process: subprocess.Popen[str] | None = None

    def start(self) -> "Deployment":
        """Returns when the API answers."""
        lines: Queue[str] = Queue()
        self._process = subprocess.Popen(
            leashed([*self.program, "serve", "--port", "0", *self.arguments]),
            env=clean_environment() | self.environment | {"S4_DATA_DIR": str(self.data_dir)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        threading.Thread(target=self._read, args=(self._process, lines), daemon=True).start()
        self.url = self._await_url(lines)
        return self

    def _read(self, process: subprocess.Popen[str], lines: Queue[str]) -> None:
        assert process.stderr is not None
        for line in process.stderr:
            self.log.append(line)
            lines.put(line)
        lines.put("")

    def _await_url(self, lines: Queue[str]) -> str:
        while True:
            try:
                line = lines.get(timeout=START_SECONDS_MAX)
            except Empty:
                raise AssertionError(f"s4 serve did not start:\n{self.tail()}") from None
            if not line:
                raise AssertionError(f"s4 serve ended:\n{self.tail()}")
            with contextlib.suppress(ValueError):
                event = json.loads(line)
                if event.get("event_type") == "api.started":
                    return str(event["details"]["url"])

    def tail(self, lines: int = 60) -> str:
        return "".join(self.log[-lines:])

    def events(self, event_type: str) -> list[dict[str, Any]]:
        """Log lines of one kind."""
        found = []
        for line in list(self.log):
            with contextlib.suppress(ValueError):
                event = json.loads(line)
                if event.get("event_type") == event_type:
                    found.append(event)
        return found

    def kill(self) -> None:
        """The whole group at once, as a power cut would."""
        assert self._process is not None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def stop(self) -> int:
        """Gracefully. Answers with the exit code."""
        assert self._process is not None
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(timeout=40)
            except subprocess.TimeoutExpired:
                self.kill()
                raise AssertionError(f"s4 serve did not stop:\n{self.tail()}") from None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        return self._process.returncode

    @property
    def pid(self) -> int:
        """Of the API."""
        assert self._process is not None
        return self._process.pid

    @property
    def api(self) -> str:
        return f"{self.url}/api/v1"

    def admin(self) -> httpx.Client:
        return httpx.Client(base_url=self.api, headers={"X-Admin-Key": ADMIN_KEY}, timeout=60)

    def new_tenant(self, name: str = "Acme") -> httpx.Client:
        """A client that speaks for a new tenant."""
        with self.admin() as admin:
            answer = admin.post("/admin/tenants", json={"name": name})
        assert answer.status_code == 201, answer.text
        return self.tenant(answer.json()["api_key"])

    def tenant(self, key: str) -> httpx.Client:
        return httpx.Client(base_url=self.api, headers={"X-Tenant-Key": key}, timeout=120)


def flags(environment: Mapping[str, str]) -> dict[str, Any]:
    """`S4_*` variables as names of settings."""
    return {name.removeprefix("S4_").lower(): value for name, value in environment.items()}


def children_of(pid: int) -> list[int]:
    """Programs that a process has started, whichever of its threads did."""
    started = [each.read_text().split() for each in Path(f"/proc/{pid}/task").glob("*/children")]
    return [int(child) for children in started for child in children]


def clean_environment() -> dict[str, str]:
    """Without `S4_*`: what a tester has set must not change what is tested. But for one: beside other tests' processes
    a nice worker would hardly work."""
    return {name: value for name, value in os.environ.items() if not name.startswith("S4_")} | {
        "S4_WORKER_NICENESS": "0"
    }


FAST = {
    "S4_EMBEDDING_PROVIDER": "deterministic",
    "S4_JOB_POLL_SECONDS": "0.2",
    "S4_USAGE_FLUSH_SECONDS": "0.05",
    "S4_AUTH_FAILURES_PER_MINUTE": "1000000",
}
"""Settings that make tests quick without changing what they prove: words instead of meaning, a quick poll, a ledger
that is current, and no throttle for the many wrong keys that all come from here."""


def await_worker(deployment: Deployment) -> None:
    """Returns when its worker has begun to schedule what is regular."""
    give_up_at = time.monotonic() + WORKER_SECONDS_MAX
    with deployment.admin() as admin:
        while not admin.get("/admin/schedule").json()["tasks"]:
            assert time.monotonic() < give_up_at, f"no worker runs:\n{deployment.tail()}"
            time.sleep(0.5)


@contextlib.contextmanager
def running(data_dir: Path, *arguments: str, **environment: str) -> Iterator[Deployment]:
    """A deployment from here to the end of the block. Keyword arguments are `S4_*` variables."""
    deployment = Deployment(data_dir, {"S4_ADMIN_API_KEY": ADMIN_KEY, **environment}, arguments).start()
    try:
        yield deployment
    finally:
        deployment.stop()
