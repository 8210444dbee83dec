"""A small real endpoint for webhooks: answers what it is told to and keeps what it got."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Received:
    headers: dict[str, str]
    body: bytes

    @property
    def event(self) -> dict[str, Any]:
        return dict(json.loads(self.body))


_SECONDS_MAX = 120  # a bound for what hangs, on a machine that is busy with other tests

Answer = Callable[[Received], "int | tuple[int, str] | None"]
"""Status, or status and further header lines; None hangs until the receiver closes."""


@dataclass
class Receiver:
    """`answer` decides for each request; `got` holds them in order; `connections` counts also what sent nothing."""

    port: int = 0
    answer: Answer = lambda _: 200
    got: list[Received] = field(default_factory=list)
    connections: int = 0
    arrived: asyncio.Condition = field(default_factory=asyncio.Condition)
    closing: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    async def until(self, count: int) -> list[Received]:
        """As soon as so many came."""
        async with asyncio.timeout(_SECONDS_MAX), self.arrived:
            await self.arrived.wait_for(lambda: len(self.got) >= count)
        return self.got

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            headers = dict(line.split(": ", 1) for line in head[1:] if line)
            headers = {name.lower(): value for name, value in headers.items()}
            received = Received(headers, await reader.readexactly(int(headers["content-length"])))
            async with self.arrived:
                self.got.append(received)
                self.arrived.notify_all()
            said = self.answer(received)
            if said is None:
                await self.closing.wait()
            else:
                status, more = said if isinstance(said, tuple) else (said, "")
                writer.write(f"HTTP/1.1 {status} X\r\nContent-Length: 0\r\nConnection: close\r\n{more}\r\n".encode())
                await writer.drain()
        writer.close()


@contextlib.asynccontextmanager
async def receiving(answer: Answer = lambda _: 200) -> AsyncIterator[Receiver]:
    receiver = Receiver(answer=answer)
    server = await asyncio.start_server(receiver.serve, "127.0.0.1", 0)
    receiver.port = server.sockets[0].getsockname()[1]
    try:
        yield receiver
    finally:
        receiver.closing.set()
        server.close()
