"""Requests come first: the worker and what reads files step back, with every thread that they have."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from s4.kernel.settings import Settings
from tests.api.calls import new_tenant, upload_ready
from tests.factories.deployment import FAST, Deployment, running

pytestmark = pytest.mark.processes


def children(pid: int) -> Iterator[int]:
    for task in Path(f"/proc/{pid}/task").iterdir():
        yield from map(int, (task / "children").read_text().split())


def threads(pid: int) -> set[int]:
    """Niceness is a thread's: what all of this process's have."""
    return {os.getpriority(os.PRIO_PROCESS, int(task.name)) for task in Path(f"/proc/{pid}/task").iterdir()}


@pytest.fixture
def usual(tmp_path: Path) -> Iterator[Deployment]:
    """With the niceness that a deployment has, and tests have not."""
    niceness = str(Settings.model_fields["worker_niceness"].default)
    with running(tmp_path, **FAST | {"S4_WORKER_NICENESS": niceness}) as deployment:
        yield deployment


def test_the_worker_and_what_reads_files_step_back_behind_requests(usual: Deployment) -> None:
    with new_tenant(usual) as tenant:
        upload_ready(tenant, "A text for whose sake a child starts.")
    (requests,) = threads(usual.pid)
    (worker,) = children(usual.pid)
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
