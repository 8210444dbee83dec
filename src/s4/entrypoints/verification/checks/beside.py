"""What lies beside the ids of a path: keys that create, bodies, cursors, filters, searches, timing."""

import itertools
import secrets
import statistics
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import httpx

from s4.entrypoints.verification.callers import TENANT_KEY, Caller
from s4.entrypoints.verification.checks.credentials import guess_at
from s4.entrypoints.verification.declared import NEVER
from s4.entrypoints.verification.report import Check, Report
from s4.entrypoints.verification.scene import SHARED_QUERY, Scene, new_word
from s4.platform.security import credentials

_MODES = ("hybrid", "semantic", "keyword")
_DOCUMENTS = "/api/v1/documents"
_TIMED_PAIRS = 60  # medians of so many are steady to some percent on a noisy machine


def anothers_key(scene: Scene, report: Report) -> None:
    """Keys are names of the tenant's own choice: the same name is another document for each."""
    with report.check("another's key", "an upload under the key of B's document makes a document of A's own") as check:
        before = scene.state_of_b()
        path, plain = f"{_DOCUMENTS}/by-key/{quote(scene.b.things['key'])}", {"Content-Type": "text/plain"}
        for condition in ('"r1"', "*"):
            answer = scene.a.caller.ask("PUT", path, content=b"mine", headers=plain | {"If-Match": condition})
            check.expect(answer.status_code == 412, f"PUT with If-Match {condition} answered {answer.status_code}")
        put = scene.a.caller.ask("PUT", path, content=b"mine", headers=plain | {"If-None-Match": "*"})
        check.expect(
            put.is_success and put.json()["version"] == 1, "PUT under the key of B's document counts B's versions"
        )
        _expect_own(scene, check, put)
        files = {"file": ("mine.txt", b"mine", "text/plain")}
        post = scene.a.caller.ask("POST", _DOCUMENTS, data={"key": scene.b.things["key"]}, files=files)
        _expect_own(scene, check, post)
        scene.expect_untouched(check, before)


def _expect_own(scene: Scene, check: Check, answer: httpx.Response) -> None:
    asked = f"{answer.request.method} under the key of B's document"
    check.expect(answer.status_code == 201, f"{asked} answered {answer.status_code}")
    made = answer.json() if answer.is_success else {}
    check.expect(made.get("document_id") != scene.b.things["document_id"], f"{asked} led to B's document")
    if made.get("document_id") not in (None, scene.b.things["document_id"]):
        gone = scene.a.caller.ask("DELETE", f"{_DOCUMENTS}/{made['document_id']}").status_code
        check.expect(gone == 204, f"DELETE of A's own document answered {gone}")


def bulk_deletion(scene: Scene, report: Report) -> None:
    with report.check("bulk deletion", "ids of B's among many are not found, and not deleted") as check:
        before = scene.state_of_b()
        theirs, never = scene.b.things["document_id"], NEVER["document_id"]
        answer = scene.a.caller.ask("POST", f"{_DOCUMENTS}/bulk-delete", json={"document_ids": [theirs, never]})
        expected = {"deleted": [], "not_found": [theirs, never]}
        said = {name: answer.json().get(name) for name in expected} if answer.is_success else None
        check.expect(said == expected, "bulk-delete treats B's document as one of A's")
        scene.expect_untouched(check, before)


def idempotency(scene: Scene, report: Report) -> None:
    with report.check("idempotency keys", "an Idempotency-Key that B has used replays nothing to A") as check:
        for content in (b"mine", b"mine"), (b"mine", b"another's"):
            headers = {"Idempotency-Key": new_word()}
            first, second = (
                asker.caller.ask("POST", _DOCUMENTS, headers=headers, files={"file": ("x.txt", raw, "text/plain")})
                for asker, raw in zip((scene.b, scene.a), content, strict=True)
            )
            check.expect(second.status_code == 201, f"A's upload with a key that B used answered {second.status_code}")
            made = [answer.json().get("document_id") if answer.is_success else None for answer in (first, second)]
            check.expect(made[0] != made[1], "A's upload with a key that B used led to B's document")
            check.expect("Idempotency-Replayed" not in second.headers, "B's answer was replayed to A")
            scene.b.caller.ask("DELETE", f"{_DOCUMENTS}/{made[0]}")
            if made[1] not in (None, made[0]):
                scene.mine.add(str(made[1]))


def lists(scene: Scene, report: Report) -> None:
    with report.check("lists", "lists, their filters, totals and cursors show A what is A's") as check:
        canaries = scene.canaries
        selections: list[dict[str, Any]] = [
            {}, {"category": canaries.category}, {"prefix": canaries.key}, {"filename": f"{canaries.name}.txt"},
            {"status": "ready"}, {"uploaded_after": "2020-01-01T00:00:00Z"}, {"limit": 100},
            {f"metadata.{canaries.field_}": canaries.value}, {"metadata.year": "2026"},
        ]  # fmt: skip
        for selection in selections:
            _expect_listed(scene, check, selection)
        other = scene.b.caller.ask("PUT", f"{_DOCUMENTS}/by-key/more", content=b"more",
                                   headers={"Content-Type": "text/plain"}).json()["document_id"]  # fmt: skip
        cursor = scene.b.caller.ask("GET", _DOCUMENTS, params={"limit": 1}).json()["next_cursor"]
        for key in ("k1", "k2"):
            scene.put_mine(key)
        _expect_listed(scene, check, {"cursor": cursor})
        scene.b.caller.ask("DELETE", f"{_DOCUMENTS}/{other}")


