"""The shipped configurations of syslog-ng, run by Debian's: one line of every event, and what a small intake gets."""

import contextlib
import json
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from s4.kernel.settings import LogFormat
from s4.platform.telemetry.events import EVENTS
from tests.factories.deployment import clean_environment
from tests.factories.events import KEYS, LOGGING, TENANT, every_event
from tests.leash import leashed

pytestmark = pytest.mark.ops

PATIENCE_SECONDS = 120
NATIVE = "thread 'lance' panicked at \"x\": no"


@dataclass
class Intake:
    """Takes what collectors post, as the services do: a wrong key or path is refused."""

    path: str
    header: tuple[str, str]
    bodies: list[bytes] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    changed: threading.Condition = field(default_factory=threading.Condition)
    url: str = ""

    def take(self, request: BaseHTTPRequestHandler) -> int:
        body = request.rfile.read(int(request.headers["Content-Length"]))
        name, value = self.header
        with self.changed:
            ok = request.path == self.path and request.headers.get(name) == value
            self.bodies.append(body) if ok else self.refused.append(f"{request.path} {request.headers}")
            self.changed.notify_all()
        return 200 if ok else 403

    def events(self, parse: Callable[[bytes], list[Any]], count: int) -> list[Any]:
        """At least so many, as soon as they are there."""
        give_up_at = time.monotonic() + PATIENCE_SECONDS
        with self.changed:
            while len(found := [event for body in self.bodies for event in parse(body)]) < count:
                left = give_up_at - time.monotonic()
                assert left > 0, f"{len(found)} of {count}; refused: {self.refused}"
                self.changed.wait(left)
        assert self.refused == []
        return found


@contextlib.contextmanager
def intake(path: str, header: tuple[str, str]) -> Iterator[Intake]:
    taking = Intake(path, header)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            status = taking.take(self)
            self.send_response(status)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    taking.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield taking
    finally:
        server.shutdown()
        server.server_close()


@contextlib.contextmanager
def collector(config: Path, folder: Path, **environment: str) -> Iterator[None]:
    """syslog-ng with a shipped configuration, as it is."""
    own = [f"--{name}={folder / name}" for name in ("persist-file", "pidfile", "control")]
    command = ["/usr/sbin/syslog-ng", "--foreground", "--no-caps", f"--cfgfile={config}", *own]
    given = clean_environment() | environment
    checked = subprocess.run([*command, "--syntax-only"], env=given, capture_output=True, text=True, check=False)
    assert (checked.returncode, checked.stderr) == (0, "")
    process = subprocess.Popen(leashed(command), env=given, stderr=subprocess.PIPE)
    try:
        yield
    finally:
        process.terminate()
        process.communicate(timeout=60)


def collected(
    tmp_path: Path, service: str, log_format: LogFormat, *, path: str, header: tuple[str, str],
    parse: Callable[[bytes], list[Any]], **environment: str,
) -> tuple[list[Any], Any]:  # fmt: skip
    """What arrives of every event, in order, and what becomes of a line that is none."""
    logs = tmp_path / "logs"
    logs.mkdir()
    lines = list(every_event(log_format).values())
    (logs / "api.log").write_text("\n".join([*lines, NATIVE, ""]))
    with intake(path, header) as taking:
        given = {"S4_LOGS_DIR": str(logs), f"{service.upper()}_URL": taking.url, **environment}
        with collector(LOGGING / "syslog-ng" / f"{service}.conf", tmp_path, **given):
            *events, native = taking.events(parse, len(EVENTS) + 1)
    return events, native


def test_elasticsearch_gets_documents_of_the_common_schema(tmp_path: Path) -> None:
    def parse(body: bytes) -> list[Any]:
        assert body.endswith(b"\n"), "a bulk request ends with a line break"
        rows = [json.loads(row) for row in body.splitlines()]
        assert all(row == {"create": {}} for row in rows[::2])
        return rows[1::2]

    events, native = collected(
        tmp_path, "elastic", LogFormat.ECS, path="/logs-s4-default/_bulk", header=("Authorization", "ApiKey a2V5"),
        parse=parse, ELASTIC_KEY="a2V5",
    )  # fmt: skip

    for name, event in zip(EVENTS, events, strict=True):
        assert (event["event.action"], event["organization.id"]) == (name, TENANT)
        assert event["@timestamp"].endswith("Z")
    assert native["message"] == NATIVE
    assert native["@timestamp"]


def test_splunk_gets_events_at_the_time_at_which_they_happened(tmp_path: Path) -> None:
    def parse(body: bytes) -> list[Any]:
        return [json.loads(row) for row in body.splitlines()]

    events, native = collected(
        tmp_path, "splunk", LogFormat.JSON, path="/services/collector/event", header=("Authorization", "Splunk t0ken"),
        parse=parse, SPLUNK_TOKEN="t0ken",
    )  # fmt: skip

    for name, event in zip(EVENTS, events, strict=True):
        inner = event["event"]
        assert set(inner) == KEYS
        assert inner["event_type"] == name
        assert event["sourcetype"] == "s4:json"
        assert abs(event["time"] - datetime.fromisoformat(inner["timestamp"]).timestamp()) < 0.002
    assert native["event"]["details"] == {"text": NATIVE}


def test_datadog_gets_its_own_attributes(tmp_path: Path) -> None:
    events, native = collected(
        tmp_path, "datadog", LogFormat.DATADOG, path="/api/v2/logs", header=("DD-API-KEY", "k"), parse=json.loads,
        DATADOG_API_KEY="k",
    )  # fmt: skip

    for name, event in zip(EVENTS, events, strict=True):
        assert (event["evt"]["name"], event["service"], event["tenant_id"]) == (name, "s4-api", TENANT)
        assert event["status"] in ("debug", "info", "warn", "error")
    assert (native["message"], native["status"]) == (NATIVE, "error")
