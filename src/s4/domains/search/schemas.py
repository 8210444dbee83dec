"""HTTP shapes of search."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StringConstraints

from s4.engine.ranking import Mode
from s4.platform.http.strict_json import JSON_NUMBER, NOT_BLANK

QUERY_CHARS_MAX = 10_000
DOCUMENT_IDS_MAX = 1_000
OFFSET_MAX = 1_000
CHUNKS_PER_DOCUMENT_MAX = 50


class SearchRequest(BaseModel):
    """What to find, how, and where."""

    model_config = ConfigDict(extra="forbid")

    query: Annotated[
        str,
        StringConstraints(strip_whitespace=True, min_length=1, max_length=QUERY_CHARS_MAX, pattern=NOT_BLANK),
    ]
    mode: Mode = Mode.HYBRID
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


class ChunkOut(BaseModel):
    """A passage that can be cited: offsets count code points of the document's text, highlights of the chunk's."""

    text: str
    score: float
    page: int | None
    char_start: int
    char_end: int
    heading: str | None
    highlights: list[tuple[int, int]]


class ResultOut(BaseModel):
    document_id: str
    key: str | None
    filename: str
    score: float
    metadata: dict[str, Any] | None = None
    chunks: list[ChunkOut] | None = None


class SearchAnswer(BaseModel):
    results: list[ResultOut]
    query: str
    mode: Mode
    total_results: int = Field(description="Documents among the candidates, before paging.")
    execution_time_ms: float
    degraded: bool = Field(description="The query could not be embedded: answered from keywords alone.")
    next_offset: int | None
