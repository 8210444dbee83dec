"""Who comes next where many wait for few places: whoever waits takes turns, so that one tenant's thousand files stand
between another tenant and its one file once, not a thousand times.

On whose behalf work is done is said once, by whoever starts it (`on_behalf_of`), and goes with the tasks that the work
starts. `Turns` asks for it where a place is scarce.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextvars import ContextVar

_behalf: ContextVar[str] = ContextVar("behalf", default="")


@contextlib.contextmanager
def on_behalf_of(name: str) -> Iterator[None]:
    """What the block does, and the tasks that it starts, waits in the turns of `name`."""
    token = _behalf.set(name)
    try:
        yield
    finally:
        _behalf.reset(token)


class Turns:
    """`places` that are held one by one. Those who wait are served in a ring of names, in order within a name.

    So a wait is bounded by one place's holding from each other name that waits, not by how much they bring. Belongs to
    one event loop.
    """

    def __init__(self, places: int, *, on_wait: Callable[[], None] | None = None) -> None:
        """`on_wait` is called when somebody begins to wait."""
        self._free = places
        self._ring: dict[str, deque[asyncio.Future[None]]] = {}
        self._on_wait = on_wait

    @property
    def waiting(self) -> int:
        """How many wait for a place."""
        return sum(map(len, self._ring.values()))

    @contextlib.asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """Holds a place within the block."""
        await self.acquire()
        try:
            yield
        finally:
            self.release()

    async def acquire(self) -> None:
        """Waits for a place. Whoever got one calls `release`."""
        if self.acquire_now():
            return
        name = _behalf.get()
        mine: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._ring.setdefault(name, deque()).append(mine)
        if self._on_wait is not None:
            self._on_wait()
        try:
            await mine
        except asyncio.CancelledError:
            if mine.done() and not mine.cancelled():
                self.release()  # it was given in the same moment
            else:
                self._forget(name, mine)
            raise

    def acquire_now(self) -> bool:
        """Takes a place if one is free."""
        if self._free:
            self._free -= 1
            return True
        return False

    def release(self) -> None:
        """Gives the place to whoever comes next."""
        if not self._ring:
            self._free += 1
            return
        name = next(iter(self._ring))
        line = self._ring.pop(name)
        line.popleft().set_result(None)
        if line:
            self._ring[name] = line  # at the end of the ring

    def _forget(self, name: str, mine: asyncio.Future[None]) -> None:
        line = self._ring[name]
        line.remove(mine)
        if not line:
            del self._ring[name]
