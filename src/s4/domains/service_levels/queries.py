"""Statements on what was promised, measured and told."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from s4.domains.service_levels.models import service_level_notices
from s4.domains.tenants.models import tenants
from s4.domains.usage.ledger import SEARCH_BUCKETS, Grain
from s4.domains.usage.models import usage_ledger
from s4.kernel.keys import Collection
from s4.platform.chains.records import records
from s4.platform.database import Connection, upsert

MEASURED = ("requests", "failures", *SEARCH_BUCKETS)


async def measured(connection: Connection, month: datetime, tenant_id: str | None = None) -> Sequence[sa.Row[Any]]:
    """Live tenants with their plan's body and what the ledger has of the month, zeros for those that asked nothing."""
    plan = sa.and_(records.c.collection == Collection.PLANS.value, records.c.name == tenants.c.plan_id)
    of_month = sa.and_(
        usage_ledger.c.tenant_id == tenants.c.tenant_id,
        usage_ledger.c.grain == Grain.MONTH.value,
        usage_ledger.c.start == month,
    )
    wanted = (
        sa.select(
            tenants.c.tenant_id,
            tenants.c.name,
            tenants.c.plan_id,
            records.c.body.label("plan_body"),
            *(sa.func.coalesce(usage_ledger.c[name], 0).label(name) for name in MEASURED),
        )
        .join(records, plan)
        .outerjoin(usage_ledger, of_month)
        .where(tenants.c.state == "live")
        .order_by(tenants.c.tenant_id)
    )
    if tenant_id is not None:
        wanted = wanted.where(tenants.c.tenant_id == tenant_id)
    return (await connection.execute(wanted)).all()


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
