"""`/documents/by-key/{key}`: raw uploads, replacement, preconditions, and keys of every spelling."""

import httpx
import pytest

from tests.api.calls import DETAIL_FIELDS, DOCUMENT_FIELDS, assert_refused, by_key, ended, listed, put


def test_a_put_creates_with_201_and_replaces_with_200(tenant: httpx.Client) -> None:
    created = put(tenant, "a/b.txt", "one", **{"X-S4-Metadata": '{"n": 1}'})
    assert created.status_code == 201
    first = created.json()
    assert set(first) >= DOCUMENT_FIELDS
    assert (first["key"], first["filename"], first["content_type"]) == ("a/b.txt", "b.txt", "text/plain")
    assert (first["size"], first["metadata"], first["status"]) == (3, {"n": 1}, "processing")
    assert created.headers["ETag"] == '"r1"'

    replaced = put(tenant, "a/b.txt", "three")
    assert replaced.status_code == 200
    second = replaced.json()
    assert second["document_id"] == first["document_id"]
    assert (second["size"], second["version"], second["metadata"]) == (5, 2, {})
    assert replaced.headers["ETag"] == '"r2"'
    assert tenant.get(f"/documents/{first['document_id']}/download").content == b"three"
    assert listed(tenant) == {first["document_id"]}


def test_a_put_again_after_a_delete_creates(tenant: httpx.Client) -> None:
    put(tenant, "k", "one")
    tenant.delete(by_key("k"))
    assert put(tenant, "k", "two").status_code == 201


def test_a_put_takes_a_display_name_and_utf8_metadata_in_headers(tenant: httpx.Client) -> None:
    headers = [
        (b"X-S4-Filename", "Bericht März 📊.md".encode()),
        (b"X-S4-Metadata", '{"city": "Zürich 🏔"}'.encode()),
        (b"Content-Type", b"text/markdown; charset=utf-8"),
    ]
    document = tenant.put(by_key("k"), content=b"# Title", headers=headers).json()
    assert document["filename"] == "Bericht März 📊.md"
    assert document["metadata"] == {"city": "Zürich 🏔"}
    assert document["content_type"] == "text/markdown; charset=utf-8"


def test_a_put_without_a_content_type_guesses_it_from_the_key(tenant: httpx.Client) -> None:
    assert tenant.put(by_key("a/b.html"), content=b"<p>x</p>").json()["content_type"] == "text/html"


def test_a_put_of_unknown_length_is_stored_whole(tenant: httpx.Client) -> None:
    answer = tenant.put(by_key("k"), content=iter([b"one ", b"two ", b"three"]))
    assert (answer.status_code, answer.json()["size"]) == (201, 13)
    assert tenant.get(f"/documents/{answer.json()['document_id']}/download").content == b"one two three"


def test_if_none_match_star_creates_once(tenant: httpx.Client) -> None:
    assert put(tenant, "k", "one", **{"If-None-Match": "*"}).status_code == 201
    error = assert_refused(put(tenant, "k", "two", **{"If-None-Match": "*"}), 412, "precondition_failed")
    assert error["details"]["current"] == '"r1"'
    assert tenant.get(by_key("k")).json()["size"] == 3


def test_if_match_replaces_only_the_named_revision(tenant: httpx.Client) -> None:
    assert_refused(put(tenant, "k", "x", **{"If-Match": '"r1"'}), 412, "precondition_failed")
    assert listed(tenant) == set()
    put(tenant, "k", "one")
    assert_refused(put(tenant, "k", "x", **{"If-Match": '"r9"'}), 412, "precondition_failed")
    assert_refused(put(tenant, "k", "x", **{"If-Match": 'W/"r1"'}), 412, "precondition_failed")
    assert put(tenant, "k", "two", **{"If-Match": '"r9", "r1"'}).status_code == 200
    assert put(tenant, "k", "three", **{"If-Match": "*"}).status_code == 200
    assert tenant.get(by_key("k")).json()["version"] == 3


def test_a_precondition_that_is_not_understood_is_refused(tenant: httpx.Client) -> None:
    put(tenant, "k", "one")
    for header in ("r1", '"r1', ""):
        assert_refused(put(tenant, "k", "two", **{"If-Match": header}), 400, "invalid_request")


@pytest.mark.parametrize("metadata", ["{", "[]", '{"a": Infinity}', "x"])
def test_wrong_metadata_in_the_header_is_refused(reader: httpx.Client, metadata: str) -> None:
    assert_refused(put(reader, "k", "one", **{"X-S4-Metadata": metadata}), 400, "invalid_request")
    assert listed(reader) == set()


