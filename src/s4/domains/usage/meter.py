"""The meter of a process: what happens is noted in memory and goes into the ledger every second or so.

A request is never held up. A batch goes in as one transaction with a number of its own, so that a batch whose commit's
answer was lost is not added twice; while the catalog is away, batches wait. `kill -9` loses what was noted since the
last batch; a graceful stop flushes after the last request.
"""

import asyncio
import contextlib
from bisect import bisect_left
from collections import Counter, defaultdict, deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import structlog

from s4.domains.usage.calls import class_of, plain_route
from s4.domains.usage.ledger import NOBODY, SEARCH_BUCKETS, Call, Grain
from s4.domains.usage.model import THRESHOLDS_PERCENT
from s4.domains.usage.queries import writing
from s4.kernel import keys
from s4.kernel.clock import Clock
from s4.kernel.errors import Unavailable
from s4.kernel.ids import RandomBytes, base32
from s4.platform.database import Connection, Database
from s4.platform.http.middleware import Finished
from s4.platform.telemetry import metrics
from s4.platform.telemetry.metrics import HTTP_BUCKETS_SECONDS

log = structlog.get_logger()

_ERRORS_BELOW = 499  # who went away before the answer was told nothing; from 500 on it is a failure
_TENANTS_MAX = 250  # of one transaction: 1,500 rows, a tenth of a second in which SQLite's other writers wait

CallLimits = Callable[[Connection, Sequence[str]], Awaitable[Mapping[str, int]]]
"""Calls a month by tenant, of those whose plan limits them."""
Approaching = Callable[[Connection, str, Mapping[str, object]], Awaitable[None]]
"""Tells a tenant that a threshold of its calls is crossed; part of the transaction."""


