"""Routes that declare their permission, and authenticate before the body is read.

FastAPI reads and parses a body before it runs dependencies, so a dependency that authenticates comes after
200 MiB of a stranger's upload. Here the route's own handler does it first:

    credentials → place → context → rate → admission (maintenance, quotas) → permission → bounds → address → body
    → endpoint

A query parameter that a route does not know is refused by its name: a filter that is misspelt would answer everything,
as if it had been obeyed. Public routes take any, for balancers and scrapers add their own.

A key that is bound to a part of the documents (`context.restriction`) is refused by every route, unless the route's
router says that what it serves stays within the bounds: `DomainRouter(serves_bound_keys=True)`.

What any route may refuse is said here once, for the OpenAPI document: `_common_errors`. A route names what else it
may: `responses=error_responses(409, 412)`.

`app.state.s4_places` holds back what is too much at once (`places.py`); `app.state.s4_authenticator` turns credentials
into contexts; `app.state.s4_rate_gate` holds tenants to their rate, and each of `app.state.s4_admissions` may refuse
one.
An endpoint receives what was proved through `CurrentTenant` or `CurrentAdmin`.
"""

import hashlib
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Annotated, Any, Protocol, TypedDict, TypeVar, Unpack
from urllib.parse import unquote_to_bytes

import structlog
from fastapi import APIRouter, Depends, FastAPI, params
from fastapi.dependencies.utils import get_flat_params
from fastapi.params import ParamTypes
from fastapi.routing import APIRoute, iter_route_contexts
from fastapi.security import APIKeyHeader, HTTPBearer
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message, Receive

from s4.kernel.context import AdminContext, Origin, TenantContext
from s4.kernel.errors import (
    Forbidden,
    InvalidRequest,
    LimitReached,
    Unauthenticated,
    Unavailable,
    UnsupportedMediaType,
)
from s4.kernel.permissions import ADMIN_PERMISSIONS, Permission
from s4.platform.http.body import read_small_body
from s4.platform.http.errors import error_responses
from s4.platform.http.exchange import Exchange, exchange_of
from s4.platform.http.places import Load, Places, gone_of
from s4.platform.http.strict_json import check_json

TENANT_KEY_HEADER = "X-Tenant-Key"
ADMIN_KEY_HEADER = "X-Admin-Key"
PERMISSION_EXTENSION = "x-s4-permission"
STREAMS_EXTENSION = "x-s4-streams-body"
UNCOUNTED_EXTENSION = "x-s4-uncounted"
QUERY_PREFIX_EXTENSION = "x-s4-query-prefix"
BOUNDED_EXTENSION = "x-s4-serves-bound-keys"
LOAD_EXTENSION = "x-s4-load"

_PARAMETER_CHARS_MAX = 100  # of an unknown one that an answer repeats

_Endpoint = TypeVar("_Endpoint", bound=Callable[..., Any])
_Handler = Callable[[Request], Coroutine[Any, Any, Response]]


@dataclass(frozen=True, slots=True)
class Credentials:
    """What the caller presented; nothing of it is proved."""

    tenant_key: str | None = field(repr=False)
    """From `X-Tenant-Key`, or `Authorization: Bearer`."""
    admin_key: str | None = field(repr=False)
    origin: Origin

    @property
    def tenant_key_digest(self) -> bytes:
        """By which a key is remembered: none stays in memory in the clear."""
        return hashlib.sha256((self.tenant_key or "").encode("utf-8", "surrogatepass")).digest()


class Authenticator(Protocol):
    """Turns credentials into proof. Both raise `Unauthenticated`, or `Forbidden` for a suspended tenant."""

    async def tenant(self, credentials: Credentials) -> TenantContext: ...

    async def admin(self, credentials: Credentials) -> AdminContext: ...


