"""HTTP shapes of the audit trail."""

from datetime import datetime
from typing import Any

from pydantic import BaseModel, Field

from s4.domains.audit.queries import Listed
from s4.domains.audit.verifier import Verification


class AuditEntryOut(BaseModel):
    """One act, or several alike."""

    entry_id: str
    at: datetime
    actor_kind: str = Field(description="`admin`, `tenant`, `system`, or `anonymous` for nobody who proved a name.")
    actor: str
    action: str
    subject: str
    tenant_id: str | None
    before: dict[str, Any] | None
    after: dict[str, Any] | None
    address: str | None
    request_id: str | None
    status: int | None = Field(description="Of a call: what it was answered.")
    count: int = Field(description="More than 1: refusals alike within a minute.")
    batch: int | None = Field(description="The sealed batch that holds it; null until it is sealed.")
    position: int | None
    hash: str | None

    @classmethod
    def of(cls, listed: Listed) -> "AuditEntryOut":
        entry = listed.entry
        return cls(
            entry_id=entry.entry_id,
            at=entry.at,
            actor_kind=entry.actor_kind,
            actor=entry.actor,
            action=entry.action,
            subject=entry.subject,
            tenant_id=entry.tenant_id or None,
            before=dict(entry.before) if entry.before is not None else None,
            after=dict(entry.after) if entry.after is not None else None,
            address=entry.address,
            request_id=entry.request_id,
            status=entry.status,
            count=entry.count,
            batch=listed.batch,
            position=listed.position,
            hash=listed.digest,
        )


class AuditPage(BaseModel):
    entries: list[AuditEntryOut]
    next_cursor: str | None


class AuditProblem(BaseModel):
    """The first entry that is not as it was sealed."""

    kind: str = Field(description="`changed`, `removed`, `inserted`, `reordered`, `truncated`.")
    place: str = Field(description="`catalog` or `bucket`.")
    batch: int
    position: int | None
    entry_id: str | None
    message: str


class AuditVerification(BaseModel):
    """What was found from one batch on."""

    ok: bool
    complete: bool = Field(description="False without a problem: ask again, after `batch`.")
    batches: int
    entries: int
    batch: int = Field(description="The last one that holds.")
    position: int
    hash: str = Field(description="Of the last entry that holds. Kept elsewhere, it proves later what stood here.")
    problem: AuditProblem | None

    @classmethod
    def of(cls, found: Verification) -> "AuditVerification":
        problem = found.problem
        return cls(
            ok=problem is None,
            complete=found.complete,
            batches=found.batches,
            entries=found.entries,
            batch=found.head.sequence,
            position=found.head.position,
            hash=found.head.digest,
            problem=None
            if problem is None
            else AuditProblem(
                kind=problem.kind,
                place=problem.place,
                batch=problem.batch,
                position=problem.position,
                entry_id=problem.entry_id,
                message=str(problem),
            ),
        )
