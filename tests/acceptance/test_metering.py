"""What is metered survives the processes that met it: all of it a graceful stop, all but the last moment a kill."""

import concurrent.futures
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.api.test_usage import eventually
from tests.factories.calls import put
from tests.factories.deployment import ADMIN_KEY, FAST, Deployment

pytestmark = pytest.mark.processes

NEVER = "3600"  # seconds between flushes: nothing is in the ledger but by a stop


def served(data_dir: Path, **settings: str) -> Deployment:
    return Deployment(data_dir, FAST | {"S4_ADMIN_API_KEY": ADMIN_KEY, **settings}, ("--no-worker",)).start()


def totals(tenant: httpx.Client) -> dict[str, Any]:
    answer = tenant.get("/usage")
    assert answer.status_code == 200, answer.text
    return dict(answer.json()["totals"])


def test_a_graceful_stop_loses_nothing_and_a_kill_only_the_last_moment(tmp_path: Path) -> None:
    first = served(tmp_path, S4_USAGE_FLUSH_SECONDS=NEVER)
    with first.new_tenant() as tenant:
        key = tenant.headers["X-Tenant-Key"]
        for number in range(7):
            assert put(tenant, f"{number}.txt", "Tides.").status_code == 201
        assert totals(tenant)["calls"] == 0, "not flushed yet"
    assert first.stop() == 0

    second = served(tmp_path)
    with second.tenant(key) as tenant:
        after = totals(tenant)
        assert (after["calls"], after["calls_by_class"]["upload"], after["documents_uploaded"]) == (7, 7, 7)
        assert after["store_writes"] >= 14, "content and head of each"
        for number in range(7, 20):
            put(tenant, f"{number}.txt", "Tides.")
        eventually(lambda: totals(tenant), lambda each: each["calls"] == 20)
        for number in range(20, 25):
            put(tenant, f"{number}.txt", "Tides.")
    second.kill()

    third = served(tmp_path)
    try:
        with third.tenant(key) as tenant:
            after = totals(tenant)
        assert 20 <= after["calls"] <= 25
        assert after["documents_uploaded"] == 25, "what rides in the documents' transactions cannot be lost"
    finally:
        third.kill()


def test_two_processes_count_every_call_once(tmp_path: Path, postgres_url: str) -> None:
    shared = {"S4_STORE_URL": (tmp_path / "objects").as_uri(), "S4_DATABASE_URL": postgres_url}
    running = [served(tmp_path / str(number), **shared) for number in range(2)]
    try:
        with running[0].new_tenant() as tenant:
            key = tenant.headers["X-Tenant-Key"]
        with running[0].admin() as admin:
            tenant_id = admin.get("/admin/tenants").json()["tenants"][0]["id"]

        def ask(deployment: Deployment) -> None:
            with deployment.tenant(key) as caller:
                for _ in range(30):
                    assert caller.get("/documents").status_code == 200

        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            list(pool.map(ask, running * 2))

        with running[1].tenant(key) as tenant, running[1].admin() as admin:
            eventually(lambda: totals(tenant), lambda each: each["calls"] >= 120)
            assert totals(tenant)["calls_by_class"]["read"] == 120
            asked = {"tenant_id": tenant_id}
            found = admin.get("/admin/analytics/endpoints", params=asked).json()["endpoints"]
            assert [each["requests"] for each in found if each["route"] == "/documents"] == [120]
            assert admin.get("/admin/analytics/system").json()["total_api_calls"] == 120
    finally:
        for deployment in running:
            deployment.kill()
