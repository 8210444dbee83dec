"""`POST /search`: modes, passages, paging, selection; and what a write changes in the same instant."""

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from typing import Any

import httpx
import pytest

from tests.api.calls import (
    NEVER_EXISTED,
    assert_refused,
    ended,
    found,
    new_tenant,
    put,
    search,
    upload,
    upload_ready,
)
from tests.factories.deployment import Deployment
from tests.factories.files import docx, pdf

MODES = ("hybrid", "semantic", "keyword")
RESULT_FIELDS = {"document_id", "key", "filename", "score", "metadata", "chunks"}
CHUNK_FIELDS = {"text", "score", "page", "char_start", "char_end", "heading", "highlights"}
SUBJECTS = ("harbour", "glacier", "orchard", "lantern", "violin")


def story(subject: str, paragraphs: int = 12) -> str:
    """Longer than one chunk; every paragraph names the subject, with characters of one to four bytes."""
    line = f"Über the {subject} 🚀 there is more to tell: each {subject} differs, said paragraph number"
    return "\n\n".join(f"{line} {number}. " + f"Further words on {subject} lore. " * 20 for number in range(paragraphs))


@pytest.fixture(scope="module")
def library(deployment: Deployment) -> Iterator[httpx.Client]:
    """A tenant with one document per subject, in several formats; tests leave it as it is."""
    with new_tenant(deployment, "Library") as tenant:
        pages = pdf([["The harbour is busy."], ["A quiet page."], ["Ships leave the harbour at dawn."]])
        written = docx([(1, "Ice"), (0, "A glacier moves slowly."), (1, "Melt"), (0, "The glacier melts in summer.")])
        uploads: list[dict[str, Any]] = [
            {"content": pages, "filename": "harbour.pdf", "content_type": "application/pdf"},
            {"content": written, "filename": "glacier.docx", "content_type": "application/octet-stream"},
            *({"content": story(subject), "filename": f"{subject}.txt"} for subject in SUBJECTS[2:]),
        ]
        for year, options in enumerate(uploads, start=2020):
            subject = options["filename"].partition(".")[0]
            metadata = {"category": "nature" if year < 2023 else "things", "year": year, "subject": subject}
            upload(tenant, **options, key=f"library/{subject}", metadata=metadata)
        for document in tenant.get("/documents").json()["documents"]:
            assert ended(tenant, document["document_id"])["status"] == "ready"
        yield tenant


def ids(library: httpx.Client) -> dict[str, str]:
    """Document ids by subject."""
    documents = library.get("/documents").json()["documents"]
    return {document["metadata"]["subject"]: document["document_id"] for document in documents}


# -- what is answered


@pytest.mark.parametrize("mode", MODES)
def test_an_answer_has_every_field_of_the_contract(library: httpx.Client, mode: str) -> None:
    answer = search(library, "orchard", mode=mode)
    assert set(answer) == {
        "results", "query", "mode", "total_results", "execution_time_ms", "degraded", "next_offset",
    }  # fmt: skip
    assert (answer["query"], answer["mode"], answer["degraded"]) == ("orchard", mode, False)
    assert answer["execution_time_ms"] > 0
    assert answer["total_results"] >= len(answer["results"]) >= 1
    best = answer["results"][0]
    assert all(set(result) == RESULT_FIELDS for result in answer["results"])
    assert (best["key"], best["filename"]) == ("library/orchard", "orchard.txt")
    assert best["metadata"] == {"category": "nature", "year": 2022, "subject": "orchard"}
    assert all(set(chunk) == CHUNK_FIELDS for result in answer["results"] for chunk in result["chunks"])


@pytest.mark.parametrize("mode", MODES)
def test_the_document_that_speaks_of_the_query_comes_first(library: httpx.Client, mode: str) -> None:
    for subject, document_id in ids(library).items():
        assert search(library, subject, mode=mode)["results"][0]["document_id"] == document_id


def test_hybrid_is_the_default_and_five_is_the_limit(library: httpx.Client) -> None:
    answer = search(library, "more to tell")
    assert answer["mode"] == "hybrid"
    assert len(answer["results"]) <= 5


@pytest.mark.parametrize("mode", MODES)
def test_scores_lie_in_0_to_1_and_are_the_order(library: httpx.Client, mode: str) -> None:
    for query in (*SUBJECTS, "harbour glacier orchard", "each differs"):
        results = search(library, query, mode=mode, limit=100, chunks_per_document=50)["results"]
        scores = [result["score"] for result in results]
        assert scores == sorted(scores, reverse=True)
        assert all(0 <= score <= 1 for score in scores)
        for result in results:
            passages = [chunk["score"] for chunk in result["chunks"]]
            assert passages == sorted(passages, reverse=True)
            assert all(0 <= score <= result["score"] for score in passages)


