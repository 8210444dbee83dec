"""`Idempotency-Key`: a repeated upload takes effect once."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx

from tests.api.calls import assert_refused, by_key, listed, put


def post(tenant: httpx.Client, content: bytes, idempotency_key: str = "one", **form: Any) -> httpx.Response:
    file = ("note.txt", content, "text/plain")
    return tenant.post("/documents", data=form, files={"file": file}, headers={"Idempotency-Key": idempotency_key})


def test_a_repeated_post_replays_the_first_answer(idle_tenant: httpx.Client) -> None:
    first = post(idle_tenant, b"text", metadata='{"n": 1}')
    second = post(idle_tenant, b"text", metadata='{"n": 1}')
    assert (first.status_code, second.status_code) == (201, 201)
    assert second.json() == first.json()
    assert second.headers["ETag"] == first.headers["ETag"]
    assert "Idempotency-Replayed" not in first.headers
    assert second.headers["Idempotency-Replayed"] == "true"
    assert listed(idle_tenant) == {first.json()["document_id"]}


def test_a_repeated_post_with_a_key_replays_instead_of_conflicting(idle_tenant: httpx.Client) -> None:
    first, second = (post(idle_tenant, b"text", key="k") for _ in range(2))
    assert (first.status_code, second.status_code) == (201, 201)
    assert second.json() == first.json()


def test_a_repeated_put_replays_also_its_status(idle_tenant: httpx.Client) -> None:
    put(idle_tenant, "k", "old")
    first, second = (put(idle_tenant, "k", "new", **{"Idempotency-Key": "x"}) for _ in range(2))
    assert (first.status_code, second.status_code) == (200, 200)
    assert first.json()["version"] == second.json()["version"] == 2
    assert idle_tenant.get(by_key("k")).json()["version"] == 2


def test_the_same_key_for_another_request_is_a_conflict(idle_tenant: httpx.Client) -> None:
    first = post(idle_tenant, b"text", metadata='{"n": 1}')
    assert_refused(post(idle_tenant, b"other", metadata='{"n": 1}'), 409, "conflict")
    assert_refused(post(idle_tenant, b"text", metadata='{"n": 2}'), 409, "conflict")
    assert_refused(post(idle_tenant, b"text", metadata='{"n": 1}', key="k"), 409, "conflict")
    assert_refused(put(idle_tenant, "k", "text", **{"Idempotency-Key": "one"}), 409, "conflict")
    assert listed(idle_tenant) == {first.json()["document_id"]}


def test_the_same_key_of_another_tenant_is_another_key(idle_tenant: httpx.Client, tenant: httpx.Client) -> None:
    assert post(idle_tenant, b"text").status_code == post(tenant, b"other").status_code == 201


def test_racing_repeats_make_one_document(idle_tenant: httpx.Client) -> None:
    for turn in range(5):
        with ThreadPoolExecutor(4) as pool:
            answers = list(pool.map(lambda _: post(idle_tenant, b"text", f"race {turn}"), range(4)))  # noqa: B023
        assert [answer.status_code for answer in answers] == [201] * 4, [answer.text for answer in answers]
        assert len({answer.content for answer in answers}) == 1
    assert len(listed(idle_tenant)) == 5


def test_of_racing_requests_that_differ_one_wins_and_one_conflicts(idle_tenant: httpx.Client) -> None:
    for turn in range(5):
        with ThreadPoolExecutor(2) as pool:
            answers = list(pool.map(lambda body: post(idle_tenant, body, f"race {turn}"), [b"one", b"two"]))  # noqa: B023
        assert sorted(answer.status_code for answer in answers) == [201, 409], [answer.text for answer in answers]
    assert len(listed(idle_tenant)) == 5


def test_a_refused_upload_does_not_use_its_key_up(idle_tenant: httpx.Client) -> None:
    assert_refused(post(idle_tenant, b"text", metadata="{"), 400, "invalid_request")
    assert post(idle_tenant, b"text").status_code == 201


def test_a_replay_after_the_document_was_deleted_does_not_bring_it_back(idle_tenant: httpx.Client) -> None:
    first = post(idle_tenant, b"text")
    idle_tenant.delete(f"/documents/{first.json()['document_id']}")
    assert post(idle_tenant, b"text").json() == first.json()
    assert listed(idle_tenant) == set()


def test_an_idempotency_key_that_is_too_long_is_refused(idle_tenant: httpx.Client) -> None:
    assert_refused(post(idle_tenant, b"text", "x" * 201), 400, "invalid_request")
    assert post(idle_tenant, b"text", "x" * 200).status_code == 201
