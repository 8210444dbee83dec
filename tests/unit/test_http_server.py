"""What only a real server shows: bodies still on their way, callers who leave, connections that end."""

import asyncio
import contextlib
import secrets
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import httpx
import pytest
import structlog
import uvicorn
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import StreamingResponse
from structlog.typing import EventDict

from s4.entrypoints.protocol import S4Protocol
from s4.entrypoints.serve import S4Server
from s4.kernel.context import AdminContext, TenantContext
from s4.kernel.errors import Unauthenticated
from s4.kernel.ids import TenantId
from s4.kernel.permissions import TENANT_SCOPES, Permission
from s4.kernel.plans import UNLIMITED
from s4.platform.http.errors import install_error_handlers
from s4.platform.http.middleware import HttpLimits, HttpMiddleware
from s4.platform.http.multipart import MultipartStream
from s4.platform.http.routing import Credentials, DomainRouter

MIB = 1024 * 1024


class OneKey:
    async def tenant(self, credentials: Credentials) -> TenantContext:
        if credentials.tenant_key != "good":
            raise Unauthenticated("The key is not known.")
        return TenantContext(TenantId("ten_" + "a" * 26), None, TENANT_SCOPES, UNLIMITED)

    async def admin(self, credentials: Credentials) -> AdminContext:
        raise Unauthenticated("There is no administrator here.")


class Events:
    """What the endpoints saw, and what the tests wait for."""

    def __init__(self) -> None:
        self.chunk_arrived = asyncio.Event()
        self.largest_chunk = 0


def make_app(events: Events) -> FastAPI:
    router = DomainRouter()

    @router.post("/json", permission=Permission.DOCUMENTS_WRITE)
    async def take_json(body: dict[str, Any]) -> dict[str, Any]:
        return body

    @router.post("/form", permission=Permission.DOCUMENTS_WRITE, streams_body=True)
    async def take_form(request: Request) -> dict[str, Any]:
        form = MultipartStream(
            request,
            field_names={"key"},
            fields_bytes_max=1000,
            file_bytes_max=64 * MIB,
            idle_seconds_max=60,
            seconds_max=60,
        )
        file = await form.next_file()
        size = 0
        async for chunk in file.chunks:
            size += len(chunk)
            events.largest_chunk = max(events.largest_chunk, len(chunk))
            events.chunk_arrived.set()
        return {"filename": file.filename, "bytes": size, "fields": await form.finish()}

    @router.get("/silent", permission=Permission.PUBLIC)
    async def silent() -> None:
        events.chunk_arrived.set()
        await asyncio.Event().wait()

    @router.get("/endless", permission=Permission.PUBLIC)
    async def endless() -> StreamingResponse:
        async def content() -> AsyncIterator[bytes]:
            while True:
                yield b"x" * 1000
                await asyncio.sleep(0)

        return StreamingResponse(content())

    app = FastAPI()
    app.state.s4_authenticator = OneKey()
    app.state.s4_places = None
    app.state.s4_rate_gate = None
    app.state.s4_admissions = ()
    app.include_router(router)
    install_error_handlers(app)
    limits = HttpLimits(request_body_bytes_max=1000, request_body_seconds_max=60, api_version="1")
    app.add_middleware(HttpMiddleware, limits=limits, random=secrets.token_bytes)
    return app


@pytest.fixture
def events() -> Events:
    return Events()


class LogQueue:
    """A structlog processor that hands every event to the test and drops it."""

    def __init__(self) -> None:
        self._events: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    def __call__(self, _logger: object, _method: str, event: EventDict) -> EventDict:
        self._events.put_nowait(dict(event))
        raise structlog.DropEvent

    async def next(self) -> dict[str, Any]:
        return await self._events.get()


@pytest.fixture
def logs() -> Iterator[LogQueue]:
    before = structlog.get_config()
    queue = LogQueue()
    structlog.configure(processors=[queue], wrapper_class=structlog.make_filtering_bound_logger(0))
    yield queue
    structlog.configure(**before)


@pytest.fixture
async def port(events: Events, logs: LogQueue) -> AsyncIterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(uvicorn.Config(make_app(events), log_config=None, lifespan="off"))
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        yield listener.getsockname()[1]
        server.should_exit = True
        await serving


