"""Two API processes over one catalog and one store, with the throttle as it comes: what revoking means to the other
process, and what a brute force gets."""

import contextlib
import itertools
import secrets
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from s4.platform.security import credentials
from tests.factories.deployment import ADMIN_KEY, FAST, Deployment

pytestmark = pytest.mark.processes

GUESSES = 1000
ATTACKERS = 40
SECONDS_MAX = 60
PER_MINUTE = 30
SETTINGS = FAST | {"S4_ADMIN_API_KEY": ADMIN_KEY, "S4_AUTH_FAILURES_PER_MINUTE": str(PER_MINUTE)}


@dataclass(frozen=True)
class Processes:
    """Without workers, over one data directory; `attacked` is for the brute force alone."""

    data_dir: Path
    here: Deployment
    there: Deployment
    attacked: Deployment

    def reservations(self) -> int:
        """Uploads that were let in and have not ended."""
        with contextlib.closing(sqlite3.connect(self.data_dir / "catalog.sqlite", timeout=60)) as catalog:
            found: int = catalog.execute("SELECT count(*) FROM upload_reservations").fetchone()[0]
        return found


@pytest.fixture(scope="module")
def processes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Processes]:
    data_dir = tmp_path_factory.mktemp("keys") / "data"
    deployments = [Deployment(data_dir, SETTINGS, ("--no-worker",)) for _ in range(3)]
    deployments[0].start()  # makes the catalog
    for deployment in deployments[1:]:  # from this thread: what one starts dies with it
        deployment.start()
    yield Processes(data_dir, *deployments)
    for deployment in deployments:
        deployment.kill()


def made(caller: httpx.Client, *scopes: str) -> tuple[str, str]:
    answer = caller.post("/keys", json={"name": "made", "scopes": scopes}).json()
    return answer["prefix"], answer["api_key"]


def test_once_a_revocation_is_answered_the_other_process_refuses_and_what_was_begun_may_end(
    processes: Processes,
) -> None:
    here, there = processes.here, processes.there
    with here.new_tenant() as owner:
        prefix, key = made(owner, "documents:read", "documents:write")
        with there.tenant(key) as holder:
            assert holder.get("/documents").status_code == 200
            begun, go_on = threading.Event(), threading.Event()

            def slowly() -> Iterator[bytes]:
                yield b"begun before, "
                begun.set()
                assert go_on.wait(SECONDS_MAX)
                yield b"ended after"

            with ThreadPoolExecutor() as pool:
                upload = pool.submit(holder.put, "/documents/by-key/slow", content=slowly())
                assert begun.wait(SECONDS_MAX)
                deadline = time.monotonic() + SECONDS_MAX
                while not processes.reservations():
                    assert time.monotonic() < deadline
                assert owner.delete(f"/keys/{prefix}").status_code == 204
                with there.tenant(key) as again:
                    assert {again.get("/documents").status_code for _ in range(5)} == {401}
                go_on.set()
                answer = upload.result()
                assert answer.status_code == 201
        document_id = answer.json()["document_id"]
        assert owner.get(f"/documents/{document_id}/download").text == "begun before, ended after"


def guess() -> str:
    return credentials.mint(secrets.token_bytes).plaintext


def metric(deployment: Deployment, name: str, label: str = "") -> float:
    """The sum over all series of the name that have the label."""
    lines = httpx.get(f"{deployment.url}/metrics", timeout=60).text.splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith(name) and label in line)


def test_a_brute_force_of_a_thousand_keys_is_slowed_and_seen_and_its_neighbour_is_served(processes: Processes) -> None:
    """All from one address: the tenant behind the same one gets every answer that it asks for."""
    deployment = processes.attacked
    answers: list[int] = []
    neighbours: list[int] = []
    over = threading.Event()
    began = time.monotonic()
    with deployment.new_tenant() as known, deployment.new_tenant() as newcomer:

        def attack(count: int) -> None:
            with httpx.Client(base_url=deployment.api, timeout=120) as attacker:
                for _ in range(count):
                    headers = {"X-Tenant-Key": guess(), "X-Forwarded-For": f"203.0.113.{len(answers) % 250}"}
                    answer = attacker.get("/documents", headers=headers)
                    answers.append(answer.status_code)
                    assert (answer.status_code == 429) == ("Retry-After" in answer.headers)

        def live(tenant: httpx.Client) -> None:
            for turn in itertools.count():
                if over.is_set() and turn >= 20:
                    return
                neighbours.append(tenant.get("/documents").status_code)

        with ThreadPoolExecutor(ATTACKERS + 1) as pool:
            neighbour = pool.submit(live, known)
            attackers = [pool.submit(attack, GUESSES // ATTACKERS) for _ in range(ATTACKERS)]
            for each in attackers:
                each.result()
            neighbours.append(newcomer.get("/documents").status_code)
            over.set()
            neighbour.result()

        assert set(neighbours) == {200}
        counts = Counter(answers)
        assert set(counts) == {401, 429}
        assert counts.total() == GUESSES
        assert counts[429] > GUESSES * 0.8
        assert metric(deployment, "s4_auth_failures_total", 'reason="unknown"') == GUESSES
        assert metric(deployment, "s4_auth_throttled_total") == counts[429]
    assert deployment.stop() == 0
    refused = list(deployment.events("access.refused"))
    assert {line["tenant_id"] for line in refused} == {None}, "a key that nobody has is no tenant's"
    told = [event["details"] for event in refused]
    assert sum(line["attempts"] for line in told) == GUESSES
    assert {(line["reason"], line["client_address"]) for line in told} == {("unknown", "127.0.0.1")}
    assert len(told) <= 2 + (time.monotonic() - began) / 60, "one line for each minute that it took"
    with processes.here.tenant(known.headers["X-Tenant-Key"]) as tenant:
        assert tenant.get("/keys").json()["keys"][0]["last_used"] is not None, "kept by the graceful end"
