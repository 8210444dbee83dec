"""What is not HTTP is answered in the shape of all errors; uvicorn would answer in plain text. And whoever waits for a
place learns that its caller has hung up without reading the body, as `receive` would.
"""

import asyncio
from collections.abc import MutableMapping
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from s4.entrypoints.bootstrap import RANDOM
from s4.kernel.ids import base32
from s4.platform.http.errors import error_response
from s4.platform.http.places import say_gone


class S4Protocol(HttpToolsProtocol):
    """uvicorn's parser with our words. No route, middleware or log line sees a request that is none."""

    _gone: asyncio.Future[None]

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(transport)
        self._gone = self.loop.create_future()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if not self._gone.done():
            self._gone.set_result(None)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        say_gone(cast(MutableMapping[str, Any], self.scope), self._gone)

    def send_400_response(self, msg: str) -> None:
        """`msg` is the parser's reason."""
        answer = error_response(400, "invalid_request", msg)
        answer.headers["X-Request-Id"] = f"req_{base32(RANDOM(16))}"
        answer.headers["Connection"] = "close"
        lines = [name + b": " + value + b"\r\n" for name, value in answer.raw_headers]
        self.transport.write(b"".join([STATUS_LINE[400], *lines, b"\r\n", bytes(answer.body)]))
        self.transport.close()
