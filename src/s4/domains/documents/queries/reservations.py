"""Reservations: uploads under way, and the room that they were promised."""

from datetime import datetime

import sqlalchemy as sa

from s4.domains.documents.models import upload_reservations
from s4.kernel.ids import DocumentId, TenantId, VersionId
from s4.platform.database import Connection


async def add(
    connection: Connection,
    tenant_id: TenantId,
    document_id: DocumentId,
    version_id: VersionId,
    *,
    reserved_bytes: int,
    now: datetime,
    expires_at: datetime,
) -> None:
    await connection.execute(
        sa.insert(upload_reservations).values(
            version_id=version_id,
            tenant_id=tenant_id,
            document_id=document_id,
            reserved_bytes=reserved_bytes,
            created_at=now,
            expires_at=expires_at,
        )
    )


async def alive(connection: Connection, version_id: VersionId) -> bool:
    """Whether the upload may still commit; locks the reservation."""
    found = await connection.execute(
        sa.select(upload_reservations.c.version_id)
        .where(upload_reservations.c.version_id == version_id)
        .with_for_update()
    )
    return found.one_or_none() is not None


async def drop(connection: Connection, version_id: VersionId) -> int:
    """Answers with the bytes that were reserved, 0 when there was no reservation."""
    row = (
        await connection.execute(
            sa.select(upload_reservations.c.reserved_bytes)
            .where(upload_reservations.c.version_id == version_id)
            .with_for_update()
        )
    ).one_or_none()
    if row is None:
        return 0
    await connection.execute(sa.delete(upload_reservations).where(upload_reservations.c.version_id == version_id))
    return int(row.reserved_bytes)


async def expired(connection: Connection, now: datetime, *, limit: int) -> list[tuple[TenantId, VersionId]]:
    rows = await connection.execute(
        sa.select(upload_reservations.c.tenant_id, upload_reservations.c.version_id)
        .where(upload_reservations.c.expires_at < now)
        .limit(limit)
    )
    return [(TenantId(row.tenant_id), VersionId(row.version_id)) for row in rows]
