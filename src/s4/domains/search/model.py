"""What is asked of a search, and what it answers."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from s4.domains.search.queries import Found
from s4.engine.ranking import Mode
from s4.engine.vectors import Hit


@dataclass(frozen=True, slots=True)
class SearchLimits:
    candidates: int
    query_timeout: timedelta


@dataclass(frozen=True, slots=True)
class Query:
    """What to find. `filters` is the HTTP contract's tree; `padding` how many chunks before and after a passage come
    with it; `facets` the metadata fields whose values are counted."""

    text: str
    mode: Mode = Mode.HYBRID
    limit: int = 5
    offset: int = 0
    min_score: float = 0.0
    categories: Sequence[str] | None = None
    document_ids: Sequence[str] | None = None
    filters: dict[str, Any] | None = None
    chunks_per_document: int = 3
    with_passages: bool = True
    padding: int = 0
    explain: bool = False
    facets: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Standing:
    """How a chunk did in one of the two searches: its calibrated score, 0..1, and its place among the candidates,
    from 1. `raw` is the cosine, or the BM25 score."""

    score: float
    rank: int
    raw: float


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a passage is where it is. None: that search was not made, or did not find it."""

    semantic: Standing | None
    keyword: Standing | None
    likeness: float | None
    """0..1: to the best passages; None where that does not count."""
    matched_terms: list[str]
    """Words of the query, as they stand there, that the passage or its heading has in some form, and phrases and
    identifiers that it has exactly."""


@dataclass(frozen=True, slots=True)
class Passage:
    """A chunk in an answer. `before` and `after` are its neighbours, in the order of the text."""

    hit: Hit
    score: float
    highlights: list[tuple[int, int]]
    explanation: Explanation | None = None
    before: Sequence[Hit] = ()
    after: Sequence[Hit] = ()


@dataclass(frozen=True, slots=True)
class Result:
    """A document in an answer, best passages first."""

    document: Found
    score: float
    passages: list[Passage]


@dataclass(frozen=True, slots=True)
class FacetValue:
    """How many documents have this value of a metadata field, be it one of a list."""

    value: str | int | float | bool
    count: int


@dataclass(frozen=True, slots=True)
class Answer:
    results: list[Result] = field(default_factory=list)
    total: int = 0
    degraded: bool = False
    next_offset: int | None = None
    facets: dict[str, list[FacetValue]] = field(default_factory=dict)
    seconds: float = 0.0
    """How long it took; of queries that were embedded together with its share of that."""
