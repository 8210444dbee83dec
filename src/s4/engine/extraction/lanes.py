"""Two lanes, so that what takes long does not stand before what takes a moment.

Most files are read within milliseconds, a few take minutes, and nobody can tell which before. So every file starts in
the *fast lane*. One that has had its time there goes on in the *slow lane* as soon as that has a place. Until then it
stays where it is, but gives way to whoever waits for the fast lane: it is stopped, and begins anew in the slow lane,
where nothing but its own time limit ends it.

Both lanes are held by turns of tenants (`platform/turns.py`). So a file of a tenant that has no other waits, for a
place in the fast lane, for at most `fast_seconds` per other tenant that waits and per place; for one in the slow lane,
for at most one file's time limit per other tenant that waits there and per place.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from s4.platform.telemetry.metrics import EXTRACTION_SLOW
from s4.platform.turns import Turns

T = TypeVar("T")


class Lanes:
    """Runs work that can be cancelled and begun anew. Never more at once than the places of both lanes."""

    def __init__(self, *, fast_places: int, slow_places: int, fast_seconds: float) -> None:
        self._fast = Turns(fast_places, on_wait=self._wake_overdue)
        self._slow = Turns(slow_places)
        self._fast_seconds = fast_seconds
        self._overdue: set[asyncio.Future[None]] = set()
        self._giving_way = 0

    async def run(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """What `work` returns or raises. A cancelled call cancels the work and waits for its end."""
        fast, slow = _Place(self._fast), _Place(self._slow)
        doing: asyncio.Task[T] | None = None
        try:
            await fast.asked
            doing = asyncio.create_task(work())
            await asyncio.wait({doing}, timeout=self._fast_seconds)
            if not doing.done():
                await self._until_it_must_move(doing, slow)
            if not doing.done() and slow.held:
                EXTRACTION_SLOW.labels("moved").inc()
                fast.leave()
            elif not doing.done() and await self._gives_way(doing, fast):
                await slow.asked
                EXTRACTION_SLOW.labels("restarted").inc()
                doing = asyncio.create_task(work())
            await asyncio.wait({doing})
            return doing.result()
        finally:
            if doing is not None:
                await _stopped(doing)
            fast.leave()
            slow.leave()

    async def _until_it_must_move(self, doing: asyncio.Task[T], slow: "_Place") -> None:
        """Returns when the work is done, has a place in the slow lane, or must give way."""
        while not (doing.done() or slow.asked.done() or self._fast.waiting > self._giving_way):
            woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._overdue.add(woken)
            changes: set[asyncio.Future[Any]] = {doing, slow.asked, woken}
            try:
                await asyncio.wait(changes, return_when=asyncio.FIRST_COMPLETED)
            finally:
                self._overdue.discard(woken)

    async def _gives_way(self, doing: asyncio.Task[T], fast: "_Place") -> bool:
        """Stops the work, then leaves the place. False when it came to its end in the same moment."""
        self._giving_way += 1
        try:
            return await _stopped(doing)
        finally:
            self._giving_way -= 1
            fast.leave()

    def _wake_overdue(self) -> None:
        for woken in self._overdue:
            if not woken.done():
                woken.set_result(None)


class _Place:
    """A place in a lane: asked for at first use of `asked`, and held when that is done."""

    def __init__(self, lane: Turns) -> None:
        self._lane = lane
        self._asked: asyncio.Future[None] | None = None

    @property
    def asked(self) -> asyncio.Future[None]:
        if self._asked is None and self._lane.acquire_now():
            self._asked = asyncio.get_running_loop().create_future()
            self._asked.set_result(None)
        elif self._asked is None:
            self._asked = asyncio.create_task(self._lane.acquire())
        return self._asked

    @property
    def held(self) -> bool:
        return self._asked is not None and self._asked.done()

    def leave(self) -> None:
        """Gives the place back, or waits for it no longer. Safe to repeat."""
        asked, self._asked = self._asked, None
        if asked is not None and not asked.cancel() and not asked.cancelled():
            self._lane.release()


async def _stopped(doing: asyncio.Task[Any]) -> bool:
    """Cancels the work and waits for its end. False when it was done already."""
    if not doing.done():
        doing.cancel()
        await asyncio.wait({doing})
    return doing.cancelled()
