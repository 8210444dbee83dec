"""Emitting."""

from collections.abc import Mapping
from typing import Any

from s4.domains.events import queries
from s4.domains.events.model import Event, EventKind
from s4.kernel.ids import RandomBytes, base32, derived_id
from s4.platform.database import Connection, Database


class Events:
    """Every domain that has something to tell gets one."""

    def __init__(self, database: Database, random: RandomBytes) -> None:
        self._database = database
        self._random = random

    async def emit(
        self,
        connection: Connection,
        tenant_id: str,
        kind: EventKind,
        data: Mapping[str, Any],
        *,
        once: str | None = None,
    ) -> None:
        """Part of the caller's transaction: the event is told exactly when what it tells of is committed.

        `once` names what happened, a document's revision for example: told again, it is the same event. A catalog that
        was lost tells again what a receiver may have heard, under the same ids.
        """
        listeners = await queries.listeners(connection, tenant_id, kind)
        if not listeners and kind.is_frequent:
            return
        if once is not None:
            event_id = derived_id("evt", tenant_id, kind.value, once)
        else:
            event_id = "evt_" + base32(self._random(16))
        now = await self._database.now(connection)
        await queries.add(connection, Event(event_id, tenant_id, kind, data, now), listeners)
