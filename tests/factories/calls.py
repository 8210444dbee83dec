"""What tests ask of a running S4 over and over, as a tenant: upload, wait, search, list."""

import json
import time
from collections.abc import Iterable, Mapping
from typing import Any

import httpx

WAIT_SECONDS_MAX = 60.0
_ONE_WAIT_SECONDS = 20


def put(
    tenant: httpx.Client, key: str, content: bytes | str, metadata: Mapping[str, Any] | None = None, **headers: str
) -> httpx.Response:
    """Stores or replaces by key, as plain text."""
    said = {"Content-Type": "text/plain", "X-S4-Metadata": json.dumps(metadata or {}), **headers}
    return tenant.put(f"/documents/by-key/{key}", content=content, headers=said)


def post(
    tenant: httpx.Client,
    filename: str,
    content: bytes,
    metadata: Mapping[str, Any] | None = None,
    *,
    idempotency_key: str | None = None,
) -> httpx.Response:
    """Uploads a form with a file."""
    return tenant.post(
        "/documents",
        data={"metadata": json.dumps(metadata or {})},
        files={"file": (filename, content)},
        headers={"Idempotency-Key": idempotency_key} if idempotency_key is not None else {},
    )


def stored(answer: httpx.Response) -> dict[str, Any]:
    """The document of an upload that succeeded."""
    assert answer.status_code in (200, 201), answer.text
    document: dict[str, Any] = answer.json()
    return document


def detail(tenant: httpx.Client, document_id: str) -> dict[str, Any]:
    answer = tenant.get(f"/documents/{document_id}")
    assert answer.status_code == 200, answer.text
    document: dict[str, Any] = answer.json()
    return document


def wait(tenant: httpx.Client, document_id: str, *, seconds_max: float = WAIT_SECONDS_MAX) -> dict[str, Any]:
    """The document in its end state."""
    give_up_at = time.monotonic() + seconds_max
    while True:
        answer = tenant.get(f"/documents/{document_id}", params={"wait": _ONE_WAIT_SECONDS})
        assert answer.status_code == 200, answer.text
        document: dict[str, Any] = answer.json()
        if document["status"] != "processing":
            return document
        assert time.monotonic() < give_up_at, f"still processing: {document}"


def wait_all(
    tenant: httpx.Client, document_ids: Iterable[str], *, seconds_max: float = WAIT_SECONDS_MAX
) -> dict[str, dict[str, Any]]:
    return {document_id: wait(tenant, document_id, seconds_max=seconds_max) for document_id in document_ids}


def search(tenant: httpx.Client, query: str, **options: Any) -> dict[str, Any]:
    answer = tenant.post("/search", json={"query": query, "mode": "keyword", **options})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def found(tenant: httpx.Client, query: str, **options: Any) -> list[str]:
    """Ids of the documents that a keyword search answers with."""
    return [result["document_id"] for result in search(tenant, query, **options)["results"]]


def everything(tenant: httpx.Client) -> dict[str, dict[str, Any]]:
    """The whole listing by document id."""
    listed: dict[str, dict[str, Any]] = {}
    cursor: str | None = None
    while True:
        answer = tenant.get("/documents", params={"limit": 100, **({"cursor": cursor} if cursor else {})})
        assert answer.status_code == 200, answer.text
        page = answer.json()
        for document in page["documents"]:
            assert document["document_id"] not in listed, "listed twice"
            listed[document["document_id"]] = document
        cursor = page["next_cursor"]
        if cursor is None:
            assert page["total"] == len(listed)
            return listed
