"""No tenant sees, changes or learns of anything of another, by any route that the running application has.

The routes are read from the application. Each must stand in `CALLS` below: a new route without a line here fails.
"""

import itertools
import re
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from s4.platform.security import credentials
from tests.api.calls import (
    NEVER_EXISTED,
    assert_refused,
    client,
    ended,
    listed,
    new_tenant,
    put,
    search,
    upload_ready,
)
from tests.factories.deployment import ADMIN_KEY, FAST, Deployment

CANARY = "qzcanary"
"""Part of everything that tenant B has: file name, key, metadata names and values, text."""
KEY = f"{CANARY}-key/é.txt"
TEXT = f"Shared words about tides. {CANARY}text stands only here."
METADATA = {f"{CANARY}field": f"{CANARY}value", "category": f"{CANARY}category", "year": 2026}
NO_SUCH_KEY = "never/existed.txt"
NO_SUCH_PREFIX = "a" * 12
NO_SUCH_TENANT = "ten_" + "a" * 26
NO_SUCH_WEBHOOK, NO_SUCH_DELIVERY = "whk_" + "a" * 26, "dlv_" + "a" * 26
MODES = ("hybrid", "semantic", "keyword")
ADMIN_PERMISSIONS = {"admin:read", "admin:write", "admin:manage"}
TENANT_PERMISSIONS = {"documents:read", "documents:write", "search", "usage:read", "keys:manage"}


@dataclass(frozen=True)
class Call:
    """How to call a route well-formed. `creates`: another's key in the path names something new of one's own."""

    body: dict[str, Any] = field(default_factory=dict)
    creates: bool = False


_FILE: dict[str, Any] = {"files": {"file": ("mine.txt", b"mine", "text/plain")}}
_HOOK: dict[str, Any] = {"url": "https://hooks.example.com/mine", "events": ["*"]}

WINDOW = {"starts_at": "2036-01-01T00:00:00Z", "ends_at": "2036-01-01T01:00:00Z"}

