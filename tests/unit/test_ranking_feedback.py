"""What is like the best passages rises, and nothing else changes its place."""

from dataclasses import dataclass

import numpy as np
import pytest

from s4.engine.ranking import ScoredHit, liken


@dataclass(frozen=True)
class Found:
    chunk_id: str
    vector: np.ndarray | None = None
    semantic: float | None = None
    keyword: float | None = None

    @property
    def document_id(self) -> str:
        return self.chunk_id

    ordinal = 0


def scored(name: str, score: float, *direction: float) -> ScoredHit[Found]:
    return ScoredHit(Found(name, np.array(direction, np.float32) if direction else None), score)


def order(hits: list[ScoredHit[Found]]) -> list[str]:
    return [each.hit.chunk_id for each in hits]


def test_of_two_that_score_alike_the_one_that_is_like_the_best_comes_first() -> None:
    best = [scored(f"best{n}", 0.8, 1, 0.1 * n) for n in range(5)]

    likened = liken([*best, scored("other", 0.41, 0, 1), scored("alike", 0.4, 1, 0.2)])

    assert order(likened)[5:] == ["alike", "other"]
    assert likened[5].likeness == pytest.approx(1.0, abs=0.05)


def test_a_single_good_hit_stands_for_itself() -> None:
    crowd = [scored(f"crowd{n}", 0.2, 0, 1) for n in range(8)]

    best, second = liken([scored("good", 0.7, 1, 0), *crowd])[:2]

    assert best.hit.chunk_id == "good"
    assert best.score == pytest.approx(0.7, abs=0.01)  # means what it meant
    assert second.score < 0.2


def test_where_nothing_fits_nothing_is_lifted() -> None:
    assert all(each.score == pytest.approx(0.1) for each in liken([scored(f"poor{n}", 0.1, 1, 0) for n in range(6)]))


def test_hits_without_vectors_stay_as_they_are() -> None:
    hits = [scored("a", 0.5), scored("b", 0.4)]

    assert liken(hits) == hits
    assert liken([]) == []


def test_a_zero_vector_is_like_nothing() -> None:
    likened = liken([scored("a", 0.5, 1, 0), scored("zero", 0.4, 0, 0)])

    assert [each.likeness for each in likened] == [pytest.approx(1.0), 0.0]
