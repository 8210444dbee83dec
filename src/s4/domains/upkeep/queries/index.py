"""How the index tables are. Reads, and changes nothing."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from s4.domains.indexing.models import generation_uses, index_tables
from s4.domains.indexing.queries.sizes import DATA
from s4.domains.indexing.queries.uses import USE_LASTS
from s4.engine.vectors import FileSum
from s4.kernel.ids import GenerationId, Incarnation, TenantId
from s4.platform.database import Connection

_PAGE_ROWS = 500  # their lists of files are a few MB at most


@dataclass(frozen=True, slots=True)
class Table:
    """Of one tenant in one generation."""

    tenant_id: TenantId
    generation_id: GenerationId
    incarnation: Incarnation
    version: int
    files: int
    size_bytes: int
    fragments: int
    commits_since_optimize: int
    remade_since: datetime | None
    repairs: int
    checked_at: datetime | None


async def used(connection: Connection, now: datetime) -> set[GenerationId]:
    """Generations that a living process uses. Locks nothing, hence may be of a moment ago."""
    u = generation_uses.c
    alive = sa.select(u.generation_id).where(u.seen_at > now - USE_LASTS).distinct()
    return {GenerationId(each) for each in (await connection.execute(alive)).scalars()}


async def tables(connection: Connection, used: Collection[GenerationId]) -> list[Table]:
    """Every table of these generations that a search may open."""
    t = index_tables.c
    after = ("", "")
    found: list[Table] = []
    while True:
        page = await connection.execute(
            sa.select(index_tables)
            .where(sa.tuple_(t.tenant_id, t.generation_id) > sa.tuple_(*map(sa.literal, after)))
            .order_by(t.tenant_id, t.generation_id)
            .limit(_PAGE_ROWS)
        )
        rows = page.all()
        found += [_table(row) for row in rows if row.generation_id in used]
        if len(rows) < _PAGE_ROWS:
            return found
        after = (rows[-1].tenant_id, rows[-1].generation_id)


async def described(
    connection: Connection, tenant_id: TenantId, generation: GenerationId
) -> tuple[Table, dict[str, FileSum]] | None:
    """One of them, with what its files were at the last commit."""
    t = index_tables.c
    row = (
        await connection.execute(sa.select(index_tables).where(t.tenant_id == tenant_id, t.generation_id == generation))
    ).one_or_none()
    if row is None:
        return None
    return _table(row), {name: FileSum(size, md5) for name, (size, md5) in (row.files or {}).items()}


def _table(row: sa.Row[Any]) -> Table:
    files = row.files or {}
    return Table(
        TenantId(row.tenant_id),
        GenerationId(row.generation_id),
        Incarnation(row.incarnation),
        row.lance_version,
        len(files),
        sum(size for size, _ in files.values()),
        sum(name.startswith(DATA) for name in files),
        row.commits_since_optimize,
        row.remade_since,
        row.repairs,
        row.checked_at,
    )
