"""SQL that forgets what S4 kept of its own, and counts what it keeps."""

from collections.abc import Mapping
from datetime import datetime

import sqlalchemy as sa

from s4.domains.announcements.models import mails, notices_told
from s4.domains.audit.models import audit_batches, audit_entries
from s4.domains.documents.models import idempotency_keys
from s4.domains.events.models import events, webhook_deliveries
from s4.domains.service_levels.models import service_level_notices
from s4.domains.tenants.models import tenant_claims
from s4.domains.usage.models import usage_endpoints, usage_errors, usage_ledger
from s4.platform.database import Connection
from s4.platform.jobs.models import jobs

OWN: Mapping[str, sa.Table] = {
    "jobs": jobs,
    "events": events,
    "deliveries": webhook_deliveries,
    "mails": mails,
    "ledger": usage_ledger,
    "endpoints": usage_endpoints,
    "errors": usage_errors,
    "idempotency": idempotency_keys,
    "creations": tenant_claims,
    "audit": audit_entries,
}
"""What grows with time alone, by the name under which the metric tells it."""


async def forget_failed_jobs(connection: Connection, before: datetime, *, limit: int) -> int:
    """Jobs that were given up, and that nobody has asked for again since."""
    old = sa.select(jobs.c.job_id).where(jobs.c.state == "failed", jobs.c.run_at < before).limit(limit)
    return (await connection.execute(sa.delete(jobs).where(jobs.c.job_id.in_(old)))).rowcount


async def forget_mails(connection: Connection, before: datetime, *, limit: int) -> int:
    """Mails that were sent or given up, and notes of whom was told what."""
    count = 0
    for table, condition in (
        (mails, sa.and_(mails.c.state != "waiting", mails.c.created_at < before)),
        (notices_told, notices_told.c.told_at < before),
        (service_level_notices, service_level_notices.c.at < before),
    ):
        identity = sa.tuple_(*table.primary_key.columns)
        some = sa.select(*table.primary_key.columns).where(condition).limit(limit)
        count += (await connection.execute(sa.delete(table).where(identity.in_(some)))).rowcount
    return count


async def prune_audit(connection: Connection, before: datetime, now: datetime) -> int:
    """The rows of the oldest sealed batch that is older; the batch in the bucket stays. Answers with the rows."""
    oldest = (
        sa.select(audit_batches.c.sequence)
        .where(audit_batches.c.pruned_at.is_(None), audit_batches.c.sealed_at < before)
        .order_by(audit_batches.c.sequence)
        .limit(1)
    )
    sequence = (await connection.execute(oldest)).scalar_one_or_none()
    if sequence is None:
        return 0
    await connection.execute(sa.update(audit_batches).where(audit_batches.c.sequence == sequence).values(pruned_at=now))
    return (await connection.execute(sa.delete(audit_entries).where(audit_entries.c.batch == sequence))).rowcount


async def row_counts(connection: Connection) -> dict[str, int]:
    """By name. PostgreSQL says what its last ANALYZE found, for counting millions of rows takes seconds."""
    found = {}
    for name, table in OWN.items():
        estimate = -1
        if connection.dialect.name == "postgresql":
            estimated = sa.text("SELECT reltuples::bigint FROM pg_class WHERE oid = CAST(:name AS regclass)")
            estimate = int((await connection.execute(estimated, {"name": table.name})).scalar_one())
        if estimate < 0:  # never analyzed, hence small
            estimate = int((await connection.execute(sa.select(sa.func.count()).select_from(table))).scalar_one())
        found[name] = estimate
    return found
