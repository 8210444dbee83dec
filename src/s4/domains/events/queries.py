"""Statements on the outbox."""

import sqlalchemy as sa

from s4.domains.events.model import Event
from s4.domains.events.models import events
from s4.platform.database import Connection


async def add(connection: Connection, event: Event) -> None:
    await connection.execute(
        sa.insert(events).values(
            event_id=event.event_id,
            tenant_id=event.tenant_id,
            kind=event.kind.value,
            data=dict(event.data),
            at=event.at,
        )
    )
