"""Statements that add to the ledger, each part of the caller's transaction.

Rows are locked in one order everywhere (the ledger by grain and tenant, then endpoints, errors, marks), and by whoever
changes documents as the last of what it locks, so that no two transactions wait for each other.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from s4.domains.usage.ledger import ADDED, EVERYBODY, LEVELS, NOBODY, Amounts, Call, Grain, shard_of
from s4.domains.usage.models import (
    usage_balances,
    usage_endpoints,
    usage_errors,
    usage_flushes,
    usage_ledger,
    usage_marks,
    usage_samples,
)
from s4.kernel.errors import LimitReached
from s4.kernel.plans import PlanLimits
from s4.platform.database import Connection, adding, upsert

_NOTHING: dict[str, int] = dict.fromkeys((*ADDED, *LEVELS), 0)
_ENDPOINT_SUMS = ("requests", "refusals", "failures", "microseconds", "bytes_in", "bytes_out")
_LEDGER_KEY = ("tenant_id", "grain", "start")
_PARAMETERS_MAX = 500  # ids in one IN (…)


async def add(connection: Connection, tenant_id: str, at: datetime, amounts: Amounts) -> None:
    """Adds to the tenant's hour, day and month and to everybody's."""
    await add_all(connection, [(tenant_id, at, amounts)])


async def add_all(connection: Connection, entries: Iterable[tuple[str, datetime, Amounts]]) -> None:
    """The same for many: who, when, how much."""
    sums: defaultdict[tuple[str, str, datetime], dict[str, int]] = defaultdict(_NOTHING.copy)
    for tenant_id, at, amounts in entries:
        for grain in Grain:
            for owner in (tenant_id, shard_of(tenant_id)):
                row = sums[grain.value, owner, grain.floor(at)]
                for name, amount in amounts.items():
                    row[name] += amount
    rows: list[dict[str, Any]] = [
        {"grain": grain, "tenant_id": owner, "start": start} | sums[grain, owner, start]
        for grain, owner, start in sorted(sums)
    ]
    if rows:
        await connection.execute(adding(connection, usage_ledger, conflict=_LEDGER_KEY, added=ADDED), rows)


async def add_endpoints(connection: Connection, calls: Mapping[Call, Mapping[str, int]]) -> None:
    """Adds to the endpoints of the callers, and of everybody."""
    sums: dict[tuple[str, datetime, str, str], dict[str, int]] = {}
    for call, amounts in calls.items():
        for owner in {call.tenant_id} if call.tenant_id == NOBODY else {call.tenant_id, EVERYBODY}:
            row = sums.setdefault((owner, call.hour, call.method, call.route), dict.fromkeys(_ENDPOINT_SUMS, 0))
            for name, amount in amounts.items():
                row[name] += amount
    key = ("tenant_id", "hour", "method", "route")
    rows: list[dict[str, Any]] = [dict(zip(key, place, strict=True)) | sums[place] for place in sorted(sums)]
    if rows:
        await connection.execute(adding(connection, usage_endpoints, conflict=key, added=_ENDPOINT_SUMS), rows)


async def add_errors(connection: Connection, errors: Mapping[tuple[str, datetime], Mapping[str, int]]) -> None:
    """Adds answered errors, by code, to those of who asked and when, and to everybody's."""
    sums: defaultdict[tuple[str, datetime, str], int] = defaultdict(int)
    for (tenant_id, hour), codes in errors.items():
        for code, count in codes.items():
            for owner in {tenant_id} if tenant_id == NOBODY else {tenant_id, EVERYBODY}:
                sums[owner, hour, code] += count
    key = ("tenant_id", "hour", "code")
    rows: list[dict[str, Any]] = [dict(zip(key, place, strict=True)) | {"count": sums[place]} for place in sorted(sums)]
    if rows:
        await connection.execute(adding(connection, usage_errors, conflict=key, added=["count"]), rows)


async def begin_flush(connection: Connection, meter_id: str, sequence: int, now: datetime) -> bool:
    """False when this batch is in the ledger already: its commit's answer was lost."""
    done = await connection.execute(sa.select(usage_flushes.c.sequence).where(usage_flushes.c.meter_id == meter_id))
    if (done.scalar_one_or_none() or 0) >= sequence:
        return False
    values = {"meter_id": meter_id, "sequence": sequence, "at": now}
    await connection.execute(
        upsert(connection, usage_flushes, values, conflict=["meter_id"], update={"sequence": sequence, "at": now})
    )
    return True


