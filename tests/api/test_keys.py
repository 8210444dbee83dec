"""A tenant's keys over HTTP: made with no more than one has, bound in time, rotated, revoked."""

import itertools
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from tests.api.calls import assert_refused, assert_utc, client, new_tenant
from tests.factories.deployment import Deployment

ALL_SCOPES = ["documents:read", "documents:write", "keys:manage", "search", "usage:read"]
EXPIRY_SECONDS_MAX = 60


@pytest.fixture
def caller(idle_deployment: Deployment) -> Iterator[httpx.Client]:
    """A new tenant with its first key."""
    with new_tenant(idle_deployment) as opened:
        yield opened


@pytest.fixture
def admin_of(idle_deployment: Deployment) -> Iterator[httpx.Client]:
    with idle_deployment.admin() as opened:
        yield opened


def make(caller: httpx.Client, scopes: list[str], **options: Any) -> dict[str, Any]:
    answer = caller.post("/keys", json={"name": "made", "scopes": scopes, **options})
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def make_for_a_moment(caller: httpx.Client, scopes: list[str]) -> dict[str, Any]:
    """It expires soon: as soon as it can be made before, on a machine that may pause."""
    for seconds in (0.5, 5.0, 50.0):
        soon = (datetime.now(UTC) + timedelta(seconds=seconds)).isoformat()
        answer = caller.post("/keys", json={"name": "made", "scopes": scopes, "expires_at": soon})
        if answer.status_code == 201:
            return dict(answer.json())
    raise AssertionError(answer.text)


def prefix_of(key: str) -> str:
    return key.split("_")[1]


def own_prefix(caller: httpx.Client) -> str:
    return prefix_of(caller.headers["X-Tenant-Key"])


def status_with(deployment: Deployment, key: str, method: str = "GET", path: str = "/documents") -> int:
    with client(deployment, **{"X-Tenant-Key": key}) as holder:
        return holder.request(method, path).status_code


def in_an_hour() -> str:
    return (datetime.now(UTC) + timedelta(hours=1)).isoformat()


def tenant_id(caller: httpx.Client) -> str:
    return str(caller.get("/profile").json()["tenant_id"])


# -- making and listing


def test_a_key_is_shown_once_and_listed_without_its_secret(caller: httpx.Client, idle_deployment: Deployment) -> None:
    made = make(caller, ["search", "documents:read"], name="website", expires_at=in_an_hour())
    assert made["api_key"].startswith(f"s4_{made['prefix']}_")
    assert status_with(idle_deployment, made["api_key"]) == 200

    answer = caller.get("/keys")

    assert made["api_key"] not in answer.text
    first, listed = answer.json()["keys"]
    assert (first["prefix"], first["scopes"]) == (own_prefix(caller), ALL_SCOPES)
    assert listed == {
        "prefix": made["prefix"], "name": "website", "scopes": ["documents:read", "search"], "status": "active",
        "created_at": made["created_at"], "expires_at": made["expires_at"], "revoked_at": None, "last_used": None,
        "key_prefix": None, "filter": None, "parent": None,
    }  # fmt: skip
    assert_utc(listed["created_at"])


def test_a_key_opens_what_its_scopes_say_and_nothing_else(caller: httpx.Client, idle_deployment: Deployment) -> None:
    reader = make(caller, ["documents:read"])["api_key"]
    assert status_with(idle_deployment, reader) == 200
    assert status_with(idle_deployment, reader, "GET", "/keys") == 403
    assert status_with(idle_deployment, reader, "POST", "/documents/bulk-delete") == 403


def test_no_key_gives_a_scope_that_it_has_not(caller: httpx.Client, idle_deployment: Deployment) -> None:
    manager = make(caller, ["keys:manage", "search"])["api_key"]
    wide = make(caller, ["documents:write"])["prefix"]
    with client(idle_deployment, **{"X-Tenant-Key": manager}) as holder:
        assert make(holder, ["search"])["scopes"] == ["search"]
        for method, path, body in [
            ("POST", "/keys", {"name": "more", "scopes": ["search", "documents:read"]}),
            ("POST", "/keys/child", {"scopes": ["documents:read"]}),
            ("POST", f"/keys/{wide}/rotate", {}),
            ("POST", f"/keys/{own_prefix(caller)}/rotate", {}),
        ]:
            error = assert_refused(holder.request(method, path, json=body), 403, "forbidden")
            assert error["details"]["missing_scopes"], path
    assert status_with(idle_deployment, caller.headers["X-Tenant-Key"]) == 200


@pytest.mark.parametrize(
    "body",
    [{}, {"name": "x"}, {"name": " ", "scopes": ["search"]}, {"name": "x", "scopes": []},
     {"name": "x", "scopes": ["admin:write"]}, {"name": "x", "scopes": ["public"]},
     {"name": "x", "scopes": ["search"], "expires_at": "2030-01-01T00:00:00"},
     {"name": "x", "scopes": ["search"], "key_prefix": ""}, {"name": "x", "scopes": ["search"], "hue": 1},
     {"name": "x", "scopes": ["search"], "filter": {"a": {"b": 1}}}, {"name": "x" * 101, "scopes": ["search"]}],
)  # fmt: skip
def test_odd_keys_are_refused(reader: httpx.Client, body: object) -> None:
    assert_refused(reader.post("/keys", json=body), 422, "invalid_request")


