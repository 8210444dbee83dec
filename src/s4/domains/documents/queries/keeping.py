"""Which documents have been kept long enough, and which nobody reads."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from s4.domains.documents.model import Document, DocumentStatus
from s4.domains.documents.models import documents
from s4.domains.documents.queries.rows import document
from s4.kernel.ids import TenantId
from s4.platform.database import Connection

_FREE = documents.c.held == sa.false()


@dataclass(frozen=True, slots=True)
class Tally:
    """How many documents, and their bytes."""

    documents: int
    size_bytes: int


def _uploaded_by(tenant_id: TenantId, moment: datetime) -> tuple[sa.ColumnElement[bool], ...]:
    return documents.c.tenant_id == tenant_id, documents.c.state == "live", documents.c.uploaded_at <= moment


def _unread_since(tenant_id: TenantId, moment: datetime) -> tuple[sa.ColumnElement[bool], ...]:
    unread = sa.or_(documents.c.last_accessed_at.is_(None), documents.c.last_accessed_at <= moment)
    ended = (DocumentStatus.READY.value, DocumentStatus.FAILED.value)
    return *_uploaded_by(tenant_id, moment), unread, documents.c.status.in_(ended)


async def uploaded_by(connection: Connection, tenant_id: TenantId, moment: datetime, *, limit: int) -> list[Document]:
    """Live documents of the tenant, uploaded at `moment` or before, that no hold of their own keeps; oldest first."""
    return await _oldest(connection, (*_uploaded_by(tenant_id, moment), _FREE), limit)


async def unread_since(connection: Connection, tenant_id: TenantId, moment: datetime, *, limit: int) -> list[Document]:
    """Documents in an end state that were neither uploaded nor read after `moment`; oldest first."""
    return await _oldest(connection, _unread_since(tenant_id, moment), limit)


async def tally_uploaded(connection: Connection, tenant_id: TenantId, moment: datetime) -> tuple[Tally, Tally]:
    """Of those uploaded at `moment` or before: the free ones, and those under a hold of their own."""
    wanted = _uploaded_by(tenant_id, moment)
    free = await _tally(connection, (*wanted, _FREE))
    return free, await _tally(connection, (*wanted, documents.c.held == sa.true()))


async def tally_unread(connection: Connection, tenant_id: TenantId, moment: datetime) -> Tally:
    return await _tally(connection, _unread_since(tenant_id, moment))


async def _oldest(connection: Connection, where: tuple[sa.ColumnElement[bool], ...], limit: int) -> list[Document]:
    found = await connection.execute(
        sa.select(documents).where(*where).order_by(documents.c.uploaded_at, documents.c.document_id).limit(limit)
    )
    return [document(row) for row in found]


async def _tally(connection: Connection, where: tuple[sa.ColumnElement[bool], ...]) -> Tally:
    size: sa.ColumnElement[Any] = sa.cast(sa.func.coalesce(sa.func.sum(documents.c.size_bytes), 0), sa.BigInteger)
    row = (await connection.execute(sa.select(sa.func.count(), size).select_from(documents).where(*where))).one()
    return Tally(int(row[0]), int(row[1]))