@pytest.mark.parametrize("mode", MODES)
def test_a_document_is_answered_once_with_as_many_passages_as_asked(library: httpx.Client, mode: str) -> None:
    for count in (1, 2, 50):
        answer = search(library, "orchard", mode=mode, chunks_per_document=count, limit=100)
        documents = [result["document_id"] for result in answer["results"]]
        assert len(documents) == len(set(documents))
        assert all(1 <= len(result["chunks"]) <= count for result in answer["results"])
    orchard = ids(library)["orchard"]
    chunks = library.get(f"/documents/{orchard}").json()["chunks"]
    assert chunks > 2
    assert len(answer["results"][0]["chunks"]) == chunks


@pytest.mark.parametrize("subject", SUBJECTS)
def test_a_passage_can_be_cited_from_the_documents_text(library: httpx.Client, subject: str) -> None:
    document_id = ids(library)[subject]
    text = library.get(f"/documents/{document_id}/text").json()
    pages = {page["page"]: range(page["char_start"], page["char_end"] + 1) for page in text["pages"]}
    only = {"document_ids": [document_id], "chunks_per_document": 50}
    (result,) = search(library, subject, **only)["results"]
    highlighted = False
    for chunk in result["chunks"]:
        assert chunk["text"] == text["text"][chunk["char_start"] : chunk["char_end"]]
        assert chunk["page"] is None or chunk["char_start"] in pages[chunk["page"]]
        last = 0
        for start, end in chunk["highlights"]:
            assert last <= start < end <= len(chunk["text"])
            assert chunk["text"][start:end].lower() == subject
            highlighted, last = True, end
    assert highlighted


def test_passages_of_a_pdf_name_their_page(library: httpx.Client) -> None:
    (result,) = search(library, "ships dawn", document_ids=[ids(library)["harbour"]], chunks_per_document=50)["results"]
    assert {chunk["page"] for chunk in result["chunks"] if "dawn" in chunk["text"]} == {3}


def test_passages_name_the_heading_above_them(library: httpx.Client) -> None:
    (result,) = search(library, "melts summer", document_ids=[ids(library)["glacier"]])["results"]
    headings = {chunk["heading"] for chunk in result["chunks"] if "summer" in chunk["text"]}
    assert all(heading is not None and "Melt" in heading for heading in headings)


def test_metadata_and_chunks_are_left_out_when_not_wanted(library: httpx.Client) -> None:
    answer = search(library, "orchard", include_metadata=False, include_chunks=False)
    assert all(set(result) == RESULT_FIELDS - {"metadata", "chunks"} for result in answer["results"])
    assert answer["results"]


@pytest.mark.parametrize("mode", MODES)
def test_min_score_cuts_off_what_lies_below(library: httpx.Client, mode: str) -> None:
    scores = [result["score"] for result in search(library, "orchard lantern", mode=mode, limit=100)["results"]]
    bar = scores[0] - 1e-5
    results = search(library, "orchard lantern", mode=mode, limit=100, min_score=bar)["results"]
    assert all(chunk["score"] >= bar for result in results for chunk in result["chunks"])
    assert len(results) <= len(scores)
    assert search(library, "orchard lantern", mode=mode, min_score=1.0)["results"] == []


# -- paging


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("limit", [1, 2, 3, 100])
def test_pages_by_offset_cover_all_results_once_and_in_order(library: httpx.Client, mode: str, limit: int) -> None:
    query = "harbour glacier orchard lantern violin"
    whole = search(library, query, mode=mode, limit=100)
    everything = [result["document_id"] for result in whole["results"]]
    assert len(everything) == 5
    assert (whole["total_results"], whole["next_offset"]) == (5, None)
    walked: list[str] = []
    offset: int | None = 0
    while offset is not None:
        page = search(library, query, mode=mode, limit=limit, offset=offset)
        walked += [result["document_id"] for result in page["results"]]
        offset = page["next_offset"]
        assert offset is None or offset == len(walked)
    assert walked == everything
    assert search(library, query, mode=mode, offset=1000)["results"] == []


def test_a_page_beyond_one_read_of_candidates_is_complete(tenant: httpx.Client) -> None:
    """One document of many good passages must not crowd out the others."""
    crowd = upload(tenant, story("comet", paragraphs=250), key="crowd")["document_id"]
    others = {upload(tenant, f"A comet once, number {n}.")["document_id"] for n in range(8)}
    for document_id in (crowd, *others):
        assert ended(tenant, document_id)["status"] == "ready"
    assert tenant.get(f"/documents/{crowd}").json()["chunks"] > 200
    for mode in MODES:
        assert found(tenant, "comet", mode=mode) == others | {crowd}


