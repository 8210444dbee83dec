"""Measuring, judging, telling."""

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import structlog

from s4.domains.events import EventKind, Events
from s4.domains.plans import PlanService, ServiceLevel
from s4.domains.service_levels import queries
from s4.domains.service_levels.model import Level, State
from s4.domains.usage.ledger import Grain
from s4.domains.usage.queries import reading
from s4.kernel.errors import NotFound
from s4.kernel.ids import TenantId
from s4.platform.database import Connection, Database
from s4.platform.jobs import RegularJob
from s4.platform.telemetry import metrics
from s4.platform.telemetry.metrics import HTTP_BUCKETS_SECONDS

log = structlog.get_logger()

JUDGE = "service_levels.judge"
_EVERY = timedelta(minutes=5)  # of reading a row for each tenant: a quarter of a second for ten thousand
_AFTERWARDS = timedelta(days=1)  # so long a month that is over is judged, for meters whose last batch had to wait
Promises = Mapping[str, ServiceLevel | None]
"""By plan."""
_KINDS = {State.AT_RISK: EventKind.SLA_AT_RISK, State.BREACHED: EventKind.SLA_BREACHED}


@dataclass(frozen=True, slots=True)
class TenantLevel:
    tenant_id: str
    name: str
    plan_id: str
    level: Level


@dataclass(frozen=True, slots=True)
class PlanLevel:
    """All tenants that are on a plan now, taken together."""

    plan_id: str
    tenants: int
    level: Level


@dataclass(frozen=True, slots=True)
class Month:
    """`unattributed`: requests that S4 failed before it knew who asked; they are in nobody's figures."""

    start: datetime
    closed: bool
    unattributed: int
    plans: list[PlanLevel]
    tenants: list[TenantLevel]


@dataclass(frozen=True, slots=True)
class Report:
    """A tenant's month, day by day, as it can be sent."""

    month: datetime
    made_at: datetime
    tenant: TenantLevel
    unattributed: int
    days: list[tuple[datetime, Level]]


