"""A faulty network between S4 and a server that speaks no HTTP: PostgreSQL, Redis.

Bytes pass through unread; what happens to them is one trouble at a time, for all connections that there are and come.

    async with tcp_proxy("127.0.0.1", 5432) as proxy:
        proxy.begin(Trouble.FREEZE)
        ...
        proxy.heal()

The methods may be called from any thread.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import StrEnum

from tests.fault_proxy import accepting, reset

_PIECE_BYTES = 64 * 1024
_DRIP_BYTES = 64  # of a slow line, each after `delay_seconds`


class Trouble(StrEnum):
    LATENCY = "latency"  # every piece comes `delay_seconds` late
    DRIP = "drip"  # what the server says comes in small pieces, each `delay_seconds` late
    FREEZE = "freeze"  # nothing moves until healed; then it goes on
    FORGET = "forget"  # the connections of this moment never move again, and nobody is told; new ones are good
    HALF = "half"  # as FORGET, for each connection in the middle of the next thing that the caller says
    RESET = "reset"  # the connections of this moment are reset; new ones are good
    CUT = "cut"  # a connection is reset in the middle of what the server says, after `after_bytes`
    DOWN = "down"  # connections are reset, and so is every new one until healed


@dataclass(eq=False)
class _Connection:
    """The caller's side and the server's."""

    writers: tuple[asyncio.StreamWriter, asyncio.StreamWriter]
    forgotten: bool = False
    answered_bytes: int = 0
    """Since the present trouble began."""

    def reset(self) -> None:
        for writer in self.writers:
            reset(writer)


@dataclass
class TcpProxy:
    """What a test holds. `port` is that of the proxy on the loopback interface."""

    port: int = 0
    trouble: Trouble | None = None
    delay_seconds: float = 0.0
    after_bytes: int = 0
    hits: int = 0
    """Pieces and connections that a trouble took, since the start."""
    _connections: set[_Connection] = field(default_factory=set)
    _thawed: asyncio.Event = field(default_factory=asyncio.Event)
    _loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.get_running_loop)

    def begin(self, trouble: Trouble, *, delay_seconds: float = 0.0, after_bytes: int = 0) -> None:
        self.delay_seconds, self.after_bytes, self.trouble = delay_seconds, after_bytes, trouble
        self._loop.call_soon_threadsafe(self._strike, trouble)

    def heal(self) -> None:
        self.trouble = None
        self._loop.call_soon_threadsafe(self._thawed.set)

    def _strike(self, trouble: Trouble) -> None:
        if trouble is Trouble.FREEZE:
            self._thawed.clear()
        else:
            self._thawed.set()
        for connection in list(self._connections):
            connection.answered_bytes = 0
            if trouble is Trouble.FORGET:
                connection.forgotten = True
                self.hits += 1
            elif trouble in (Trouble.RESET, Trouble.DOWN):
                connection.reset()
                self.hits += 1


@asynccontextmanager
async def tcp_proxy(host: str, port: int) -> AsyncIterator[TcpProxy]:
    """A proxy in front of `host:port` that passes bytes on until the block ends."""
    proxy = TcpProxy()
    proxy._thawed.set()

    async def attend(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if proxy.trouble is Trouble.DOWN:
            proxy.hits += 1
            return reset(writer)
        up_reader, up_writer = await asyncio.open_connection(host, port)
        connection = _Connection((writer, up_writer))
        proxy._connections.add(connection)
        ways = [
            asyncio.create_task(_pass_on(proxy, connection, reader, up_writer, answers=False)),
            asyncio.create_task(_pass_on(proxy, connection, up_reader, writer, answers=True)),
        ]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            proxy._connections.discard(connection)
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            up_writer.close()

    async with accepting(attend) as proxy.port:
        yield proxy


async def _pass_on(
    proxy: TcpProxy,
    connection: _Connection,
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    *,
    answers: bool,
) -> None:
    while piece := await reader.read(_PIECE_BYTES):
        proxy.hits += proxy.trouble is not None
        if connection.forgotten:
            await asyncio.Event().wait()  # for ever
        await proxy._thawed.wait()
        if proxy.trouble is Trouble.LATENCY:
            await asyncio.sleep(proxy.delay_seconds)
        if not answers and proxy.trouble is Trouble.HALF:
            connection.forgotten = True
            writer.write(piece[: len(piece) // 2])
            continue
        if answers and proxy.trouble is Trouble.CUT:
            connection.answered_bytes += len(piece)
            if connection.answered_bytes > proxy.after_bytes:
                writer.write(piece[: len(piece) // 2])
                return connection.reset()
        while answers and proxy.trouble is Trouble.DRIP and len(piece) > _DRIP_BYTES:
            writer.write(piece[:_DRIP_BYTES])
            piece = piece[_DRIP_BYTES:]
            await asyncio.sleep(proxy.delay_seconds)
        writer.write(piece)
        await writer.drain()
    return None
