"""Routes, answers and the outermost layer, through an application without a server."""

import random
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from typing import Annotated, Any

import httpx
import pytest
import structlog
from fastapi import FastAPI, Query
from fastapi.testclient import TestClient
from prometheus_client import REGISTRY
from pydantic import BaseModel, field_validator
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from structlog.testing import capture_logs

from s4.kernel.context import AdminContext, TenantContext
from s4.kernel.errors import (
    DataCorrupt,
    LimitReached,
    RangeNotSatisfiable,
    S4Error,
    Unauthenticated,
    Unavailable,
)
from s4.kernel.ids import TenantId
from s4.kernel.permissions import TENANT_SCOPES, AdminRole, Permission
from s4.kernel.plans import UNLIMITED
from s4.platform.http.errors import install_error_handlers
from s4.platform.http.exchange import exchange_of
from s4.platform.http.middleware import HttpLimits, HttpMiddleware
from s4.platform.http.routing import (
    Credentials,
    CurrentAdmin,
    CurrentTenant,
    DomainRouter,
    S4Route,
    undeclared_routes,
)

TENANT = TenantId("ten_" + "a" * 26)


class KnownKeys:
    """`full` may do everything a tenant may, `reader` may read, `root` is the administrator."""

    async def tenant(self, credentials: Credentials) -> TenantContext:
        scopes = {"full": TENANT_SCOPES, "reader": frozenset({Permission.DOCUMENTS_READ})}
        if credentials.tenant_key not in scopes:
            raise Unauthenticated("The key is not known.")
        return TenantContext(TENANT, None, scopes[credentials.tenant_key], UNLIMITED)

    async def admin(self, credentials: Credentials) -> AdminContext:
        if credentials.admin_key != "root":
            raise Unauthenticated("The key is not known.")
        return AdminContext("operator", AdminRole.OPERATOR)


class Note(BaseModel):
    title: str
    secret: str = "long enough"

    @field_validator("secret")
    @classmethod
    def _long(cls, value: str) -> str:
        if len(value) < 8:
            raise ValueError(f"{value!r} is too short")
        return value


router = DomainRouter(prefix="/notes", tags=["notes"])
ERRORS: dict[str, Exception] = {
    "limited": LimitReached("Slower.", retry_after=timedelta(seconds=1.2)),
    "unavailable": Unavailable("The store does not answer."),
    "corrupt": DataCorrupt("tenants/x/documents/y has a wrong checksum"),
    "range": RangeNotSatisfiable("Beyond the end.", details={"size": 10}),
    "strange": S4Error("x", code="odd"),
    "bug": KeyError("a secret inside"),
    "http": HTTPException(418, "Short and stout."),
    "odd_details": LimitReached("\ud800", details={"at": timedelta(1), "n": float("nan"), "s": {"\udc00"}}),
}


@router.get("/public", permission=Permission.PUBLIC)
async def public() -> dict[str, str]:
    return {"hello": "everybody"}


@router.get("/fails/{how}", permission=Permission.PUBLIC)
async def fails(how: str) -> None:
    raise ERRORS[how]


@router.get("/breaks", permission=Permission.PUBLIC)
async def breaks() -> StreamingResponse:
    async def content() -> AsyncIterator[bytes]:
        yield b"half"
        raise RuntimeError("the other half is gone")

    return StreamingResponse(content())


@router.get("/cached", permission=Permission.PUBLIC)
async def cached() -> Response:
    return Response("x", headers={"Cache-Control": "max-age=60"})


@router.get("/found", permission=Permission.DOCUMENTS_READ, query_prefix="about.")
async def found(request: Request, words: Annotated[str | None, Query(alias="q")] = None) -> list[str]:
    return sorted(request.query_params)


@router.get("/{note_id}", permission=Permission.DOCUMENTS_READ)
async def read(context: CurrentTenant, note_id: str) -> dict[str, str]:
    return {"tenant": context.tenant_id, "note": note_id}


@router.delete("/{note_id}", permission=Permission.DOCUMENTS_WRITE, status_code=204)
async def delete(note_id: str) -> None:
    return None


@router.post("", permission=Permission.DOCUMENTS_WRITE)
async def create(context: CurrentTenant, note: Note, limit: Annotated[int, Query(ge=1)] = 1) -> dict[str, str]:
    return {"title": note.title}


