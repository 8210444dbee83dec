"""Writing into a copy of the bucket that may be promoted at any moment.

Before each write stands a look at the copy's term, and none older than `LOOK_SECONDS_MAX`, by a clock that counts on
while the process is stopped or the machine sleeps. What makes something true ends within `WRITE_SECONDS_MAX`. So nobody
of a former term writes such a thing later than `QUIET` after the mark, and a promotion waits as long before it reads
what it will serve. A store knows of no term: who is stopped between his look and the sending, and for longer than that,
still sends when he goes on.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import timedelta
from functools import partial
from typing import TypeVar

from s4.domains.maintenance.deployment import is_own_copy
from s4.domains.maintenance.model import Deployment
from s4.kernel.errors import Conflict, Unavailable
from s4.kernel.keys import ObjectKey
from s4.platform.objects import CreateOutcome, ObjectStore

T = TypeVar("T")

LOOK_SECONDS_MAX = 2.0  # three small requests each; as often as that is nothing beside the copying
WRITE_SECONDS_MAX = 5.0  # heads and manifests are small
QUIET = timedelta(seconds=LOOK_SECONDS_MAX + WRITE_SECONDS_MAX + 1)
"""A second more, for what was sent in time to arrive."""
_DELETED_TOGETHER = 500  # keys of one look


def seconds_since_boot() -> float:
    """Where the system has no such clock, one that stands still while the machine sleeps."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class GuardedCopy:
    """`store` to read; to write, here. `require` raises when the bucket is no copy of ours any more."""

    def __init__(self, store: ObjectStore, require: Callable[[], Awaitable[object]]) -> None:
        self.store = store
        self._require = require
        self._looked_at: float | None = None
        self._turn = asyncio.Lock()

    async def create(self, key: ObjectKey, data: bytes) -> CreateOutcome:
        """What names others: in time, or not at all."""
        return await self._in_time(lambda: self.store.create(key, data, commit_id=None))

    async def put_in_time(self, key: ObjectKey, data: bytes) -> None:
        """What is written over, and counts."""
        await self._in_time(lambda: self.store.put(key, data))

    async def put(self, key: ObjectKey, data: bytes) -> None:
        """What only counts when something names it."""
        await self._look()
        await self.store.put(key, data)

    async def put_stream(self, key: ObjectKey, content: AsyncIterator[bytes]) -> None:
        """The same, piece by piece."""
        await self._look()
        await self.store.put_stream(key, content)

    async def delete(self, keys: Sequence[ObjectKey]) -> None:
        for start in range(0, len(keys), _DELETED_TOGETHER):
            await self._in_time(partial(self.store.delete, keys[start : start + _DELETED_TOGETHER]))

    async def _in_time(self, write: Callable[[], Awaitable[T]]) -> T:
        await self._look()
        try:
            async with asyncio.timeout(WRITE_SECONDS_MAX):
                return await write()
        except TimeoutError as error:
            raise Unavailable("The second bucket takes too long for a small write.") from error

    async def _look(self) -> None:
        async with self._turn:
            now = seconds_since_boot()
            if self._looked_at is not None and now - self._looked_at < LOOK_SECONDS_MAX:
                return
            await self._require()
            self._looked_at = now


async def guarded_copy(replica: ObjectStore, deployment: Deployment) -> GuardedCopy | None:
    """None while `replica` is no copy of the deployment's bucket. Raises `Superseded`, `Unavailable`."""
    if not await is_own_copy(replica, deployment):
        return None

    async def require() -> None:
        if not await is_own_copy(replica, deployment):
            raise Conflict("The second bucket is no copy of this one any more.")

    return GuardedCopy(replica, require)
