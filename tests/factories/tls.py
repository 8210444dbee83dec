"""An authority made on the fly, and doors that put TLS before servers that speak none.

The servers of the tests come from wheels that were built without it. What S4 does is the same: its libraries negotiate
with a door in this process, which verifies nothing and hands on every byte.
"""

import asyncio
import contextlib
import ssl
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import trustme

from tests.factories.loops import in_thread
from tests.fault_proxy import accepting

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
    context = authority.context()

    async def attend(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if postgresql:
            await reader.readexactly(_POSTGRESQL_HELLO_BYTES)
            writer.write(b"S")
            await writer.start_tls(context)
        inner_reader, inner_writer = await asyncio.open_connection(target.hostname, target.port)
        with contextlib.closing(inner_writer):
            await asyncio.wait(
                [
                    asyncio.create_task(_pump(reader, inner_writer)),
                    asyncio.create_task(_pump(inner_reader, writer)),
                ],
                return_when=asyncio.FIRST_COMPLETED,
            )

    with in_thread(accepting(attend, tls=None if postgresql else context)) as port:
        yield f"127.0.0.1:{port}"


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while piece := await reader.read(_PIECE_BYTES):
            writer.write(piece)
            await writer.drain()
