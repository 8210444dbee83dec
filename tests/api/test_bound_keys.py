"""A key that is bound to a part of a tenant's documents: outside of it there is nothing, by any route.

The routes are read from the application, as in `isolation/test_isolation.py`: each one that serves bound keys is called
for a document outside the bounds and for one that never was, and each that does not refuses.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from tests.api.calls import (
    NEVER_EXISTED,
    assert_refused,
    by_key,
    client,
    found,
    listed,
    new_tenant,
    put,
    search,
    upload_ready,
)
from tests.factories.deployment import Deployment

SCOPES = ["documents:read", "documents:write", "search", "keys:manage"]
INSIDE, OUTSIDE, NEVER = "sales/in.txt", "board/out.txt", "board/never.txt"
DEPARTMENT = {"department": "sales"}
BODIES: dict[str, dict[str, Any]] = {
    "/metadata": {"json": {"changed": True}},
    "/search": {"json": {"query": "tides"}},
    "/search/batch": {"json": {"queries": [{"query": "tides"}]}},
    "/similar": {"json": {}},
    "/bulk-delete": {"json": {"document_ids": [NEVER_EXISTED]}},
}


@dataclass(frozen=True)
class Scene:
    """A tenant with a document inside the bounds and one outside, and the holder of a bound key."""

    tenant: httpx.Client
    bound: httpx.Client
    inside: dict[str, Any]
    outside: dict[str, Any]

    def outside_as_it_is(self) -> tuple[Any, ...]:
        detail = self.tenant.get(f"/documents/{self.outside['document_id']}").json()
        del detail["last_accessed"]
        return detail, self.tenant.get(f"/documents/{self.outside['document_id']}/download").content


def bind(tenant: httpx.Client, deployment: Deployment, **bounds: Any) -> httpx.Client:
    answer = tenant.post("/keys", json={"name": "bound", "scopes": SCOPES, **bounds})
    assert answer.status_code == 201, answer.text
    return client(deployment, **{"X-Tenant-Key": answer.json()["api_key"]})


@pytest.fixture(scope="module", params=["prefix", "filter", "child"])
def scene(request: pytest.FixtureRequest, deployment: Deployment) -> Iterator[Scene]:
    """Bound by the document's key, by its metadata, or by both through a child of a bound key."""
    with new_tenant(deployment) as tenant:
        inside = upload_ready(tenant, "Tides of sales.", key=INSIDE, filename="in.txt", metadata=DEPARTMENT)
        outside = upload_ready(
            tenant, "Tides of the board, secretly.", key=OUTSIDE, filename="out.txt", metadata={"department": "board"}
        )
        bounds = {"prefix": {"key_prefix": "sales/"}, "filter": {"filter": DEPARTMENT}}.get(request.param)
        if bounds is not None:
            bound = bind(tenant, deployment, **bounds)
        else:
            with bind(tenant, deployment, filter=DEPARTMENT) as parent:
                body = {"scopes": SCOPES[:3], "key_prefix": "sales/"}
                child = parent.post("/keys/child", json=body).json()
            bound = client(deployment, **{"X-Tenant-Key": child["api_key"]})
        with bound:
            yield Scene(tenant, bound, inside, outside)


def routes(deployment: Deployment) -> Iterator[tuple[str, str, str, bool]]:
    with client(deployment) as anybody:
        described = anybody.get(f"{deployment.url}/openapi.json").json()["paths"]
    for path, operations in described.items():
        for method, operation in operations.items():
            permission = operation["x-s4-permission"]
            if permission != "public" and not permission.startswith("admin:"):
                yield method.upper(), path, permission, operation.get("x-s4-serves-bound-keys", False)


def comparable(answer: httpx.Response) -> tuple[int, dict[str, str], bytes]:
    volatile = ("x-request-id", "date", "x-rate-limit", "ratelimit")
    headers = {name: value for name, value in answer.headers.items() if not name.startswith(volatile)}
    return answer.status_code, headers, answer.content


