"""Which months are to be rolled up, their rows, and how rows come back."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from s4.domains.usage.ledger import ADDED, EVERYBODY, LEVELS, Grain
from s4.domains.usage.models import usage_ledger, usage_marks, usage_rollups, usage_samples
from s4.platform.database import Connection, upsert

AMOUNTS = (*ADDED, *LEVELS)
_ANEW_AFTER = timedelta(days=1)  # of a tenant that asked for nothing: what it stores is sampled every hour all the same
_SETTLED_AFTER = timedelta(hours=1)  # of a month that is over: processes have flushed what they held
_KEY = ("tenant_id", "grain", "start")


async def due(connection: Connection, now: datetime, *, limit: int) -> list[tuple[str, datetime]]:
    """Tenants and months (this one and the last) whose roll-up is behind. Everybody's is of `EVERYBODY`."""
    month = Grain.MONTH.floor(now)
    before = Grain.MONTH.floor(month - timedelta(days=1))
    ledger, rolled, marks = usage_ledger.c, usage_rollups.c, usage_marks.c
    is_behind = sa.or_(
        rolled.rolled_at.is_(None),
        sa.and_(ledger.start == before, rolled.rolled_at < month + _SETTLED_AFTER),
        sa.and_(
            ledger.start == month,
            sa.or_(rolled.rolled_at < now - _ANEW_AFTER, rolled.rolled_at <= marks.last_activity_at),
        ),
    )
    found = await connection.execute(
        sa.select(ledger.tenant_id, ledger.start)
        .outerjoin(usage_rollups, sa.and_(rolled.tenant_id == ledger.tenant_id, rolled.month == ledger.start))
        .outerjoin(usage_marks, marks.tenant_id == ledger.tenant_id)
        .where(
            ledger.grain == Grain.MONTH.value,
            ledger.start.in_((before, month)),
            sa.not_(ledger.tenant_id.startswith(EVERYBODY)),
            is_behind,
        )
        .order_by(ledger.start, ledger.tenant_id)
        .limit(limit)
    )
    return [(row.tenant_id, row.start) for row in found]


async def rows_of(connection: Connection, owner: str, month: datetime) -> list[dict[str, Any]]:
    """Days and month of a tenant, or of `EVERYBODY`'s shards; amounts of nothing left out."""
    ledger = usage_ledger.c
    whose = ledger.tenant_id.startswith(EVERYBODY) if owner == EVERYBODY else ledger.tenant_id == owner
    found = await connection.execute(
        sa.select(usage_ledger)
        .where(
            whose,
            ledger.grain.in_((Grain.DAY.value, Grain.MONTH.value)),
            ledger.start >= month,
            ledger.start < Grain.MONTH.following(month),
        )
        .order_by(ledger.tenant_id, ledger.grain, ledger.start)
    )
    return [{name: value for name, value in row._mapping.items() if value != 0} for row in found]


async def mark_of(connection: Connection, tenant_id: str) -> dict[str, Any] | None:
    """What is remembered of a tenant beside the ledger."""
    row = (await connection.execute(sa.select(usage_marks).where(usage_marks.c.tenant_id == tenant_id))).one_or_none()
    return dict(row._mapping) if row is not None else None


async def last_sample(connection: Connection) -> datetime | None:
    moment: datetime | None = (await connection.execute(sa.select(sa.func.max(usage_samples.c.hour)))).scalar_one()
    return moment


async def note(connection: Connection, owner: str, month: datetime, *, rolled_at: datetime) -> None:
    identity = {"tenant_id": owner, "month": month}
    await connection.execute(
        upsert(
            connection,
            usage_rollups,
            identity | {"rolled_at": rolled_at},
            conflict=list(identity),
            update={"rolled_at": rolled_at},
        )
    )


async def noted(connection: Connection) -> set[tuple[str, datetime]]:
    """Which roll-ups this catalog has made, or brought back."""
    found = await connection.execute(sa.select(usage_rollups.c.tenant_id, usage_rollups.c.month))
    return {(row.tenant_id, row.month) for row in found}


# -- bringing back


async def restore(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Each amount becomes what the roll-up says, unless it is more already: so it may be brought back any number of
    times, and beside what is added meanwhile."""
    for row in rows:
        values = dict.fromkeys(AMOUNTS, 0) | dict(row)
        await connection.execute(_largest(connection, usage_ledger, values, _KEY, AMOUNTS))


async def restore_mark(connection: Connection, mark: Mapping[str, Any]) -> None:
    """A mark that is there is newer, but for what was taken away or told in the same month."""
    compared = ("calls_before", "told_percent")
    known = sa.select(usage_marks.c.month).where(usage_marks.c.tenant_id == mark["tenant_id"])
    month = (await connection.execute(known)).scalar_one_or_none()
    if month is None or month == mark["month"]:
        await connection.execute(_largest(connection, usage_marks, dict(mark), ("tenant_id",), compared))


async def restore_sample(connection: Connection, hour: datetime) -> None:
    """Who samples next does not count this hour again."""
    await connection.execute(upsert(connection, usage_samples, {"hour": hour}, conflict=["hour"]))


def _largest(
    connection: Connection, table: sa.Table, values: dict[str, Any], key: Sequence[str], compared: Iterable[str]
) -> sa.Insert:
    postgres = connection.dialect.name == "postgresql"
    insert = (postgresql.insert(table) if postgres else sqlite.insert(table)).values(values)
    larger = {
        name: sa.case((table.c[name] > insert.excluded[name], table.c[name]), else_=insert.excluded[name])
        for name in compared
    }
    return insert.on_conflict_do_update(index_elements=list(key), set_=larger)
