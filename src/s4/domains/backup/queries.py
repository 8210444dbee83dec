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
from s4.platform.chains.records import records
from s4.platform.database import Connection


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
    """Every record of the operator's configuration: collection, name, revision."""
    return list(await connection.execute(sa.select(records.c.collection, records.c.name, records.c.revision)))


async def last_audit_batch(connection: Connection) -> int:
    return (await connection.execute(sa.select(sa.func.max(audit_batches.c.sequence)))).scalar_one() or 0


async def table_rows(connection: Connection) -> list[sa.Row[Any]]:
    """Every index table that a search may open."""
    t = index_tables.c
    columns = (t.tenant_id, t.generation_id, t.incarnation, t.lance_version, t.files)
    return list(await connection.execute(sa.select(*columns).where(t.lance_version > 0)))


async def document_state(connection: Connection, tenant_id: str, document_id: str) -> tuple[str, str | None] | None:
    """State and version as they are now; None when the catalog does not know it."""
    d = documents.c
    found = await connection.execute(
        sa.select(d.state, d.version_id).where(d.tenant_id == tenant_id, d.document_id == document_id)
    )
    row = found.one_or_none()
    return (row.state, row.version_id) if row is not None else None


async def document_ids(connection: Connection, tenant_id: str, *, changed_since: datetime | None = None) -> list[str]:
    """Of every document that the catalog knows, also of those that are gone; or of those with a newer head."""
    d = documents.c
    wanted = sa.select(d.document_id).where(d.tenant_id == tenant_id).order_by(d.document_id)
    if changed_since is not None:
        wanted = wanted.where(d.updated_at > changed_since)
    return list((await connection.execute(wanted)).scalars())


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
