"""`/admin/analytics/…` and `/admin/tenants/{tenant_id}/usage`."""

from datetime import date
from enum import StrEnum
from typing import Annotated

from fastapi import Query, Response
from pydantic import BeforeValidator

from s4.domains.analytics.schemas import EndpointOut, EndpointsOut, SystemOut, TopTenantsOut, last_day
from s4.domains.analytics.service import AnalyticsService
from s4.domains.usage.ledger import Grain
from s4.domains.usage.periods import Period
from s4.domains.usage.routes import TABLE, Moment, WantsCsv, table
from s4.domains.usage.schemas import UsageOut
from s4.kernel.ids import parse_tenant_id
from s4.kernel.permissions import Permission
from s4.platform.http.errors import error_responses
from s4.platform.http.routing import CurrentAdmin, DomainRouter
from s4.platform.http.times import aware, written_out

_LIMIT_MAX = 1000  # tenants in one answer


class SortBy(StrEnum):
    API_CALLS = "api_calls"
    STORAGE = "storage"


FirstDay = Annotated[
    date | None, BeforeValidator(written_out), Query(description="In UTC. Absent: as far back as `period` reaches.")
]
LastDay = Annotated[
    date | None,
    BeforeValidator(written_out),
    Query(description="In UTC, included. Absent: today. At most 32 days in all."),
]
Most = Annotated[int, Query(ge=1, le=_LIMIT_MAX, description="The most first.")]


def analytics_router(analytics: AnalyticsService) -> DomainRouter:
    """For administrators. `period`: today, the last seven days, or this calendar month, in UTC."""
    router = DomainRouter(prefix="/admin", tags=["analytics"])
    read = Permission.ADMIN_READ

    @router.get("/tenants/{tenant_id}/usage", permission=read, response_model=UsageOut, responses=TABLE)
    async def get_tenant_usage(
        _: CurrentAdmin,
        tenant_id: str,
        wants_csv: WantsCsv,
        since: Annotated[Moment | None, Query(alias="from")] = None,
        until: Annotated[Moment | None, Query(alias="to", description="Not included. Now, if absent.")] = None,
        granularity: Grain = Grain.DAY,
    ) -> UsageOut | Response:
        """What a tenant used, as `GET /usage` tells it."""
        tenant = parse_tenant_id(tenant_id)
        answer = UsageOut.of(await analytics.of_tenant(tenant, granularity, aware(since), aware(until)))
        return table(answer.rows(), f"usage-{tenant}") if wants_csv else answer

    @router.get("/analytics/system", permission=read, response_model=SystemOut, responses=TABLE)
    async def get_system(
        _: CurrentAdmin,
        wants_csv: WantsCsv,
        period: Period = Period.DAY,
        start_date: FirstDay = None,
        end_date: LastDay = None,
    ) -> SystemOut | Response:
        """Everybody together, hour by hour."""
        answer = SystemOut.of(period, await analytics.system(period, start_date, end_date))
        return table(answer.rows(), "system") if wants_csv else answer

    @router.get("/analytics/tenants", permission=read, response_model=TopTenantsOut, responses=TABLE)
    async def get_top_tenants(
        _: CurrentAdmin,
        wants_csv: WantsCsv,
        period: Period = Period.MONTH,
        limit: Most = 10,
        sort_by: Annotated[
            SortBy, Query(description="Which of the two lists CSV has; JSON has both.")
        ] = SortBy.API_CALLS,
    ) -> TopTenantsOut | Response:
        """Who uses the most, with its part of the whole."""
        answer = TopTenantsOut.of(period, await analytics.top_tenants(period, limit=limit))
        if not wants_csv:
            return answer
        calls, storage = answer.top_tenants_by_api_calls, answer.top_tenants_by_storage
        shown = calls if sort_by is SortBy.API_CALLS else storage
        return table([share.model_dump(mode="json") for share in shown], "tenants")

    @router.get(
        "/analytics/endpoints", permission=read, response_model=EndpointsOut, responses=TABLE | error_responses(404)
    )
    async def get_endpoints(
        _: CurrentAdmin,
        wants_csv: WantsCsv,
        period: Period = Period.DAY,
        start_date: FirstDay = None,
        end_date: LastDay = None,
        tenant_id: Annotated[str | None, Query(description="Of this tenant alone.")] = None,
        limit: Most = 50,
    ) -> EndpointsOut | Response:
        """Which routes tenants ask, hour by hour."""
        tenant = parse_tenant_id(tenant_id) if tenant_id is not None else None
        span, endpoints, total = await analytics.endpoints(period, start_date, end_date, tenant_id=tenant, limit=limit)
        answer = EndpointsOut(
            period=period,
            start_date=span.start.date(),
            end_date=last_day(span),
            tenant_id=tenant,
            endpoints=[EndpointOut.of(endpoint, total) for endpoint in endpoints],
        )
        return table(answer.rows(), "endpoints") if wants_csv else answer

    return router
