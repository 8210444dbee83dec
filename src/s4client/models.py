"""What the server answers. Fields that are not named here are kept, since a newer server may add some.

Sizes are bytes, times are aware, offsets count Unicode code points.
"""

import base64
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Self, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from s4client.content import sha256_in
from s4client.errors import UnexpectedAnswer

ModelT = TypeVar("ModelT", bound=BaseModel)

END_STATES = frozenset({"ready", "failed"})
"""States that a document does not leave by itself."""


class Model(BaseModel):
    """Tolerant of additions, immutable."""

    model_config = ConfigDict(extra="allow", frozen=True)


class DocumentFailure(Model):
    """Why a document ended `failed`."""

    code: str
    message: str


class Document(Model):
    """A document as uploading and listing show it. `etag` names the revision, for `if_match`; `detected_type` is what
    the bytes were found to be, whatever `content_type` says."""

    document_id: str
    key: str | None = None
    filename: str
    content_type: str
    detected_type: str | None = None
    size: int
    sha256: str
    version: int | str | None = None
    metadata: dict[str, Any] = Field(default_factory=dict)
    uploaded_at: datetime
    status: str
    error: DocumentFailure | None = None
    etag: str | None = None

    @property
    def is_ended(self) -> bool:
        """Whether it is `ready` or `failed`."""
        return self.status in END_STATES


class DocumentDetail(Document):
    """A document with what became of it."""

    chunks: int | None = None
    pages: int | None = None
    last_accessed: datetime | None = None
    indexed_at: datetime | None = None
    progress: Any = None


class DocumentStat(Model):
    """What `HEAD` tells of a document."""

    document_id: str
    status: str
    size: int
    etag: str | None = None

    @classmethod
    def of(cls, headers: Mapping[str, str]) -> Self:
        return _from_headers(
            cls,
            document_id=headers.get("x-s4-document-id"),
            status=headers.get("x-s4-status"),
            size=headers.get("x-s4-size"),
            etag=headers.get("etag"),
        )


class ContentStat(Model):
    """What `HEAD` tells of a download. `sha256` is in hexadecimal."""

    size: int
    content_type: str
    sha256: str | None = None
    etag: str | None = None

    @classmethod
    def of(cls, headers: Mapping[str, str]) -> Self:
        digest = sha256_in(headers.get("repr-digest", ""))
        return _from_headers(
            cls,
            size=headers.get("content-length"),
            content_type=headers.get("content-type"),
            sha256=base64.b64decode(digest).hex() if digest is not None else None,
            etag=headers.get("etag"),
        )


def _from_headers(model: type[ModelT], **values: str | None) -> ModelT:
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise UnexpectedAnswer(f"The headers are not those of a {model.__name__}: {error}") from error


class DocumentPage(Model):
    """One page of a listing. `next_cursor` is None on the last."""

    documents: tuple[Document, ...]
    total: int | None = None
    page: int | None = None
    limit: int | None = None
    next_cursor: str | None = None


class TextPage(Model):
    """Where a page, counted from 1, lies in the text."""

    page: int
    char_start: int
    char_end: int


class DocumentText(Model):
    """The text that was extracted from a document. `warnings` are sentences about what was not read."""

    document_id: str
    version: int | str | None = None
    title: str | None = None
    content_type: str | None = None
    text: str
    pages: tuple[TextPage, ...] = ()
    warnings: tuple[str, ...] = ()


class MetadataUpdate(Model):
    """The metadata after a patch."""

    document_id: str
    metadata: dict[str, Any]
    updated_at: datetime
    version: int | None = None


class BulkDeletion(Model):
    """Which documents were deleted and which there were none of."""

    deleted: tuple[str, ...]
    not_found: tuple[str, ...]


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


class Plan(Model):
    """What a tenant may use. A limit that is None does not bind."""

    id: str
    name: str
    storage_limit: int | None = None
    api_calls_limit: int | None = None
    max_file_size: int | None = None
    features: Any = None


class ProfileUsage(Model):
    """What a tenant has used this month."""

    storage_used: int
    storage_used_percent: float | None = None
    api_calls_count: int
    api_calls_percent: float | None = None
    document_count: int
    last_activity: datetime | None = None


class Profile(Model):
    """The tenant that the key speaks for."""

    tenant_id: str
    name: str
    email: str | None = None
    company: str | None = None
    plan: Plan
    usage: ProfileUsage
    created_at: datetime
    status: str


class Tenant(Model):
    """A tenant, as an administrator sees it."""

    id: str
    name: str
    email: str | None = None
    company: str | None = None
    plan_id: str | None = None
    created_at: datetime
    storage_used: int | None = None
    document_count: int | None = None
    api_calls_count: int | None = None
    status: str


class NewTenant(Tenant):
    """A tenant just created. Its `api_key` is in this answer only."""

    api_key: str


class TenantPage(Model):
    """One page of the tenants."""

    tenants: tuple[Tenant, ...]
    total: int | None = None
    page: int | None = None
    limit: int | None = None


class Health(Model):
    """Whether the server would take a request now, and the state of what it depends on."""

    ready: bool
    status: str
    dependencies: dict[str, Any] = Field(default_factory=dict)
