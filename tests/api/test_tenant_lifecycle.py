"""What an administrator does with a tenant, and what the tenant sees of it."""

import secrets
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from tests.api.calls import assert_refused, assert_utc, client, put, search, upload_ready
from tests.factories.deployment import Deployment

NEVER_EXISTED = "ten_" + "a" * 26
ACTS = [
    ("PUT", "", {"name": "Other"}),
    ("PUT", "/plan", {"plan_id": "basic"}),
    ("POST", "/suspend", None),
    ("POST", "/activate", None),
    ("POST", "/reset-usage", None),
    ("DELETE", "", None),
]


@pytest.fixture
def created(admin: httpx.Client) -> dict[str, Any]:
    """A tenant on the plan basic, as its creation was answered."""
    body = {"name": "Acme", "email": "ada@acme.example", "company": "Acme Ltd", "plan_id": "basic"}
    answer: dict[str, Any] = admin.post("/admin/tenants", json=body).json()
    return answer


@pytest.fixture
def theirs(deployment: Deployment, created: dict[str, Any]) -> Iterator[httpx.Client]:
    """The tenant itself."""
    with client(deployment, **{"X-Tenant-Key": created["api_key"]}) as opened:
        yield opened


@pytest.fixture
def path(created: dict[str, Any]) -> str:
    return f"/admin/tenants/{created['id']}"


def in_days(days: float) -> str:
    return (datetime.now(UTC) + timedelta(days=days)).isoformat()


# -- creation


def test_a_repeat_with_its_idempotency_key_is_answered_with_the_same_tenant_and_key(admin: httpx.Client) -> None:
    headers = {"Idempotency-Key": secrets.token_hex(8)}
    first, again = (admin.post("/admin/tenants", json={"name": "Once"}, headers=headers) for _ in range(2))
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.json() == again.json()
    assert ("Idempotency-Replayed" in first.headers, again.headers["Idempotency-Replayed"]) == (False, "true")
    error = assert_refused(admin.post("/admin/tenants", json={"name": "Twice"}, headers=headers), 409, "conflict")
    assert error["details"] == {"tenant_id": first.json()["id"]}


@pytest.mark.parametrize("key", ["", "x" * 201])
def test_an_odd_idempotency_key_is_refused(admin: httpx.Client, key: str) -> None:
    answer = admin.post("/admin/tenants", json={"name": "x"}, headers={"Idempotency-Key": key})
    assert_refused(answer, 400, "invalid_request")


def test_a_tenant_is_found_by_the_operators_own_name_for_it(admin: httpx.Client) -> None:
    external_id = f"crm/{secrets.token_hex(4)}"
    made = admin.post("/admin/tenants", json={"name": "Known", "external_id": external_id}).json()
    found = admin.get("/admin/tenants", params={"external_id": external_id}).json()["tenants"]
    assert [(tenant["id"], tenant["external_id"]) for tenant in found] == [(made["id"], external_id)]
    answer = admin.post("/admin/tenants", json={"name": "Second", "external_id": external_id})
    assert assert_refused(answer, 409, "conflict")["details"] == {"tenant_id": made["id"]}


def test_an_unknown_status_selects_nothing_and_says_which_there_are(admin: httpx.Client) -> None:
    error = assert_refused(admin.get("/admin/tenants", params={"status": "asleep"}), 400, "invalid_request")
    assert "active, suspended, deleting" in error["message"]


# -- change


def test_an_update_changes_what_it_names(admin: httpx.Client, path: str) -> None:
    answer = admin.put(path, json={"name": "Acme II", "email": None})
    assert answer.status_code == 200
    changed = answer.json()
    assert (changed["name"], changed["email"], changed["company"]) == ("Acme II", None, "Acme Ltd")
    assert admin.get(path).json() == changed
    assert "api_key" not in changed


@pytest.mark.parametrize(
    "body", [{"name": None}, {"name": " "}, {"email": "nobody"}, {"plan_id": "free"}, {"status": "active"}, []]
)
def test_odd_updates_are_refused(admin: httpx.Client, path: str, body: object) -> None:
    assert_refused(admin.put(path, json=body), 422, "invalid_request")


@pytest.mark.parametrize(("method", "act", "body"), ACTS)
def test_no_act_finds_a_tenant_that_never_existed(admin: httpx.Client, method: str, act: str, body: object) -> None:
    answers = [
        admin.request(method, f"/admin/tenants/{tenant_id}{act}", json=body) for tenant_id in (NEVER_EXISTED, "x")
    ]
    refused = [assert_refused(answer, 404, "not_found") for answer in answers]
    assert refused[0] == refused[1]


def test_another_plan_is_in_force_with_the_next_request(admin: httpx.Client, theirs: httpx.Client, path: str) -> None:
    before = theirs.get("/profile").json()["plan"]
    changed = admin.put(f"{path}/plan", json={"plan_id": "premium"}).json()
    after = theirs.get("/profile").json()["plan"]
    assert (before["id"], changed["plan_id"], after["id"]) == ("basic", "premium", "premium")
    assert (before["api_calls_limit"], after["api_calls_limit"]) == (1_000, 10_000)