Admission = Callable[[TenantContext, Request], Awaitable[None]]
"""Looks at a tenant's call before its body is read: quota, maintenance; and again when it turns out to count as more
than one. `request.state.s4_permission` is what the route demands. Raises `LimitReached`, `Unavailable`; headers go into
`exchange_of(request).response_headers`."""


class RateGate(Protocol):
    """How fast a tenant may ask. Who was refused a moment ago is refused again without a look-up, or a tenant far
    beyond its rate would cost as much as one that is served. What is remembered opens nothing: before the gate lets
    anybody in, the authenticator is asked."""

    def recently_refused(self, credentials: Credentials) -> TenantContext | None: ...

    async def take(self, context: TenantContext, credentials: Credentials, request: Request) -> None:
        """Raises `LimitReached`."""
        ...

    async def take_more(self, context: TenantContext, request: Request, more: int) -> None:
        """For a request that was let in and does the work of so many more (`charging.py`). Raises `LimitReached`,
        `InvalidRequest`."""
        ...


def read_credentials(request: Request) -> Credentials:
    """Raises `Unauthenticated` when two different keys are presented: guessing which is meant is not safe."""
    tenant_keys = {*request.headers.getlist(TENANT_KEY_HEADER), *_bearer_tokens(request)}
    admin_keys = set(request.headers.getlist(ADMIN_KEY_HEADER))
    if len(tenant_keys) > 1 or len(admin_keys) > 1:
        raise Unauthenticated("Two different keys were presented; send one.")
    return Credentials(
        tenant_key=tenant_keys.pop() if tenant_keys else None,
        admin_key=admin_keys.pop() if admin_keys else None,
        origin=Origin(request.client.host if request.client else None, exchange_of(request).request_id),
    )


def _bearer_tokens(request: Request) -> list[str]:
    headers = [value.partition(" ") for value in request.headers.getlist("Authorization")]
    return [token.strip() for scheme, _, token in headers if scheme.lower() == "bearer" and token.strip()]


class S4Route(APIRoute):
    """A route that cannot be made without a permission. `streams_body` leaves the body to the endpoint; parameters
    that begin with `query_prefix` are the endpoint's to read, whatever they are called."""

    s4_permission: Permission
    s4_streams_body: bool
    s4_counted: bool
    s4_query_prefix: str | None
    s4_serves_bound_keys: bool
    s4_load: Load

    def __init__(
        self,
        path: str,
        endpoint: Callable[..., Any],
        *,
        openapi_extra: dict[str, Any] | None = None,
        **options: Any,
    ) -> None:
        extra = dict(openapi_extra or {})
        if PERMISSION_EXTENSION not in extra:
            raise TypeError(f"The route {path} declares no permission: define it on a DomainRouter.")
        # The base class asks for the handler while it is being made, and again for every inclusion.
        self.s4_permission = Permission(extra[PERMISSION_EXTENSION])
        self.s4_streams_body = bool(extra.get(STREAMS_EXTENSION))
        self.s4_counted = not extra.get(UNCOUNTED_EXTENSION)
        self.s4_query_prefix = extra.get(QUERY_PREFIX_EXTENSION)
        self.s4_serves_bound_keys = bool(extra.get(BOUNDED_EXTENSION))
        self.s4_load = Load(extra.get(LOAD_EXTENSION, Load.UPLOAD if self.s4_streams_body else Load.OTHER))
        super().__init__(path, endpoint, openapi_extra=extra, **options)

    def get_route_handler(self) -> _Handler:
        answer = super().get_route_handler()
        parameters = get_flat_params(self.dependant)
        known = {field.alias for field in parameters if getattr(field.field_info, "in_", None) is ParamTypes.query}

        async def handler(request: Request) -> Response:
            exchange = exchange_of(request)
            exchange.counted = self.s4_counted
            load = Load.LONG_POLL if "wait" in known and "wait" in request.query_params else self.s4_load
            try:
                await _admit(request, self.s4_permission, load, serves_bound_keys=self.s4_serves_bound_keys)
                _check_address(request)
                if self.s4_permission is not Permission.PUBLIC:
                    _check_parameters(request, known, self.s4_query_prefix)
                return await answer(request if self.s4_streams_body else await _with_small_body(request))
            finally:
                # A download keeps its place to the last byte, which the middleware sees; nothing else is read slowly.
                if exchange.place is not None and load is not Load.DOWNLOAD:
                    exchange.place.leave()

        return handler


