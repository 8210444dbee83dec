"""uvicorn's parser, in three things another. What is not HTTP is answered in the shape of all errors, not in plain
text. Whoever waits for a place learns that its caller has hung up without reading the body, as `receive` would. And at
the end an idle connection is not cut off at once: a request may be on its way in it, or in it and not read yet, and
would be lost (uvicorn's issue 2757).
"""

import asyncio
from collections.abc import MutableMapping
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from s4.entrypoints.bootstrap import RANDOM
from s4.kernel.ids import base32
from s4.platform.http.errors import error_response
from s4.platform.http.places import say_gone

_LAST_REQUEST_SECONDS = 0.2  # a request that was sent is here by then, in one data centre; every stop takes so long


class S4Protocol(HttpToolsProtocol):
    """No route, middleware or log line sees a request that is not HTTP."""

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

    def shutdown(self) -> None:
        """The server closes: busy connections after their answer, idle ones after a moment without a request."""
        if self.cycle is not None and not self.cycle.response_complete:
            super().shutdown()
            return
        self._unset_keepalive_if_required()
        self.timeout_keep_alive_task = self.loop.call_later(_LAST_REQUEST_SECONDS, self.timeout_keep_alive_handler)

    def send_400_response(self, msg: str) -> None:
        """`msg` is the parser's reason."""
        answer = error_response(400, "invalid_request", msg)
        answer.headers["X-Request-Id"] = f"req_{base32(RANDOM(16))}"
        answer.headers["Connection"] = "close"
        lines = [name + b": " + value + b"\r\n" for name, value in answer.raw_headers]
        self.transport.write(b"".join([STATUS_LINE[400], *lines, b"\r\n", bytes(answer.body)]))
        self.transport.close()
