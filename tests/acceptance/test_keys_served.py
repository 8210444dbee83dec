"""Two API processes over one catalog and one store, with the throttle as it comes: what revoking means to the other
process, and what a brute force gets."""

import itertools
import re
import secrets
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from s4.platform.security import credentials
from tests.factories.deployment import ADMIN_KEY, FAST, Deployment

GUESSES = 1000
PER_MINUTE = 30
SETTINGS = FAST | {"S4_ADMIN_API_KEY": ADMIN_KEY, "S4_AUTH_FAILURES_PER_MINUTE": str(PER_MINUTE)}


@pytest.fixture
def pair(tmp_path: Path, catalog_url: str) -> Iterator[tuple[Deployment, Deployment]]:
    """Without workers, on each database."""
    environment = SETTINGS | {"S4_DATABASE_URL": catalog_url}
    started = [Deployment(tmp_path / "data", environment, ("--no-worker",)).start() for _ in range(2)]
    yield started[0], started[1]
    for deployment in started:
        deployment.kill()


def made(caller: httpx.Client, *scopes: str) -> tuple[str, str]:
    answer = caller.post("/keys", json={"name": "made", "scopes": scopes}).json()
    return answer["prefix"], answer["api_key"]


def test_once_a_revocation_is_answered_the_other_process_refuses_and_what_was_begun_may_end(
    pair: tuple[Deployment, Deployment],
) -> None:
    here, there = pair
    with here.new_tenant() as owner:
        prefix, key = made(owner, "documents:read", "documents:write")
        with there.tenant(key) as holder:
            assert holder.get("/documents").status_code == 200
            begun, go_on = threading.Event(), threading.Event()

            def slowly() -> Iterator[bytes]:
                yield b"begun before, "
                begun.set()
                assert go_on.wait(60)
                yield b"ended after"

            with ThreadPoolExecutor() as pool:
                upload = pool.submit(holder.put, "/documents/by-key/slow", content=slowly())
                assert begun.wait(60)
                while not there.events("http.request_finished"):
                    time.sleep(0.01)  # the admission of the upload is not an event that can be awaited
                assert owner.delete(f"/keys/{prefix}").status_code == 204
                with there.tenant(key) as again:
                    assert {again.get("/documents").status_code for _ in range(5)} == {401}
                go_on.set()
                assert upload.result().status_code == 201
        assert owner.get("/documents/by-key/slow/download").status_code in (200, 404)
        assert owner.get("/documents").json()["total"] == 1


def guess() -> str:
    return credentials.mint(secrets.token_bytes).plaintext


def metric(deployment: Deployment, name: str) -> float:
    text = httpx.get(f"{deployment.url}/metrics").text
    return sum(float(value) for value in re.findall(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE))


def test_a_brute_force_of_a_thousand_keys_is_slowed_and_seen_and_its_neighbour_is_served(tmp_path: Path) -> None:
    """All from one address: the tenant behind the same one gets every answer that it asks for."""
    deployment = Deployment(tmp_path / "data", SETTINGS, ("--no-worker",)).start()
    answers: Counter[int] = Counter()
    neighbours: Counter[int] = Counter()
    over = threading.Event()
    try:
        with deployment.new_tenant() as known, deployment.new_tenant() as newcomer:

            def attack(count: int) -> None:
                with httpx.Client(base_url=deployment.api, timeout=120) as attacker:
                    for _ in range(count):
                        answer = attacker.get("/documents", headers={"X-Tenant-Key": guess()})
                        answers[answer.status_code] += 1
                        assert (answer.status_code == 429) == ("Retry-After" in answer.headers)

            def live(tenant: httpx.Client) -> None:
                for turn in itertools.count():
                    if over.is_set() and turn >= 20:
                        return
                    neighbours[tenant.get("/documents").status_code] += 1

            with ThreadPoolExecutor() as pool:
                neighbour = pool.submit(live, known)
                attackers = [pool.submit(attack, GUESSES // 8) for _ in range(8)]
                for each in attackers:
                    each.result()
                neighbours[newcomer.get("/documents").status_code] += 1
                over.set()
                neighbour.result()

            assert set(neighbours) == {200}
            assert set(answers) == {401, 429}
            assert answers.total() == GUESSES
            assert answers[429] > GUESSES * 0.8
            assert metric(deployment, 's4_auth_failures_total{reason="unknown"}') == GUESSES
            assert metric(deployment, "s4_auth_throttled_total") == answers[429]
        assert deployment.stop() == 0
    finally:
        deployment.kill()
    told = [event["details"] for event in deployment.events("access.refused")]
    assert sum(line["attempts"] for line in told) == GUESSES
    assert {(line["reason"], line["client_address"]) for line in told} == {("unknown", "127.0.0.1")}
    assert len(told) <= 2, "one line for each minute that it took"
    again = Deployment(tmp_path / "data", SETTINGS, ("--no-worker",)).start()
    try:
        with again.tenant(known.headers["X-Tenant-Key"]) as tenant:
            assert tenant.get("/keys").json()["keys"][0]["last_used"] is not None, "kept by the graceful end"
    finally:
        again.kill()