def test_by_every_route_what_is_outside_is_as_what_never_was(deployment: Deployment, scene: Scene) -> None:
    before = scene.outside_as_it_is()
    tried = []
    for method, path, _, serves in routes(deployment):
        if "{" not in path or not serves or method == "PUT":
            continue
        body = next((sent for end, sent in BODIES.items() if path.endswith(end)), {})
        answers = [
            scene.bound.request(
                method,
                deployment.url + path.replace("{document_id}", document_id).replace("{key}", quote(key)),
                **body,
            )
            for document_id, key in ((scene.outside["document_id"], OUTSIDE), (NEVER_EXISTED, NEVER))
        ]
        assert answers[0].status_code == 404, (method, path, answers[0].text)
        assert comparable(answers[0]) == comparable(answers[1]), (method, path)
        tried.append((method, path))
    assert len(tried) >= 11
    assert scene.outside_as_it_is() == before


def test_what_is_inside_is_there_by_every_route(scene: Scene) -> None:
    document_id = scene.inside["document_id"]
    for path in (f"/documents/{document_id}", by_key(INSIDE), f"/documents/{document_id}/download"):
        assert scene.bound.get(path).status_code == 200
        assert scene.bound.head(path).status_code == 200
    assert scene.bound.get(f"/documents/{document_id}/text").json()["text"] == "Tides of sales."
    assert scene.bound.patch(f"/documents/{document_id}/metadata", json={"year": 2026}).status_code == 200


def test_lists_and_their_totals_show_only_what_is_inside(scene: Scene) -> None:
    for selection in ({}, {"prefix": "board/"}, {"filename": "out.txt"}, {"category": "x"}, {"status": "ready"}):
        page = scene.bound.get("/documents", params=selection).json()
        assert {document["document_id"] for document in page["documents"]} <= {scene.inside["document_id"]}
        assert page["total"] == len(page["documents"])
        assert page["next_cursor"] is None
    assert listed(scene.bound) == {scene.inside["document_id"]}
    cursor = scene.tenant.get("/documents", params={"limit": 1}).json()["next_cursor"]
    assert listed(scene.bound, cursor=cursor) <= {scene.inside["document_id"]}


@pytest.mark.parametrize("mode", ["hybrid", "semantic", "keyword"])
def test_searches_find_only_what_is_inside(scene: Scene, mode: str) -> None:
    assert found(scene.tenant, "tides", mode=mode) == {scene.inside["document_id"], scene.outside["document_id"]}
    for selection in (
        {}, {"document_ids": [scene.outside["document_id"]]}, {"categories": ["x"]},
        {"filters": {"field": "department", "op": "eq", "value": "board"}},
        {"filters": {"not": {"field": "key", "op": "eq", "value": INSIDE}}},
    ):  # fmt: skip
        answer = search(scene.bound, "tides secretly", mode=mode, limit=100, **selection)
        assert {result["document_id"] for result in answer["results"]} <= {scene.inside["document_id"]}
        assert answer["total_results"] == len(answer["results"])
        assert "secretly" not in str(answer["results"])
    assert found(scene.bound, "tides", mode=mode) == {scene.inside["document_id"]}


def test_bulk_deletion_takes_nothing_from_outside(scene: Scene) -> None:
    before = scene.outside_as_it_is()
    ids = [scene.outside["document_id"], NEVER_EXISTED]
    answer = scene.bound.post("/documents/bulk-delete", json={"document_ids": ids})
    assert answer.json() == {"deleted": [], "not_found": ids, "held": []}
    assert scene.outside_as_it_is() == before


def test_nothing_is_written_outside_nor_moved_there(scene: Scene) -> None:
    """By prefix a key outside is refused before a byte; by metadata what the writer could not see afterwards is."""
    before = scene.outside_as_it_is()
    assert put(scene.bound, OUTSIDE, "mine", **{"X-S4-Metadata": '{"department": "sales"}'}).status_code in (403, 404)
    assert scene.bound.post(
        "/documents", data={"key": OUTSIDE, "metadata": '{"department": "sales"}'}, files={"file": ("a", b"x")}
    ).status_code in (403, 404)
    elsewhere = {"key": "elsewhere", "metadata": '{"department": "board"}'}
    assert_refused(scene.bound.post("/documents", data=elsewhere, files={"file": ("a", b"x")}), 403, "forbidden")
    assert scene.tenant.get("/documents/by-key/elsewhere").status_code == 404
    assert scene.outside_as_it_is() == before