def _expect_listed(scene: Scene, check: Check, selection: dict[str, Any]) -> None:
    answer = scene.a.caller.ask("GET", _DOCUMENTS, params=selection)
    page = answer.json() if answer.is_success else {}
    shown = {document["document_id"] for document in page.get("documents", ())}
    by = ", ".join(selection) or "nothing"
    check.expect(answer.status_code == 200, f"a list by {by} answered {answer.status_code}")
    check.expect(shown <= scene.mine, f"a list by {by} shows A what is not A's")
    check.expect(page.get("total", 0) <= len(scene.mine), f"a list by {by} counts what is not A's")


def searches(scene: Scene, report: Report) -> None:
    with report.check("searches", "no search finds what is B's, by any mode, filter or selection") as check:
        for mode in _MODES:
            queries = (SHARED_QUERY, scene.canaries.text)
            for query, selection in itertools.product(queries, _selections(scene)):
                _expect_found(scene, check, query, mode, selection)
            _expect_none(scene, check, mode)
            _expect_found_together(scene, check, mode)
            own = _search(scene.b.caller, scene.canaries.text, mode, {})
            ids = [result["document_id"] for result in own.json().get("results", ())]
            check.expect(
                ids == [scene.b.things["document_id"]],
                f"B's own search ({mode}) does not find B's document, but {len(ids)} (answer {own.status_code})",
            )


def _selections(scene: Scene) -> Iterator[dict[str, Any]]:
    canaries, theirs = scene.canaries, scene.b.things["document_id"]
    yield {}
    yield {"categories": [canaries.category]}
    yield {"document_ids": [theirs]}
    yield {"document_ids": [theirs, *sorted(scene.mine)]}
    for field, op, value in (
        (canaries.field_, "exists", True), ("key", "eq", canaries.document_key), ("document_id", "eq", theirs),
        ("year", "eq", 2026), ("note", "exists", True),
    ):  # fmt: skip
        yield {"filters": {"field": field, "op": op, "value": value}}
    yield {"filters": {"not": {"field": "year", "op": "eq", "value": 1}}}


def _search(caller: Caller, query: str, mode: str, selection: dict[str, Any]) -> httpx.Response:
    asked = {"query": query, "mode": mode, "limit": 100, "chunks_per_document": 50, **selection}
    return caller.ask("POST", "/api/v1/search", json=asked)


def _expect_found(scene: Scene, check: Check, query: str, mode: str, selection: dict[str, Any]) -> None:
    heard = len(scene.ear.heard)
    answer = _search(scene.a.caller, query, mode, selection)
    page = answer.json() if answer.is_success else {}
    found = {result["document_id"] for result in page.get("results", ())}
    by = f"a search ({mode}) by {', '.join(selection) or 'words'}"
    check.expect(answer.status_code == 200, f"{by} answered {answer.status_code}")
    check.expect(found <= scene.mine, f"{by} finds for A what is not A's")
    check.expect(page.get("total_results", 0) <= len(scene.mine), f"{by} counts what is not A's")
    check.expect(len(scene.ear.heard) == heard, f"{by}: {'; '.join(scene.ear.heard[heard:])}")


def _expect_none(scene: Scene, check: Check, mode: str) -> None:
    """Confined to B's document, a search answers as confined to none that ever was."""
    answers = []
    for document_id in (scene.b.things["document_id"], NEVER["document_id"]):
        answer = _search(scene.a.caller, SHARED_QUERY, mode, {"document_ids": [document_id]}).json()
        answer.pop("execution_time_ms", None)
        answers.append(answer)
    check.expect(answers[0] == answers[1], f"a search ({mode}) tells B's document from one that never was")


def _expect_found_together(scene: Scene, check: Check, mode: str) -> None:
    """Asked together, searches find what each finds alone."""
    queries = [{"query": query, "mode": mode} for query in (SHARED_QUERY, scene.canaries.text)]
    together = scene.a.caller.ask("POST", "/api/v1/search/batch", json={"queries": queries})
    answers = together.json().get("answers", ()) if together.is_success else ()
    check.expect(len(answers) == len(queries), f"searches together ({mode}) answered {together.status_code}")
    for answer in answers:
        found = {result["document_id"] for result in answer["results"]}
        check.expect(found <= scene.mine, f"searches together ({mode}) find for A what is not A's")


def timing(scene: Scene, report: Report) -> None:
    """Figures only: a network's noise proves nothing either way."""
    with report.check("timing", "a wrong secret takes as long to refuse as an unknown key (see the figures)") as check:
        known = {TENANT_KEY: guess_at(scene.b.api_key)}
        unknown = {TENANT_KEY: credentials.mint(secrets.token_bytes).plaintext}
        seconds: dict[str, list[float]] = {"known": [], "unknown": []}
        for _ in range(_TIMED_PAIRS):
            for name, headers in (("known", known), ("unknown", unknown)):
                started = time.perf_counter()
                answer = scene.stranger.ask("GET", _DOCUMENTS, patient=False, headers=headers)
                seconds[name].append(time.perf_counter() - started)
                check.expect(answer.status_code in (401, 429), f"a wrong key was answered {answer.status_code}")
        medians = {name: statistics.median(taken) for name, taken in seconds.items()}
        check.figures["median ms to refuse a wrong secret of B's key"] = round(medians["known"] * 1000, 3)
        check.figures["median ms to refuse a key that never was"] = round(medians["unknown"] * 1000, 3)
        check.figures["ratio of the two"] = round(medians["known"] / medians["unknown"], 3)
