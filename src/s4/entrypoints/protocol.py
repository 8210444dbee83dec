"""What is not HTTP is answered in the shape of all errors; uvicorn would answer in plain text."""

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from s4.entrypoints.bootstrap import RANDOM
from s4.kernel.ids import base32
from s4.platform.http.errors import error_response


class S4Protocol(HttpToolsProtocol):
    """uvicorn's parser with our words. No route, middleware or log line sees such a request."""

    def send_400_response(self, msg: str) -> None:
        """`msg` is the parser's reason."""
        answer = error_response(400, "invalid_request", msg)
        answer.headers["X-Request-Id"] = f"req_{base32(RANDOM(16))}"
        answer.headers["Connection"] = "close"
        lines = [name + b": " + value + b"\r\n" for name, value in answer.raw_headers]
        self.transport.write(b"".join([STATUS_LINE[400], *lines, b"\r\n", bytes(answer.body)]))
        self.transport.close()