@router.put("", permission=Permission.DOCUMENTS_WRITE, streams_body=True)
async def upload(request: Request) -> dict[str, int]:
    return {"bytes": sum([len(chunk) async for chunk in request.stream()])}


@router.get("/admin/name", permission=Permission.ADMIN_READ)
async def name(context: CurrentAdmin) -> str:
    return context.name


def make_app() -> FastAPI:
    app = FastAPI(redirect_slashes=False)
    app.state.s4_authenticator = KnownKeys()
    app.state.s4_places = None
    app.state.s4_rate_gate = None
    app.state.s4_admissions = ()
    app.include_router(router, prefix="/api/v1")
    app.include_router(router, prefix="/api", include_in_schema=False)
    install_error_handlers(app)
    limits = HttpLimits(request_body_bytes_max=1000, request_body_seconds_max=5, api_version="1")
    app.add_middleware(HttpMiddleware, limits=limits, random=random.Random(1).randbytes)
    return app


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(make_app(), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://s4") as client:
        yield client


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Tracebacks of expected failures would cost seconds in structlog's default rendering."""
    with capture_logs():
        yield


FULL, READER = {"X-Tenant-Key": "full"}, {"X-Tenant-Key": "reader"}


@pytest.mark.parametrize("headers", [FULL, {"Authorization": "Bearer full"}, {"Authorization": "bearer  full"}])
async def test_a_tenant_is_known_by_header_or_bearer(client: httpx.AsyncClient, headers: dict[str, str]) -> None:
    answer = await client.get("/api/v1/notes/7", headers=headers)

    assert answer.json() == {"tenant": TENANT, "note": "7"}


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-Tenant-Key": "wrong"},
        {"Authorization": "Basic full"},
        {"Authorization": "Bearer "},
        {"X-Admin-Key": "root"},
        {"X-Tenant-Key": "full", "Authorization": "Bearer reader"},
    ],
)
async def test_whoever_proves_nothing_is_refused(client: httpx.AsyncClient, headers: dict[str, str]) -> None:
    answer = await client.get("/api/v1/notes/7", headers=headers)

    assert answer.status_code == 401
    assert answer.json()["error"]["code"] == "unauthorized"
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")


async def test_two_different_keys_in_the_same_header_are_refused(client: httpx.AsyncClient) -> None:
    answer = await client.get("/api/v1/notes/7", headers=[("X-Tenant-Key", "full"), ("X-Tenant-Key", "reader")])

    assert answer.status_code == 401


async def test_a_key_without_the_scope_is_refused(client: httpx.AsyncClient) -> None:
    answer = await client.delete("/api/v1/notes/7", headers=READER)

    assert answer.status_code == 403
    assert answer.json()["error"]["details"] == {"required_scope": "documents:write"}


async def test_only_the_administrator_passes_an_admin_route(client: httpx.AsyncClient) -> None:
    assert (await client.get("/api/v1/notes/admin/name", headers={"X-Admin-Key": "root"})).json() == "operator"
    assert (await client.get("/api/v1/notes/admin/name", headers=FULL)).status_code == 401


async def test_authentication_comes_before_validation(client: httpx.AsyncClient) -> None:
    assert (await client.post("/api/v1/notes", json={"wrong": 1})).status_code == 401
    assert (await client.post("/api/v1/notes", json={"wrong": 1}, headers=FULL)).status_code == 422


async def test_an_admission_hook_may_refuse_and_set_headers() -> None:
    app = make_app()

    async def admit(context: TenantContext, request: Request) -> None:
        exchange_of(request).response_headers["X-Rate-Limit-Remaining"] = "0"
        raise LimitReached(f"Slower, {context.tenant_id}.", retry_after=timedelta(seconds=3))

    app.state.s4_admissions = (admit,)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://s4") as client:
        answer = await client.get("/api/v1/notes/7", headers=FULL)

    assert answer.status_code == 429
    assert answer.headers["X-Rate-Limit-Remaining"] == "0"
    assert answer.headers["Retry-After"] == "3"


