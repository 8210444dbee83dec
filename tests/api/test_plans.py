"""Plans: the public list, and what the administrator does with them."""

import secrets

import httpx
import pytest

from tests.api.calls import assert_refused, client
from tests.factories.deployment import Deployment

GIB = 1 << 30
MIB = 1 << 20
GOLD = {"name": "Gold", "listed": False, "storage_limit": 5 * GIB, "requests_per_second": 2.5, "features": ["webhooks"]}


@pytest.fixture
def gold(admin: httpx.Client) -> str:
    """The id of a plan that nobody is on."""
    plan_id = f"gold-{secrets.token_hex(4)}"
    assert admin.post("/admin/plans", json=GOLD | {"id": plan_id}).status_code == 201
    return plan_id


def test_the_plans_on_offer_are_public_and_as_the_contract_says(deployment: Deployment) -> None:
    with client(deployment) as anybody:
        plans = anybody.get("/plans").json()["plans"]
    assert [
        (p["id"], p["price_monthly"], p["price_yearly"], p["storage_limit"], p["api_calls_limit"], p["max_file_size"])
        for p in plans
    ] == [
        ("free", 0, 0, 1 * GIB, 100, 10 * MIB),
        ("basic", 29, 299, 10 * GIB, 1_000, 50 * MIB),
        ("premium", 99, 999, 50 * GIB, 10_000, 200 * MIB),
        ("enterprise", 499, 4999, 500 * GIB, 100_000, 1000 * MIB),
    ]


def test_the_administrator_sees_also_what_is_not_on_offer(admin: httpx.Client) -> None:
    plans = {plan["id"]: plan for plan in admin.get("/admin/plans").json()["plans"]}
    assert {"free", "basic", "premium", "enterprise", "local"} <= set(plans)
    local = plans["local"]
    assert {local[limit] for limit in ("storage_limit", "api_calls_limit", "max_file_size")} == {None}


def test_a_plan_is_made_changed_and_deleted(admin: httpx.Client, gold: str) -> None:
    assert admin.get(f"/admin/plans/{gold}").json().items() >= GOLD.items()
    changed = {"name": "Gold II", "api_calls_limit": 7, "slo": {"availability": 0.999, "latency_p95_ms": 300}}
    answer = admin.put(f"/admin/plans/{gold}", json=changed)
    assert answer.status_code == 200
    assert answer.json().items() >= changed.items()
    assert answer.json()["storage_limit"] is None
    assert admin.get(f"/admin/plans/{gold}").json() == answer.json()
    assert admin.delete(f"/admin/plans/{gold}").status_code == 204
    assert_refused(admin.get(f"/admin/plans/{gold}"), 404, "not_found")
    assert_refused(admin.put(f"/admin/plans/{gold}", json={"name": "Gold"}), 404, "not_found")
    assert_refused(admin.delete(f"/admin/plans/{gold}"), 404, "not_found")


def test_a_plan_that_was_deleted_can_be_made_again(admin: httpx.Client, gold: str) -> None:
    admin.delete(f"/admin/plans/{gold}")
    assert admin.post("/admin/plans", json=GOLD | {"id": gold}).status_code == 201


def test_a_plan_of_an_id_that_is_taken_is_a_conflict(admin: httpx.Client, gold: str) -> None:
    assert_refused(admin.post("/admin/plans", json=GOLD | {"id": gold, "name": "Other"}), 409, "conflict")
    assert admin.get(f"/admin/plans/{gold}").json()["name"] == "Gold"


def test_a_plan_with_tenants_cannot_be_deleted(admin: httpx.Client, gold: str) -> None:
    tenant = admin.post("/admin/tenants", json={"name": "Acme", "plan_id": gold}).json()
    assert tenant["plan_id"] == gold
    error = assert_refused(admin.delete(f"/admin/plans/{gold}"), 409, "conflict")
    assert error["details"] == {"tenants": 1}


@pytest.mark.parametrize(
    "body",
    [{"id": "x"}, {"name": "x"}, {"id": "../x", "name": "x"}, {"id": "X", "name": "x"}, {"id": "x" * 41, "name": "x"},
     {"id": "x", "name": " "}, {"id": "x", "name": "x", "storage_limit": -1}, {"id": "x", "name": "x", "burst": 0},
     {"id": "x", "name": "x", "storage_limit": "1 GiB"}, {"id": "x", "name": "x", "requests_per_second": 0},
     {"id": "x", "name": "x", "slo": {"availability": 1.5, "latency_p95_ms": 1}}, {"id": "x", "name": "x", "hue": 1},
     {"id": "x", "name": "x", "listed": 0}],
)  # fmt: skip
def test_odd_plans_are_refused(admin: httpx.Client, body: object) -> None:
    assert_refused(admin.post("/admin/plans", json=body), 422, "invalid_request")
