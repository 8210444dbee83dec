"""Statements on what was promised, measured and told."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from s4.domains.service_levels.models import service_level_notices
from s4.domains.tenants.models import tenants
from s4.domains.usage.ledger import SEARCH_BUCKETS, Grain
from s4.domains.usage.models import usage_ledger
from s4.platform.database import Connection, upsert

MEASURED = ("requests", "failures", *SEARCH_BUCKETS)


_AMOUNTS = tuple(sa.func.coalesce(usage_ledger.c[name], 0).label(name) for name in MEASURED)
_FAILURES = sa.func.coalesce(usage_ledger.c.failures, 0)


def _live(month: datetime, *columns: Any) -> sa.Select[*tuple[Any, ...]]:
    """Live tenants beside what the ledger has of the month: zeros for those that asked nothing."""
    of_month = sa.and_(
        usage_ledger.c.tenant_id == tenants.c.tenant_id,
        usage_ledger.c.grain == Grain.MONTH.value,
        usage_ledger.c.start == month,
    )
    return sa.select(*columns).select_from(tenants).outerjoin(usage_ledger, of_month).where(tenants.c.state == "live")


def _each(month: datetime) -> sa.Select[*tuple[Any, ...]]:
    return _live(month, tenants.c.tenant_id, tenants.c.name, tenants.c.plan_id, *_AMOUNTS)


async def one(connection: Connection, month: datetime, tenant_id: str) -> sa.Row[Any] | None:
    return (await connection.execute(_each(month).where(tenants.c.tenant_id == tenant_id))).one_or_none()


async def failing(connection: Connection, month: datetime) -> Sequence[sa.Row[Any]]:
    """Tenants of whose requests any failed."""
    return (await connection.execute(_each(month).where(_FAILURES > 0))).all()


async def busiest(connection: Connection, month: datetime, limit: int) -> Sequence[sa.Row[Any]]:
    """Of those of whose requests none failed, the ones that asked the most."""
    wanted = _each(month).where(_FAILURES == 0)
    most = sa.func.coalesce(usage_ledger.c.requests, 0).desc()
    return (await connection.execute(wanted.order_by(most, tenants.c.tenant_id).limit(limit))).all()


async def troubled(connection: Connection, month: datetime, slow_from: int) -> Sequence[sa.Row[Any]]:
    """Tenants whose promise could be anything but kept: a request failed, or one of twenty searches fell into the
    buckets from `slow_from` on."""
    slow = _sum(SEARCH_BUCKETS[slow_from:]) * 20
    wanted = _each(month).where(sa.or_(_FAILURES > 0, sa.and_(slow > 0, slow >= _sum(SEARCH_BUCKETS))))
    return (await connection.execute(wanted.order_by(tenants.c.tenant_id))).all()


async def by_plan(connection: Connection, month: datetime) -> Sequence[sa.Row[Any]]:
    """Sums of all tenants that are on each plan."""
    sums = [sa.func.coalesce(sa.func.sum(usage_ledger.c[name]), 0).label(name) for name in MEASURED]
    wanted = _live(month, tenants.c.plan_id, sa.func.count().label("tenants"), *sums)
    return (await connection.execute(wanted.group_by(tenants.c.plan_id).order_by(tenants.c.plan_id))).all()


def _sum(names: Sequence[str]) -> sa.ColumnElement[int]:
    total: sa.ColumnElement[int] = sa.func.coalesce(usage_ledger.c[names[0]], 0)
    for name in names[1:]:
        total = total + sa.func.coalesce(usage_ledger.c[name], 0)
    return total


async def told(connection: Connection, month: datetime) -> set[tuple[str, str]]:
    """Tenant and kind of what was told of the month."""
    rows = await connection.execute(
        sa.select(service_level_notices.c.tenant_id, service_level_notices.c.kind).where(
            service_level_notices.c.month == month
        )
    )
    return {(row.tenant_id, row.kind) for row in rows}


async def note(connection: Connection, tenant_id: str, month: datetime, kind: str, now: datetime) -> bool:
    """False when it was told before."""
    values = {"tenant_id": tenant_id, "month": month, "kind": kind, "at": now}
    statement = upsert(connection, service_level_notices, values, conflict=["tenant_id", "month", "kind"])
    done = await connection.execute(statement.returning(service_level_notices.c.at))
    return done.one_or_none() is not None
