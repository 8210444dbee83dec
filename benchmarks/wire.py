"""A bare HTTP connection, kept alive: what a client library costs must not count as the server's time."""

import http.client
import json
import time
from typing import Any, Self
from urllib.parse import urlsplit

TIMEOUT_SECONDS = 120.0


class Away(RuntimeError):
    """A 503: to be sent again after so many seconds."""

    def __init__(self, message: str, retry_after_seconds: float) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class Wire:
    """One connection of one tenant. Measures from the first byte sent to the last byte received."""

    def __init__(self, url: str, key: str | None = None) -> None:
        self._connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=TIMEOUT_SECONDS)
        self._headers = {} if key is None else {"X-Tenant-Key": key}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def send(
        self, method: str, path: str, body: bytes | None = None, *, content_type: str = "application/json"
    ) -> tuple[float, bytes]:
        """Seconds and the answer's body. Raises `Away`, or `RuntimeError` for another answer that is not a success."""
        headers = self._headers if body is None else self._headers | {"Content-Type": content_type}
        started = time.perf_counter()
        self._connection.request(method, path, body, headers)
        answer = self._connection.getresponse()
        content = answer.read()
        seconds = time.perf_counter() - started
        if answer.status >= 300:
            message = f"{method} {path}: {answer.status} {content[:500].decode(errors='replace')}"
            if answer.status == 503:
                raise Away(message, float(answer.headers["Retry-After"]))
            raise RuntimeError(message)
        return seconds, content

    def upload(self, name: str, content: bytes, *, content_type: str) -> tuple[float, str]:
        """Seconds and the document's id. The body is put together before the clock starts."""
        boundary = "benchmark-5f0c1d3a7b"
        head = (
            f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="{name}"\r\n'
            f"Content-Type: {content_type}\r\n\r\n"
        )
        body = head.encode() + content + f"\r\n--{boundary}--\r\n".encode()
        form = f"multipart/form-data; boundary={boundary}"
        seconds, answer = self.send("POST", "/api/v1/documents", body, content_type=form)
        return seconds, str(json.loads(answer)["document_id"])

    def end_state(self, document_id: str) -> dict[str, Any]:
        """The document once it is ready or failed, at most a minute later."""
        document: dict[str, Any] = json.loads(self.send("GET", f"/api/v1/documents/{document_id}?wait=60")[1])
        if document["status"] not in ("ready", "failed"):
            raise RuntimeError(f"{document['filename']} is still {document['status']} after a minute.")
        return document
