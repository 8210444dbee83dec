"""The synthetic tenants: A, who asks; B, whose things nobody else may see; C, whose keys end.

All that B has bears words that occur nowhere else: whoever else is sent one of them has been told something of B.
"""

import base64
import secrets
import time
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any
from urllib.parse import quote

import httpx

from s4.entrypoints.verification.callers import ADMIN_KEY, TENANT_KEY, Caller, CannotVerify, Comparison, Ear
from s4.entrypoints.verification.declared import NEVER, SEEDS
from s4.entrypoints.verification.matrix import Matrix, Route, read
from s4.entrypoints.verification.report import Check, Report

NAME = "s4-verify-isolation"
"""How the name of everything begins that the verifier makes."""
SHARED_QUERY = "tides"

_READY_SECONDS_MAX = 300.0  # a queue before the synthetic document, and a provider that is not quick
_WAIT_SECONDS = 20  # of one long poll: below the idle timeouts of common proxies
_UNLIMITED = float("inf")


def new_word() -> str:
    """One word to any analyser, and nobody's by chance: 80 random bits."""
    return "qz" + base64.b32encode(secrets.token_bytes(10)).decode().lower()


@dataclass(frozen=True)
class Canaries:
    """Words of B's. `unsaid` is in its text and metadata, and nobody else ever sends it."""

    text: str = field(default_factory=new_word)
    name: str = field(default_factory=new_word)
    key: str = field(default_factory=new_word)
    field_: str = field(default_factory=new_word)
    value: str = field(default_factory=new_word)
    category: str = field(default_factory=new_word)
    things: str = field(default_factory=new_word)
    unsaid: str = field(default_factory=new_word)

    @property
    def document_key(self) -> str:
        return f"{self.key}/é.txt"

    @property
    def content(self) -> str:
        return f"Shared words about {SHARED_QUERY}. {self.text} and {self.unsaid} stand only here."

    @property
    def metadata(self) -> dict[str, Any]:
        return {self.field_: self.value, "category": self.category, "year": 2026, "note": self.unsaid}

    def as_secrets(self) -> dict[str, str]:
        return {
            "B's text": self.text, "B's file name": self.name, "B's key": self.key, "B's field": self.field_,
            "B's metadata": self.value, "B's category": self.category, "B's things": self.things,
            "B's hidden word": self.unsaid,
        }  # fmt: skip


@dataclass
class Tenant:
    """A synthetic tenant. `things`: ids of its own, by the name of the path parameter."""

    name: str
    api_key: str = field(repr=False)
    caller: Caller
    things: dict[str, str]

    @property
    def id(self) -> str:
        return self.things["tenant_id"]


