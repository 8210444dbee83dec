"""What an export says of a tenant."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from s4.domains.documents import Document
from s4.domains.tenants import Tenant
from s4.kernel.ids import DocumentId

FORMAT = "s4-tenant-export"
FORMAT_VERSION = 2
"""Of the layout: raised when a reader of the one before would misread it. One that passes over holds drops them."""
PAGE_DOCUMENTS_MAX = 500
"""Of one page: their ids stand in one condition on the index."""


@dataclass(frozen=True, slots=True)
class EmbeddingSpace:
    """Vectors of one model, in parts by the first two digits of their groups' hashes."""

    space: str
    parts: Sequence[str]


@dataclass(frozen=True, slots=True)
class TenantExport:
    """What there is to take. `generations` are as `generation.json` describes them; `processing` documents have no
    chunks yet."""

    tenant: Tenant
    settings: Mapping[str, Any]
    generations: Sequence[Mapping[str, Any]]
    embeddings: Sequence[EmbeddingSpace]
    documents: int
    processing: int
    stored_bytes: int
    at: datetime


@dataclass(frozen=True, slots=True)
class ExportedDocument:
    """A document, and by generation the revision whose chunks are searchable."""

    document: Document
    searchable: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class ArrivingHold:
    """A legal hold as it was there."""

    reason: str
    placed_at: datetime


@dataclass(frozen=True, slots=True)
class Arrival:
    """A document that comes from another deployment, as it was there."""

    document_id: DocumentId
    key: str | None
    filename: str
    content_type: str
    size_bytes: int
    sha256: str
    metadata: Mapping[str, Any]
    uploaded_at: datetime
    archived_at: datetime | None = None
    holds: Mapping[str, ArrivingHold] = field(default_factory=dict)
    """By who placed them there, `operator` or `tenant`."""


class Presence(StrEnum):
    """What there is here of an arrival. `CHANGED`: another document in its place, or one that lacks its holds.
    `DELETED`: it was here, and somebody deleted it."""

    MISSING = "missing"
    HERE = "here"
    CHANGED = "changed"
    DELETED = "deleted"
