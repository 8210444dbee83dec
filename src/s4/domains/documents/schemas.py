"""HTTP shapes of documents. Field names are the contract's."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from s4.domains.documents.model import Document

BULK_DELETE_MAX = 1000


class DocumentError(BaseModel):
    code: str
    message: str


class DocumentSummary(BaseModel):
    """A document as uploads and listings answer it."""

    document_id: str
    key: str | None
    filename: str
    content_type: str = Field(description="As it was uploaded with; if with none, guessed from the filename.")
    detected_type: str | None = Field(
        description="What the bytes are, whatever was declared; null until they are read."
    )
    size: int = Field(description="Bytes.")
    sha256: str
    version: int = Field(description='Revision of the document; also its ETag, as `"r<version>"`.')
    metadata: dict[str, Any]
    uploaded_at: datetime
    status: str = Field(description="processing, ready, failed, archived or restoring.")
    error: DocumentError | None = Field(description="Why it failed.")

    @classmethod
    def of(cls, document: Document) -> "DocumentSummary":
        return cls(**_summary(document))


class DocumentProgress(BaseModel):
    stage: str | None = Field(description="What is being done now: queued, or embedding for a long document.")


class DocumentDetail(DocumentSummary):
    """Everything S4 knows of a document."""

    updated_at: datetime
    chunks: int | None
    pages: int | None
    last_accessed: datetime | None
    indexed_at: datetime | None
    progress: DocumentProgress | None
    archived_at: datetime | None = Field(description="In the archive since then: out of every search, bytes kept.")
    legal_hold: bool = Field(description="Nobody can delete or replace the document while this is true.")

    @classmethod
    def of(cls, document: Document) -> "DocumentDetail":
        return cls(
            **_summary(document),
            updated_at=document.updated_at,
            chunks=document.chunks,
            pages=document.pages,
            last_accessed=document.last_accessed_at,
            indexed_at=document.indexed_at,
            progress=DocumentProgress(stage=document.stage or "queued") if document.status.is_pending else None,
            archived_at=document.archived_at,
            legal_hold=bool(document.holds),
        )


class DocumentPage(BaseModel):
    documents: list[DocumentSummary]
    total: int
    page: int
    limit: int
    next_cursor: str | None


class TextPage(BaseModel):
    page: int
    char_start: int
    char_end: int


class DocumentText(BaseModel):
    """The extracted text. Offsets count code points of `text`."""

    document_id: str
    version: int
    title: str | None
    content_type: str
    text: str
    pages: list[TextPage]
    warnings: list[str] = Field(description="What was not read, as sentences: members of archives, pages of images.")


class MetadataPatched(BaseModel):
    document_id: str
    metadata: dict[str, Any]
    updated_at: datetime
    version: int


class BulkDelete(BaseModel):
    model_config = ConfigDict(extra="forbid")

    document_ids: Annotated[list[str], Field(max_length=BULK_DELETE_MAX)]


class BulkDeleted(BaseModel):
    deleted: list[str]
    not_found: list[str]
    held: list[str] = Field(default=[], description="Not deleted, because of a legal hold.")


def _summary(document: Document) -> dict[str, Any]:
    error = None
    if document.error_code is not None:
        error = DocumentError(code=document.error_code, message=document.error_message or "")
    return {
        "document_id": document.document_id,
        "key": document.key,
        "filename": document.filename,
        "content_type": document.content_type,
        "detected_type": document.detected_type,
        "size": document.size_bytes,
        "sha256": document.sha256,
        "version": document.revision,
        "metadata": dict(document.metadata),
        "uploaded_at": document.uploaded_at,
        "status": document.status.value,
        "error": error,
    }
