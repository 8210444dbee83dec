"""Statements on budgets and blocks. Always the budget's row first: that is the order in which they are locked."""

from datetime import datetime
from typing import Any

import sqlalchemy as sa

from s4.domains.calls.model import Month, MonthlyCalls
from s4.domains.calls.models import call_blocks, call_budgets
from s4.platform.database import Connection, upsert

_BATCH = 500  # blocks that one transaction writes off


async def debit(
    connection: Connection, tenant_id: str, month: Month, *, limit: int, block_min: int, block_max: int, share: int
) -> int:
    """Takes a block: a `share`-th of what is left, from `block_min` to `block_max`. Answers with its size, 0 when less
    than `block_min` is left."""
    identity = {"tenant_id": tenant_id, "month": str(month)}
    await connection.execute(
        upsert(connection, call_budgets, identity | {"debited": 0, "lost": 0}, conflict=list(identity))
    )
    row = (await connection.execute(_budget(tenant_id, month).with_for_update())).one()
    left = max(0, limit - row.debited)
    size: int = max(block_min, min(block_max, left // share)) if left >= block_min else 0
    if size:
        await connection.execute(
            sa.update(call_budgets).where(*_is(tenant_id, month)).values(debited=call_budgets.c.debited + size)
        )
    return size


async def note_block(
    connection: Connection, owner: str, tenant_id: str, month: Month, calls: int, now: datetime
) -> None:
    """The block that this process counts down from now on."""
    identity = {"owner": owner, "tenant_id": tenant_id, "month": str(month)}
    values = {"calls": calls, "taken_at": now}
    await connection.execute(upsert(connection, call_blocks, identity | values, conflict=list(identity), update=values))


async def give_back(connection: Connection, owner: str, tenant_id: str, month: Month, calls: int) -> None:
    """The block is no more, and so many of its calls were not made. Nothing when it was written off meanwhile."""
    await connection.execute(_budget(tenant_id, month).with_for_update())
    gone = await connection.execute(
        sa.delete(call_blocks).where(
            call_blocks.c.owner == owner, call_blocks.c.tenant_id == tenant_id, call_blocks.c.month == str(month)
        )
    )
    if gone.rowcount:
        await connection.execute(
            sa.update(call_budgets).where(*_is(tenant_id, month)).values(debited=call_budgets.c.debited - calls)
        )


async def write_off(connection: Connection, *, before: datetime) -> int:
    """Blocks that were taken before that: no living process keeps one so long. Answers with the number of calls."""
    rows = (await connection.execute(sa.select(call_blocks).where(call_blocks.c.taken_at < before).limit(_BATCH))).all()
    lost = 0
    for row in rows:
        await connection.execute(
            sa.select(call_budgets.c.debited)
            .where(call_budgets.c.tenant_id == row.tenant_id, call_budgets.c.month == row.month)
            .with_for_update()
        )
        gone = await connection.execute(
            sa.delete(call_blocks).where(
                call_blocks.c.owner == row.owner,
                call_blocks.c.tenant_id == row.tenant_id,
                call_blocks.c.month == row.month,
                call_blocks.c.taken_at == row.taken_at,
            )
        )
        if gone.rowcount:
            lost += row.calls
            await connection.execute(
                sa.update(call_budgets)
                .where(call_budgets.c.tenant_id == row.tenant_id, call_budgets.c.month == row.month)
                .values(lost=call_budgets.c.lost + row.calls)
            )
    return lost


async def reset(connection: Connection, tenant_id: str, month: Month) -> None:
    """The month begins anew: nothing of it is debited. Blocks that processes hold by now are theirs to spend."""
    await connection.execute(_budget(tenant_id, month).with_for_update())
    await connection.execute(
        sa.delete(call_blocks).where(call_blocks.c.tenant_id == tenant_id, call_blocks.c.month == str(month))
    )
    await connection.execute(sa.update(call_budgets).where(*_is(tenant_id, month)).values(debited=0, lost=0))


async def at_least(connection: Connection, tenant_id: str, month: Month, calls: int) -> None:
    """So many calls of the month were made before this catalog was: they are debited, if no more are."""
    identity = {"tenant_id": tenant_id, "month": str(month)}
    fewer = sa.case((call_budgets.c.debited < calls, calls), else_=call_budgets.c.debited)
    await connection.execute(
        upsert(
            connection,
            call_budgets,
            identity | {"debited": calls, "lost": 0},
            conflict=list(identity),
            update={"debited": fewer},
        )
    )


async def state(connection: Connection, tenant_id: str, month: Month) -> MonthlyCalls:
    row = (await connection.execute(_budget(tenant_id, month))).one_or_none()
    held = await connection.execute(
        sa.select(sa.func.coalesce(sa.func.sum(call_blocks.c.calls), 0)).where(
            call_blocks.c.tenant_id == tenant_id, call_blocks.c.month == str(month)
        )
    )
    return MonthlyCalls(row.debited, int(held.scalar_one()), row.lost) if row is not None else MonthlyCalls()


def _budget(tenant_id: str, month: Month) -> sa.Select[Any]:
    return sa.select(call_budgets).where(*_is(tenant_id, month))


def _is(tenant_id: str, month: Month) -> tuple[sa.ColumnElement[bool], ...]:
    return call_budgets.c.tenant_id == tenant_id, call_budgets.c.month == str(month)
