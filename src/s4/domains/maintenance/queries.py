"""SQL of the reconcilers."""

from datetime import datetime

import sqlalchemy as sa

from s4.domains.documents.models import documents
from s4.domains.documents.queries import rows
from s4.domains.maintenance.models import deployment
from s4.kernel.ids import DocumentId, TenantId
from s4.platform.database import Connection, upsert


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
    lost = await connection.execute(
        sa.select(documents.c.tenant_id, documents.c.document_id)
        .where(documents.c.state == "live", documents.c.status == "processing", sa.not_(rows.awaits_indexing()))
        .limit(limit)
    )
    return [(TenantId(row.tenant_id), DocumentId(row.document_id)) for row in lost]
