"""Who comes next where many wait for few places: whoever waits takes turns, so that one tenant's thousand files stand
between another tenant and its one file once, not a thousand times.

On whose behalf work is done is said once, by whoever starts it (`on_behalf_of`), and goes with the tasks that the work
starts. `Turns` asks for it where a place is scarce.

Where callers can be told to come back, the line has `Bounds`: so many places and so many in line for each name, so many
in line in all, and a longest wait. Who finds the line full while another name has more in it takes the place in line of
that name's newest: to flood a line keeps nobody else out of it.
"""

import asyncio
import contextlib
import enum
import sys
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextvars import ContextVar
from dataclasses import dataclass

_behalf: ContextVar[str] = ContextVar("behalf", default="")


@contextlib.contextmanager
def on_behalf_of(name: str) -> Iterator[None]:
    """What the block does, and the tasks that it starts, waits in the turns of `name`."""
    token = _behalf.set(name)
    try:
        yield
    finally:
        _behalf.reset(token)


class Reason(enum.StrEnum):
    """Why there is no place."""

    SHARE = "share"
    """The name holds, or waits for, as many as one name may."""
    FULL = "full"
    """The line is full of others."""
    LATE = "late"
    """The longest wait is over, and others hold the places."""


class NoPlace(Exception):
    """Whoever asked is told to come back."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(f"no place: {reason.value}")
        self.reason = reason


def _as_many_as_there_are(_name: str) -> int:
    return sys.maxsize


@dataclass(frozen=True, slots=True)
class Bounds:
    """What one name may hold at this moment, how many may wait for a place, of one name and in all, and how long."""

    share: Callable[[str], int] = _as_many_as_there_are
    waiting: int = sys.maxsize
    waiting_per_name: int = sys.maxsize
    wait_seconds: float | None = None


_NONE = Bounds()  # for callers that are bounded in number themselves, and have nobody to send back to


class Turns:
    """`places` that are held one by one. Those who wait are served in a ring of names, in order within a name.

    So a wait is bounded by one place's holding from each other name that waits, not by how much they bring. Belongs to
    one event loop.
    """

    def __init__(self, places: int, *, bounds: Bounds = _NONE, on_wait: Callable[[], None] | None = None) -> None:
        """`on_wait` is called when somebody begins to wait."""
        self._free = places
        self._bounds = bounds
        self._held: Counter[str] = Counter()
        self._ring: dict[str, deque[asyncio.Future[None]]] = {}
        self._on_wait = on_wait

    @property
    def waiting(self) -> int:
        """How many wait for a place."""
        return sum(map(len, self._ring.values()))

    @property
    def held(self) -> int:
        """How many places are taken."""
        return self._held.total()

    @contextlib.asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """Holds a place within the block."""
        await self.acquire()
        try:
            yield
        finally:
            self.release()

    async def acquire(self) -> None:
        """Waits for a place. Whoever got one calls `release`. Raises `NoPlace` beyond the bounds."""
        if self.acquire_now():
            return
        name = _behalf.get()
        self._make_room(name)
        mine: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._ring.setdefault(name, deque()).append(mine)
        if self._on_wait is not None:
            self._on_wait()
        try:
            async with asyncio.timeout(self._bounds.wait_seconds):
                await self._given(name, mine)
        except TimeoutError as error:
            raise NoPlace(Reason.LATE if self._may_take(name) else Reason.SHARE) from error

    def acquire_now(self) -> bool:
        """Takes a place if one is free."""
        name = _behalf.get()
        if not (self._free and self._may_take(name)):
            return False
        self._take(name)
        return True

    def release(self, name: str | None = None) -> None:
        """Gives the place to whoever comes next. `name`: on whose behalf it was held, if not on the caller's."""
        self._free += 1
        self._drop(_behalf.get() if name is None else name)
        self._serve()

    def pass_on(self, name: str, to: str) -> bool:
        """A place that `name` holds is from now on held by `to`, unless that has its share already."""
        if not self._may_take(to):
            return False
        self._held[to] += 1
        self._drop(name)
        self._serve()
        return True

    async def _given(self, name: str, mine: asyncio.Future[None]) -> None:
        try:
            await mine
        except asyncio.CancelledError:
            if mine.cancelled():
                self._forget(name, mine)
            elif mine.exception() is None:
                self.release(name)  # it was given in the same moment
            raise

    def _may_take(self, name: str) -> bool:
        return self._held[name] < self._bounds.share(name)

    def _take(self, name: str) -> None:
        self._free -= 1
        self._held[name] += 1

    def _drop(self, name: str) -> None:
        self._held[name] -= 1
        if not self._held[name]:
            del self._held[name]

    def _make_room(self, name: str) -> None:
        """Raises `NoPlace` where the line has none for `name`."""
        mine = len(self._ring.get(name, ()))
        if mine >= self._bounds.waiting_per_name:
            raise NoPlace(Reason.SHARE)
        if self.waiting < self._bounds.waiting:
            return
        longest = max(self._ring.values(), key=len, default=None)
        if longest is None or len(longest) <= mine + 1:  # otherwise two equals would push each other out
            raise NoPlace(Reason.FULL)
        newest = longest.pop()
        if not newest.done():
            newest.set_exception(NoPlace(Reason.FULL))

    def _serve(self) -> None:
        """Gives what is free to those whose turn it is and who hold less than their share."""
        while self._free:
            name = next((each for each in self._ring if self._may_take(each)), None)
            if name is None:
                return
            line = self._ring.pop(name)
            first = line.popleft()
            if line:
                self._ring[name] = line  # at the end of the ring
            if not first.done():  # one who has just been cancelled has not left yet
                self._take(name)
                first.set_result(None)

    def _forget(self, name: str, mine: asyncio.Future[None]) -> None:
        line = self._ring.get(name)
        if line is None or mine not in line:
            return
        line.remove(mine)
        if not line:
            del self._ring[name]
