"""HTTP shapes of search."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StringConstraints

from s4.domains.search.model import Query
from s4.engine.ranking import Mode
from s4.platform.http.strict_json import JSON_NUMBER, NOT_BLANK

QUERY_CHARS_MAX = 10_000
QUERIES_MAX = 20  # in one call: they hold a place, one after the other, for some 0.2 s
DOCUMENT_IDS_MAX = 1_000
OFFSET_MAX = 1_000
CHUNKS_PER_DOCUMENT_MAX = 50
PADDING_MAX = 10
FACETS_MAX = 10
FACET_CHARS_MAX = 512


class Selection(BaseModel):
    """Which documents, how many, and what of them."""

    model_config = ConfigDict(extra="forbid")

    limit: Annotated[int, Field(ge=1, le=100, description="Documents in the answer."), JSON_NUMBER] = 5
    offset: Annotated[int, Field(ge=0, le=OFFSET_MAX), JSON_NUMBER] = 0
    min_score: Annotated[float, Field(ge=0, le=1), JSON_NUMBER] = 0.0
    categories: Annotated[list[str], Field(max_length=100)] | None = None
    document_ids: Annotated[list[str], Field(max_length=DOCUMENT_IDS_MAX)] | None = None
    filters: dict[str, Any] | None = Field(
        None, description='`{"field", "op", "value"}`, or `{"and": [...]}`, `{"or": [...]}`, `{"not": ...}`.'
    )
    include_metadata: StrictBool = True
    include_chunks: StrictBool = True
    chunks_per_document: Annotated[int, Field(ge=1, le=CHUNKS_PER_DOCUMENT_MAX), JSON_NUMBER] = 3
    padding: Annotated[
        int, Field(ge=0, le=PADDING_MAX, description="Chunks before and after each passage."), JSON_NUMBER
    ] = 0
    facets: (
        Annotated[
            list[Annotated[str, StringConstraints(min_length=1, max_length=FACET_CHARS_MAX)]],
            Field(max_length=FACETS_MAX),
        ]
        | None
    ) = Field(None, description="Metadata fields whose values are counted over the documents found.")

    def selected(self, text: str = "", mode: Mode = Mode.HYBRID, *, explain: bool = False) -> Query:
        return Query(
            text=text,
            mode=mode,
            limit=self.limit,
            offset=self.offset,
            min_score=self.min_score,
            categories=self.categories,
            document_ids=self.document_ids,
            filters=self.filters,
            chunks_per_document=self.chunks_per_document,
            with_passages=self.include_chunks,
            padding=self.padding,
            explain=explain,
            facets=self.facets or (),
        )


class SearchRequest(Selection):
    """What to find, how, and where."""

    query: Annotated[
        str,
        StringConstraints(strip_whitespace=True, min_length=1, max_length=QUERY_CHARS_MAX, pattern=NOT_BLANK),
    ]
    mode: Mode = Mode.HYBRID
    explain: StrictBool = Field(False, description="Say of each passage why it is where it is.")

    def asked(self) -> Query:
        return self.selected(self.query, self.mode, explain=self.explain)


class BatchRequest(BaseModel):
    """Several searches, each as `POST /search` takes it."""

    model_config = ConfigDict(extra="forbid")

    queries: Annotated[list[SearchRequest], Field(min_length=1, max_length=QUERIES_MAX)]


class SimilarRequest(Selection):
    """Which of the documents that are like one."""


class NeighbourOut(BaseModel):
    """A chunk beside a passage."""

    text: str
    page: int | None
    char_start: int
    char_end: int
    heading: str | None


class StandingOut(BaseModel):
    """`score` is calibrated to 0..1, `raw` a cosine or a BM25 score, `rank` counts from 1 among the candidates."""

    score: float
    rank: int
    raw: float


class ExplanationOut(BaseModel):
    """Null: that search was not made, or did not find the passage."""

    semantic: StandingOut | None
    keyword: StandingOut | None
    likeness: float | None = Field(description="0..1: to the best passages, in hybrid mode.")
    matched_terms: list[str]


class ChunkOut(BaseModel):
    """A passage that can be cited: offsets count code points of the document's text, highlights of the chunk's."""

    text: str
    score: float
    page: int | None
    char_start: int
    char_end: int
    heading: str | None
    highlights: list[tuple[int, int]]
    before: list[NeighbourOut] | None = None
    after: list[NeighbourOut] | None = None
    explanation: ExplanationOut | None = None


class FacetValueOut(BaseModel):
    value: str | int | float | bool
    count: int


class ResultOut(BaseModel):
    document_id: str
    key: str | None
    filename: str
    score: float
    metadata: dict[str, Any] | None = None
    chunks: list[ChunkOut] | None = None


class FoundOut(BaseModel):
    results: list[ResultOut]
    total_results: int = Field(description="Documents among the candidates, before paging.")
    execution_time_ms: float
    next_offset: int | None
    facets: dict[str, list[FacetValueOut]] | None = Field(
        None, description="Of each field that was asked for, its values by the number of documents, most first."
    )


class SearchAnswer(FoundOut):
    query: str
    mode: Mode
    degraded: bool = Field(description="The query could not be embedded: answered from keywords alone.")


class BatchAnswer(BaseModel):
    answers: list[SearchAnswer] = Field(description="One for each query, in their order.")


class SimilarAnswer(FoundOut):
    document_id: str
