"""Requests come first: the worker and what reads files step back, with every thread that they have."""

import os
from collections.abc import Iterator
from pathlib import Path

import httpx

from tests.api.calls import upload_ready
from tests.factories.deployment import Deployment


def children(pid: int) -> Iterator[int]:
    for task in Path(f"/proc/{pid}/task").iterdir():
        yield from map(int, (task / "children").read_text().split())


def threads(pid: int) -> set[int]:
    """Niceness is a thread's: what all of this process's have."""
    return {os.getpriority(os.PRIO_PROCESS, int(task.name)) for task in Path(f"/proc/{pid}/task").iterdir()}


def test_the_worker_and_what_reads_files_step_back_behind_requests(
    deployment: Deployment, tenant: httpx.Client
) -> None:
    upload_ready(tenant, "A text for whose sake a child starts.")
    (requests,) = threads(deployment.pid)
    (worker,) = children(deployment.pid)
    (jobs,) = threads(worker)
    readers = list(children(worker))

    assert jobs > requests
    assert readers
    for reader in readers:
        (niceness,) = threads(reader)
        assert niceness > jobs
        # Linux weighs sessions before it weighs processes, where it is told to, and a reader has a session of its own.
        group = Path(f"/proc/{reader}/autogroup")
        assert not group.exists() or group.read_text().endswith(f" nice {niceness}\n")
