"""`POST /documents`: the form, what it answers, what it refuses; nothing of a refused upload remains."""

import hashlib
import json

import httpx
import pytest

from tests.api.calls import (
    DOCUMENT_FIELDS,
    assert_refused,
    assert_utc,
    ended,
    form,
    listed,
    upload,
    upload_ready,
)


def test_an_upload_answers_with_every_field_of_the_contract(tenant: httpx.Client) -> None:
    content = "Ünïcode and rockets 🚀".encode()
    answer = tenant.post(
        "/documents",
        data={"key": "notes/rocket.txt", "metadata": '{"category": "space", "year": 2026}'},
        files={"file": ("rocket.txt", content, "text/plain")},
    )
    assert answer.status_code == 201
    document = answer.json()
    assert set(document) >= DOCUMENT_FIELDS
    assert document["document_id"].startswith("doc_")
    assert document["key"] == "notes/rocket.txt"
    assert document["filename"] == "rocket.txt"
    assert document["content_type"] == "text/plain"
    assert document["size"] == len(content)
    assert document["sha256"] == hashlib.sha256(content).hexdigest()
    assert document["version"] == 1
    assert document["metadata"] == {"category": "space", "year": 2026}
    assert document["status"] == "processing"
    assert_utc(document["uploaded_at"])
    assert answer.headers["ETag"] == '"r1"'


def test_every_answer_names_its_request_and_the_api_version(tenant: httpx.Client) -> None:
    minted = tenant.get("/documents")
    assert minted.headers["X-Request-Id"].startswith("req_")
    assert minted.headers["X-S4-API-Version"] == "1"
    given = tenant.get("/documents", headers={"X-Request-Id": "mine-42"})
    assert given.headers["X-Request-Id"] == "mine-42"
    strange = tenant.get("/documents", headers={"X-Request-Id": "mine 42"})
    assert strange.headers["X-Request-Id"].startswith("req_")


def test_without_a_key_each_upload_is_a_document_of_its_own(tenant: httpx.Client) -> None:
    first, second = upload(tenant, "the same"), upload(tenant, "the same")
    assert first["key"] is None
    assert first["document_id"] != second["document_id"]


def test_both_prefixes_lead_to_the_same_documents(tenant: httpx.Client) -> None:
    document_id = upload(tenant, "one", key="k")["document_id"]
    root = str(tenant.base_url).removesuffix("/v1/")
    short = tenant.get(f"{root}/documents/{document_id}")
    assert short.json()["document_id"] == document_id
    assert tenant.get(f"{root}/documents/by-key/k").json()["document_id"] == document_id
    posted = tenant.post(f"{root}/documents", files={"file": ("two.txt", b"two")})
    assert posted.status_code == 201
    assert listed(tenant) == {document_id, posted.json()["document_id"]}


def test_metadata_may_stand_before_or_after_the_file(tenant: httpx.Client) -> None:
    file, metadata = ("file", "a.txt", "text"), ("metadata", None, '{"n": 1}')
    for parts in ([file, metadata], [metadata, file]):
        content, headers = form(parts)
        answer = tenant.post("/documents", content=content, headers=headers)
        assert answer.json()["metadata"] == {"n": 1}


def test_a_key_after_the_file_is_refused_with_advice_and_leaves_nothing(tenant: httpx.Client) -> None:
    content, headers = form([("file", "a.txt", "text"), ("key", None, "late")])
    error = assert_refused(tenant.post("/documents", content=content, headers=headers), 400, "invalid_request")
    assert "before the file" in error["message"]
    assert listed(tenant) == set()


def test_a_key_that_exists_is_a_conflict_and_changes_nothing(tenant: httpx.Client) -> None:
    first = upload(tenant, "first", key="k", metadata={"n": 1})
    again = tenant.post("/documents", data={"key": "k"}, files={"file": ("b.txt", b"second")})
    error = assert_refused(again, 409, "conflict")
    assert error["details"]["document_id"] == first["document_id"]
    kept = tenant.get("/documents/by-key/k").json()
    assert (kept["version"], kept["sha256"], kept["metadata"]) == (first["version"], first["sha256"], {"n": 1})


def test_a_key_is_free_again_after_its_document_was_deleted(tenant: httpx.Client) -> None:
    first = upload(tenant, "first", key="k")
    assert tenant.delete("/documents/by-key/k").status_code == 204
    second = upload(tenant, "second", key="k")
    assert second["version"] > first["version"]
    assert tenant.get(f"/documents/{second['document_id']}/download").content == b"second"


