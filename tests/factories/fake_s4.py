"""A small HTTP server in place of S4, for tests of the client: it records what it is sent and answers by script.

It runs on a real socket, since what matters to a client (bodies half sent, answers cut off) happens there.
"""

import contextlib
import re
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse, StreamingResponse

START_SECONDS_MAX = 10.0

Handler = Callable[[Request], Awaitable[Response]]


class AnswerCutOff(Exception):
    """Raised in the midst of a body: the server drops the connection."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A request as it arrived."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]


@dataclass(slots=True)
class FakeS4:
    """`on` scripts the answers to a route: each is used once, the last for ever."""

    url: str = ""
    requests: list[Seen] = field(default_factory=list)
    _script: list[tuple[str, re.Pattern[str], list[Handler]]] = field(default_factory=list)

    def on(self, method: str, path: str, *handlers: Handler) -> None:
        """`path` is a regular expression of the whole path. What is scripted last is looked at first."""
        self._script.insert(0, (method, re.compile(path), [*handlers]))

    def forget(self) -> None:
        """As new, for the next test."""
        self.requests.clear()
        self._script.clear()

    async def answer(self, request: Request) -> Response:
        self.requests.append(
            Seen(request.method, request.scope["path"], dict(request.query_params), dict(request.headers))
        )
        for method, path, handlers in self._script:
            if method == request.method and path.fullmatch(request.scope["path"]):
                handler = handlers.pop(0) if len(handlers) > 1 else handlers[0]
                return await handler(request)
        return refusal(404, "not_found", "There is nothing at this path.")


def answering(body: Any, *, status: int = 200, headers: dict[str, str] | None = None) -> Handler:
    """Reads the whole request, then answers JSON."""

    async def handle(request: Request) -> Response:
        async for _ in request.stream():
            pass
        return JSONResponse(body, status_code=status, headers=headers)

    return handle


def refusing(status: int, code: str, message: str = "No.", *, retry_after: str | None = None) -> Handler:
    """Reads the whole request, then answers an error."""

    async def handle(request: Request) -> Response:
        async for _ in request.stream():
            pass
        return refusal(status, code, message, retry_after=retry_after)

    return handle


def refusal(status: int, code: str, message: str, *, retry_after: str | None = None) -> Response:
    headers = {"X-Request-Id": "req-1"} | ({"Retry-After": retry_after} if retry_after is not None else {})
    error = {"code": code, "message": message, "details": {"why": "test"}}
    return JSONResponse({"error": error}, status_code=status, headers=headers)


def serving(
    content: bytes,
    *,
    etag: str = '"r1"',
    digest: str | None = None,
    cut_at: int | None = None,
    heeds_if_range: bool = True,
) -> Handler:
    """Serves bytes and their ranges. With `cut_at` the connection breaks after so many bytes of the answer."""

    async def handle(request: Request) -> Response:
        headers = {"ETag": etag}
        if digest is not None:
            headers["Repr-Digest"] = f"sha-256=:{digest}:"
        asked = re.fullmatch(r"bytes=(\d+)-", request.headers.get("range", ""))
        start, status = 0, 200
        if asked and (request.headers.get("if-range") == etag or not heeds_if_range):
            start, status = int(asked[1]), 206
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        headers["Content-Length"] = str(len(content) - start)

        async def body() -> AsyncIterator[bytes]:
            yield content[start:] if cut_at is None else content[start : start + cut_at]
            if cut_at is not None:
                raise AnswerCutOff

        return StreamingResponse(body(), status_code=status, headers=headers)

    return handle


def document(document_id: str = "doc_a", *, status: str = "ready", **fields: Any) -> dict[str, Any]:
    """A document as S4 answers it, with a field that no client knows."""
    return {
        "document_id": document_id,
        "key": None,
        "filename": "a.txt",
        "content_type": "text/plain",
        "size": 3,
        "sha256": "0" * 64,
        "version": 1,
        "metadata": {},
        "uploaded_at": "2026-01-02T03:04:05Z",
        "status": status,
        "field_of_tomorrow": 1,
        **fields,
    }


@contextlib.contextmanager
def fake_s4(*, certificate: Path | None = None) -> Iterator[FakeS4]:
    """Runs the server in a thread of its own, on a free port; with TLS if it has a certificate, key included."""
    fake = FakeS4()
    app = FastAPI(openapi_url=None)
    methods = ["GET", "HEAD", "PUT", "POST", "PATCH", "DELETE"]
    app.add_api_route("/{path:path}", fake.answer, methods=methods, response_model=None)
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            host="127.0.0.1",
            port=0,
            log_level="critical",
            timeout_graceful_shutdown=1,
            ssl_certfile=certificate,
        )
    )
    started = threading.Event()

    async def startup(sockets: Any = None) -> None:
        await original_startup(sockets=sockets)
        started.set()

    original_startup = server.startup
    server.startup = startup  # type: ignore[method-assign]  # uvicorn has no other signal that it listens
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    assert started.wait(START_SECONDS_MAX), "the fake server did not start"
    port = server.servers[0].sockets[0].getsockname()[1]
    fake.url = f"{'https' if certificate else 'http'}://127.0.0.1:{port}"
    try:
        yield fake
    finally:
        server.should_exit = True
        thread.join()
