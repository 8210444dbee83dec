"""Reads what the catalog has of a month."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from s4.domains.analytics.service import Share
from s4.domains.reports import cost, performance, queries
from s4.domains.reports.billing import Line, of_month
from s4.domains.reports.cost import Costs, MachinePrices, Waste
from s4.domains.reports.page import Page
from s4.domains.reports.performance import Performance, Route
from s4.domains.service_levels import ServiceLevels
from s4.domains.tenants import queries as tenant_queries
from s4.domains.usage import Prices, storage
from s4.domains.usage.ledger import ADDED, LEVELS, Grain
from s4.domains.usage.queries import balances, reading
from s4.kernel.errors import InvalidRequest
from s4.platform.database import Connection, Database

_SHOWN = 10  # tenants, routes
_NOTHING = dict.fromkeys((*ADDED, *LEVELS), 0)


class ReportService:
    """For whoever may read the whole catalog: it asks for no permission."""

    def __init__(self, database: Database, levels: ServiceLevels, prices: Prices, machines: MachinePrices) -> None:
        self._database = database
        self._levels = levels
        self._prices = prices
        self._machines = machines

    async def performance(self, month: datetime | None) -> Page:
        """Of the running month without `month`. Raises `InvalidRequest` for one that has not begun."""
        return performance.page(await self.measured(month))

    async def cost(self, month: datetime | None, bill: Iterable[Line] | None = None) -> Page:
        """As `performance`; a `bill` in another currency is refused, too."""
        return cost.page(await self.costs(month, bill))

    async def measured(self, month: datetime | None) -> Performance:
        levels = await self._levels.month(month, tenant_id=None, limit=_SHOWN)
        start = levels.start
        async with self._database.snapshot() as connection:
            now = await self._begun(connection, start)
            end = Grain.MONTH.following(start)
            before = Grain.MONTH.floor(start - timedelta(days=1))
            months = await reading.system_series(connection, Grain.MONTH, before, end)
            days = await reading.system_series(connection, Grain.DAY, start, end)
            amounts = months.get(start, _NOTHING)
            if now < end:
                held = await balances.total(connection)
                amounts = {**amounts, "stored_bytes": held.stored_bytes, "documents": held.documents}
            most = await reading.top(connection, Grain.MONTH, start, end, by="calls", limit=_SHOWN)
            names = await tenant_queries.names(connection, [tenant_id for tenant_id, _ in most])
            return Performance(
                start,
                now,
                now >= end,
                amounts,
                months.get(before),
                [(day, days.get(day)) for day in _days(start, min(end, now))],
                levels,
                [_share(each, amounts["calls"], names.get(each[0]) or queries.GONE) for each in most],
                await _routes(connection, start, end),
                await queries.queued(connection, now),
                await queries.fresh(connection, start, end),
            )

    async def costs(self, month: datetime | None, bill: Iterable[Line] | None = None) -> Costs:
        async with self._database.snapshot() as connection:
            start = month or Grain.MONTH.floor(await self._database.now(connection))
            now = await self._begun(connection, start)
            end = Grain.MONTH.following(start)
            uses = await queries.uses(connection, start)
            unread = await queries.unread(connection, now - timedelta(days=cost.UNREAD_DAYS))
            repeated = await queries.repeated(connection)
            held, _ = await storage.held(connection)
        elapsed = min(1.0, (now - start) / (end - start))
        tenants, unborne = cost.model(uses, self._prices, self._machines, elapsed=elapsed)
        billed = of_month(bill, start, end, currency=self._prices.currency) if bill is not None else None
        found = Costs(start, now, now >= end, self._prices, tenants, unborne, [], Waste(unread, repeated, held), billed)
        return replace(found, savings=cost.savings(found, uses, self._machines))

    async def _begun(self, connection: Connection, start: datetime) -> datetime:
        """What time it is."""
        now = await self._database.now(connection)
        if start > now:
            raise InvalidRequest(f"{start:%Y-%m} has not begun.")
        return now


def _days(start: datetime, end: datetime) -> list[datetime]:
    return [start + timedelta(days=number) for number in range(-(-(end - start) // timedelta(days=1)))]


def _share(most: tuple[str, int], total: int, name: str) -> Share:
    tenant_id, amount = most
    return Share(tenant_id, name, amount, 100 * amount / total if total else 0.0)


async def _routes(connection: Connection, start: datetime, end: datetime) -> Sequence[Route]:
    """The most asked first."""
    sums: dict[tuple[str, str], list[int]] = {}
    for row in await reading.endpoints(connection, None, start, end):
        counted = sums.setdefault((row.method, row.route), [0, 0, 0])
        for place, amount in enumerate((row.requests, row.failures, row.microseconds)):
            counted[place] += amount
    most = sorted(sums.items(), key=lambda each: (-each[1][0], each[0]))[:_SHOWN]
    return [
        Route(method, route, requests, failures, microseconds / requests / 1_000_000)
        for (method, route), (requests, failures, microseconds) in most
        if requests
    ]
