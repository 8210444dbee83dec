"""uvicorn's parser, in two things another: what is not HTTP is answered in the shape of all errors, not in plain text;
and at the end an idle connection is not cut off at once. A request may be on its way in it, or in it and not read yet:
that would be lost (uvicorn's issue 2757).
"""

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from s4.entrypoints.bootstrap import RANDOM
from s4.kernel.ids import base32
from s4.platform.http.errors import error_response

_LAST_REQUEST_SECONDS = 0.2  # a request that was sent is here by then, in one data centre; every stop takes so long


class S4Protocol(HttpToolsProtocol):
    """No route, middleware or log line sees a request that is not HTTP."""

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
