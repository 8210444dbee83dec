"""Reading documents: one, lists, bytes, text."""

import base64
import hashlib
import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.api.calls import (
    DETAIL_FIELDS,
    DOCUMENT_FIELDS,
    NEVER_EXISTED,
    assert_refused,
    assert_utc,
    ended,
    listed,
    new_tenant,
    put,
    upload,
    upload_ready,
)
from tests.factories.deployment import Deployment
from tests.factories.files import pdf, zipped

CONTENT = b"0123456789abcdef"


# -- one document


def test_a_document_answers_with_every_field_of_the_contract(tenant: httpx.Client) -> None:
    uploaded = upload(tenant, "Tides follow the moon.", key="tides", metadata={"n": 1})
    document = ended(tenant, uploaded["document_id"])
    assert set(document) >= DETAIL_FIELDS
    same = DOCUMENT_FIELDS - {"status", "detected_type"}
    assert {name: document[name] for name in same} == {name: uploaded[name] for name in same}
    assert (document["status"], document["chunks"], document["error"], document["progress"]) == ("ready", 1, None, None)
    assert (uploaded["detected_type"], document["detected_type"]) == (None, "text/plain")
    assert document["last_accessed"] is None
    assert_utc(document["indexed_at"])


def test_a_document_in_processing_says_so_and_waiting_ends_after_the_time_asked(idle_tenant: httpx.Client) -> None:
    document_id = upload(idle_tenant, "text")["document_id"]
    document = idle_tenant.get(f"/documents/{document_id}", params={"wait": 0.2}).json()
    assert (document["status"], document["chunks"], document["indexed_at"]) == ("processing", None, None)
    assert document["progress"]["stage"] == "queued"


@pytest.mark.parametrize("wait", ["-1", "61", "soon", "nan", "inf"])
def test_a_wait_out_of_bounds_is_refused(reader: httpx.Client, wait: str) -> None:
    error = assert_refused(reader.get(f"/documents/{NEVER_EXISTED}", params={"wait": wait}), 422, "invalid_request")
    assert "wait" in error["details"]["fields"][0]["field"]


@pytest.mark.parametrize("document_id", [NEVER_EXISTED, "doc_x", "nonsense", "DOC_" + "a" * 26, "%F0%9F%9A%80"])
def test_an_unknown_id_and_a_malformed_one_are_not_found_alike(reader: httpx.Client, document_id: str) -> None:
    expected = assert_refused(reader.get(f"/documents/{NEVER_EXISTED}"), 404, "not_found")
    for method, path in [
        ("GET", ""), ("GET", "/download"), ("GET", "/text"), ("DELETE", ""), ("POST", "/reprocess"),
    ]:  # fmt: skip
        answer = reader.request(method, f"/documents/{document_id}{path}")
        assert assert_refused(answer, 404, "not_found") == expected
    assert reader.head(f"/documents/{document_id}").status_code == 404
    assert reader.head(f"/documents/{document_id}/download").status_code == 404
    patched = reader.patch(f"/documents/{document_id}/metadata", json={})
    assert assert_refused(patched, 404, "not_found") == expected


def test_head_has_no_body_and_tells_revision_and_size(tenant: httpx.Client) -> None:
    document_id = upload(tenant, "12345")["document_id"]
    head = tenant.head(f"/documents/{document_id}")
    assert (head.status_code, head.content) == (200, b"")
    assert (head.headers["ETag"], head.headers["X-S4-Size"]) == ('"r1"', "5")
    assert head.headers["X-S4-Document-Id"] == document_id


# -- lists


def fill(tenant: httpx.Client, count: int) -> list[str]:
    """Ids, newest first."""
    return [put(tenant, f"k{number}", "x").json()["document_id"] for number in range(count)][::-1]