class Scene:
    """A live deployment with the tenants in it. `cleared` in the end, whatever happened."""

    def __init__(self, http: httpx.Client, admin_key: str, plan_id: str | None) -> None:
        self.http = http
        self.admin_key = admin_key
        self.ear = Ear()
        self.canaries = Canaries()
        self.run = new_word()[:10]
        self.admin = Caller(http, {ADMIN_KEY: admin_key}, word=f"{NAME}-{self.run}")
        self.stranger = Caller(http, {}, word=self.admin.word, ear=self.ear)
        self.openapi: dict[str, Any] = self.got(self.admin.ask("GET", "/openapi.json"))
        self.matrix: Matrix = read(self.openapi)
        self.made: dict[str, Tenant] = {}
        self.administrators: list[str] = []
        self._plan_id = plan_id
        self.gaps: list[str] = []

    def got(self, answer: httpx.Response, *statuses: int) -> Any:
        """The JSON of an answer that must have gone well. Raises `CannotVerify`."""
        if answer.status_code not in (statuses or (200, 201, 202)):
            asked = f"{answer.request.method} {answer.request.url.path}"
            raise CannotVerify(f"{asked} was answered {answer.status_code}: {_message(answer)}")
        return answer.json()

    # -- who there is

    def populate(self) -> None:
        plan_id = self._plan_id or self._widest_plan()
        self.a = self._tenant("A", plan_id, word=f"{NAME}-a", ear=self.ear)
        self.b = self._tenant("B", plan_id, word=self.canaries.things, ear=None)
        self.ear.secrets |= self.canaries.as_secrets()
        self.ear.secrets |= {"B's id": self.b.id, "B's credential": self.b.api_key}
        made = self.upload(self.b, self.canaries.content, self.canaries.document_key, f"{self.canaries.name}.txt",
                           self.canaries.metadata)  # fmt: skip
        self.b.things |= {"document_id": made, "key": self.canaries.document_key}
        own = self.upload(self.a, f"Shared words about {SHARED_QUERY}, and mine.", "mine", "mine.txt", {"year": 2026})
        self.a.things |= {"document_id": own, "key": "mine"}
        self.mine = {own}
        for tenant in (self.b, self.a):
            self.ready(tenant)
            self.sow(tenant)
        never = [self.a.caller.ask("GET", f"/api/v1/documents/{NEVER['document_id']}") for _ in range(3)]
        self.comparison = Comparison.learned(never)

    @cached_property
    def c(self) -> Tenant:
        """Whose keys are minted with one scope, expire, are revoked, and who is suspended in the end."""
        return self._tenant("C", self._plan_id or self._widest_plan(), word=f"{NAME}-c", ear=self.ear)

    def _tenant(self, letter: str, plan_id: str | None, *, word: str, ear: Ear | None) -> Tenant:
        name = f"{NAME} {self.run} {letter}" + (f" {self.canaries.things}" if letter == "B" else "")
        asked = {"name": name} | ({"plan_id": plan_id} if plan_id is not None else {})
        made = self.got(self.admin.ask("POST", "/api/v1/admin/tenants", json=asked))
        caller = Caller(self.http, {TENANT_KEY: made["api_key"]}, word=word, ear=ear)
        tenant = Tenant(name, made["api_key"], caller, {"tenant_id": made["id"]})
        self.made[letter] = tenant
        return tenant

    def _widest_plan(self) -> str | None:
        """The one that lets the matrix through: some thousand calls, as fast as they can be sent."""
        if self.matrix.get("GET /api/v1/admin/plans") is None:
            return None
        plans = self.got(self.admin.ask("GET", "/api/v1/admin/plans"))["plans"]

        def width(plan: dict[str, Any]) -> tuple[float, bool, float]:
            calls, rate = plan.get("api_calls_limit"), plan.get("requests_per_second")
            return (
                _UNLIMITED if calls is None else calls,
                "webhooks" in plan.get("features", ()),
                _UNLIMITED if rate is None else rate,
            )

        return str(max(plans, key=width)["id"]) if plans else None

    # -- what they have

    def upload(self, tenant: Tenant, content: str, key: str, filename: str, metadata: dict[str, Any]) -> str:
        import json

        form = {"key": key, "metadata": json.dumps(metadata)}
        files = {"file": (filename, content.encode(), "text/plain")}
        answer = tenant.caller.ask("POST", "/api/v1/documents", data=form, files=files)
        return str(self.got(answer)["document_id"])

    def put_mine(self, key: str) -> str:
        """A document of A's own; it need not be ready."""
        answer = self.a.caller.ask("PUT", f"/api/v1/documents/by-key/{quote(key)}", content=b"Mine, and tides.",
                                   headers={"Content-Type": "text/plain"})  # fmt: skip
        document_id = str(self.got(answer)["document_id"])
        self.mine.add(document_id)
        return document_id

    def ready(self, tenant: Tenant) -> None:
        """Waits until the tenant's document can be found. Raises `CannotVerify` when it cannot."""
        deadline = time.monotonic() + _READY_SECONDS_MAX
        while True:
            path = f"/api/v1/documents/{tenant.things['document_id']}"
            document = self.got(tenant.caller.ask("GET", path, params={"wait": _WAIT_SECONDS}))
            if document["status"] == "ready":
                return
            if document["status"] == "failed" or time.monotonic() > deadline:
                raise CannotVerify(
                    f"A synthetic document is still {document['status']!r} after its upload, so nothing can be said "
                    "about searches: see that a worker runs and that the embedding provider answers."
                )

    def sow(self, tenant: Tenant) -> None:
        """Gives the tenant one of everything else that this deployment's tenants can have."""
        for seed in SEEDS:
            route = self.matrix.get(seed.route)
            if route is None or not set(route.parameters) <= tenant.things.keys():
                continue
            answer = tenant.caller.call(route, tenant.things)
            found = answer.json().get(seed.found_at) if answer.is_success else None
            if found is None:
                self.gaps.append(f"{route.name} answered {answer.status_code}: there is no {{{seed.parameter}}} to try")
            else:
                tenant.things[seed.parameter] = str(found)
                if tenant is self.b and "api_key" in answer.json():
                    self.ear.secrets["B's other credential"] = answer.json()["api_key"]

    def renew(self, route: Route) -> None:
        """A's own things again, before a route that may take them away."""
        if {"document_id", "key"} & set(route.parameters):
            held = f"/api/v1/documents/{self.a.things['document_id']}/legal-hold"
            self.a.caller.ask("DELETE", held)  # by an earlier route; a server without holds answers 404
            self.a.things["document_id"] = self.put_mine("mine")
        if set(route.parameters) & {seed.parameter for seed in SEEDS}:
            self.sow(self.a)

    # -- what B has must stay as it is

    def state_of_b(self) -> tuple[Any, ...]:
        """Everything that B can see of what it has."""
        ask, document_id = self.b.caller.ask, self.b.things["document_id"]
        path = f"/api/v1/documents/{document_id}"
        found = ask("POST", "/api/v1/search", json={"query": self.canaries.text})
        lists = [
            route for route in self.matrix.of_tenants if route.name in ("GET /api/v1/keys", "GET /api/v1/webhooks")
        ]
        return (
            _without_use(ask("GET", path)),
            _without_use(ask("GET", "/api/v1/documents")),
            ask("GET", f"{path}/download").content,
            _without_use(ask("GET", f"{path}/text")),
            [result["document_id"] for result in found.json().get("results", ())],
            [_without_use(self.b.caller.call(route, {})) for route in lists],
        )

    def expect_untouched(self, check: Check, before: tuple[Any, ...]) -> None:
        check.expect(self.state_of_b() == before, "something of B changed although B did nothing")

    # -- the end

    def clear(self, report: Report) -> None:
        """Removes what was made, as far as the deployment can, and writes down what stays."""
        try:
            self._clear(report)
        except (httpx.HTTPError, CannotVerify) as error:
            report.left.append(f"everything whose name begins with {NAME} {self.run}: {error}")

    def _clear(self, report: Report) -> None:
        revoke = self.matrix.get("DELETE /api/v1/admin/administrators/{name}")
        for name in self.administrators if revoke is not None else ():
            assert revoke is not None
            if not self.admin.call(revoke, {"name": name}).is_success:
                report.left.append(f"the administrator {name}")
        for tenant in self.made.values():
            left = self._remove(tenant)
            if left is not None:
                report.left.append(f"tenant {tenant.id} ({tenant.name}), {left}")

    def _remove(self, tenant: Tenant) -> str | None:
        """What stays of the tenant; None when it is gone."""
        ids = {"tenant_id": tenant.id}
        activate = self.matrix.get("POST /api/v1/admin/tenants/{tenant_id}/activate")
        delete = self.matrix.get("DELETE /api/v1/admin/tenants/{tenant_id}")
        if delete is not None:
            if self.admin.call(delete, ids).is_success and self._confirmed(tenant):
                return None
            return "whose deletion was refused"
        if activate is not None:
            self.admin.call(activate, ids)
        listed = tenant.caller.ask("GET", "/api/v1/documents", params={"limit": 100})
        found = [document["document_id"] for document in listed.json()["documents"]] if listed.is_success else []
        tenant.caller.ask(
            "POST", "/api/v1/documents/bulk-delete", json={"document_ids": found or [NEVER["document_id"]]}
        )
        suspend = self.matrix.get("POST /api/v1/admin/tenants/{tenant_id}/suspend")
        if suspend is not None and self.admin.call(suspend, ids).is_success:
            return "without documents, suspended: this deployment cannot delete tenants"
        return "without documents: this deployment can neither delete nor suspend tenants"

    def _confirmed(self, tenant: Tenant) -> bool:
        """The second step, where deletion has one."""
        operation = self.openapi["paths"]["/api/v1/admin/tenants/{tenant_id}"]["delete"]
        if not any(parameter["name"] == "confirm" for parameter in operation.get("parameters", ())):
            return True
        path = f"/api/v1/admin/tenants/{tenant.id}"
        return self.admin.ask("DELETE", path, params={"confirm": tenant.id}).is_success


def _message(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return "no error of S4's; is this the address of S4?"


def _without_use(value: Any) -> Any:
    """Without the moments at which things were used last: B's own looking moves them."""
    match value:
        case httpx.Response():
            return value.status_code, _without_use(value.json())
        case dict():
            return {name: _without_use(each) for name, each in value.items() if not name.startswith("last_")}
        case list():
            return [_without_use(each) for each in value]
        case _:
            return value
