"""HTTP shapes of exports and imports. Those of documents are also the lines of an export's files."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from s4.domains.documents.keeping_schemas import DocumentHoldOut, Reason
from s4.domains.documents.schemas import DocumentError
from s4.domains.leaving.erasure_model import Erasure
from s4.domains.leaving.model import (
    FORMAT,
    FORMAT_VERSION,
    PAGE_DOCUMENTS_MAX,
    Arrival,
    ArrivingHold,
    ExportedDocument,
    Presence,
    TenantExport,
)
from s4.domains.tenants.schemas import TenantOut
from s4.kernel.ids import parse_document_id
from s4.platform.http.strict_json import JSON_TEXT
from s4.platform.http.times import UtcMoment


class EmbeddingSpaceOut(BaseModel):
    space: str
    parts: list[str] = Field(description="Each is a file of `…/export/embeddings/{space}/{part}`.")


class TenantExportOut(BaseModel):
    """What there is to take."""

    format: str = FORMAT
    format_version: int = FORMAT_VERSION
    tenant: TenantOut
    settings: dict[str, Any]
    generations: list[dict[str, Any]] = Field(description="Ways of indexing, as `generation.json` describes them.")
    embeddings: list[EmbeddingSpaceOut]
    documents: int
    processing: int = Field(description="Documents that have no chunks yet: wait for them, or export again.")
    stored_bytes: int
    at: datetime

    @classmethod
    def of(cls, found: TenantExport) -> "TenantExportOut":
        return cls(
            tenant=TenantOut.of(found.tenant),
            settings=dict(found.settings),
            generations=[dict(each) for each in found.generations],
            embeddings=[EmbeddingSpaceOut(space=each.space, parts=list(each.parts)) for each in found.embeddings],
            documents=found.documents,
            processing=found.processing,
            stored_bytes=found.stored_bytes,
            at=found.at,
        )


class ExportedDocumentOut(BaseModel):
    """A document as an export has it."""

    document_id: str
    key: str | None
    filename: str
    content_type: str
    detected_type: str | None
    size: int
    sha256: str
    metadata: dict[str, Any]
    uploaded_at: datetime
    updated_at: datetime
    version: int
    version_id: str = Field(description="Of its bytes.")
    content_revision: int = Field(description="Of which its text is.")
    status: str
    error: DocumentError | None
    chunks: int | None
    pages: int | None
    searchable: dict[str, int] = Field(description="By generation, the revision whose chunks are searchable.")
    archived_at: datetime | None
    holds: dict[str, DocumentHoldOut] = Field(description="Legal holds by who placed them: `tenant` or `operator`.")

    @classmethod
    def of(cls, exported: ExportedDocument) -> "ExportedDocumentOut":
        document = exported.document
        error = None
        if document.error_code is not None:
            error = DocumentError(code=document.error_code, message=document.error_message or "")
        return cls(
            document_id=document.document_id,
            key=document.key,
            filename=document.filename,
            content_type=document.content_type,
            detected_type=document.detected_type,
            size=document.size_bytes,
            sha256=document.sha256,
            metadata=dict(document.metadata),
            uploaded_at=document.uploaded_at,
            updated_at=document.updated_at,
            version=document.revision,
            version_id=document.version_id,
            content_revision=document.content_revision,
            status=document.status.value,
            error=error,
            chunks=document.chunks,
            pages=document.pages,
            searchable=dict(exported.searchable),
            archived_at=document.archived_at,
            holds={name: DocumentHoldOut(**hold) for name, hold in document.holds.items()},
        )


class ExportedPage(BaseModel):
    documents: list[ExportedDocumentOut]
    next_after: str | None = Field(description="Ask on with it as `after`; null: these were the last.")


class ChunksQuestion(BaseModel):
    model_config = ConfigDict(extra="forbid")

    generation: Annotated[str, Field(max_length=40)]
    documents: Annotated[dict[str, int], Field(max_length=PAGE_DOCUMENTS_MAX)] = Field(
        description="Their ids and, from their lines, the revisions that are searchable in this generation."
    )


class ArrivingHoldIn(BaseModel):
    """A legal hold there. It is placed here anew, for the same reason."""

    model_config = ConfigDict(extra="ignore")

    reason: Reason
    placed_at: Annotated[UtcMoment, JSON_TEXT]


class ArrivalIn(BaseModel):
    """A document that comes from another deployment: fields of an export's line, of which others are ignored."""

    model_config = ConfigDict(extra="ignore")

    document_id: Annotated[str, Field(max_length=40)]
    key: Annotated[str, Field(max_length=1024)] | None = None
    filename: Annotated[str, Field(min_length=1, max_length=1024)]
    content_type: Annotated[str, Field(max_length=255)]
    size: Annotated[int, Field(ge=0)]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    metadata: dict[str, Any] = Field(default_factory=dict)
    uploaded_at: Annotated[UtcMoment, JSON_TEXT]
    archived_at: Annotated[UtcMoment, JSON_TEXT] | None = None
    holds: dict[Literal["operator", "tenant"], ArrivingHoldIn] = Field(default_factory=dict)

    def arrival(self) -> Arrival:
        """Raises `NotFound` for an id that is none."""
        return Arrival(
            document_id=parse_document_id(self.document_id),
            key=self.key,
            filename=self.filename,
            content_type=self.content_type,
            size_bytes=self.size,
            sha256=self.sha256,
            metadata=self.metadata,
            uploaded_at=self.uploaded_at,
            archived_at=self.archived_at,
            holds={name: ArrivingHold(hold.reason, hold.placed_at) for name, hold in self.holds.items()},
        )


