"""`/admin/sla`."""

from typing import Annotated, Any, Literal

from fastapi import Query, Request, Response

from s4.domains.service_levels.report import markdown
from s4.domains.service_levels.schemas import SlaOut, SlaReportOut
from s4.domains.service_levels.service import ServiceLevels
from s4.domains.usage.periods import month_of
from s4.domains.usage.routes import TABLE, WantsCsv, table
from s4.kernel.ids import parse_tenant_id
from s4.kernel.permissions import Permission
from s4.platform.http.errors import error_responses
from s4.platform.http.routing import CurrentAdmin, DomainRouter

_MARKDOWN = "text/markdown"
_PAGE: dict[int | str, dict[str, Any]] = {200: {"content": {_MARKDOWN: {"schema": {"type": "string"}}}}}
_TENANTS_MAX = 10_000  # of one answer: some 4 MB of JSON

MonthText = Annotated[str | None, Query(description="`2026-11`, in UTC. Absent: the running month.")]


def service_levels_router(levels: ServiceLevels) -> DomainRouter:
    router = DomainRouter(prefix="/admin", tags=["service levels"])
    read = Permission.ADMIN_READ

    @router.get("/sla", permission=read, response_model=SlaOut, responses=TABLE | error_responses(404))
    async def get_sla(
        _: CurrentAdmin,
        wants_csv: WantsCsv,
        tenant_id: str | None = None,
        month: MonthText = None,
        limit: Annotated[int, Query(ge=1, le=_TENANTS_MAX, description="Of the tenants.")] = 100,
    ) -> SlaOut | Response:
        """What plans promise of a month and what was measured: availability, error budget, latency of searches."""
        tenant = parse_tenant_id(tenant_id) if tenant_id is not None else None
        start = month_of(month) if month is not None else None
        answer = SlaOut.of(await levels.month(start, tenant_id=tenant, limit=limit))
        return table(answer.rows(), f"sla-{answer.month}") if wants_csv else answer

    @router.get("/sla/report", permission=read, response_model=SlaReportOut, responses=_PAGE | error_responses(404))
    async def get_sla_report(
        _: CurrentAdmin,
        request: Request,
        tenant_id: str,
        month: MonthText = None,
        as_format: Annotated[
            Literal["json", "markdown"] | None,
            Query(alias="format", description="`markdown` as `Accept: text/markdown` does; JSON otherwise."),
        ] = None,
    ) -> SlaReportOut | Response:
        """A tenant's month, day by day, to be sent to it."""
        start = month_of(month) if month is not None else None
        report = await levels.report(parse_tenant_id(tenant_id), start)
        page = markdown(report)
        asked = as_format or ("markdown" if _MARKDOWN in request.headers.get("accept", "") else "json")
        if asked == "markdown":
            return Response(page, media_type=f"{_MARKDOWN}; charset=utf-8")
        return SlaReportOut.of(report, page)

    return router
