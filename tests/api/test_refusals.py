"""What every route has in common when it says no: the envelope, sizes, broken uploads, credentials, unknown paths."""

import json
import time
from pathlib import Path

import httpx
import pytest

from tests.api.calls import (
    SOCKET_SECONDS_MAX,
    assert_refused,
    by_key,
    client,
    connect,
    form,
    listed,
    new_tenant,
    put,
    raw_exchange,
    raw_head,
)
from tests.api.conftest import UPLOAD_BYTES_MAX
from tests.factories.deployment import Deployment

# -- unknown paths and methods


@pytest.mark.parametrize("path", ["/nothing", "/documents/", "/documents/a/b", "/admin/nothing", "/searches"])
def test_an_unknown_path_answers_404_in_the_envelope(reader: httpx.Client, path: str) -> None:
    assert_refused(reader.get(path), 404, "not_found")


def test_the_root_answers_unknown_paths_in_the_envelope(deployment: Deployment, reader: httpx.Client) -> None:
    assert_refused(reader.get(f"{deployment.url}/nothing"), 404, "not_found")


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("DELETE", "/documents", {"GET", "POST"}),
        ("GET", "/search", {"POST"}),
        ("POST", "/documents/by-key/a/b", {"GET", "HEAD", "PUT", "DELETE"}),
        ("GET", "/documents/x/metadata", {"PATCH"}),
        ("PUT", "/documents/x", {"GET", "HEAD", "DELETE"}),
        ("DELETE", "/admin/tenants", {"GET", "POST"}),
        ("PROPFIND", "/documents", {"GET", "POST"}),
    ],
)
def test_a_wrong_method_answers_405_and_names_the_right_ones(
    reader: httpx.Client, method: str, path: str, allowed: set[str]
) -> None:
    answer = reader.request(method, path)
    assert_refused(answer, 405, "invalid_request")
    assert set(answer.headers["Allow"].split(", ")) == allowed


def test_a_misspelt_parameter_of_a_listing_is_refused_and_the_right_ones_are_named(reader: httpx.Client) -> None:
    error = assert_refused(reader.get("/documents", params={"statsu": "ready"}), 400, "invalid_request")
    assert error["details"]["parameter"] == "statsu"
    assert {"status", "metadata.<field>"} <= set(error["details"]["known"])
    assert reader.get("/documents", params={"status": "ready", "metadata.statsu": "ready"}).status_code == 200


# -- credentials


def test_a_key_is_taken_from_either_header(reader: httpx.Client, idle_deployment: Deployment) -> None:
    key = reader.headers["X-Tenant-Key"]
    for headers in ({"X-Tenant-Key": key}, {"Authorization": f"Bearer {key}"}, {"Authorization": f"bearer {key}"}):
        with client(idle_deployment, **headers) as caller:
            assert caller.get("/documents").status_code == 200


@pytest.mark.parametrize(
    "headers",
    [{}, {"X-Tenant-Key": ""}, {"X-Tenant-Key": "nonsense"}, {"X-Tenant-Key": "s4_" + "a" * 40},
     {"Authorization": "Basic czQ6czQ="}, {"Authorization": "Bearer"}, {"X-Admin-Key": "s4_" + "a" * 40}],
)  # fmt: skip
def test_without_a_valid_key_the_answer_is_401_with_a_challenge(
    idle_deployment: Deployment, headers: dict[str, str]
) -> None:
    with client(idle_deployment, **headers) as stranger:
        answer = stranger.get("/documents")
        assert_refused(answer, 401, "unauthorized")
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")
        assert_refused(stranger.get("/admin/tenants"), 401, "unauthorized")


