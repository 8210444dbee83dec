"""A faulty network between S4 and its object store or its embedding provider, one fault at a time and on purpose.

An HTTP/1.1 proxy that forwards every request to a real server over a connection of its own, and misbehaves
for the requests that a `Fault` selects by method, path, body and count. It keeps the `Host` header, so signatures
stay valid, and it writes down every request that it saw, so a test can also count what an operation costs.

    async with fault_proxy(server.endpoint) as proxy:
        fault = proxy.add(Fault(Mode.LOST_REPLY, method="PUT", path="/head/", count=1))
        ...
        assert fault.hits == 1
"""

import asyncio
import socket
import ssl
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import dataclass, field
from enum import StrEnum
from urllib.parse import unquote, urlsplit

_PIECE_BYTES = 64 * 1024
_HEAD_BYTES_MAX = 64 * 1024


class Mode(StrEnum):
    """What happens to a selected request."""

    UNAVAILABLE = "503"  # answered 503 SlowDown, never forwarded
    CONFLICT = "409"  # answered 409 ConditionalRequestConflict, never forwarded
    RESET = "reset"  # the connection is reset, never forwarded
    HANG = "hang"  # accepted, read, never forwarded, never answered
    LOST_REPLY = "lost_reply"  # carried out by the store, then the connection is reset instead of an answer
    HANG_REPLY = "hang_reply"  # carried out by the store, the answer never comes
    DROP_DOWNLOAD = "drop_download"  # closed after `after_bytes` of the answer's body
    STALL_DOWNLOAD = "stall_download"  # silent after `after_bytes` of the answer's body
    DRIP_DOWNLOAD = "drip_download"  # the answer's body comes byte by byte, each after `delay_seconds`
    WRONG_BYTES = "wrong_bytes"  # one bit of the answer's body is another one, in its `after_bytes`-th byte or its last
    SLOW = "slow"  # forwarded after `delay_seconds`
    ANSWER = "answer"  # answered with `answer`, never forwarded
    REWRITE = "rewrite"  # the server's answer goes through `rewrite`


_OF_REPLIES = (Mode.LOST_REPLY, Mode.HANG_REPLY)


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    def encoded(self) -> bytes:
        fields = {**self.headers, "Content-Length": str(len(self.body)), "Connection": "close"}
        lines = [f"HTTP/1.1 {self.status} Injected", *(f"{name}: {value}" for name, value in fields.items())]
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + self.body


@dataclass(slots=True)
class Fault:
    """Applies to the next `count` requests (None: to all) whose method, path and body fit, after the first `skip` of
    them, or to every `every`-th. `hits` counts those that it was applied to."""

    mode: Mode
    method: str | None = None
    path: str = ""
    """A part of the path and query string."""
    unless: str = ""
    """A part that the path and query string must not have."""
    count: int | None = None
    every: int = 1
    after_bytes: int = 0
    delay_seconds: float = 0.0
    body: bytes = b""
    """A part of the body, where the proxy keeps bodies."""
    skip: int = 0
    answer: Callable[[], Answer] | None = None
    rewrite: Callable[[Answer], Answer] | None = None
    hits: int = 0
    fitting: int = 0
    hit: asyncio.Event = field(default_factory=asyncio.Event)
    """Set by the first hit; of a fault in a reply, when the server has given it."""

    def takes(self, request: "Request") -> bool:
        if self.count is not None and self.hits >= self.count:
            return False
        if not (self.method in (None, request.method) and self.path in request.path and self.body in request.body):
            return False
        if self.unless and self.unless in request.path:
            return False
        self.fitting += 1
        return self.fitting > self.skip and (self.fitting - self.skip) % self.every == 0


@dataclass(slots=True)
class Request:
    method: str
    path: str
    """Without percent-encoding, and the query string as it is."""
    range: str = ""
    """The `Range` header."""
    body: bytes = b""
    """Where the proxy keeps bodies."""
    forwarded: bool = False
    """Whether the server has seen it: a provider bills it then."""
    spoilt: bool = False
    """Whether a fault took it."""
    at: float = field(default_factory=time.monotonic)
    """When it came."""

    @property
    def kind(self) -> str:
        """What S3 bills it as: its method, or LIST."""
        return "LIST" if self.method == "GET" and "list-type=" in self.path else self.method


