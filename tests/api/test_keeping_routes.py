"""Holds, archive and retention over HTTP."""

import httpx

from tests.api.calls import NEVER_EXISTED, assert_refused, assert_utc, client, ended, found, listed, put, upload_ready
from tests.factories.deployment import Deployment


def tenant_id_of(tenant: httpx.Client) -> str:
    return str(tenant.get("/profile").json()["tenant_id"])


def test_a_held_document_is_neither_deleted_nor_replaced(tenant: httpx.Client, admin: httpx.Client) -> None:
    document = upload_ready(tenant, "Tides follow the moon.", key="tides")
    path = f"/documents/{document['document_id']}"
    held = tenant.put(f"{path}/legal-hold", json={"reason": "Case 7"})
    assert held.status_code == 200, held.text
    assert (held.json()["legal_hold"], held.json()["holds"]["tenant"]["reason"]) == (True, "Case 7")
    assert_utc(held.json()["holds"]["tenant"]["placed_at"])
    assert tenant.get(path).json()["legal_hold"] is True

    for refused in (
        tenant.delete(path),
        put(tenant, "tides", "Other words."),
        tenant.delete("/documents/by-key/tides"),
    ):
        error = assert_refused(refused, 409, "conflict")
        assert error["details"] == {"legal_hold": True, "held_by": ["tenant"]}
    bulk = tenant.post("/documents/bulk-delete", json={"document_ids": [document["document_id"], NEVER_EXISTED]})
    assert bulk.json() == {"deleted": [], "not_found": [NEVER_EXISTED], "held": [document["document_id"]]}

    whose = tenant_id_of(tenant)
    operators = f"/admin/tenants/{whose}{path}/legal-hold"
    assert set(admin.put(operators, json={"reason": "Case 8"}).json()["holds"]) == {"tenant", "operator"}
    (listed_hold,) = admin.get("/admin/legal-holds", params={"tenant_id": whose}).json()["documents"]
    assert (listed_hold["tenant_id"], listed_hold["key"]) == (whose, "tides")
    assert set(tenant.delete(f"{path}/legal-hold").json()["holds"]) == {"operator"}, "a tenant lifts its own"
    assert_refused(tenant.delete(path), 409, "conflict")
    assert admin.delete(operators).json()["legal_hold"] is False
    assert tenant.delete(path).status_code == 204


def test_whoever_deletes_documents_cannot_lift_holds(deployment: Deployment, tenant: httpx.Client) -> None:
    document = upload_ready(tenant, "Tides follow the moon.")
    path = f"/documents/{document['document_id']}"
    tenant.put(f"{path}/legal-hold", json={"reason": "Case 7"})
    scopes = ["documents:read", "documents:write", "search"]
    key = tenant.post("/keys", json={"name": "writer", "scopes": scopes}).json()["api_key"]
    with client(deployment, **{"X-Tenant-Key": key}) as writer:
        assert_refused(writer.delete(path), 409, "conflict")
        assert_refused(writer.delete(f"{path}/legal-hold"), 403, "forbidden")


def test_a_held_tenant_is_not_deleted(tenant: httpx.Client, admin: httpx.Client) -> None:
    path = f"/admin/tenants/{tenant_id_of(tenant)}"
    held = admin.put(f"{path}/legal-hold", json={"reason": "Case 9"}).json()
    assert held["legal_hold"]["reason"] == "Case 9"
    assert assert_refused(admin.delete(path), 409, "conflict")["details"] == {"legal_hold": True}
    assert admin.delete(f"{path}/legal-hold").json()["legal_hold"] is None
    assert admin.delete(path).status_code == 202


def test_an_archived_document_says_so_to_who_reads_it_and_comes_back(tenant: httpx.Client) -> None:
    document = upload_ready(tenant, "Tides follow the moon.", key="tides")
    identity = document["document_id"]
    path = f"/documents/{identity}"
    archived = tenant.post(f"{path}/archive")
    assert (archived.status_code, archived.json()["status"]) == (202, "archived")
    assert_utc(archived.json()["archived_at"])
    assert found(tenant, "tides") == set()
    assert listed(tenant, status="archived") == {identity}
    assert tenant.get(f"{path}?wait=5").json()["status"] == "archived", "an end state"
    assert tenant.head(path).headers["X-S4-Status"] == "archived"

    error = assert_refused(tenant.get(f"{path}/download"), 409, "conflict")
    assert error["details"]["status"] == "restoring"
    assert ended(tenant, identity)["status"] == "ready"
    assert found(tenant, "tides") == {identity}
    assert tenant.get(f"{path}/download").content == b"Tides follow the moon."
    assert_refused(tenant.post(f"{path}/restore"), 409, "conflict")

    tenant.post(f"{path}/archive")
    assert_refused(tenant.get(f"{path}/text"), 409, "conflict")
    assert ended(tenant, identity)["status"] == "ready"
    tenant.post(f"{path}/archive")
    restoring = tenant.post(f"{path}/restore")
    assert (restoring.status_code, restoring.json()["status"]) == (202, "restoring")
    assert ended(tenant, identity)["status"] == "ready"


def test_days_are_set_and_what_goes_is_told_before_it_does(tenant: httpx.Client, admin: httpx.Client) -> None:
    upload_ready(tenant, "Tides follow the moon.")
    whose = tenant_id_of(tenant)
    keeping = {"retention_days": 7, "archive_after_days": 0}
    assert admin.put(f"/admin/tenants/{whose}/keeping", json=keeping).json()["keeping"] == keeping
    assert admin.get("/admin/retention", params={"tenant_id": whose}).json()["tenants"] == []
    (due,) = admin.get("/admin/retention", params={"tenant_id": whose, "ahead_days": 8}).json()["tenants"]
    assert (due["retention_days"], due["archive_after_days"], due["expired"]["documents"]) == (7, None, 1)
    done = admin.post("/admin/retention/run", json={"tenant_id": whose}).json()
    assert done == {"deleted": 0, "deleted_bytes": 0, "archived": 0, "held": 0}, "it is not its date"
    assert_refused(admin.put(f"/admin/tenants/{whose}/keeping", json={"retention_days": -1}), 422, "invalid_request")
    assert_refused(admin.get("/admin/retention", params={"tenant_id": "ten_" + "a" * 26}), 404, "not_found")
