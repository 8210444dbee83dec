"""HTTP shapes of service levels."""

from datetime import datetime
from typing import Any

from pydantic import BaseModel, Field

from s4.domains.plans.schemas import Slo
from s4.domains.service_levels.model import Level, State
from s4.domains.service_levels.service import Month, PlanLevel, Report, TenantLevel


class LevelOut(BaseModel):
    state: State = Field(description="`at_risk` of a running month: 80 % of the budget spent, or searches too slow.")
    objective: Slo | None
    requests: int
    failures: int = Field(description="Answers 5xx, those of a stopping process excepted.")
    availability: float | None = Field(description="Share of requests that did not fail; null without requests.")
    failures_allowed: float | None
    budget_spent_percent: float | None = Field(description="Of the failures allowed; above 100 the promise is broken.")
    searches: int
    search_p95_ms: float | None


class TenantLevelOut(LevelOut):
    tenant_id: str
    name: str
    plan_id: str

    @classmethod
    def of(cls, tenant: TenantLevel) -> "TenantLevelOut":
        named = {"tenant_id": tenant.tenant_id, "name": tenant.name, "plan_id": tenant.plan_id}
        return cls.model_validate(named | _fields(tenant.level))


class PlanLevelOut(LevelOut):
    plan_id: str
    tenants: int

    @classmethod
    def of(cls, plan: PlanLevel) -> "PlanLevelOut":
        return cls.model_validate({"plan_id": plan.plan_id, "tenants": plan.tenants} | _fields(plan.level))


class SlaOut(BaseModel):
    month: str
    closed: bool = Field(description="The month is over.")
    unattributed_failures: int = Field(
        description="Requests that failed before S4 knew who asked; in nobody's figures."
    )
    plans: list[PlanLevelOut] = Field(description="All tenants that are on a plan now, together.")
    tenants: list[TenantLevelOut] = Field(description="Those that spent the most of their budget first.")

    @classmethod
    def of(cls, month: Month) -> "SlaOut":
        return cls(
            month=f"{month.start:%Y-%m}",
            closed=month.closed,
            unattributed_failures=month.unattributed,
            plans=[PlanLevelOut.of(plan) for plan in month.plans],
            tenants=[TenantLevelOut.of(tenant) for tenant in month.tenants],
        )

    def rows(self) -> list[dict[str, object]]:
        """One for each tenant."""
        return [_flat(tenant) for tenant in self.tenants]


class DayOut(BaseModel):
    day: str
    requests: int
    failures: int
    availability: float | None
    searches: int
    search_p95_ms: float | None


class SlaReportOut(BaseModel):
    month: str
    closed: bool
    made_at: datetime
    unattributed_failures: int
    tenant: TenantLevelOut
    days: list[DayOut]
    markdown: str = Field(description="The same as a page.")

    @classmethod
    def of(cls, report: Report, page: str) -> "SlaReportOut":
        return cls(
            month=f"{report.month:%Y-%m}",
            closed=report.tenant.level.closed,
            made_at=report.made_at,
            unattributed_failures=report.unattributed,
            tenant=TenantLevelOut.of(report.tenant),
            days=[
                DayOut(
                    day=f"{day:%Y-%m-%d}",
                    requests=level.requests,
                    failures=level.failures,
                    availability=level.availability,
                    searches=level.searches,
                    search_p95_ms=level.search_p95_ms,
                )
                for day, level in report.days
            ],
            markdown=page,
        )


def _fields(level: Level) -> dict[str, Any]:
    objective = level.objective
    promised = (
        {"availability": objective.availability, "latency_p95_ms": objective.latency_p95_ms} if objective else None
    )
    spent = level.budget_spent
    return {
        "state": level.state,
        "objective": promised,
        "requests": level.requests,
        "failures": level.failures,
        "availability": level.availability,
        "failures_allowed": level.failures_allowed,
        "budget_spent_percent": round(100 * spent, 2) if spent is not None else None,
        "searches": level.searches,
        "search_p95_ms": level.search_p95_ms,
    }


def _flat(tenant: TenantLevelOut) -> dict[str, object]:
    said = tenant.model_dump(mode="json")
    objective = said.pop("objective") or {}
    return said | {f"objective_{name}": objective.get(name) for name in ("availability", "latency_p95_ms")}
