"""From where administrators come: told when a key of theirs is used from an address where its holder never was.

What "never" means the audit trail says, which has every call of theirs, for as long as the catalog keeps it
(`S4_AUDIT_DAYS`). Asked once for each administrator and address of a process's life, when `Notes` writes: no request
waits for it. Whoever was nowhere yet is new, and no reason for alarm.
"""

import time
from collections.abc import Awaitable, Callable
from datetime import timedelta

import structlog

from s4.domains import audit
from s4.kernel.context import Actor, Origin
from s4.platform.database import Connection, Database
from s4.platform.telemetry import metrics

log = structlog.get_logger()

ACTION = "access.new_address"
_KNOWN_MAX = 10_000  # pairs; beyond, all are asked for again
_MARGIN = timedelta(seconds=1)  # a call is in the trail with its end, which comes after its key was looked at


class Whereabouts:
    """Lives in one event loop."""

    def __init__(self, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._known: set[tuple[str, str]] = set()
        self._seen: dict[tuple[str, str], float] = {}
        """Administrator and address, by when they were first seen together and the catalog was not asked yet."""

    def seen(self, administrator: str, address: str | None) -> None:
        pair = (administrator, address or "")
        if address is not None and pair not in self._known and len(self._seen) < _KNOWN_MAX:
            self._seen.setdefault(pair, self._monotonic())

    async def judge(self, database: Database) -> None:
        """Raises `Unavailable`, and then they are still to be judged."""
        for pair, first_at in list(self._seen.items()):
            if await database.transact(self._judging(database, pair, first_at)):
                metrics.ADMIN_NEW_ADDRESSES.inc()
                log.warning("access.admin_from_new_address", administrator=pair[0], client_address=pair[1])
            if len(self._known) >= _KNOWN_MAX:
                self._known.clear()
            self._known.add(pair)
            del self._seen[pair]

    def _judging(
        self, database: Database, pair: tuple[str, str], first_at: float
    ) -> Callable[[Connection], Awaitable[bool]]:
        administrator, address = pair

        async def judge(connection: Connection) -> bool:
            before = await database.now(connection) - timedelta(seconds=self._monotonic() - first_at) - _MARGIN
            been = await audit.been(connection, administrator, address, before=before, told_as=ACTION)
            if been.here or not been.anywhere:
                return False
            actor = Actor("admin", administrator, Origin(address))
            await audit.record(connection, actor, ACTION, f"administrator/{administrator}")
            return True

        return judge
