"""A tenant, and the words for what becomes of it.

    active ◄──► suspended
      │ ▲           │
      ▼ └─activate──┤
    deleting ◄──────┘ ──(grace has passed, or confirmed)──► a tombstone: no tenant any more, for nobody

Only an active tenant is served. A tombstone keeps the id for ever, so that a namesake is somebody else.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from s4.kernel.clock import parse_rfc3339, rfc3339
from s4.kernel.ids import GenerationId, TenantId
from s4.platform.security import credentials

Body = Mapping[str, Any]
"""Of a tenant's head: name, email, company, external_id, plan_id, plan_expires_at, then_plan_id, status, status_reason,
delete_after, usage_reset_at, settings, created_at, keys; of one that was created with an Idempotency-Key, idempotency;
of one under a legal hold, hold {reason, placed_at}; where it has days of its own, keeping {retention_days,
archive_after_days}; of one that was moved to another generation of the index, index [{generation, model, role, since,
budget_tokens}]. Of settings there is query_log_days.
Times are RFC 3339. What an older release did not write is absent: read with `get`, write on with `{**body, …}`."""

LIVE = "live"
TOMBSTONE = "tombstone"


@dataclass(frozen=True, slots=True)
class Keeping:
    """For how many days after its upload a document is kept, and after how many without a reader it is archived. Of a
    tenant: None is as its plan says, 0 is never. Of a plan: None is never."""

    retention_days: int | None = None
    archive_after_days: int | None = None


@dataclass(frozen=True, slots=True)
class LegalHold:
    reason: str
    placed_at: datetime


class Role(StrEnum):
    """Of a generation of the index, for one tenant that was moved. Searches read the one that is `served`."""

    SERVED = "served"
    BUILDING = "building"
    KEPT = "kept"
    """It was served before, is written on, and can be gone back to."""


@dataclass(frozen=True, slots=True)
class Holding:
    """A generation that a tenant holds."""

    generation: GenerationId
    model: str
    role: Role
    since: datetime
    budget_tokens: int | None = None

    def said(self) -> dict[str, Any]:
        """For the head."""
        return {
            "generation": self.generation,
            "model": self.model,
            "role": self.role.value,
            "since": rfc3339(self.since),
            "budget_tokens": self.budget_tokens,
        }


def holdings(body: Body) -> dict[GenerationId, Holding]:
    """Empty for a tenant that was never moved."""
    return {
        GenerationId(each["generation"]): Holding(
            GenerationId(each["generation"]),
            each["model"],
            Role(each["role"]),
            parse_rfc3339(each["since"]),
            each["budget_tokens"],
        )
        for each in body.get("index", ())
    }


QUERY_LOG_DAYS = "query_log_days"
"""The setting of a tenant that says how long its queries are kept, to compare generations by; absent: not at all."""


def logs_queries(settings: Mapping[str, Any]) -> bool:
    """Whether the tenant wants its queries kept."""
    return bool(settings.get(QUERY_LOG_DAYS))


class TenantStatus(StrEnum):
    ACTIVE = "active"
    SUSPENDED = "suspended"
    DELETING = "deleting"
    """It can be brought back until `delete_after`; then it goes."""


DELETED = "deleted"
"""The status in a tombstone's body. No tenant that anybody can look at has it."""


@dataclass(frozen=True, slots=True)
class NewTenant:
    name: str
    email: str | None
    company: str | None
    plan_id: str
    external_id: str | None = None
    """The operator's own name for it, of a customer file say."""


@dataclass(frozen=True, slots=True)
class Tenant:
    """A live tenant and what it holds. `plan_id` is the plan in force: of a plan that expired, the next."""

    tenant_id: TenantId
    name: str
    email: str | None
    company: str | None
    external_id: str | None
    plan_id: str
    plan_expires_at: datetime | None
    then_plan_id: str | None
    status: str
    status_reason: str | None
    delete_after: datetime | None
    created_at: datetime
    stored_bytes: int
    documents: int
    calls: int
    """Of this calendar month in UTC."""
    hold: LegalHold | None = None
    keeping: Keeping = Keeping()


def public_body(body: Body) -> dict[str, Any]:
    """A head's body as the audit trail may keep it: without hashes of keys and of Idempotency-Keys."""
    keys = [credentials.without_hash(key) for key in body.get("keys", ())]
    return {name: value for name, value in body.items() if name != "idempotency"} | {"keys": keys}
