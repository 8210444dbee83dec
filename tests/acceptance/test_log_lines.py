"""Every line of every process is JSON with the guide's keys: under load, when it is killed in part, when it ends."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
import structlog

from s4.entrypoints.serve import pass_on_lines
from s4.kernel.settings import LogFormat
from tests.factories.deployment import FAST, Deployment, clean_environment, running
from tests.factories.events import assert_lines, written
from tests.factories.files import pdf
from tests.faults.test_processes import children, until, worker_of

DOCUMENTS = 24


def read_children(deployment: Deployment) -> list[int]:
    """Processes that read files for the worker."""
    found = []
    for pid in children(worker_of(deployment)):
        with contextlib.suppress(OSError):
            if b"s4.engine.extraction.child" in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0"):
                found.append(pid)
    return found


def rude_to(url: str) -> None:
    """Bytes that are no HTTP, and a request whose names try to forge a line."""
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname, parts.port), timeout=10) as connection:
        connection.sendall(b"\x16\x03\x01\x00\xff no HTTP at all\r\n\r\n")
        connection.recv(1024)
    forged = 'a%0A%7B"event_type":"forged"%7D'
    assert (
        httpx.get(f"{url}/api/v1/documents/{forged}", headers={"X-Request-Id": "x" * 99}, timeout=60).status_code == 401
    )


def upload(tenant: httpx.Client, number: int) -> int:
    paper = pdf([[f"The walrus of {number} sleeps on ice."]])  # of a form that is read in a process of its own
    answer = tenant.put(f"/documents/by-key/{number}.pdf", content=paper)
    tenant.post("/search", json={"query": "walrus"})
    return answer.status_code


@pytest.mark.processes
def test_under_load_with_a_killed_worker_and_a_killed_reader_every_line_is_whole(tmp_path: Path) -> None:
    noisy = FAST | {"PYTHONWARNINGS": "always", "S4_LOG_LEVEL": "debug", "S4_JOB_LEASE_SECONDS": "2"}
    with running(tmp_path / "data", **noisy) as deployment, deployment.new_tenant() as tenant:
        with ThreadPoolExecutor(4) as pool:
            answers = [pool.submit(upload, tenant, number) for number in range(DOCUMENTS)]
            worker = worker_of(deployment)
            for pid in until(lambda: read_children(deployment), "no reader of files"):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            os.kill(worker, signal.SIGKILL)
            rude_to(deployment.url)
        assert {answer.result() for answer in answers} <= {200, 201}
        for path in ("/health/ready", "/metrics", "/health/live"):
            httpx.get(f"{deployment.url}{path}", timeout=60)
        until(lambda: len(deployment.events("worker.started")) == 2, "the worker is not started anew")
        until(lambda: deployment.events("documents.indexed"), "nothing is indexed")
        asked = {line["request_id"] for line in deployment.events("http.request_finished")}

    lines = assert_lines(deployment.log, services={"api", "worker"})
    assert asked
    kinds = Counter(line["event_type"] for line in lines)
    assert kinds["worker.died"] == 1
    assert kinds["documents.indexed"] > 0
    assert kinds["uvicorn.error"] > 0, "what is no HTTP"
    assert kinds["forged"] == 0
    assert kinds["worker.stopped"] == kinds["api.stopped"] == 1
    requests = [line for line in lines if line["event_type"] == "http.request_finished"]
    assert max(Counter(line["request_id"] for line in requests).values()) == 1, "one line of a request"
    assert not {line["details"]["route"] for line in requests} & {"/health/ready", "/metrics", "/health/live"}
    assert {line["tenant_id"] for line in requests if line["details"]["status"] == 201} != {None}


@pytest.mark.processes
def test_a_start_that_fails_is_told_in_the_format_that_was_asked_for(tmp_path: Path) -> None:
    environment = FAST | {"S4_DATA_DIR": str(tmp_path), "S4_PORT": "many", "S4_LOG_FORMAT": "google"}
    done = subprocess.run(
        [sys.executable, "-m", "s4.entrypoints.cli", "serve"],
        env=clean_environment() | environment, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip

    assert (done.returncode, done.stdout) == (1, "")
    last = json.loads(done.stderr)
    assert (last["severity"], last["event_type"]) == ("ERROR", "process.failed")
    assert "S4_PORT" in last["message"]


def passed_on(said: bytes, **how: Any) -> list[dict[str, Any]]:
    """What the parent makes of the stderr of a child that said this, and was gone."""
    reading, writing = os.pipe()
    os.write(writing, said)
    os.close(writing)
    with written(LogFormat.JSON, **how) as stream:
        pass_on_lines(os.fdopen(reading, "rb", buffering=0))
        return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_what_a_child_writes_that_is_no_line_becomes_one() -> None:
    whole = b'{"event_type": "documents.indexed", "service": "worker"}\n'
    panicked = b"thread 'lance' panicked at src/x.rs:7: s4_abcdefghijkl_" + b"x" * 49 + b"\n\xff\xfe\n\n"

    first, second, third, fourth = passed_on(whole + panicked + b'{"event_type": "documents.ind')

    assert first == {"event_type": "documents.indexed", "service": "worker"}
    assert [line["event_type"] for line in (second, third, fourth)] == ["process.said"] * 3
    assert second["details"]["text"] == "thread 'lance' panicked at src/x.rs:7: [redacted]"
    assert fourth["details"]["text"] == '{"event_type": "documents.ind', "half a line of one that was killed"


def test_long_lines_of_parent_and_child_do_not_mix() -> None:
    own, child = "o" * 9_000, "c" * 9_000
    with written(LogFormat.JSON) as stream, ThreadPoolExecutor(2) as pool:
        reading, writing = os.pipe()
        passing = pool.submit(pass_on_lines, os.fdopen(reading, "rb", buffering=0))

        def tell() -> None:
            for _ in range(50):
                structlog.get_logger().info("catalog.migrated", step=own)

        telling = pool.submit(tell)
        with os.fdopen(writing, "wb") as pipe:
            for _ in range(50):
                pipe.write(json.dumps({"said": child}).encode() + b"\n")
        telling.result()
        passing.result()
        lines = [json.loads(line) for line in stream.getvalue().splitlines()]

    assert sum(line.get("said") == child for line in lines) == 50
    assert sum(line.get("details") == {"step": own} for line in lines) == 50