def test_an_idempotency_key_of_another_key_replays_nothing_from_outside(scene: Scene) -> None:
    """Whoever knows all that was said, bytes too, learns no more by saying it again."""
    said = {
        "data": {"metadata": '{"department": "board"}'}, "files": {"file": ("a.txt", b"x")},
        "headers": {"Idempotency-Key": "theirs"},
    }  # fmt: skip
    made = scene.tenant.post("/documents", **said)
    assert made.status_code in (200, 201)
    again = scene.bound.post("/documents", **said)
    assert_refused(again, 403, "forbidden")
    assert made.json()["document_id"] not in again.text
    scene.tenant.delete(f"/documents/{made.json()['document_id']}")


def test_what_is_written_inside_is_seen(scene: Scene) -> None:
    key = "sales/new.txt"
    for _ in range(2):
        assert put(scene.bound, key, "new", **{"X-S4-Metadata": '{"department": "sales"}'}).is_success
    assert scene.bound.delete(by_key(key)).status_code == 204


def test_a_filter_also_holds_for_patches_and_replacements(deployment: Deployment) -> None:
    with new_tenant(deployment) as tenant, bind(tenant, deployment, filter={"team.name": "blue", "level": 3}) as bound:
        metadata = {"team": {"name": ["red", "blue"]}, "level": 3.0}
        document = upload_ready(tenant, "x", key="k", metadata=metadata)
        path = f"/documents/{document['document_id']}/metadata"
        assert bound.patch(path, json={"note": "mine"}).status_code == 200
        for patch in ({"level": 4}, {"level": None}, {"level": "3"}, {"team": {"name": "red"}}, {"level": True}):
            error = assert_refused(bound.patch(path, json=patch), 403, "forbidden")
            assert error["details"]["filter"] == {"team.name": "blue", "level": 3}
        assert_refused(put(bound, "k", "without metadata"), 403, "forbidden")
        assert tenant.get("/documents/by-key/k").json()["metadata"] == metadata | {"note": "mine"}


def test_routes_that_do_not_know_of_bounds_refuse_bound_keys(deployment: Deployment) -> None:
    with new_tenant(deployment) as tenant, bind(tenant, deployment, key_prefix="a/") as bound:
        refusing = [(m, p) for m, p, permission, serves in routes(deployment) if not serves and permission in SCOPES]
        assert ("GET", "/api/v1/keys") in refusing
        for method, path in refusing:
            address = deployment.url + re.sub(r"{\w+}", "nothing", path)
            assert "bound" in assert_refused(bound.request(method, address), 403, "forbidden")["message"]


def test_a_bound_key_cannot_count_use_nor_give_more_than_its_bounds(deployment: Deployment) -> None:
    with new_tenant(deployment) as tenant:
        body = {"name": "x", "scopes": ["usage:read"], "key_prefix": "a/"}
        assert_refused(tenant.post("/keys", json=body), 400, "invalid_request")
        with bind(tenant, deployment, key_prefix="a/", filter={"level": 1}) as bound:
            for wider in ({"key_prefix": "b/"}, {"key_prefix": "a"}, {"filter": {"level": 2}},
                          {"filter": {"level": True}}):  # fmt: skip
                answer = bound.post("/keys/child", json={"scopes": ["search"], **wider})
                assert_refused(answer, 403, "forbidden")
            narrower = {"scopes": ["search"], "key_prefix": "a/b/", "filter": {"colour": "red"}}
            child = bound.post("/keys/child", json=narrower).json()
            assert (child["key_prefix"], child["filter"]) == ("a/b/", {"colour": "red", "level": 1})
            inherited = bound.post("/keys/child", json={"scopes": ["search"]}).json()
            assert (inherited["key_prefix"], inherited["filter"]) == ("a/", {"level": 1})
