"""Places for tenants' requests in a process, so that it answers well what it can and the rest at once.

Each kind of load has places of its own: what fills one keeps nobody from another. A tenant holds its share of them at
most, which is small while others ask, too, since they feel it, and larger once nobody else has asked for a minute. It
waits in a line with bounds, and is served by turns of tenants (`platform/turns.py`). Beyond the bounds a request is
refused before its body is read and before its key is looked up:

    429 `rate_limited`         the tenant's own share is used up: its next request is as good as its last
    503 `service_unavailable`  others fill the process: another replica may have room

Health, metrics, the status page and administrators' routes need no place: tenants cannot shut them out.

Whose request it is, is proved by a look into the catalog, which already needs a place. So a key is remembered once it
was proved: its requests stand in its tenant's turns. Keys that are not remembered stand in one turn together, until
they are proved (`Place.proved`). What is remembered opens nothing.
"""

import asyncio
import contextlib
import enum
import functools
import time
from collections import Counter, OrderedDict
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta

import structlog
from starlette.requests import ClientDisconnect
from starlette.types import Scope

from s4.kernel.errors import LimitReached, S4Error, Unavailable
from s4.platform.telemetry import metrics, traces
from s4.platform.turns import Bounds, NoPlace, Reason, Turns, on_behalf_of

log = structlog.get_logger(__name__)

_GONE = "s4.gone"  # an extension of ASGI, by our own server
_UNKNOWN = ""  # the name of keys that are not remembered
_KEYS_MAX = 10_000  # remembered, of some hundred bytes each
_RETRY_SHARE = timedelta(seconds=1)  # a share's whole line is served within seconds
_RETRY_FULL = timedelta(seconds=2)  # as when a dependency does not answer
_ALONE_SECONDS = 60.0  # who asks less often than once a minute may find its neighbour's full share in work
_TOLD_EVERY_SECONDS = 10.0  # one line of the log for all refusals since the last
_REFUSED_NAMES_MAX = 1_000  # tenants told apart between two lines of the log


class Load(enum.StrEnum):
    """What a request costs while it runs."""

    SEARCH = "search"
    """Processors."""
    UPLOAD = "upload"
    """Parts in memory."""
    DOWNLOAD = "download"
    """A buffer, for as long as the caller takes to read."""
    LONG_POLL = "long_poll"
    """A look into the catalog now and then, for up to a minute."""
    OTHER = "other"
    """A connection to the catalog, for a moment."""


@dataclass(frozen=True, slots=True)
class Share:
    """Places of a load, and how many of them one tenant may hold: beside others, and alone."""

    places: int
    per_tenant: int
    alone: int


@dataclass(frozen=True, slots=True)
class Line:
    """Of each load: who may wait, and how long."""

    waiting: int
    waiting_per_tenant: int
    wait: timedelta


Gone = asyncio.Future[None] | None
"""Done once the caller has hung up; None where the server does not say."""


def say_gone(scope: Scope, gone: asyncio.Future[None]) -> None:
    """For the server: `receive` would tell it only to who reads the body."""
    scope["extensions"] = scope.get("extensions", {}) | {_GONE: {"future": gone}}


def gone_of(scope: Scope) -> Gone:
    found: Gone = scope.get("extensions", {}).get(_GONE, {}).get("future")
    return found


@dataclass(slots=True)
class Place:
    """Held by one request until it leaves. Safe to leave twice."""

    places: "Places"
    load: Load
    key_digest: bytes
    gone: Gone
    name: str | None
    """In whose turns it is held; None: in nobody's any more."""

    async def proved(self, tenant_id: str) -> None:
        """The key is this tenant's. If the tenant has its share already, this waits in its turns. Raises as `enter`."""
        self.places.learn(self.key_digest, tenant_id)
        if self.name is None or self.name == tenant_id:
            return
        if self.places.turns[self.load].pass_on(self.name, tenant_id):
            self.name = tenant_id
            return
        self.leave()
        await self.places.take(self.load, tenant_id, self.gone)
        self.name = tenant_id

    def leave(self) -> None:
        name, self.name = self.name, None
        if name is not None:
            self.places.turns[self.load].release(name)


