"""Telling tenants of windows, once for each occasion: when one is scheduled or changed, and when its lead time begins.

A window that is scheduled within its lead time has one occasion: twice in a row the same would be said. Tenants are
told in small transactions, each with its mark in `notices_told`, so that a crash repeats nothing and skips nobody; who
became a tenant after a window was scheduled is told with the next round.
"""

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime, timedelta

from s4.domains.announcements import queries
from s4.domains.announcements.jobs import TELL
from s4.domains.announcements.mail import Mailbox
from s4.domains.announcements.model import INCIDENT, WINDOW, Incident, Mode, Window, WindowState, incident_of, window_of
from s4.domains.announcements.service import OPERATORS
from s4.domains.events import EventKind, Events
from s4.kernel.clock import rfc3339
from s4.platform.chains import Records
from s4.platform.database import Connection, Database
from s4.platform.jobs import RegularJob

_TENANTS = 200  # told in one transaction
_LATEST = timedelta(hours=6)  # news that nobody could be told of for so long is none
_READ_ONLY = "Reading and searching go on; changes are refused meanwhile."
_EVERY = timedelta(seconds=10)  # how late the second occasion may be


class Teller:
    """Runs in workers: called by the scheduler, and whenever a window changed."""

    def __init__(self, database: Database, records: Records, events: Events, mailbox: Mailbox) -> None:
        self._database = database
        self._records = records
        self._events = events
        self._mailbox = mailbox

    def regular_jobs(self) -> list[RegularJob]:
        return [RegularJob(TELL, _EVERY, self.tell)]

    async def tell(self) -> None:
        """Tells everybody who is to know by now and does not."""
        async with self._database.read() as connection:
            records = await self._records.all(connection, tenant_id=OPERATORS)
            now = await self._database.now(connection)
        for record in records:
            if record.name.startswith(WINDOW):
                await self._of_window(window_of(record), now)
            elif record.name.startswith(INCIDENT):
                await self._of_incident(incident_of(record), now)

    async def _of_window(self, window: Window, now: datetime) -> None:
        state = window.state(now)
        if state is WindowState.CANCELLED or now - window.plan.ends_at > _LATEST:
            return
        if state is WindowState.OVER:
            await self._occasion(window, "ended", is_event=False)
            return
        await self._occasion(window, "scheduled")
        lead_begins = window.plan.starts_at - window.plan.lead
        if state is WindowState.SCHEDULED and window.edited_at < lead_begins <= now:
            await self._occasion(window, "upcoming")
        if state is WindowState.RUNNING and window.edited_at < window.plan.starts_at:
            await self._occasion(window, "started", is_event=False)

    async def _of_incident(self, incident: Incident, now: datetime) -> None:
        newest = incident.updates[-1]
        if now - newest.at > _LATEST:
            return
        values = {
            "title": incident.title, "state": newest.state.value, "impact": incident.impact.value,
            "message": newest.message, "at": rfc3339(newest.at),
        }  # fmt: skip

        async def mail(connection: Connection, tenant_id: str) -> None:
            await self._mailbox.post(connection, tenant_id, "incident", values)

        await self._each(incident.id, f"update:{len(incident.updates)}", None, mail)

    async def _occasion(self, window: Window, occasion: str, *, is_event: bool = True) -> None:
        data = _data(window, occasion)
        read_only = window.plan.mode is Mode.READ_ONLY
        values = {
            "starts_at": str(data["starts_at"]), "ends_at": str(data["ends_at"]), "message": window.plan.message,
            "effect": _READ_ONLY if read_only else "Everything goes on; it may be slower.",
        }  # fmt: skip

        async def say(connection: Connection, tenant_id: str) -> None:
            if is_event:
                await self._events.emit(connection, tenant_id, EventKind.MAINTENANCE_SCHEDULED, data)
            await self._mailbox.post(connection, tenant_id, f"window_{occasion}", values)

        await self._each(window.id, f"{occasion}:{window.edition}", window.plan.tenants, say)

    async def _each(
        self,
        notice: str,
        occasion: str,
        among: Sequence[str] | None,
        say: Callable[[Connection, str], Awaitable[None]],
    ) -> None:
        """Says it to every tenant who has not heard it, and notes that, in one transaction."""

        async def some(connection: Connection) -> int:
            now = await self._database.now(connection)
            tenant_ids = await queries.untold(connection, notice, occasion, among=among, limit=_TENANTS)
            for tenant_id in tenant_ids:
                if await queries.note_told(connection, notice, occasion, tenant_id, at=now):
                    await say(connection, tenant_id)
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
