"""One tenant uploads what it can think of; its neighbour notices nothing.

Two of the worker's three slots are what one tenant may hold. The slow files take longer than the neighbour's whole
session, and there are as many of them as slots: without slots set aside, without lanes, or without turns, the neighbour
would wait until one of them has ended.
"""

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from s4.kernel.units import GIB, KIB
from tests.factories import calls
from tests.factories.deployment import FAST, START_SECONDS_MAX, Deployment, children_of, running
from tests.factories.hostile import HostileFile, corpus
from tests.factories.hostile.pdfs import pdf_that_takes_minutes

pytestmark = pytest.mark.processes

SLOW_FILES = 3
SLOW_SECONDS = 6
LIMITED = FAST | {
    "S4_WORKER_CONCURRENCY": "3",
    "S4_WORKER_RESERVED_SLOTS": "1",
    "S4_EXTRACTION_FAST_SECONDS": "0.5",
    "S4_EXTRACTION_SECONDS_MAX": str(SLOW_SECONDS),
    "S4_EXTRACTION_MEMORY_BYTES": "1 GiB",
}
# Quick to make, and short when read: the rest is read in tests/hostile.
UPLOADED = [
    one
    for one in corpus()
    if not one.heavy
    and re.search(
        "laughs|external|NUL|called|nothing|of 10.5 groups|levels, json|pdf (of 10,001|whose|and noise)|excel that",
        one.name,
    )
]
END_SECONDS_MAX = 170.0


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    with running(tmp_path_factory.mktemp("s4"), **LIMITED) as started:
        yield started


def worker_pid(deployment: Deployment) -> int:
    """Of the child of `s4 serve`, which one of its threads has started."""
    assert deployment._process is not None
    give_up_at = time.monotonic() + START_SECONDS_MAX
    while time.monotonic() < give_up_at:
        for child in children_of(deployment._process.pid):
            if b"\0worker\0" in Path(f"/proc/{child}/cmdline").read_bytes():
                return child
        time.sleep(0.05)
    raise AssertionError(f"no worker: {deployment.tail()}")


def memory_bytes_most(pid: int) -> int:
    match = re.search(r"^VmHWM:\s*(\d+) kB", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    assert match is not None
    return int(match[1]) * KIB


def post(tenant: httpx.Client, filename: str, content: bytes) -> str:
    return str(calls.stored(calls.post(tenant, filename, content))["document_id"])


def ended(tenant: httpx.Client, document_ids: list[str]) -> dict[str, dict[str, Any]]:
    found = {document_id: calls.detail(tenant, document_id) for document_id in document_ids}
    return {document_id: one for document_id, one in found.items() if one["status"] != "processing"}


def in_work(deployment: Deployment) -> int:
    """Files that the slow lane has been given, by the worker's metrics."""
    answer = httpx.get(f"{deployment.url}/metrics", timeout=60)
    return int(sum(map(float, re.findall(r"^s4_extraction_slow_total\{.*\} ([0-9.e+]+)$", answer.text, re.MULTILINE))))


@pytest.mark.slow
@pytest.mark.timeout(400)  # half a minute on two idle cores
def test_hostile_files_end_and_their_neighbour_is_not_delayed(deployment: Deployment) -> None:
    worker = worker_pid(deployment)
    with deployment.new_tenant("Hostile") as hostile, deployment.new_tenant("Neighbour") as neighbour:
        slow = [post(hostile, "slow.pdf", pdf_that_takes_minutes()) for _ in range(SLOW_FILES)]
        while not in_work(deployment):
            assert not ended(hostile, slow)
            time.sleep(0.05)

        first = calls.wait(neighbour, post(neighbour, "a.txt", b"the neighbour's first note"))
        assert first["status"] == "ready"
        assert not ended(hostile, slow), "the neighbour waited for a hostile file"
        others = [post(neighbour, f"{n}.txt", f"note number {n}".encode()) for n in range(4)]
        assert {one["status"] for one in calls.wait_all(neighbour, others).values()} == {"ready"}
        assert len(ended(hostile, slow)) < SLOW_FILES, "the hostile files are still in work"

        sent: dict[str, HostileFile] = {post(hostile, one.filename, one.make()): one for one in UPLOADED}
        assert calls.wait(neighbour, post(neighbour, "last.txt", b"amid all of them"))["status"] == "ready"
        give_up_at = time.monotonic() + END_SECONDS_MAX
        while len(over := ended(hostile, [*slow, *sent])) < len(slow) + len(sent):
            assert time.monotonic() < give_up_at, f"still processing: {deployment.tail()}"
            time.sleep(0.5)

    for document_id, file in sent.items():
        assert_ended_well(over[document_id], file.ends)
    for document_id in slow:
        assert_ended_well(over[document_id], frozenset({"resource_limit"}))
    assert worker_pid(deployment) == worker
    assert not deployment.events("worker.died")
    assert not deployment.events("job.lost")
    assert memory_bytes_most(worker) < GIB


def assert_ended_well(document: dict[str, Any], ends: frozenset[str]) -> None:
    if document["status"] == "ready":
        assert "ready" in ends, document["filename"]
        return
    error = document["error"]
    assert error["code"] in ends, (document["filename"], error)
    assert error["message"].endswith(".")
    assert " " in error["message"], "a sentence for a person"