# -- marks


async def mark_activity(connection: Connection, seen: Mapping[str, datetime]) -> None:
    """When each tenant last asked for anything."""
    for tenant_id in sorted(seen):
        at = seen[tenant_id]
        now = sa.literal(at, usage_marks.c.last_activity_at.type)
        before = usage_marks.c.last_activity_at
        later = sa.case((sa.func.coalesce(before, now) > now, before), else_=now)
        values = _mark(tenant_id, Grain.MONTH.floor(at)) | {"last_activity_at": at}
        await connection.execute(
            upsert(connection, usage_marks, values, conflict=["tenant_id"], update={"last_activity_at": later})
        )


async def last_activity(connection: Connection, tenant_id: str) -> datetime | None:
    """When the tenant last asked for anything; None if never."""
    wanted = sa.select(usage_marks.c.last_activity_at).where(usage_marks.c.tenant_id == tenant_id)
    moment: datetime | None = (await connection.execute(wanted)).scalar_one_or_none()
    return moment


async def calls_this_month(connection: Connection, tenant_id: str, now: datetime | None = None) -> int:
    """Calls that count against the plan: of the calendar month in UTC, since the last reset in it. What a process
    has not flushed yet, a second or so, is not in it."""
    month = Grain.MONTH.floor(now or datetime.now(UTC))
    return (await calls_of(connection, [tenant_id], month)).get(tenant_id, 0)


async def calls_of(connection: Connection, tenant_ids: Sequence[str], month: datetime) -> dict[str, int]:
    """The same of many tenants."""
    found = {}
    before = sa.case((usage_marks.c.month == month, usage_marks.c.calls_before), else_=0)
    for some in _parts(tenant_ids):
        rows = await connection.execute(
            sa.select(usage_ledger.c.tenant_id, usage_ledger.c.calls - sa.func.coalesce(before, 0))
            .outerjoin(usage_marks, usage_marks.c.tenant_id == usage_ledger.c.tenant_id)
            .where(usage_ledger.c.tenant_id.in_(some), _of_month(month))
        )
        found.update({row[0]: int(row[1]) for row in rows})
    return found


async def require_tokens(connection: Connection, tenant_id: str, plan: PlanLimits, now: datetime) -> None:
    """Raises `LimitReached` (403 `quota_exceeded`) once the month's embedding tokens are used up. What was accepted
    before is embedded still: the limit is passed by no more than was under way."""
    limit = plan.embedding_tokens_per_month_max
    if limit is None:
        return
    month = Grain.MONTH.floor(now)
    found = await connection.execute(
        sa.select(usage_ledger.c.embedding_tokens_paid).where(usage_ledger.c.tenant_id == tenant_id, _of_month(month))
    )
    used = found.scalar_one_or_none() or 0
    if used >= limit:
        raise LimitReached(
            "The plan's embedding tokens of this month are used up: wait for the next month or move to a larger plan.",
            code="quota_exceeded",
            status=403,
            details={"resource": "embedding_tokens", "limit": limit, "used": used},
        )


async def reset_calls(connection: Connection, tenant_id: str, now: datetime) -> None:
    """The month's counter begins anew, and so do its thresholds. The ledger keeps what was."""
    month = Grain.MONTH.floor(now)
    counted = await connection.execute(
        sa.select(usage_ledger.c.calls).where(usage_ledger.c.tenant_id == tenant_id, _of_month(month)).with_for_update()
    )
    await _remark(connection, tenant_id, month, calls_before=counted.scalar_one_or_none() or 0, told_percent=0)


async def told(connection: Connection, tenant_ids: Sequence[str], month: datetime) -> dict[str, tuple[int, int]]:
    """By tenant: the highest threshold of the month that was told, and the limit that it was a part of. The rows stay
    locked."""
    found = {}
    for some in _parts(tenant_ids):
        rows = await connection.execute(
            sa.select(usage_marks)
            .where(usage_marks.c.tenant_id.in_(some))
            .order_by(usage_marks.c.tenant_id)
            .with_for_update()
        )
        for row in rows:
            found[row.tenant_id] = (row.told_percent, row.told_limit) if row.month == month else (0, 0)
    return found


async def remember_told(connection: Connection, tenant_id: str, month: datetime, *, percent: int, limit: int) -> None:
    await _remark(connection, tenant_id, month, told_percent=percent, told_limit=limit)


