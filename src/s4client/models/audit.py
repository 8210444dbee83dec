"""The audit trail."""

from datetime import datetime
from typing import Any

from s4client.models.base import Model


class AuditEntry(Model):
    """One act, or `count` refusals alike within a minute. `hash` and `position` once it is sealed."""

    entry_id: str
    at: datetime
    actor_kind: str
    actor: str
    action: str
    subject: str
    tenant_id: str | None = None
    before: dict[str, Any] | None = None
    after: dict[str, Any] | None = None
    address: str | None = None
    request_id: str | None = None
    status: int | None = None
    count: int = 1
    batch: int | None = None
    position: int | None = None
    hash: str | None = None


class AuditPage(Model):
    """Some entries, newest first."""

    entries: tuple[AuditEntry, ...]
    next_cursor: str | None = None


class AuditProblem(Model):
    """The first entry that is not as it was sealed."""

    kind: str
    place: str
    batch: int
    position: int | None = None
    entry_id: str | None = None
    message: str


class AuditVerification(Model):
    """Whether the trail holds, up to batch `batch`, which ends at `position` with `hash`."""

    ok: bool
    complete: bool
    batches: int
    entries: int
    batch: int
    position: int
    hash: str
    problem: AuditProblem | None = None