def test_a_smaller_plan_deletes_nothing_and_shows_what_is_too_much(
    admin: httpx.Client, theirs: httpx.Client, path: str
) -> None:
    plan_id = f"tiny-{secrets.token_hex(4)}"
    admin.post("/admin/plans", json={"id": plan_id, "name": "Tiny", "storage_limit": 4, "listed": False})
    document = put(theirs, "k", "12345678").json()
    assert admin.put(f"{path}/plan", json={"plan_id": plan_id}).status_code == 200
    usage = theirs.get("/profile").json()["usage"]
    assert (usage["storage_used"], usage["storage_used_percent"], usage["document_count"]) == (8, 200.0, 1)
    assert theirs.get(f"/documents/{document['document_id']}/download").text == "12345678"


def test_a_plan_can_be_given_for_a_time(admin: httpx.Client, path: str) -> None:
    answer = admin.put(f"{path}/plan", json={"plan_id": "premium", "expires_at": in_days(30)}).json()
    assert (answer["plan_id"], answer["then_plan_id"]) == ("premium", "free")
    assert assert_utc(answer["plan_expires_at"]) > datetime.now(UTC)
    assert_refused(admin.delete("/admin/plans/free"), 409, "conflict")  # somebody will be on it
    for_good = admin.put(f"{path}/plan", json={"plan_id": "premium"}).json()
    assert (for_good["plan_expires_at"], for_good["then_plan_id"]) == (None, None)


@pytest.mark.parametrize(
    ("body", "status"),
    [({"plan_id": "none"}, 400), ({"plan_id": "free", "expires_at": in_days(-1)}, 400), ({}, 422),
     ({"plan_id": "free", "expires_at": in_days(1), "then_plan_id": "none"}, 400),
     ({"plan_id": "free", "expires_at": "2099-01-01T00:00:00"}, 422)],
)  # fmt: skip
def test_odd_changes_of_plan_are_refused(admin: httpx.Client, path: str, body: object, status: int) -> None:
    assert_refused(admin.put(f"{path}/plan", json=body), status, "invalid_request")
    assert admin.get(path).json()["plan_id"] == "basic"


def test_usage_is_reset_as_often_as_one_likes(admin: httpx.Client, path: str) -> None:
    answers = [admin.post(f"{path}/reset-usage") for _ in range(2)]
    assert [(answer.status_code, answer.json()["api_calls_count"]) for answer in answers] == [(200, 0)] * 2


# -- out and in again


def but_for_calls(tenant: dict[str, Any]) -> dict[str, Any]:
    """The calls are counted seconds later."""
    return tenant | {"api_calls_count": 0}


def test_a_suspended_tenant_is_refused_everything_until_it_is_activated(
    admin: httpx.Client, theirs: httpx.Client, path: str
) -> None:
    document = upload_ready(theirs, "Tides follow the moon.")
    suspended = admin.post(f"{path}/suspend", json={"reason": "Invoice 7 is open."}).json()
    assert (suspended["status"], suspended["status_reason"]) == ("suspended", "Invoice 7 is open.")
    for answer in (
        theirs.get("/profile"),
        theirs.get(f"/documents/{document['document_id']}"),
        theirs.post("/search", json={"query": "tides"}),
        put(theirs, "k", "x"),
    ):
        assert "suspended" in assert_refused(answer, 403, "tenant_suspended")["message"]
    again = admin.post(f"{path}/suspend", json={"reason": "Invoice 7 is open."}).json()
    assert but_for_calls(again) == but_for_calls(suspended), "asking again changes nothing"
    active = admin.post(f"{path}/activate").json()
    assert (active["status"], active["status_reason"]) == ("active", None)
    assert [r["document_id"] for r in search(theirs, "tides")["results"]] == [document["document_id"]]


def test_a_tenant_goes_in_two_steps_and_comes_back_between_them(
    admin: httpx.Client, theirs: httpx.Client, path: str
) -> None:
    document = upload_ready(theirs, "Tides follow the moon.")
    answer = admin.delete(path)
    assert (answer.status_code, answer.json()["status"]) == (202, "deleting")
    grace = assert_utc(answer.json()["delete_after"]) - datetime.now(UTC)
    assert timedelta(days=6) < grace < timedelta(days=8)
    assert "being deleted" in assert_refused(theirs.get("/profile"), 403, "tenant_suspended")["message"]
    assert but_for_calls(admin.delete(path).json()) == but_for_calls(answer.json()), "asking again changes nothing"
    assert_refused(admin.post(f"{path}/suspend"), 409, "conflict")
    assert path.rpartition("/")[2] in {
        tenant["id"] for tenant in admin.get("/admin/tenants", params={"status": "deleting"}).json()["tenants"]
    }

    assert admin.post(f"{path}/activate").json()["delete_after"] is None
    assert [r["document_id"] for r in search(theirs, "tides")["results"]] == [document["document_id"]]