CALLS: dict[tuple[str, str], Call] = {
    ("GET", "/"): Call(),
    ("GET", "/health"): Call(),
    ("GET", "/health/live"): Call(),
    ("GET", "/health/ready"): Call(),
    ("POST", "/api/v1/documents"): Call(_FILE),
    ("GET", "/api/v1/documents"): Call(),
    ("PUT", "/api/v1/documents/by-key/{key}"): Call({"content": b"mine"}, creates=True),
    ("GET", "/api/v1/documents/by-key/{key}"): Call(),
    ("HEAD", "/api/v1/documents/by-key/{key}"): Call(),
    ("DELETE", "/api/v1/documents/by-key/{key}"): Call(),
    ("GET", "/api/v1/documents/{document_id}"): Call(),
    ("HEAD", "/api/v1/documents/{document_id}"): Call(),
    ("DELETE", "/api/v1/documents/{document_id}"): Call(),
    ("GET", "/api/v1/documents/{document_id}/download"): Call(),
    ("HEAD", "/api/v1/documents/{document_id}/download"): Call(),
    ("GET", "/api/v1/documents/{document_id}/text"): Call(),
    ("PATCH", "/api/v1/documents/{document_id}/metadata"): Call({"json": {"changed": True}}),
    ("POST", "/api/v1/documents/{document_id}/reprocess"): Call(),
    ("POST", "/api/v1/documents/bulk-delete"): Call({"json": {"document_ids": [NEVER_EXISTED]}}),
    ("POST", "/api/v1/search"): Call({"json": {"query": "tides"}}),
    ("GET", "/api/v1/keys"): Call(),
    ("POST", "/api/v1/keys"): Call({"json": {"name": "mine", "scopes": ["search"]}}),
    ("POST", "/api/v1/keys/child"): Call({"json": {"scopes": ["search"]}}),
    ("POST", "/api/v1/keys/{prefix}/rotate"): Call(),
    ("DELETE", "/api/v1/keys/{prefix}"): Call(),
    ("GET", "/api/v1/admin/tenants/{tenant_id}/keys"): Call(),
    ("POST", "/api/v1/admin/tenants/{tenant_id}/keys"): Call({"json": {"name": "x", "scopes": ["search"]}}),
    ("POST", "/api/v1/admin/tenants/{tenant_id}/keys/{prefix}/rotate"): Call(),
    ("DELETE", "/api/v1/admin/tenants/{tenant_id}/keys/{prefix}"): Call(),
    ("POST", "/api/v1/admin/tenants/{tenant_id}/regenerate-key"): Call(),
    ("GET", "/api/v1/admin/administrators"): Call(),
    ("POST", "/api/v1/admin/administrators"): Call({"json": {"name": "intruder", "role": "owner"}}),
    ("POST", "/api/v1/admin/administrators/{name}/rotate"): Call(),
    ("DELETE", "/api/v1/admin/administrators/{name}"): Call(),
    ("GET", "/api/v1/webhooks"): Call(),
    ("POST", "/api/v1/webhooks"): Call({"json": _HOOK}),
    ("GET", "/api/v1/webhooks/{webhook_id}"): Call(),
    ("PUT", "/api/v1/webhooks/{webhook_id}"): Call({"json": _HOOK}),
    ("DELETE", "/api/v1/webhooks/{webhook_id}"): Call(),
    ("POST", "/api/v1/webhooks/{webhook_id}/rotate-secret"): Call({"json": {}}),
    ("POST", "/api/v1/webhooks/{webhook_id}/test"): Call(),
    ("GET", "/api/v1/webhooks/{webhook_id}/deliveries"): Call(),
    ("POST", "/api/v1/webhooks/{webhook_id}/deliveries/{delivery_id}/replay"): Call(),
    ("GET", "/api/v1/admin/tenants/{tenant_id}/webhooks"): Call(),
    ("POST", "/api/v1/admin/tenants/{tenant_id}/webhooks"): Call({"json": _HOOK}),
    ("GET", "/api/v1/plans"): Call(),
    ("GET", "/api/v1/admin/plans"): Call(),
    ("POST", "/api/v1/admin/plans"): Call({"json": {"id": "intruder", "name": "Intruder"}}),
    ("GET", "/api/v1/admin/plans/{plan_id}"): Call(),
    ("PUT", "/api/v1/admin/plans/{plan_id}"): Call({"json": {"name": "Intruder"}}),
    ("DELETE", "/api/v1/admin/plans/{plan_id}"): Call(),
    ("GET", "/status"): Call(),
    ("GET", "/api/v1/admin/tenants/{tenant_id}/contacts"): Call(),
    ("PUT", "/api/v1/admin/tenants/{tenant_id}/contacts"): Call({"json": {"contacts": []}}),
    ("GET", "/api/v1/admin/mails"): Call(),
    ("GET", "/api/v1/admin/maintenance-windows"): Call(),
    ("POST", "/api/v1/admin/maintenance-windows"): Call({"json": WINDOW}),
    ("PUT", "/api/v1/admin/maintenance-windows/{window_id}"): Call({"json": WINDOW}),
    ("DELETE", "/api/v1/admin/maintenance-windows/{window_id}"): Call(),
    ("GET", "/api/v1/admin/incidents"): Call(),
    ("POST", "/api/v1/admin/incidents"): Call({"json": {"title": "Intruder"}}),
    ("POST", "/api/v1/admin/incidents/{incident_id}/updates"): Call({"json": {"state": "resolved"}}),
    ("GET", "/api/v1/admin/audit"): Call(),
    ("GET", "/api/v1/admin/audit/verify"): Call(),
    ("POST", "/api/v1/admin/tenants"): Call({"json": {"name": "Intruder"}}),
    ("GET", "/api/v1/admin/tenants"): Call(),
    ("GET", "/api/v1/admin/tenants/{tenant_id}"): Call(),
    ("PUT", "/api/v1/admin/tenants/{tenant_id}"): Call({"json": {"name": "Intruder"}}),
    ("DELETE", "/api/v1/admin/tenants/{tenant_id}"): Call(),
    ("PUT", "/api/v1/admin/tenants/{tenant_id}/plan"): Call({"json": {"plan_id": "enterprise"}}),
    ("POST", "/api/v1/admin/tenants/{tenant_id}/suspend"): Call(),
    ("POST", "/api/v1/admin/tenants/{tenant_id}/activate"): Call(),
    ("POST", "/api/v1/admin/tenants/{tenant_id}/reset-usage"): Call(),
    ("GET", "/api/v1/profile"): Call(),
    ("GET", "/api/v1/admin/tenants/{tenant_id}/storage"): Call(),
    ("POST", "/api/v1/admin/tenants/{tenant_id}/recount"): Call(),
    ("GET", "/api/v1/admin/storage"): Call(),
    ("GET", "/api/v1/usage"): Call(),
    ("GET", "/api/v1/admin/tenants/{tenant_id}/usage"): Call(),
    ("GET", "/api/v1/admin/analytics/system"): Call(),
    ("GET", "/api/v1/admin/analytics/tenants"): Call(),
    ("GET", "/api/v1/admin/analytics/endpoints"): Call(),
    ("GET", "/api/v1/admin/sla"): Call(),
    ("GET", "/api/v1/admin/sla/report"): Call(),
}


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    environment = FAST | {"S4_ADMIN_API_KEY": ADMIN_KEY}
    started = Deployment(tmp_path_factory.mktemp("isolation"), environment).start()
    yield started
    started.kill()


