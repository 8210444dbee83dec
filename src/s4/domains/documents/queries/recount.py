"""Counting anew what the balances say, from the rows that they are sums of."""

from dataclasses import dataclass

import sqlalchemy as sa

from s4.domains.documents.models import documents, upload_reservations
from s4.domains.usage import Balance
from s4.domains.usage.models import usage_balances
from s4.kernel.ids import TenantId
from s4.platform.database import Connection


@dataclass(frozen=True, slots=True)
class Count:
    """What the balance says, and what there is."""

    tenant_id: TenantId
    noted: Balance
    counted: Balance


_LIVE = (documents.c.tenant_id == usage_balances.c.tenant_id, documents.c.state == "live")
_RESERVED = (upload_reservations.c.tenant_id == usage_balances.c.tenant_id,)


def _sum(of: sa.ColumnElement[int], *where: sa.ColumnElement[bool]) -> sa.ScalarSelect[int]:
    # Cast: PostgreSQL's sum of BIGINT is NUMERIC.
    total = sa.cast(sa.func.coalesce(sa.func.sum(of), 0), sa.BigInteger)
    return sa.select(total).where(*where).correlate(usage_balances).scalar_subquery()


_COUNTS = sa.select(
    usage_balances,
    _sum(documents.c.size_bytes, *_LIVE).label("counted_bytes"),
    _sum(sa.literal_column("1", sa.BigInteger), *_LIVE).label("counted_documents"),
    _sum(upload_reservations.c.reserved_bytes, *_RESERVED).label("counted_reserved_bytes"),
    _sum(upload_reservations.c.reserved_documents, *_RESERVED).label("counted_reserved_documents"),
)
"""One statement, so that it sees one state: balances are exact at every commit, and what differs here has drifted."""


async def page(connection: Connection, *, after: str, limit: int) -> list[Count]:
    """The tenants behind `after`, in order of their ids. Locks nothing."""
    wanted = _COUNTS.where(usage_balances.c.tenant_id > after).order_by(usage_balances.c.tenant_id).limit(limit)
    return [_count(row) for row in await connection.execute(wanted)]


async def one(connection: Connection, tenant_id: TenantId) -> Count | None:
    """One tenant's. Exact for as long as the caller holds the balance's lock."""
    row = (await connection.execute(_COUNTS.where(usage_balances.c.tenant_id == tenant_id))).one_or_none()
    return _count(row) if row is not None else None


def _count(row: sa.Row[tuple[object, ...]]) -> Count:
    return Count(
        TenantId(row.tenant_id),
        Balance(row.stored_bytes, row.reserved_bytes, row.documents, row.reserved_documents),
        Balance(row.counted_bytes, row.counted_reserved_bytes, row.counted_documents, row.counted_reserved_documents),
    )