async def _admit(request: Request, permission: Permission, load: Load, *, serves_bound_keys: bool) -> None:
    if permission is Permission.PUBLIC:
        return
    authenticator: Authenticator = request.app.state.s4_authenticator
    credentials = read_credentials(request)
    if permission in ADMIN_PERMISSIONS:
        administrator = await authenticator.admin(credentials)
        exchange_of(request).administrator = administrator.name
        administrator.require(permission)
        request.state.s4_context = administrator
        return
    gate: RateGate | None = request.app.state.s4_rate_gate
    refused = gate.recently_refused(credentials) if gate is not None else None
    if gate is not None and refused is not None:
        _note_who_asks(request, refused)
        await gate.take(refused, credentials, request)  # a token came in: now it is worth a look who this is
        exchange_of(request).tenant_id = None
    places: Places | None = request.app.state.s4_places
    if places is not None and credentials.tenant_key is not None:  # without one nothing is looked up
        await _take_place(request, places, load, credentials)
    context = await authenticator.tenant(credentials)
    _note_who_asks(request, context)
    if (place := exchange_of(request).place) is not None:
        with _overload_noted(exchange_of(request)):
            await place.proved(context.tenant_id)
    if gate is not None and refused is None:
        await gate.take(context, credentials, request)
    request.state.s4_permission = permission
    for admission in request.app.state.s4_admissions:
        await admission(context, request)
    context.require(permission)
    if context.restriction.binds and not serves_bound_keys:
        raise Forbidden("This key is bound to a part of the documents, and what this route does is not.")
    request.state.s4_context = context


async def _take_place(request: Request, places: Places, load: Load, credentials: Credentials) -> None:
    exchange, digest = exchange_of(request), credentials.tenant_key_digest
    with _overload_noted(exchange):
        try:
            exchange.place = await places.enter(load, digest, gone_of(request.scope))
        except (LimitReached, Unavailable):
            exchange.tenant_id = places.tenant_of(digest)  # for its own figures; it opens nothing
            raise


@contextmanager
def _overload_noted(exchange: Exchange) -> Iterator[None]:
    try:
        yield
    except (LimitReached, Unavailable):
        exchange.overloaded = True
        raise


def _note_who_asks(request: Request, context: TenantContext) -> None:
    exchange = exchange_of(request)
    exchange.tenant_id = context.tenant_id
    exchange.plan_id = context.plan.plan_id
    structlog.contextvars.bind_contextvars(tenant_id=context.tenant_id)


def _check_address(request: Request) -> None:
    # PostgreSQL cannot store NUL, and no honest id, key or filter has it.
    if "\x00" in request.scope["path"] or b"%00" in request.scope["query_string"]:
        raise InvalidRequest("The address contains a NUL character.")
    # A route's `$` matches before a line feed at the end: the key `a` would be found by `a%0A`.
    if "\n" in request.scope["path"]:
        raise InvalidRequest("The path contains a line feed.")
    # The server decodes with replacement characters, by which two different keys would become one.
    try:
        unquote_to_bytes(request.scope.get("raw_path") or b"").decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidRequest("The path is not UTF-8 once its percent signs are decoded.") from error


