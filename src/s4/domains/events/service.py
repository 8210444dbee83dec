"""Emitting."""

from collections.abc import Mapping
from typing import Any

from s4.domains.events import queries
from s4.domains.events.model import Event, EventKind
from s4.kernel.ids import RandomBytes, base32
from s4.platform.database import Connection, Database


class Events:
    """Every domain that has something to tell gets one."""

    def __init__(self, database: Database, random: RandomBytes) -> None:
        self._database = database
        self._random = random

    async def emit(self, connection: Connection, tenant_id: str, kind: EventKind, data: Mapping[str, Any]) -> None:
        """Part of the caller's transaction: the event is told exactly when what it tells of is committed."""
        now = await self._database.now(connection)
        event_id = "evt_" + base32(self._random(16))
        await queries.add(connection, Event(event_id, tenant_id, kind, data, now))