@pytest.fixture(scope="module")
def routes(deployment: Deployment) -> dict[tuple[str, str], str]:
    """Permission by method and path, of every route of the running application."""
    with client(deployment) as anybody:
        paths = anybody.get(f"{deployment.url}/openapi.json").json()["paths"]
    return {
        (method.upper(), re.sub(r":path}", "}", path)): operation["x-s4-permission"]
        for path, operations in paths.items()
        for method, operation in operations.items()
    }


@dataclass(frozen=True)
class Victim:
    """Tenant B and its document."""

    caller: httpx.Client
    document: dict[str, Any]
    webhook: dict[str, Any]
    delivery: dict[str, Any]

    @property
    def ids(self) -> dict[str, str]:
        """For `address`."""
        return {
            "document_id": self.document["document_id"],
            "key": KEY,
            "prefix": self.prefix,
            "webhook_id": self.webhook["id"],
            "delivery_id": self.delivery["id"],
        }

    @property
    def prefix(self) -> str:
        """Of its key."""
        return str(self.caller.headers["X-Tenant-Key"].split("_")[1])

    def state(self) -> tuple[Any, ...]:
        """Everything that B can see of what it has."""
        document_id = self.document["document_id"]
        document = self.caller.get(f"/documents/{document_id}").json()
        del document["last_accessed"]
        return (
            document,
            self.caller.get("/documents").json(),
            self.caller.get("/webhooks").json(),
            [each["id"] for each in self.caller.get(f"/webhooks/{self.webhook['id']}/deliveries").json()["deliveries"]],
            self.caller.get(f"/documents/{document_id}/download").content,
            self.caller.get(f"/documents/{document_id}/text").json(),
            [result["document_id"] for result in search(self.caller, "tides")["results"]],
        )


@pytest.fixture(scope="module")
def victim(deployment: Deployment) -> Iterator[Victim]:
    with new_tenant(deployment, f"{CANARY} Limited") as caller:
        document = upload_ready(caller, TEXT, filename=f"{CANARY}-name.txt", key=KEY, metadata=METADATA)
        hook = {"url": f"https://hooks.invalid/{CANARY}", "events": ["document.failed"], "description": CANARY}
        webhook = caller.post("/webhooks", json=hook).json()
        delivery = caller.post(f"/webhooks/{webhook['id']}/test").json()
        yield Victim(caller, document, webhook, delivery)


@pytest.fixture
def intruder(deployment: Deployment) -> Iterator[httpx.Client]:
    """Tenant A, with a document of its own."""
    with new_tenant(deployment, "Intruder") as caller:
        upload_ready(caller, "Shared words about tides, and mine.", filename="mine.txt", key="mine")
        yield caller


