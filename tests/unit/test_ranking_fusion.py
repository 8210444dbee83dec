"""Calibrated scores, their fusion, and documents from chunks."""

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s4.engine.ranking import (
    Mode,
    Weights,
    fuse,
    group,
    keyword_score,
    prefer,
    reciprocal_rank,
    semantic_score,
)


@dataclass(frozen=True)
class Found:
    chunk_id: str
    document_id: str
    ordinal: int = 0
    semantic: float | None = None
    keyword: float | None = None


def found(document_id: str, ordinal: int = 0, **scores: float | None) -> Found:
    return Found(f"{document_id}:1:{ordinal}", document_id, ordinal, **scores)


FOUND = st.builds(
    found,
    st.sampled_from(["doc_a", "doc_b", "doc_c", "doc_d"]),
    st.integers(0, 5),
    semantic=st.none() | st.floats(-1, 1),
    keyword=st.none() | st.floats(0, 1000),
)


@given(st.floats(0, 1e6), st.floats(0, 1e6), st.integers(0, 100))
def test_keyword_scores_lie_in_0_to_1_and_keep_the_order(low: float, high: float, terms: int) -> None:
    low, high = sorted((low, high))
    assert 0 <= keyword_score(low, terms=terms) <= keyword_score(high, terms=terms) <= 1


def test_a_missing_score_counts_as_none_found() -> None:
    assert keyword_score(None, terms=3) == keyword_score(0.0, terms=3) == 0
    assert semantic_score(None) == semantic_score(-0.4) == 0
    assert semantic_score(1.0000001) == 1


def test_as_good_a_match_scores_the_same_in_a_short_and_a_long_query() -> None:
    assert keyword_score(4.0, terms=2) == pytest.approx(keyword_score(20.0, terms=10))


@given(st.lists(FOUND, max_size=20), st.sampled_from(Mode), st.integers(0, 10), st.integers(1, 4))
def test_results_are_bounded_sorted_and_complete(
    hits: list[Found], mode: Mode, terms: int, chunks_per_document: int
) -> None:
    scored = fuse(hits, mode=mode, terms=terms)
    documents = group(scored, chunks_per_document=chunks_per_document)

    assert all(0 <= hit.score <= 1 for hit in scored)
    assert [hit.score for hit in scored] == sorted((hit.score for hit in scored), reverse=True)
    assert len({hit.hit.chunk_id for hit in scored}) == len(scored)
    assert [d.score for d in documents] == sorted((d.score for d in documents), reverse=True)
    assert {d.document_id for d in documents} == {hit.hit.document_id for hit in scored}
    for document in documents:
        best = document.chunks[0].score
        assert best <= document.score <= min(1.0, best + 0.025 + 1e-9)
        assert len(document.chunks) <= chunks_per_document
        assert [c.score for c in document.chunks] == sorted((c.score for c in document.chunks), reverse=True)


@given(st.permutations([found(f"doc_{n}", m, semantic=0.5, keyword=2.0) for n in range(3) for m in range(2)]))
def test_the_order_of_equals_does_not_depend_on_the_order_found(hits: list[Found]) -> None:
    documents = group(fuse(hits, mode=Mode.HYBRID, terms=1), chunks_per_document=2)

    assert [d.document_id for d in documents] == ["doc_0", "doc_1", "doc_2"]
    assert [chunk.hit.ordinal for d in documents for chunk in d.chunks] == [0, 1] * 3


def test_each_mode_shows_only_what_its_search_found() -> None:
    both = found("doc_both", semantic=0.5, keyword=3.0)
    near = found("doc_near", semantic=0.9, keyword=0.0)
    word = found("doc_word", semantic=None, keyword=9.0)

    def order(mode: Mode) -> list[str]:
        return [hit.hit.document_id for hit in fuse([both, near, word], mode=mode, terms=1)]

    assert order(Mode.SEMANTIC) == ["doc_near", "doc_both"]
    assert order(Mode.KEYWORD) == ["doc_word", "doc_both"]
    assert set(order(Mode.HYBRID)) == {"doc_both", "doc_near", "doc_word"}
    assert order(Mode.HYBRID)[-1] == "doc_word", "a word alone counts less than meaning alone"


def test_weights_shift_hybrid_from_one_search_to_the_other() -> None:
    near, word = found("doc_near", semantic=0.9, keyword=0.0), found("doc_word", semantic=0.1, keyword=9.0)

    def first(weights: Weights) -> str:
        return fuse([near, word], mode=Mode.HYBRID, terms=1, weights=weights)[0].hit.document_id

    assert first(Weights(semantic=1, keyword=0)) == "doc_near"
    assert first(Weights(semantic=0, keyword=1)) == "doc_word"
    with pytest.raises(ValueError, match="weights"):
        Weights(semantic=0, keyword=0)


def test_further_good_chunks_part_equals_but_do_not_beat_a_better_one() -> None:
    lone = [found("doc_lone", semantic=0.6)]
    broad = [found("doc_broad", n, semantic=0.6) for n in range(5)]
    better = [found("doc_better", semantic=0.65)]

    documents = group(fuse([*lone, *broad, *better], mode=Mode.SEMANTIC, terms=0), chunks_per_document=1)

    assert [d.document_id for d in documents] == ["doc_better", "doc_broad", "doc_lone"]
    assert [len(d.chunks) for d in documents] == [1, 1, 1]


def test_reciprocal_rank_prefers_what_both_searches_found() -> None:
    hits = [
        found("doc_near", semantic=0.9, keyword=0.0),
        found("doc_both", semantic=0.8, keyword=5.0),
        found("doc_word", semantic=None, keyword=6.0),
    ]

    ranked = reciprocal_rank(hits)

    assert ranked[0].hit.document_id == "doc_both"
    assert all(0 < hit.score <= 1 for hit in ranked)
    assert reciprocal_rank([found("doc_a", semantic=0.2, keyword=1.0)])[0].score == pytest.approx(1.0)


@given(st.lists(st.floats(0.01, 1), min_size=2, max_size=8), st.integers(0, 7))
def test_what_has_all_that_was_quoted_comes_before_what_has_nothing_of_it(scores: list[float], which: int) -> None:
    hits = fuse([found(f"doc_{n}", semantic=score) for n, score in enumerate(scores)], mode=Mode.HYBRID, terms=1)
    chosen = f"doc_{which % len(scores)}"

    preferred = prefer(hits, exact=lambda hit: float(hit.document_id == chosen), share=0.5)

    assert preferred[0].hit.document_id == chosen
    assert all(0 <= each.score <= 1 for each in preferred)
    assert [each.hit.chunk_id for each in preferred[1:]] == [
        each.hit.chunk_id for each in hits if each.hit.document_id != chosen
    ]
