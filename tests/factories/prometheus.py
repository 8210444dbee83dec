"""A real Prometheus with the shipped configuration, and a real Alertmanager: Debian's programs, as child processes."""

import contextlib
import json
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import yaml

from deploy.monitoring import generate
from tests.leash import leashed
from tests.servers import free_ports

START_SECONDS_MAX = 60
_POLL_SECONDS = 0.1
_INTERVAL = "2s"  # a scrape may take as long, on a busy machine, too


def await_that(condition: Callable[[], Any], seconds: float, what: str) -> Any:
    """The first true answer; those of a server that does not listen yet count as false."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with contextlib.suppress(httpx.HTTPError):
            if found := condition():
                return found
        time.sleep(_POLL_SECONDS)
    raise AssertionError(f"it took too long until {what}")


@contextlib.contextmanager
def program(
    command: Sequence[str | Path], log: Path, *, environment: Mapping[str, str] | None = None, cwd: Path | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Runs until the end of the block; what it says is in `log`."""
    with log.open("ab") as out:
        child = subprocess.Popen(
            leashed(command), env=environment, cwd=cwd, stdin=subprocess.DEVNULL, stdout=out, stderr=out
        )
    try:
        yield child
    finally:
        child.terminate()
        try:
            child.wait(20)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


@dataclass(frozen=True, slots=True)
class Prometheus:
    """Asked by its HTTP API."""

    http: httpx.Client
    log: Path

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The samples of now. Raises `AssertionError` with Prometheus' words when it does not understand."""
        answer = self.http.get("/api/v1/query", params={"query": expression})
        assert answer.status_code == 200, f"{expression}: {answer.text}"
        data = answer.json()["data"]
        return list(data["result"]) if data["resultType"] == "vector" else [data]

    def get(self, path: str) -> Any:
        return self.http.get(f"/api/v1/{path}").raise_for_status().json()["data"]


@contextlib.contextmanager
def prometheus(
    folder: Path, targets: Mapping[str, str], *, token: str, alertmanager: str = "", more_rules: str = ""
) -> Iterator[Prometheus]:
    """With the shipped files, of which only targets and intervals are others. `targets`: an address for each job.
    `more_rules`: a rule file beside the shipped ones."""
    home = folder / "prometheus"
    shutil.copytree(generate.HERE / "prometheus", home, ignore=shutil.ignore_patterns("tests"))
    (home / "metrics-token").write_text(token)
    shipped = yaml.safe_load((home / "prometheus.yml").read_text())
    shipped["global"] = dict.fromkeys(shipped["global"], _INTERVAL)
    for job in shipped["scrape_configs"]:
        job["scrape_interval"] = _INTERVAL
    shipped["alerting"]["alertmanagers"][0]["static_configs"][0]["targets"] = [alertmanager] if alertmanager else []
    if more_rules:
        (home / "more.yml").write_text(more_rules)
        shipped["rule_files"].append("more.yml")
    (home / "prometheus.yml").write_text(yaml.safe_dump(shipped))
    (home / "targets").mkdir()
    for job, address in targets.items():
        (home / "targets" / f"{job}.yml").write_text(yaml.safe_dump([{"targets": [address]}]))
    (port,) = free_ports(1)
    command = [
        "/usr/bin/prometheus",
        f"--config.file={home / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--query.lookback-delta=10s",
        "--log.level=warn",
    ]
    server = Prometheus(httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=30), folder / "prometheus.log")
    with server.http, program(command, server.log, cwd=home):
        await_that(
            lambda: server.http.get("/-/ready").status_code == 200,
            START_SECONDS_MAX,
            "Prometheus is ready",
        )
        yield server


@dataclass
class Webhook:
    """Whom Alertmanager tells. `told`: receiver, name and status of every alert, in order."""

    told: list[tuple[str, str, str]] = field(default_factory=list)
    notices: list[dict[str, Any]] = field(default_factory=list)


@contextlib.contextmanager
def alertmanager(folder: Path) -> Iterator[tuple[str, Webhook]]:
    """With the shipped configuration, of which only times and the receivers' address are others. Its own address."""
    webhook = Webhook()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            notice = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            webhook.notices.append(notice)
            for alert in notice["alerts"]:
                webhook.told.append((self.path, alert["labels"]["alertname"], alert["status"]))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Nothing on the terminal."""

    receiver = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=receiver.serve_forever, daemon=True).start()
    text = (generate.HERE / "alertmanager" / "alertmanager.yml").read_text()
    text = text.replace("http://pager.internal:8080", f"http://127.0.0.1:{receiver.server_port}")
    text = re.sub(r"(group_wait|group_interval): \w+", r"\1: 1s", text)
    (folder / "alertmanager.yml").write_text(text)
    (port,) = free_ports(1)
    command = [
        "/usr/bin/prometheus-alertmanager",
        f"--config.file={folder / 'alertmanager.yml'}",
        f"--storage.path={folder / 'alertmanager'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--cluster.listen-address=",
        "--log.level=warn",
    ]
    try:
        with program(command, folder / "alertmanager.log"):
            await_that(
                lambda: httpx.get(f"http://127.0.0.1:{port}/-/ready", timeout=5).status_code == 200,
                START_SECONDS_MAX,
                "Alertmanager is ready",
            )
            yield f"127.0.0.1:{port}", webhook
    finally:
        receiver.shutdown()
        receiver.server_close()
