"""Use cases of the operator who announces something."""

import re
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from s4.domains import audit
from s4.domains.announcements import queries
from s4.domains.announcements.jobs import tell
from s4.domains.announcements.model import (
    INCIDENT,
    TEMPLATES,
    WINDOW,
    Impact,
    Incident,
    IncidentState,
    IncidentUpdate,
    Window,
    WindowPlan,
    WindowState,
    incident_of,
    window_of,
)
from s4.kernel.clock import rfc3339
from s4.kernel.context import AdminContext
from s4.kernel.errors import Conflict, InvalidRequest, NotFound
from s4.kernel.ids import RandomBytes, base32
from s4.kernel.permissions import Permission
from s4.platform.chains import Record, Records
from s4.platform.chains.records import Decide
from s4.platform.database import Connection, Database
from s4.platform.jobs import Queue

OPERATORS = ""
"""Whose the records are: no tenant's."""


class NoticeService:
    """Schedules, changes and ends windows; opens and updates incidents."""

    def __init__(self, database: Database, records: Records, queue: Queue, random: RandomBytes) -> None:
        self._database = database
        self._records = records
        self._queue = queue
        self._random = random

    # -- maintenance windows

    async def windows(self, context: AdminContext, *, past: bool) -> list[tuple[Window, WindowState]]:
        """By their start. Those that are over or cancelled only with `past`."""
        context.require(Permission.ADMIN_READ)
        async with self._database.read() as connection:
            records = await self._records.all(connection, tenant_id=OPERATORS)
            now = await self._database.now(connection)
        found = [window_of(record) for record in records if record.name.startswith(WINDOW)]
        told = [(window, window.state(now)) for window in sorted(found, key=lambda each: each.plan.starts_at)]
        ended = (WindowState.OVER, WindowState.CANCELLED)
        return [(window, state) for window, state in told if past or state not in ended]

    async def schedule(self, context: AdminContext, plan: WindowPlan) -> tuple[Window, WindowState]:
        """Tenants concerned are told at once. Raises `InvalidRequest` for a plan that makes no sense."""
        name = WINDOW + base32(self._random(16))

        async def decide(connection: Connection, now: datetime, _: Record | None) -> Mapping[str, Any]:
            await self._check(connection, plan, now)
            return Window(name, plan, 1, now).body()

        return await self._window(context, "maintenance.schedule", name, decide)

    async def replace(self, context: AdminContext, name: str, plan: WindowPlan) -> tuple[Window, WindowState]:
        """Another plan for a window that is not over; tenants are told anew. Raises `NotFound`, `Conflict`."""

        async def decide(connection: Connection, now: datetime, current: Record | None) -> Mapping[str, Any]:
            window = _open(current, now)
            await self._check(connection, plan, now)
            return Window(name, plan, window.edition + 1, now).body()

        return await self._window(context, "maintenance.update", name, decide)

    async def end(self, context: AdminContext, name: str) -> tuple[Window, WindowState]:
        """Cancels a window that has not begun; one that runs ends now. Raises `NotFound`, `Conflict`."""

        async def decide(_c: Connection, now: datetime, current: Record | None) -> Mapping[str, Any]:
            window = _open(current, now)
            if window.state(now) is WindowState.SCHEDULED:
                return window.body() | {"cancelled": True}
            return window.body() | {"ends_at": rfc3339(now)}

        return await self._window(context, "maintenance.end", name, decide)

    async def _window(
        self, context: AdminContext, action: str, name: str, decide: Decide
    ) -> tuple[Window, WindowState]:
        changed = _found(await self._change(context, action, name, decide))
        window = window_of(changed)
        return window, window.state(changed.updated_at)

    async def _check(self, connection: Connection, plan: WindowPlan, now: datetime) -> None:
        if plan.ends_at <= plan.starts_at:
            raise InvalidRequest("The window ends before it begins: give it a later `ends_at`.")
        if plan.ends_at <= now:
            raise InvalidRequest("The window is over already: give it a later `ends_at`.")
        unknown = await queries.unknown(connection, plan.tenants) if plan.tenants is not None else []
        if unknown:
            raise InvalidRequest("Some of these tenants do not exist.", details={"tenants": unknown})

    # -- incidents

    async def incidents(self, context: AdminContext) -> list[Incident]:
        """Newest first."""
        context.require(Permission.ADMIN_READ)
        async with self._database.read() as connection:
            records = await self._records.all(connection, tenant_id=OPERATORS)
        found = [incident_of(record) for record in records if record.name.startswith(INCIDENT)]
        return sorted(found, key=lambda each: each.updates[0].at, reverse=True)

    async def open_incident(
        self, context: AdminContext, title: str, impact: Impact, state: IncidentState, message: str | None
    ) -> Incident:
        """Stands on the status page within seconds. Without a message a template speaks."""
        name = INCIDENT + base32(self._random(16))

        async def decide(_c: Connection, now: datetime, _r: Record | None) -> Mapping[str, Any]:
            return Incident(name, title, impact, (_update(now, state, title, message),)).body()

        return incident_of(_found(await self._change(context, "incident.open", name, decide)))

    async def update_incident(
        self, context: AdminContext, name: str, state: IncidentState, message: str | None
    ) -> Incident:
        """Also opens anew what was resolved. Raises `NotFound`."""

        async def decide(_c: Connection, now: datetime, current: Record | None) -> Mapping[str, Any]:
            incident = incident_of(_found(current))
            updates = (*incident.updates, _update(now, state, incident.title, message))
            return Incident(name, incident.title, incident.impact, updates).body()

        return incident_of(_found(await self._change(context, "incident.update", name, decide)))

    async def _change(self, context: AdminContext, action: str, name: str, decide: Decide) -> Record | None:
        context.require(Permission.ADMIN_WRITE)
        kind, prefix = ("incident", INCIDENT) if action.startswith("incident.") else ("maintenance-window", WINDOW)
        if re.fullmatch(f"{prefix}[a-z2-7]{{26}}", name) is None:
            raise NotFound("No such notice.")

        async def noted(connection: Connection, before: Record | None, after: Record | None) -> None:
            await self._queue.enqueue(connection, tell())
            await audit.record(
                connection,
                context.actor,
                action,
                f"{kind}/{name}",
                before=before.body if before is not None else None,
                after=after.body if after is not None else None,
            )

        return await self._records.change(name, decide, noted=noted, tenant_id=OPERATORS)


def _update(now: datetime, state: IncidentState, title: str, message: str | None) -> IncidentUpdate:
    return IncidentUpdate(now, state, message if message is not None else TEMPLATES[state].format(title=title))


def _found(record: Record | None) -> Record:
    if record is None:
        raise NotFound("No such notice.")
    return record


def _open(record: Record | None, now: datetime) -> Window:
    window = window_of(_found(record))
    if window.state(now) in (WindowState.OVER, WindowState.CANCELLED):
        raise Conflict("This window is over; schedule another.")
    return window
