"""SQL of the reconcilers."""

from datetime import datetime

import sqlalchemy as sa

from s4.domains.documents.jobs import INDEX
from s4.domains.documents.models import documents
from s4.domains.maintenance.models import deployment
from s4.kernel.ids import DocumentId, TenantId
from s4.platform.database import Connection, upsert
from s4.platform.jobs.models import jobs


async def read_deployment(connection: Connection) -> tuple[str, str] | None:
    """(epoch, state) of this catalog, None when it is new."""
    row = (await connection.execute(sa.select(deployment.c.epoch, deployment.c.state))).one_or_none()
    return (row.epoch, row.state) if row is not None else None


async def write_deployment(connection: Connection, *, epoch: str, state: str, now: datetime) -> None:
    await connection.execute(
        upsert(
            connection,
            deployment,
            {"singleton": 1, "epoch": epoch, "state": state, "created_at": now},
            conflict=["singleton"],
            update={"state": state},
        )
    )


async def forgotten(connection: Connection, *, limit: int) -> list[tuple[TenantId, DocumentId]]:
    """Documents in `processing` that no job will ever finish."""
    waiting = sa.exists().where(
        jobs.c.kind == INDEX,
        jobs.c.tenant_id == documents.c.tenant_id,
        jobs.c.subject == documents.c.document_id,
        jobs.c.state.in_(("ready", "running")),
    )
    rows = await connection.execute(
        sa.select(documents.c.tenant_id, documents.c.document_id)
        .where(documents.c.state == "live", documents.c.status == "processing", sa.not_(waiting))
        .limit(limit)
    )
    return [(TenantId(row.tenant_id), DocumentId(row.document_id)) for row in rows]