def test_a_route_without_a_permission_cannot_be_made() -> None:
    with pytest.raises(TypeError, match="declares no permission"):
        S4Route("/x", public)
    with pytest.raises(TypeError):
        DomainRouter().get("/x")  # type: ignore[call-arg]


def test_routes_made_past_the_declaration_are_found() -> None:
    app = make_app()
    assert undeclared_routes(app) == []

    app.get("/forgotten")(public)
    app.mount("/files", FastAPI())

    assert undeclared_routes(app) == ["GET /forgotten", "* /files"]


def test_the_openapi_document_tells_permissions_and_credentials() -> None:
    document = make_app().openapi()
    paths = document["paths"]

    assert paths["/api/v1/notes/{note_id}"]["get"]["x-s4-permission"] == "documents:read"
    assert paths["/api/v1/notes/{note_id}"]["get"]["security"] == [{"TenantKey": []}, {"TenantBearer": []}]
    assert paths["/api/v1/notes/admin/name"]["get"]["security"] == [{"AdminKey": []}]
    assert "security" not in paths["/api/v1/notes/public"]["get"]
    assert set(document["components"]["securitySchemes"]) == {"TenantKey", "TenantBearer", "AdminKey"}
    assert paths["/api/v1/notes"]["post"]["responses"]["429"]["content"]["application/json"]["schema"] == {
        "$ref": "#/components/schemas/ErrorBody"
    }


@pytest.mark.parametrize(
    ("how", "status", "code", "headers"),
    [
        ("limited", 429, "rate_limited", {"Retry-After": "2"}),
        ("unavailable", 503, "service_unavailable", {"Retry-After": "2"}),
        ("corrupt", 500, "server_error", {}),
        ("range", 416, "range_not_satisfiable", {"Content-Range": "bytes */10"}),
        ("strange", 500, "server_error", {}),
        ("bug", 500, "server_error", {}),
        ("http", 418, "invalid_request", {}),
        ("odd_details", 429, "rate_limited", {}),
    ],
)
async def test_every_error_wears_the_envelope_and_the_headers(
    client: httpx.AsyncClient, how: str, status: int, code: str, headers: dict[str, str]
) -> None:
    answer = await client.get(f"/api/v1/notes/fails/{how}")

    assert answer.status_code == status
    error = answer.json()["error"]
    assert set(error) == {"code", "message", "details"}
    assert error["code"] == code
    assert {name: answer.headers.get(name) for name in headers} == headers
    assert answer.headers["X-Request-Id"].startswith("req_")
    assert answer.headers["X-S4-API-Version"] == "1"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("how", ["bug", "corrupt"])
async def test_a_failure_of_ours_is_logged_in_full_and_shown_in_none(client: httpx.AsyncClient, how: str) -> None:
    with capture_logs() as logs:
        answer = await client.get(f"/api/v1/notes/fails/{how}")

    assert "secret" not in answer.text
    assert "checksum" not in answer.text
    (line,) = logs
    assert (line["event"], line["log_level"], line["exc_info"]) == ("http.request_finished", "error", ERRORS[how])


async def test_an_answer_that_breaks_off_is_not_completed(client: httpx.AsyncClient) -> None:
    with TestClient(make_app()) as strict, pytest.raises(RuntimeError, match="other half"):
        strict.get("/api/v1/notes/breaks")


async def test_unknown_paths_and_methods_wear_the_envelope(client: httpx.AsyncClient) -> None:
    missing = await client.get("/nowhere")
    method = await client.put("/api/v1/notes/7", headers=FULL)

    assert (missing.status_code, missing.json()["error"]["code"]) == (404, "not_found")
    assert (method.status_code, method.json()["error"]["code"]) == (405, "invalid_request")
    assert method.headers["Allow"] == "DELETE, GET"


async def test_a_validation_error_names_the_fields_and_not_what_was_sent(client: httpx.AsyncClient) -> None:
    answer = await client.post("/api/v1/notes?limit=0", json={"title": ["<script>"], "secret": "hunter2"}, headers=FULL)

    assert answer.status_code == 422
    error = answer.json()["error"]
    assert error["code"] == "invalid_request"
    assert error["details"]["fields"] == [
        {"field": "query.limit", "problem": "Input should be greater than or equal to 1"},
        {"field": "body.title", "problem": "Input should be a valid string"},
        {"field": "body.secret", "problem": "is not valid"},
    ]
    assert "hunter2" not in answer.text
    assert "script" not in answer.text


