"""Pseudo-relevance feedback: what is like the best passages of a query is more likely to answer it, too.

The direction of the best ones is the mean of theirs, each weighed by a power of its score, so that a single good hit
stands for itself and its neighbours in rank do not blur it (Rocchio's idea, with vectors in the place of words). A
passage's likeness to that direction joins its score, scaled by the score of the best: so the best keeps about its own,
and where nothing fits the query nothing is lifted by being like it.
"""

from collections.abc import Sequence
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from s4.engine.ranking.fusion import Candidate, ScoredHit, chunk_order

BEST = 5
"""Passages whose direction is taken."""
SHARPNESS = 4
"""The power of the score that weighs a passage's direction."""
LIKENESS_WEIGHT = 0.5
"""Of likeness to the best, where the score itself weighs 1."""


class WithVector(Candidate, Protocol):
    @property
    def vector(self) -> NDArray[np.float32] | None: ...


V = TypeVar("V", bound=WithVector)


def liken(scored: Sequence[ScoredHit[V]]) -> list[ScoredHit[V]]:
    """Takes hits best first, and sorts them anew. As they were where the best have no vectors."""
    best = [(each.score, each.hit.vector) for each in scored[:BEST] if each.hit.vector is not None]
    if not best:
        return list(scored)
    directions = _directions([vector for _, vector in best])
    (mean,) = _directions([np.array([score for score, _ in best]) ** SHARPNESS @ directions])
    placed = [each for each in scored if each.hit.vector is not None]
    likeness = dict(
        zip(
            (each.hit.chunk_id for each in placed),
            np.clip(_directions([each.hit.vector for each in placed if each.hit.vector is not None]) @ mean, 0, 1),
            strict=True,
        )
    )
    top = scored[0].score

    def mixed(each: ScoredHit[V]) -> ScoredHit[V]:
        like = float(likeness.get(each.hit.chunk_id, 0.0))
        score = (each.score + LIKENESS_WEIGHT * top * like) / (1 + LIKENESS_WEIGHT)
        return ScoredHit(each.hit, score, like)

    return sorted(map(mixed, scored), key=chunk_order)


def _directions(vectors: Sequence[NDArray[np.floating]]) -> NDArray[np.floating]:
    """As rows of length one; a zero vector stays zero."""
    rows = np.stack(vectors)
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.where(norms > 0, norms, 1)