async def _remark(connection: Connection, tenant_id: str, month: datetime, **changed: int) -> None:
    """Another month than the row speaks of begins with nothing told and nothing reset."""
    fresh = _mark(tenant_id, month)
    same = usage_marks.c.month == month
    kept = {
        name: sa.case((same, usage_marks.c[name]), else_=0)
        for name in ("calls_before", "told_percent", "told_limit")
        if name not in changed
    }
    update = {"month": month} | kept | changed
    await connection.execute(upsert(connection, usage_marks, fresh | changed, conflict=["tenant_id"], update=update))


def _mark(tenant_id: str, month: datetime) -> dict[str, Any]:
    return {"tenant_id": tenant_id, "month": month, "calls_before": 0, "told_percent": 0, "told_limit": 0}


def _of_month(month: datetime) -> sa.ColumnElement[bool]:
    return sa.and_(usage_ledger.c.grain == Grain.MONTH.value, usage_ledger.c.start == month)


def _parts(tenant_ids: Sequence[str]) -> Iterable[Sequence[str]]:
    return (tenant_ids[start : start + _PARAMETERS_MAX] for start in range(0, len(tenant_ids), _PARAMETERS_MAX))


# -- samples


async def sample_balances(connection: Connection, hour: datetime) -> bool:
    """Notes what everybody stores in this hour, once. False when somebody has done it."""
    first = upsert(connection, usage_samples, {"hour": hour}, conflict=["hour"]).returning(usage_samples.c.hour)
    if (await connection.execute(first)).one_or_none() is None:
        return False
    held = usage_balances.c
    shard = sa.literal(EVERYBODY) + sa.func.substr(held.tenant_id, sa.func.length(held.tenant_id), 1)
    for grain in sorted(Grain):
        # Everybody's first: their names sort before the tenants'.
        sums = [sa.func.sum(held[name]).label(name) for name in LEVELS]
        await _sample(connection, grain, hour, sa.select(shard.label("owner"), *sums).group_by(shard))
        each = sa.select(held.tenant_id.label("owner"), *(held[name] for name in LEVELS))
        # A tenant's hour without a row has nothing; its day and month must learn that it has nothing any more.
        holds = sa.or_(held.stored_bytes > 0, held.documents > 0)
        await _sample(connection, grain, hour, each.where(holds if grain is Grain.HOUR else sa.true()))
    return True


async def _sample(connection: Connection, grain: Grain, hour: datetime, held: sa.Select[*tuple[Any, ...]]) -> None:
    found = held.subquery()
    amounts = {name: sa.cast(found.c[name], sa.BigInteger) for name in LEVELS}
    amounts["stored_byte_hours"] = amounts["stored_bytes"]
    zero: sa.ColumnElement[int] = sa.literal_column("0")
    start = sa.literal(grain.floor(hour), usage_ledger.c.start.type)
    row = sa.select(found.c.owner, sa.literal(grain.value), start, *(amounts.get(name, zero) for name in _NOTHING))
    insert = adding(connection, usage_ledger, conflict=_LEDGER_KEY, added=["stored_byte_hours"], replaced=LEVELS)
    rows = row.where(sa.true()).order_by(found.c.owner)  # SQLite needs a WHERE to tell this ON from a join's
    await connection.execute(insert.from_select([*_LEDGER_KEY, *_NOTHING], rows))


async def forget(connection: Connection, *, hours_before: datetime, meters_before: datetime, limit: int) -> int:
    """Removes hours that are older than they are kept (days and months stay), `limit` rows at most of each table, and
    what tells the batches of processes apart that are long gone. Answers with the number of rows."""
    old = sa.and_(usage_ledger.c.grain == Grain.HOUR.value, usage_ledger.c.start < hours_before)
    gone = 0
    for table, condition in (
        (usage_ledger, old),
        (usage_endpoints, usage_endpoints.c.hour < hours_before),
        (usage_errors, usage_errors.c.hour < hours_before),
    ):
        key = sa.tuple_(*table.primary_key.columns)
        some = sa.select(*table.primary_key.columns).where(condition).limit(limit)
        gone += (await connection.execute(sa.delete(table).where(key.in_(some)))).rowcount
    await connection.execute(sa.delete(usage_samples).where(usage_samples.c.hour < hours_before))
    await connection.execute(sa.delete(usage_flushes).where(usage_flushes.c.at < meters_before))
    return gone
