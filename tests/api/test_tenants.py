"""The administrator's tenant routes."""

from datetime import UTC, datetime, timedelta

import httpx
import pytest

from tests.api.calls import assert_refused, assert_utc, client, upload
from tests.factories.deployment import Deployment

FIELDS = {"id", "name", "email", "company", "plan_id", "created_at", "storage_used", "status"}
NEVER_EXISTED = "ten_" + "a" * 26


def test_a_new_tenant_is_answered_with_every_field_and_a_key_that_works(
    deployment: Deployment, admin: httpx.Client
) -> None:
    asked = {"name": "Acme Ünited", "email": "ada@example.com", "company": "Acme", "plan_id": "local"}
    answer = admin.post("/admin/tenants", json=asked)
    assert answer.status_code == 201
    tenant = answer.json()
    assert set(tenant) >= FIELDS | {"api_key", "api_calls_count"}
    assert {name: tenant[name] for name in asked} == asked
    assert (tenant["storage_used"], tenant["api_calls_count"], tenant["status"]) == (0, 0, "active")
    assert abs(assert_utc(tenant["created_at"]) - datetime.now(UTC)) < timedelta(minutes=5)
    assert tenant["api_key"].startswith("s4_")
    with client(deployment, **{"X-Tenant-Key": tenant["api_key"]}) as opened:
        assert opened.get("/documents").json()["total"] == 0


def test_a_name_suffices(admin: httpx.Client) -> None:
    tenant = admin.post("/admin/tenants", json={"name": " Acme "}).json()
    assert (tenant["name"], tenant["email"], tenant["company"], tenant["plan_id"]) == ("Acme", None, None, "local")


def test_namesakes_are_different_tenants(admin: httpx.Client) -> None:
    first, second = (admin.post("/admin/tenants", json={"name": "Twin"}).json() for _ in range(2))
    assert first["id"] != second["id"]
    assert first["api_key"] != second["api_key"]


@pytest.mark.parametrize(
    "body",
    [{}, {"name": ""}, {"name": "  "}, {"name": "x" * 201}, {"name": "x", "email": "nobody"}, {"name": 1},
     {"name": "x", "plan": "free"}, []],
)  # fmt: skip
def test_a_tenant_without_a_name_or_with_odd_fields_is_refused(admin: httpx.Client, body: object) -> None:
    assert_refused(admin.post("/admin/tenants", json=body), 422, "invalid_request")


def test_a_tenant_tells_what_it_holds_and_never_its_key(deployment: Deployment, admin: httpx.Client) -> None:
    created = admin.post("/admin/tenants", json={"name": "Holder"}).json()
    with client(deployment, **{"X-Tenant-Key": created["api_key"]}) as opened:
        upload(opened, "12345")
        gone = upload(opened, "123")
        opened.delete(f"/documents/{gone['document_id']}")
    answer = admin.get(f"/admin/tenants/{created['id']}")
    assert answer.status_code == 200
    assert set(answer.json()) >= FIELDS
    assert (answer.json()["storage_used"], answer.json()["document_count"]) == (5, 1)
    assert "api_key" not in answer.json()
    secret = created["api_key"]
    assert secret not in answer.text
    assert secret not in admin.get("/admin/tenants", params={"limit": 1000}).text


def test_tenants_are_listed_newest_first_in_pages(admin: httpx.Client) -> None:
    made = [admin.post("/admin/tenants", json={"name": f"Paged {n}"}).json()["id"] for n in range(5)][::-1]
    pages = [admin.get("/admin/tenants", params={"q": "Paged", "limit": 2, "page": n}).json() for n in (1, 2, 3, 4)]
    assert [tenant["id"] for page in pages for tenant in page["tenants"]] == made
    assert {(page["total"], page["limit"]) for page in pages} == {(5, 2)}
    assert [page["page"] for page in pages] == [1, 2, 3, 4]
    assert all(set(tenant) >= FIELDS for page in pages for tenant in page["tenants"])


def test_tenants_are_selected_by_status_plan_and_text(admin: httpx.Client) -> None:
    def ids(**params: str) -> set[str]:
        answer = admin.get("/admin/tenants", params={"limit": 1000, **params})
        assert answer.status_code == 200
        return {tenant["id"] for tenant in answer.json()["tenants"]}

    body = {"name": "Zephyr 100%", "email": "wind@example.org", "company": "Aeolus_Ltd", "plan_id": "premium"}
    zephyr = admin.post("/admin/tenants", json=body).json()["id"]
    assert ids(q="zephyr") == ids(q="WIND@example") == ids(q="aeolus_l") == {zephyr}
    assert ids(q="Zephyr 100%") == {zephyr}
    assert zephyr not in ids(q="Zephyr_100")
    assert zephyr not in ids(q="Z%r")
    assert zephyr in ids(plan="premium")
    assert zephyr not in ids(plan="basic")
    assert zephyr in ids(status="active")
    assert zephyr not in ids(status="suspended", plan="premium")


def test_an_unknown_tenant_and_a_malformed_id_are_not_found_alike(admin: httpx.Client) -> None:
    expected = assert_refused(admin.get(f"/admin/tenants/{NEVER_EXISTED}"), 404, "not_found")
    for tenant_id in ("x", "ten_", "doc_" + "a" * 26):
        assert assert_refused(admin.get(f"/admin/tenants/{tenant_id}"), 404, "not_found") == expected


@pytest.mark.parametrize("params", [{"page": 0}, {"limit": 0}, {"limit": 1001}, {"q": "x" * 201}])
def test_tenant_list_parameters_out_of_bounds_are_refused(admin: httpx.Client, params: dict[str, str]) -> None:
    assert_refused(admin.get("/admin/tenants", params=params), 422, "invalid_request")


def test_an_unknown_plan_is_refused(admin: httpx.Client) -> None:
    answer = admin.post("/admin/tenants", json={"name": "Acme", "plan_id": "breeze"})
    error = assert_refused(answer, 400, "invalid_request")
    assert error["details"] == {"plan_id": "breeze"}
    assert all(plan in error["message"] for plan in ("basic", "enterprise", "free", "local", "premium"))
