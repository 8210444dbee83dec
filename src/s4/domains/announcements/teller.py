"""Telling tenants of windows, once for each occasion: when one is scheduled or changed, and when its lead time begins.

A window that is scheduled within its lead time has one occasion: twice in a row the same would be said. Tenants are
told in small transactions, each with its mark in `notices_told`, so that a crash repeats nothing and skips nobody; who
became a tenant after a window was scheduled is told with the next round.
"""

from datetime import timedelta

from s4.domains.announcements import queries
from s4.domains.announcements.jobs import TELL
from s4.domains.announcements.model import WINDOW, Window, WindowState, window_of
from s4.domains.announcements.service import OPERATORS
from s4.domains.events import EventKind, Events
from s4.kernel.clock import rfc3339
from s4.platform.chains import Records
from s4.platform.database import Connection, Database
from s4.platform.jobs import RegularJob

_TENANTS = 200  # told in one transaction
_EVERY = timedelta(seconds=10)  # how late the second occasion may be


class Teller:
    """Runs in workers: called by the scheduler, and whenever a window changed."""

    def __init__(self, database: Database, records: Records, events: Events) -> None:
        self._database = database
        self._records = records
        self._events = events

    def regular_jobs(self) -> list[RegularJob]:
        return [RegularJob(TELL, _EVERY, self.tell)]

    async def tell(self) -> None:
        """Tells everybody who is to know by now and does not."""
        async with self._database.read() as connection:
            records = await self._records.all(connection, tenant_id=OPERATORS)
            now = await self._database.now(connection)
        for window in (window_of(record) for record in records if record.name.startswith(WINDOW)):
            if window.state(now) in (WindowState.OVER, WindowState.CANCELLED):
                continue
            await self._occasion(window, "scheduled")
            lead_begins = window.plan.starts_at - window.plan.lead
            if window.edited_at < lead_begins <= now:
                await self._occasion(window, "upcoming")

    async def _occasion(self, window: Window, occasion: str) -> None:
        mark = f"{occasion}:{window.edition}"

        async def some(connection: Connection) -> int:
            now = await self._database.now(connection)
            tenant_ids = await queries.untold(connection, window.id, mark, among=window.plan.tenants, limit=_TENANTS)
            for tenant_id in tenant_ids:
                if await queries.note_told(connection, window.id, mark, tenant_id, at=now):
                    await self._events.emit(
                        connection, tenant_id, EventKind.MAINTENANCE_SCHEDULED, _data(window, occasion)
                    )
            return len(tenant_ids)

        while await self._database.transact(some) == _TENANTS:
            pass


def _data(window: Window, occasion: str) -> dict[str, object]:
    """Without the list of tenants: it names others."""
    plan = window.plan
    return {
        "window_id": window.id,
        "occasion": occasion,
        "is_changed": window.edition > 1,
        "starts_at": rfc3339(plan.starts_at),
        "ends_at": rfc3339(plan.ends_at),
        "mode": plan.mode.value,
        "message": plan.message,
    }
