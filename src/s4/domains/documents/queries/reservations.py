"""Reservations: uploads under way, and the room that they were promised. Their sum is the balance's, at every commit.

A reservation is locked before the balance of its tenant, and after the row of its document.
"""

from datetime import datetime
from typing import Any

import sqlalchemy as sa

from s4.domains.documents.models import upload_reservations
from s4.domains.usage import Room
from s4.kernel.ids import DocumentId, TenantId, VersionId
from s4.platform.database import Connection

_OF = upload_reservations.c


async def add(
    connection: Connection,
    tenant_id: TenantId,
    document_id: DocumentId,
    version_id: VersionId,
    *,
    room: Room,
    key_hash: str | None,
    now: datetime,
    expires_at: datetime,
) -> None:
    await connection.execute(
        sa.insert(upload_reservations).values(
            version_id=version_id,
            tenant_id=tenant_id,
            document_id=document_id,
            reserved_bytes=room.size_bytes,
            reserved_documents=room.documents,
            key_hash=key_hash,
            created_at=now,
            expires_at=expires_at,
        )
    )


async def lock(connection: Connection, version_id: VersionId) -> Room | None:
    """What is reserved, until this transaction ends; None when the upload was given up, or is settled."""
    found = sa.select(upload_reservations).where(_OF.version_id == version_id).with_for_update()
    row = (await connection.execute(found)).one_or_none()
    return _room(row) if row is not None else None


async def change(connection: Connection, version_id: VersionId, room: Room) -> None:
    """Reserves so much from now on. The caller holds the lock and moves the balance."""
    await connection.execute(
        sa.update(upload_reservations)
        .where(_OF.version_id == version_id)
        .values(reserved_bytes=room.size_bytes, reserved_documents=room.documents)
    )


async def drop(connection: Connection, *version_ids: VersionId) -> Room:
    """Answers with the room that was reserved, which is none when there was no reservation."""
    of_them = _OF.version_id.in_(version_ids)
    found = sa.select(upload_reservations).where(of_them).order_by(_OF.version_id).with_for_update()
    held = [_room(row) for row in await connection.execute(found)]
    if held:
        await connection.execute(sa.delete(upload_reservations).where(of_them))
    return Room(sum(room.size_bytes for room in held), sum(room.documents for room in held))


async def is_under_way(connection: Connection, tenant_id: TenantId, key_hash: str, *, other_than: VersionId) -> bool:
    """Whether another upload with this Idempotency-Key holds a reservation."""
    found = sa.select(_OF.version_id).where(
        _OF.tenant_id == tenant_id, upload_reservations.c.key_hash == key_hash, _OF.version_id != other_than
    )
    return (await connection.execute(found.limit(1))).one_or_none() is not None


async def expired(connection: Connection, now: datetime, *, limit: int) -> list[tuple[TenantId, DocumentId, VersionId]]:
    rows = await connection.execute(
        sa.select(_OF.tenant_id, _OF.document_id, _OF.version_id).where(_OF.expires_at < now).limit(limit)
    )
    return [(TenantId(row.tenant_id), DocumentId(row.document_id), VersionId(row.version_id)) for row in rows]


def _room(row: sa.Row[Any]) -> Room:
    return Room(row.reserved_bytes, row.reserved_documents)