def test_pages_have_no_gaps_and_no_repeats_while_other_documents_come_and_go(tenant: httpx.Client) -> None:
    """What is written meanwhile has nothing in common with the query."""
    for number in range(7):
        upload(tenant, f"A comet once, number {number}. " + "It returned. " * number, key=f"comet-{number}")
    for document in tenant.get("/documents").json()["documents"]:
        assert ended(tenant, document["document_id"])["status"] == "ready"
    whole = [result["key"] for result in search(tenant, "comet", mode="keyword", limit=100)["results"]]
    assert sorted(whole) == [f"comet-{number}" for number in range(7)]

    def others() -> None:
        for number in range(12):
            put(tenant, f"other-{number % 3}", f"Barley and rye, sort {number}.")
            if number % 4 == 3:
                tenant.delete(f"/documents/by-key/other-{number % 3}")

    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(others)
        walks = 0
        while not writing.done() or not walks:
            walked: list[str] = []
            offset: int | None = 0
            while offset is not None:
                page = search(tenant, "comet", mode="keyword", limit=2, offset=offset)
                walked += [result["key"] for result in page["results"]]
                offset = page["next_offset"]
            assert walked == whole
            walks += 1
        writing.result()


@pytest.mark.parametrize("before", ["", "🚀🚀 ", "\U00020000\U0001f600é "])
def test_highlights_count_code_points_of_the_passage(tenant: httpx.Client, before: str) -> None:
    """Behind characters that are two units of UTF-16 and four bytes of UTF-8."""
    upload_ready(tenant, f"{before}Violins 🎻 and one violin.")
    ((chunk,),) = [result["chunks"] for result in search(tenant, "violin", mode="keyword")["results"]]
    assert [chunk["text"][start:end] for start, end in chunk["highlights"]] == ["Violins", "violin"]


# -- selection


def test_categories_and_ids_select(library: httpx.Client) -> None:
    by_subject = ids(library)
    nature = {by_subject[subject] for subject in SUBJECTS[:3]}
    things = {by_subject[subject] for subject in SUBJECTS[3:]}
    query = " ".join(SUBJECTS)
    for mode in MODES:
        assert found(library, query, mode=mode, categories=["nature"]) == nature
        assert found(library, query, mode=mode, categories=["nature", "things"]) == nature | things
        assert found(library, query, mode=mode, categories=["none"]) == set()
        assert found(library, query, mode=mode, categories=[]) == set()
        some = [by_subject["violin"], by_subject["harbour"]]
        assert found(library, query, mode=mode, document_ids=some) == set(some)
        assert found(library, query, mode=mode, document_ids=some, categories=["things"]) == {by_subject["violin"]}
        assert found(library, query, mode=mode, document_ids=[NEVER_EXISTED, "nonsense"]) == set()
        assert found(library, query, mode=mode, document_ids=[]) == set()
        late = {"field": "year", "op": "gte", "value": 2022}
        assert found(library, query, mode=mode, categories=["nature"], filters=late) == {by_subject["orchard"]}


def test_a_tenant_without_documents_finds_nothing(reader: httpx.Client) -> None:
    for mode in MODES:
        answer = search(reader, "anything", mode=mode)
        assert (answer["results"], answer["total_results"], answer["next_offset"]) == ([], 0, None)


def test_a_word_that_nothing_says_is_not_found_by_keyword(library: httpx.Client) -> None:
    assert found(library, "xylophone", mode="keyword") == set()


@pytest.mark.parametrize(
    "query",
    ["!!!", "🚀", "the of and", '"unbalanced', "a AND (b OR", "field:value", "*", "-", "\\", "x" * 10_000, "'; --"],
)
def test_any_text_is_a_query_and_none_is_syntax(library: httpx.Client, query: str) -> None:
    for mode in MODES:
        search(library, query, mode=mode)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"query": ""},
        {"query": "   "},
        {"query": "x" * 10_001},
        {"query": "x", "mode": "fuzzy"},
        {"query": "x", "limit": 0},
        {"query": "x", "limit": 101},
        {"query": "x", "offset": -1},
        {"query": "x", "min_score": 1.1},
        {"query": "x", "min_score": -0.1},
        {"query": "x", "chunks_per_document": 0},
        {"query": "x", "categories": "law"},
        {"query": "x", "document_ids": ["x"] * 1001},
        {"query": "x", "filters": []},
        {"query": "x", "filter": {}},
    ],
)
def test_a_search_out_of_bounds_is_refused(reader: httpx.Client, body: dict[str, Any]) -> None:
    assert_refused(reader.post("/search", json=body), 422, "invalid_request")


# -- writes


