"""Changing documents: metadata, reprocessing, deletion; in every state."""

from collections.abc import Callable
from contextlib import AbstractContextManager

import httpx
import pytest

from tests.api.calls import (
    DETAIL_FIELDS,
    NEVER_EXISTED,
    assert_refused,
    assert_utc,
    ended,
    found,
    listed,
    put,
    upload,
    upload_ready,
)

# -- metadata


def test_a_merge_patch_adds_replaces_removes_and_merges(idle_tenant: httpx.Client) -> None:
    before = {"keep": 1, "replace": "old", "remove": True, "nested": {"keep": [1], "remove": 2}, "list": [1, 2]}
    document_id = upload(idle_tenant, "x", metadata=before)["document_id"]
    patch = {"replace": {"now": "object"}, "remove": None, "nested": {"remove": None, "add": "é"}, "list": [3]}
    answer = idle_tenant.patch(f"/documents/{document_id}/metadata", json=patch)
    assert answer.status_code == 200
    after = {"keep": 1, "replace": {"now": "object"}, "nested": {"keep": [1], "add": "é"}, "list": [3]}
    body = answer.json()
    assert set(body) >= {"document_id", "metadata", "updated_at"}
    assert (body["document_id"], body["metadata"]) == (document_id, after)
    assert_utc(body["updated_at"])
    assert answer.headers["ETag"] == '"r2"'
    document = idle_tenant.get(f"/documents/{document_id}").json()
    assert (document["metadata"], document["version"]) == (after, 2)


def test_a_patch_obeys_if_match(idle_tenant: httpx.Client) -> None:
    path = f"/documents/{upload(idle_tenant, 'x')['document_id']}/metadata"
    assert_refused(idle_tenant.patch(path, json={"n": 1}, headers={"If-Match": '"r5"'}), 412, "precondition_failed")
    assert idle_tenant.patch(path, json={"n": 1}, headers={"If-Match": '"r1"'}).status_code == 200
    assert_refused(idle_tenant.patch(path, json={"n": 2}, headers={"If-Match": '"r1"'}), 412, "precondition_failed")


def test_a_patch_that_is_no_object_or_breaks_a_limit_is_refused(idle_tenant: httpx.Client) -> None:
    path = f"/documents/{upload(idle_tenant, 'x', metadata={'n': 1})['document_id']}/metadata"
    for wrong in ([1], "text", 1):
        assert_refused(idle_tenant.patch(path, json=wrong), 422, "invalid_request")
    for content in (b"{", b'{"a": NaN}', b'{"a": "\\u0000"}', b"\xff\xfe{\x00}\x00"):
        answer = idle_tenant.patch(path, content=content, headers={"Content-Type": "application/json"})
        assert answer.status_code in (400, 422), answer.text
        assert_refused(answer, answer.status_code, "invalid_request")
    assert_refused(idle_tenant.patch(path, json={"a": "x" * (64 << 10)}), 400, "invalid_request")
    assert_refused(idle_tenant.patch(path, json={"": 1}), 400, "invalid_request")
    document = idle_tenant.get(path.removesuffix("/metadata")).json()
    assert (document["metadata"], document["version"]) == ({"n": 1}, 1)


def test_a_patch_keeps_a_ready_document_ready_and_its_index_as_it_is(tenant: httpx.Client) -> None:
    before = upload_ready(tenant, "Tides follow the moon.")
    tenant.patch(f"/documents/{before['document_id']}/metadata", json={"n": 1})
    after = tenant.get(f"/documents/{before['document_id']}").json()
    same = ("status", "chunks", "pages", "indexed_at", "sha256", "uploaded_at")
    assert {name: after[name] for name in same} == {name: before[name] for name in same}
    assert found(tenant, "tides", filters={"field": "n", "op": "eq", "value": 1}) == {before["document_id"]}


# -- reprocessing


def test_reprocessing_a_ready_document_answers_202_and_keeps_it_searchable(tenant: httpx.Client) -> None:
    document_id = upload_ready(tenant, "Tides follow the moon.", key="tides", metadata={"n": 1})["document_id"]
    answer = tenant.post(f"/documents/{document_id}/reprocess")
    assert answer.status_code == 202
    assert set(answer.json()) >= DETAIL_FIELDS
    assert answer.json()["status"] == "processing"
    assert found(tenant, "tides") == {document_id}
    document = ended(tenant, document_id)
    assert (document["status"], document["key"], document["metadata"]) == ("ready", "tides", {"n": 1})
    assert found(tenant, "tides") == {document_id}


