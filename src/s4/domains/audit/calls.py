"""Calls of the administrator's routes, and refused credentials, on their way into the trail.

    answer sent -> noted in memory -> (a second later, in the background) -> written in one transaction

Noting takes microseconds and waits for nothing. What is refused again within a minute (same caller, address, route and
status) becomes one entry with its number at the minute's end: somebody who guesses keys cannot fill the trail. The
buffer is bounded; what found no room is counted, and the trail says itself how many are missing. A graceful stop writes
everything; `kill -9` loses at most what was noted since the last writing, and the repetitions of the current minute.
"""

import asyncio
import contextlib
import re
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import structlog

from s4.domains.audit import queries
from s4.domains.audit.model import Entry
from s4.kernel.context import SYSTEM_ACTOR
from s4.kernel.errors import Unavailable
from s4.kernel.ids import RandomBytes, base32, is_tenant_id
from s4.platform.background import in_background
from s4.platform.database import Connection, Database
from s4.platform.http.middleware import Finished
from s4.platform.telemetry import metrics

log = structlog.get_logger()

BUFFER_ENTRIES_MAX = 10_000
"""Some 10 MB: what one process notes while the catalog is away for minutes."""
_BATCH = 200  # rows of one transaction
_MINUTE_SECONDS = 60.0
_SUBJECT_CHARS_MAX = 300  # a path can have 64 KB, and a stranger chooses it
_ADMIN = re.compile(r"/api(/v\d+)?/admin(/|$)")
_UNAUTHENTICATED = 401
_UNKNOWN = datetime.min.replace(tzinfo=UTC)  # until it is written


@dataclass(slots=True)
class _Noted:
    """An entry that waits; its moment is known once the database has said what time it is."""

    entry: Entry
    at_monotonic: float


@dataclass(slots=True)
class _Repeated:
    """Refusals like one that was noted, of the same minute. `noted`: the last of them."""

    until_monotonic: float
    count: int
    noted: _Noted


_Key = tuple[str, str, str | None, str, str, int]


class CallRecorder:
    """One for each API process: `note` is an observer of its requests, `running()` writes what was noted."""

    def __init__(
        self,
        database: Database,
        random: RandomBytes,
        *,
        flush_every: timedelta = timedelta(seconds=1),
        entries_max: int = BUFFER_ENTRIES_MAX,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._database = database
        self._random = random
        self._flush_every = flush_every
        self._entries_max = entries_max
        self._monotonic = monotonic
        self._waiting: deque[_Noted] = deque()
        self._repeated: dict[_Key, _Repeated] = {}
        self._overflowed = 0

    def note(self, finished: Finished) -> None:
        """Called on the event loop for every request; keeps those that belong in the trail."""
        is_admin = _ADMIN.match(finished.path) is not None
        if not is_admin and finished.status != _UNAUTHENTICATED:
            return
        now = self._monotonic()
        noted = _Noted(self._entry(finished, is_admin=is_admin), now)
        if finished.status < 400:
            self._keep(noted)
            return
        entry = noted.entry
        key = (entry.actor_kind, entry.actor, entry.address, finished.method, finished.route, finished.status)
        known = self._repeated.get(key)
        if known is not None and now < known.until_monotonic:
            known.count += 1
            known.noted = noted
            return
        if known is not None:
            self._end(key)
        if self._keep(noted):
            self._repeated[key] = _Repeated(now + _MINUTE_SECONDS, 0, noted)

    async def flush(self, *, everything: bool = False) -> int:
        """Writes what waits; with `everything` the current minute's repetitions, too. Answers with the number of
        entries. Raises `Unavailable`, and then they still wait."""
        now = self._monotonic()
        for key in [key for key, each in self._repeated.items() if everything or each.until_monotonic <= now]:
            self._end(key)
        if self._overflowed and len(self._waiting) < self._entries_max:
            self._waiting.append(_Noted(self._overflow(), now))
            self._overflowed = 0
        written = 0
        while self._waiting:
            some = [self._waiting[index] for index in range(min(_BATCH, len(self._waiting)))]
            await self._write(some)
            for _ in some:
                self._waiting.popleft()
            written += len(some)
        return written

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Writes in the background from here to the end of the block, and there what is left."""
        try:
            async with in_background(self._keep_flushing()):
                yield
        finally:
            try:
                await self.flush(everything=True)
            except Unavailable as error:
                log.error("audit.calls_lost", entries=len(self._waiting), error=error.message)

    async def _keep_flushing(self) -> None:
        while True:
            await asyncio.sleep(self._flush_every.total_seconds())
            try:
                await self.flush()
            except Unavailable as error:
                log.warning("audit.flush_deferred", waiting=len(self._waiting), error=error.message)
            except Exception as error:  # a defect must not end the trail of this process
                log.error("audit.flush_failed", waiting=len(self._waiting), exc_info=error)

    async def _write(self, some: list[_Noted]) -> None:
        async def write(connection: Connection) -> None:
            now: datetime = await self._database.now(connection)
            elapsed = self._monotonic()
            moments = [now - timedelta(seconds=elapsed - each.at_monotonic) for each in some]
            entries = [replace(each.entry, at=at) for each, at in zip(some, moments, strict=True)]
            await queries.add(connection, entries)

        await self._database.transact(write)

    def _keep(self, noted: _Noted) -> bool:
        if len(self._waiting) + len(self._repeated) >= self._entries_max:
            if self._overflowed == 0:
                log.error("audit.buffer_full", entries_max=self._entries_max)
            self._overflowed += 1
            metrics.AUDIT_OVERFLOW.inc()
            return False
        self._waiting.append(noted)
        return True

    def _end(self, key: _Key) -> None:
        """A minute is over: its repetitions become an entry. There is room: the key gives its own back."""
        ended = self._repeated.pop(key)
        if ended.count:
            entry = replace(ended.noted.entry, count=ended.count)
            self._waiting.append(_Noted(entry, ended.noted.at_monotonic))

    def _entry(self, finished: Finished, *, is_admin: bool) -> Entry:
        administrator, tenant_id = finished.exchange.administrator, finished.exchange.tenant_id
        kind, actor = ("admin", administrator) if administrator is not None else ("anonymous", "")
        named = [part for part in finished.path.split("/") if is_tenant_id(part)]
        return Entry(
            entry_id="aud_" + base32(self._random(16)),
            at=_UNKNOWN,
            actor_kind=kind,
            actor=actor,
            action=f"http.{finished.method.lower()}" if is_admin else "auth.refused",
            subject=_storable(finished.path if is_admin else finished.route),
            tenant_id=tenant_id or (named[0] if named else ""),
            address=finished.client_address,
            request_id=finished.exchange.request_id,
            status=finished.status,
        )

    def _overflow(self) -> Entry:
        return Entry(
            entry_id="aud_" + base32(self._random(16)),
            at=_UNKNOWN,
            actor_kind=SYSTEM_ACTOR.kind,
            actor=SYSTEM_ACTOR.name,
            action="audit.overflow",
            subject="calls that found no room in the buffer",
            count=self._overflowed,
        )


def _storable(text: str) -> str:
    """What both databases take, on one line of bearable length: a stranger may ask for a path with NUL in it."""
    shown = text[:_SUBJECT_CHARS_MAX].encode("utf-8", "replace").decode()
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in shown)
