"""Webhooks over HTTP, as the contract says; what is sent, tests/contracts and tests/acceptance look at."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.api.calls import assert_refused, assert_utc, client, new_tenant
from tests.factories.deployment import ADMIN_KEY, Deployment

URL = "https://hooks.example.com/s4"
FIELDS = {"id", "url", "events", "active", "description", "disabled_reason", "created_at", "updated_at"}
DELIVERY_FIELDS = {
    "id", "event", "event_id", "state", "attempts", "created_at", "last_attempt_at", "last_status", "last_error",
    "next_attempt_at",
}  # fmt: skip


@pytest.fixture
def idle_admin(idle_deployment: Deployment) -> Iterator[httpx.Client]:
    with client(idle_deployment, **{"X-Admin-Key": ADMIN_KEY}) as opened:
        yield opened


def create(tenant: httpx.Client, **fields: Any) -> dict[str, Any]:
    answer = tenant.post("/webhooks", json={"url": URL, "events": ["*"], **fields})
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def on_plan(deployment: Deployment, plan_id: str) -> httpx.Client:
    with client(deployment, **{"X-Admin-Key": ADMIN_KEY}) as admin:
        made = admin.post("/admin/tenants", json={"name": "Acme", "plan_id": plan_id}).json()
    return client(deployment, **{"X-Tenant-Key": made["api_key"]})


def test_a_webhook_is_made_read_changed_listed_and_deleted(idle_tenant: httpx.Client) -> None:
    made = create(idle_tenant, events=["document.processed", "document.failed"], description=" for us ")
    assert set(made) == FIELDS | {"secret"}
    assert made["secret"].startswith("whsec_")
    assert made["events"] == ["document.failed", "document.processed"]
    assert (made["active"], made["description"], made["disabled_reason"]) == (True, "for us", None)
    assert_utc(made["created_at"])
    path = f"/webhooks/{made['id']}"
    assert idle_tenant.get(path).json() == {name: made[name] for name in FIELDS}
    changed = idle_tenant.put(path, json={"url": f"{URL}/2", "events": ["*"], "active": False})
    assert changed.status_code == 200
    assert set(changed.json()) == FIELDS
    assert (changed.json()["url"], changed.json()["active"]) == (f"{URL}/2", False)
    second = create(idle_tenant)
    listed = idle_tenant.get("/webhooks").json()
    assert [each["id"] for each in listed["webhooks"]] == [made["id"], second["id"]]
    assert idle_tenant.delete(path).status_code == 204
    for answer in (idle_tenant.get(path), idle_tenant.delete(path), idle_tenant.post(f"{path}/test")):
        assert_refused(answer, 404, "not_found")


def test_a_secret_is_given_or_minted_shown_once_and_rotated(idle_tenant: httpx.Client) -> None:
    given = create(idle_tenant, secret="mine-0123456789-abcdef")
    assert given["secret"] == "mine-0123456789-abcdef"
    path = f"/webhooks/{given['id']}"
    rotated = idle_tenant.post(f"{path}/rotate-secret", json={"overlap_seconds": 60})
    assert rotated.status_code == 200
    assert rotated.json()["secret"] != given["secret"]
    assert "secret" not in idle_tenant.get(path).json()
    assert_refused(idle_tenant.post(f"{path}/rotate-secret", json={"overlap_seconds": -1}), 422, "invalid_request")
    assert_refused(idle_tenant.post(f"{path}/rotate-secret", json={"secret": "short"}), 422, "invalid_request")


def test_deliveries_are_recorded_paged_and_replayed(idle_tenant: httpx.Client) -> None:
    path = f"/webhooks/{create(idle_tenant)['id']}"
    for _ in range(3):
        sent = idle_tenant.post(f"{path}/test")
        assert sent.status_code == 202
    assert set(sent.json()) == DELIVERY_FIELDS
    assert (sent.json()["event"], sent.json()["state"], sent.json()["attempts"]) == ("webhook.ping", "pending", 0)
    first = idle_tenant.get(f"{path}/deliveries", params={"limit": 2}).json()
    second = idle_tenant.get(f"{path}/deliveries", params={"limit": 2, "cursor": first["next_cursor"]}).json()
    assert first["deliveries"][0]["id"] == sent.json()["id"], "the newest first"
    assert len({each["id"] for each in first["deliveries"] + second["deliveries"]}) == 3
    assert second["next_cursor"] is None
    assert idle_tenant.get(f"{path}/deliveries", params={"state": "dead"}).json()["deliveries"] == []
    replayed = idle_tenant.post(f"{path}/deliveries/{sent.json()['id']}/replay")
    assert (replayed.status_code, replayed.json()["id"]) == (202, sent.json()["id"])
    for cursor in ("nonsense", "WyJhIiwiYiJd"):
        assert_refused(idle_tenant.get(f"{path}/deliveries", params={"cursor": cursor}), 400, "invalid_request")
    assert_refused(idle_tenant.post(f"{path}/deliveries/dlv_{'a' * 26}/replay"), 404, "not_found")


def test_a_webhook_that_is_off_is_not_tested(idle_tenant: httpx.Client) -> None:
    made = create(idle_tenant, active=False)
    error = assert_refused(idle_tenant.post(f"/webhooks/{made['id']}/test"), 409, "conflict")
    assert "switched off" in error["message"]


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8000/", "https://169.254.169.254/latest/meta-data", "https://[::1]/", "https://localhost./",
            "https://2130706433/", "https://a:b@example.com/", "ftp://example.com/", "https://example.com:22/"]
)  # fmt: skip
def test_a_url_that_leads_inside_is_refused_at_creation_and_change(idle_tenant: httpx.Client, url: str) -> None:
    assert_refused(idle_tenant.post("/webhooks", json={"url": url, "events": ["*"]}), 400, "invalid_request")
    made = create(idle_tenant)
    refused = idle_tenant.put(f"/webhooks/{made['id']}", json={"url": url, "events": ["*"]})
    assert_refused(refused, 400, "invalid_request")
    assert idle_tenant.get(f"/webhooks/{made['id']}").json()["url"] == URL


@pytest.mark.parametrize(
    "body", [{"url": URL}, {"url": URL, "events": []}, {"url": URL, "events": ["document.exploded"]}, {"events": ["*"]},
             {"url": URL, "events": ["webhook.ping"]}, {"url": URL, "events": ["*"], "more": 1},
             {"url": URL, "events": ["*"], "secret": "short"},
             {"url": URL, "events": ["*"], "secret": "blank 0123456789"}]
)  # fmt: skip
def test_a_malformed_webhook_is_refused(idle_tenant: httpx.Client, body: dict[str, Any]) -> None:
    assert_refused(idle_tenant.post("/webhooks", json=body), 422, "invalid_request")


def test_a_plan_says_whether_and_how_many(idle_deployment: Deployment) -> None:
    with on_plan(idle_deployment, "free") as free:
        error = assert_refused(free.post("/webhooks", json={"url": URL, "events": ["*"]}), 403, "quota_exceeded")
        assert error["details"] == {"feature": "webhooks"}
    with on_plan(idle_deployment, "basic") as basic:
        create(basic)
        create(basic)
        error = assert_refused(basic.post("/webhooks", json={"url": URL, "events": ["*"]}), 403, "quota_exceeded")
        assert error["details"] == {"webhooks_limit": 2, "webhooks": 2}


def test_the_administrator_makes_and_lists_webhooks_of_a_tenant(
    idle_deployment: Deployment, idle_admin: httpx.Client
) -> None:
    made = idle_admin.post("/admin/tenants", json={"name": "Acme", "plan_id": "free"}).json()
    path = f"/admin/tenants/{made['id']}/webhooks"
    answer = idle_admin.post(path, json={"url": URL, "events": ["tenant.suspended"]})
    assert (answer.status_code, set(answer.json())) == (201, FIELDS | {"secret"})
    listed = idle_admin.get(path).json()["webhooks"]
    with client(idle_deployment, **{"X-Tenant-Key": made["api_key"]}) as tenant:
        assert tenant.get("/webhooks").json()["webhooks"] == listed
    assert_refused(idle_admin.get(f"/admin/tenants/ten_{'a' * 26}/webhooks"), 404, "not_found")


def test_another_tenants_webhook_does_not_exist(idle_deployment: Deployment, idle_tenant: httpx.Client) -> None:
    made = create(idle_tenant)
    with new_tenant(idle_deployment) as stranger:
        assert stranger.get("/webhooks").json() == {"webhooks": []}
        assert_refused(stranger.get(f"/webhooks/{made['id']}"), 404, "not_found")