@contextlib.asynccontextmanager
async def served(events: Events, patience_seconds: int) -> AsyncIterator[tuple[int, Callable[[], Awaitable[None]]]]:
    """A server as `s4 serve` runs it: its port, and what closes it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        config = uvicorn.Config(
            make_app(events),
            http=S4Protocol,
            log_config=None,
            lifespan="off",
            timeout_graceful_shutdown=patience_seconds,
        )
        server = S4Server(config)
        serving = asyncio.create_task(server.serve(sockets=[listener]))

        async def close() -> None:
            server.should_exit = True
            await serving

        yield listener.getsockname()[1], close
        await close()


async def send_head(port: int, head: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(head.replace("\n", "\r\n").encode())
    await writer.drain()
    return reader, writer


async def read_answer(reader: asyncio.StreamReader) -> tuple[int, dict[str, str], bytes]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
    return int(head[0].split()[1]), headers, await reader.readexactly(int(headers["content-length"]))


@pytest.mark.parametrize("path", ["/json", "/form"])
@pytest.mark.parametrize("length", [f"Content-Length: {200 * MIB}", "Transfer-Encoding: chunked"])
async def test_a_bad_key_is_refused_before_the_body_is_sent(port: int, path: str, length: str) -> None:
    reader, writer = await send_head(
        port,
        f"POST {path} HTTP/1.1\nHost: s4\nX-Tenant-Key: bad\nContent-Type: application/json\n{length}\n\n",
    )

    status, headers, body = await read_answer(reader)

    assert status == 401
    assert b'"unauthorized"' in body
    assert headers["connection"] == "close"
    writer.close()


async def test_a_bad_key_gets_no_invitation_to_continue(port: int) -> None:
    reader, writer = await send_head(
        port,
        f"POST /form HTTP/1.1\nHost: s4\nX-Tenant-Key: bad\nContent-Length: {MIB}\nExpect: 100-continue\n\n",
    )

    assert (await read_answer(reader))[0] == 401
    writer.close()


async def test_a_declared_json_body_that_is_too_large_is_refused_before_it_is_sent(port: int) -> None:
    reader, writer = await send_head(
        port, f"POST /json HTTP/1.1\nHost: s4\nX-Tenant-Key: good\nContent-Length: {200 * MIB}\n\n"
    )

    assert (await read_answer(reader))[0] == 413
    writer.close()


async def test_a_caller_who_sends_on_still_reads_the_refusal(port: int) -> None:
    """httpx writes a whole body before it reads, so a reset would hide the answer."""
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
        stranger = await client.post("/form", content=b"x" * (512 * 1024), headers={"X-Tenant-Key": "bad"})
        tenant = await client.post("/json", content=b"x" * (16 * MIB), headers={"X-Tenant-Key": "good"})

    assert (stranger.status_code, tenant.status_code) == (401, 413)


async def test_a_connection_survives_a_refusal_with_a_small_body(port: int) -> None:
    small = "POST /json HTTP/1.1\nHost: s4\nX-Tenant-Key: {}\nContent-Type: application/json\nContent-Length: 2\n\n{{}}"
    reader, writer = await send_head(port, small.format("bad"))
    first = await read_answer(reader)
    writer.write(small.format("good").replace("\n", "\r\n").encode())
    second = await read_answer(reader)

    assert (first[0], second[0]) == (401, 200)
    assert "connection" not in first[1]
    writer.close()


async def test_a_file_arrives_in_small_pieces_and_whole(port: int, events: Events) -> None:
    content = secrets.token_bytes(8 * MIB)
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
        answer = await client.post(
            "/form",
            files={"file": ('naïve "plan".bin', content)},
            data={"key": "a/b"},
            headers={"X-Tenant-Key": "good"},
        )

    assert answer.json() == {"filename": 'naïve "plan".bin', "bytes": len(content), "fields": {"key": "a/b"}}
    assert events.largest_chunk < MIB


async def test_a_caller_who_leaves_while_sending_is_told_apart(port: int, events: Events, logs: LogQueue) -> None:
    _, writer = await send_head(
        port,
        f"POST /form HTTP/1.1\nHost: s4\nX-Tenant-Key: good\nContent-Length: {MIB}\n"
        "Content-Type: multipart/form-data; boundary=edge\n\n"
        '--edge\nContent-Disposition: form-data; name="file"; filename="a"\n\n' + "x" * 1000,
    )
    await events.chunk_arrived.wait()
    writer.close()

    line = await logs.next()

    assert (line["event"], line["status"], line["route"]) == ("http.request_finished", 499, "/form")


async def test_a_caller_who_leaves_while_reading_is_told_apart(port: int, logs: LogQueue) -> None:
    reader, writer = await send_head(port, "GET /endless HTTP/1.1\nHost: s4\n\n")
    await reader.readexactly(5000)
    writer.close()

    line = await logs.next()

    assert (line["event"], line["status"], line["route"]) == ("http.request_finished", 499, "/endless")
    assert line["bytes_out"] >= 1000


async def test_a_request_that_is_cut_off_within_its_json_is_told_apart(port: int, logs: LogQueue) -> None:
    _, writer = await send_head(port, "POST /json HTTP/1.1\nHost: s4\nX-Tenant-Key: good\nContent-Length: 900\n\n{")
    with contextlib.suppress(ConnectionError):
        writer.close()
        await writer.wait_closed()

    assert (await logs.next())["status"] == 499


async def test_a_request_that_was_on_its_way_when_the_server_closed_is_answered(events: Events, logs: LogQueue) -> None:
    async with served(events, patience_seconds=30) as (port, close):
        head = "POST /json HTTP/1.1\nHost: s4\nX-Tenant-Key: bad\nContent-Length: 0\n\n"
        reader, writer = await send_head(port, head)  # a connection that has served and is idle
        await read_answer(reader)
        fresh_reader, fresh_writer = await asyncio.open_connection("127.0.0.1", port)
        closing = asyncio.ensure_future(close())
        while await connects(port):  # noqa: ASYNC110 (uvicorn offers no event)
            await asyncio.sleep(0)
        for on in (writer, fresh_writer):
            on.write(head.replace("\n", "\r\n").encode())

        assert (await read_answer(reader))[0] == (await read_answer(fresh_reader))[0] == 401
        await closing
        writer.close()
        fresh_writer.close()


async def connects(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except ConnectionError:  # refused, or reset in the line of a listener that just closed
        return False
    writer.close()
    return True


async def test_who_waits_longer_than_a_stopping_server_is_told_to_repeat(events: Events, logs: LogQueue) -> None:
    async with served(events, patience_seconds=0) as (port, close):
        reader, writer = await send_head(port, "GET /silent HTTP/1.1\nHost: s4\n\n")
        await events.chunk_arrived.wait()
        await close()

        status, headers, body = await read_answer(reader)

        assert (status, headers["retry-after"]) == (503, "1")
        assert b'"service_unavailable"' in body
        writer.close()
