"""What a plan allows in a second and in a month, as a caller meets it."""

import secrets
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.api.calls import assert_refused, client
from tests.factories.deployment import ADMIN_KEY, FAST, Deployment
from tests.servers import RedisServer


def on_plan(admin: httpx.Client, at: Deployment, **limits: Any) -> httpx.Client:
    """A client for a new tenant on a plan of its own."""
    plan = {"id": f"test-{secrets.token_hex(4)}", "name": "Test", "listed": False, **limits}
    assert admin.post("/admin/plans", json=plan).status_code == 201
    created = admin.post("/admin/tenants", json={"name": "Limited", "plan_id": plan["id"]})
    assert created.status_code == 201
    return client(at, **{"X-Tenant-Key": created.json()["api_key"]})


def test_every_tenant_answer_says_what_the_rate_allows(reader: httpx.Client) -> None:
    for answer in (reader.get("/documents"), reader.get("/documents/doc_none"), reader.post("/search", json={})):
        assert answer.headers["X-Rate-Limit-Limit"] == "2000"
        assert 0 <= int(answer.headers["X-Rate-Limit-Remaining"]) < 2000
        assert abs(int(answer.headers["X-Rate-Limit-Reset"]) - time.time()) < 60
        assert answer.headers["RateLimit-Policy"] == '"requests";q=2000;w=2'
        assert answer.headers["RateLimit"].startswith('"requests";r=')


def test_what_is_no_tenants_says_nothing_of_rates(deployment: Deployment, admin: httpx.Client) -> None:
    with client(deployment) as stranger:
        answers = (stranger.get("/documents"), stranger.get("/plans"), admin.get("/admin/plans"))
    assert not [name for answer in answers for name in answer.headers if "rate" in name.lower()]


def test_a_tenant_beyond_its_rate_is_told_when_to_come_back_and_others_are_served(
    deployment: Deployment, admin: httpx.Client, tenant: httpx.Client
) -> None:
    with on_plan(admin, deployment, requests_per_second=0.001, burst=3) as limited:
        remaining = [int(limited.get("/documents").headers["X-Rate-Limit-Remaining"]) for _ in range(3)]
        assert remaining == [2, 1, 0]
        answer = limited.get("/documents")
        error = assert_refused(answer, 429, "rate_limited")
        assert error["details"] == {"requests_per_second": 0.001, "burst": 3}
        assert 900 <= int(answer.headers["Retry-After"]) <= 1000
        assert (answer.headers["X-Rate-Limit-Remaining"], answer.headers["X-Rate-Limit-Limit"]) == ("0", "3")
        assert tenant.get("/documents").status_code == 200


def test_a_larger_plan_applies_to_the_next_request(deployment: Deployment, admin: httpx.Client) -> None:
    path = f"/admin/plans/{(plan_id := f'growing-{secrets.token_hex(4)}')}"
    with on_plan(admin, deployment, id=plan_id, requests_per_second=0.01, burst=1) as limited:
        assert [limited.get("/documents").status_code for _ in range(2)] == [200, 429]
        plan = {name: value for name, value in admin.get(path).json().items() if name != "id"}
        admin.put(path, json=plan | {"requests_per_second": 1000, "burst": 1000})
        statuses = [limited.get("/documents").status_code for _ in range(20)]
        assert statuses.count(429) <= 1, "the bucket fills at the new rate"


def test_refusals_cost_the_catalog_nothing_and_open_nothing(deployment: Deployment, admin: httpx.Client) -> None:
    def looks() -> float:
        for line in httpx.get(f"{deployment.url}/metrics", timeout=60).text.splitlines():
            if line.startswith('s4_database_transaction_duration_seconds_count{process="api",kind="read"}'):
                return float(line.rpartition(" ")[2])
        raise AssertionError("no such metric")

    with on_plan(admin, deployment, requests_per_second=0.01, burst=1) as limited:
        limited.get("/documents")
        before, began = looks(), time.monotonic()
        statuses = [limited.get("/documents").status_code for _ in range(200)]
        assert set(statuses) == {429}
        looks_max = 100 + 8 * (time.monotonic() - began)
        assert looks() - before < looks_max, "one look a quarter of a second, and what else the process reads"
        tenant_id = next(
            tenant["id"] for tenant in admin.get("/admin/tenants", params={"q": "Limited"}).json()["tenants"]
        )
        admin.post(f"/admin/tenants/{tenant_id}/suspend")

        def answer() -> int:
            return limited.get("/documents").status_code

        deadline = time.monotonic() + 60
        while answer() == 429 and time.monotonic() < deadline:
            pass
        assert answer() == 403, "who is refused for his rate is no longer known"