async def chunks(count: int) -> AsyncIterator[bytes]:
    for _ in range(count):
        yield b" " * 500


async def test_a_json_body_may_not_exceed_its_limit_declared_or_not(client: httpx.AsyncClient) -> None:
    headers = {**FULL, "Content-Type": "application/json"}
    declared = await client.post("/api/v1/notes", content=b" " * 1001, headers=headers)
    chunked = await client.post("/api/v1/notes", content=chunks(3), headers=headers)

    assert [a.status_code for a in (declared, chunked)] == [413, 413]
    assert chunked.json()["error"]["code"] == "payload_too_large"


async def test_a_route_that_streams_takes_more(client: httpx.AsyncClient) -> None:
    answer = await client.put("/api/v1/notes", content=chunks(30), headers=FULL)

    assert answer.json() == {"bytes": 15_000}


@pytest.mark.parametrize("given", ["abc-1.2_3", "x" * 64])
async def test_a_sane_request_id_is_kept(client: httpx.AsyncClient, given: str) -> None:
    answer = await client.get("/api/v1/notes/public", headers={"X-Request-Id": given})

    assert answer.headers["X-Request-Id"] == given


@pytest.mark.parametrize("given", ["", "x" * 65, "a b", "a\tb", "é"])
async def test_an_odd_request_id_is_replaced(client: httpx.AsyncClient, given: str) -> None:
    answer = await client.get("/api/v1/notes/public", headers=[(b"X-Request-Id", given.encode())])

    assert answer.headers["X-Request-Id"].startswith("req_")
    assert len(answer.headers["X-Request-Id"]) == 30


async def test_answers_are_not_cached_unless_the_endpoint_says_so(client: httpx.AsyncClient) -> None:
    assert (await client.get("/api/v1/notes/public")).headers["Cache-Control"] == "no-store"
    assert (await client.get("/api/v1/notes/cached")).headers["Cache-Control"] == "max-age=60"


def sample(metric: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(metric, labels) or 0.0


@pytest.mark.parametrize(
    ("method", "path", "route", "code"),
    [
        ("GET", "/api/v1/notes/7", "/api/v1/notes/{note_id}", "200"),
        ("GET", "/api/notes/7", "/api/v1/notes/{note_id}", "200"),
        ("PUT", "/api/v1/notes/7", "/api/v1/notes/{note_id}", "405"),
        ("GET", "/nowhere/7", "unmatched", "404"),
        ("BREW", "/nowhere/7", "unmatched", "404"),
        ("GET", "/api/v1/notes/fails/bug", "/api/v1/notes/fails/{how}", "500"),
    ],
)
async def test_requests_are_counted_by_route_and_not_by_path(
    client: httpx.AsyncClient, method: str, path: str, route: str, code: str
) -> None:
    labels = {"method": "OTHER" if method == "BREW" else method, "route": route, "code": code}
    before = sample("s4_http_requests_total", **labels)

    await client.request(method, path, headers=FULL)

    assert sample("s4_http_requests_total", **labels) == before + 1
    assert sample("s4_http_requests_in_flight") == 0


async def test_one_line_is_logged_for_a_request(client: httpx.AsyncClient) -> None:
    with capture_logs(processors=[structlog.contextvars.merge_contextvars]) as logs:
        await client.put("/api/v1/notes", content=b"12345", headers={**FULL, "X-Request-Id": "mine"})

    (line,) = logs
    expected: dict[str, Any] = {
        "event": "http.request_finished",
        "log_level": "info",
        "method": "PUT",
        "route": "/api/v1/notes",
        "status": 200,
        "bytes_in": 5,
        "bytes_out": len(b'{"bytes":5}'),
        "tenant_id": TENANT,
        "request_id": "mine",
        "client_address": "127.0.0.1",
    }
    assert expected.items() <= line.items()
    assert line["duration_ms"] >= 0


async def test_a_request_leaves_no_context_behind(client: httpx.AsyncClient) -> None:
    await client.get("/api/v1/notes/7", headers=FULL)

    assert structlog.contextvars.get_contextvars() == {}
