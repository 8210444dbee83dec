"""How large index tables are, as their last commits noted it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from s4.domains.indexing.models import index_tables
from s4.kernel.ids import GenerationId, TenantId
from s4.platform.database import Connection

_PAGE_ROWS = 500  # their lists of files are a few MB at most
DATA = "data/"  # where LanceDB keeps fragments; a file each


@dataclass(frozen=True, slots=True)
class IndexSizes:
    tables: int = 0
    size_bytes: int = 0
    fragments: int = 0
    fragments_most: int = 0
    """Of one table, as the next."""
    commits: int = 0
    """Since they were compacted."""
    commits_most: int = 0


async def index_sizes(connection: Connection) -> IndexSizes:
    """Of all tables. Reads each one's list of files: for ten thousand tables some tenths of a second."""
    t = index_tables.c
    tables = size_bytes = commits = commits_most = 0
    fragments: list[int] = [0]
    after = ("", "")
    while True:
        page = await connection.execute(
            sa.select(t.tenant_id, t.generation_id, t.files, t.commits_since_optimize)
            .where(sa.tuple_(t.tenant_id, t.generation_id) > sa.tuple_(*map(sa.literal, after)))
            .order_by(t.tenant_id, t.generation_id)
            .limit(_PAGE_ROWS)
        )
        rows = page.all()
        for _, _, files, since in rows:
            known = files or {}
            size_bytes += _bytes_of(known)
            fragments.append(sum(name.startswith(DATA) for name in known))
            commits, commits_most = commits + since, max(commits_most, since)
        tables += len(rows)
        if len(rows) < _PAGE_ROWS:
            return IndexSizes(tables, size_bytes, sum(fragments), max(fragments), commits, commits_most)
        after = (rows[-1].tenant_id, rows[-1].generation_id)


async def sizes_of(connection: Connection, tenant_id: TenantId) -> Mapping[GenerationId, int]:
    """Bytes of the tenant's tables, by generation."""
    t = index_tables.c
    found = await connection.execute(sa.select(t.generation_id, t.files).where(t.tenant_id == tenant_id))
    return {GenerationId(row.generation_id): _bytes_of(row.files or {}) for row in found}


def _bytes_of(files: Mapping[str, Sequence[Any]]) -> int:
    return sum(described[0] for described in files.values())