def test_a_key_with_one_character_changed_is_refused(reader: httpx.Client, idle_deployment: Deployment) -> None:
    key = reader.headers["X-Tenant-Key"]
    for position in (4, len(key) // 2, len(key) - 1):
        other = "a" if key[position] != "a" else "b"
        with client(idle_deployment, **{"X-Tenant-Key": key[:position] + other + key[position + 1 :]}) as stranger:
            assert_refused(stranger.get("/documents"), 401, "unauthorized")


def test_two_different_keys_are_refused(reader: httpx.Client, idle_deployment: Deployment) -> None:
    with new_tenant(idle_deployment) as other:
        answer = reader.get("/documents", headers={"Authorization": f"Bearer {other.headers['X-Tenant-Key']}"})
    assert_refused(answer, 401, "unauthorized")


def test_a_stranger_is_refused_before_the_body_is_sent(deployment: Deployment) -> None:
    head = "POST /api/v1/documents HTTP/1.1\r\nHost: s4\r\nContent-Length: 1000000000\r\n\r\n"
    assert raw_exchange(deployment, head.encode(), until=lambda got: b'"unauthorized"' in got).startswith(
        b"HTTP/1.1 401"
    )


# -- JSON bodies


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"{", 422),
        (b"", 422),
        (b"[]", 422),
        (b'{"query": 1}', 422),
        (b'{"query": "x", "limt": 1}', 422),
        (b'{"query": "x", "min_score": NaN}', 400),
        (b'{"query": "\\ud800"}', 400),
        (b'{"query": "\\u0000"}', 400),
        ('{"query": "x"}'.encode("utf-16"), 400),
        (b'{"query": "\xff"}', 400),
        (b'{"query": "x", "filters": {"a": {"eq": 1}, "a": {"eq": 2}}}', 400),
        (b'{"query": ' + b"[" * 100_000, 400),
    ],
)
def test_a_malformed_json_body_is_refused_in_the_envelope(reader: httpx.Client, content: bytes, status: int) -> None:
    answer = reader.post("/search", content=content, headers={"Content-Type": "application/json"})
    assert_refused(answer, status, "invalid_request")


def test_a_refusal_names_the_field_and_does_not_repeat_what_was_sent(reader: httpx.Client) -> None:
    answer = reader.post("/search", json={"query": "a-secret-word" * 1000, "limit": "many"})
    error = assert_refused(answer, 422, "invalid_request")
    assert {field["field"] for field in error["details"]["fields"]} == {"body.query", "body.limit"}
    assert "a-secret-word" not in answer.text


def test_a_json_body_beyond_its_limit_is_too_large(reader: httpx.Client) -> None:
    answer = reader.post("/search", json={"query": "x" * (2 << 20)})
    assert_refused(answer, 413, "payload_too_large")


# -- too large uploads


def test_a_declared_length_beyond_the_limit_is_refused_before_the_body_is_sent(
    deployment: Deployment, tenant: httpx.Client
) -> None:
    length = f"Content-Length: {UPLOAD_BYTES_MAX + 1}"
    put_head = raw_head("PUT", "/documents/by-key/k", tenant, length)
    form_type = "Content-Type: multipart/form-data; boundary=line"
    post_head = raw_head("POST", "/documents", tenant, "Content-Length: 10000000", form_type)
    for head in (put_head, post_head):
        answer = raw_exchange(deployment, head, until=lambda got: b"payload_too_large" in got)
        assert answer.startswith(b"HTTP/1.1 413")
    assert listed(tenant) == set()


def test_a_file_of_just_the_limit_is_taken_and_one_byte_more_is_not(tenant: httpx.Client) -> None:
    largest = b"a" * UPLOAD_BYTES_MAX
    assert put(tenant, "raw", largest).status_code == 201
    answer = put(tenant, "chunked", b"")
    assert answer.status_code == 201
    refused = tenant.put(by_key("chunked"), content=iter([largest, b"a"]))
    error = assert_refused(refused, 413, "payload_too_large")
    assert error["details"]
    content, headers = form([("file", "a.bin", largest)])
    assert tenant.post("/documents", content=content, headers=headers).status_code == 201
    content, headers = form([("file", "a.bin", largest + b"a")])
    assert_refused(tenant.post("/documents", content=content, headers=headers), 413, "payload_too_large")
    assert tenant.get("/documents").json()["total"] == 3
    assert tenant.get(by_key("chunked")).json()["version"] == 1


