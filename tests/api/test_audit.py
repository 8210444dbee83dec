"""The audit trail over HTTP: who did what, reads and refusals too, and whether the trail holds."""

import secrets
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from tests.api.calls import assert_refused, client
from tests.factories.deployment import Deployment

GOLD = {"name": "Gold", "listed": False}


def until_told(admin: httpx.Client, wanted: Callable[[dict[str, Any]], bool], number: int = 1, **params: Any) -> Any:
    """The entries of which `wanted` is true, as soon as there are so many: calls are written a moment after they were
    answered."""
    give_up_at = time.monotonic() + 60
    while time.monotonic() < give_up_at:
        answer = admin.get("/admin/audit", params={"limit": 1000, **params})
        assert answer.status_code == 200, answer.text
        found = [entry for entry in answer.json()["entries"] if wanted(entry)]
        if len(found) >= number:
            return found
        time.sleep(0.1)
    raise AssertionError("the trail does not tell")


@pytest.fixture
def plan_id() -> str:
    return f"gold-{secrets.token_hex(4)}"


def test_an_act_and_its_call_are_in_the_trail_and_bear_one_request_id(admin: httpx.Client, plan_id: str) -> None:
    asked = f"test-{secrets.token_hex(8)}"
    admin.post("/admin/plans", json=GOLD | {"id": plan_id}, headers={"X-Request-Id": asked})

    told = until_told(admin, lambda entry: entry["request_id"] == asked, 2)

    call, act = sorted(told, key=lambda entry: entry["status"] is None)
    assert (act["action"], act["subject"], act["actor"], act["before"]) == (
        "plan.create", f"plan/{plan_id}", "environment", None,
    )  # fmt: skip
    assert act["after"]["name"] == "Gold"
    assert (call["action"], call["subject"], call["status"], call["actor_kind"]) == (
        "http.post", "/api/v1/admin/plans", 201, "admin",
    )  # fmt: skip
    assert call["address"] == act["address"] == "127.0.0.1"


def test_reads_and_refusals_are_in_the_trail(deployment: Deployment, admin: httpx.Client, plan_id: str) -> None:
    path = f"/admin/plans/{plan_id}"
    admin.get(path)
    with client(deployment, **{"X-Admin-Key": "wrong"}) as stranger:
        stranger.delete(path)
    with client(deployment) as nobody:
        nobody.get(f"/admin/{plan_id}")

    told = until_told(admin, lambda entry: plan_id in entry["subject"], 3)

    assert {(entry["action"], entry["status"], entry["actor_kind"]) for entry in told} == {
        ("http.get", 404, "admin"), ("http.delete", 401, "anonymous"), ("http.get", 404, "anonymous"),
    }  # fmt: skip


def test_the_trail_is_filtered_and_paged(admin: httpx.Client, plan_id: str) -> None:
    admin.post("/admin/plans", json=GOLD | {"id": plan_id})
    for name in ("one", "two", "three"):
        admin.put(f"/admin/plans/{plan_id}", json=GOLD | {"name": name})
    tenant_id = admin.post("/admin/tenants", json={"name": "Audited"}).json()["id"]

    updates = until_told(admin, lambda entry: entry["subject"] == f"plan/{plan_id}", 3, action="plan.update")
    assert [entry["after"]["name"] for entry in updates] == ["three", "two", "one"]
    assert [entry["before"]["name"] for entry in updates] == ["two", "one", "Gold"]
    (created,) = admin.get("/admin/audit", params={"tenant_id": tenant_id}).json()["entries"]
    assert created["action"] == "tenant.create"
    assert "hash" not in str(created["after"])
    since = {"from": updates[-1]["at"], "to": updates[0]["at"], "action": "plan.update"}
    assert [entry["after"]["name"] for entry in admin.get("/admin/audit", params=since).json()["entries"]] == [
        "two", "one",
    ]  # fmt: skip
    seen, cursor = [], None
    for _ in range(50):
        params = {"limit": "2", "action": "plan.update"} | ({"cursor": cursor} if cursor is not None else {})
        page = admin.get("/admin/audit", params=params).json()
        seen += [entry["entry_id"] for entry in page["entries"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert len(seen) == len(set(seen))
    assert {entry["entry_id"] for entry in updates} <= set(seen)
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    assert admin.get("/admin/audit", params={"from": tomorrow}).json() == {"entries": [], "next_cursor": None}


@pytest.mark.parametrize(
    ("params", "status"),
    [({"cursor": "nonsense"}, 400), ({"cursor": "WyJ4IiwieSJd"}, 400), ({"from": "2026-01-01T00:00:00"}, 400),
     ({"from": "1"}, 422), ({"limit": 0}, 422), ({"limit": 1001}, 422)],
)  # fmt: skip
def test_odd_questions_are_refused(admin: httpx.Client, params: dict[str, Any], status: int) -> None:
    assert_refused(admin.get("/admin/audit", params=params), status, "invalid_request")


def test_the_trail_cannot_be_written_to(admin: httpx.Client) -> None:
    for method in ("POST", "PUT", "PATCH", "DELETE"):
        assert admin.request(method, "/admin/audit").status_code == 405


def test_the_trail_is_sealed_and_verifies_and_the_metrics_say_so(deployment: Deployment, admin: httpx.Client) -> None:
    admin.post("/admin/tenants", json={"name": "Sealed"})
    until_told(admin, lambda entry: entry["batch"] is not None)
    found = admin.get("/admin/audit/verify", params={"limit": 1000}).json()
    assert (found["ok"], found["complete"], found["problem"]) == (True, True, None)
    assert found["entries"] == found["position"] >= 1
    assert_refused(admin.get("/admin/audit/verify", params={"after": 10**9}), 404, "not_found")
    scraped = httpx.get(f"{deployment.url}/metrics", timeout=60).text
    assert 's4_audit_chain_ok{process="api"} 1.0' in scraped
    assert "s4_audit_unsealed_seconds" in scraped
