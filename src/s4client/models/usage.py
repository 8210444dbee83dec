"""Use, by the hour, the day or the month, and service levels."""

from datetime import date, datetime
from typing import Literal

from pydantic import AwareDatetime, Field

from s4client.models.base import Model
from s4client.models.plans import ServiceLevel

Granularity = Literal["hour", "day", "month"]
Period = Literal["day", "week", "month"]


class CostEstimate(Model):
    """By the operator's prices; not an invoice."""

    currency: str
    storage: float
    store_requests: float
    embedding: float
    traffic: float
    total: float


class Use(Model):
    """Of a span. Sizes in bytes."""

    calls: int
    calls_by_class: dict[str, int]
    searches: int
    requests: int
    failures: int
    bytes_in: int
    bytes_out: int
    bytes_stored: int
    stored_byte_hours: int
    documents: int
    documents_uploaded: int
    documents_deleted: int
    chunks: int
    embedding_tokens: int
    embedding_tokens_paid: int
    embedding_tokens_cached: int
    store_reads: int
    store_writes: int
    store_bytes_read: int
    store_bytes_written: int
    search_p95_ms: float | None = None
    cost_estimate: CostEstimate


class UseAt(Use):
    """Of the hour, day or month that began at `start`."""

    start: AwareDatetime


class Usage(Model):
    """A tenant's use, from `since` up to, not including, `until`."""

    tenant_id: str
    granularity: str
    since: AwareDatetime = Field(alias="from")
    until: AwareDatetime = Field(alias="to")
    series: tuple[UseAt, ...]
    totals: Use


class HourOfSystem(Model):
    hour: AwareDatetime
    api_calls: int
    document_uploads: int


class SystemAnalytics(Model):
    """All tenants together; `end_date` is included."""

    period: str
    start_date: date
    end_date: date
    total_api_calls: int
    total_storage_used: int
    total_documents: int
    active_tenants: int
    new_tenants: int
    hourly_breakdown: tuple[HourOfSystem, ...]


class CallsShare(Model):
    tenant_id: str
    name: str
    api_calls: int
    percent_of_total: float


class StorageShare(Model):
    tenant_id: str
    name: str
    storage_used: int
    percent_of_total: float


class TopTenants(Model):
    """Who uses the most, the most first."""

    period: str
    start_date: date
    end_date: date
    top_tenants_by_api_calls: tuple[CallsShare, ...]
    top_tenants_by_storage: tuple[StorageShare, ...]


class EndpointHour(Model):
    hour: AwareDatetime
    requests: int


class EndpointUse(Model):
    """What was asked of a route."""

    method: str
    route: str
    requests: int
    refusals: int
    failures: int
    average_ms: float
    bytes_in: int
    bytes_out: int
    percent_of_total: float
    hourly_breakdown: tuple[EndpointHour, ...]


class EndpointAnalytics(Model):
    """Routes, the most asked first; of all tenants where `tenant_id` is None."""

    period: str
    start_date: date
    end_date: date
    tenant_id: str | None = None
    endpoints: tuple[EndpointUse, ...]


class MeasuredLevel(Model):
    """What was promised and what was measured in a month."""

    state: str
    objective: ServiceLevel | None = None
    requests: int
    failures: int
    availability: float | None = None
    failures_allowed: float | None = None
    budget_spent_percent: float | None = None
    searches: int
    search_p95_ms: float | None = None


class TenantServiceLevel(MeasuredLevel):
    tenant_id: str
    name: str
    plan_id: str


class PlanServiceLevel(MeasuredLevel):
    plan_id: str
    tenants: int


class ServiceLevels(Model):
    """A month by plans, and the tenants that spent the most of their budget."""

    month: str
    closed: bool
    unattributed_failures: int
    plans: tuple[PlanServiceLevel, ...]
    tenants: tuple[TenantServiceLevel, ...]


class ServiceLevelDay(Model):
    day: str
    requests: int
    failures: int
    availability: float | None = None
    searches: int
    search_p95_ms: float | None = None


class ServiceLevelReport(Model):
    """A tenant's month; `markdown` is the same as a page."""

    month: str
    closed: bool
    made_at: datetime
    unattributed_failures: int
    tenant: TenantServiceLevel
    days: tuple[ServiceLevelDay, ...]
    markdown: str