@pytest.mark.parametrize(
    "key",
    [
        "plain",
        "deep/er/and/deeper.txt",
        "with some spaces",
        "100% + more & others = ?#;:@",
        "日本語/ключ/🚀",
        "a//b",
        "trailing/",
        "/leading",
        "..%2f",
        "x/../y",
        "download",
        "a/text",
        "é (composed)",
        "e\u0301 (decomposed)",
        "k" * 1024,
        "é" * 512,
    ],
)
def test_a_key_is_kept_and_found_exactly_as_it_was_sent(reader: httpx.Client, key: str) -> None:
    path = "/documents/by-key/" + "".join(f"%{byte:02X}" for byte in key.encode())
    created = reader.put(path, content=b"text")
    assert created.status_code == 201, created.text
    assert created.json()["key"] == key
    got = reader.get(path)
    assert set(got.json()) >= DETAIL_FIELDS
    assert (got.json()["key"], got.headers["ETag"]) == (key, '"r1"')
    assert listed(reader, prefix=key) == {created.json()["document_id"]}
    head = reader.head(path)
    assert (head.status_code, head.content, head.headers["ETag"]) == (200, b"", '"r1"')
    assert reader.delete(path).status_code == 204
    assert_refused(reader.get(path), 404, "not_found")
    assert reader.head(path).status_code == 404
    assert_refused(reader.delete(path), 404, "not_found")


def test_slashes_in_keys_need_no_encoding(tenant: httpx.Client) -> None:
    put(tenant, "a/b/c", "one")
    assert tenant.get("/documents/by-key/a/b/c").json()["key"] == "a/b/c"
    assert tenant.get("/documents/by-key/a%2Fb%2Fc").json()["key"] == "a/b/c"


@pytest.mark.parametrize("key", ["", "k" * 1025, "é" * 513, "a\tb", "a\x7fb", "a\x00b"])
def test_keys_that_are_empty_too_long_or_hold_control_characters_are_refused(reader: httpx.Client, key: str) -> None:
    path = "/documents/by-key/" + "".join(f"%{byte:02X}" for byte in key.encode())
    for method in ("PUT", "GET", "DELETE"):
        assert_refused(reader.request(method, path), 400, "invalid_request")
    if key and "\x00" not in key:
        answer = reader.post("/documents", data={"key": key}, files={"file": ("a.txt", b"x")})
        assert_refused(answer, 400, "invalid_request")
    assert listed(reader) == set()


def test_a_key_that_is_not_utf8_is_refused_instead_of_becoming_another(reader: httpx.Client) -> None:
    assert_refused(reader.put("/documents/by-key/%FF", content=b"x"), 400, "invalid_request")
    assert_refused(reader.get("/documents/by-key/%FE"), 400, "invalid_request")


def test_a_key_with_a_line_feed_is_never_taken_for_the_key_without(tenant: httpx.Client) -> None:
    put(tenant, "k", "one")
    for method in ("PUT", "GET", "DELETE"):
        assert_refused(tenant.request(method, "/documents/by-key/k%0A"), 400, "invalid_request")
    assert tenant.get(by_key("k")).json()["version"] == 1
    assert_refused(tenant.get("/documents%0A"), 400, "invalid_request")


def test_a_document_by_key_is_the_one_by_id(tenant: httpx.Client) -> None:
    document = put(tenant, "k", "Some text to read.").json()
    ended(tenant, document["document_id"])
    assert tenant.get(by_key("k")).json() == tenant.get(f"/documents/{document['document_id']}").json()
    by_id = tenant.head(f"/documents/{document['document_id']}")
    assert by_id.headers["ETag"] == tenant.head(by_key("k")).headers["ETag"]


def test_waiting_by_key_answers_in_an_end_state(tenant: httpx.Client) -> None:
    put(tenant, "k", "Some text to read.")
    assert tenant.get(by_key("k"), params={"wait": 60}).json()["status"] == "ready"


def test_delete_by_key_obeys_if_match(tenant: httpx.Client) -> None:
    put(tenant, "k", "one")
    assert_refused(tenant.delete(by_key("k"), headers={"If-Match": '"r7"'}), 412, "precondition_failed")
    assert tenant.delete(by_key("k"), headers={"If-Match": '"r1"'}).status_code == 204