def test_a_key_that_would_have_expired_already_is_refused(reader: httpx.Client) -> None:
    past = "2020-01-01T00:00:00Z"
    answer = reader.post("/keys", json={"name": "late", "scopes": ["search"], "expires_at": past})
    assert_refused(answer, 400, "invalid_request")


def test_a_key_is_refused_from_its_expiry_on_and_told_so(caller: httpx.Client, idle_deployment: Deployment) -> None:
    made = make_for_a_moment(caller, ["documents:read"])
    with client(idle_deployment, **{"X-Tenant-Key": made["api_key"]}) as holder:
        deadline = time.monotonic() + EXPIRY_SECONDS_MAX
        while (answer := holder.get("/documents")).status_code == 200:
            assert time.monotonic() < deadline
        assert "expired" in assert_refused(answer, 401, "unauthorized")["message"]
    statuses = {key["prefix"]: key["status"] for key in caller.get("/keys").json()["keys"]}
    assert statuses[made["prefix"]] == "expired"


# -- rotating


def test_after_a_rotation_both_keys_open_until_the_overlap_ends(
    caller: httpx.Client, idle_deployment: Deployment
) -> None:
    old = make(caller, ["documents:read"], name="website", key_prefix="web/", filter={"public": True})
    new = caller.post(f"/keys/{old['prefix']}/rotate", json={"overlap_seconds": 3600}).json()
    same = ("name", "scopes", "key_prefix", "filter")
    assert [new[field] for field in same] == [old[field] for field in same]
    assert {status_with(idle_deployment, each["api_key"]) for each in (old, new)} == {200}
    listed = {key["prefix"]: key for key in caller.get("/keys").json()["keys"]}
    left = assert_utc(listed[old["prefix"]]["expires_at"]) - assert_utc(new["created_at"])
    assert left == timedelta(hours=1)
    assert new["expires_at"] is None
    error = assert_refused(caller.post(f"/keys/{old['prefix']}/rotate", json={}), 409, "conflict")
    assert error["details"] == {"successor": new["prefix"]}


def test_a_rotation_without_overlap_closes_the_old_key_at_once(
    caller: httpx.Client, idle_deployment: Deployment
) -> None:
    old = make(caller, ["documents:read"])
    new = caller.post(f"/keys/{old['prefix']}/rotate").json()
    assert [status_with(idle_deployment, each["api_key"]) for each in (old, new)] == [401, 200]
    assert_refused(caller.post(f"/keys/{old['prefix']}/rotate"), 409, "conflict")


def test_the_successor_of_an_expiring_key_lives_as_long_as_it_was_to(caller: httpx.Client) -> None:
    old = make(caller, ["search"], expires_at=in_an_hour())
    new = caller.post(f"/keys/{old['prefix']}/rotate", json={"overlap_seconds": 60}).json()
    lives = [assert_utc(key["expires_at"]) - assert_utc(key["created_at"]) for key in (old, new)]
    assert lives[0] == lives[1]


# -- revoking


def test_a_revoked_key_opens_nothing_and_revoking_again_changes_nothing(
    caller: httpx.Client, idle_deployment: Deployment
) -> None:
    made = make(caller, ["documents:read"])
    assert caller.delete(f"/keys/{made['prefix']}").status_code == 204
    with client(idle_deployment, **{"X-Tenant-Key": made["api_key"]}) as holder:
        assert "revoked" in assert_refused(holder.get("/documents"), 401, "unauthorized")["message"]
    before = caller.get("/keys").json()["keys"]
    assert caller.delete(f"/keys/{made['prefix']}").status_code == 204
    after = caller.get("/keys").json()["keys"]
    assert [(key["prefix"], key["revoked_at"]) for key in after] == [(k["prefix"], k["revoked_at"]) for k in before]
    assert_refused(caller.post(f"/keys/{made['prefix']}/rotate"), 409, "conflict")
    assert_refused(caller.delete(f"/keys/{'a' * 12}"), 404, "not_found")


def test_the_last_key_that_can_make_keys_is_revoked_only_by_force(
    caller: httpx.Client, idle_deployment: Deployment
) -> None:
    own = own_prefix(caller)
    make(caller, ["documents:read"])
    make(caller, ["keys:manage", "search"], key_prefix="bound/")  # mints children, but no keys
    assert "last key" in assert_refused(caller.delete(f"/keys/{own}"), 409, "conflict")["message"]
    second = make(caller, ["keys:manage"])
    assert caller.delete(f"/keys/{own}").status_code == 204
    with client(idle_deployment, **{"X-Tenant-Key": second["api_key"]}) as holder:
        assert_refused(holder.delete(f"/keys/{second['prefix']}"), 409, "conflict")
        assert holder.delete(f"/keys/{second['prefix']}", params={"force": "true"}).status_code == 204
        assert holder.get("/keys").status_code == 401