def test_the_calls_of_a_month_are_counted_to_the_last_one(deployment: Deployment, admin: httpx.Client) -> None:
    with on_plan(admin, deployment, api_calls_limit=5) as limited:
        assert [limited.get("/documents").status_code for _ in range(5)] == [200] * 5
        error = assert_refused(limited.get("/documents"), 403, "quota_exceeded")
        now = datetime.now(UTC)
        next_month = datetime(now.year + now.month // 12, now.month % 12 + 1, 1, tzinfo=UTC)
        assert error["details"]["api_calls_limit"] == 5
        assert datetime.fromisoformat(error["details"]["resets_at"]) == next_month
        assert "5 calls" in error["message"]


def test_calls_refused_for_a_rate_are_not_counted(deployment: Deployment, admin: httpx.Client) -> None:
    with on_plan(admin, deployment, api_calls_limit=4, requests_per_second=0.01, burst=2) as limited:
        assert [limited.get("/documents").status_code for _ in range(6)] == [200, 200, 429, 429, 429, 429]
        state = {plan["id"]: plan for plan in admin.get("/admin/plans").json()["plans"] if plan["burst"] == 2}
        for plan_id, plan in state.items():
            del plan["id"]
            if plan["api_calls_limit"] == 4:
                admin.put(f"/admin/plans/{plan_id}", json=plan | {"requests_per_second": None, "burst": None})
        assert [limited.get("/documents").status_code for _ in range(3)] == [200, 200, 403]


# -- two processes and a Redis


@pytest.fixture
def replicas(tmp_path: Path, redis_server: RedisServer, postgres_url: str) -> Iterator[list[Deployment]]:
    environment = FAST | {
        "S4_ADMIN_API_KEY": ADMIN_KEY,
        "S4_DATABASE_URL": postgres_url,
        "S4_STORE_URL": f"file://{tmp_path / 'objects'}",
        "S4_REDIS_URL": redis_server.wait(),
        "S4_REDIS_TIMEOUT_SECONDS": "30",  # who does not hear of it for so long goes by a count of its own
    }
    started = [Deployment(tmp_path / f"replica-{n}", environment, ("--no-worker",)).start() for n in range(2)]
    yield started
    for each in started:
        each.kill()


def statuses(tenant_key: str, replicas: list[Deployment], attempts: int) -> list[int]:
    clients = [client(each, **{"X-Tenant-Key": tenant_key}) for each in replicas]
    with ThreadPoolExecutor(8) as pool:
        answers = pool.map(lambda n: clients[n % len(clients)].get("/documents").status_code, range(attempts))
        return list(answers)


@pytest.mark.processes
@pytest.mark.slow
def test_two_processes_admit_what_the_plan_says_together(replicas: list[Deployment], redis_server: RedisServer) -> None:
    with client(replicas[0], **{"X-Admin-Key": ADMIN_KEY}) as admin:
        by_rate = on_plan(admin, replicas[0], requests_per_second=0.001, burst=30).headers["X-Tenant-Key"]
        by_month = on_plan(admin, replicas[0], api_calls_limit=40).headers["X-Tenant-Key"]
        alone = on_plan(admin, replicas[0], requests_per_second=0.001, burst=10).headers["X-Tenant-Key"]
    assert sorted(statuses(by_rate, replicas, 100)) == [200] * 30 + [429] * 70
    counted = statuses(by_month, replicas, 100)
    assert counted.count(200) <= 40
    assert counted.count(200) >= 38, "at most a call or two lie in the other's block"
    redis_server.send(signal.SIGKILL)
    assert sorted(statuses(alone, replicas, 60)) == [200] * 20 + [429] * 40, "ten in each process"
    assert all(each.events("rates.alone") for each in replicas)
    assert "s4_rate_limits_alone 1.0" in httpx.get(f"{replicas[0].url}/metrics", timeout=60).text.replace(
        '{process="api"}', ""
    )


@pytest.mark.processes
def test_a_tenant_that_is_away_gives_its_block_back_when_the_process_stops(tmp_path: Path) -> None:
    environment = FAST | {"S4_ADMIN_API_KEY": ADMIN_KEY}
    served = Deployment(tmp_path, environment, ("--no-worker",)).start()
    with client(served, **{"X-Admin-Key": ADMIN_KEY}) as admin:
        key = on_plan(admin, served, api_calls_limit=100).headers["X-Tenant-Key"]
    assert statuses(key, [served], 10) == [200] * 10
    assert served.stop() == 0
    served.start()
    counted = statuses(key, [served], 120)
    served.kill()
    assert counted.count(200) == 90
