"""Statements on the outbox."""

from collections.abc import Sequence

import sqlalchemy as sa

from s4.domains.events.model import ALL_KINDS, DeliveryState, Event, EventKind
from s4.domains.events.models import events, webhook_deliveries
from s4.kernel.ids import derived_id
from s4.kernel.keys import Collection
from s4.platform.chains.records import LIVE, records
from s4.platform.database import Connection, upsert


async def listeners(connection: Connection, tenant_id: str, kind: EventKind) -> list[str]:
    """Ids of the tenant's webhooks that are active and want `kind`. One look at an index where there are none."""
    found = await connection.execute(
        sa.select(records.c.name, records.c.body)
        .where(
            records.c.collection == Collection.WEBHOOKS.value,
            records.c.tenant_id == tenant_id,
            records.c.state == LIVE,
        )
        .order_by(records.c.name)
    )
    return [row.name for row in found if row.body["active"] and {kind.value, ALL_KINDS} & set(row.body["events"])]


async def add(connection: Connection, event: Event, webhook_ids: Sequence[str]) -> None:
    """The event and a delivery for each webhook. Nothing is changed of what was there under the same ids."""
    values = {
        "event_id": event.event_id,
        "tenant_id": event.tenant_id,
        "kind": event.kind.value,
        "data": dict(event.data),
        "at": event.at,
    }
    await connection.execute(upsert(connection, events, values, conflict=["event_id"]))
    for webhook_id in webhook_ids:
        delivery = {
            "delivery_id": delivery_id(webhook_id, event.event_id),
            "tenant_id": event.tenant_id,
            "webhook_id": webhook_id,
            "event_id": event.event_id,
            "kind": event.kind.value,
            "state": DeliveryState.PENDING.value,
            "attempts": 0,
            "created_at": event.at,
            "due_since": event.at,
            "next_at": event.at,
        }
        await connection.execute(upsert(connection, webhook_deliveries, delivery, conflict=["delivery_id"]))


def delivery_id(webhook_id: str, event_id: str) -> str:
    return derived_id("dlv", webhook_id, event_id)