def _check_parameters(request: Request, known: Set[str], prefix: str | None) -> None:
    for name in request.query_params:
        if name in known or (prefix is not None and name.startswith(prefix)):
            continue
        names = sorted(known) + ([f"{prefix}<field>"] if prefix is not None else [])
        raise InvalidRequest(
            f"There is no query parameter {name[:_PARAMETER_CHARS_MAX]!r} here"
            + (f"; known are: {', '.join(names)}." if names else ", nor any other."),
            details={"parameter": name[:_PARAMETER_CHARS_MAX], "known": names},
        )


async def _with_small_body(request: Request) -> Request:
    """The request with its body read, within the limits of JSON bodies.

    FastAPI would turn our refusals into its own 400, were they raised while it reads.
    """
    exchange = exchange_of(request)
    body = await read_small_body(
        request, bytes_max=exchange.request_body_bytes_max, seconds_max=exchange.request_body_seconds_max
    )
    if body:
        if "json" not in request.headers.get("content-type", "").lower():  # `curl -d` says that it is a form
            raise UnsupportedMediaType("Send the body as JSON, with the header Content-Type: application/json.")
        check_json(body)
    return Request(request.scope, _replay(body, request.receive))


def _replay(body: bytes, receive: Receive) -> Receive:
    pending: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return pending.pop() if pending else await receive()

    return replay


# Asynchronous, as all dependencies: FastAPI would send a plain function to a thread and wait for it.


async def _current_tenant(request: Request) -> TenantContext:
    context = request.state.s4_context
    assert isinstance(context, TenantContext), "the route's permission is not a tenant's"
    return context


async def _current_admin(request: Request) -> AdminContext:
    context = request.state.s4_context
    assert isinstance(context, AdminContext), "the route's permission is not the administrator's"
    return context


CurrentTenant = Annotated[TenantContext, Depends(_current_tenant)]
CurrentAdmin = Annotated[AdminContext, Depends(_current_admin)]


class RouteOptions(TypedDict, total=False):
    """What FastAPI's route decorators take, as far as S4 uses it."""

    response_model: Any
    status_code: int
    tags: list[Any]
    dependencies: Sequence[params.Depends]
    summary: str
    description: str
    response_description: str
    responses: dict[int | str, dict[str, Any]]
    deprecated: bool
    operation_id: str
    response_model_exclude_none: bool
    response_model_exclude_unset: bool
    include_in_schema: bool
    response_class: type[Response]
    name: str
    openapi_extra: dict[str, Any]