@dataclass(slots=True)
class Batch:
    """What was noted since the last one."""

    amounts: defaultdict[tuple[str, datetime], Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    """By tenant and hour."""
    endpoints: defaultdict[Call, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    errors: defaultdict[tuple[str, datetime], Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    """Codes, by tenant and hour."""
    seen: dict[str, datetime] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.amounts or self.endpoints or self.errors)

    def parts(self) -> "list[Batch]":
        """The same in batches of a bounded number of tenants."""
        owners = sorted(
            {owner for owner, _ in (*self.amounts, *self.errors)} | {call.tenant_id for call in self.endpoints}
        )
        number = {owner: place // _TENANTS_MAX for place, owner in enumerate(owners)}
        parts = [Batch() for _ in range(-(-len(owners) // _TENANTS_MAX))]
        for key, amounts in self.amounts.items():
            parts[number[key[0]]].amounts[key] = amounts
        for call, counted in self.endpoints.items():
            parts[number[call.tenant_id]].endpoints[call] = counted
        for place, codes in self.errors.items():
            parts[number[place[0]]].errors[place] = codes
        for owner, at in self.seen.items():
            parts[number[owner]].seen[owner] = at
        return parts


class Meter:
    """One per process. `observe` and `note` are called on the event loop and take a note; `start` flushes from then on,
    `aclose` flushes for the last time."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        random: RandomBytes,
        *,
        limits: CallLimits,
        approaching: Approaching,
        every: timedelta,
    ) -> None:
        self._database = database
        self._clock = clock
        self._limits = limits
        self._approaching = approaching
        self._every = every
        self._id = "met_" + base32(random(16))
        self._sequence = 1
        self._noted = Batch()
        self._waiting: deque[Batch] = deque()
        self._turn = asyncio.Lock()
        self._stopping = asyncio.Event()
        self._running: asyncio.Task[None] | None = None

    # -- notes

    def observe(self, finished: Finished, *, excused: bool = False) -> None:
        """An `Observer` of the middleware. `excused`: a 503 that was announced, which is no failure of the service."""
        exchange = finished.exchange
        failed = finished.status >= 500 and not excused
        tenant_id = exchange.tenant_id
        if failed or 400 <= finished.status < _ERRORS_BELOW:
            self._error(tenant_id, finished)
        if tenant_id is None:
            if failed and exchange.administrator is None:
                self._endpoint(NOBODY, finished, plain_route(finished.route), failed)
            return
        route = plain_route(finished.route)
        now = self._endpoint(tenant_id, finished, route, failed)
        self._noted.seen[tenant_id] = now
        noted = self._noted.amounts[tenant_id, Grain.HOUR.floor(now)]
        noted["requests"] += 1
        noted["failures"] += failed
        noted["bytes_in"] += exchange.bytes_in
        noted["bytes_out"] += exchange.bytes_out
        if finished.is_call:
            noted["calls"] += exchange.calls
            noted[f"calls_{class_of(finished.method, route)}"] += exchange.calls
        if route == "/search" and finished.status < 400:
            noted[SEARCH_BUCKETS[bisect_left(HTTP_BUCKETS_SECONDS, finished.seconds)]] += 1

    def note(self, tenant_id: str, name: str, amount: int = 1) -> None:
        """An amount of `ledger.ADDED` that is no call."""
        self._noted.amounts[tenant_id, Grain.HOUR.floor(self._clock.now())][name] += amount

    def stored(self, key: str, what: str, amount: int) -> None:
        """An observer of the object store. What LanceDB asks the store by itself is not seen."""
        tenant_id = keys.owner(key)
        if tenant_id is not None:
            self.note(tenant_id, f"store_{what}", amount)

    def _endpoint(self, owner: str, finished: Finished, route: str, failed: bool) -> datetime:
        now = self._clock.now()
        noted = self._noted.endpoints[Call(owner, Grain.HOUR.floor(now), finished.method, route)]
        noted["requests"] += 1
        noted["refusals"] += 400 <= finished.status < 500
        noted["failures"] += failed
        noted["microseconds"] += round(finished.seconds * 1_000_000)
        noted["bytes_in"] += finished.exchange.bytes_in
        noted["bytes_out"] += finished.exchange.bytes_out
        return now

    def _error(self, tenant_id: str | None, finished: Finished) -> None:
        if tenant_id is None and finished.exchange.administrator is not None:
            return
        code = finished.exchange.error_code or f"status_{finished.status}"
        self._noted.errors[tenant_id or NOBODY, Grain.HOUR.floor(self._clock.now())][code] += 1

    # -- flushing

    def start(self) -> None:
        self._running = asyncio.create_task(self._run())

    async def aclose(self) -> None:
        """Nothing may be noted any more. What cannot be flushed is said in the log."""
        self._stopping.set()
        if self._running is not None:
            await self._running
        try:
            await self.flush()
        except Unavailable as error:
            log.error("usage.lost", error=error.message, batches=len(self._waiting))

    async def _run(self) -> None:
        while not self._stopping.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), self._every.total_seconds())
            try:
                await self.flush()
            except Unavailable as error:
                metrics.USAGE_FLUSHES.labels("deferred").inc()
                log.warning("usage.flush_deferred", error=error.message)
            except Exception as error:  # the next batch goes with it; a meter that ended would count nothing more
                metrics.USAGE_FLUSHES.labels("failed").inc()
                log.error("usage.flush_failed", error=type(error).__name__, exc_info=error)

    async def flush(self) -> None:
        """Puts what was noted into the ledger. Raises `Unavailable`; what is not in it yet then waits for the next
        time."""
        async with self._turn:
            if not self._waiting or self._stopping.is_set():
                noted, self._noted = self._noted, Batch()
                self._waiting.extend(noted.parts())
            while self._waiting:
                batch, sequence = self._waiting[0], self._sequence
                await self._database.transact(lambda c, b=batch, s=sequence: self._apply(c, b, s))  # type: ignore[misc]
                self._waiting.popleft()
                self._sequence += 1
                metrics.USAGE_FLUSHES.labels("ok").inc()

    async def _apply(self, connection: Connection, batch: Batch, sequence: int) -> None:
        now = await self._database.now(connection)
        if not await writing.begin_flush(connection, self._id, sequence, now):
            return
        entries = [(tenant_id, hour, amounts) for (tenant_id, hour), amounts in batch.amounts.items()]
        await writing.add_all(connection, entries)
        await writing.add_endpoints(connection, batch.endpoints)
        await writing.add_errors(connection, batch.errors)
        await writing.mark_activity(connection, batch.seen)
        months: defaultdict[datetime, set[str]] = defaultdict(set)
        for tenant_id, hour, amounts in entries:
            if amounts["calls"]:
                months[Grain.MONTH.floor(hour)].add(tenant_id)
        for month in sorted(months):
            await self._tell_thresholds(connection, sorted(months[month]), month)

    async def _tell_thresholds(self, connection: Connection, tenant_ids: Sequence[str], month: datetime) -> None:
        """Once each by month, limit and reset: the tenants' rows are locked from the adding on, so that of two
        processes the second sees what the first has told."""
        limits = await self._limits(connection, tenant_ids)
        if not limits:
            return
        limited = sorted(limits)
        calls = await writing.calls_of(connection, limited, month)
        told = await writing.told(connection, limited, month)
        for tenant_id in limited:
            limit, count = limits[tenant_id], calls.get(tenant_id, 0)
            percent, of_limit = told.get(tenant_id, (0, 0))
            known = percent if of_limit == limit else 0
            crossed = [each for each in THRESHOLDS_PERCENT if known < each and count * 100 >= each * limit]
            for each in crossed:
                said = {"threshold_percent": each, "api_calls_count": count, "api_calls_limit": limit}
                await self._approaching(connection, tenant_id, said | {"month": f"{month:%Y-%m}"})
            if crossed:
                await writing.remember_told(connection, tenant_id, month, percent=crossed[-1], limit=limit)
