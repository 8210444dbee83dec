"""Whoever runs `make cluster` by its documents alone sees what they show, also while what it stands on is stopped. The
embedded setting: `tests/acceptance/test_by_the_documents.py`."""

import contextlib
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from s4client import S4Client
from tests.factories.cluster import Cluster, running_cluster
from tests.factories.command_line import S4
from tests.factories.deployment import children_of, clean_environment
from tests.factories.pages import REPOSITORY, page
from tests.factories.transcript import play, transcript

pytestmark = [
    pytest.mark.ops,
    pytest.mark.timeout(900),
]  # a cluster takes a minute on a busy machine, and so do its ends

DEPLOYING = page("docs/guide/deploying.md")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    folder = tmp_path_factory.mktemp("cluster")
    (folder / "samples").symlink_to(REPOSITORY / "samples")
    with running_cluster(folder) as running:
        yield running


def test_a_cluster_does_what_its_transcript_shows(cluster: Cluster) -> None:
    make, *rest = transcript(DEPLOYING, "cluster")
    assert make.command == "make cluster"
    assert [line.replace("http://127.0.0.1:…", cluster.url) for line in make.shown] == [
        f"S4 answers at {cluster.url}; blue is live."
    ]
    play(rest, cluster.folder, {})


def pids_below(pid: int) -> dict[int, str]:
    """All that a process started, and what those started, by their programs' names."""
    found: dict[int, str] = {}
    for child in children_of(pid):
        found[child] = Path(f"/proc/{child}/comm").read_text().strip()
        found |= pids_below(child)
    return found


@contextlib.contextmanager
def stopped(cluster: Cluster, program: str) -> Iterator[None]:
    """As if its machine hung: connections stay, and nobody answers."""
    pids = [pid for pid, name in pids_below(cluster.pid).items() if program in name]
    assert pids, pids_below(cluster.pid)
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


def doctor(cluster: Cluster, *only: str) -> str:
    parts = [word for part in only for word in ("--only", part)]
    done = subprocess.run(
        [S4, "doctor", *parts], env=clean_environment() | cluster.environment(), cwd=cluster.folder,
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return done.stdout + done.stderr


def test_what_is_stopped_is_told_by_readiness_by_answers_and_by_the_doctor(cluster: Cluster) -> None:
    key = cluster.new_tenant("Acme")
    headers = {"X-Tenant-Key": key}
    with (
        S4Client(cluster.url, api_key=key) as s4,
        httpx.Client(base_url=f"{cluster.url}/api/v1", headers=headers, timeout=100) as http,
    ):
        s4.wait(s4.put_by_key("a.txt", b"Tides follow the moon.").document_id)

        def searched() -> httpx.Response:
            return http.post("/search", json={"query": "tides"})

        def ready() -> httpx.Response:
            return httpx.get(f"{cluster.url}/health/ready", timeout=100)

        with stopped(cluster, "redis"):
            assert searched().status_code == 200
            assert "each process limits rates by itself" in doctor(cluster, "redis")
        with stopped(cluster, "weed"):
            assert http.put("/documents/by-key/b.txt", content=b"b").status_code == 503
            assert ready().json()["status"] == "degraded"
            assert "the store does not answer" in doctor(cluster, "store").lower()
        with stopped(cluster, "postgres"):
            assert searched().status_code == 503
            assert ready().status_code == 503
            assert "The catalog's database does not answer" in doctor(cluster, "database")
        s4.wait(s4.put_by_key("c.txt", b"c").document_id)
        assert searched().json()["results"][0]["key"] == "a.txt"