class DomainRouter(APIRouter):
    """A router whose every route says who may call it, and that it streams its body if it does."""

    def __init__(
        self,
        *,
        prefix: str = "",
        tags: list[Any] | None = None,
        responses: dict[int | str, dict[str, Any]] | None = None,
        serves_bound_keys: bool = False,
    ) -> None:
        self._serves_bound_keys = serves_bound_keys
        super().__init__(prefix=prefix, tags=tags, responses=responses, route_class=S4Route, redirect_slashes=False)

    def route_for(
        self,
        method: str,
        path: str,
        *,
        permission: Permission,
        streams_body: bool = False,
        counted: bool = True,
        load: Load | None = None,
        query_prefix: str | None = None,
        **options: Unpack[RouteOptions],
    ) -> Callable[[_Endpoint], _Endpoint]:
        """A route of `method`; `get`, `post` and the others are short for it. `counted`: as one of the calls that a
        plan allows in a month. `load`: whose places it takes, if it is neither an upload nor like most."""
        extra = {**options.get("openapi_extra", {}), PERMISSION_EXTENSION: permission.value}
        if streams_body:
            extra[STREAMS_EXTENSION] = True
        if not counted:
            extra[UNCOUNTED_EXTENSION] = True
        if load is not None:
            extra[LOAD_EXTENSION] = load.value
        if query_prefix is not None:
            extra[QUERY_PREFIX_EXTENSION] = query_prefix
        if self._serves_bound_keys:
            extra[BOUNDED_EXTENSION] = True
        options["openapi_extra"] = extra
        options["responses"] = _common_errors(permission, self.prefix + path) | options.get("responses", {})
        options["dependencies"] = [*options.get("dependencies", ()), *_security_of(permission)]
        return self.api_route(path, methods=[method], **options)

    # The base class lets a route go without a permission; that is what these take away, hence the ignores.

    def get(  # type: ignore[override]
        self,
        path: str,
        *,
        permission: Permission,
        counted: bool = True,
        load: Load | None = None,
        query_prefix: str | None = None,
        **options: Unpack[RouteOptions],
    ) -> Callable[[_Endpoint], _Endpoint]:
        return self.route_for(
            "GET", path, permission=permission, counted=counted, load=load, query_prefix=query_prefix, **options
        )

    def head(  # type: ignore[override]
        self, path: str, *, permission: Permission, **options: Unpack[RouteOptions]
    ) -> Callable[[_Endpoint], _Endpoint]:
        return self.route_for("HEAD", path, permission=permission, **options)

    def post(  # type: ignore[override]
        self,
        path: str,
        *,
        permission: Permission,
        streams_body: bool = False,
        load: Load | None = None,
        **options: Unpack[RouteOptions],
    ) -> Callable[[_Endpoint], _Endpoint]:
        return self.route_for("POST", path, permission=permission, streams_body=streams_body, load=load, **options)

    def put(  # type: ignore[override]
        self,
        path: str,
        *,
        permission: Permission,
        streams_body: bool = False,
        **options: Unpack[RouteOptions],
    ) -> Callable[[_Endpoint], _Endpoint]:
        return self.route_for("PUT", path, permission=permission, streams_body=streams_body, **options)

    def patch(  # type: ignore[override]
        self, path: str, *, permission: Permission, **options: Unpack[RouteOptions]
    ) -> Callable[[_Endpoint], _Endpoint]:
        return self.route_for("PATCH", path, permission=permission, **options)

    def delete(  # type: ignore[override]
        self, path: str, *, permission: Permission, **options: Unpack[RouteOptions]
    ) -> Callable[[_Endpoint], _Endpoint]:
        return self.route_for("DELETE", path, permission=permission, **options)


# For the OpenAPI document only: `auto_error=False` makes them read a header and decide nothing.
_TENANT_SECURITY = (
    Depends(APIKeyHeader(name=TENANT_KEY_HEADER, scheme_name="TenantKey", auto_error=False)),
    Depends(HTTPBearer(scheme_name="TenantBearer", auto_error=False)),
)
_ADMIN_SECURITY = (Depends(APIKeyHeader(name=ADMIN_KEY_HEADER, scheme_name="AdminKey", auto_error=False)),)


def _security_of(permission: Permission) -> tuple[Any, ...]:
    if permission is Permission.PUBLIC:
        return ()
    return _ADMIN_SECURITY if permission in ADMIN_PERMISSIONS else _TENANT_SECURITY


def _common_errors(permission: Permission, path: str) -> dict[int | str, dict[str, Any]]:
    """What happens before an endpoint runs (a malformed address or body, a missing credential, a parameter of another
    form), what may happen in any (an id that leads nowhere), and what nobody wants."""
    statuses = [400, 413, 415, 500]
    if permission is not Permission.PUBLIC:
        statuses += [401, 403, 422, 429, 503]
    if "{" in path:
        statuses.append(404)
    return error_responses(*sorted(statuses))


def undeclared_routes(app: FastAPI) -> list[str]:
    """Routes that declare no permission; the application refuses to start while there are any.

    FastAPI's own pages, the OpenAPI document and its browsers, are public by this declaration.
    """
    public = {app.openapi_url, app.docs_url, app.redoc_url, app.swagger_ui_oauth2_redirect_url}
    return [
        f"{','.join(sorted(route.methods or {'*'}))} {route.path}"
        for route in iter_route_contexts(app.routes)
        if not isinstance(route.original_route, S4Route) and route.path not in public
    ]
