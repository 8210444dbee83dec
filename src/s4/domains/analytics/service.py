"""Questions of the operator."""

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import date, datetime

from s4.domains.tenants import TenantService
from s4.domains.tenants import queries as tenant_queries
from s4.domains.usage import UsageService
from s4.domains.usage.ledger import Grain
from s4.domains.usage.periods import Period, Span, reported_span
from s4.domains.usage.queries import balances, reading
from s4.domains.usage.service import Series
from s4.kernel.ids import TenantId
from s4.platform.database import Database

_SHOWN = ("calls", "documents_uploaded", "stored_bytes", "documents")


@dataclass(frozen=True, slots=True)
class Hour:
    hour: datetime
    api_calls: int
    document_uploads: int


@dataclass(frozen=True, slots=True)
class SystemUse:
    """Of everybody together. Storage and documents are those at the span's end, or now."""

    span: Span
    api_calls: int
    stored_bytes: int
    documents: int
    active_tenants: int
    new_tenants: int
    hours: list[Hour]


@dataclass(frozen=True, slots=True)
class Share:
    """A tenant's part of a whole."""

    tenant_id: str
    name: str
    amount: int
    percent_of_total: float


@dataclass(frozen=True, slots=True)
class TopTenants:
    span: Span
    by_calls: list[Share]
    by_storage: list[Share]


@dataclass(slots=True)
class Endpoint:
    """A route and what was asked of it."""

    method: str
    route: str
    requests: int = 0
    refusals: int = 0
    failures: int = 0
    microseconds: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    hours: dict[datetime, int] = field(default_factory=lambda: defaultdict(int))


class AnalyticsService:
    """Answers in the time that the rows of a period take, whatever the number of tenants."""

    def __init__(self, database: Database, tenants: TenantService, usage: UsageService) -> None:
        self._database = database
        self._tenants = tenants
        self._usage = usage

    async def of_tenant(
        self, tenant_id: TenantId, grain: Grain, start: datetime | None, end: datetime | None
    ) -> Series:
        """As the tenant sees it itself. Raises `NotFound`."""
        await self._tenants.get(tenant_id)
        return await self._usage.of(tenant_id, grain, start, end)

    async def system(self, period: Period, first: date | None, last: date | None) -> SystemUse:
        async with self._database.read() as connection:
            now = await self._database.now(connection)
            span = reported_span(period, first, last, now)
            hours = await reading.system_series(connection, Grain.HOUR, span.start, span.end, _SHOWN)
            units = await reading.system_series(connection, span.grain, span.start, span.end, _SHOWN)
            active = await reading.active_tenants(connection, span.grain, span.start, _last(span))
            new = await tenant_queries.created_between(connection, span.start, span.end)
            if span.end > now or not units:
                held = await balances.total(connection)
                stored_bytes, documents = held.stored_bytes, held.documents
            else:
                ended = units[max(units)]
                stored_bytes, documents = ended["stored_bytes"], ended["documents"]
        whole = Span(Grain.HOUR, span.start, min(span.end, Grain.HOUR.ceiling(now)))
        return SystemUse(
            span,
            sum(unit["calls"] for unit in units.values()),
            stored_bytes,
            documents,
            active,
            new,
            [_hour(at, hours.get(at)) for at in whole.starts()],
        )

    async def top_tenants(self, period: Period, *, limit: int) -> TopTenants:
        async with self._database.read() as connection:
            span = reported_span(period, None, None, await self._database.now(connection))
            calls = await reading.top(connection, span.grain, span.start, span.end, by="calls", limit=limit)
            units = await reading.system_series(connection, span.grain, span.start, span.end, ["calls"])
            stored = await balances.largest(connection, limit)
            held = await balances.total(connection)
            names = await tenant_queries.names(connection, [tenant_id for tenant_id, _ in (*calls, *stored)])
        all_calls = sum(unit["calls"] for unit in units.values())
        return TopTenants(span, _shares(calls, all_calls, names), _shares(stored, held.stored_bytes, names))

    async def endpoints(
        self, period: Period, first: date | None, last: date | None, *, tenant_id: TenantId | None, limit: int
    ) -> tuple[Span, list[Endpoint], int]:
        """Those that were asked the most, the most first, and the number of requests to all of them. Raises `NotFound`
        for a tenant that is none."""
        if tenant_id is not None:
            await self._tenants.get(tenant_id)
        async with self._database.read() as connection:
            span = reported_span(period, first, last, await self._database.now(connection))
            rows = await reading.endpoints(connection, tenant_id, span.start, span.end)
        found: dict[tuple[str, str], Endpoint] = {}
        for row in rows:
            endpoint = found.setdefault((row.method, row.route), Endpoint(row.method, row.route))
            for name in ("requests", "refusals", "failures", "microseconds", "bytes_in", "bytes_out"):
                setattr(endpoint, name, getattr(endpoint, name) + getattr(row, name))
            endpoint.hours[row.hour] += row.requests
        most = sorted(found.values(), key=lambda each: (-each.requests, each.route, each.method))
        return span, most[:limit], sum(each.requests for each in most)


def _last(span: Span) -> datetime:
    """A month's row is of the whole month, though the span ends with today."""
    return Grain.MONTH.following(span.start) if span.grain is Grain.MONTH else span.end


def _hour(at: datetime, amounts: dict[str, int] | None) -> Hour:
    return Hour(at, amounts["calls"], amounts["documents_uploaded"]) if amounts is not None else Hour(at, 0, 0)


def _shares(most: list[tuple[str, int]], total: int, names: dict[str, str]) -> list[Share]:
    return [
        Share(tenant_id, names.get(tenant_id, ""), amount, round(100 * amount / total, 2) if total else 0.0)
        for tenant_id, amount in most
    ]
