"""`GET /usage`, and what all routes share that answer with a table."""

from typing import Annotated, Any

from fastapi import Depends, Query, Request, Response
from pydantic import AwareDatetime, BeforeValidator

from s4.domains.usage.export import FORMATS, csv_of
from s4.domains.usage.ledger import Grain
from s4.domains.usage.schemas import UsageOut
from s4.domains.usage.service import UsageService
from s4.kernel.permissions import Permission
from s4.platform.http.routing import CurrentTenant, DomainRouter
from s4.platform.http.times import aware, written_out

CSV = "text/csv"
TABLE: dict[int | str, dict[str, Any]] = {200: {"content": {CSV: {"schema": {"type": "string"}}}}}
"""`responses=` of a route that answers with CSV to who asks for it."""


def _day_is_midnight(text: Any) -> Any:
    """`2026-11-25` is its beginning in UTC."""
    text = written_out(text)
    return f"{text}T00:00:00Z" if isinstance(text, str) and len(text) == len("2026-11-25") else text


Moment = Annotated[
    AwareDatetime,
    BeforeValidator(_day_is_midnight),
    Query(description="RFC 3339 with a time zone, or a day in UTC: `2026-11-25`."),
]


async def _wants_csv(
    request: Request,
    as_format: Annotated[
        FORMATS | None, Query(alias="format", description="`csv` as `Accept: text/csv` does; JSON otherwise.")
    ] = None,
) -> bool:
    if as_format is not None:
        return as_format == "csv"
    return CSV in request.headers.get("accept", "")


WantsCsv = Annotated[bool, Depends(_wants_csv)]


def table(rows: list[dict[str, object]], name: str) -> Response:
    """`rows` as a file that a spreadsheet opens."""
    headers = {"Content-Disposition": f'attachment; filename="{name}.csv"'}
    return Response(csv_of(rows), media_type=f"{CSV}; charset=utf-8", headers=headers)


def usage_router(usage: UsageService) -> DomainRouter:
    """A tenant about itself."""
    router = DomainRouter(tags=["usage"])

    @router.get("/usage", permission=Permission.USAGE_READ, counted=False, response_model=UsageOut, responses=TABLE)
    async def get_usage(
        context: CurrentTenant,
        wants_csv: WantsCsv,
        since: Annotated[Moment | None, Query(alias="from")] = None,
        until: Annotated[Moment | None, Query(alias="to", description="Not included. Now, if absent.")] = None,
        granularity: Grain = Grain.DAY,
    ) -> UsageOut | Response:
        """What you used, by the hour (at most 32 days at once), the day (400) or the month (ten years), with an
        estimate of what it cost the operator. Some seconds old."""
        answer = UsageOut.of(await usage.own(context, granularity, aware(since), aware(until)))
        return table(answer.rows(), "usage") if wants_csv else answer

    return router
