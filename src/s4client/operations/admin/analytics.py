"""Use and service levels, as the administrator sees them."""

from datetime import date, datetime

from s4client.flow import Flow, Request, operation
from s4client.models import (
    EndpointAnalytics,
    Granularity,
    Period,
    ServiceLevelReport,
    ServiceLevels,
    SystemAnalytics,
    TopTenants,
    Usage,
)
from s4client.operations.common import API, ServerOperations, given, segment


class AnalyticsOperations(ServerOperations):
    """Look at what is used, and at what was promised."""

    @operation
    def tenant_usage(
        self,
        tenant_id: str,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        granularity: Granularity = "day",
    ) -> Flow[Usage]:
        """What a tenant used."""
        asked = {"from": since, "to": until, "granularity": granularity}
        path = f"{API}/admin/tenants/{segment(tenant_id)}/usage"
        reply = yield from self.send(Request(method="GET", path=path, params=given(**asked), repeatable=True))
        return reply.parse(Usage)

    @operation
    def system_analytics(
        self, *, period: Period = "day", start_date: date | None = None, end_date: date | None = None
    ) -> Flow[SystemAnalytics]:
        """All tenants together, hour by hour."""
        asked = given(period=period, start_date=_day(start_date), end_date=_day(end_date))
        path = f"{API}/admin/analytics/system"
        reply = yield from self.send(Request(method="GET", path=path, params=asked, repeatable=True))
        return reply.parse(SystemAnalytics)

    @operation
    def top_tenants(self, *, period: Period = "month", limit: int = 10) -> Flow[TopTenants]:
        """Who uses the most."""
        path = f"{API}/admin/analytics/tenants"
        asked = given(period=period, limit=limit)
        reply = yield from self.send(Request(method="GET", path=path, params=asked, repeatable=True))
        return reply.parse(TopTenants)

    @operation
    def endpoint_analytics(
        self,
        *,
        period: Period = "day",
        start_date: date | None = None,
        end_date: date | None = None,
        tenant_id: str | None = None,
        limit: int = 50,
    ) -> Flow[EndpointAnalytics]:
        """Which routes are asked, of all tenants or of one."""
        asked = given(
            period=period, start_date=_day(start_date), end_date=_day(end_date), tenant_id=tenant_id, limit=limit
        )
        path = f"{API}/admin/analytics/endpoints"
        reply = yield from self.send(Request(method="GET", path=path, params=asked, repeatable=True))
        return reply.parse(EndpointAnalytics)

    @operation
    def service_levels(
        self, *, tenant_id: str | None = None, month: str | None = None, limit: int = 100
    ) -> Flow[ServiceLevels]:
        """What was promised and measured in a month, as in `2026-11`; the running one if absent."""
        asked = given(tenant_id=tenant_id, month=month, limit=limit)
        reply = yield from self.send(Request(method="GET", path=f"{API}/admin/sla", params=asked, repeatable=True))
        return reply.parse(ServiceLevels)

    @operation
    def service_level_report(self, tenant_id: str, *, month: str | None = None) -> Flow[ServiceLevelReport]:
        """A tenant's month, to be sent to it."""
        asked = given(tenant_id=tenant_id, month=month)
        path = f"{API}/admin/sla/report"
        reply = yield from self.send(Request(method="GET", path=path, params=asked, repeatable=True))
        return reply.parse(ServiceLevelReport)


def _day(day: date | None) -> str | None:
    return day.isoformat() if day is not None else None
