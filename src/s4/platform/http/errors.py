"""Exceptions become answers: always `{"error": {"code", "message", "details"}}`, never an inside.

A status without a code of its own in the contract takes the code of what the caller does next: a 405 is an
`invalid_request`. Whatever is not foreseen reaches the middleware, which logs it and answers `unforeseen()`.
"""

import math
from collections.abc import Iterable, Mapping
from datetime import timedelta
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.routing import iter_route_contexts
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from s4.kernel.errors import S4Error, Unavailable
from s4.platform.http.exchange import exchange_of

STATUS_CLIENT_CLOSED = 499
"""The caller went away before the answer; nobody reads this status but our own log and metrics."""

_FIELDS_MAX = 20  # a body of a thousand wrong items needs no thousand sentences
_FIELD_CHARS_MAX = 200
_ECHO_CHARS_MIN = 4  # shorter inputs occur in any sentence by chance
_ECHO_LEAVES_MAX = 1000
_SERVER_MESSAGE = "Something went wrong on our side. Send the request id if you report it."

_CODES = {
    400: "invalid_request",
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    405: "invalid_request",
    409: "conflict",
    412: "precondition_failed",
    413: "payload_too_large",
    415: "unsupported_media_type",
    416: "range_not_satisfiable",
    422: "invalid_request",
    429: "rate_limited",
    STATUS_CLIENT_CLOSED: "client_disconnected",
    503: "service_unavailable",
}
_MESSAGES = {
    404: "There is nothing at this path.",
    405: "This path does not know that method; Allow lists those that it knows.",
}


class ErrorInfo(BaseModel):
    code: str = Field(description="Stable, for programs.")
    message: str = Field(description="A sentence for a person; may change.")
    details: dict[str, Any] = Field(default_factory=dict)


class ErrorBody(BaseModel):
    """The body of every answer that is not a success."""

    error: ErrorInfo


_DESCRIPTIONS = {
    400: "The request is malformed; mend it and send it again.",
    401: "No credential, or not a valid one.",
    403: "The credential may not do this, the tenant is suspended, or a quota is exhausted.",
    404: "There is no such thing.",
    409: "The current state forbids it.",
    412: "The revision is not the one named in the precondition.",
    413: "The body is too large.",
    415: "S4 does not take this media type.",
    416: "The range lies beyond the end.",
    422: "A field is missing or has the wrong form; `details.fields` names each.",
    429: "Too many requests; `Retry-After` says when to come back.",
    500: "Our fault. The message holds no internals; the request id finds the log.",
    503: "A dependency does not answer, or there is too much to do; `Retry-After` says when to come back.",
}


_TEXT: dict[str, Any] = {"schema": {"type": "string"}}
_SECONDS: dict[str, Any] = {"schema": {"type": "integer", "minimum": 0}}
_HEADERS = {
    401: {"WWW-Authenticate": _TEXT},
    429: {"Retry-After": _SECONDS},
    503: {"Retry-After": _SECONDS},
}


