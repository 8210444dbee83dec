"""SQL of backups: the state of the catalog at one moment, and what is remembered of runs."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from s4.domains.audit.models import audit_batches
from s4.domains.backup.model import Counts
from s4.domains.backup.models import backup_runs
from s4.domains.documents import DocumentStatus
from s4.domains.documents.models import documents
from s4.domains.indexing.models import index_tables
from s4.domains.tenants.models import tenants
from s4.domains.usage.models import usage_rollups
from s4.platform.chains.records import records
from s4.platform.database import Connection

_RUNS_LOOKED_AT = 100  # whoever makes backups in several places makes them by turns


async def tenant_rows(connection: Connection) -> list[sa.Row[Any]]:
    """Every tenant in whatever state: tenant_id, revision, state."""
    return list(await connection.execute(sa.select(tenants.c.tenant_id, tenants.c.revision, tenants.c.state)))


async def document_rows(connection: Connection) -> list[sa.Row[Any]]:
    """Every document in whatever state, as few columns as tell its objects."""
    d = documents.c
    return list(
        await connection.execute(
            sa.select(d.tenant_id, d.document_id, d.revision, d.state, d.version_id, d.size_bytes, d.sha256, d.status)
        )
    )


async def record_rows(connection: Connection) -> list[sa.Row[Any]]:
    """Every record of the operator's configuration: collection, name, tenant_id, revision."""
    r = records.c
    return list(await connection.execute(sa.select(r.collection, r.name, r.tenant_id, r.revision)))


async def rollup_rows(connection: Connection) -> list[sa.Row[Any]]:
    """Every month of use that is in the bucket: tenant_id, or everybody, and month."""
    return list(await connection.execute(sa.select(usage_rollups.c.tenant_id, usage_rollups.c.month)))


async def last_audit_batch(connection: Connection) -> int:
    return (await connection.execute(sa.select(sa.func.max(audit_batches.c.sequence)))).scalar_one() or 0


async def table_rows(connection: Connection) -> list[sa.Row[Any]]:
    """Every index table that a search may open."""
    t = index_tables.c
    columns = (t.tenant_id, t.generation_id, t.incarnation, t.lance_version, t.files)
    return list(await connection.execute(sa.select(*columns).where(t.lance_version > 0)))


async def tenant_row(connection: Connection, tenant_id: str) -> sa.Row[Any] | None:
    """As `tenant_rows`, of one."""
    columns = [tenants.c.tenant_id, tenants.c.revision, tenants.c.state]
    found = await connection.execute(sa.select(*columns).where(tenants.c.tenant_id == tenant_id))
    return found.one_or_none()


async def revisions(connection: Connection, tenant_id: str, *, changed_since: datetime | None = None) -> dict[str, int]:
    """By id, of every document that the catalog knows, also of those that are gone; or of those with a newer head."""
    d = documents.c
    wanted = sa.select(d.document_id, d.revision).where(d.tenant_id == tenant_id).order_by(d.document_id)
    if changed_since is not None:
        wanted = wanted.where(d.updated_at > changed_since)
    return {row.document_id: row.revision for row in await connection.execute(wanted)}


async def live_documents(connection: Connection, tenant_id: str) -> dict[str, int]:
    """By id, how many bytes each has."""
    d = documents.c
    live = sa.select(d.document_id, d.size_bytes).where(d.tenant_id == tenant_id, d.state == "live")
    return {row.document_id: row.size_bytes for row in await connection.execute(live)}


async def unindexed(connection: Connection, tenant_id: str, wanted: Sequence[str]) -> tuple[int, int]:
    """How many of the tenant's live documents wait for a worker, and how many of those that are wanted."""
    d = documents.c
    waiting = (d.tenant_id == tenant_id, d.state == "live", d.status == DocumentStatus.PROCESSING.value)
    count = sa.select(sa.func.count()).select_from(documents)
    of_all = (await connection.execute(count.where(*waiting))).scalar_one()
    return of_all, (await connection.execute(count.where(*waiting, d.document_id.in_(wanted)))).scalar_one()


# -- runs


async def note_run(connection: Connection, values: Mapping[str, Any]) -> None:
    await connection.execute(sa.insert(backup_runs).values(**values))


async def last_runs(connection: Connection, kind: str, *, outcome: str | None = None, limit: int) -> list[sa.Row[Any]]:
    """Newest first."""
    wanted = sa.select(backup_runs).where(backup_runs.c.kind == kind).order_by(backup_runs.c.ended_at.desc())
    if outcome is not None:
        wanted = wanted.where(backup_runs.c.outcome == outcome)
    return list(await connection.execute(wanted.limit(limit)))


async def newest_made(connection: Connection, place: str, *, now: datetime) -> str | None:
    """The newest backup that was made there, by its id; not one that a wrong clock dated into the future."""
    r = backup_runs.c
    made = sa.select(r.backup_id, r.said).where(r.kind == "backup", r.outcome == "ok", r.point <= now)
    rows = await connection.execute(made.order_by(r.point.desc()).limit(_RUNS_LOOKED_AT))
    return next((row.backup_id for row in rows if row.said.get("place") == place), None)


async def places(connection: Connection) -> list[str]:
    """Where backups of this deployment were made, as far as runs are remembered."""
    r = backup_runs.c
    rows = await connection.execute(sa.select(r.said).where(r.kind == "backup", r.outcome == "ok"))
    return sorted({str(row.said["place"]) for row in rows if row.said.get("place")})


async def forget_runs(connection: Connection, *, before: datetime) -> int:
    return (await connection.execute(sa.delete(backup_runs).where(backup_runs.c.ended_at < before))).rowcount


async def live_counts(connection: Connection) -> Counts:
    """What there is, by the catalog."""
    alive = sa.select(sa.func.count()).select_from(tenants).where(tenants.c.state == "live")
    d = documents.c
    held = sa.select(sa.func.count(), sa.func.coalesce(sa.func.sum(d.size_bytes), 0)).where(
        d.state == "live", d.tenant_id.in_(sa.select(tenants.c.tenant_id).where(tenants.c.state == "live"))
    )
    count, stored_bytes = (await connection.execute(held)).one()
    return Counts((await connection.execute(alive)).scalar_one(), count, int(stored_bytes))