# -- broken uploads


def content_files(deployment: Deployment) -> set[Path]:
    """Bytes of documents and of unfinished uploads in the object store's folder."""
    objects = deployment.data_dir / "objects"
    return {path for path in objects.rglob("*") if path.is_file() and path.suffix != ".json"}


def await_event(deployment: Deployment, event_type: str, after: int, **fields: object) -> None:
    """Returns when one more line of this kind than `after` was logged."""
    give_up_at = time.monotonic() + SOCKET_SECONDS_MAX
    while time.monotonic() < give_up_at:
        if len(matching(deployment, event_type, **fields)) > after:
            return
        time.sleep(0.02)
    raise AssertionError(f"no {event_type} with {fields}:\n{deployment.tail()}")


def matching(deployment: Deployment, event_type: str, **fields: object) -> list[dict[str, object]]:
    events = deployment.events(event_type)
    return [event for event in events if fields.items() <= event["details"].items()]


@pytest.mark.parametrize("way", ["raw", "form", "chunked"])
def test_an_upload_that_breaks_off_leaves_nothing(
    idle_deployment: Deployment, idle_tenant: httpx.Client, way: str
) -> None:
    put(idle_tenant, "k", "one")
    before = content_files(idle_deployment)
    seen = len(matching(idle_deployment, "http.request_finished", status=499))
    file = b"x" * 300_000
    if way == "form":
        content, headers = form([("file", "a.txt", file)])
        head = raw_head("POST", "/documents", idle_tenant, "Content-Length: 900000", *map(": ".join, headers.items()))
    elif way == "raw":
        content = file
        head = raw_head("PUT", "/documents/by-key/k", idle_tenant, "Content-Length: 900000")
    else:
        content = b"493E0\r\n" + file + b"\r\n"
        head = raw_head("PUT", "/documents/by-key/k", idle_tenant, "Transfer-Encoding: chunked")
    with connect(idle_deployment) as connection:
        connection.sendall(head + content)
    await_event(idle_deployment, "http.request_finished", seen, status=499)
    assert content_files(idle_deployment) == before
    page = idle_tenant.get("/documents").json()
    assert [(document["key"], document["version"]) for document in page["documents"]] == [("k", 1)]
    assert put(idle_tenant, "k", "two").status_code == 200


def test_an_upload_that_falls_silent_is_refused_and_leaves_nothing(
    idle_deployment: Deployment, idle_tenant: httpx.Client
) -> None:
    before = content_files(idle_deployment)
    head = raw_head("PUT", "/documents/by-key/k", idle_tenant, "Content-Length: 900000")
    answer = raw_exchange(idle_deployment, head + b"x" * 1000, until=lambda got: b"}}" in got)
    assert answer.startswith(b"HTTP/1.1 400")
    error = json.loads(answer.partition(b"\r\n\r\n")[2])["error"]
    assert (error["code"], "silent" in error["message"]) == ("invalid_request", True)
    assert listed(idle_tenant) == set()
    assert content_files(idle_deployment) == before


# -- what is not HTTP at all


@pytest.mark.parametrize(
    "sent",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET /health/live HTTP/1.1\r\nno colon\r\n\r\n",
        b"\r\n\r\nnonsense\r\n\r\n",
    ],
    ids=["TLS", "a header without a colon", "nonsense"],
)
def test_what_is_not_http_is_refused_in_the_envelope(idle_deployment: Deployment, sent: bytes) -> None:
    answer = raw_exchange(idle_deployment, sent)

    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    assert {b"content-type: application/json", b"connection: close"} <= set(head.lower().split(b"\r\n"))
    assert json.loads(body)["error"]["code"] == "invalid_request"
    assert json.loads(body)["error"]["message"]
