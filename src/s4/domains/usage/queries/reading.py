"""Questions to the ledger. Each reads the rows of its period, of one tenant or of everybody; none reads them all."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from s4.domains.usage.ledger import ADDED, EVERYBODY, LEVELS, NOBODY, SHARDS, Grain
from s4.domains.usage.models import usage_endpoints, usage_ledger
from s4.platform.database import Connection


def _within(grain: Grain, start: datetime, end: datetime) -> tuple[sa.ColumnElement[bool], ...]:
    return usage_ledger.c.grain == grain.value, usage_ledger.c.start >= start, usage_ledger.c.start < end


_OF_EVERYBODY = usage_ledger.c.tenant_id.in_(SHARDS)


async def series(
    connection: Connection, tenant_id: str, grain: Grain, start: datetime, end: datetime
) -> dict[datetime, dict[str, int]]:
    """A tenant's rows from `start` up to, not including, `end`, by their beginnings."""
    rows = await connection.execute(
        sa.select(usage_ledger)
        .where(usage_ledger.c.tenant_id == tenant_id, *_within(grain, start, end))
        .order_by(usage_ledger.c.start)
    )
    return {row.start: _amounts(row) for row in rows}


async def system_series(
    connection: Connection, grain: Grain, start: datetime, end: datetime, names: Sequence[str] = (*ADDED, *LEVELS)
) -> dict[datetime, dict[str, int]]:
    """Everybody's `names`. Each start is named and the shards are added up here, so that rows are looked up by their
    whole key: for a range, or to group by it, SQLite reads all tenants' rows instead."""
    starts = []
    while start < end:
        starts.append(start)
        start = grain.following(start)
    rows = await connection.execute(
        sa.select(usage_ledger.c.start, *(usage_ledger.c[name] for name in names)).where(
            _OF_EVERYBODY, usage_ledger.c.grain == grain.value, usage_ledger.c.start.in_(starts)
        )
    )
    sums: dict[datetime, dict[str, int]] = {}
    for at, *amounts in rows:
        total = sums.setdefault(at, dict.fromkeys(names, 0))
        for name, amount in zip(names, amounts, strict=True):
            total[name] += amount
    return {at: sums[at] for at in sorted(sums)}


async def active_tenants(connection: Connection, grain: Grain, start: datetime, end: datetime) -> int:
    """How many tenants asked for anything in a day, in a month, or in several days: of those with a row in one of the
    months, those with one of the days."""
    if grain.following(start) == end:
        wanted = sa.select(sa.func.count()).where(
            *_within(grain, start, end), usage_ledger.c.requests > 0, sa.not_(_OF_EVERYBODY)
        )
        return int((await connection.execute(wanted)).scalar_one())
    months, days = usage_ledger.alias("months"), usage_ledger.alias("days")
    a_day = sa.exists().where(
        days.c.tenant_id == months.c.tenant_id,
        days.c.grain == Grain.DAY.value,
        days.c.start >= start,
        days.c.start < end,
        days.c.requests > 0,
    )
    found = await connection.execute(
        sa.select(sa.func.count(sa.distinct(months.c.tenant_id))).where(
            months.c.grain == Grain.MONTH.value,
            months.c.start >= Grain.MONTH.floor(start),
            months.c.start < end,
            months.c.requests > 0,
            months.c.tenant_id.not_in(SHARDS),
            a_day,
        )
    )
    return int(found.scalar_one())


async def top(
    connection: Connection, grain: Grain, start: datetime, end: datetime, *, by: str, limit: int
) -> list[tuple[str, int]]:
    """The tenants with the most of an amount of `ADDED`, the most first."""
    amount = sa.func.sum(usage_ledger.c[by]).label("amount")
    rows = await connection.execute(
        sa.select(usage_ledger.c.tenant_id, amount)
        .where(sa.not_(_OF_EVERYBODY), *_within(grain, start, end))
        .group_by(usage_ledger.c.tenant_id)
        .having(amount > 0)
        .order_by(amount.desc(), usage_ledger.c.tenant_id)
        .limit(limit)
    )
    return [(row.tenant_id, int(row.amount)) for row in rows]


async def endpoints(
    connection: Connection, tenant_id: str | None, start: datetime, end: datetime
) -> Sequence[sa.Row[Any]]:
    """Rows by method, route and hour, of a tenant or of everybody."""
    rows = await connection.execute(
        sa.select(usage_endpoints)
        .where(
            usage_endpoints.c.tenant_id == (tenant_id or EVERYBODY),
            usage_endpoints.c.hour >= start,
            usage_endpoints.c.hour < end,
        )
        .order_by(usage_endpoints.c.method, usage_endpoints.c.route, usage_endpoints.c.hour)
    )
    return rows.all()


async def nobodys_failures(connection: Connection, start: datetime, end: datetime) -> int:
    """Requests that S4 failed before it knew who asked."""
    found = await connection.execute(
        sa.select(sa.func.coalesce(sa.func.sum(usage_endpoints.c.failures), 0)).where(
            usage_endpoints.c.tenant_id == NOBODY, usage_endpoints.c.hour >= start, usage_endpoints.c.hour < end
        )
    )
    return int(found.scalar_one())


def _amounts(row: sa.Row[Any]) -> dict[str, int]:
    found = row._mapping
    return {name: int(found[name] or 0) for name in (*ADDED, *LEVELS)}
