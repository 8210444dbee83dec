"""An authority made on the fly, and doors that put TLS before servers that speak none.

The servers of the tests come from wheels that were built without it. What S4 does is the same: its libraries negotiate
with a door in this process, which verifies nothing and hands on every byte.
"""

import asyncio
import contextlib
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import trustme

_PIECE_BYTES = 64 * 1024
_POSTGRESQL_HELLO_BYTES = 8  # SSLRequest: PostgreSQL's clients ask in the clear whether they may begin TLS


class Authority:
    """Signs for the loopback address. `file` is what its friends trust."""

    def __init__(self, folder: Path) -> None:
        self._authority = trustme.CA()
        self._certificate = self._authority.issue_cert("127.0.0.1", "localhost")
        self.file, self.certificate, self.key = folder / "ca.pem", folder / "server.pem", folder / "server.key"
        self._authority.cert_pem.write_to_path(str(self.file))
        self._certificate.private_key_pem.write_to_path(str(self.key))
        for part in self._certificate.cert_chain_pems:
            part.write_to_path(str(self.certificate), append=True)

    def context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._certificate.configure_cert(context)
        return context

    def trusting(self) -> ssl.SSLContext:
        """For a client."""
        return ssl.create_default_context(cafile=self.file)


@contextlib.contextmanager
def tls_door(authority: Authority, upstream: str, *, postgresql: bool = False) -> Iterator[str]:
    """`127.0.0.1:port`, where TLS is spoken before `upstream` (any URL with a host and a port)."""
    target = urlsplit(upstream)
    opened, loop = threading.Event(), asyncio.new_event_loop()
    port, stop = 0, asyncio.Event()

    async def serve() -> None:
        nonlocal port
        door = _Door((target.hostname or "", target.port or 0), authority.context(), postgresql)
        server = await asyncio.start_server(door.admit, "127.0.0.1", 0, ssl=None if postgresql else door.context)
        port = server.sockets[0].getsockname()[1]
        opened.set()
        await stop.wait()
        server.close()
        for task in list(door.connections):
            task.cancel()
        await asyncio.gather(*door.connections, return_exceptions=True)

    thread = threading.Thread(target=loop.run_until_complete, args=(serve(),), daemon=True)
    thread.start()
    assert opened.wait(timeout=10)
    try:
        yield f"127.0.0.1:{port}"
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(timeout=10)
        loop.close()


class _Door:
    def __init__(self, target: tuple[str, int], context: ssl.SSLContext, postgresql: bool) -> None:
        self._target = target
        self._postgresql = postgresql
        self.context = context
        self.connections: set[asyncio.Task[None]] = set()

    def admit(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._pass(reader, writer))
        self.connections.add(task)
        task.add_done_callback(self.connections.discard)

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, ssl.SSLError, asyncio.IncompleteReadError), contextlib.closing(writer):
            if self._postgresql:
                await reader.readexactly(_POSTGRESQL_HELLO_BYTES)
                writer.write(b"S")
                await writer.start_tls(self.context)
            inner_reader, inner_writer = await asyncio.open_connection(*self._target)
            with contextlib.closing(inner_writer):
                await asyncio.wait(
                    [
                        asyncio.create_task(_pump(reader, inner_writer)),
                        asyncio.create_task(_pump(inner_reader, writer)),
                    ],
                    return_when=asyncio.FIRST_COMPLETED,
                )


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while piece := await reader.read(_PIECE_BYTES):
            writer.write(piece)
            await writer.drain()
