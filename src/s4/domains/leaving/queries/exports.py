"""SQL of exports: everything of one tenant, in pages by key."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from s4.domains.audit.models import audit_entries
from s4.domains.documents import Document
from s4.domains.documents.chain import TOMBSTONE
from s4.domains.documents.models import documents
from s4.domains.documents.queries import rows
from s4.domains.indexing.models import document_index, index_tables
from s4.domains.indexing.queries.tables import STATE, TableState, state_of
from s4.domains.tenants.models import tenants
from s4.domains.usage.models import usage_endpoints, usage_ledger
from s4.kernel.ids import DocumentId, GenerationId, TenantId
from s4.platform.database import Connection

RECORDS: Mapping[str, tuple[sa.Table, tuple[str, ...]]] = {
    "usage": (usage_ledger, ("grain", "start")),
    "endpoints": (usage_endpoints, ("hour", "method", "route")),
    "audit": (audit_entries, ("at", "entry_id")),
}
"""Tables that are exported row by row, each with the columns that put a tenant's rows in order."""


async def settings_of(connection: Connection, tenant_id: TenantId) -> Mapping[str, Any]:
    found = await connection.execute(sa.select(tenants.c.settings).where(tenants.c.tenant_id == tenant_id))
    return dict(found.scalar_one_or_none() or {})


async def counts(connection: Connection, tenant_id: TenantId) -> tuple[int, int, int]:
    """Live documents, those of them that are processing, and bytes."""
    processing = sa.func.coalesce(sa.func.sum(sa.case((documents.c.status == "processing", 1), else_=0)), 0)
    stored = sa.func.coalesce(sa.func.sum(documents.c.size_bytes), 0)
    found = await connection.execute(sa.select(sa.func.count(), processing, stored).where(*_live(tenant_id)))
    total, waiting, size_bytes = found.one()
    return int(total), int(waiting), int(size_bytes)


async def page(connection: Connection, tenant_id: TenantId, *, after: str, limit: int) -> list[Document]:
    """Live documents in the order of their ids, after one id."""
    wanted = sa.select(documents).where(*_live(tenant_id), documents.c.document_id > after)
    found = await connection.execute(wanted.order_by(documents.c.document_id).limit(limit))
    return [rows.document(row) for row in found]


async def live_among(
    connection: Connection, tenant_id: TenantId, document_ids: Sequence[DocumentId]
) -> dict[DocumentId, Document]:
    found = await connection.execute(
        sa.select(documents).where(*_live(tenant_id), documents.c.document_id.in_(document_ids))
    )
    return {DocumentId(row.document_id): rows.document(row) for row in found}


async def deleted_among(
    connection: Connection, tenant_id: TenantId, document_ids: Sequence[DocumentId]
) -> set[DocumentId]:
    """Those that were here, and are not any more."""
    found = await connection.execute(
        sa.select(documents.c.document_id).where(
            documents.c.tenant_id == tenant_id,
            documents.c.state == TOMBSTONE,
            documents.c.document_id.in_(document_ids),
        )
    )
    return set(found.scalars())


async def searchable(
    connection: Connection, tenant_id: TenantId, document_ids: Sequence[str]
) -> dict[str, dict[str, int]]:
    """By document and generation the revision that searches find."""
    found = await connection.execute(
        sa.select(document_index.c.document_id, document_index.c.generation_id, document_index.c.searchable_revision)
        .where(document_index.c.tenant_id == tenant_id, document_index.c.document_id.in_(document_ids))
        .where(document_index.c.searchable_revision > 0)
    )
    revisions: defaultdict[str, dict[str, int]] = defaultdict(dict)
    for row in found:
        revisions[row.document_id][row.generation_id] = row.searchable_revision
    return revisions


async def tables(connection: Connection, tenant_id: TenantId) -> dict[GenerationId, TableState]:
    """What the tenant has of the index, by generation."""
    found = await connection.execute(
        sa.select(index_tables.c.generation_id, *STATE).where(
            index_tables.c.tenant_id == tenant_id, index_tables.c.lance_version > 0
        )
    )
    return {GenerationId(row.generation_id): state_of(row) for row in found}


async def records(
    connection: Connection, kind: str, tenant_id: TenantId, *, after: tuple[Any, ...] | None, limit: int
) -> list[dict[str, Any]]:
    """Rows of one of `RECORDS`, after the row whose ordering columns are `after`."""
    table, order = RECORDS[kind]
    columns = [table.c[name] for name in order]
    wanted = sa.select(table).where(table.c.tenant_id == tenant_id)
    if after is not None:
        wanted = wanted.where(sa.tuple_(*columns) > sa.tuple_(*map(_bound(table, order), range(len(order)), after)))
    found = await connection.execute(wanted.order_by(*columns).limit(limit))
    return [dict(row._mapping) for row in found]


def _bound(table: sa.Table, order: tuple[str, ...]) -> Any:
    """A parameter of the column's own type: times are stored in a form of ours."""
    return lambda index, value: sa.bindparam(None, value, type_=table.c[order[index]].type)


def place_of(kind: str, row: Mapping[str, Any]) -> tuple[Any, ...]:
    """The row's ordering columns."""
    return tuple(row[name] for name in RECORDS[kind][1])


def _live(tenant_id: TenantId) -> tuple[sa.ColumnElement[bool], ...]:
    return documents.c.tenant_id == tenant_id, documents.c.state == "live"