# -- children


def test_a_child_key_has_less_than_its_parent_lives_shortly_and_dies_with_it(
    caller: httpx.Client, idle_deployment: Deployment
) -> None:
    parent = make(caller, ["keys:manage", "documents:read", "search"])
    with client(idle_deployment, **{"X-Tenant-Key": parent["api_key"]}) as holder:
        answer = holder.post("/keys/child", json={"scopes": ["documents:read"], "ttl_seconds": 600})
        child = answer.json()
        assert answer.status_code == 201
        assert child["parent"] == parent["prefix"]
        assert assert_utc(child["expires_at"]) - assert_utc(child["created_at"]) == timedelta(minutes=10)
        for body, status in [
            ({"scopes": ["documents:write"]}, 403), ({"scopes": ["keys:manage"]}, 403),
            ({"scopes": ["search"], "ttl_seconds": 3601}, 422), ({"scopes": ["search"], "ttl_seconds": 0}, 422),
        ]:  # fmt: skip
            assert holder.post("/keys/child", json=body).status_code == status, body
    assert status_with(idle_deployment, child["api_key"]) == 200
    assert status_with(idle_deployment, child["api_key"], "POST", "/search") == 403
    assert child["prefix"] not in caller.get("/keys").text
    assert caller.delete(f"/keys/{parent['prefix']}").status_code == 204
    assert status_with(idle_deployment, child["api_key"]) == 401


def test_a_child_key_can_be_revoked_by_itself(caller: httpx.Client, idle_deployment: Deployment) -> None:
    child = caller.post("/keys/child", json={"scopes": ["documents:read"]}).json()
    make(caller, ["search"])  # a change of the head's keys leaves children alone
    assert status_with(idle_deployment, child["api_key"]) == 200
    assert caller.delete(f"/keys/{child['prefix']}").status_code == 204
    assert status_with(idle_deployment, child["api_key"]) == 401
    assert_refused(caller.delete(f"/keys/{child['prefix']}"), 404, "not_found")


# -- the administrator


def test_the_administrator_makes_rotates_and_revokes_keys_of_a_tenant(
    admin_of: httpx.Client, caller: httpx.Client, idle_deployment: Deployment
) -> None:
    path = f"/admin/tenants/{tenant_id(caller)}/keys"
    made = admin_of.post(path, json={"name": "support", "scopes": ["documents:read"]}).json()
    assert status_with(idle_deployment, made["api_key"]) == 200
    new = admin_of.post(f"{path}/{made['prefix']}/rotate").json()
    assert [status_with(idle_deployment, each["api_key"]) for each in (made, new)] == [401, 200]
    assert admin_of.delete(f"{path}/{new['prefix']}").status_code == 204
    assert admin_of.delete(f"{path}/{own_prefix(caller)}").status_code == 204, "the operator can always make another"
    statuses = [key["status"] for key in admin_of.get(path).json()["keys"]]
    assert statuses == ["revoked", "expired", "revoked"]


def test_a_regenerated_key_replaces_all_others_after_the_overlap(
    admin_of: httpx.Client, caller: httpx.Client, idle_deployment: Deployment
) -> None:
    path = f"/admin/tenants/{tenant_id(caller)}/regenerate-key"
    others = [caller.headers["X-Tenant-Key"], make(caller, ["documents:read"])["api_key"]]
    gentle = admin_of.post(path, json={"overlap_seconds": 3600}).json()
    assert gentle["scopes"] == ALL_SCOPES
    assert {status_with(idle_deployment, key) for key in [*others, gentle["api_key"]]} == {200}
    strict = admin_of.post(path).json()
    assert {status_with(idle_deployment, key) for key in [*others, gentle["api_key"]]} == {401}
    assert status_with(idle_deployment, strict["api_key"]) == 200


def test_keys_of_a_tenant_that_never_was_are_not_found(admin_of: httpx.Client) -> None:
    path = f"/admin/tenants/ten_{'a' * 26}"
    body = {"name": "x", "scopes": ["search"]}
    for method, rest, sent in [
        ("GET", "/keys", None),
        ("POST", "/keys", body),
        ("POST", "/regenerate-key", {}),
        ("POST", f"/keys/{'a' * 12}/rotate", {}),
        ("DELETE", f"/keys/{'a' * 12}", None),
    ]:
        assert_refused(admin_of.request(method, path + rest, json=sent), 404, "not_found")


def test_another_tenants_keys_are_not_there(caller: httpx.Client, idle_deployment: Deployment) -> None:
    with new_tenant(idle_deployment, "Other") as other:
        theirs = own_prefix(other)
        child = other.post("/keys/child", json={"scopes": ["documents:read"]}).json()
        for prefix, (method, rest) in itertools.product(
            [theirs, child["prefix"]], [("DELETE", ""), ("POST", "/rotate"), ("DELETE", "?force=true")]
        ):
            assert_refused(caller.request(method, f"/keys/{prefix}{rest}"), 404, "not_found")
        assert other.get("/documents").status_code == 200
        assert status_with(idle_deployment, child["api_key"]) == 200
