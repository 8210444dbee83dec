"""What tests over HTTP say again and again."""

import functools
import json
import socket
import ssl
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote, urlsplit

import httpx
from prometheus_client.parser import text_string_to_metric_families

from tests.factories.deployment import ADMIN_KEY, Deployment

DOCUMENT_FIELDS = {
    "document_id", "key", "filename", "content_type", "detected_type", "size", "sha256", "version", "metadata",
    "uploaded_at", "status",
}  # fmt: skip
DETAIL_FIELDS = DOCUMENT_FIELDS | {"chunks", "pages", "last_accessed", "indexed_at", "error", "progress"}
NEVER_EXISTED = "doc_" + "a" * 26
SOCKET_SECONDS_MAX = 30


@functools.cache
def _tls() -> ssl.SSLContext:
    """One for all clients: each would load the certificates anew, although none of them speaks TLS."""
    return ssl.create_default_context()


def client(deployment: Deployment, **headers: str) -> httpx.Client:
    return httpx.Client(base_url=deployment.api, headers=headers, timeout=120, verify=_tls())


def new_tenant(deployment: Deployment, name: str = "Acme") -> httpx.Client:
    """A client that speaks for a new tenant."""
    with client(deployment, **{"X-Admin-Key": ADMIN_KEY}) as admin:
        answer = admin.post("/admin/tenants", json={"name": name})
    assert answer.status_code == 201, answer.text
    return client(deployment, **{"X-Tenant-Key": answer.json()["api_key"]})


def upload(
    tenant: httpx.Client,
    content: str | bytes,
    *,
    filename: str = "note.txt",
    content_type: str = "text/plain",
    key: str | None = None,
    metadata: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """A new document, as `POST /documents` answers it."""
    fields = {"key": key, "metadata": json.dumps(metadata) if metadata is not None else None}
    data = {name: value for name, value in fields.items() if value is not None}
    raw = content.encode() if isinstance(content, str) else content
    answer = tenant.post("/documents", data=data, files={"file": (filename, raw, content_type)})
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def put(tenant: httpx.Client, key: str, content: str | bytes, **headers: str) -> httpx.Response:
    return tenant.put(by_key(key), content=content, headers={"Content-Type": "text/plain", **headers})


def by_key(key: str) -> str:
    """The path; slashes stand as they are."""
    return f"/documents/by-key/{quote(key)}"


def ended(tenant: httpx.Client, document_id: str) -> dict[str, Any]:
    """The document as soon as it is ready or failed."""
    answer = tenant.get(f"/documents/{document_id}", params={"wait": 60})
    assert answer.status_code == 200, answer.text
    document: dict[str, Any] = answer.json()
    assert document["status"] in ("ready", "failed"), document
    return document


def upload_ready(tenant: httpx.Client, content: str | bytes, **options: Any) -> dict[str, Any]:
    """A new document that is searchable."""
    document = ended(tenant, upload(tenant, content, **options)["document_id"])
    assert document["status"] == "ready", document
    return document


def search(tenant: httpx.Client, query: str, **options: Any) -> dict[str, Any]:
    answer = tenant.post("/search", json={"query": query, **options})
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def found(tenant: httpx.Client, query: str, **options: Any) -> set[str]:
    """Ids of the documents found."""
    return {result["document_id"] for result in search(tenant, query, limit=100, **options)["results"]}


def listed(tenant: httpx.Client, **params: Any) -> set[str]:
    """Ids of the documents listed."""
    answer = tenant.get("/documents", params=params)
    assert answer.status_code == 200, answer.text
    return {document["document_id"] for document in answer.json()["documents"]}


def assert_refused(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """The whole error envelope. Answers with what stands under `error`."""
    assert answer.status_code == status, answer.text
    body = answer.json()
    assert set(body) == {"error"}
    error: dict[str, Any] = body["error"]
    assert set(error) == {"code", "message", "details"}
    assert (error["code"], type(error["message"]), type(error["details"])) == (code, str, dict)
    assert error["message"]
    assert answer.headers["X-Request-Id"]
    assert answer.headers["X-S4-API-Version"] == "1"
    return error


def assert_utc(text: str) -> datetime:
    """RFC 3339 in UTC."""
    moment = datetime.fromisoformat(text)
    assert moment.utcoffset() == timedelta(0)
    assert "T" in text
    return moment


def form(parts: Iterable[tuple[str, str | None, str | bytes]]) -> tuple[bytes, dict[str, str]]:
    """Parts as (name, filename or None, content) in this order: body and headers."""
    body = b""
    for name, filename, content in parts:
        named = f'; filename="{filename}"' if filename is not None else ""
        raw = content.encode() if isinstance(content, str) else content
        body += f'--line\r\nContent-Disposition: form-data; name="{name}"{named}\r\n\r\n'.encode() + raw + b"\r\n"
    return body + b"--line--\r\n", {"Content-Type": "multipart/form-data; boundary=line"}


def metric(deployment: Deployment, name: str, **labels: str) -> float:
    """A sample of the API's; 0 before the first event."""
    wanted = labels | {"process": "api"}
    for family in text_string_to_metric_families(
        httpx.get(f"{deployment.url}/metrics", verify=_tls(), timeout=60).text
    ):
        for sample in family.samples:
            if (sample.name, sample.labels) == (name, wanted):
                return sample.value
    return 0.0


def raw_exchange(deployment: Deployment, sent: bytes, *, until: Callable[[bytes], bool] | None = None) -> bytes:
    """Sends `sent` as it stands and reads until the server closes or `until` is content."""
    with connect(deployment) as connection:
        connection.sendall(sent)
        received = b""
        while not (until and until(received)) and (part := connection.recv(65536)):
            received += part
        return received


def connect(deployment: Deployment) -> socket.socket:
    address = urlsplit(deployment.url)
    assert address.hostname is not None
    return socket.create_connection((address.hostname, address.port or 80), timeout=SOCKET_SECONDS_MAX)


def raw_head(method: str, path: str, tenant: httpx.Client, *headers: str) -> bytes:
    """The head of a request, for `raw_exchange`."""
    lines = [f"{method} /api/v1{path} HTTP/1.1", "Host: s4", f"X-Tenant-Key: {tenant.headers['X-Tenant-Key']}"]
    return "\r\n".join([*lines, *headers, "", ""]).encode()
