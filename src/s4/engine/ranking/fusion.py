"""Scores that mean the same from one query to the next, their combination, and documents from chunks.

Calibration does not look at the other hits of a query, only at the pair of query and chunk:

- semantic: the cosine similarity, negative ones as 0.
- keyword: x / (1 + x) with x = (m / K) ** 1.5, where m is the BM25 score divided by the number of the query's terms:
  what an average term of the query contributes. A long query collects more BM25 than a short one for as good a match;
  per term they compare. K is the contribution that counts as half; rare words in short chunks come near 1. The power
  keeps a stray common word of a long question from beating a passage that answers in other words.
- hybrid: the mean of the two.

What a query quotes or names exactly is then given its share of the score (`exact_share`), so that a passage which has
it comes before those that have not. In hybrid, the score is mixed with how much a passage is like the best ones
(`feedback`). docs/decisions/0050-fusion.md has what was measured.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, Protocol, TypeVar

KEYWORD_HALF_PER_TERM = 3.0
KEYWORD_STEEPNESS = 1.5
RECIPROCAL_RANK_OFFSET = 60
"""k of Cormack, Clarke and Büttcher, "Reciprocal Rank Fusion", SIGIR 2009."""
FURTHER_CHUNKS_REWARD = 0.1
"""How much further good chunks may lift a document: at most this times score times (1 - score), so 0.025.
Enough to part documents whose best chunks are about equal, too little to beat a clearly better one."""


class Mode(StrEnum):
    HYBRID = "hybrid"
    SEMANTIC = "semantic"
    KEYWORD = "keyword"


@dataclass(frozen=True, slots=True)
class Weights:
    """Shares of the two scores in the hybrid one. Only their ratio counts."""

    semantic: float = 0.5
    keyword: float = 0.5

    def __post_init__(self) -> None:
        if min(self.semantic, self.keyword) < 0 or self.semantic + self.keyword <= 0:
            raise ValueError("weights must not be negative, nor both zero")


class Candidate(Protocol):
    """What ranking needs to know of a hit. `semantic` is a cosine, `keyword` a BM25 score."""

    @property
    def chunk_id(self) -> str: ...
    @property
    def document_id(self) -> str: ...
    @property
    def ordinal(self) -> int: ...
    @property
    def semantic(self) -> float | None: ...
    @property
    def keyword(self) -> float | None: ...


H = TypeVar("H", bound=Candidate)


@dataclass(frozen=True, slots=True)
class ScoredHit(Generic[H]):
    hit: H
    score: float
    """0..1, higher is better."""
    likeness: float | None = None
    """0..1: to the best passages, where that counts."""


@dataclass(frozen=True, slots=True)
class DocumentHit(Generic[H]):
    document_id: str
    score: float
    """0..1, higher is better; as grouped, never below that of its best chunk."""
    chunks: tuple[ScoredHit[H], ...]
    """Best first."""


def semantic_score(cosine: float | None) -> float:
    """0..1 from a cosine in -1..1; 0 when there is none."""
    return min(1.0, max(0.0, cosine or 0.0))


def keyword_score(bm25: float | None, *, terms: int) -> float:
    """0..1 from a BM25 score and the number of the query's terms; 0 when nothing matched."""
    per_term = max(0.0, bm25 or 0.0) / max(1, terms)
    odds: float = (per_term / KEYWORD_HALF_PER_TERM) ** KEYWORD_STEEPNESS
    return odds / (odds + 1)


def fuse(hits: Iterable[H], *, mode: Mode, terms: int, weights: Weights | None = None) -> list[ScoredHit[H]]:
    """Scores each chunk once and sorts by score. `terms`: how many the query has.

    Hits that have nothing in common with the query are left out, and those that the mode's search did not find:
    without a cosine in semantic mode, without a keyword match in keyword mode.
    """
    weights = weights or Weights()
    share = weights.keyword / (weights.semantic + weights.keyword)
    scored: dict[str, ScoredHit[H]] = {}
    for hit in hits:
        semantic, keyword = semantic_score(hit.semantic), keyword_score(hit.keyword, terms=terms)
        if mode is Mode.SEMANTIC:
            score = semantic
        elif mode is Mode.KEYWORD:
            score = keyword
        else:
            score = (1 - share) * semantic + share * keyword
        if score > 0:
            scored[hit.chunk_id] = ScoredHit(hit, score)
    return sorted(scored.values(), key=chunk_order)


def prefer(scored: Iterable[ScoredHit[H]], *, exact: Callable[[H], float], share: float) -> list[ScoredHit[H]]:
    """Gives what the query quotes or names its share of the score. `exact` says how much of it a hit has, 0..1."""
    mixed = (ScoredHit(each.hit, (1 - share) * each.score + share * exact(each.hit), each.likeness) for each in scored)
    return sorted(mixed, key=chunk_order)


def reciprocal_rank(hits: Sequence[H]) -> list[ScoredHit[H]]:
    """The baseline that hybrid must not fall below: position counts, scores do not. Scaled to 0..1."""
    points: defaultdict[str, float] = defaultdict(float)
    best = 2 / (RECIPROCAL_RANK_OFFSET + 1)
    by_meaning = [hit for hit in hits if hit.semantic is not None]
    by_keyword = [hit for hit in hits if hit.keyword]
    by_meaning.sort(key=lambda hit: (-(hit.semantic or 0.0), hit.document_id, hit.ordinal))
    by_keyword.sort(key=lambda hit: (-(hit.keyword or 0.0), hit.document_id, hit.ordinal))
    for ranked in (by_meaning, by_keyword):
        for rank, hit in enumerate(ranked, start=1):
            points[hit.chunk_id] += 1 / (RECIPROCAL_RANK_OFFSET + rank) / best
    unique = {hit.chunk_id: hit for hit in hits}
    return sorted((ScoredHit(hit, points[name]) for name, hit in unique.items()), key=chunk_order)


def group(scored: Iterable[ScoredHit[H]], *, chunks_per_document: int) -> list[DocumentHit[H]]:
    """Documents by score, each with its best chunks. All chunks count for the score, also those not shown."""
    by_document: defaultdict[str, list[ScoredHit[H]]] = defaultdict(list)
    for hit in scored:
        by_document[hit.hit.document_id].append(hit)
    documents = []
    for document_id, chunks in by_document.items():
        chunks.sort(key=chunk_order)
        score = _document_score([chunk.score for chunk in chunks])
        documents.append(DocumentHit(document_id, score, tuple(chunks[:chunks_per_document])))
    return sorted(documents, key=lambda document: (-document.score, document.document_id))


def _document_score(scores: Sequence[float]) -> float:
    """The best of descending scores, plus a bounded reward; each further chunk counts half the one before."""
    best = scores[0]
    if best <= 0:
        return 0.0
    further = sum(score / best * 0.5**place for place, score in enumerate(scores[1:], start=1))
    return best + FURTHER_CHUNKS_REWARD * best * (1 - best) * further


def chunk_order(scored: ScoredHit[H]) -> tuple[float, str, int, str]:
    """Best first; what scores alike is always in the same order."""
    hit = scored.hit
    return (-scored.score, hit.document_id, hit.ordinal, hit.chunk_id)
