"""Who keeps the queue from moving. Reads, and changes nothing."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from s4.domains.documents.models import documents
from s4.platform.database import Connection
from s4.platform.jobs.models import jobs

_SHOWN = 5  # of each kind of trouble: the first say what is wrong
OURS = "server_error"
"""The code of documents that failed for a reason of S4's own."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A tenant's jobs that could run; `since` the oldest became due."""

    tenant_id: str
    jobs: int
    since: datetime


async def abandoned(connection: Connection, expired_before: datetime) -> Sequence[sa.Row[Any]]:
    """Jobs whose worker fell silent, and which nobody took up again."""
    held = jobs.c.state == "running", jobs.c.lease_until < expired_before
    return (await connection.execute(sa.select(jobs).where(*held).order_by(jobs.c.lease_until).limit(_SHOWN))).all()


async def running_since(connection: Connection, claimed_before: datetime, now: datetime) -> Sequence[sa.Row[Any]]:
    """Jobs that a living worker has had for so long, the longest first."""
    held = jobs.c.state == "running", jobs.c.lease_until >= now, jobs.c.claimed_at < claimed_before
    return (await connection.execute(sa.select(jobs).where(*held).order_by(jobs.c.claimed_at).limit(_SHOWN))).all()


async def killers(connection: Connection, *, crashes_min: int) -> Sequence[sa.Row[Any]]:
    """Jobs during which workers died again and again, the worst first."""
    wanted = sa.select(jobs).where(jobs.c.crashes >= crashes_min).order_by(jobs.c.crashes.desc(), jobs.c.run_at.desc())
    return (await connection.execute(wanted.limit(_SHOWN))).all()


async def failed_of_system(connection: Connection) -> Sequence[sa.Row[Any]]:
    """Jobs that are nobody's and were given up."""
    wanted = sa.select(jobs).where(jobs.c.tenant_id == "", jobs.c.state == "failed").order_by(jobs.c.kind)
    return (await connection.execute(wanted.limit(_SHOWN))).all()


async def failed_by_us(connection: Connection, since: datetime) -> list[tuple[str, int]]:
    """Tenants with documents that failed for a reason of S4's own, and how many; the most first."""
    d = documents.c
    count = sa.func.count()
    found = await connection.execute(
        sa.select(d.tenant_id, count)
        .where(d.state == "live", d.status == "failed", d.error_code == OURS, d.updated_at > since)
        .group_by(d.tenant_id)
        .order_by(count.desc())
        .limit(_SHOWN)
    )
    return [(row[0], int(row[1])) for row in found]


async def waiting(connection: Connection, now: datetime) -> list[Waiting]:
    """Tenants whose turn it could be, the one with the most jobs first."""
    count = sa.func.count()
    found = await connection.execute(
        sa.select(jobs.c.tenant_id, count, sa.func.min(jobs.c.run_at, type_=jobs.c.run_at.type))
        .where(jobs.c.state == "ready", jobs.c.run_at <= now, jobs.c.tenant_id != "")
        .group_by(jobs.c.tenant_id)
        .order_by(count.desc(), jobs.c.tenant_id)
    )
    return [Waiting(row[0], int(row[1]), row[2]) for row in found]


async def processing_since(connection: Connection, before: datetime) -> list[tuple[str, int, datetime]]:
    """Tenants with documents that were to be searchable for so long: how many, and since when the oldest; the most
    first."""
    d = documents.c
    count = sa.func.count()
    found = await connection.execute(
        sa.select(d.tenant_id, count, sa.func.min(d.updated_at, type_=d.updated_at.type))
        .where(d.state == "live", d.status == "processing", d.updated_at < before)
        .group_by(d.tenant_id)
        .order_by(count.desc(), d.tenant_id)
        .limit(_SHOWN)
    )
    return [(row[0], int(row[1]), row[2]) for row in found]
