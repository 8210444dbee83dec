"""Debian's Prometheus as a process, for one test."""

import contextlib
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import yaml

from tests.leash import leashed
from tests.servers import free_ports

_SECONDS_MAX = 90  # until it answers, or until a query answers as hoped


@dataclass(frozen=True)
class Prometheus:
    url: str

    def values(self, query: str) -> list[float]:
        """One for each series."""
        answer = httpx.get(f"{self.url}/api/v1/query", params={"query": query}, timeout=30)
        assert answer.status_code == 200, answer.text
        return [float(each["value"][1]) for each in answer.json()["data"]["result"]]

    def await_values(self, query: str, fit: Callable[[list[float]], bool]) -> list[float]:
        give_up_at = time.monotonic() + _SECONDS_MAX
        while True:
            values = self.values(query)
            if values and fit(values):
                return values
            assert time.monotonic() < give_up_at, f"{query} is {values}"
            time.sleep(0.2)


@contextlib.contextmanager
def prometheus(folder: Path, targets: list[dict[str, Any]], *, token: str) -> Iterator[Prometheus]:
    """Scrapes the targets every second."""
    job = {"job_name": "s4-api", "authorization": {"credentials": token}, "static_configs": targets}
    configuration = {"global": {"scrape_interval": "1s"}, "scrape_configs": [job]}
    (folder / "prometheus.yml").write_text(yaml.safe_dump(configuration))
    (port,) = free_ports(1)
    process = subprocess.Popen(
        leashed(
            [
                "/usr/bin/prometheus",
                f"--config.file={folder}/prometheus.yml",
                f"--storage.tsdb.path={folder}/tsdb",
                f"--web.listen-address=127.0.0.1:{port}",
            ]
        ),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    running = Prometheus(f"http://127.0.0.1:{port}")
    try:
        give_up_at = time.monotonic() + _SECONDS_MAX
        while not _answers(running.url):
            assert process.poll() is None
            assert time.monotonic() < give_up_at
            time.sleep(0.05)
        yield running
    finally:
        process.terminate()
        process.wait(30)


def _answers(url: str) -> bool:
    with contextlib.suppress(httpx.HTTPError):
        return httpx.get(f"{url}/-/ready", timeout=5).is_success
    return False
