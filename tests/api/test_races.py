"""Callers that race: nothing is lost, nothing happens twice, and nobody meets an error of ours."""

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import httpx

from tests.api.calls import by_key, listed, put, upload

CALLERS = 6


def race(call: Callable[[int], httpx.Response]) -> list[httpx.Response]:
    with ThreadPoolExecutor(CALLERS) as pool:
        return list(pool.map(call, range(CALLERS)))


def statuses(answers: list[httpx.Response]) -> Counter[int]:
    return Counter(answer.status_code for answer in answers)


def test_puts_of_one_key_all_count_and_one_creates(idle_tenant: httpx.Client) -> None:
    answers = race(lambda number: put(idle_tenant, "k", f"text {number}"))
    assert statuses(answers) == {201: 1, 200: CALLERS - 1}
    assert sorted(answer.json()["version"] for answer in answers) == list(range(1, CALLERS + 1))
    last = max(answers, key=lambda answer: int(answer.json()["version"])).json()
    document = idle_tenant.get(by_key("k")).json()
    assert (document["version"], document["sha256"]) == (last["version"], last["sha256"])
    assert listed(idle_tenant) == {last["document_id"]}


def test_of_creations_of_one_key_one_succeeds(idle_tenant: httpx.Client) -> None:
    answers = race(lambda number: put(idle_tenant, "put", f"text {number}", **{"If-None-Match": "*"}))
    assert statuses(answers) == {201: 1, 412: CALLERS - 1}
    file = {"file": ("a.txt", b"x")}
    answers = race(lambda _: idle_tenant.post("/documents", data={"key": "post"}, files=file))
    assert statuses(answers) == {201: 1, 409: CALLERS - 1}


def test_of_replacements_of_one_revision_one_succeeds(idle_tenant: httpx.Client) -> None:
    put(idle_tenant, "k", "one")
    answers = race(lambda number: put(idle_tenant, "k", f"text {number}", **{"If-Match": '"r1"'}))
    assert statuses(answers) == {200: 1, 412: CALLERS - 1}


def test_patches_of_one_document_all_count(idle_tenant: httpx.Client) -> None:
    path = f"/documents/{upload(idle_tenant, 'x')['document_id']}"
    answers = race(lambda number: idle_tenant.patch(f"{path}/metadata", json={f"f{number}": number}))
    assert statuses(answers) == {200: CALLERS}
    document = idle_tenant.get(path).json()
    assert document["metadata"] == {f"f{number}": number for number in range(CALLERS)}
    assert document["version"] == CALLERS + 1


def test_of_deletions_of_one_document_one_succeeds(idle_tenant: httpx.Client) -> None:
    path = f"/documents/{upload(idle_tenant, 'x')['document_id']}"
    assert statuses(race(lambda _: idle_tenant.delete(path))) == {204: 1, 404: CALLERS - 1}


def test_changes_that_race_with_a_deletion_happen_before_it_or_not_at_all(idle_tenant: httpx.Client) -> None:
    path = f"/documents/{upload(idle_tenant, 'x', key='k')['document_id']}"
    calls: list[Callable[[], httpx.Response]] = [
        lambda: idle_tenant.patch(f"{path}/metadata", json={"n": 1}),
        lambda: idle_tenant.post(f"{path}/reprocess"),
        lambda: idle_tenant.delete(path),
        lambda: idle_tenant.get(f"{path}/download"),
        lambda: idle_tenant.post("/documents/bulk-delete", json={"document_ids": [path.rpartition("/")[2]]}),
        lambda: idle_tenant.get(path, params={"wait": 0.2}),
    ]
    answers = race(lambda number: calls[number]())
    assert set(statuses(answers)) <= {200, 202, 204, 404}
    deleted = (answers[2].status_code == 204, bool(answers[4].json().get("deleted")))
    assert sorted(deleted) == [False, True]
    assert idle_tenant.get(path).status_code == 404
