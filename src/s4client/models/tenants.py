"""Tenants, as they see themselves and as an administrator sees them."""

from datetime import datetime

from s4client.models.base import Model
from s4client.models.keeping import Keeping, LegalHold
from s4client.models.plans import Plan


class ProfileUsage(Model):
    """What a tenant has used this month."""

    storage_used: int
    storage_used_percent: float | None = None
    api_calls_count: int
    api_calls_percent: float | None = None
    document_count: int
    last_activity: datetime | None = None


class Profile(Model):
    """The tenant that the key speaks for."""

    tenant_id: str
    name: str
    email: str | None = None
    company: str | None = None
    plan: Plan
    usage: ProfileUsage
    created_at: datetime
    status: str


class Tenant(Model):
    """A tenant, as an administrator sees it. `plan_id` is the plan in force; at `plan_expires_at` it is
    `then_plan_id`. Until `delete_after` a tenant that is being deleted can be activated again."""

    id: str
    name: str
    email: str | None = None
    company: str | None = None
    external_id: str | None = None
    plan_id: str | None = None
    plan_expires_at: datetime | None = None
    then_plan_id: str | None = None
    status_reason: str | None = None
    delete_after: datetime | None = None
    created_at: datetime
    storage_used: int | None = None
    document_count: int | None = None
    api_calls_count: int | None = None
    status: str
    legal_hold: LegalHold | None = None
    keeping: Keeping | None = None


class NewTenant(Tenant):
    """A tenant just created. Its `api_key` is in this answer only. `replayed`: an earlier request with the same
    Idempotency-Key had created it."""

    api_key: str
    replayed: bool = False


class TenantPage(Model):
    """One page of the tenants."""

    tenants: tuple[Tenant, ...]
    total: int | None = None
    page: int | None = None
    limit: int | None = None