class ImportBegin(BaseModel):
    model_config = ConfigDict(extra="forbid")

    source_tenant_id: Annotated[str, Field(max_length=40)]


class ImportQuestion(BaseModel):
    model_config = ConfigDict(extra="forbid")

    documents: Annotated[list[ArrivalIn], Field(max_length=PAGE_DOCUMENTS_MAX)]


class ArrivalState(BaseModel):
    source_document_id: str
    document_id: str
    missing: bool = Field(description="It still has to come.")
    state: Presence = Field(
        description="`here`: with these bytes, this metadata and this time, and held as it was there; `changed`: "
        "another document is in its place; `deleted`: it was here and was deleted; `missing`: it never was."
    )


class ImportAnswer(BaseModel):
    documents: list[ArrivalState]


class EmbeddingsKept(BaseModel):
    groups: int


class ErasureOut(BaseModel):
    """An erasure and, at its end, the receipt."""

    tenant_id: str
    state: str = Field(description="begun, counted, erased (waits to be looked at again) or proved.")
    requested_at: datetime
    erased_at: datetime | None
    prove_after: datetime | None = Field(description="Then it is looked whether anything has appeared again.")
    objects: dict[str, int] = Field(description="By class: content, text, heads, index, embeddings, configuration.")
    bytes: dict[str, int]
    rows: dict[str, int] = Field(description="Of the catalog, by table.")
    receipt: dict[str, Any] | None = Field(description="Signed. Give it away as it is.")

    @classmethod
    def of(cls, erasure: Erasure) -> "ErasureOut":
        return cls(
            tenant_id=erasure.tenant_id,
            state=erasure.state.value,
            requested_at=erasure.requested_at,
            erased_at=erasure.erased_at,
            prove_after=erasure.prove_after,
            objects=dict(erasure.removed.objects),
            bytes=dict(erasure.removed.bytes),
            rows=dict(erasure.removed.rows),
            receipt=dict(erasure.receipt) if erasure.receipt is not None else None,
        )


class ErasureList(BaseModel):
    public_key: str = Field(description="By which receipts are verified: Ed25519, in base64.")
    erasures: list[ErasureOut]
