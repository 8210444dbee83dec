"""Figures of all tenants at once: what metrics are made of. Each is one statement, whatever the number of tenants."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from s4.domains.plans.model import Plan, plan_from
from s4.domains.tenants.models import tenants
from s4.domains.tenants.queries import plan_in_force
from s4.domains.usage.ledger import Grain
from s4.domains.usage.models import usage_balances, usage_ledger, usage_marks
from s4.kernel.keys import Collection
from s4.platform.chains.records import LIVE, records
from s4.platform.database import Connection

_LIVE = tenants.c.state == "live"


async def plans(connection: Connection) -> dict[str, Plan]:
    """By id."""
    wanted = sa.select(records.c.name, records.c.body).where(
        records.c.collection == Collection.PLANS.value, records.c.state == LIVE
    )
    return {row.name: plan_from(row.name, row.body) for row in await connection.execute(wanted)}


async def seen_within(connection: Connection, now: datetime, spans: Sequence[timedelta]) -> list[int]:
    """How many live tenants asked for anything in each of the last `spans`."""
    counts = [sa.func.coalesce(sa.func.sum(sa.case((usage_marks.c.last_activity_at > now - span, 1), else_=0)), 0)
              for span in spans]  # fmt: skip
    wanted = sa.select(*counts).join_from(tenants, usage_marks, usage_marks.c.tenant_id == tenants.c.tenant_id)
    return [int(count) for count in (await connection.execute(wanted.where(_LIVE))).one()]


async def everyone(connection: Connection, now: datetime, known: Mapping[str, Plan]) -> Sequence[sa.Row[Any]]:
    """A row for each live tenant: `tenant_id`, `name`, `plan`, `status`, `stored_bytes`, `documents`, the running
    month's `calls`, `requests`, `failures`, then `utilisation` (0 to 1 and beyond) and `last_activity_at`."""
    return (await connection.execute(sa.select(_census(now, known)))).all()


async def totals(connection: Connection, now: datetime) -> tuple[int, int]:
    """Calls of the running month, and bytes stored, of all live tenants."""
    census = _census(now, {})
    sums = (sa.func.coalesce(sa.func.sum(each), 0) for each in (census.c.calls, census.c.stored_bytes))
    calls, stored_bytes = (await connection.execute(sa.select(*sums))).one()
    return int(calls), int(stored_bytes)


async def most(
    connection: Connection, now: datetime, known: Mapping[str, Plan], *, by: str, limit: int
) -> list[tuple[str, float]]:
    """The live tenants with the most of a column of `everyone`, the most first; those with nothing of it are none."""
    census = _census(now, known)
    amount = census.c[by]
    wanted = sa.select(census.c.tenant_id, amount).where(amount > 0)
    rows = await connection.execute(wanted.order_by(amount.desc(), census.c.tenant_id).limit(limit))
    return [(row[0], float(row[1])) for row in rows]


def _census(now: datetime, known: Mapping[str, Plan]) -> sa.Subquery:
    month = Grain.MONTH.floor(now)
    used, held, marks = usage_ledger.c, usage_balances.c, usage_marks.c
    before = sa.func.coalesce(sa.case((marks.month == month, marks.calls_before)), 0)
    calls = sa.func.coalesce(used.calls, 0) - before
    stored_bytes = sa.func.coalesce(held.stored_bytes, 0)
    plan = plan_in_force(now)
    of_storage = _share(stored_bytes, plan, {each.id: each.storage_limit for each in known.values()})
    of_calls = _share(calls, plan, {each.id: each.api_calls_limit for each in known.values()})
    of_month = sa.and_(used.tenant_id == tenants.c.tenant_id, used.grain == Grain.MONTH.value, used.start == month)
    return (
        sa.select(
            tenants.c.tenant_id,
            tenants.c.name,
            plan.label("plan"),
            tenants.c.status,
            stored_bytes.label("stored_bytes"),
            sa.func.coalesce(held.documents, 0).label("documents"),
            calls.label("calls"),
            sa.func.coalesce(used.requests, 0).label("requests"),
            sa.func.coalesce(used.failures, 0).label("failures"),
            sa.case((of_storage > of_calls, of_storage), else_=of_calls).label("utilisation"),
            marks.last_activity_at,
        )
        .select_from(tenants)
        .outerjoin(usage_balances, held.tenant_id == tenants.c.tenant_id)
        .outerjoin(usage_marks, marks.tenant_id == tenants.c.tenant_id)
        .outerjoin(usage_ledger, of_month)
        .where(_LIVE)
        .subquery()
    )


def _share(
    amount: sa.ColumnElement[Any], plan: sa.ColumnElement[str], limits: Mapping[str, int | None]
) -> sa.ColumnElement[float]:
    """Of what the plan allows; 0 where it allows any amount, or none."""
    bounded = {plan_id: 1.0 / limit for plan_id, limit in limits.items() if limit}
    if not bounded:
        return sa.literal(0.0)
    shares = [(plan == plan_id, amount * sa.literal(share, sa.Float)) for plan_id, share in bounded.items()]
    return sa.case(*shares, else_=sa.literal(0.0))
