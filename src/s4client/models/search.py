"""Answers to searches."""

from typing import Annotated, Any

from pydantic import BeforeValidator

from s4client.models.base import Model


class Neighbour(Model):
    """A chunk beside a passage. Offsets are code points of the document's text."""

    text: str
    page: int | None = None
    char_start: int | None = None
    char_end: int | None = None
    heading: str | None = None


class Standing(Model):
    """How a passage did in one search: its score in 0..1, its place among the candidates, its cosine or BM25 score."""

    score: float
    rank: int
    raw: float


class Explanation(Model):
    """Why a passage is where it is. None: that search was not made, or did not find it."""

    semantic: Standing | None = None
    keyword: Standing | None = None
    likeness: float | None = None
    matched_terms: tuple[str, ...] = ()


class Passage(Neighbour):
    """A chunk that matches. `highlights` are spans in `text`, the other offsets in the document's text. `before` and
    `after` are there where `padding` was asked for."""

    score: float
    highlights: tuple[tuple[int, int], ...] = ()
    before: tuple[Neighbour, ...] = ()
    after: tuple[Neighbour, ...] = ()
    explanation: Explanation | None = None


class FacetValue(Model):
    """How many of the documents found have this value."""

    value: str | int | float | bool
    count: int


class SearchResult(Model):
    """A document that matches, with its best passages."""

    document_id: str
    key: str | None = None
    filename: str
    score: float
    metadata: dict[str, Any] | None = None
    chunks: Annotated[tuple[Passage, ...], BeforeValidator(lambda chunks: chunks or ())] = ()


class Found(Model):
    """Documents, best first, and how to have more."""

    results: tuple[SearchResult, ...]
    total_results: int
    execution_time_ms: float
    next_offset: int | None = None
    facets: dict[str, tuple[FacetValue, ...]] | None = None


class SearchResults(Found):
    """The answer to a search. `degraded`: from keywords alone, as embedding was not to be had."""

    query: str
    mode: str
    degraded: bool = False


class SearchesTogether(Model):
    """The answers to several searches, in their order."""

    answers: tuple[SearchResults, ...]


class SimilarDocuments(Found):
    """What is like a document, most alike first."""

    document_id: str
