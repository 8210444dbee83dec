"""HTTP shapes of tenants: for the administrator, and of the profile that a tenant sees."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from s4.domains.tenants.model import Tenant, TenantStatus
from s4.platform.http.strict_json import JSON_NUMBER, JSON_TEXT, NOT_BLANK
from s4.platform.http.times import UtcMoment

Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200, pattern=NOT_BLANK)]
Email = Annotated[str, StringConstraints(strip_whitespace=True, max_length=320, pattern=r"^[^@\s]+@[^@\s]+$")]
Days = Annotated[int, Field(ge=0, le=36_500), JSON_NUMBER]
PlanId = Annotated[str, StringConstraints(max_length=40)]


class TenantCreate(BaseModel):
    """What an administrator says of a new tenant."""

    model_config = ConfigDict(extra="forbid")

    name: Name
    email: Email | None = None
    company: Name | None = None
    external_id: Name | None = Field(None, description="Your own name for it; of two tenants not the same.")
    plan_id: PlanId = "local"


class TenantUpdate(BaseModel):
    """What is to change. A field that is absent stays as it is; null empties it, but for the name."""

    model_config = ConfigDict(extra="forbid")

    name: Name = ""
    email: Email | None = None
    company: Name | None = None
    external_id: Name | None = None


class TenantPlan(BaseModel):
    """Another plan, for good or for a time."""

    model_config = ConfigDict(extra="forbid")

    plan_id: PlanId
    expires_at: Annotated[UtcMoment, JSON_TEXT] | None = Field(
        None, description="From then on the tenant is on `then_plan_id`. Null: the plan renews itself every month."
    )
    then_plan_id: PlanId = "free"


class TenantSuspend(BaseModel):
    model_config = ConfigDict(extra="forbid")

    reason: Name | None = Field(None, description="The tenant is told it, by webhook.")


class HoldPlace(BaseModel):
    """Why nothing may go."""

    model_config = ConfigDict(extra="forbid")

    reason: Name = Field(description="A matter's name or number. Stands in the audit trail.")


class KeepingSet(BaseModel):
    """Days of this tenant. Null, or absent: as the plan says. 0: never."""

    model_config = ConfigDict(extra="forbid")

    retention_days: Days | None = Field(None, description="After so many days since its upload a document is deleted.")
    archive_after_days: Days | None = Field(
        None, description="After so many days without a download or a search that found it, a document is archived."
    )


class HoldOut(BaseModel):
    reason: str
    placed_at: datetime


class KeepingOut(BaseModel):
    retention_days: int | None
    archive_after_days: int | None


class TenantOut(BaseModel):
    """A tenant as the administrator sees it; never with a key."""

    id: str
    name: str
    email: str | None
    company: str | None
    external_id: str | None
    plan_id: str = Field(description="The plan in force.")
    plan_expires_at: datetime | None
    then_plan_id: str | None = Field(description="The plan after `plan_expires_at`.")
    status: TenantStatus
    status_reason: str | None
    delete_after: datetime | None = Field(description="Until then a tenant that is being deleted can be activated.")
    created_at: datetime
    storage_used: int = Field(description="Bytes of live documents.")
    document_count: int
    api_calls_count: int = Field(description="Of this calendar month in UTC.")
    legal_hold: HoldOut | None = Field(description="Of the tenant as a whole.")
    keeping: KeepingOut = Field(description="What is set for this tenant; null is as its plan says.")

    @classmethod
    def of(cls, tenant: Tenant) -> "TenantOut":
        hold = tenant.hold
        return cls(
            id=tenant.tenant_id,
            name=tenant.name,
            email=tenant.email,
            company=tenant.company,
            external_id=tenant.external_id,
            plan_id=tenant.plan_id,
            plan_expires_at=tenant.plan_expires_at,
            then_plan_id=tenant.then_plan_id,
            status=TenantStatus(tenant.status),
            status_reason=tenant.status_reason,
            delete_after=tenant.delete_after,
            created_at=tenant.created_at,
            storage_used=tenant.stored_bytes,
            document_count=tenant.documents,
            api_calls_count=tenant.calls,
            legal_hold=HoldOut(reason=hold.reason, placed_at=hold.placed_at) if hold is not None else None,
            keeping=KeepingOut(
                retention_days=tenant.keeping.retention_days, archive_after_days=tenant.keeping.archive_after_days
            ),
        )


class TenantCreated(TenantOut):
    """The only answer that ever holds the key."""

    api_key: str


class TenantPage(BaseModel):
    tenants: list[TenantOut]
    total: int
    page: int
    limit: int


class ProfilePlan(BaseModel):
    """Sizes in bytes, calls by calendar month in UTC; null is without limit."""

    id: str
    name: str
    storage_limit: int | None
    api_calls_limit: int | None
    max_file_size: int | None
    features: list[str]


class ProfileUsage(BaseModel):
    """What the tenant holds, and what it has called in this calendar month in UTC. Without a limit there is no
    percentage."""

    storage_used: int
    storage_used_percent: float | None
    api_calls_count: int
    api_calls_percent: float | None
    document_count: int
    last_activity: datetime | None


class ProfileOut(BaseModel):
    """The tenant that the key speaks for."""

    tenant_id: str
    name: str
    email: str | None
    company: str | None
    plan: ProfilePlan
    usage: ProfileUsage
    created_at: datetime
    status: TenantStatus
    maintenance: list[dict[str, Any]] = Field(description="Windows that are announced or under way.")
