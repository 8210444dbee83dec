"""Statements on balances. Each is part of the caller's transaction, so that the balance is exact at every commit."""

from dataclasses import dataclass

import sqlalchemy as sa

from s4.domains.usage.models import usage_balances
from s4.kernel.errors import LimitReached
from s4.kernel.ids import TenantId
from s4.platform.database import Connection, upsert


@dataclass(frozen=True, slots=True)
class Balance:
    """Bytes and documents of one tenant."""

    stored_bytes: int = 0
    reserved_bytes: int = 0
    documents: int = 0


async def open_balance(connection: Connection, tenant_id: TenantId) -> None:
    """A tenant begins with nothing; one that has a balance keeps it."""
    values = {"tenant_id": tenant_id, "stored_bytes": 0, "reserved_bytes": 0, "documents": 0}
    await connection.execute(upsert(connection, usage_balances, values, conflict=["tenant_id"]))


async def balance(connection: Connection, tenant_id: TenantId) -> Balance:
    row = (
        await connection.execute(sa.select(usage_balances).where(usage_balances.c.tenant_id == tenant_id))
    ).one_or_none()
    return Balance(row.stored_bytes, row.reserved_bytes, row.documents) if row is not None else Balance()


async def held_by_all(connection: Connection) -> Balance:
    """What everybody holds together."""
    sums = [sa.func.coalesce(sa.func.sum(usage_balances.c[name]), 0) for name in ("stored_bytes", "reserved_bytes")]
    row = (
        await connection.execute(sa.select(*sums, sa.func.coalesce(sa.func.sum(usage_balances.c.documents), 0)))
    ).one()
    return Balance(*(int(number) for number in row))


async def largest(connection: Connection, limit: int) -> list[tuple[str, int]]:
    """The tenants that store the most bytes, the most first."""
    rows = await connection.execute(
        sa.select(usage_balances.c.tenant_id, usage_balances.c.stored_bytes)
        .where(usage_balances.c.stored_bytes > 0)
        .order_by(usage_balances.c.stored_bytes.desc(), usage_balances.c.tenant_id)
        .limit(limit)
    )
    return [(row.tenant_id, row.stored_bytes) for row in rows]


async def reserve(
    connection: Connection, tenant_id: TenantId, size_bytes: int, *, storage_limit_bytes: int | None
) -> None:
    """Promises room. One conditional statement, so that concurrent uploads cannot exceed the limit together.

    Raises `LimitReached` (403 `quota_exceeded`) when the room is not there.
    """
    fits = (
        sa.true()
        if storage_limit_bytes is None
        else usage_balances.c.stored_bytes + usage_balances.c.reserved_bytes + size_bytes <= storage_limit_bytes
    )
    done = await connection.execute(
        sa.update(usage_balances)
        .where(usage_balances.c.tenant_id == tenant_id, fits)
        .values(reserved_bytes=usage_balances.c.reserved_bytes + size_bytes)
    )
    if done.rowcount != 1:
        held = await balance(connection, tenant_id)
        raise LimitReached(
            "The plan's storage is used up: delete documents or move to a larger plan.",
            code="quota_exceeded",
            status=403,
            details={
                "storage_limit": storage_limit_bytes,
                "storage_used": held.stored_bytes,
                "storage_reserved": held.reserved_bytes,
                "requested": size_bytes,
            },
        )


async def release(connection: Connection, tenant_id: TenantId, size_bytes: int) -> None:
    """Gives a promise back."""
    await connection.execute(
        sa.update(usage_balances)
        .where(usage_balances.c.tenant_id == tenant_id)
        .values(reserved_bytes=usage_balances.c.reserved_bytes - size_bytes)
    )


async def adjust(connection: Connection, tenant_id: TenantId, *, stored_bytes: int, documents: int) -> None:
    """Moves the balance by the difference that a document's change makes."""
    if stored_bytes == 0 and documents == 0:
        return
    await connection.execute(
        sa.update(usage_balances)
        .where(usage_balances.c.tenant_id == tenant_id)
        .values(
            stored_bytes=usage_balances.c.stored_bytes + stored_bytes,
            documents=usage_balances.c.documents + documents,
        )
    )
