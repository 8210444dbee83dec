"""A Prometheus that scrapes pods every second, with the labels that its operator gives them, for one test."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import yaml

from tests.factories.prometheus import START_SECONDS_MAX, Prometheus, await_that, program
from tests.servers import free_ports

_SECONDS_MAX = 90  # until a query answers as hoped, on a machine that is busy with more


def await_values(prometheus: Prometheus, query: str, fit: Callable[[list[float]], bool]) -> list[float]:
    """One for each series, once there are any and they fit."""

    def values() -> list[float]:
        found = [float(each["value"][1]) for each in prometheus.query(query)]
        return found if found and fit(found) else []

    answered: list[float] = await_that(values, _SECONDS_MAX, f"{query} is as hoped")
    return answered


@contextlib.contextmanager
def scraping(folder: Path, targets: list[dict[str, Any]], *, token: str) -> Iterator[Prometheus]:
    """From here to the end of the block."""
    job = {"job_name": "s4-api", "authorization": {"credentials": token}, "static_configs": targets}
    configuration = {"global": {"scrape_interval": "1s"}, "scrape_configs": [job]}
    (folder / "prometheus.yml").write_text(yaml.safe_dump(configuration))
    (port,) = free_ports(1)
    server = Prometheus(httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30), folder / "prometheus.log")
    command = [
        "/usr/bin/prometheus",
        f"--config.file={folder}/prometheus.yml",
        f"--storage.tsdb.path={folder}/tsdb",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with server.http, program(command, server.log):
        await_that(lambda: server.get("status/buildinfo"), START_SECONDS_MAX, "Prometheus is ready")
        yield server
