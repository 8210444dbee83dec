"""Answers to searches."""

from typing import Annotated, Any

from pydantic import BeforeValidator

from s4client.models.base import Model


class Passage(Model):
    """A chunk that matches. `highlights` are spans in `text`, the other offsets in the document's text."""

    text: str
    score: float
    page: int | None = None
    char_start: int | None = None
    char_end: int | None = None
    heading: str | None = None
    highlights: tuple[tuple[int, int], ...] = ()


class SearchResult(Model):
    """A document that matches, with its best passages."""

    document_id: str
    key: str | None = None
    filename: str
    score: float
    metadata: dict[str, Any] | None = None
    chunks: Annotated[tuple[Passage, ...], BeforeValidator(lambda chunks: chunks or ())] = ()


class SearchResults(Model):
    """The answer to a search, best first. `degraded`: from keywords alone, as embedding was not to be had."""

    results: tuple[SearchResult, ...]
    query: str
    mode: str
    total_results: int
    execution_time_ms: float
    degraded: bool = False
    next_offset: int | None = None