def test_reprocessing_a_failed_document_tries_again(tenant: httpx.Client) -> None:
    document_id = ended(tenant, upload(tenant, b"")["document_id"])["document_id"]
    answer = tenant.post(f"/documents/{document_id}/reprocess")
    assert (answer.status_code, answer.json()["status"], answer.json()["error"]) == (202, "processing", None)
    assert ended(tenant, document_id)["status"] == "failed"


def test_reprocessing_in_processing_is_legal_and_ends_once(
    idle_tenant: httpx.Client, work: Callable[[], AbstractContextManager[None]]
) -> None:
    document_id = upload(idle_tenant, "Tides follow the moon.")["document_id"]
    for _ in range(2):
        assert idle_tenant.post(f"/documents/{document_id}/reprocess").status_code == 202
    with work():
        assert ended(idle_tenant, document_id)["status"] == "ready"
    assert found(idle_tenant, "tides") == {document_id}


# -- deletion


@pytest.mark.parametrize("state", ["ready", "failed"])
def test_a_deleted_document_is_gone_from_every_read(tenant: httpx.Client, state: str) -> None:
    content = "Tides follow the moon." if state == "ready" else ""
    document_id = ended(tenant, upload(tenant, content, key="k")["document_id"])["document_id"]
    assert tenant.get(f"/documents/{document_id}").json()["status"] == state
    assert_gone_after_delete(tenant, document_id)


def test_a_document_in_processing_can_be_deleted_and_does_not_come_back(
    idle_tenant: httpx.Client, work: Callable[[], AbstractContextManager[None]]
) -> None:
    document_id = upload(idle_tenant, "Tides follow the moon.", key="k")["document_id"]
    assert_gone_after_delete(idle_tenant, document_id)
    later = upload(idle_tenant, "Tides of another document.")["document_id"]
    with work():
        assert ended(idle_tenant, later)["status"] == "ready"
    assert found(idle_tenant, "tides") == {later}
    assert_refused(idle_tenant.get(f"/documents/{document_id}"), 404, "not_found")


def assert_gone_after_delete(tenant: httpx.Client, document_id: str) -> None:
    answer = tenant.delete(f"/documents/{document_id}")
    assert (answer.status_code, answer.content) == (204, b"")
    assert found(tenant, "tides") == set()
    assert listed(tenant) == set()
    for path in (f"/documents/{document_id}", "/documents/by-key/k"):
        assert_refused(tenant.get(path), 404, "not_found")
        assert_refused(tenant.delete(path), 404, "not_found")
    for path in ("/download", "/text"):
        assert_refused(tenant.get(f"/documents/{document_id}{path}"), 404, "not_found")
    assert_refused(tenant.post(f"/documents/{document_id}/reprocess"), 404, "not_found")
    assert_refused(tenant.patch(f"/documents/{document_id}/metadata", json={}), 404, "not_found")


def test_delete_obeys_if_match(idle_tenant: httpx.Client) -> None:
    path = f"/documents/{upload(idle_tenant, 'x')['document_id']}"
    assert_refused(idle_tenant.delete(path, headers={"If-Match": '"r2"'}), 412, "precondition_failed")
    assert idle_tenant.delete(path, headers={"If-Match": '"r1"'}).status_code == 204


def test_bulk_delete_names_what_went_and_what_there_was_none_of(idle_tenant: httpx.Client) -> None:
    ids = [put(idle_tenant, f"k{n}", "x").json()["document_id"] for n in range(12)]
    gone = ids.pop()
    idle_tenant.delete(f"/documents/{gone}")
    unknown = [gone, NEVER_EXISTED, "nonsense", "", "doc_🚀"]
    answer = idle_tenant.post("/documents/bulk-delete", json={"document_ids": [*ids[:10], *unknown, ids[0]]})
    assert answer.status_code == 200
    assert answer.json() == {"deleted": ids[:10], "not_found": unknown, "held": []}
    assert listed(idle_tenant) == {ids[10]}


def test_bulk_delete_takes_a_thousand_ids_and_no_more(reader: httpx.Client) -> None:
    thousand = [f"doc_{number:026d}" for number in range(1000)]
    answer = reader.post("/documents/bulk-delete", json={"document_ids": thousand})
    assert answer.json() == {"deleted": [], "not_found": thousand, "held": []}
    one_more = reader.post("/documents/bulk-delete", json={"document_ids": [*thousand, NEVER_EXISTED]})
    assert_refused(one_more, 422, "invalid_request")


@pytest.mark.parametrize("body", [{}, {"document_ids": "x"}, {"document_ids": [1]}, {"ids": []}, []])
def test_bulk_delete_refuses_other_shapes(reader: httpx.Client, body: object) -> None:
    assert_refused(reader.post("/documents/bulk-delete", json=body), 422, "invalid_request")
