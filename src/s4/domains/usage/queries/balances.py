"""Statements on balances. Each is part of the caller's transaction, so that the balance is exact at every commit.

The row of a tenant's balance is the last lock that a transaction takes: whoever holds it waits for nobody, so those who
wait for it cannot wait in a circle.
"""

from typing import Any

import sqlalchemy as sa

from s4.domains.usage.model import Balance, Crossing, Room, crossed
from s4.domains.usage.models import usage_balances
from s4.kernel.errors import LimitReached
from s4.kernel.ids import TenantId
from s4.kernel.plans import PlanLimits
from s4.platform.database import Connection, upsert

_OF = usage_balances.c
NOTHING = Room(0)


async def open_balance(connection: Connection, tenant_id: TenantId) -> None:
    """A tenant begins with nothing; one that has a balance keeps it."""
    values = {"tenant_id": tenant_id, "stored_bytes": 0, "reserved_bytes": 0, "documents": 0}
    await connection.execute(upsert(connection, usage_balances, values, conflict=["tenant_id"]))


async def balance(connection: Connection, tenant_id: TenantId) -> Balance:
    row = (await connection.execute(sa.select(usage_balances).where(_OF.tenant_id == tenant_id))).one_or_none()
    return _balance(row) if row is not None else Balance()


async def total(connection: Connection) -> Balance:
    """Of all tenants."""
    columns = (_OF.stored_bytes, _OF.reserved_bytes, _OF.documents, _OF.reserved_documents)
    row = (await connection.execute(sa.select(*(sa.func.coalesce(sa.func.sum(each), 0) for each in columns)))).one()
    return Balance(*map(int, row))


async def lock(connection: Connection, tenant_id: TenantId) -> Balance | None:
    """The balance, which nobody else moves until this transaction ends. None for a tenant that has none."""
    held = sa.select(usage_balances).where(_OF.tenant_id == tenant_id).with_for_update()
    row = (await connection.execute(held)).one_or_none()
    return _balance(row) if row is not None else None


async def reserve(
    connection: Connection, tenant_id: TenantId, plan: PlanLimits, *, at_least: Room, bytes_at_most: int
) -> Room:
    """Promises room: as many bytes as there are, between `at_least` and `bytes_at_most`. Under a lock, so that
    concurrent uploads cannot exceed the limit together; answers with what was promised.

    Raises `LimitReached` (403 `quota_exceeded`) when `at_least` is not there.
    """
    held = await lock(connection, tenant_id) or Balance()
    size_bytes = bytes_at_most
    if plan.storage_bytes_max is not None:
        free_bytes = plan.storage_bytes_max - held.stored_bytes - held.reserved_bytes
        size_bytes = max(0, min(bytes_at_most, free_bytes))
        if size_bytes < at_least.size_bytes:
            raise _refusal(
                "The plan's storage is used up: delete documents or move to a larger plan.",
                "storage",
                (plan.storage_bytes_max, held.stored_bytes, held.reserved_bytes, at_least.size_bytes),
            )
    documents = held.documents + held.reserved_documents + at_least.documents
    if at_least.documents and plan.documents_max is not None and documents > plan.documents_max:
        raise _refusal(
            "The plan holds no more documents: delete some or move to a larger plan.",
            "documents",
            (plan.documents_max, held.documents, held.reserved_documents, at_least.documents),
        )
    promised = Room(size_bytes, at_least.documents)
    await _move(connection, tenant_id, reserved=promised)
    return promised


async def release(connection: Connection, tenant_id: TenantId, room: Room) -> None:
    """Gives a promise back."""
    await _move(connection, tenant_id, reserved=Room(-room.size_bytes, -room.documents))


async def settle(
    connection: Connection, tenant_id: TenantId, *, stored: Room, released: Room = NOTHING, limit_bytes: int | None
) -> list[Crossing]:
    """Moves the balance by the difference that a document's change makes, and gives back what was promised for it.
    Answers with the thresholds that storage in use has reached by that; this transaction is the only one that does."""
    if stored == NOTHING:
        await release(connection, tenant_id, released)
        return []
    row = await _move(connection, tenant_id, stored, Room(-released.size_bytes, -released.documents))
    return await _note_use(connection, tenant_id, row, limit_bytes)


async def _note_use(
    connection: Connection, tenant_id: TenantId, row: sa.Row[Any] | None, limit_bytes: int | None
) -> list[Crossing]:
    """Remembers the highest threshold that was told."""
    if row is None:
        return []
    told, crossings = crossed(row.stored_bytes, limit_bytes, row.storage_notified)
    if told != row.storage_notified:
        await connection.execute(
            sa.update(usage_balances).where(_OF.tenant_id == tenant_id).values(storage_notified=told)
        )
    return crossings


async def correct(connection: Connection, tenant_id: TenantId, counted: Balance) -> None:
    """Writes what a recount found; the caller holds the lock."""
    await connection.execute(
        sa.update(usage_balances)
        .where(_OF.tenant_id == tenant_id)
        .values(
            stored_bytes=counted.stored_bytes,
            reserved_bytes=counted.reserved_bytes,
            documents=counted.documents,
            reserved_documents=counted.reserved_documents,
        )
    )


async def _move(
    connection: Connection, tenant_id: TenantId, stored: Room = NOTHING, reserved: Room = NOTHING
) -> sa.Row[Any] | None:
    if stored == NOTHING and reserved == NOTHING:
        return None
    moved = await connection.execute(
        sa.update(usage_balances)
        .where(_OF.tenant_id == tenant_id)
        .values(
            stored_bytes=_OF.stored_bytes + stored.size_bytes,
            documents=_OF.documents + stored.documents,
            reserved_bytes=_OF.reserved_bytes + reserved.size_bytes,
            reserved_documents=_OF.reserved_documents + reserved.documents,
        )
        .returning(_OF.stored_bytes, _OF.storage_notified)
    )
    return moved.one_or_none()


def _refusal(message: str, resource: str, figures: tuple[int, int, int, int]) -> LimitReached:
    limit, used, reserved, requested = figures
    return LimitReached(
        message,
        code="quota_exceeded",
        status=403,
        details={"resource": resource, "limit": limit, "used": used, "reserved": reserved, "requested": requested},
    )


def _balance(row: sa.Row[Any]) -> Balance:
    return Balance(row.stored_bytes, row.reserved_bytes, row.documents, row.reserved_documents)


async def largest(connection: Connection, limit: int) -> list[tuple[str, int]]:
    """The tenants that store the most bytes, the most first."""
    rows = await connection.execute(
        sa.select(_OF.tenant_id, _OF.stored_bytes)
        .where(_OF.stored_bytes > 0)
        .order_by(_OF.stored_bytes.desc(), _OF.tenant_id)
        .limit(limit)
    )
    return [(row.tenant_id, row.stored_bytes) for row in rows]
