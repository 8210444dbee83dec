"""The outermost layer, in plain ASGI: a request's id, an answer's headers, its log line and its metrics.

It also answers what nobody foresaw, since its place is outside the exception handlers, and sees the caller
off: an answer that goes out before a large body has arrived is followed by a short reading-on, for a
connection that is closed with unread bytes is reset, and the reset can overtake the answer.
"""

import asyncio
import logging
import math
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from http import HTTPStatus

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from s4.kernel.errors import S4Error
from s4.kernel.ids import RandomBytes, base32
from s4.kernel.units import KIB, MIB
from s4.platform.http.errors import STATUS_CLIENT_CLOSED, code_of, stopping, unforeseen
from s4.platform.http.exchange import Exchange
from s4.platform.http.proxies import NO_PROXIES, TrustedProxies
from s4.platform.telemetry import traces
from s4.platform.telemetry.logs import trace_id_of
from s4.platform.telemetry.metrics import HTTP_BYTES, HTTP_ERRORS, HTTP_IN_FLIGHT, HTTP_REQUESTS, HTTP_SECONDS

log = structlog.get_logger(__name__)

_VERSIONED, _LATEST = "/api/v1/", "/api/"
_ADMINISTRATORS = "/api/v1/admin"
UNMATCHED = "unmatched"
"""The route label of a path that no route knows."""

_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})  # bounds the metric's label
_SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",  # a tenant's data; an endpoint that allows caching says so itself
}
_NOT_CALLS = frozenset({"quota_exceeded", "rate_limited"})  # as the HTTP contract says
_UNREAD_BYTES_KEPT = 64 * KIB  # the server skips so little by itself, and the connection stays usable

# A stranger is read from just long enough for the refusal to cross the world, and so is everybody when there is too
# much to do. A tenant whose upload exceeds a limit gets nginx's patience, since common clients send a whole body before
# they read.
_LINGER_BYTES_STRANGER = 1 * MIB
_LINGER_SECONDS_STRANGER = 2.0
_LINGER_SECONDS_TENANT = 30.0


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """Bounds and constants of the HTTP layer. The body's apply to routes that do not stream theirs."""

    request_body_bytes_max: int
    request_body_seconds_max: float
    api_version: str
    quiet_routes: frozenset[str] = frozenset()
    """Route templates that have no line in the log: probes and scrapes."""
    logged_share: float = 1.0
    """Of the requests that were answered well and soon: how many have a line, 0 to 1."""
    slow_seconds: float = 1.0
    """From here on a request was not answered soon."""
    proxies: TrustedProxies = NO_PROXIES


@dataclass(frozen=True, slots=True)
class Finished:
    """A request that has been answered, or whose caller went away. `seconds` to the answer's last byte."""

    exchange: Exchange
    method: str
    route: str
    status: int
    seconds: float
    client_address: str | None
    path: str = ""
    """As it was asked for: unbounded, and a stranger's choice."""

    @property
    def is_call(self) -> bool:
        """Whether it counts as one of the calls that a plan allows; of a tenant's request."""
        exchange = self.exchange
        return exchange.counted and not exchange.overloaded and exchange.error_code not in _NOT_CALLS


Observer = Callable[[Finished], None]
"""Is told of every request, on the event loop: it takes a note and returns."""