class Places:
    """One per process, on its event loop."""

    def __init__(self, shares: Mapping[Load, Share], line: Line, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._shares = dict(shares)
        self._company = _Company(clock)
        self.turns = {load: Turns(share.places, bounds=self._bounds(load, line)) for load, share in shares.items()}
        self._tenants: OrderedDict[bytes, str] = OrderedDict()
        self._refusals = _Refusals(clock)
        for load, turns in self.turns.items():
            metrics.PLACES.labels(load.value).set(shares[load].places)
            metrics.PLACES_HELD.labels(load.value).set_function(lambda turns=turns: turns.held)  # type: ignore[misc]
            metrics.PLACES_WAITING.labels(load.value).set_function(lambda turns=turns: turns.waiting)  # type: ignore[misc]

    def tenant_of(self, key_digest: bytes) -> str | None:
        """Whose key this was when it was last proved here."""
        return self._tenants.get(key_digest)

    def share_of(self, load: Load, name: str) -> int:
        """How many places it may hold now."""
        share = self._shares[load]
        return share.alone if name != _UNKNOWN and self._company.is_alone(name) else share.per_tenant

    def learn(self, key_digest: bytes, tenant_id: str) -> None:
        self._company.saw(tenant_id)
        self._tenants[key_digest] = tenant_id
        self._tenants.move_to_end(key_digest)
        if len(self._tenants) > _KEYS_MAX:
            self._tenants.popitem(last=False)

    async def enter(self, load: Load, key_digest: bytes, gone: Gone) -> Place:
        """Waits for a place within the bounds. Raises `LimitReached`, `Unavailable`, and `ClientDisconnect` when `gone`
        is done meanwhile."""
        name = self.tenant_of(key_digest) or _UNKNOWN
        await self.take(load, name, gone)
        return Place(self, load, key_digest, gone, name)

    async def take(self, load: Load, name: str, gone: Gone) -> None:
        """A place in the turns of `name`. Raises as `enter`."""
        if name != _UNKNOWN:
            self._company.saw(name)
        with on_behalf_of(name):
            if not self.turns[load].acquire_now():
                await self._wait(load, name, gone)

    async def _wait(self, load: Load, name: str, gone: Gone) -> None:
        started = self._clock()
        try:
            with traces.span("place wait"):
                async with _while_there(gone):
                    await self.turns[load].acquire()
        except NoPlace as refused:
            # Whoever asks with a key that is not known yet shares its turn with strangers: that is no fault of its own.
            reason = Reason.FULL if name == _UNKNOWN and refused.reason is Reason.SHARE else refused.reason
            self._refusals.note(load, reason, name)
            raise _refusal(load, reason, self.share_of(load, name)) from None
        finally:
            metrics.PLACE_WAIT_SECONDS.labels(load.value).observe(self._clock() - started)

    def _bounds(self, load: Load, line: Line) -> Bounds:
        share = functools.partial(self.share_of, load)
        return Bounds(share, line.waiting, line.waiting_per_tenant, line.wait.total_seconds())


class _Company:
    """Whether a tenant is alone. To know it of anybody, the two that asked last are enough."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._asked_at: OrderedDict[str, float] = OrderedDict()

    def saw(self, name: str) -> None:
        self._asked_at[name] = self._clock()
        self._asked_at.move_to_end(name)
        if len(self._asked_at) > 2:
            self._asked_at.popitem(last=False)

    def is_alone(self, name: str) -> bool:
        now = self._clock()
        return all(other == name or now - at > _ALONE_SECONDS for other, at in self._asked_at.items())


class _Refusals:
    """Counts them, and tells the log now and then: a line for each would be a load of its own."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._told_at = float("-inf")
        self._counts: Counter[str] = Counter()
        self._tenants: Counter[str] = Counter()

    def note(self, load: Load, reason: Reason, name: str) -> None:
        metrics.PLACES_REFUSED.labels(load.value, reason.value).inc()
        self._counts[f"{load.value} {reason.value}"] += 1
        if name in self._tenants or len(self._tenants) < _REFUSED_NAMES_MAX:
            self._tenants[name] += 1
        if self._clock() - self._told_at < _TOLD_EVERY_SECONDS:
            return
        self._told_at = self._clock()
        ((most_refused, refusals),) = self._tenants.most_common(1)
        log.warning(
            "http.no_place", refused=dict(self._counts), most_refused_tenant_id=most_refused, its_refusals=refusals
        )
        self._counts.clear()
        self._tenants.clear()


def _refusal(load: Load, reason: Reason, at_once: int) -> S4Error:
    details = {"load": load.value, "reason": reason.value}
    if reason is Reason.SHARE:
        return LimitReached(
            f"Too many requests of this kind at once: {at_once} are served side by side, and as many wait as may. "
            "Send fewer at a time, and wait as long as Retry-After says.",
            details=details | {"at_once": at_once},
            retry_after=_RETRY_SHARE,
        )
    return Unavailable(
        "S4 has more to do than it can; try again as Retry-After says.", details=details, retry_after=_RETRY_FULL
    )


@contextlib.asynccontextmanager
async def _while_there(gone: Gone) -> AsyncIterator[None]:
    """Ends what the block waits for with `ClientDisconnect` as soon as the caller hangs up."""
    task = asyncio.current_task()
    if gone is None or task is None:
        yield
        return
    inside = True

    def give_up(_: asyncio.Future[None]) -> None:
        if inside:
            task.cancel()

    gone.add_done_callback(give_up)
    try:
        yield
    except asyncio.CancelledError:
        if gone.done() and not task.uncancel():  # otherwise somebody else cancels it, too
            raise ClientDisconnect from None
        raise
    finally:
        inside = False
        gone.remove_done_callback(give_up)
