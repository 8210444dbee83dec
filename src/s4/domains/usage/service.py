"""What a tenant used, told as a series."""

from dataclasses import dataclass
from datetime import datetime

from s4.domains.usage.costs import Cost, Prices, estimate
from s4.domains.usage.ledger import ADDED, LEVELS, SEARCH_BUCKETS, Amounts, Grain, quantile_seconds
from s4.domains.usage.periods import Span, asked_span
from s4.domains.usage.queries import reading
from s4.domains.usage.queries.balances import balance
from s4.kernel.context import TenantContext
from s4.kernel.ids import TenantId
from s4.kernel.permissions import Permission
from s4.platform.database import Database

_NOTHING: Amounts = dict.fromkeys((*ADDED, *LEVELS), 0)


@dataclass(frozen=True, slots=True)
class Use:
    """Of an hour, a day or a month, or of the whole span. `amounts` by names of `ADDED` and `LEVELS`."""

    start: datetime
    amounts: Amounts
    cost: Cost

    @property
    def search_p95_seconds(self) -> float | None:
        return search_p95_seconds(self.amounts)


@dataclass(frozen=True, slots=True)
class Series:
    """One `Use` for each unit of the span, those too in which nothing happened."""

    tenant_id: TenantId
    span: Span
    uses: list[Use]
    total: Use


class UsageService:
    """Reads the ledger."""

    def __init__(self, database: Database, prices: Prices) -> None:
        self._database = database
        self.prices = prices

    async def own(self, context: TenantContext, grain: Grain, start: datetime | None, end: datetime | None) -> Series:
        """What the caller used. Raises `InvalidRequest` for a span that is too long."""
        context.require(Permission.USAGE_READ)
        return await self.of(context.tenant_id, grain, start, end)

    async def of(self, tenant_id: TenantId, grain: Grain, start: datetime | None, end: datetime | None) -> Series:
        """What a tenant used, for who may know it."""
        async with self._database.read() as connection:
            now = await self._database.now(connection)
            span = asked_span(grain, start, end, now)
            rows = await reading.series(connection, tenant_id, grain, span.start, span.end)
            held = await balance(connection, tenant_id)
        present = grain.floor(now)
        if span.start <= present < span.end:  # the sample of this hour may be yet to come
            levels = {"stored_bytes": held.stored_bytes, "documents": held.documents}
            rows[present] = {**rows.get(present, _NOTHING), **levels}
        uses = [self._use(at, rows.get(at, _NOTHING)) for at in span.starts()]
        sums = {name: sum(use.amounts[name] for use in uses) for name in ADDED}
        levels = {name: uses[-1].amounts[name] for name in LEVELS}
        return Series(tenant_id, span, uses, self._use(span.start, sums | levels))

    def _use(self, start: datetime, amounts: Amounts) -> Use:
        return Use(start, amounts, estimate(amounts, self.prices))


def search_p95_seconds(amounts: Amounts) -> float | None:
    """Under which 95 of 100 searches were answered, to the precision of the buckets."""
    return quantile_seconds([amounts[name] for name in SEARCH_BUCKETS], 0.95)
