"""A plan's limits over HTTP: the refusals of the contract, and the administrator's view of storage."""

import secrets
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from tests.api.calls import assert_refused, assert_utc, form, put, raw_exchange, raw_head
from tests.api.conftest import UPLOAD_BYTES_MAX
from tests.factories.deployment import Deployment

NewTenant = Callable[..., httpx.Client]


@pytest.fixture
def on_plan(deployment: Deployment, admin: httpx.Client) -> Iterator[NewTenant]:
    """`on_plan(storage_limit=10)`: a tenant on a plan of its own."""
    opened: list[httpx.Client] = []

    def make(**limits: Any) -> httpx.Client:
        plan = {"id": f"tight-{secrets.token_hex(4)}", "name": "Tight", "listed": False, **limits}
        assert admin.post("/admin/plans", json=plan).status_code == 201
        created = admin.post("/admin/tenants", json={"name": "Acme", "plan_id": plan["id"]}).json()
        opened.append(deployment.tenant(created["api_key"]))
        opened[-1].headers["X-Test-Tenant"] = created["id"]
        return opened[-1]

    yield make
    for each in opened:
        each.close()


def post(tenant: httpx.Client, content: bytes) -> httpx.Response:
    return tenant.post("/documents", files={"file": ("n.txt", content)})


def test_storage_that_is_used_up_is_a_403_with_its_figures(on_plan: NewTenant) -> None:
    tenant = on_plan(storage_limit=10)
    assert put(tenant, "k", "1234567").status_code == 201

    for answer in (put(tenant, "n", "1234"), tenant.put("/documents/by-key/n", content=iter([b"12", b"34"]))):
        error = assert_refused(answer, 403, "quota_exceeded")
        assert (error["details"]["limit"], error["details"]["used"]) == (10, 7)
    assert_refused(post(tenant, b"1234"), 403, "quota_exceeded")

    assert put(tenant, "k", "1234567890").status_code == 200, "a replacement needs the difference"
    assert tenant.delete("/documents/by-key/k").status_code == 204
    assert put(tenant, "n", "1234567890").status_code == 201


def test_a_declared_length_that_does_not_fit_is_refused_before_the_body_is_sent(
    deployment: Deployment, on_plan: NewTenant
) -> None:
    tenant = on_plan(storage_limit=500_000)
    _, form_headers = form([])
    for head in (
        raw_head("PUT", "/documents/by-key/k", tenant, "Content-Length: 900000"),
        raw_head("POST", "/documents", tenant, "Content-Length: 900000", *map(": ".join, form_headers.items()))
        + b'--line\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n',
    ):
        answer = raw_exchange(deployment, head, until=lambda got: b"quota_exceeded" in got)
        assert answer.startswith(b"HTTP/1.1 403 ")


@pytest.mark.parametrize(
    ("limit", "told"), [(100, 100), (2 * UPLOAD_BYTES_MAX, UPLOAD_BYTES_MAX), (None, UPLOAD_BYTES_MAX)]
)
def test_a_file_beyond_plan_or_deployment_is_a_413_with_the_smaller_of_both(
    on_plan: NewTenant, limit: int | None, told: int
) -> None:
    tenant = on_plan(max_file_size=limit)
    content = bytes(told + 1)
    answers = [
        put(tenant, "k", content),
        tenant.put("/documents/by-key/k", content=iter([content[:70_000], content[70_000:]])),
        post(tenant, content),
    ]
    for answer in answers:
        assert assert_refused(answer, 413, "payload_too_large")["details"] == {"max_file_size": told}
    assert put(tenant, "k", bytes(told)).status_code == 201


def test_a_number_of_documents_is_a_limit_too(on_plan: NewTenant) -> None:
    tenant = on_plan(documents_limit=1)
    assert put(tenant, "k", "one").status_code == 201
    error = assert_refused(put(tenant, "n", "two"), 403, "quota_exceeded")
    assert error["details"] == {"resource": "documents", "limit": 1, "used": 1, "reserved": 0, "requested": 1}
    assert put(tenant, "k", "three").status_code == 200


def test_the_administrator_sees_a_tenants_balance_and_counts_it_anew(on_plan: NewTenant, admin: httpx.Client) -> None:
    tenant = on_plan(storage_limit=1000, documents_limit=5)
    put(tenant, "k", "12345")
    tenant_id = tenant.headers["X-Test-Tenant"]
    holds = {"storage_used": 5, "storage_reserved": 0, "document_count": 1, "documents_reserved": 0}

    storage = admin.get(f"/admin/tenants/{tenant_id}/storage").json()
    assert storage["quota"] == holds | {"storage_limit": 1000, "documents_limit": 5}
    recounted = admin.post(f"/admin/tenants/{tenant_id}/recount").json()
    assert recounted == {"tenant_id": tenant_id, "noted": holds, "counted": holds, "repaired": False}

    everything = admin.get("/admin/storage").json()
    assert everything["quota"]["storage_used"] >= 5
    assert sum(each["bytes"] for each in everything["classes"].values()) == everything["total_bytes"]
    if everything["listed_at"] is not None:  # the worker's first sweep may have come by
        assert_utc(everything["listed_at"])
    for path in ("storage", "recount"):
        method = "POST" if path == "recount" else "GET"
        assert_refused(admin.request(method, f"/admin/tenants/ten_{'a' * 26}/{path}"), 404, "not_found")