@pytest.mark.parametrize(
    "metadata",
    ["{", "[1]", '"text"', "null", '{"a": NaN}', '{"a": 1e999}', '{"a": "\\u0000"}', '{"a": "\\ud800"}', '{"": 1}'],
)
def test_metadata_that_is_no_storable_json_object_is_refused(reader: httpx.Client, metadata: str) -> None:
    answer = reader.post("/documents", data={"metadata": metadata}, files={"file": ("a.txt", b"x")})
    assert_refused(answer, 400, "invalid_request")
    assert listed(reader) == set()


def test_metadata_that_is_too_large_or_too_deep_is_refused(reader: httpx.Client) -> None:
    deep = json.loads('{"a":' * 9 + "1" + "}" * 9)
    for metadata in ({"a": "x" * (64 << 10)}, deep, {"a": list(range(1001))}):
        answer = reader.post("/documents", data={"metadata": json.dumps(metadata)}, files={"file": ("a.txt", b"x")})
        assert_refused(answer, 400, "invalid_request")
    assert listed(reader) == set()


@pytest.mark.parametrize(
    "parts",
    [
        [("metadata", None, "{}")],
        [("file", "a.txt", "one"), ("file", "b.txt", "two")],
        [("file", "a.txt", "one"), ("metdata", None, "{}")],
        [("metadata", None, "{}"), ("metadata", None, "{}"), ("file", "a.txt", "one")],
        [("file", None, "a text field, not a file")],
    ],
    ids=["no file", "two files", "unknown part", "a field twice", "file without a name"],
)
def test_a_form_that_is_not_one_file_and_known_fields_is_refused(
    reader: httpx.Client, parts: list[tuple[str, str | None, str]]
) -> None:
    content, headers = form(parts)
    assert_refused(reader.post("/documents", content=content, headers=headers), 400, "invalid_request")
    assert listed(reader) == set()


def test_a_body_that_is_no_form_is_an_unsupported_media_type(reader: httpx.Client) -> None:
    assert_refused(reader.post("/documents", json={"file": "x"}), 415, "unsupported_media_type")
    assert_refused(reader.post("/documents", content=b"x"), 415, "unsupported_media_type")


def test_a_form_that_is_cut_off_is_refused_and_leaves_nothing(reader: httpx.Client) -> None:
    content, headers = form([("file", "a.txt", "text")])
    answer = reader.post("/documents", content=content[:-8], headers=headers)
    assert_refused(answer, 400, "invalid_request")
    assert listed(reader) == set()


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("Bericht für März 📊.txt", "Bericht für März 📊.txt"),
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\a\\report.txt", "report.txt"),
        ("x" * 300 + ".txt", "x" * 251 + ".txt"),
    ],
)
def test_a_file_name_is_kept_without_its_path(tenant: httpx.Client, sent: str, kept: str) -> None:
    content, headers = form([("file", sent, "text")])
    assert tenant.post("/documents", content=content, headers=headers).json()["filename"] == kept


def test_a_missing_content_type_is_guessed_from_the_name(tenant: httpx.Client) -> None:
    for filename, expected in [
        ("a.md", "text/markdown"),
        ("a.pdf", "application/pdf"),
        ("a.unknown", "application/octet-stream"),
    ]:
        content, headers = form([("file", filename, "x")])
        document = tenant.post("/documents", content=content, headers=headers).json()
        assert document["content_type"] == expected


def test_any_bytes_come_back_unchanged(tenant: httpx.Client) -> None:
    content = bytes(range(256)) * 300 + b"\r\n--line--\r\n--line"
    document = upload(tenant, content, filename="a.bin", content_type="application/octet-stream")
    assert tenant.get(f"/documents/{document['document_id']}/download").content == content


def test_a_document_without_text_ends_failed_and_stays_downloadable(tenant: httpx.Client) -> None:
    document = ended(tenant, upload(tenant, b"", filename="empty.txt")["document_id"])
    assert document["status"] == "failed"
    assert document["error"]["code"] == "empty"
    assert document["error"]["message"]
    download = tenant.get(f"/documents/{document['document_id']}/download")
    assert (download.status_code, download.content) == (200, b"")


def test_a_ready_document_says_what_became_of_it(tenant: httpx.Client) -> None:
    document = upload_ready(tenant, "A few words about tides.")
    assert document["chunks"] == 1
    assert document["error"] is None
    assert document["progress"] is None
    assert assert_utc(document["indexed_at"]) >= assert_utc(document["uploaded_at"])
