"""Legal holds, and what goes by the calendar."""

from collections.abc import Mapping
from datetime import datetime

from s4client.models.base import Model


class LegalHold(Model):
    """Why something may not go."""

    reason: str
    placed_at: datetime


class Keeping(Model):
    """Days of a tenant of its own. None: as its plan says; 0: never."""

    retention_days: int | None = None
    archive_after_days: int | None = None


class DocumentHolds(Model):
    """Whose holds keep a document: `holds` by `tenant` and `operator`."""

    document_id: str
    version: int
    legal_hold: bool
    holds: Mapping[str, LegalHold]


class HeldDocument(DocumentHolds):
    """One of those that are held."""

    tenant_id: str
    key: str | None = None
    filename: str


class HeldPage(Model):
    """One page of them."""

    documents: tuple[HeldDocument, ...]
    next_cursor: str | None = None


class Tally(Model):
    """How many documents, and their bytes."""

    documents: int
    bytes: int


class DueDocument(Model):
    """A document whose time is over."""

    document_id: str
    key: str | None = None
    filename: str
    uploaded_at: datetime


class Due(Model):
    """What goes of a tenant: `expired` is deleted, `unread` archived, `held` would be deleted but for a hold."""

    tenant_id: str
    retention_days: int | None = None
    archive_after_days: int | None = None
    expired: Tally
    held: Tally
    unread: Tally
    oldest: tuple[DueDocument, ...] = ()


class RetentionDue(Model):
    """A dry run, as of the moment `at`."""

    at: datetime
    tenants: tuple[Due, ...]


class RetentionDone(Model):
    """What a run did."""

    deleted: int
    deleted_bytes: int
    archived: int
    held: int
