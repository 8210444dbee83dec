"""What is announced now, in the memory of an API process.

Read anew every `REFRESH`, so that a request asks nobody: a window that was scheduled, changed or ended is known to
every replica within that time and the length of one look. When the catalog is away, what was last known goes on, and
windows still begin and end by the clock that was last seen.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog

from s4.domains.announcements.model import (
    INCIDENT,
    WINDOW,
    Impact,
    Incident,
    IncidentState,
    Mode,
    Window,
    WindowState,
    incident_of,
    window_of,
)
from s4.domains.announcements.service import OPERATORS
from s4.kernel.clock import rfc3339
from s4.kernel.context import TenantContext
from s4.kernel.errors import Unavailable
from s4.kernel.permissions import Permission
from s4.platform.background import in_background
from s4.platform.chains import Records
from s4.platform.database import Database

log = structlog.get_logger()

REFRESH = timedelta(seconds=2)
HEADER = "X-S4-Maintenance"
RETRY_AFTER_MAX = timedelta(hours=1)
"""A client that asks again once an hour learns soon enough that a window was cut short."""
WRITES = frozenset({Permission.DOCUMENTS_WRITE, Permission.KEYS_MANAGE})
"""What read-only mode refuses. By permission, not by method: `POST /search` reads."""


class Board:
    """`admit` is asked for every call of a tenant; `running()` keeps it fresh."""

    def __init__(
        self, database: Database, records: Records, *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._database = database
        self._records = records
        self._monotonic = monotonic
        self._windows: tuple[Window, ...] = ()
        self._incidents: tuple[Incident, ...] = ()
        self._seen_at = datetime.now(UTC)
        self._seen_at_monotonic = monotonic()

    async def refresh(self) -> None:
        """Raises `Unavailable`, and then everything stays as it was."""
        async with self._database.read() as connection:
            records = await self._records.all(connection, tenant_id=OPERATORS)
            now = await self._database.now(connection)
        self._seen_at, self._seen_at_monotonic = now, self._monotonic()
        windows = [window_of(record) for record in records if record.name.startswith(WINDOW)]
        incidents = [incident_of(record) for record in records if record.name.startswith(INCIDENT)]
        ended = (WindowState.OVER, WindowState.CANCELLED)
        self._windows = tuple(
            sorted((each for each in windows if each.state(now) not in ended), key=lambda each: each.plan.starts_at)
        )
        self._incidents = tuple(each for each in incidents if each.is_shown(now))

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Fresh from here to the end of the block."""
        with contextlib.suppress(Unavailable):
            await self.refresh()
        async with in_background(self._keep_fresh()):
            yield

    async def _keep_fresh(self) -> None:
        while True:
            await asyncio.sleep(REFRESH.total_seconds())
            try:
                await self.refresh()
            except Unavailable as error:
                log.warning("announcements.stale", error=error.message)
            except Exception as error:  # a record that cannot be read must not hide all others for ever
                log.error("announcements.unreadable", exc_info=error)

    @property
    def now(self) -> datetime:
        """By the database's clock, as it was last seen."""
        return self._seen_at + timedelta(seconds=self._monotonic() - self._seen_at_monotonic)

    def admit(self, context: TenantContext, permission: Permission, headers: dict[str, str]) -> None:
        """Tells a tenant of its windows in the answer's headers; refuses what it writes while one is read-only. Raises
        `Unavailable`."""
        if not self._windows:
            return
        now = self.now
        announced = self._announced(context.tenant_id, now)
        if not announced:
            return
        headers[HEADER] = ", ".join(map(_header, announced))
        if permission not in WRITES:
            return
        for window in announced:
            if window.plan.mode is Mode.READ_ONLY and window.state(now) is WindowState.RUNNING:
                raise Unavailable(
                    "S4 is read-only during maintenance; reading and searching go on. Try again when it is over.",
                    details={"maintenance": {"ends_at": rfc3339(window.plan.ends_at), "message": window.plan.message}},
                    retry_after=min(window.plan.ends_at - now, RETRY_AFTER_MAX),
                )

    def for_profile(self, tenant_id: str) -> list[dict[str, Any]]:
        """The windows that are announced to a tenant, for its profile."""
        return [_said(window) for window in self._announced(tenant_id, self.now)]

    def status(self) -> dict[str, Any]:
        """For everybody: windows that concern all, and incidents. Nothing of a tenant's."""
        now = self.now
        windows = [each for each in self._windows if each.plan.tenants is None and each.is_announced(now)]
        incidents = [each for each in self._incidents if each.is_shown(now)]
        return {
            "status": _word(windows, incidents, now),
            "at": rfc3339(now),
            "maintenance": [_said(window) | {"state": window.state(now).value} for window in windows],
            "incidents": [
                {"id": each.id, "state": each.state.value, **each.body()}
                for each in sorted(incidents, key=lambda each: each.updates[0].at, reverse=True)
            ],
        }

    def _announced(self, tenant_id: str, now: datetime) -> list[Window]:
        return [each for each in self._windows if each.concerns(tenant_id) and each.is_announced(now)]


def _word(windows: list[Window], incidents: list[Incident], now: datetime) -> str:
    """The one word of the status page: the worst that is the case."""
    unresolved = [each for each in incidents if each.state is not IncidentState.RESOLVED]
    if any(each.impact is Impact.CRITICAL for each in unresolved):
        return "outage"
    if unresolved:
        return "degraded"
    running = any(each.state(now) is WindowState.RUNNING for each in windows)
    return "maintenance" if running else "operational"


def _header(window: Window) -> str:
    plan = window.plan
    return f"{_seconds(plan.starts_at)}/{_seconds(plan.ends_at)}; mode={plan.mode.value}"


def _seconds(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def _said(window: Window) -> dict[str, Any]:
    plan = window.plan
    return {
        "id": window.id,
        "starts_at": rfc3339(plan.starts_at),
        "ends_at": rfc3339(plan.ends_at),
        "mode": plan.mode.value,
        "message": plan.message,
    }