def address(
    path: str,
    *,
    document_id: str = NEVER_EXISTED,
    key: str = NO_SUCH_KEY,
    prefix: str = NO_SUCH_PREFIX,
    webhook_id: str = NO_SUCH_WEBHOOK,
    delivery_id: str = NO_SUCH_DELIVERY,
) -> str:
    known = {
        "{document_id}": document_id, "{key}": quote(key), "{tenant_id}": NO_SUCH_TENANT, "{plan_id}": "none",
        "{prefix}": prefix, "{name}": "nobody", "{window_id}": "win_" + "a" * 26,
        "{incident_id}": "inc_" + "a" * 26, "{webhook_id}": webhook_id, "{delivery_id}": delivery_id,
    }  # fmt: skip
    for name, value in known.items():
        path = path.replace(name, value)
    assert "{" not in path, f"{path} has a parameter that this test does not know"
    return path


def request(caller: httpx.Client, root: str, method: str, path: str, **body: Any) -> httpx.Response:
    return caller.request(method, root + path, **body)


def comparable(answer: httpx.Response) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body, without what differs between any two answers."""
    headers = {name: value for name, value in answer.headers.items() if name not in ("x-request-id", "date")}
    return answer.status_code, headers, answer.content


# -- every route is known and declared


def test_every_route_declares_its_permission_and_stands_in_the_matrix(routes: dict[tuple[str, str], str]) -> None:
    assert set(routes) == set(CALLS)
    assert set(routes.values()) <= TENANT_PERMISSIONS | ADMIN_PERMISSIONS | {"public"}


def test_only_routes_of_the_process_and_the_plans_on_offer_are_public(routes: dict[tuple[str, str], str]) -> None:
    public = {path for (_, path), permission in routes.items() if permission == "public"}
    assert public == {"/", "/health", "/health/live", "/health/ready", "/status", "/api/v1/plans"}
    admin = {path for (_, path), permission in routes.items() if permission in ADMIN_PERMISSIONS}
    assert admin == {path for _, path in routes if path.startswith("/api/v1/admin/")}


# -- without the right credential


@pytest.mark.parametrize("prefix", ["/api/v1", "/api"])
def test_every_route_refuses_wrong_credentials_with_401_and_does_nothing(
    deployment: Deployment, victim: Victim, routes: dict[tuple[str, str], str], prefix: str
) -> None:
    unknown = credentials.mint(secrets.token_bytes).plaintext
    tenant_key = victim.caller.headers["X-Tenant-Key"]
    wrong_for_all = [
        {}, {"X-Tenant-Key": "nonsense"}, {"X-Tenant-Key": unknown}, {"X-Tenant-Key": ADMIN_KEY},
        {"Authorization": f"Bearer {ADMIN_KEY}"}, {"X-Admin-Key": "nonsense"}, {"X-Admin-Key": tenant_key},
    ]  # fmt: skip
    before = victim.state()
    with client(deployment) as stranger:
        for (method, path), permission in routes.items():
            if permission == "public":
                continue
            other_role = {"X-Tenant-Key": tenant_key} if permission in ADMIN_PERMISSIONS else {"X-Admin-Key": ADMIN_KEY}
            target = address(path, **victim.ids).replace("/api/v1", prefix)
            for headers in (*wrong_for_all, other_role):
                answer = request(stranger, deployment.url, method, target, headers=headers, **CALLS[method, path].body)
                if method == "HEAD":
                    assert answer.status_code == 401, (method, target, headers)
                else:
                    assert_refused(answer, 401, "unauthorized")
                assert CANARY not in str(answer.headers)
                assert CANARY.encode() not in answer.content
    assert victim.state() == before


# -- with the key of another tenant


def test_what_is_anothers_answers_exactly_as_what_never_was(
    deployment: Deployment, victim: Victim, intruder: httpx.Client, routes: dict[tuple[str, str], str]
) -> None:
    before = victim.state()
    tried = set()
    for (method, path), permission in routes.items():
        if permission not in TENANT_PERMISSIONS or "{" not in path or CALLS[method, path].creates:
            continue
        body = CALLS[method, path].body
        theirs = address(path, **victim.ids)
        answer = request(intruder, deployment.url, method, theirs, **body)
        absent = request(intruder, deployment.url, method, address(path), **body)
        assert answer.status_code == 404, (method, path, answer.text)
        assert comparable(answer) == comparable(absent), (method, path)
        tried.add((method, path))
    assert len(tried) >= 13
    assert victim.state() == before


def test_preconditions_ranges_and_waiting_do_not_betray_what_is_anothers(
    victim: Victim, intruder: httpx.Client
) -> None:
    target, absent = f"/documents/{victim.document['document_id']}", f"/documents/{NEVER_EXISTED}"
    for method, rest, options in [
        ("GET", "/download", {"headers": {"Range": "bytes=0-0"}}),
        ("GET", "/download", {"headers": {"Range": "bytes=999999-"}}),
        ("GET", "/download", {"headers": {"If-None-Match": "*"}}),
        ("DELETE", "", {"headers": {"If-Match": '"r1"'}}),
        ("DELETE", "", {"headers": {"If-Match": '"r9"'}}),
        ("PATCH", "/metadata", {"json": {}, "headers": {"If-Match": '"r9"'}}),
        ("GET", "", {"params": {"wait": 0.1}}),
    ]:
        theirs, nobodys = (intruder.request(method, path + rest, **options) for path in (target, absent))  # type: ignore[arg-type]
        assert (theirs.status_code, comparable(theirs)) == (404, comparable(nobodys)), (method, rest, options)


def test_a_put_under_anothers_key_makes_a_document_of_ones_own(victim: Victim, intruder: httpx.Client) -> None:
    before = victim.state()
    for headers in ({"If-Match": '"r1"'}, {"If-Match": "*"}):
        assert_refused(put(intruder, KEY, "mine", **headers), 412, "precondition_failed")
    answer = put(intruder, KEY, "mine", **{"If-None-Match": "*"})
    assert answer.status_code == 201
    assert answer.json()["document_id"] != victim.document["document_id"]
    assert answer.json()["version"] == 1
    assert intruder.delete(f"/documents/{answer.json()['document_id']}").status_code == 204
    assert victim.state() == before


def test_bulk_deletion_answers_of_anothers_document_as_of_none(victim: Victim, intruder: httpx.Client) -> None:
    before = victim.state()
    theirs = victim.document["document_id"]
    answer = intruder.post("/documents/bulk-delete", json={"document_ids": [theirs, NEVER_EXISTED]})
    assert answer.json() == {"deleted": [], "not_found": [theirs, NEVER_EXISTED]}
    assert victim.state() == before


def test_an_idempotency_key_of_another_tenant_replays_nothing(victim: Victim, intruder: httpx.Client) -> None:
    headers = {"Idempotency-Key": f"{CANARY}-repeat"}
    first = victim.caller.post("/documents", headers=headers, **_FILE)
    second = intruder.post("/documents", headers=headers, **_FILE)
    assert (first.status_code, second.status_code) == (201, 201)
    assert second.json()["document_id"] != first.json()["document_id"]
    assert "Idempotency-Replayed" not in second.headers
    victim.caller.delete(f"/documents/{first.json()['document_id']}")


def test_a_cursor_of_another_tenant_leads_nowhere_else(victim: Victim, intruder: httpx.Client) -> None:
    more = put(victim.caller, "more", "more").json()["document_id"]
    cursor = victim.caller.get("/documents", params={"limit": 1}).json()["next_cursor"]
    mine = {put(intruder, f"k{number}", "x").json()["document_id"] for number in range(2)} | listed(intruder)
    assert listed(intruder, cursor=cursor) <= mine
    victim.caller.delete(f"/documents/{more}")


@pytest.mark.parametrize("mode", MODES)
def test_no_search_finds_what_is_anothers(victim: Victim, intruder: httpx.Client, mode: str) -> None:
    mine = listed(intruder)
    theirs = victim.document["document_id"]
    selections: list[dict[str, Any]] = [
        {},
        {"categories": [METADATA["category"]]},
        {"document_ids": [theirs]},
        {"document_ids": [theirs, *mine]},
        {"filters": {"field": f"{CANARY}field", "op": "exists", "value": True}},
        {"filters": {"not": {"field": "year", "op": "eq", "value": 1}}},
        {"filters": {"field": "key", "op": "eq", "value": KEY}},
        {"filters": {"field": "document_id", "op": "eq", "value": theirs}},
    ]
    for query, selection in itertools.product(("tides", f"{CANARY}text", TEXT), selections):
        answer = search(intruder, query, mode=mode, limit=100, chunks_per_document=50, **selection)
        assert {result["document_id"] for result in answer["results"]} <= mine
        assert answer["total_results"] <= len(mine)
        assert CANARY not in str(answer["results"])
    absent = search(intruder, "tides", mode=mode, document_ids=[NEVER_EXISTED])
    answer = search(intruder, "tides", mode=mode, document_ids=[theirs])
    for one in (absent, answer):
        del one["execution_time_ms"]
    assert answer == absent
    found = search(victim.caller, f"{CANARY}text", mode=mode)["results"]
    assert [result["document_id"] for result in found] == [theirs]


def test_no_list_shows_what_is_anothers(victim: Victim, intruder: httpx.Client) -> None:
    mine = listed(intruder)
    selections: list[dict[str, Any]] = [
        {}, {"category": METADATA["category"]}, {"prefix": CANARY}, {"filename": f"{CANARY}-name.txt"},
        {"status": "ready"}, {"uploaded_after": "2020-01-01T00:00:00Z"}, {f"metadata.{CANARY}field": f"{CANARY}value"},
    ]  # fmt: skip
    for selection in selections:
        answer = intruder.get("/documents", params=selection)
        page = answer.json()
        assert {document["document_id"] for document in page["documents"]} <= mine
        assert page["total"] <= len(mine)
        assert CANARY not in answer.text


def test_no_byte_of_a_tenant_reaches_another_by_any_route(
    deployment: Deployment, victim: Victim, intruder: httpx.Client, routes: dict[tuple[str, str], str]
) -> None:
    """Every route, called with ids that are one's own, another's and nobody's; then what is public."""
    secret = [CANARY, victim.webhook["secret"], victim.caller.headers["X-Tenant-Key"], CANARY.encode().hex()]
    own = intruder.get("/documents/by-key/mine").json()["document_id"]
    nobodys = {"webhook_id": NO_SUCH_WEBHOOK, "delivery_id": NO_SUCH_DELIVERY}
    targets = [
        {"document_id": own, "key": "mine", **nobodys},
        victim.ids,
        {"document_id": NEVER_EXISTED, "key": NO_SUCH_KEY, **nobodys},
    ]
    answers = []
    for (method, path), permission in routes.items():
        if permission in ADMIN_PERMISSIONS:
            continue
        for ids, prefix in itertools.product(targets, ("/api/v1", "/api")):
            if method in ("DELETE", "PUT"):
                own = ended(intruder, put(intruder, "mine", "Mine, and tides.").json()["document_id"])["document_id"]
            if ids["key"] == KEY and CALLS[method, path].creates:
                continue  # the answer names the key that was sent
            target = address(path, **ids).replace("/api/v1", prefix)
            answers.append(request(intruder, deployment.url, method, target, **CALLS[method, path].body))
    answers += [intruder.get(deployment.url + path) for path in ("/metrics", "/openapi.json", "/docs", "/nothing")]
    assert {answer.status_code for answer in answers} >= {200, 201, 202, 204, 404}
    for answer, hidden in itertools.product(answers, secret):
        assert hidden not in str(answer.headers), (answer.request.method, answer.request.url)
        assert hidden.encode() not in answer.content, (answer.request.method, answer.request.url)


def test_logs_hold_neither_keys_nor_names_nor_text(deployment: Deployment, victim: Victim) -> None:
    log = "".join(deployment.log)
    assert '"documents' in log or "http.request_finished" in log
    for hidden in (CANARY, ADMIN_KEY, victim.caller.headers["X-Tenant-Key"]):
        assert hidden not in log
