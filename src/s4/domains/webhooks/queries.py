"""All SQL on deliveries."""

from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from s4.domains.events.model import DeliveryState
from s4.domains.events.models import events, webhook_deliveries
from s4.domains.webhooks.model import Claimed, Delivery, Due
from s4.kernel.clock import parse_rfc3339, rfc3339
from s4.kernel.errors import InvalidRequest
from s4.kernel.pages import PageRequest, decode_cursor, encode_cursor
from s4.platform.database import Connection

_PENDING = DeliveryState.PENDING.value
_table = webhook_deliveries


async def due(connection: Connection, now: datetime) -> list[Due]:
    """Webhooks with a delivery to send by now.

    A recursive query skips from webhook to webhook along the index: its cost follows the number of webhooks that wait,
    not the number of their deliveries.
    """
    pending = _table.c.state == _PENDING
    waiting = sa.select(sa.func.min(_table.c.webhook_id).label("webhook_id")).where(pending)
    waiting_cte = waiting.cte("waiting", recursive=True)
    inner = _table.alias()
    following = (
        sa.select(sa.func.min(inner.c.webhook_id))
        .where(inner.c.state == _PENDING, inner.c.webhook_id > waiting_cte.c.webhook_id)
        .correlate(waiting_cte)
        .scalar_subquery()
    )
    waiting_cte = waiting_cte.union_all(sa.select(following).where(waiting_cte.c.webhook_id.is_not(None)))
    first_due = (
        sa.select(_table.c.tenant_id)
        .where(pending, _table.c.webhook_id == waiting_cte.c.webhook_id, _table.c.next_at <= now)
        .limit(1)
        .correlate(waiting_cte)
        .scalar_subquery()
    )
    found = await connection.execute(
        sa.select(waiting_cte.c.webhook_id, first_due).where(waiting_cte.c.webhook_id.is_not(None))
    )
    return [Due(row[0], row[1]) for row in found if row[1] is not None]


async def claim(
    connection: Connection, webhook_id: str, now: datetime, *, limit: int, lease: timedelta, token: str
) -> list[Claimed]:
    """The oldest that are due; counts the attempt. Whoever does not come back in `lease` has lost them."""
    rows = await connection.execute(
        sa.select(_table)
        .where(_table.c.state == _PENDING, _table.c.webhook_id == webhook_id, _table.c.next_at <= now)
        .order_by(_table.c.next_at, _table.c.delivery_id)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    claimed = [Claimed(_delivery(row), token) for row in rows]
    await connection.execute(
        sa.update(_table)
        .where(_table.c.delivery_id.in_([each.delivery.delivery_id for each in claimed]))
        .values(attempts=_table.c.attempts + 1, claim=token, next_at=now + lease, last_at=now)
    )
    return claimed


async def settle(connection: Connection, claimed: Claimed, **values: Any) -> bool:
    """Notes how an attempt ended. False when another process has claimed the delivery meanwhile."""
    done = await connection.execute(
        sa.update(_table)
        .where(
            _table.c.delivery_id == claimed.delivery.delivery_id,
            _table.c.claim == claimed.claim,
            _table.c.state == _PENDING,
        )
        .values(claim=None, **values)
    )
    return done.rowcount == 1


async def event(connection: Connection, event_id: str) -> sa.Row[Any] | None:
    row: sa.Row[Any] | None = (
        await connection.execute(sa.select(events).where(events.c.event_id == event_id))
    ).one_or_none()
    return row


async def get(connection: Connection, tenant_id: str, webhook_id: str, delivery_id: str) -> Delivery | None:
    row = (
        await connection.execute(_of(tenant_id, webhook_id).where(_table.c.delivery_id == delivery_id))
    ).one_or_none()
    return _delivery(row) if row is not None else None


async def page(
    connection: Connection, tenant_id: str, webhook_id: str, request: PageRequest, *, state: str | None
) -> tuple[list[Delivery], str | None]:
    """Newest first, and the cursor of the next page or None."""
    wanted = _of(tenant_id, webhook_id)
    if state is not None:
        wanted = wanted.where(_table.c.state == state)
    if request.cursor is not None:
        stamp, after = decode_cursor(request.cursor, parts=2)
        try:
            moment = parse_rfc3339(stamp)
        except ValueError as error:
            raise InvalidRequest("The cursor is not one that S4 returned.") from error
        wanted = wanted.where(sa.tuple_(_table.c.created_at, _table.c.delivery_id) < sa.tuple_(
            sa.literal(moment, _table.c.created_at.type), sa.literal(after)))  # fmt: skip
    newest_first = (_table.c.created_at.desc(), _table.c.delivery_id.desc())
    rows = (await connection.execute(wanted.order_by(*newest_first).limit(request.limit + 1))).all()
    found = [_delivery(row) for row in rows[: request.limit]]
    more = len(rows) > request.limit
    return found, encode_cursor(rfc3339(found[-1].created_at), found[-1].delivery_id) if more else None


async def replay(connection: Connection, tenant_id: str, webhook_id: str, delivery_id: str, now: datetime) -> bool:
    """Due at once, with all its patience. One that is being sent at this moment is sent again after it."""
    done = await connection.execute(
        sa.update(_table)
        .where(_table.c.tenant_id == tenant_id, _table.c.webhook_id == webhook_id, _table.c.delivery_id == delivery_id)
        .values(state=_PENDING, attempts=0, due_since=now, next_at=now, claim=None)
    )
    return done.rowcount == 1


async def oldest_pending(connection: Connection) -> datetime | None:
    """Since when the one that waits longest is due."""
    oldest = sa.select(sa.func.min(_table.c.due_since)).where(_table.c.state == _PENDING)
    moment: datetime | None = (await connection.execute(oldest)).scalar_one()
    return moment


async def purge(connection: Connection, before: datetime, *, limit: int) -> int:
    """Deletes deliveries, and events without one, from before that moment. Answers with how many went."""
    old = sa.select(_table.c.delivery_id).where(_table.c.created_at < before).limit(limit)
    gone = await connection.execute(sa.delete(_table).where(_table.c.delivery_id.in_(old)))
    still_told = sa.exists().where(_table.c.event_id == events.c.event_id)
    unheard = sa.select(events.c.event_id).where(events.c.at < before, ~still_told).limit(limit)
    forgotten = await connection.execute(sa.delete(events).where(events.c.event_id.in_(unheard)))
    return gone.rowcount + forgotten.rowcount


def _of(tenant_id: str, webhook_id: str) -> sa.Select[Any]:
    return sa.select(_table).where(_table.c.tenant_id == tenant_id, _table.c.webhook_id == webhook_id)


def _delivery(row: Any) -> Delivery:
    return Delivery(
        delivery_id=row.delivery_id,
        tenant_id=row.tenant_id,
        webhook_id=row.webhook_id,
        event_id=row.event_id,
        kind=row.kind,
        state=DeliveryState(row.state),
        attempts=row.attempts,
        created_at=row.created_at,
        due_since=row.due_since,
        next_at=row.next_at,
        last_at=row.last_at,
        last_status=row.last_status,
        last_error=row.last_error,
    )