@pytest.mark.parametrize("mode", MODES)
def test_a_deleted_document_is_gone_in_the_same_instant(tenant: httpx.Client, mode: str) -> None:
    gone, kept = (upload(tenant, f"Tides follow the moon, {n}.", key=n)["document_id"] for n in ("gone", "kept"))
    for document_id in (gone, kept):
        ended(tenant, document_id)
    assert found(tenant, "tides", mode=mode) == {gone, kept}
    tenant.delete(f"/documents/{gone}")
    assert found(tenant, "tides", mode=mode) == {kept}
    tenant.delete("/documents/by-key/kept")
    assert found(tenant, "tides", mode=mode) == set()


def test_a_bulk_deletion_is_gone_in_the_same_instant(tenant: httpx.Client) -> None:
    ready = [upload(tenant, f"Tides, {n}.")["document_id"] for n in range(6)]
    for document_id in ready:
        ended(tenant, document_id)
    tenant.post("/documents/bulk-delete", json={"document_ids": ready[:5]})
    assert found(tenant, "tides") == {ready[5]}


def test_a_replaced_document_is_found_by_its_old_text_until_the_new_one_is_ready(
    idle_tenant: httpx.Client, work: Callable[[], AbstractContextManager[None]]
) -> None:
    with work():
        document_id = put(idle_tenant, "k", "An ancient walrus.").json()["document_id"]
        assert ended(idle_tenant, document_id)["status"] == "ready"
    put(idle_tenant, "k", "A modern falcon.", **{"X-S4-Metadata": '{"n": 2}'})
    for mode in MODES:
        (result,) = search(idle_tenant, "walrus", mode=mode)["results"]
        assert "walrus" in result["chunks"][0]["text"]
        assert found(idle_tenant, "falcon", mode="keyword") == set()
    with work():
        assert ended(idle_tenant, document_id)["status"] == "ready"
    assert found(idle_tenant, "walrus", mode="keyword") == set()
    for mode in MODES:
        (result,) = search(idle_tenant, "falcon", mode=mode)["results"]
        assert "falcon" in result["chunks"][0]["text"]


def test_while_documents_are_replaced_each_is_found_in_exactly_one_version(tenant: httpx.Client) -> None:
    """Searches run against a worker that publishes; at no moment is a document missing, twice there, or mixed."""
    keys = [f"k{number}" for number in range(4)]
    for key in keys:
        upload_ready(tenant, story("walrus", 3), key=key)

    def replace(key: str) -> None:
        for round_ in range(3):
            content = story("falcon" if round_ % 2 == 0 else "walrus", 3)
            ended(tenant, put(tenant, key, content).json()["document_id"])

    with ThreadPoolExecutor(len(keys)) as pool:
        replacing = [pool.submit(replace, key) for key in keys]
        while not all(task.done() for task in replacing):
            results = search(tenant, "walrus falcon", limit=100, chunks_per_document=50)["results"]
            assert sorted(result["key"] for result in results) == keys
            for result in results:
                words = {word for chunk in result["chunks"] for word in ("walrus", "falcon") if word in chunk["text"]}
                assert len(words) == 1
        for task in replacing:
            task.result()
    assert found(tenant, "walrus", mode="keyword") == set()


def test_a_metadata_patch_is_visible_to_filters_in_the_same_instant(tenant: httpx.Client) -> None:
    document_id = upload_ready(tenant, "Tides follow the moon.", metadata={"state": "draft"})["document_id"]
    for state in ("review", "final", "draft"):
        tenant.patch(f"/documents/{document_id}/metadata", json={"state": state})
        for mode in MODES:
            wanted = {"field": "state", "op": "eq", "value": state}
            (result,) = search(tenant, "tides", mode=mode, filters=wanted)["results"]
            assert result["metadata"] == {"state": state}
            assert found(tenant, "tides", mode=mode, filters={"not": wanted}) == set()
    tenant.patch(f"/documents/{document_id}/metadata", json={"category": "law"})
    assert found(tenant, "tides", categories=["law"]) == {document_id}


def test_a_failed_document_is_not_found(tenant: httpx.Client) -> None:
    ended(tenant, upload(tenant, b"", filename="tides.txt", metadata={"about": "tides"})["document_id"])
    ready = upload_ready(tenant, "tides")["document_id"]
    for mode in MODES:
        assert found(tenant, "tides", mode=mode) == {ready}


def test_a_replacement_that_fails_leaves_the_old_text_searchable(tenant: httpx.Client) -> None:
    document_id = upload_ready(tenant, "An ancient walrus.", key="k")["document_id"]
    put(tenant, "k", b"")
    assert ended(tenant, document_id)["status"] == "failed"
    (result,) = search(tenant, "walrus", mode="keyword")["results"]
    assert result["chunks"][0]["text"] == "An ancient walrus."


def test_the_answer_is_utf8_json(library: httpx.Client) -> None:
    raw = library.post("/search", json={"query": "orchard"}).content.decode("utf-8")
    assert "🚀" in json.loads(raw)["results"][0]["chunks"][0]["text"]