def error_responses(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """`responses=` of a route that answers these errors besides those that any may (see `routing`)."""
    return {
        status: {
            "model": ErrorBody,
            "description": _DESCRIPTIONS[status],
            "headers": {"X-Request-Id": _TEXT, **_HEADERS.get(status, {})},
        }
        for status in statuses
    }


def code_of(status: int) -> str:
    """Of an answer that was made of no error of S4's."""
    return _CODES.get(status, "server_error" if status >= 500 else "invalid_request")


def install_error_handlers(app: FastAPI) -> None:
    """To be called once, when the application is assembled."""
    app.add_exception_handler(S4Error, _on_s4_error)
    app.add_exception_handler(RequestValidationError, _on_validation_error)
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(ClientDisconnect, _on_disconnect)


def error_response(
    status: int,
    code: str,
    message: str,
    details: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """The envelope. Details that JSON cannot carry are sent as text."""
    content = {"error": {"code": code, "message": _text(message), "details": _jsonable(dict(details or {}))}}
    return JSONResponse(content, status_code=status, headers=dict(headers or {}))


def answer_to(error: S4Error) -> Response:
    """The answer that an error of the kernel stands for."""
    if error.status == HTTPStatus.INTERNAL_SERVER_ERROR:
        return unforeseen()
    return error_response(error.status, error.code, error.message, error.details, _headers_of(error))


def unforeseen() -> Response:
    """The answer to whatever nobody foresaw."""
    return error_response(500, "server_error", _SERVER_MESSAGE)


def stopping() -> Response:
    """The answer to whom the process keeps waiting until it must end."""
    return answer_to(Unavailable("S4 stops before this is done; repeat the request.", retry_after=timedelta(seconds=1)))


def _headers_of(error: S4Error) -> dict[str, str]:
    headers: dict[str, str] = {}
    retry_after = getattr(error, "retry_after", None)
    if isinstance(retry_after, timedelta):
        headers["Retry-After"] = str(max(0, math.ceil(retry_after.total_seconds())))
    if error.status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = 'Bearer realm="s4"'  # RFC 9110 demands a challenge
    if error.status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and "size" in error.details:
        headers["Content-Range"] = f"bytes */{error.details['size']}"
    return headers


async def _on_s4_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, S4Error)
    exchange = exchange_of(request)
    exchange.error_code = error.code
    if error.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        exchange.failure = error
    return answer_to(error)


async def _on_validation_error(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    problems = error.errors()
    details: dict[str, Any] = {"fields": [_field_problem(problem) for problem in problems[:_FIELDS_MAX]]}
    if len(problems) > _FIELDS_MAX:
        details["more"] = len(problems) - _FIELDS_MAX
    return error_response(422, "invalid_request", "The request is not valid; see details.fields.", details)


async def _on_http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    status, headers = error.status_code, dict(error.headers or {})
    if status in (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED):
        return Response(status_code=status, headers=headers)
    if status == HTTPStatus.METHOD_NOT_ALLOWED:
        headers["Allow"] = ", ".join(_allowed_methods(request))
    code = code_of(status)
    message = _MESSAGES.get(status) or (_SERVER_MESSAGE if status == 500 else str(error.detail))
    return error_response(status, code, message, headers=headers)


async def _on_disconnect(_request: Request, _error: Exception) -> Response:
    return Response(status_code=STATUS_CLIENT_CLOSED)


def _allowed_methods(request: Request) -> list[str]:
    """Of all routes at this path: Starlette would name those of the first one only. A path that a route spells out
    (`/documents/bulk-delete`) is no id."""
    path = request.scope["path"].removeprefix(request.scope.get("root_path", ""))
    matching: dict[str | None, set[str]] = {}
    for route in iter_route_contexts(request.app.routes):
        pattern = getattr(route, "path_regex", None)
        if pattern is not None and pattern.match(path):
            matching.setdefault(route.path, set()).update(route.methods or ())
    return sorted(matching.get(path) or set().union(*matching.values()))


def _field_problem(problem: Mapping[str, Any]) -> dict[str, str]:
    location = [str(part) for part in problem.get("loc", ())]
    if problem.get("type") == "json_invalid":
        location = location[:1]  # the rest is an offset
    message = str(problem.get("msg", "is not valid")).removeprefix("Value error, ")
    if _echoes(message, problem.get("input")):
        message = "is not valid"
    return {"field": _text(".".join(location)[:_FIELD_CHARS_MAX]), "problem": _text(message)}


def _echoes(message: str, value: Any) -> bool:
    """Whether a validator's sentence quotes what was sent, be it a secret or a script."""
    return any(len(leaf) >= _ECHO_CHARS_MIN and leaf in message for leaf in _leaves(value))


def _leaves(value: Any) -> Iterable[str]:
    pending = [value]
    for _ in range(_ECHO_LEAVES_MAX):
        if not pending:
            return
        item = pending.pop()
        if isinstance(item, Mapping):
            pending.extend(item.values())
        elif isinstance(item, (list, tuple, set, frozenset)):
            pending.extend(item)
        elif item is not None:
            yield item.decode("utf-8", "replace") if isinstance(item, bytes) else str(item)


def _jsonable(value: Any) -> Any:
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if isinstance(value, Mapping):
        return {_text(str(key)): _jsonable(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_jsonable(item) for item in value]
    return _text(str(value))


def _text(text: str) -> str:
    """UTF-8 cannot carry lone surrogates; a caller can send them in JSON."""
    return text.encode("utf-8", "replace").decode("utf-8")