def walk(tenant: httpx.Client, **params: Any) -> list[list[str]]:
    """Pages of ids by cursor, to the end."""
    pages = []
    cursor: str | None = None
    while True:
        page = tenant.get("/documents", params=params | ({"cursor": cursor} if cursor else {})).json()
        pages.append([document["document_id"] for document in page["documents"]])
        cursor = page["next_cursor"]
        if cursor is None:
            return pages


def test_a_list_is_newest_first_and_has_every_field_of_the_contract(idle_tenant: httpx.Client) -> None:
    expected = fill(idle_tenant, 3)
    page = idle_tenant.get("/documents").json()
    assert set(page) == {"documents", "total", "page", "limit", "next_cursor"}
    assert [document["document_id"] for document in page["documents"]] == expected
    assert all(set(document) >= DOCUMENT_FIELDS for document in page["documents"])
    assert (page["total"], page["page"], page["limit"], page["next_cursor"]) == (3, 1, 50, None)


def test_an_empty_list_is_a_list(idle_tenant: httpx.Client) -> None:
    page = idle_tenant.get("/documents").json()
    assert page == {"documents": [], "total": 0, "page": 1, "limit": 50, "next_cursor": None}


def test_numbered_pages_cover_everything_once(idle_tenant: httpx.Client) -> None:
    expected = fill(idle_tenant, 7)
    pages = [idle_tenant.get("/documents", params={"page": n, "limit": 3}).json() for n in (1, 2, 3, 4)]
    assert [len(page["documents"]) for page in pages] == [3, 3, 1, 0]
    assert [document["document_id"] for page in pages for document in page["documents"]] == expected
    assert {(page["total"], page["limit"]) for page in pages} == {(7, 3)}
    assert [page["page"] for page in pages] == [1, 2, 3, 4]


@pytest.mark.parametrize("limit", [1, 2, 3, 7, 8])
def test_a_walk_by_cursor_meets_every_document_once(idle_tenant: httpx.Client, limit: int) -> None:
    expected = fill(idle_tenant, 7)
    pages = walk(idle_tenant, limit=limit)
    assert [document_id for page in pages for document_id in page] == expected
    assert all(len(page) == limit for page in pages[:-1])
    assert pages[-1]


def test_a_walk_by_cursor_is_not_disturbed_by_what_comes_and_goes(idle_tenant: httpx.Client) -> None:
    expected = fill(idle_tenant, 6)
    first = idle_tenant.get("/documents", params={"limit": 2}).json()
    fill(idle_tenant, 0)
    put(idle_tenant, "new", "x")
    idle_tenant.delete(f"/documents/{expected[0]}")
    idle_tenant.delete(f"/documents/{expected[1]}")
    rest = idle_tenant.get("/documents", params={"limit": 10, "cursor": first["next_cursor"]}).json()
    assert [document["document_id"] for document in rest["documents"]] == expected[2:]


@pytest.mark.parametrize(
    "params",
    [{"page": "0"}, {"page": "-1"}, {"page": "x"}, {"limit": "0"}, {"limit": "1001"}, {"status": "lost"},
     {"uploaded_after": "yesterday"}],
)  # fmt: skip
def test_list_parameters_out_of_bounds_are_refused(reader: httpx.Client, params: dict[str, str]) -> None:
    error = assert_refused(reader.get("/documents", params=params), 422, "invalid_request")
    assert next(iter(params)) in error["details"]["fields"][0]["field"]


@pytest.mark.parametrize(
    "cursor",
    ["x", "äöü", base64.urlsafe_b64encode(b'["a"]').decode(), base64.urlsafe_b64encode(b'["a","b"]').decode(),
     base64.urlsafe_b64encode(b'["0001-01-01T00:00:00+14:00","b"]').decode(),
     base64.urlsafe_b64encode(b'["2026-01-01T00:00:00Z","\\ud800"]').decode(),
     base64.urlsafe_b64encode(b'["2026-01-01T00:00:00Z","\\u0000"]').decode(),
     base64.urlsafe_b64encode(b'[1,2]').decode(), base64.urlsafe_b64encode(b'{"a":1}').decode()],
)  # fmt: skip
def test_a_cursor_that_s4_did_not_make_is_refused(reader: httpx.Client, cursor: str) -> None:
    assert_refused(reader.get("/documents", params={"cursor": cursor}), 400, "invalid_request")