class ServiceLevels:
    """Answers the operator, and as a regular task tells tenants."""

    def __init__(self, database: Database, plans: PlanService, events: Events) -> None:
        self._database = database
        self._plans = plans
        self._events = events

    # -- answers

    async def month(self, start: datetime | None, *, tenant_id: TenantId | None, limit: int) -> Month:
        """Plans, and the tenants whose promise is nearest to being broken or is, at most `limit`. Without `start` the
        running month. Raises `NotFound` for a tenant that is none."""
        promises = await self._promises()
        async with self._database.read() as connection:
            return await self._month(connection, promises, start, tenant_id=tenant_id, limit=limit)

    async def _month(
        self,
        connection: Connection,
        promises: Promises,
        start: datetime | None,
        *,
        tenant_id: TenantId | None,
        limit: int,
    ) -> Month:
        now = await self._database.now(connection)
        month = start or Grain.MONTH.floor(now)
        end = Grain.MONTH.following(month)
        rows = await _rows(connection, month, tenant_id, limit)
        sums = await queries.by_plan(connection, month)
        unattributed = await reading.nobodys_failures(connection, month, end)
        closed = now >= end
        tenants = [_tenant_level(row, promises, closed=closed) for row in rows]
        tenants.sort(key=lambda each: (-(each.level.budget_spent or 0.0), -each.level.requests, each.tenant_id))
        plans = [
            PlanLevel(row.plan_id, row.tenants, _level(row, promises, closed=closed))
            for row in sums
            if tenant_id is None or row.plan_id == tenants[0].plan_id
        ]
        return Month(month, closed, unattributed, plans, tenants[:limit])

    async def report(self, tenant_id: TenantId, start: datetime | None) -> Report:
        """Days and month are of one moment. Raises `NotFound`."""
        promises = await self._promises()
        async with self._database.snapshot() as connection:
            month = await self._month(connection, promises, start, tenant_id=tenant_id, limit=1)
            end = Grain.MONTH.following(month.start)
            now = await self._database.now(connection)
            days = await reading.series(connection, tenant_id, Grain.DAY, month.start, end)
        (tenant,) = month.tenants
        levels = [(day, Level.of(amounts, tenant.level.objective, closed=True)) for day, amounts in days.items()]
        return Report(month.start, now, tenant, month.unattributed, levels)

    # -- telling

    def regular_jobs(self) -> list[RegularJob]:
        return [RegularJob(JUDGE, _EVERY, self._run)]

    async def judge(self, now: datetime) -> int:
        """Tells tenants whose promise is at risk or broken, once each a month. Answers with the number of events."""
        month = Grain.MONTH.floor(now)
        count = await self._judge(month, now)
        if now - month < _AFTERWARDS:
            count += await self._judge(Grain.MONTH.floor(month - timedelta(days=1)), now)
        return count

    async def _judge(self, month: datetime, now: datetime) -> int:
        promises = await self._promises()
        targets = [promise.latency_p95_ms / 1000 for promise in promises.values() if promise is not None]
        if not targets:
            return 0
        slow_from = bisect_left(HTTP_BUCKETS_SECONDS, min(targets))
        async with self._database.read() as connection:
            rows = await queries.troubled(connection, month, slow_from)
            known = await queries.told(connection, month)
        closed = now >= Grain.MONTH.following(month)
        count = 0
        for row in rows:
            tenant = _tenant_level(row, promises, closed=closed)
            state = tenant.level.state
            if state in _KINDS and (tenant.tenant_id, state.value) not in known:
                count += await self._tell(month, tenant, now)
        return count

    async def _promises(self) -> Promises:
        return {plan.id: plan.slo for plan in await self._plans.all()}

    async def _tell(self, month: datetime, tenant: TenantLevel, now: datetime) -> bool:
        state = tenant.level.state

        async def tell(connection: Connection) -> bool:
            if not await queries.note(connection, tenant.tenant_id, month, state.value, now):
                return False
            await self._events.emit(connection, tenant.tenant_id, _KINDS[state], _event_data(month, tenant))
            return True

        told = await self._database.transact(tell)
        if told:
            log.warning("service_levels.told", tenant_id=tenant.tenant_id, state=state.value, month=f"{month:%Y-%m}")
            metrics.SLA_TOLD.labels(state.value).inc()
        return told

    async def _run(self) -> None:
        async with self._database.read() as connection:
            now = await self._database.now(connection)
        await self.judge(now)


async def _rows(connection: Connection, month: datetime, tenant_id: TenantId | None, limit: int) -> list[Any]:
    """One tenant's, or of those with failures all and of the others as many as are wanted."""
    if tenant_id is not None:
        row = await queries.one(connection, month, tenant_id)
        if row is None:
            raise NotFound("No such tenant.")
        return [row]
    failing: Sequence[Any] = await queries.failing(connection, month)
    return [*failing, *await queries.busiest(connection, month, max(0, limit - len(failing)))]


def _level(row: Any, promises: Promises, *, closed: bool) -> Level:
    amounts = {name: int(row._mapping[name]) for name in queries.MEASURED}
    return Level.of(amounts, promises.get(row.plan_id), closed=closed)


def _tenant_level(row: Any, promises: Promises, *, closed: bool) -> TenantLevel:
    return TenantLevel(row.tenant_id, row.name, row.plan_id, _level(row, promises, closed=closed))


def _event_data(month: datetime, tenant: TenantLevel) -> Mapping[str, Any]:
    level, objective = tenant.level, tenant.level.objective
    assert objective is not None, "who was promised nothing is told nothing"
    return {
        "month": f"{month:%Y-%m}",
        "plan_id": tenant.plan_id,
        "availability": level.availability,
        "availability_objective": objective.availability,
        "budget_spent_percent": round(100 * level.budget_spent, 1) if level.budget_spent is not None else None,
        "search_p95_ms": level.search_p95_ms,
        "search_p95_ms_objective": objective.latency_p95_ms,
    }