class HttpMiddleware:
    """`app.add_middleware(HttpMiddleware, limits=..., random=...)`, added last, so that it is outermost."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        limits: HttpLimits,
        random: RandomBytes,
        observers: Sequence[Observer] = (),
        leaving: Callable[[], bool] = lambda: False,
    ) -> None:
        """`leaving`: whether the process is about to go, so that connections shall end with their answers."""
        self._app = app
        self._leaving = leaving
        self._observers = tuple(observers)
        self._limits = limits
        self._random = random

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        self._limits.proxies.see_through(scope)
        headers = Headers(scope=scope)
        exchange = Exchange(
            request_id=self._request_id(headers),
            request_body_bytes_max=self._limits.request_body_bytes_max,
            request_body_seconds_max=self._limits.request_body_seconds_max,
            body_received=not _has_body(headers),
        )
        exchange.attach(scope)
        connection = _Connection(scope, receive, send, exchange, self._limits.api_version, self._leaving)
        traceparent = headers.get("traceparent")
        quiet = scope["path"] in self._limits.quiet_routes
        structlog.contextvars.clear_contextvars()
        with traces.NOTHING if quiet else traces.request(_method(scope), traceparent) as span:
            trace_id = span.trace_id or trace_id_of(traceparent)
            structlog.contextvars.bind_contextvars(request_id=exchange.request_id, trace_id=trace_id)
            started = time.monotonic()
            HTTP_IN_FLIGHT.inc()
            try:
                await self._answer(scope, connection)
            finally:
                if exchange.place is not None:
                    exchange.place.leave()
                HTTP_IN_FLIGHT.dec()
                self._record(scope, exchange, (exchange.answered_at or time.monotonic()) - started, span)
                structlog.contextvars.clear_contextvars()

    async def _answer(self, scope: Scope, connection: "_Connection") -> None:
        try:
            await self._app(scope, connection.receive, connection.send)
        except asyncio.CancelledError:  # the server's patience has ended, and it stops
            if connection.exchange.status is not None:
                raise
            await stopping()(scope, connection.receive, connection.send)
        except Exception as error:
            connection.exchange.failure = error
            if connection.exchange.status is not None:
                raise  # the server cuts the connection: half an answer must not look like a whole one
            await unforeseen()(scope, connection.receive, connection.send)

    def _request_id(self, headers: Headers) -> str:
        given = headers.get("x-request-id", "")
        return given if _REQUEST_ID.fullmatch(given) else "req_" + base32(self._random(16))

    def _record(self, scope: Scope, exchange: Exchange, seconds: float, span: traces.Span) -> None:
        status = exchange.status
        if status is None or (exchange.disconnected and exchange.answered_at is None):
            status = STATUS_CLIENT_CLOSED
        method, route = _method(scope), route_template(scope)
        HTTP_REQUESTS.labels(method, route, str(status)).inc()
        if not 400 <= status < 500:
            HTTP_SECONDS.labels(method, _timed_as(route)).observe(seconds)
        if status >= 400:
            gone = status == STATUS_CLIENT_CLOSED
            HTTP_ERRORS.labels(code_of(status) if gone else exchange.error_code or code_of(status)).inc()
        HTTP_BYTES.labels("in").inc(exchange.bytes_in)
        HTTP_BYTES.labels("out").inc(exchange.bytes_out)
        client = scope.get("client")
        address = client[0] if client else None
        finished = Finished(exchange, method, route, status, seconds, address, scope["path"])
        if span.trace_id is not None:
            _describe(span, scope, finished)
        for observe in self._observers:
            observe(finished)
        if route not in self._limits.quiet_routes:
            self._log(finished)

    def _log(self, done: Finished) -> None:
        """The request's one line."""
        exchange, failure = done.exchange, done.exchange.failure
        level, error, share = logging.INFO, None, None
        if exchange.overloaded:
            level, failure = logging.DEBUG, None  # `http.no_place` tells their sum: a flood must not flood the log
        elif failure is not None:
            foreseen = isinstance(failure, S4Error) and failure.status != HTTPStatus.INTERNAL_SERVER_ERROR
            level = logging.WARNING if foreseen else logging.ERROR
            error = failure.message if isinstance(failure, S4Error) else type(failure).__name__
        elif done.status < HTTPStatus.BAD_REQUEST and done.seconds < self._limits.slow_seconds:
            share = self._limits.logged_share
            if share < 1 and int.from_bytes(self._random(4)) >= share * 2**32:
                return
        log.log(
            level, "http.request_finished", method=done.method, route=done.route, status=done.status,
            duration_ms=round(done.seconds * 1000, 2), bytes_in=exchange.bytes_in, bytes_out=exchange.bytes_out,
            client_address=done.client_address, tenant_id=exchange.tenant_id, code=exchange.error_code, error=error,
            logged_share=share if share != 1 else None, exc_info=failure,
        )  # fmt: skip


def _method(scope: Scope) -> str:
    return scope["method"] if scope["method"] in _METHODS else "OTHER"


