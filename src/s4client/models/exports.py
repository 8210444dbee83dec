"""What a tenant takes along, and brings."""

from datetime import datetime
from typing import Any

from pydantic import Field

from s4client.models.base import Model
from s4client.models.documents import DocumentFailure
from s4client.models.keeping import LegalHold
from s4client.models.tenants import Tenant


class EmbeddingSpace(Model):
    """Vectors of one model, in parts."""

    space: str
    parts: tuple[str, ...]


class TenantExport(Model):
    """What there is to take of a tenant."""

    format: str
    format_version: int
    tenant: Tenant
    settings: dict[str, Any]
    generations: tuple[dict[str, Any], ...]
    embeddings: tuple[EmbeddingSpace, ...]
    documents: int
    processing: int
    stored_bytes: int
    at: datetime


class ExportedDocument(Model):
    """A document as an export has it. `searchable`: by generation the revision whose chunks are; `holds` by `tenant`
    and `operator`."""

    document_id: str
    key: str | None = None
    filename: str
    content_type: str
    detected_type: str | None = None
    size: int
    sha256: str
    metadata: dict[str, Any]
    uploaded_at: datetime
    updated_at: datetime
    version: int
    version_id: str
    content_revision: int
    status: str
    error: DocumentFailure | None = None
    chunks: int | None = None
    pages: int | None = None
    searchable: dict[str, int]
    archived_at: datetime | None = None
    holds: dict[str, LegalHold] = Field(default_factory=dict)


class ExportedPage(Model):
    """Some documents in the order of their ids."""

    documents: tuple[ExportedDocument, ...]
    next_after: str | None = None


class ArrivalState(Model):
    """A document there, its id here, and whether it still has to come: its `state` is `missing`, `here`, `changed` or
    `deleted`."""

    source_document_id: str
    document_id: str
    missing: bool
    state: str


class ImportAnswer(Model):
    """Of each document that was asked about."""

    documents: tuple[ArrivalState, ...]


class Erasure(Model):
    """How far the erasure of a deleted tenant is, and its receipt."""

    tenant_id: str
    state: str
    requested_at: datetime
    erased_at: datetime | None = None
    prove_after: datetime | None = None
    objects: dict[str, int]
    bytes: dict[str, int]
    rows: dict[str, int]
    receipt: dict[str, Any] | None = None


class ErasureList(Model):
    """All of them, and the key by which their receipts are verified."""

    public_key: str
    erasures: tuple[Erasure, ...]
