"""What a search answers beside its passages: their neighbours, why they are there, counts of metadata; and documents
that are like one."""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import httpx
import pytest

from tests.api.calls import NEVER_EXISTED, assert_refused, new_tenant, search, upload, upload_ready
from tests.factories.deployment import Deployment

ANIMALS = {
    "cats": "The cat sleeps on the warm sofa. Kittens play with wool in July.",
    "lions": "A lion hunts. The cat sleeps on a warm stone, kittens play in July.",
    "tax": "Returns are due in July. Deductions lower income tax.",
}


def long_text(paragraphs: int = 30) -> str:
    """Many chunks; each paragraph has a word of its own."""
    return "\n\n".join(
        f"In July paragraph marker{number} begins. " + "Filling words follow here. " * 40
        for number in range(paragraphs)
    )


@pytest.fixture(scope="module")
def shelf(deployment: Deployment) -> Iterator[httpx.Client]:
    with new_tenant(deployment, "Shelf") as tenant:
        for year, (name, content) in enumerate(ANIMALS.items(), start=2020):
            category = "law" if name == "tax" else "animals"
            metadata = {"category": category, "year": year, "tags": [name, "all", "all"], "flag": True, "n": 1}
            metadata |= {"by": [{"name": "Ann"}, {"name": name}], "no.": [[1], [2, None]]}
            upload_ready(tenant, content, filename=f"{name}.txt", key=name, metadata=metadata)
        upload_ready(tenant, long_text(), filename="long.txt", key="long")
        yield tenant


def document_id(shelf: httpx.Client, key: str) -> str:
    return str(shelf.get(f"/documents/by-key/{key}").json()["document_id"])


def similar(shelf: httpx.Client, key: str, **asked: Any) -> httpx.Response:
    return shelf.post(f"/documents/{document_id(shelf, key)}/similar", json=asked)


def test_padding_brings_the_chunks_beside_a_passage_in_the_order_of_the_text(shelf: httpx.Client) -> None:
    text = shelf.get(f"/documents/{document_id(shelf, 'long')}/text").json()["text"]
    asked = {"mode": "keyword", "limit": 1, "chunks_per_document": 1}
    (plain,) = search(shelf, "marker15", **asked)["results"][0]["chunks"]
    (padded,) = search(shelf, "marker15", padding=2, **asked)["results"][0]["chunks"]
    assert padded.items() >= plain.items()
    assert "before" not in plain
    chunks = [*padded["before"], padded, *padded["after"]]
    assert len(chunks) == 5
    assert [chunk["char_start"] for chunk in chunks] == sorted(chunk["char_start"] for chunk in chunks)
    assert all(text[chunk["char_start"] : chunk["char_end"]] == chunk["text"] for chunk in chunks)
    # Nothing is missing between them.
    assert all(not text[one["char_end"] : two["char_start"]].strip() for one, two in pairwise(chunks))


def test_padding_ends_with_the_document(shelf: httpx.Client) -> None:
    for word, side in (("marker0", "before"), ("marker29", "after")):
        (chunk,) = search(shelf, word, mode="keyword", limit=1, chunks_per_document=1, padding=3)["results"][0][
            "chunks"
        ]
        assert chunk[side] == [] or all(word not in each["text"] for each in chunk[side])
        assert len(chunk["before"]) + len(chunk["after"]) < 6


@pytest.mark.parametrize(
    "body", [{"padding": 11}, {"padding": -1}, {"facets": [""]}, {"facets": ["a"] * 11}, {"explain": 1}]
)
def test_too_much_is_refused(shelf: httpx.Client, body: dict[str, Any]) -> None:
    assert_refused(shelf.post("/search", json={"query": "x", **body}), 422, "invalid_request")


def test_an_answer_of_nothing_but_neighbours_is_refused(shelf: httpx.Client) -> None:
    answer = shelf.post("/search", json={"query": "x", "padding": 10, "limit": 100})
    assert "6000" in assert_refused(answer, 400, "invalid_request")["message"]


