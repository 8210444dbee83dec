"""SQL of the reconcilers."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TypeVar

import sqlalchemy as sa

from s4.domains.documents.models import documents
from s4.domains.documents.queries import rows
from s4.domains.maintenance.model import Deployment
from s4.domains.maintenance.models import deployment, replica_deletions
from s4.kernel.ids import DocumentId, TenantId
from s4.platform.database import Connection, upsert

T = TypeVar("T")
_AT_ONCE = 500  # keys or rows of one statement


async def read_deployment(connection: Connection) -> Deployment | None:
    """What this catalog says, None when it is new."""
    row = (await connection.execute(sa.select(deployment))).one_or_none()
    return Deployment(row.epoch, row.state, row.term) if row is not None else None


async def deployment_since(connection: Connection, state: str) -> datetime | None:
    """When this catalog was made for its bucket; None while it is not in `state`."""
    found = await connection.execute(sa.select(deployment.c.created_at).where(deployment.c.state == state))
    return found.scalar_one_or_none()


async def deployment_made(connection: Connection) -> datetime | None:
    """When this catalog was made; None while it is new."""
    return (await connection.execute(sa.select(deployment.c.created_at))).scalar_one_or_none()


async def write_deployment(connection: Connection, said: Deployment, *, now: datetime) -> None:
    values = {"epoch": said.epoch, "state": said.state, "term": said.term}
    await connection.execute(
        upsert(
            connection,
            deployment,
            {"singleton": 1, "created_at": now} | values,
            conflict=["singleton"],
            update={"state": said.state, "term": said.term},
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


async def note_gone(connection: Connection, found: Sequence[str], *, now: datetime, before: datetime) -> list[str]:
    """Remembers since when the copy of the bucket has these too many, and forgets the others. Answers with those that
    it has had so since `before`."""
    known = {row.object_key: row.seen_at for row in await connection.execute(sa.select(replica_deletions))}
    back = known.keys() - set(found)
    for some in _parts(sorted(back)):
        await connection.execute(sa.delete(replica_deletions).where(replica_deletions.c.object_key.in_(some)))
    fresh = [{"object_key": key, "seen_at": now} for key in found if key not in known]
    for part in _parts(fresh):
        await connection.execute(sa.insert(replica_deletions), list(part))
    return [key for key in found if key in known and known[key] <= before]


def _parts(items: Sequence[T]) -> Iterable[Sequence[T]]:
    return (items[start : start + _AT_ONCE] for start in range(0, len(items), _AT_ONCE))
