"""The vocabulary of documents, between the rooms of this domain and for those above."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from s4.kernel.errors import NotFound
from s4.kernel.ids import DocumentId, TenantId, VersionId


class DocumentStatus(StrEnum):
    """`processing` and `restoring` end in `ready` or `failed` in bounded time. `archived` lasts until somebody wants
    the document back; the catalog keeps `restoring` as `processing` of a document that comes out of the archive."""

    PROCESSING = "processing"
    READY = "ready"
    FAILED = "failed"
    ARCHIVED = "archived"
    RESTORING = "restoring"

    @property
    def is_pending(self) -> bool:
        """Whether it will be another by itself."""
        return self in (DocumentStatus.PROCESSING, DocumentStatus.RESTORING)


@dataclass(frozen=True, slots=True)
class Document:
    """A live document as the catalog has it. `revision` is the ETag; `content_revision` the one of its bytes;
    `content_type` is what its owner said, `detected_type` what its bytes are, once they have been read."""

    tenant_id: TenantId
    document_id: DocumentId
    revision: int
    key: str | None
    version_id: VersionId
    content_revision: int
    filename: str
    content_type: str
    size_bytes: int
    sha256: str
    metadata: Mapping[str, Any]
    uploaded_at: datetime
    updated_at: datetime
    status: DocumentStatus
    detected_type: str | None = None
    stage: str | None = None
    error_code: str | None = None
    error_message: str | None = None
    chunks: int | None = None
    pages: int | None = None
    indexed_at: datetime | None = None
    last_accessed_at: datetime | None = None
    archived_at: datetime | None = None
    holds: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Legal holds by who placed them, each with `reason` and `placed_at`. With any the bytes stay as they are."""


@dataclass(frozen=True, slots=True)
class ListFilter:
    """What a listing selects; None selects all."""

    category: str | None = None
    status: str | None = None
    key_prefix: str | None = None
    filename: str | None = None
    uploaded_after: datetime | None = None
    uploaded_before: datetime | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)


def missing() -> NotFound:
    """The same answer for what never was, what is gone and what is another's."""
    return NotFound("No such document.")