@dataclass(slots=True)
class FaultProxy:
    """What a test holds: where to connect, what to break, what was asked."""

    endpoint: str
    faults: list[Fault] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    remembered: dict[bytes, bytes] | None = None
    """Answers by body, of a proxy that keeps bodies."""

    def add(self, fault: Fault) -> Fault:
        self.faults.append(fault)
        return fault

    def heal(self) -> None:
        self.faults.clear()

    def seen(self, method: str, path: str = "") -> int:
        return sum(1 for request in self.requests if request.method == method and path in request.path)

    def choose(self, request: Request) -> Fault | None:
        self.requests.append(request)
        for fault in self.faults:
            if fault.takes(request):
                fault.hits += 1
                if fault.mode not in _OF_REPLIES:
                    fault.hit.set()
                request.spoilt = True
                return fault
        return None


@asynccontextmanager
async def fault_proxy(upstream: str, *, remembered: dict[bytes, bytes] | None = None) -> AsyncIterator[FaultProxy]:
    """A proxy in front of `upstream` (`http://host:port`) that serves until the block ends.

    With `remembered` it keeps bodies, and repeats the server's answer to a body that it knows: for a model that is
    slow and always gives the same.
    """
    target = urlsplit(upstream)
    proxy = FaultProxy(endpoint="", remembered=remembered)

    async def exchange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await _exchange(proxy, (target.hostname or "", target.port or 80), reader, writer)

    async with accepting(exchange) as port:
        proxy.endpoint = f"http://127.0.0.1:{port}"
        yield proxy


Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def accepting(serve: Serve, *, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """A port on which every connection is given to `serve`, and closed after it; all end with the block."""
    connections: set[asyncio.Task[None]] = set()

    async def attend(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with suppress(OSError, asyncio.IncompleteReadError):
                await serve(reader, writer)
        finally:
            writer.close()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(attend(reader, writer))  # our own, so that it can be cancelled in peace
        connections.add(task)
        task.add_done_callback(connections.discard)

    server = await asyncio.start_server(accept, "127.0.0.1", 0, limit=_HEAD_BYTES_MAX, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in list(connections):
            task.cancel()
        await asyncio.gather(*connections, return_exceptions=True)
        await server.wait_closed()


async def _exchange(
    proxy: FaultProxy,
    target: tuple[str, int],
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
) -> None:
    """One request and its answer; the connection serves no second one."""
    head = await reader.readuntil(b"\r\n\r\n")
    method, path, _ = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ", 2)
    length = int(_header(head, b"content-length") or "0")
    body = await reader.readexactly(length) if proxy.remembered is not None else b""
    place, mark, query = path.partition("?")
    request = Request(method, f"{unquote(place)}{mark}{query}", _header(head, b"range"), body)
    fault = proxy.choose(request)
    mode = fault.mode if fault is not None else None
    if mode is Mode.RESET:
        return reset(writer)
    if fault is not None and mode in (Mode.UNAVAILABLE, Mode.CONFLICT, Mode.ANSWER, Mode.HANG):
        await _pump(reader, None, length - len(body))
        if mode is Mode.HANG:
            await reader.read()  # until the client gives up
            return None
        writer.write(fault.answer().encoded() if fault.answer is not None else _REFUSALS[fault.mode])
        return await writer.drain()
    if mode is Mode.SLOW and fault is not None:
        await asyncio.sleep(fault.delay_seconds)
    request.forwarded = True
    up_reader, up_writer = await _upstream(proxy, target, _with_close(head), body)
    try:
        if proxy.remembered is None:
            await _pump(reader, up_writer, length)
        answer_head = await up_reader.readuntil(b"\r\n\r\n")
        if mode is Mode.REWRITE and fault is not None:
            writer.write(_rewritten(fault, answer_head, await up_reader.read()))
            return await writer.drain()
        if fault is not None and mode in _OF_REPLIES:
            fault.hit.set()
            if mode is Mode.HANG_REPLY:
                await reader.read()
            return reset(writer)
        writer.write(_with_close(answer_head))
        if mode in (Mode.DROP_DOWNLOAD, Mode.STALL_DOWNLOAD) and fault is not None:
            await _pump(up_reader, writer, fault.after_bytes)
            if mode is Mode.STALL_DOWNLOAD:
                await reader.read()
            return None  # closed, not reset: a reset would take back what the client has not read yet
        if mode is Mode.DRIP_DOWNLOAD and fault is not None:
            return await _drip(up_reader, writer, fault.delay_seconds)
        if mode is Mode.WRONG_BYTES and fault is not None:
            writer.write(_spoilt(await up_reader.read(), fault.after_bytes))
            return await writer.drain()
        return await _pump(up_reader, writer, None)
    finally:
        if up_writer is not None:
            up_writer.close()


async def _upstream(
    proxy: FaultProxy, target: tuple[str, int], head: bytes, body: bytes
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter | None]:
    """The server's answer to `head`, whose body is still to be sent; or a remembered one, from nobody."""
    memory = proxy.remembered
    if memory is None or body not in memory:
        reader, writer = await asyncio.open_connection(*target)
        writer.write(head + body)
        if memory is None or not body:
            return reader, writer
        with closing(writer):
            memory[body] = await reader.read()
    known = asyncio.StreamReader(limit=_HEAD_BYTES_MAX)
    known.feed_data(memory[body])
    known.feed_eof()
    return known, None


def _rewritten(fault: Fault, head: bytes, body: bytes) -> bytes:
    assert fault.rewrite is not None
    status = int(head.split(b" ", 2)[1])
    return fault.rewrite(Answer(status, {"Content-Type": _header(head, b"content-type")}, body)).encoded()


def _spoilt(body: bytes, at: int) -> bytes:
    wrong = bytearray(body)
    if wrong:
        wrong[min(at, len(wrong) - 1)] ^= 1
    return bytes(wrong)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter | None, length: int | None) -> None:
    """Moves `length` bytes, or everything until the end; to nowhere without a writer."""
    left = length
    while left is None or left > 0:
        piece = await reader.read(_PIECE_BYTES if left is None else min(_PIECE_BYTES, left))
        if not piece:
            return
        if left is not None:
            left -= len(piece)
        if writer is not None:
            writer.write(piece)
            await writer.drain()


async def _drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, delay_seconds: float) -> None:
    while byte := await reader.read(1):
        await asyncio.sleep(delay_seconds)
        writer.write(byte)
        await writer.drain()


def _header(head: bytes, wanted: bytes) -> str:
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.strip().lower() == wanted:
            return value.strip().decode("latin-1")
    return ""


def _with_close(head: bytes) -> bytes:
    """The same head, but the connection ends with the message: its end then needs no parsing."""
    lines = [line for line in head[:-4].split(b"\r\n") if not line.lower().startswith(b"connection:")]
    return b"\r\n".join([*lines, b"Connection: close"]) + b"\r\n\r\n"


def reset(writer: asyncio.StreamWriter) -> None:
    """Ends the connection with a TCP reset, as a dying host or a rude middlebox does."""
    if not writer.transport.is_closing():
        sock = writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


def _refusal(status: str, code: str) -> bytes:
    body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>injected</Message></Error>".encode()
    head = (
        f"HTTP/1.1 {status}\r\nContent-Type: application/xml\r\nContent-Length: {len(body)}\r\n"
        "Connection: close\r\n\r\n"
    )
    return head.encode() + body


_REFUSALS = {
    Mode.UNAVAILABLE: _refusal("503 Service Unavailable", "SlowDown"),
    Mode.CONFLICT: _refusal("409 Conflict", "ConditionalRequestConflict"),
}
