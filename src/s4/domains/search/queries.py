"""SQL of a search: what the filters select, which hits are true, and what was asked of whom it is kept."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from s4.domains.documents.models import documents
from s4.domains.documents.queries import scope
from s4.domains.indexing.models import document_index, index_tables
from s4.domains.indexing.queries.tables import STATE, TableState, state_of
from s4.domains.search.models import logged_queries
from s4.domains.tenants.models import tenants
from s4.kernel.context import Restriction, TenantContext
from s4.kernel.ids import GenerationId, TenantId
from s4.platform.database import Connection, adding

Condition = sa.ColumnElement[bool]


@dataclass(frozen=True, slots=True)
class Found:
    """A live, searchable document that passes the filters."""

    document_id: str
    searchable_revision: int
    floor: int
    """Up to which revision it was deleted once; 0 where it never was."""
    key: str | None
    filename: str
    metadata_json: str
    """As text: a hundred candidates are judged, ten are shown."""

    @property
    def metadata(self) -> dict[str, Any]:
        parsed: dict[str, Any] = json.loads(self.metadata_json)
        return parsed


@dataclass(frozen=True, slots=True)
class Verdict:
    """Which documents may be answered, and the table at the moment of judging."""

    table: TableState | None
    found: dict[str, Found]


def all_of(conditions: Collection[Condition]) -> Condition | None:
    return sa.and_(*conditions) if conditions else None


def in_ids(document_ids: Collection[str]) -> Condition:
    return documents.c.document_id.in_(list(document_ids))


def _searchable(
    tenant_id: TenantId | sa.BindParameter[str],
    restriction: Restriction,
    generation: GenerationId | sa.BindParameter[str],
) -> sa.Join:
    return documents.join(
        document_index,
        sa.and_(
            document_index.c.tenant_id == documents.c.tenant_id,
            document_index.c.document_id == documents.c.document_id,
            document_index.c.generation_id == generation,
            document_index.c.searchable_revision > documents.c.searchable_floor,
            scope.visible_to(tenant_id, restriction),
        ),
    )


async def matching_ids(
    connection: Connection,
    context: TenantContext,
    generation: GenerationId,
    condition: Condition,
    *,
    at_most: int,
) -> list[str] | None:
    """The searchable documents that pass `condition`; None when there are more than `at_most`."""
    rows = await connection.execute(
        sa.select(documents.c.document_id)
        .select_from(_searchable(context.tenant_id, context.restriction, generation))
        .where(condition)
        .limit(at_most + 1)
    )
    found = list(rows.scalars())
    return found if len(found) <= at_most else None


def _judgement(
    tenant_id: TenantId | sa.BindParameter[str],
    restriction: Restriction,
    generation: GenerationId | sa.BindParameter[str],
    condition: Condition,
) -> sa.Select[Any]:
    """Takes `document_ids`."""
    wanted = (
        sa.select(
            documents.c.tenant_id,
            documents.c.document_id,
            documents.c.key,
            documents.c.filename,
            sa.cast(documents.c.metadata, sa.Text).label("metadata"),
            document_index.c.searchable_revision,
            documents.c.searchable_floor,
        )
        .select_from(_searchable(tenant_id, restriction, generation))
        .where(documents.c.document_id.in_(sa.bindparam("document_ids", expanding=True)), condition)
        .subquery()
    )
    return (
        sa.select(*STATE, wanted)
        .select_from(index_tables.outerjoin(wanted, wanted.c.tenant_id == index_tables.c.tenant_id))
        .where(index_tables.c.tenant_id == tenant_id, index_tables.c.generation_id == generation)
    )


_JUDGEMENT = _judgement(
    sa.bindparam("tenant_id", type_=sa.String), Restriction(), sa.bindparam("generation_id", type_=sa.String), sa.true()
)
"""Of searches without conditions, which are most. To make a statement takes longer than SQLite needs to answer it."""


async def judge(
    connection: Connection,
    context: TenantContext,
    generation: GenerationId,
    document_ids: Collection[str],
    condition: Condition | None,
) -> Verdict:
    """One statement reads the table's state and the documents, so that both are of one moment."""
    given: dict[str, Any] = {"document_ids": list(document_ids)}
    if condition is None and not context.restriction.binds:
        statement = _JUDGEMENT
        given |= {"tenant_id": context.tenant_id, "generation_id": generation}
    else:
        everything = condition if condition is not None else sa.true()
        statement = _judgement(context.tenant_id, context.restriction, generation, everything)
    table: TableState | None = None
    found: dict[str, Found] = {}
    for row in await connection.execute(statement, given):
        table = table or state_of(row)
        if row.document_id is not None:
            found[row.document_id] = Found(
                row.document_id,
                row.searchable_revision,
                row.searchable_floor,
                row.key,
                row.filename,
                row.metadata,
            )
    return Verdict(table, found)


# -- what was asked


async def log_asked(connection: Connection, rows: Sequence[tuple[TenantId, str, str, int]], now: datetime) -> None:
    """`rows`: tenant, hash, text and how often, in the order of the first two."""
    statement = adding(
        connection,
        logged_queries,
        conflict=["tenant_id", "query_hash"],
        added=["asked"],
        replaced=["asked_at"],
    )
    values = [
        {"tenant_id": tenant_id, "query_hash": digest, "text": text, "asked": count, "asked_at": now}
        for tenant_id, digest, text, count in rows
    ]
    await connection.execute(statement, values)


async def logged(connection: Connection, tenant_id: TenantId, *, limit: int) -> list[str]:
    """What was asked most often, and of that what was asked last."""
    q = logged_queries.c
    found = await connection.execute(
        sa.select(q.text)
        .where(q.tenant_id == tenant_id)
        .order_by(q.asked.desc(), q.asked_at.desc(), q.query_hash)
        .limit(limit)
    )
    return list(found.scalars())


async def tenants_with_log(connection: Connection) -> list[TenantId]:
    found = await connection.execute(sa.select(logged_queries.c.tenant_id).distinct())
    return [TenantId(text) for text in found.scalars()]


async def settings_of(connection: Connection, tenant_id: TenantId) -> Mapping[str, Any]:
    """Empty for a tenant that is gone."""
    found = await connection.execute(
        sa.select(tenants.c.settings).where(tenants.c.tenant_id == tenant_id, tenants.c.state == "live")
    )
    return found.scalar_one_or_none() or {}


async def settings_kept_still(
    connection: Connection, tenant_ids: Collection[TenantId]
) -> dict[TenantId, Mapping[str, Any]]:
    """Of those tenants that are not gone; they stay so until this transaction ends."""
    t = tenants.c
    found = await connection.execute(
        sa.select(t.tenant_id, t.settings)
        .where(t.tenant_id.in_(tenant_ids), t.state == "live")
        .order_by(t.tenant_id)
        .with_for_update(read=True)
    )
    return {TenantId(row.tenant_id): row.settings for row in found}


async def forget_logged(connection: Connection, tenant_id: TenantId, *, before: datetime, keep: int) -> int:
    """What was asked last before that moment, and what is beyond the newest `keep`."""
    q = logged_queries.c
    newest = (
        sa.select(q.query_hash)
        .where(q.tenant_id == tenant_id)
        .order_by(q.asked_at.desc(), q.query_hash)
        .limit(keep)
        .subquery()
    )
    done = await connection.execute(
        sa.delete(logged_queries).where(
            q.tenant_id == tenant_id,
            sa.or_(q.asked_at < before, q.query_hash.not_in(sa.select(newest.c.query_hash))),
        )
    )
    return done.rowcount
