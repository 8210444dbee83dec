"""HTTP shapes of holds and of what the calendar does."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from s4.domains.documents.keeping.retention import Done, Due
from s4.domains.documents.model import Document
from s4.domains.documents.queries.keeping import Tally
from s4.platform.http.strict_json import NOT_BLANK

Reason = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200, pattern=NOT_BLANK)]


class DocumentHoldPlace(BaseModel):
    """Why the document may not go."""

    model_config = ConfigDict(extra="forbid")

    reason: Reason = Field(description="A matter's name or number. Stands in the audit trail.")


class DocumentHoldOut(BaseModel):
    reason: str
    placed_at: datetime


class DocumentHolds(BaseModel):
    """Whose holds keep a document."""

    document_id: str
    version: int
    legal_hold: bool
    holds: dict[str, DocumentHoldOut] = Field(description="By who placed it: `tenant` or `operator`.")

    @classmethod
    def of(cls, document: Document) -> "DocumentHolds":
        return cls(**_held(document))


class HeldDocument(DocumentHolds):
    tenant_id: str
    key: str | None
    filename: str

    @classmethod
    def of(cls, document: Document) -> "HeldDocument":
        named = {"tenant_id": document.tenant_id, "key": document.key, "filename": document.filename}
        return cls(**_held(document), **named)


class HeldPage(BaseModel):
    documents: list[HeldDocument]
    next_cursor: str | None


class TallyOut(BaseModel):
    documents: int
    bytes: int

    @classmethod
    def of(cls, tally: Tally) -> "TallyOut":
        return cls(documents=tally.documents, bytes=tally.size_bytes)


class DueDocument(BaseModel):
    document_id: str
    key: str | None
    filename: str
    uploaded_at: datetime


class DueOut(BaseModel):
    """Of one tenant."""

    tenant_id: str
    retention_days: int | None = Field(description="In force: the tenant's own, else its plan's; null is for ever.")
    archive_after_days: int | None
    expired: TallyOut = Field(description="What is deleted.")
    held: TallyOut = Field(description="What would be, but for a legal hold.")
    unread: TallyOut = Field(description="What is archived.")
    oldest: list[DueDocument] = Field(description="Of those that are deleted, the first ten.")

    @classmethod
    def of(cls, due: Due) -> "DueOut":
        return cls(
            tenant_id=due.tenant_id,
            retention_days=due.policy.retention_days,
            archive_after_days=due.policy.archive_after_days,
            expired=TallyOut.of(due.expired),
            held=TallyOut.of(due.held),
            unread=TallyOut.of(due.unread),
            oldest=[
                DueDocument(
                    document_id=each.document_id, key=each.key, filename=each.filename, uploaded_at=each.uploaded_at
                )
                for each in due.next_expiring
            ],
        )


class RetentionDue(BaseModel):
    at: datetime = Field(description="The moment that this is said of.")
    tenants: list[DueOut]


class RetentionRun(BaseModel):
    model_config = ConfigDict(extra="forbid")

    tenant_id: str | None = Field(None, description="Of this tenant only; of all without it.")


class RetentionDone(BaseModel):
    deleted: int
    deleted_bytes: int
    archived: int
    held: int = Field(description="Documents that were passed over because of a hold of their own.")

    @classmethod
    def of(cls, done: Done) -> "RetentionDone":
        return cls(deleted=done.deleted, deleted_bytes=done.deleted_bytes, archived=done.archived, held=done.held)


def _held(document: Document) -> dict[str, Any]:
    return {
        "document_id": document.document_id,
        "version": document.revision,
        "legal_hold": bool(document.holds),
        "holds": {name: DocumentHoldOut(**hold) for name, hold in document.holds.items()},
    }
