"""SQL of a search: what the filters select, and which hits are true."""

import json
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from s4.domains.documents.models import documents
from s4.domains.documents.queries import scope
from s4.domains.indexing.models import document_index, index_tables
from s4.domains.indexing.queries import STATE, TableState, state_of
from s4.kernel.context import TenantContext
from s4.kernel.ids import GenerationId
from s4.platform.database import Connection

Condition = sa.ColumnElement[bool]


@dataclass(frozen=True, slots=True)
class Found:
    """A live, searchable document that passes the filters."""

    document_id: str
    searchable_revision: int
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


def all_of(conditions: Collection[Condition]) -> Condition:
    return sa.and_(sa.true(), *conditions)


def in_ids(document_ids: Collection[str]) -> Condition:
    return documents.c.document_id.in_(list(document_ids))


def _searchable(context: TenantContext, generation: GenerationId) -> sa.Join:
    return documents.join(
        document_index,
        sa.and_(
            document_index.c.tenant_id == documents.c.tenant_id,
            document_index.c.document_id == documents.c.document_id,
            document_index.c.generation_id == generation,
            document_index.c.searchable_revision > documents.c.searchable_floor,
            scope.visible(context),
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
        .select_from(_searchable(context, generation))
        .where(condition)
        .limit(at_most + 1)
    )
    found = list(rows.scalars())
    return found if len(found) <= at_most else None


async def judge(
    connection: Connection,
    context: TenantContext,
    generation: GenerationId,
    document_ids: Collection[str],
    condition: Condition,
) -> Verdict:
    """One statement reads the table's state and the documents, so that both are of one moment."""
    wanted = (
        sa.select(
            documents.c.tenant_id,
            documents.c.document_id,
            documents.c.key,
            documents.c.filename,
            sa.cast(documents.c.metadata, sa.Text).label("metadata"),
            document_index.c.searchable_revision,
        )
        .select_from(_searchable(context, generation))
        .where(documents.c.document_id.in_(list(document_ids)), condition)
        .subquery()
    )
    rows = await connection.execute(
        sa.select(*STATE, wanted)
        .select_from(index_tables.outerjoin(wanted, wanted.c.tenant_id == index_tables.c.tenant_id))
        .where(index_tables.c.tenant_id == context.tenant_id, index_tables.c.generation_id == generation)
    )
    table: TableState | None = None
    found: dict[str, Found] = {}
    for row in rows:
        table = state_of(row)
        if row.document_id is not None:
            found[row.document_id] = Found(
                row.document_id, row.searchable_revision, row.key, row.filename, row.metadata
            )
    return Verdict(table, found)