def test_an_explanation_tells_ranks_scores_and_the_words_that_match(shelf: httpx.Client) -> None:
    answer = search(shelf, "Hunting lions in winter", explain=True)
    top = answer["results"][0]["chunks"][0]
    explanation = top["explanation"]
    assert explanation["matched_terms"] == ["Hunting", "lions"]
    assert explanation["keyword"]["rank"] == 1
    assert 0 < explanation["keyword"]["score"] < 1 < explanation["keyword"]["raw"]
    mean = (explanation["semantic"]["score"] + explanation["keyword"]["score"]) / 2
    assert top["score"] == pytest.approx(mean * (1 + explanation["likeness"] / 2) / 1.5, abs=1e-5)
    ranks = [chunk["explanation"]["semantic"]["rank"] for each in answer["results"] for chunk in each["chunks"]]
    assert len(set(ranks)) == len(ranks)
    by_keyword = search(shelf, "lion", mode="keyword", explain=True)["results"][0]["chunks"][0]["explanation"]
    assert by_keyword["semantic"] is None
    by_meaning = search(shelf, "lion", mode="semantic", explain=True)["results"][0]["chunks"][0]["explanation"]
    assert by_meaning["keyword"] is None


def test_facets_count_the_documents_found_by_value_and_type(shelf: httpx.Client) -> None:
    asked = ["category", "year", "metadata.tags", "flag", "n", "never", "by.name", "no."]
    facets = search(shelf, "cat lion tax", mode="keyword", limit=1, facets=asked)["facets"]
    assert facets["category"] == [{"value": "animals", "count": 2}, {"value": "law", "count": 1}]
    assert facets["year"] == [{"value": year, "count": 1} for year in (2020, 2021, 2022)]
    assert facets["metadata.tags"][0] == {"value": "all", "count": 3}
    assert facets["flag"] == [{"value": True, "count": 3}]
    assert facets["flag"][0]["value"] is True
    assert facets["n"] == [{"value": 1, "count": 3}]
    assert facets["never"] == []
    assert facets["by.name"][0] == {"value": "Ann", "count": 3}
    assert facets["no."] == [{"value": 1, "count": 3}, {"value": 2, "count": 3}]
    for field, values in facets.items():
        for each in values:
            filters = {"or": [{"field": field, "op": op, "value": each["value"]} for op in ("eq", "contains")]}
            assert search(shelf, "cat lion tax", mode="keyword", filters=filters)["total_results"] == each["count"]
    filtered = search(shelf, "cat lion tax", mode="keyword", categories=["law"], facets=["category"])
    assert filtered["facets"] == {"category": [{"value": "law", "count": 1}]}
    assert "facets" not in search(shelf, "cat")


def test_what_is_like_a_document_comes_first_and_itself_not(shelf: httpx.Client) -> None:
    answer = similar(shelf, "cats", limit=10).json()
    assert answer["document_id"] == document_id(shelf, "cats")
    keys = [result["key"] for result in answer["results"]]
    assert keys[0] == "lions"
    assert "cats" not in keys
    assert similar(shelf, "cats", categories=["law"]).json()["results"][0]["key"] == "tax"
    # Its own chunks are more than a search looks at first; they take nobody's place.
    assert {result["key"] for result in similar(shelf, "long", limit=3).json()["results"]} == set(ANIMALS)


def test_like_what_is_not_there_or_not_searchable(shelf: httpx.Client, deployment: Deployment) -> None:
    assert_refused(shelf.post(f"/documents/{NEVER_EXISTED}/similar", json={}), 404, "not_found")
    with new_tenant(deployment, "Stranger") as stranger:
        theirs = stranger.post(f"/documents/{document_id(shelf, 'cats')}/similar", json={})
        assert_refused(theirs, 404, "not_found")
        broken = upload(stranger, b"%PDF-1.4 broken", filename="broken.pdf")
        stranger.get(f"/documents/{broken['document_id']}", params={"wait": 30})
        refused = stranger.post(f"/documents/{broken['document_id']}/similar", json={})
        assert_refused(refused, 409, "conflict")
