"""Several administrators, named, with roles; a generated test holds every route of theirs to the roles."""

import re
import secrets
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from tests.api.calls import assert_refused, client
from tests.factories.deployment import Deployment

MAY = {
    "owner": {"admin:read", "admin:write", "admin:manage"},
    "operator": {"admin:read", "admin:write"},
    "auditor": {"admin:read"},
}
NOWHERE = {"tenant_id": "ten_" + "a" * 26}


@pytest.fixture
def owner(idle_deployment: Deployment) -> Iterator[httpx.Client]:
    """With the environment's key."""
    with idle_deployment.admin() as opened:
        yield opened


def make(owner: httpx.Client, role: str, **options: Any) -> dict[str, Any]:
    answer = owner.post("/admin/administrators", json={"name": f"a-{secrets.token_hex(4)}", "role": role, **options})
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def holder(deployment: Deployment, made: dict[str, Any]) -> httpx.Client:
    return client(deployment, **{"X-Admin-Key": made["api_key"]})


def listed(owner: httpx.Client) -> dict[str, dict[str, Any]]:
    return {one["name"]: one for one in owner.get("/admin/administrators").json()["administrators"]}


def test_an_administrators_key_is_shown_once_and_opens_the_doors_of_the_role(
    owner: httpx.Client, idle_deployment: Deployment
) -> None:
    made = make(owner, "operator")
    assert made["api_key"].startswith(f"s4a_{made['prefix']}_")
    with holder(idle_deployment, made) as operator:
        assert operator.post("/admin/tenants", json={"name": "Acme"}).status_code == 201
        error = assert_refused(
            operator.post("/admin/administrators", json={"name": "more", "role": "owner"}), 403, "forbidden"
        )
    assert error["details"] == {"required_permission": "admin:manage", "role": "operator"}
    assert made["api_key"] not in owner.get("/admin/administrators").text
    assert listed(owner)[made["name"]]["role"] == "operator"


def test_the_environments_key_is_the_first_owner_and_cannot_be_taken_away(owner: httpx.Client) -> None:
    assert next(iter(listed(owner).items()))[0] == "environment"
    assert listed(owner)["environment"]["role"] == "owner"
    assert_refused(owner.delete("/admin/administrators/environment"), 409, "conflict")
    answer = owner.post("/admin/administrators", json={"name": "environment", "role": "owner"})
    assert_refused(answer, 400, "invalid_request")


@pytest.mark.parametrize("role", list(MAY))
def test_every_route_of_administrators_opens_to_the_roles_that_may_and_to_no_other(
    owner: httpx.Client, idle_deployment: Deployment, role: str
) -> None:
    """All routes of the running application, called for things that are not there: whoever may is told so."""
    with holder(idle_deployment, make(owner, role)) as administrator:
        described = administrator.get(f"{idle_deployment.url}/openapi.json").json()["paths"]
        tried = set()
        for path, operations in described.items():
            for method, operation in operations.items():
                permission = operation["x-s4-permission"]
                if not permission.startswith("admin:"):
                    continue
                address = re.sub(r"{(\w+)}", lambda name: NOWHERE.get(name[1], "nothing-there"), path)
                answer = administrator.request(method.upper(), idle_deployment.url + address)
                if permission in MAY[role]:
                    assert answer.status_code not in (401, 403), (method, path, answer.text)
                else:
                    assert_refused(answer, 403, "forbidden")
                tried.add(permission)
    assert tried == MAY["owner"]


def test_an_administrators_key_is_rotated_with_overlap(owner: httpx.Client, idle_deployment: Deployment) -> None:
    old = make(owner, "auditor")
    path = f"/admin/administrators/{old['name']}/rotate"
    new = owner.post(path, json={"overlap_seconds": 3600}).json()
    for made in (old, new):
        with holder(idle_deployment, made) as auditor:
            assert auditor.get("/admin/tenants").status_code == 200
    newest = owner.post(path).json()
    for made, status in ((old, 401), (new, 401), (newest, 200)):
        with holder(idle_deployment, made) as auditor:
            assert auditor.get("/admin/tenants").status_code == status


def test_a_revoked_administrator_opens_nothing_and_the_name_is_free(
    owner: httpx.Client, idle_deployment: Deployment
) -> None:
    made = make(owner, "owner")
    assert owner.delete(f"/admin/administrators/{made['name']}").status_code == 204
    with holder(idle_deployment, made) as gone:
        assert_refused(gone.get("/admin/tenants"), 401, "unauthorized")
    assert made["name"] not in listed(owner)
    assert_refused(owner.delete(f"/admin/administrators/{made['name']}"), 404, "not_found")
    assert_refused(owner.post(f"/admin/administrators/{made['name']}/rotate"), 404, "not_found")
    again = owner.post("/admin/administrators", json={"name": made["name"], "role": "auditor"})
    assert again.status_code == 201
    with holder(idle_deployment, made) as gone:
        assert_refused(gone.get("/admin/tenants"), 401, "unauthorized")


def test_administrators_of_one_name_and_odd_ones_are_refused(owner: httpx.Client) -> None:
    made = make(owner, "auditor")
    answer = owner.post("/admin/administrators", json={"name": made["name"], "role": "owner"})
    assert_refused(answer, 409, "conflict")
    for body in ({"name": "x"}, {"name": "X Y", "role": "owner"}, {"name": "x", "role": "king"}, {"role": "owner"}):
        assert_refused(owner.post("/admin/administrators", json=body), 422, "invalid_request")
    past = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
    answer = owner.post("/admin/administrators", json={"name": "late", "role": "owner", "expires_at": past})
    assert_refused(answer, 400, "invalid_request")


def test_a_key_of_one_kind_opens_no_door_of_the_other(owner: httpx.Client, idle_deployment: Deployment) -> None:
    made = make(owner, "owner")
    with client(idle_deployment, **{"X-Tenant-Key": made["api_key"]}) as mistaken:
        assert_refused(mistaken.get("/documents"), 401, "unauthorized")
    with idle_deployment.new_tenant() as tenant:
        key = tenant.headers["X-Tenant-Key"]
    with client(idle_deployment, **{"X-Admin-Key": key}) as mistaken:
        assert_refused(mistaken.get("/admin/tenants"), 401, "unauthorized")
