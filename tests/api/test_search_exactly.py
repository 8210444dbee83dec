"""`POST /search`: what is named or quoted comes first, in any language, and the answer says why."""

from collections.abc import Iterator

import httpx
import pytest

from tests.api.calls import ended, new_tenant, search, upload
from tests.factories.deployment import Deployment

TEXTS = {
    "code": "The pump stopped with ERR-4711 after a minute of running dry.",
    "other code": "The pump stopped with ERR-4712 after a minute of running dry.",
    "pumps": "ERR means error. Pumps show an error ERR when a pump has stopped; 4711 pumps were sold.",
    "part": "Order the seal ab_cd-99/x, or R2D2.77-B, from the catalogue.",
    "tides": "The tides follow the moon, and the ships follow the tides.",
    "moon": "The moon and the tides: how the moon follows, and what the tides follow.",
    "play": "To be, or not to be, that is the question.",
    "name": "Signed by Anneliese Kowalczyk in Gdańsk.",
    "signing": "Contracts are signed by two persons in the office of Anneliese Meier.",
    "german": "Die Rechnungen sind bis zum Monatsende zu begleichen, und die Größe der Häuser zählt.",
    "french": "Les élèves ont été à l'école avec des pêcheurs et leurs mères.",
    "chinese": "我住在东京都附近的一个小城市。",
    "japanese": "私の犬は庭で遊んでいます。",
    "korean": "우리학교에서 운동회를 합니다.",
}


@pytest.fixture(scope="module")
def library(deployment: Deployment) -> Iterator[httpx.Client]:
    with new_tenant(deployment, "Exactly") as tenant:
        for name, text in TEXTS.items():
            upload(tenant, content=text, filename=f"{name}.txt", key=name)
        titled = "<html><head><title>Harbour library visits</title></head><body><p>It opens at nine.</p></body></html>"
        upload(tenant, content=titled, filename="titled.html", key="titled")
        for document in tenant.get("/documents?limit=100").json()["documents"]:
            assert ended(tenant, document["document_id"])["status"] == "ready"
        yield tenant


@pytest.mark.parametrize("mode", ["hybrid", "keyword"])
@pytest.mark.parametrize(
    ("query", "first"),
    [
        ("ERR-4711", "code"),
        ("err-4712", "other code"),
        ("what to do when the pump shows ERR-4712", "other code"),
        ("ab_cd-99/x", "part"),
        ("R2D2.77-B", "part"),
        ('"the tides follow the moon"', "tides"),
        ('"what the tides follow"', "moon"),
        ('"to be or not to be"', "play"),
        ("to be or not to be", "play"),
        ("Anneliese Kowalczyk", "name"),
        ("gdansk", "name"),
        ("Rechnung", "german"),
        ("pecheur", "french"),
        ("ÉCOLE", "french"),
        ("东京", "chinese"),
        ("犬", "japanese"),
        ("학교", "korean"),
        ("libraries", "titled"),
    ],
)
def test_what_is_named_or_quoted_comes_first(library: httpx.Client, query: str, first: str, mode: str) -> None:
    assert search(library, query, mode=mode)["results"][0]["key"] == first


def test_a_long_query_is_searched_by_its_words(library: httpx.Client) -> None:
    query = "the catalogue of seals " + "and so on, as it goes, in many words that say little, " * 30

    assert search(library, query, mode="keyword")["results"][0]["key"] == "part"


def test_a_passage_is_shown_with_its_accents(library: httpx.Client) -> None:
    (chunk,) = search(library, "eleves pecheurs")["results"][0]["chunks"]

    assert chunk["text"] == TEXTS["french"]
    assert [chunk["text"][start:end] for start, end in chunk["highlights"]] == ["élèves", "pêcheurs"]


def test_what_lacks_a_quoted_phrase_scores_below_a_half(library: httpx.Client) -> None:
    first, *others = search(library, '"the tides follow the moon"', mode="keyword", limit=100)["results"]

    assert first["score"] >= 0.5
    assert others
    assert all(other["score"] < 0.5 for other in others)


def test_an_explanation_names_phrases_identifiers_and_likeness(library: httpx.Client) -> None:
    (best, *_) = search(library, '"follow the moon" of ERR-4711', explain=True, limit=100)["results"]
    explained = {
        result["key"]: result["chunks"][0]["explanation"]
        for result in search(library, '"follow the moon" of ERR-4711', explain=True, limit=100)["results"]
    }

    assert best["key"] in {"tides", "code"}
    assert "follow the moon" in explained["tides"]["matched_terms"]
    assert "ERR-4711" in explained["code"]["matched_terms"]
    assert "ERR-4711" not in explained["other code"]["matched_terms"]
    assert all(0 <= each["likeness"] <= 1 for each in explained.values())
    by_keyword = search(library, "moon", mode="keyword", explain=True)["results"][0]["chunks"][0]["explanation"]
    assert by_keyword["likeness"] is None
