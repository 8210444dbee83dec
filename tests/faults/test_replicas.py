"""What one replica acknowledged every other one shows with its next answer: two APIs and two workers, as processes, on
PostgreSQL and SeaweedFS. Each question goes to another replica than the change before it.
"""

import secrets
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from s4.platform.database import migrate
from tests.factories import calls
from tests.factories.catalog import sqlite_url
from tests.factories.deployment import ADMIN_KEY, FAST
from tests.factories.nursery import Nursery, Process, until
from tests.servers import PostgresServer, S3Server

ROUNDS = 2  # each replica changes once and is asked once
WRITERS = 6
REPLICAS = 2

Start = Callable[..., Process]


@pytest.fixture(scope="module")
def start(nursery: Nursery, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    """Starts an `s4` process, which ends with the module."""
    started: list[Process] = []

    def begin(command: str, environment: dict[str, str]) -> Process:
        folder = tmp_path_factory.mktemp(command.split()[0])
        own = {"S4_DATA_DIR": str(folder), "S4_ADMIN_API_KEY": ADMIN_KEY}
        started.append(nursery.start(command.split(), FAST | own | environment, folder / "log"))
        return started[-1]

    yield begin
    for process in started:
        process.kill()


@pytest.fixture(scope="module")
def replicas(start: Start, postgres_server: PostgresServer, s3_server: S3Server, s3_shared_bucket: str) -> list[str]:
    """Addresses of two replicas, behind which two workers work."""
    url = postgres_server.new_database()
    migrate.upgrade(url)
    environment = {
        "S4_DATABASE_URL": url,
        "S4_STORE_URL": f"s3://{s3_shared_bucket}/{secrets.token_hex(8)}",
        "S4_STORE_ENDPOINT": s3_server.endpoint,
        "S4_STORE_ACCESS_KEY_ID": s3_server.access_key,
        "S4_STORE_SECRET_ACCESS_KEY": s3_server.secret_key,
    }
    apis = [start("serve --no-worker --port 0", environment) for _ in range(REPLICAS)]
    workers = [start("worker", environment) for _ in range(2)]
    for process in apis + workers:
        until(lambda each=process: each.events("api.started") or each.events("worker.started"), process.tail())
    return [str(api.events("api.started")[0]["details"]["url"]) for api in apis]


def at(url: str, key: str) -> httpx.Client:
    return httpx.Client(base_url=f"{url}/api/v1", headers={"X-Tenant-Key": key}, timeout=60)


@pytest.fixture
def tenants(replicas: list[str]) -> Iterator[list[httpx.Client]]:
    """One new tenant, at each replica."""
    headers = {"X-Admin-Key": ADMIN_KEY}
    answer = httpx.post(f"{replicas[0]}/api/v1/admin/tenants", json={"name": "Acme"}, headers=headers, timeout=60)
    clients = [at(url, answer.json()["api_key"]) for url in replicas]
    yield clients
    for client in clients:
        client.close()


def turns(tenants: list[httpx.Client]) -> Iterator[tuple[int, httpx.Client, httpx.Client]]:
    """The number of the round, who changes, who is asked."""
    for number in range(ROUNDS):
        yield number, tenants[number % REPLICAS], tenants[(number + 1) % REPLICAS]


def test_what_one_replica_says_is_ready_every_other_finds(tenants: list[httpx.Client]) -> None:
    for number, here, there in turns(tenants):
        document_id = calls.stored(calls.put(here, "k", f"text of round{number}"))["document_id"]
        assert calls.everything(there).keys() == {document_id}
        assert there.get(f"/documents/{document_id}/download").text == f"text of round{number}"
        assert calls.wait(here, document_id)["status"] == "ready"
        assert calls.found(there, f"round{number}") == [document_id]
        assert calls.found(there, f"round{number - 1}") == [], "the content before this one"


def test_what_one_replica_deleted_no_other_shows(tenants: list[httpx.Client]) -> None:
    for number, here, there in turns(tenants):
        document_id = calls.stored(calls.put(here, f"k{number}", "text that goes"))["document_id"]
        assert calls.wait(there, document_id)["status"] == "ready"
        assert calls.found(there, "goes") == [document_id]
        assert here.delete(f"/documents/{document_id}").status_code == 204
        assert calls.found(there, "goes") == []
        assert calls.everything(there) == {}
        assert there.get(f"/documents/{document_id}/download").status_code == 404


def test_what_one_replica_patched_every_other_filters_by(tenants: list[httpx.Client]) -> None:
    document_id = calls.stored(calls.put(tenants[0], "k", "text with a year", {"year": 1999}))["document_id"]
    calls.wait(tenants[0], document_id)
    for number, here, there in turns(tenants):
        year = 2000 + number
        assert here.patch(f"/documents/{document_id}/metadata", json={"year": year}).status_code == 200
        of_now, of_before = ({"field": "year", "op": "eq", "value": value} for value in (year, year - 1))
        assert calls.found(there, "year", filters=of_now) == [document_id]
        assert calls.found(there, "year", filters=of_before) == []
        assert calls.detail(there, document_id)["metadata"] == {"year": year}


def test_a_key_that_one_replica_revoked_opens_no_other(tenants: list[httpx.Client], replicas: list[str]) -> None:
    for _, here, there in turns(tenants):
        made = here.post("/keys", json={"name": "made", "scopes": ["documents:read"]}).json()
        holder = at(str(there.base_url).removesuffix("/api/v1/"), made["api_key"])
        assert holder.get("/documents").status_code == 200
        assert here.delete(f"/keys/{made['prefix']}").status_code in (200, 204)
        assert holder.get("/documents").status_code == 401
        holder.close()


def test_of_writers_of_one_key_at_two_replicas_all_count_and_the_last_one_stays(tenants: list[httpx.Client]) -> None:
    with ThreadPoolExecutor(WRITERS) as pool:
        answers = list(pool.map(lambda n: calls.put(tenants[n % REPLICAS], "k", f"by writer{n}"), range(WRITERS)))
    assert sorted(answer.status_code for answer in answers) == [200] * (WRITERS - 1) + [201]
    assert sorted(answer.json()["version"] for answer in answers) == list(range(1, WRITERS + 1))
    last = max(range(WRITERS), key=lambda n: int(answers[n].json()["version"]))
    document_id = answers[last].json()["document_id"]
    assert calls.wait(tenants[0], document_id)["status"] == "ready"
    for tenant in tenants:
        assert tenant.get(f"/documents/{document_id}/download").text == f"by writer{last}"
        for n in range(WRITERS):
            assert calls.found(tenant, f"writer{n}") == ([document_id] if n == last else [])


def test_a_document_that_is_deleted_while_it_is_indexed_stays_away(tenants: list[httpx.Client]) -> None:
    for number in range(2 * ROUNDS):
        document_id = calls.stored(calls.put(tenants[number % 2], f"d{number}", "doomed text"))["document_id"]
        assert tenants[(number + 1) % 2].delete(f"/documents/{document_id}").status_code == 204
    after = calls.stored(calls.put(tenants[0], "after", "text from after"))["document_id"]
    assert calls.wait(tenants[1], after)["status"] == "ready"
    for tenant in tenants:
        assert calls.found(tenant, "doomed") == []
        assert calls.everything(tenant).keys() == {after}


def test_when_the_worker_that_fires_what_is_regular_is_told_to_stop_the_next_one_does_so_at_once(
    start: Start, tmp_path: Path
) -> None:
    """Its lease would last longer than this test waits."""
    url = sqlite_url(tmp_path)
    migrate.upgrade(url)
    environment = {
        "S4_DATABASE_URL": url,
        "S4_STORE_URL": (tmp_path / "objects").as_uri(),
        "S4_JOB_LEASE_SECONDS": "600",
        "S4_SWEEP_SECONDS": "0.5",  # always due when the scheduler looks
        "S4_LOG_LEVEL": "debug",  # which tells of every firing
    }
    first = start("worker", environment)
    until(lambda: first.events("schedule.fired"), "the only worker fires nothing")
    second = start("worker", environment)
    until(lambda: second.events("worker.started"), "the second worker does not start")
    first.send(signal.SIGTERM)
    assert first.wait() == 0
    until(lambda: second.events("schedule.fired"), "nobody takes over")
