"""Statements over all tenants, for an operator once a month. Some read every live document."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from s4.domains.documents.models import documents
from s4.domains.tenants.model import LIVE
from s4.domains.tenants.models import tenants
from s4.domains.usage.ledger import ADDED, LEVELS, SHARDS, Grain
from s4.domains.usage.models import usage_ledger
from s4.platform.database import Connection
from s4.platform.jobs.models import jobs

GONE = "deleted since"
"""Stands for the name of a tenant of which nothing is kept but its amounts."""
FRESH_BOUNDS_SECONDS = (10, 60, 600, 3600)
_LIVE = documents.c.state == "live"


@dataclass(frozen=True, slots=True)
class Use:
    """A tenant's month; `amounts` by names of `ADDED` and `LEVELS`. `is_there`: it was not deleted since."""

    tenant_id: str
    name: str
    amounts: dict[str, int]
    is_there: bool


@dataclass(frozen=True, slots=True)
class Queued:
    """Jobs as they stand: `oldest` is when the one that waits the longest was made."""

    ready: int
    running: int
    failed: int
    oldest: datetime | None


@dataclass(frozen=True, slots=True)
class Fresh:
    """Documents uploaded in a month by what became of them, and the searchable ones by how long that took:
    `within[i]` took at most `FRESH_BOUNDS_SECONDS[i]`."""

    ready: int
    processing: int
    failed: int
    within: tuple[int, ...]


async def uses(connection: Connection, month: datetime) -> list[Use]:
    """Of every tenant with a row in the month, those too that are deleted since."""
    rows = await connection.execute(
        sa.select(usage_ledger, tenants.c.name, tenants.c.state)
        .outerjoin(tenants, tenants.c.tenant_id == usage_ledger.c.tenant_id)
        .where(
            usage_ledger.c.grain == Grain.MONTH.value,
            usage_ledger.c.start == month,
            usage_ledger.c.tenant_id.not_in(SHARDS),
        )
        .order_by(usage_ledger.c.tenant_id)
    )
    return [Use(row.tenant_id, row.name or GONE, _amounts(row), row.state == LIVE) for row in rows]


async def queued(connection: Connection, now: datetime) -> Queued:
    rows = await connection.execute(sa.select(jobs.c.state, sa.func.count().label("jobs")).group_by(jobs.c.state))
    counts = {row.state: row.jobs for row in rows}
    due = sa.select(sa.func.min(jobs.c.created_at)).where(jobs.c.state == "ready", jobs.c.run_at <= now)
    oldest = (await connection.execute(due)).scalar_one()
    return Queued(counts.get("ready", 0), counts.get("running", 0), counts.get("failed", 0), oldest)


async def fresh(connection: Connection, start: datetime, end: datetime) -> Fresh:
    """By when a document was indexed last: of one that was indexed again, the later time counts."""
    took = _seconds_between(connection, documents.c.uploaded_at, documents.c.indexed_at)
    ready = documents.c.indexed_at.is_not(None)
    within = [_count(sa.and_(ready, took <= bound)) for bound in FRESH_BOUNDS_SECONDS]
    states = [_count(documents.c.status == state) for state in ("processing", "failed")]
    row = (
        await connection.execute(
            sa.select(_count(ready), *states, *within).where(
                _LIVE, documents.c.uploaded_at >= start, documents.c.uploaded_at < end
            )
        )
    ).one()
    found, processing, failed, *bounded = map(int, row)
    return Fresh(found, processing, failed, tuple(bounded))


async def unread(connection: Connection, before: datetime) -> tuple[int, int]:
    """Number and bytes of live documents that nobody read since `before`, and that are not archived."""
    last = sa.func.coalesce(documents.c.last_accessed_at, documents.c.uploaded_at)
    found = await connection.execute(
        sa.select(sa.func.count(), sa.func.coalesce(sa.func.sum(documents.c.size_bytes), 0)).where(
            _LIVE, documents.c.archived_at.is_(None), last < before
        )
    )
    count, size_bytes = found.one()
    return int(count), int(size_bytes)


async def repeated(connection: Connection) -> tuple[int, int]:
    """Number and bytes of live documents whose tenant has the same bytes in another one already."""
    alike = (
        sa.select(sa.func.count().label("number"), sa.func.max(documents.c.size_bytes).label("size_bytes"))
        .where(_LIVE)
        .group_by(documents.c.tenant_id, documents.c.sha256)
        .having(sa.func.count() > 1)
        .subquery()
    )
    more = alike.c.number - 1
    found = await connection.execute(
        sa.select(sa.func.coalesce(sa.func.sum(more), 0), sa.func.coalesce(sa.func.sum(more * alike.c.size_bytes), 0))
    )
    count, size_bytes = found.one()
    return int(count), int(size_bytes)


def _count(condition: sa.ColumnElement[bool]) -> sa.ColumnElement[int]:
    return sa.func.coalesce(sa.func.sum(sa.case((condition, 1), else_=0)), 0)


def _seconds_between(
    connection: Connection, start: sa.ColumnElement[Any], end: sa.ColumnElement[Any]
) -> sa.ColumnElement[float]:
    """SQLite keeps times as text, and reckons in days."""
    if connection.dialect.name == "postgresql":
        return sa.cast(sa.extract("epoch", end) - sa.extract("epoch", start), sa.Float)
    days = sa.func.julianday(end) - sa.func.julianday(start)
    return sa.type_coerce(days * timedelta(days=1).total_seconds(), sa.Float)


def _amounts(row: sa.Row[Any]) -> dict[str, int]:
    found = row._mapping
    return {name: int(found[name] or 0) for name in (*ADDED, *LEVELS)}