def test_the_second_step_is_confirmed_by_the_id_and_final(
    deployment: Deployment, admin: httpx.Client, theirs: httpx.Client, created: dict[str, Any], path: str
) -> None:
    document = put(theirs, "k", "x").json()
    early = admin.delete(path, params={"confirm": created["id"]})
    assert_refused(early, 409, "conflict")
    admin.delete(path)
    assert_refused(admin.delete(path, params={"confirm": "yes"}), 400, "invalid_request")
    final = admin.delete(path, params={"confirm": created["id"]})
    assert (final.status_code, final.content) == (204, b"")
    never = assert_refused(admin.get(f"/admin/tenants/{NEVER_EXISTED}"), 404, "not_found")
    assert assert_refused(admin.get(path), 404, "not_found") == never
    for method, act, body in ACTS:
        assert assert_refused(admin.request(method, f"{path}{act}", json=body), 404, "not_found") == never
    assert_refused(theirs.get(f"/documents/{document['document_id']}"), 401, "unauthorized")

    again = admin.post("/admin/tenants", json={"name": created["name"]}).json()
    assert again["id"] != created["id"]
    with client(deployment, **{"X-Tenant-Key": again["api_key"]}) as namesake:
        assert namesake.get("/documents").json()["total"] == 0
        assert_refused(namesake.get(f"/documents/{document['document_id']}"), 404, "not_found")
        assert_refused(namesake.get("/documents/by-key/k"), 404, "not_found")


# -- the profile


def test_a_profile_has_every_field_of_the_contract(theirs: httpx.Client, created: dict[str, Any]) -> None:
    put(theirs, "k", "12345")
    profile = theirs.get("/profile").json()
    assert {name: profile[name] for name in ("tenant_id", "name", "email", "company", "created_at", "status")} == {
        "tenant_id": created["id"],
        "name": "Acme",
        "email": "ada@acme.example",
        "company": "Acme Ltd",
        "created_at": created["created_at"],
        "status": "active",
    }
    assert profile["plan"] == {
        "id": "basic",
        "name": "Basic",
        "storage_limit": 10 << 30,
        "api_calls_limit": 1_000,
        "max_file_size": 50 << 20,
        "features": ["keyword_search", "semantic_search", "webhooks"],
    }
    usage = profile["usage"]
    assert set(usage) == {
        "storage_used", "storage_used_percent", "api_calls_count", "api_calls_percent", "document_count",
        "last_activity",
    }  # fmt: skip
    assert (usage["storage_used"], usage["document_count"]) == (5, 1)


def test_without_a_limit_there_is_no_percentage(tenant: httpx.Client) -> None:
    profile = tenant.get("/profile").json()
    assert profile["plan"]["storage_limit"] is None
    assert (profile["usage"]["storage_used_percent"], profile["usage"]["api_calls_percent"]) == (None, None)


def test_a_reset_lets_a_tenant_in_again_with_its_next_call(admin: httpx.Client, deployment: Deployment) -> None:
    plan_id = f"calls-{secrets.token_hex(4)}"
    admin.post("/admin/plans", json={"id": plan_id, "name": "Calls", "api_calls_limit": 3, "listed": False})
    created = admin.post("/admin/tenants", json={"name": "Reset", "plan_id": plan_id}).json()
    with client(deployment, **{"X-Tenant-Key": created["api_key"]}) as caller:
        assert [caller.get("/documents").status_code for _ in range(4)] == [200, 200, 200, 403]
        assert admin.post(f"/admin/tenants/{created['id']}/reset-usage").status_code == 200
        assert [caller.get("/documents").status_code for _ in range(4)] == [200, 200, 200, 403]


@pytest.mark.parametrize("month", ["9999-12", "0001-01", "2026-13"])
def test_months_that_no_calendar_can_count_on_from_are_refused(admin: httpx.Client, month: str) -> None:
    assert_refused(admin.get("/admin/sla", params={"month": month}), 400, "invalid_request")


def test_times_beyond_the_calendar_of_utc_are_refused(admin: httpx.Client, theirs: httpx.Client, path: str) -> None:
    beyond = "9999-12-31T23:59:59-14:00"
    assert_refused(theirs.post("/keys", json={"name": "x", "scopes": ["search"], "expires_at": beyond}), 422,
                   "invalid_request")  # fmt: skip
    body = {"name": f"a-{secrets.token_hex(4)}", "role": "auditor", "expires_at": beyond}
    assert_refused(admin.post("/admin/administrators", json=body), 422, "invalid_request")
    assert_refused(admin.put(f"{path}/plan", json={"plan_id": "free", "expires_at": beyond}), 422, "invalid_request")
    for route in ("/usage?to=0001-01-01", "/usage?from=9999-12-31"):
        assert_refused(theirs.get(route), 400, "invalid_request")
