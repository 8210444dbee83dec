"""What an upload is told, what it knows of itself, what it answers."""

import hashlib
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from s4.domains.documents.model import Document, DocumentStatus
from s4.domains.documents.queries.idempotency import RememberedAnswer
from s4.kernel.clock import parse_rfc3339
from s4.kernel.ids import DocumentId, TenantId, VersionId
from s4.platform.http.preconditions import NO_PRECONDITIONS, Preconditions


@dataclass(frozen=True, slots=True)
class UploadRequest:
    """What the caller says of the bytes. `create_only`: a live document with this key is a conflict.

    `declared_bytes` is their exact number, if it was declared. `bytes_at_least` and `bytes_at_most` are what a form's
    own length tells of the file in it. What follows `create_only` is of a document that comes from elsewhere: its id
    where it has no key, when it was first uploaded, since when it is archived, and its legal holds, the reasons by who
    placed them.
    """

    filename: str
    content_type: str
    key: str | None = None
    metadata: Mapping[str, Any] | None = None
    idempotency_key: str | None = None
    declared_bytes: int | None = None
    bytes_at_least: int = 0
    bytes_at_most: int | None = None
    preconditions: Preconditions = NO_PRECONDITIONS
    create_only: bool = False
    document_id: DocumentId | None = None
    uploaded_at: datetime | None = None
    archived_at: datetime | None = None
    holds: Mapping[str, str] = field(default_factory=dict)

    @property
    def idempotency_hash(self) -> str | None:
        return hashlib.sha256(self.idempotency_key.encode()).hexdigest() if self.idempotency_key is not None else None


FinishRequest = Callable[[UploadRequest], Awaitable[UploadRequest]]
"""Completes the request from what follows the bytes on the wire (form fields after the file)."""


@dataclass(frozen=True, slots=True)
class UploadResult:
    """`created` is False for a replacement; `replayed` says that nothing was done, because it had been done before."""

    document: Document
    created: bool
    replayed: bool = False


@dataclass(frozen=True, slots=True)
class UploadLimits:
    bytes_max: int
    duration_max: timedelta
    idempotency: timedelta


@dataclass(slots=True)
class Opened:
    """An upload under way. `promised_bytes`: so long may the content become before more room is asked for."""

    document_id: DocumentId
    version_id: VersionId
    promised_bytes: int = 0
    remembered: RememberedAnswer | None = None


@dataclass(frozen=True, slots=True)
class StoredContent:
    size_bytes: int
    sha256: str


def fingerprint(request: UploadRequest, stored: StoredContent) -> str:
    """A hash of everything that the request said."""
    said = [
        request.key,
        request.filename,
        request.content_type,
        dict(request.metadata or {}),
        request.create_only,
        stored.size_bytes,
        stored.sha256,
    ]
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def document_from(tenant_id: TenantId, document_id: DocumentId, revision: int, body: Mapping[str, Any]) -> Document:
    """The document as it was when `body` was committed: just uploaded."""
    uploaded_at = parse_rfc3339(body["uploaded_at"])
    return Document(
        tenant_id=tenant_id,
        document_id=document_id,
        revision=revision,
        key=body["key"],
        version_id=VersionId(body["version_id"]),
        content_revision=body["content_revision"],
        filename=body["filename"],
        content_type=body["content_type"],
        size_bytes=body["size"],
        sha256=body["sha256"],
        metadata=body["metadata"],
        uploaded_at=uploaded_at,
        updated_at=uploaded_at,
        status=DocumentStatus.PROCESSING,
    )