def test_a_time_without_a_zone_is_refused(reader: httpx.Client) -> None:
    answer = reader.get("/documents", params={"uploaded_after": "2026-01-01T00:00:00"})
    assert "time zone" in assert_refused(answer, 400, "invalid_request")["message"]


@pytest.mark.parametrize("moment", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00"])
def test_a_time_that_utc_cannot_express_is_refused(reader: httpx.Client, moment: str) -> None:
    for bound in ("uploaded_after", "uploaded_before"):
        assert_refused(reader.get("/documents", params={bound: moment}), 400, "invalid_request")


def test_more_metadata_parameters_than_a_query_bears_are_refused(reader: httpx.Client) -> None:
    params = {f"metadata.f{number}": "x" for number in range(101)}
    assert_refused(reader.get("/documents", params=params), 400, "invalid_request")
    params.popitem()
    assert reader.get("/documents", params=params).json()["total"] == 0


def test_a_metadata_parameter_given_twice_is_refused_and_not_half_ignored(reader: httpx.Client) -> None:
    assert_refused(reader.get("/documents?metadata.a=1&metadata.a=2"), 400, "invalid_request")


def test_lists_select_by_category_prefix_and_file_name(idle_tenant: httpx.Client) -> None:
    law = upload(idle_tenant, "x", key="a/law", filename="law.txt", metadata={"category": "legal"})["document_id"]
    both = upload(idle_tenant, "x", key="a/b", filename="b.txt", metadata={"category": ["legal", "hr"]})["document_id"]
    other = upload(idle_tenant, "x", key="A/c", filename="B.txt", metadata={"category": "Legal"})["document_id"]
    plain = upload(idle_tenant, "x", filename="b.txt")["document_id"]
    assert listed(idle_tenant, category="legal") == {law, both}
    assert listed(idle_tenant, category="hr") == {both}
    assert listed(idle_tenant, category="none") == set()
    assert listed(idle_tenant, prefix="a/") == {law, both}
    assert listed(idle_tenant, prefix="A") == {other}
    assert listed(idle_tenant, prefix="%") == listed(idle_tenant, prefix="_") == set()
    assert listed(idle_tenant, filename="b.txt") == {both, plain}
    assert listed(idle_tenant, filename="b.txt", category="hr") == {both}
    assert listed(idle_tenant, category="legal", prefix="a/l") == {law}


def test_lists_select_by_status(tenant: httpx.Client, idle_tenant: httpx.Client) -> None:
    ready = upload_ready(tenant, "text")["document_id"]
    failed = ended(tenant, upload(tenant, b"")["document_id"])["document_id"]
    assert listed(tenant, status="ready") == {ready}
    assert listed(tenant, status="failed") == {failed}
    assert listed(tenant, status="processing") == set()
    processing = upload(idle_tenant, "text")["document_id"]
    assert listed(idle_tenant, status="processing") == {processing}
    assert listed(idle_tenant, status="ready") == set()


def test_lists_select_by_upload_time_exclusive_at_both_ends(idle_tenant: httpx.Client) -> None:
    documents = [put(idle_tenant, key, "x").json() for key in ("one", "two", "three")]
    ids, moments = ([document[name] for document in documents] for name in ("document_id", "uploaded_at"))
    assert moments == sorted(set(moments))
    assert listed(idle_tenant, uploaded_after=moments[0]) == {ids[1], ids[2]}
    assert listed(idle_tenant, uploaded_before=moments[2]) == {ids[0], ids[1]}
    assert listed(idle_tenant, uploaded_after=moments[0], uploaded_before=moments[2]) == {ids[1]}
    assert listed(idle_tenant, uploaded_after="2020-01-01T00:00:00+02:00") == set(ids)


def test_lists_select_by_metadata_fields(idle_tenant: httpx.Client) -> None:
    one = upload(idle_tenant, "x", metadata={"year": 2026, "author": {"name": "Ada"}, "draft": True})["document_id"]
    two = upload(idle_tenant, "x", metadata={"year": "2026", "tags": ["red", "blue"], "draft": "true"})["document_id"]
    assert listed(idle_tenant, **{"metadata.year": "2026"}) == {one, two}
    assert listed(idle_tenant, **{"metadata.year": "2026.0"}) == {one}
    assert listed(idle_tenant, **{"metadata.author.name": "Ada"}) == {one}
    assert listed(idle_tenant, **{"metadata.tags": "blue"}) == {two}
    assert listed(idle_tenant, **{"metadata.draft": "true"}) == {one, two}
    assert listed(idle_tenant, **{"metadata.draft": "true", "metadata.tags": "red"}) == {two}
    assert listed(idle_tenant, **{"metadata.missing": "x"}) == set()


def test_total_and_cursor_speak_of_the_selection(idle_tenant: httpx.Client) -> None:
    expected = [put(idle_tenant, f"a/{n}", "x").json()["document_id"] for n in range(5)][::-1]
    fill(idle_tenant, 3)
    page = idle_tenant.get("/documents", params={"prefix": "a/", "limit": 2}).json()
    assert page["total"] == 5
    assert [document_id for page in walk(idle_tenant, prefix="a/", limit=2) for document_id in page] == expected


# -- bytes


@pytest.fixture(scope="module")
def downloader(idle_deployment: Deployment) -> Iterator[httpx.Client]:
    with new_tenant(idle_deployment) as opened:
        yield opened


@pytest.fixture(scope="module")
def stored(downloader: httpx.Client) -> str:
    """Path of a download of `CONTENT`."""
    document_id = upload(downloader, CONTENT, filename="data.bin", content_type="application/x-data")["document_id"]
    return f"/documents/{document_id}/download"


def test_a_download_is_the_bytes_with_their_headers(downloader: httpx.Client, stored: str) -> None:
    answer = downloader.get(stored)
    assert (answer.status_code, answer.content) == (200, CONTENT)
    digest = base64.b64encode(hashlib.sha256(CONTENT).digest()).decode()
    expected = {
        "Content-Type": "application/x-data",
        "Content-Length": "16",
        "Content-Disposition": 'attachment; filename="data.bin"',
        "ETag": '"r1"',
        "Accept-Ranges": "bytes",
        "X-Content-Type-Options": "nosniff",
        "Repr-Digest": f"sha-256=:{digest}:",
    }
    assert {name: answer.headers[name] for name in expected} == expected
    head = downloader.head(stored)
    assert (head.status_code, head.content) == (200, b"")
    assert {name: head.headers[name] for name in expected} == expected


@pytest.mark.parametrize(
    ("asked", "content_range", "part"),
    [
        ("bytes=0-3", "bytes 0-3/16", b"0123"),
        ("bytes=4-4", "bytes 4-4/16", b"4"),
        ("bytes=10-", "bytes 10-15/16", b"abcdef"),
        ("bytes=-4", "bytes 12-15/16", b"cdef"),
        ("bytes=-400", "bytes 0-15/16", CONTENT),
        ("bytes=12-400", "bytes 12-15/16", b"cdef"),
    ],
)
def test_a_range_answers_206_with_that_part(
    downloader: httpx.Client, stored: str, asked: str, content_range: str, part: bytes
) -> None:
    answer = downloader.get(stored, headers={"Range": asked})
    assert (answer.status_code, answer.content) == (206, part)
    assert answer.headers["Content-Range"] == content_range
    assert answer.headers["Content-Length"] == str(len(part))
    assert answer.headers["ETag"] == '"r1"'
    head = downloader.head(stored, headers={"Range": asked})
    assert (head.status_code, head.headers["Content-Range"]) == (206, content_range)


@pytest.mark.parametrize("asked", ["bytes=16-", "bytes=99-100", "bytes=-0", "bytes=" + "9" * 40 + "-"])
def test_a_range_beyond_the_end_is_not_satisfiable(downloader: httpx.Client, stored: str, asked: str) -> None:
    answer = downloader.get(stored, headers={"Range": asked})
    assert_refused(answer, 416, "range_not_satisfiable")
    assert answer.headers["Content-Range"] == "bytes */16"


@pytest.mark.parametrize("asked", ["bytes=5-4", "bytes=x-y", "lines=1-2", "bytes=0-1,4-5", "bytes=-", ""])
def test_a_range_that_is_not_understood_is_ignored(downloader: httpx.Client, stored: str, asked: str) -> None:
    answer = downloader.get(stored, headers={"Range": asked})
    assert (answer.status_code, answer.content) == (200, CONTENT)


def test_if_range_sends_the_whole_when_the_document_has_changed(downloader: httpx.Client, stored: str) -> None:
    same = downloader.get(stored, headers={"Range": "bytes=0-3", "If-Range": '"r1"'})
    assert (same.status_code, same.content) == (206, b"0123")
    for stale in ('"r0"', 'W/"r1"', "Wed, 21 Oct 2026 07:28:00 GMT"):
        other = downloader.get(stored, headers={"Range": "bytes=0-3", "If-Range": stale})
        assert (other.status_code, other.content) == (200, CONTENT)


def test_if_none_match_answers_304_while_the_copy_is_current(downloader: httpx.Client, stored: str) -> None:
    for current in ('"r1"', 'W/"r1"', "*", '"x", "r1"'):
        answer = downloader.get(stored, headers={"If-None-Match": current})
        assert (answer.status_code, answer.content, answer.headers["ETag"]) == (304, b"", '"r1"')
    answer = downloader.get(stored, headers={"If-None-Match": '"r0"'})
    assert (answer.status_code, answer.content) == (200, CONTENT)


@pytest.mark.parametrize(
    ("content_type", "inline"),
    [
        ("text/plain", True),
        ("text/plain; charset=utf-8", True),
        ("application/pdf", True),
        ("image/png", True),
        ("text/html", False),
        ("TEXT/HTML", False),
        ("image/svg+xml", False),
        ("application/xhtml+xml", False),
        ("text/xml", False),
        ("application/javascript", False),
        ("nonsense", False),
    ],
)
def test_only_types_that_cannot_act_are_shown_inline(tenant: httpx.Client, content_type: str, inline: bool) -> None:
    document_id = upload_ready(tenant, "x", filename="f", content_type=content_type)["document_id"]
    answer = tenant.get(f"/documents/{document_id}/download", params={"disposition": "inline"})
    assert answer.headers["Content-Disposition"].partition(";")[0] == ("inline" if inline else "attachment")
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "sandbox" in answer.headers["Content-Security-Policy"]


def test_a_disposition_that_does_not_exist_is_refused(downloader: httpx.Client, stored: str) -> None:
    assert_refused(downloader.get(stored, params={"disposition": "execute"}), 422, "invalid_request")


def test_a_download_is_named_by_rfc_6266(idle_tenant: httpx.Client) -> None:
    document_id = upload(idle_tenant, "x", filename='Bericht "März" 📊.txt')["document_id"]
    disposition = idle_tenant.get(f"/documents/{document_id}/download").headers["Content-Disposition"]
    assert disposition == (
        "attachment; filename=\"Bericht _M_rz_ _.txt\"; filename*=UTF-8''Bericht%20%22M%C3%A4rz%22%20%F0%9F%93%8A.txt"
    )


def test_a_download_is_noted_as_an_access(tenant: httpx.Client) -> None:
    document_id = upload(tenant, "text")["document_id"]
    tenant.head(f"/documents/{document_id}/download")
    assert tenant.get(f"/documents/{document_id}").json()["last_accessed"] is None
    tenant.get(f"/documents/{document_id}/download")
    document = tenant.get(f"/documents/{document_id}").json()
    assert assert_utc(document["last_accessed"]) >= assert_utc(document["uploaded_at"])
    assert document["version"] == 1


# -- text


def test_text_has_every_field_and_pages_that_cover_it(tenant: httpx.Client) -> None:
    file = pdf([["First page: tides."], ["Second page: moons."]], title="Sea")
    document_id = upload_ready(tenant, file, filename="sea.pdf", content_type="application/pdf")["document_id"]
    answer = tenant.get(f"/documents/{document_id}/text").json()
    assert set(answer) >= {"document_id", "version", "title", "content_type", "text", "pages", "warnings"}
    assert answer["warnings"] == []
    assert (answer["document_id"], answer["title"]) == (document_id, "Sea")
    assert [page["page"] for page in answer["pages"]] == [1, 2]
    parts = [answer["text"][page["char_start"] : page["char_end"]] for page in answer["pages"]]
    assert "tides" in parts[0]
    assert "moons" not in parts[0]
    assert "moons" in parts[1]
    assert tenant.get(f"/documents/{document_id}").json()["pages"] == 2


def test_text_says_what_of_an_archive_was_not_read(tenant: httpx.Client) -> None:
    archive = zipped({"a.txt": b"Words.", "b.pdf": pdf([["Secret."]], encrypted=True)})
    document_id = upload_ready(tenant, archive, filename="a.zip", content_type="application/zip")["document_id"]
    answer = tenant.get(f"/documents/{document_id}/text").json()
    assert answer["warnings"] == ["b.pdf: The file is protected by a password."]
    assert answer["text"] == "# a.txt\n\nWords."
    assert answer["pages"] == []


def test_text_offsets_count_code_points(tenant: httpx.Client) -> None:
    content = "🚀🚀🚀 Raketen\n\nÜber alle Dächer 🏠"
    document_id = upload_ready(tenant, content)["document_id"]
    answer = tenant.get(f"/documents/{document_id}/text").json()
    assert "Dächer 🏠" in answer["text"]
    assert max((page["char_end"] for page in answer["pages"]), default=len(answer["text"])) == len(answer["text"])


def test_text_is_a_conflict_while_there_is_none_yet(idle_tenant: httpx.Client) -> None:
    document_id = upload(idle_tenant, "text")["document_id"]
    assert_refused(idle_tenant.get(f"/documents/{document_id}/text"), 409, "conflict")


def test_text_of_a_failed_document_is_not_found(tenant: httpx.Client) -> None:
    locked = pdf([["Secret."]], encrypted=True)
    document_id = upload(tenant, locked, filename="a.pdf", content_type="application/pdf")["document_id"]
    document = ended(tenant, document_id)
    assert (document["status"], document["error"]["code"]) == ("failed", "encrypted")
    error = assert_refused(tenant.get(f"/documents/{document_id}/text"), 404, "not_found")
    assert error["details"] == {"status": "failed"}


def test_json_answers_are_json_in_utf8(idle_tenant: httpx.Client) -> None:
    upload(idle_tenant, "x", filename="März.txt", metadata={"city": "Zürich"})
    answer = idle_tenant.get("/documents")
    assert answer.headers["Content-Type"] == "application/json"
    assert json.loads(answer.content.decode("utf-8"))["documents"][0]["metadata"] == {"city": "Zürich"}


def test_bytes_that_are_missing_in_the_store_are_an_error_and_not_an_empty_success(
    tenant: httpx.Client, deployment: Deployment
) -> None:
    document = upload_ready(tenant, "soon lost")
    [content] = deployment.data_dir.glob(f"objects/tenants/*/documents/{document['document_id']}/*/content")
    content.unlink()
    answer = tenant.get(f"/documents/{document['document_id']}/download")
    assert_refused(answer, 500, "server_error")
    assert "ETag" not in answer.headers
