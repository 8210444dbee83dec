"""Machines whose clocks are an hour behind and an hour ahead, beside one that is right, over one PostgreSQL."""

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from s4.kernel.clock import parse_rfc3339
from s4.platform.database import migrate
from tests.factories import calls
from tests.factories.deployment import ADMIN_KEY, FAST, Deployment

pytestmark = pytest.mark.processes

HOUR_SECONDS = 3600
WRONG = str(Path(__file__).parents[1] / "factories" / "wrong_clock")
UNFORGIVING = {
    # Garbage is collected all the time, and nothing is too young for it but what a reservation or a ticket protects.
    "S4_SWEEP_SECONDS": "1",
    "S4_GARBAGE_GRACE_SECONDS": "0",
    "S4_INDEX_GRACE_SECONDS": "2",
    "S4_JOB_PATIENCE_HOURS": "0.5",
}
WAIT_SECONDS_MAX = 60


@pytest.fixture
def machines(tmp_path: Path, postgres_url: str) -> Iterator[list[Deployment]]:
    """Each with an API and a worker: right, behind, ahead."""
    migrate.upgrade(postgres_url)
    shared = FAST | UNFORGIVING | {
        "S4_ADMIN_API_KEY": ADMIN_KEY,
        "S4_DATABASE_URL": postgres_url,
        "S4_STORE_URL": f"file://{tmp_path}/objects",
    }  # fmt: skip
    clocks = {"right": {}, "behind": wrong(-HOUR_SECONDS), "ahead": wrong(HOUR_SECONDS)}
    with contextlib.ExitStack() as stack:
        started = []
        for name, clock in clocks.items():
            deployment = Deployment(tmp_path / name, shared | clock)
            stack.callback(deployment.kill)
            started.append(deployment.start())
        yield started


def wrong(seconds: int) -> dict[str, str]:
    return {"PYTHONPATH": WRONG, "CLOCK_AHEAD_SECONDS": str(seconds)}


def await_that(true: Callable[[], bool], otherwise: str) -> None:
    give_up_at = time.monotonic() + WAIT_SECONDS_MAX
    while not true():
        assert time.monotonic() < give_up_at, otherwise
        time.sleep(0.05)


@pytest.mark.slow
def test_nothing_is_lost_or_stuck_among_machines_whose_clocks_are_an_hour_apart(
    machines: list[Deployment], postgres_url: str
) -> None:
    def collections() -> int:
        with psycopg.connect(postgres_url) as catalog:
            done = catalog.execute("SELECT last_finished_at FROM schedule WHERE task = 'maintenance.collect'")
            finished.update(done.fetchall())
        return len(finished)

    finished: set[object] = set()
    right, behind, ahead = machines
    for deployment, hours in ((behind, -1), (ahead, 1)):
        (said,) = deployment.events("api.started")
        (first,) = right.events("api.started")
        assert abs(hours_between(first["timestamp"], said["timestamp"]) - hours) < 0.1, "its clock is not wrong"
    with right.new_tenant() as tenant:
        key = tenant.headers["X-Tenant-Key"]
    clients = [machine.tenant(key) for machine in machines]
    texts: dict[str, tuple[str, str]] = {}
    for number in range(12):
        name, word = f"report{number}", f"first{number}"
        stored = calls.stored(calls.put(clients[number % 3], name, f"common {word}"))
        texts[stored["document_id"]] = (name, word)
    for number, (document_id, (name, _)) in enumerate(list(texts.items())):
        other = clients[(number + 1) % 3]
        if number % 4 == 0:
            assert other.delete(f"/documents/{document_id}").status_code == 204
            del texts[document_id]
        elif number % 4 == 1:
            calls.stored(calls.put(other, name, f"common second{number}"))
            texts[document_id] = (name, f"second{number}")
    for document_id in texts:
        assert calls.wait(clients[0], document_id)["status"] == "ready"
    seen = collections()
    await_that(lambda: collections() >= seen + 2, "garbage is not collected")
    for client in clients:
        assert set(calls.everything(client)) == set(texts)
        for document_id, (_, word) in texts.items():
            assert calls.found(client, word) == [document_id]
            assert client.get(f"/documents/{document_id}/download").text == f"common {word}"
    for machine in machines:
        assert machine.events("job.lost") == [], "a lease was taken from who lived"
        assert machine.events("job.failed") == []
        assert machine.events("worker.died") == []
    for client in clients:
        client.close()


def hours_between(earlier: str, later: str) -> float:
    return (parse_rfc3339(later) - parse_rfc3339(earlier)).total_seconds() / HOUR_SECONDS