def _describe(span: traces.Span, scope: Scope, done: Finished) -> None:
    """By OpenTelemetry's conventions for HTTP, less what the log does not have either: paths, queries, headers."""
    known = done.route != UNMATCHED
    method = done.method if done.method != "OTHER" else "_OTHER"
    span.name(f"{done.method} {done.route}" if known else done.method)
    span.note(
        {
            "http.request.method": method,
            "http.response.status_code": done.status,
            "http.request.body.size": done.exchange.bytes_in,
            "http.response.body.size": done.exchange.bytes_out,
            "network.protocol.version": scope.get("http_version", "1.1"),
            "url.scheme": scope.get("scheme", "http"),
            "s4.request_id": done.exchange.request_id,
        }
    )
    if known:
        span.note({"http.route": done.route})
    if done.exchange.tenant_id is not None:
        span.note({"s4.tenant_id": done.exchange.tenant_id})
    if done.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        span.failed(done.exchange.error_code or code_of(done.status))


def _timed_as(route: str) -> str:
    """A histogram is sixteen series: those of seventy routes that people seldom ask are one."""
    return _ADMINISTRATORS if route.startswith(_ADMINISTRATORS) else route


def route_template(scope: Scope) -> str:
    """`/api/v1/documents/{document_id}`, whichever prefix it was asked under: one route is one label."""
    # FastAPI keeps the route as it was defined in `route`, and as it was included in a scope key of its own.
    included = scope.get("fastapi", {}).get("effective_route_context")
    template: str | None = getattr(included, "path_format", None) or getattr(scope.get("route"), "path_format", None)
    if not template:
        return UNMATCHED
    if template.startswith(_LATEST) and not template.startswith(_VERSIONED):
        return _VERSIONED + template.removeprefix(_LATEST)
    return template


class _Connection:
    """The server's `receive` and `send`, counted, with the answer's headers completed."""

    def __init__(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        exchange: Exchange,
        api_version: str,
        leaving: Callable[[], bool],
    ) -> None:
        self._scope = scope
        self._leaving = leaving
        self._receive = receive
        self._send = send
        self._api_version = api_version
        self._lingers = False
        self.exchange = exchange

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request":
            self.exchange.bytes_in += len(message.get("body", b""))
            self.exchange.body_received |= not message.get("more_body", False)
        elif message["type"] == "http.disconnect":
            self.exchange.disconnected |= self.exchange.answered_at is None
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._complete(message)
        elif message["type"] == "http.response.body":
            if self._scope["method"] != "HEAD":
                self.exchange.bytes_out += len(message.get("body", b""))
            if not message.get("more_body", False):
                self.exchange.answered_at = time.monotonic()
                if self._lingers:
                    await self._send({**message, "more_body": True})
                    await self._linger()
                    message = {"type": "http.response.body", "body": b"", "more_body": False}
        await self._send(message)

    def _complete(self, message: Message) -> None:
        self.exchange.status = message["status"]
        headers = MutableHeaders(scope=message)
        for name, value in _SECURITY_HEADERS.items():
            headers.setdefault(name, value)
        for name, value in self.exchange.response_headers.items():
            headers[name] = value
        headers["X-Request-Id"] = self.exchange.request_id
        headers["X-S4-API-Version"] = self._api_version
        ends = self._leaving()
        if self._leaves_much_unread():
            self._lingers = "content-length" in headers  # otherwise only the last message ends the answer
            ends = True
        if ends and self._scope.get("http_version", "1.1").startswith("1"):
            headers["Connection"] = "close"

    def _leaves_much_unread(self) -> bool:
        if self.exchange.body_received or self.exchange.disconnected:
            return False
        declared = Headers(scope=self._scope).get("content-length", "")
        unread = int(declared) - self.exchange.bytes_in if declared.isdecimal() else None
        return unread is None or unread > _UNREAD_BYTES_KEPT

    async def _linger(self) -> None:
        """Reads on and throws away, until the caller has seen the answer and stops, or patience ends."""
        stranger = self.exchange.tenant_id is None or self.exchange.overloaded
        bytes_max = self.exchange.bytes_in + _LINGER_BYTES_STRANGER if stranger else math.inf
        try:
            async with asyncio.timeout(_LINGER_SECONDS_STRANGER if stranger else _LINGER_SECONDS_TENANT):
                while not self.exchange.body_received and self.exchange.bytes_in < bytes_max:
                    if (await self.receive())["type"] == "http.disconnect":
                        return
        except TimeoutError:
            return


def _has_body(headers: Headers) -> bool:
    return headers.get("content-length", "0") != "0" or "transfer-encoding" in headers
