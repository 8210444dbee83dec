"""Telling a valid key from a guess without a statement per guess.

While an address or a prefix is throttled, its keys are held against hashes in memory first. A prefix's hash never
changes, so what is remembered can refuse; to accept, the catalog is asked as ever. Prefixes not met before are looked
up together, one statement for all that came within a moment: a flood of guesses costs the catalog no more than a
trickle, and a valid key that is new to this process waits that moment and passes.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection, Mapping
from datetime import timedelta

from s4.kernel.errors import LimitReached

FetchHashes = Callable[[Collection[str]], Awaitable[Mapping[str, str]]]
"""The hashes of those prefixes that exist."""

_REMEMBERED_MAX = 20_000  # about 200 bytes each
_ABSENT_SECONDS = 60.0  # a prefix that was nobody's may become somebody's when a catalog is rebuilt
_BATCH_SECONDS = 0.1  # at most ten statements a second, and so much longer takes a first request in a flood
_BATCH_MAX = 500  # prefixes in one statement
_WAITING_MAX = 5_000  # more than a process can be sent in ten batches


class Hashes:
    """Of one kind of key. Lives in one event loop."""

    def __init__(self, fetch: FetchHashes) -> None:
        self._fetch = fetch
        self._remembered: OrderedDict[str, tuple[str | None, float]] = OrderedDict()
        self._waiting: dict[str, asyncio.Future[str | None]] = {}
        self._task: asyncio.Task[None] | None = None

    def learn(self, prefix: str, stored_hash: str | None) -> None:
        """What a look-up found; None for nothing."""
        self._remembered[prefix] = (stored_hash, time.monotonic())
        self._remembered.move_to_end(prefix)
        if len(self._remembered) > _REMEMBERED_MAX:
            self._remembered.popitem(last=False)

    async def get(self, prefix: str) -> str | None:
        """The prefix's hash, None when it is nobody's. Raises `LimitReached` when too many ask, and what the catalog
        raises."""
        stored_hash, at = self._remembered.get(prefix, (None, -_ABSENT_SECONDS))
        if stored_hash is not None or time.monotonic() - at < _ABSENT_SECONDS:
            return stored_hash
        future = self._waiting.get(prefix)
        if future is None:
            if len(self._waiting) >= _WAITING_MAX:
                raise LimitReached("Too many keys are being tried; try again.", retry_after=timedelta(seconds=1))
            future = self._waiting[prefix] = asyncio.get_running_loop().create_future()
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._answer())
        return await asyncio.shield(future)

    async def _answer(self) -> None:
        while self._waiting:  # ends: nobody waits any more
            await asyncio.sleep(_BATCH_SECONDS)
            batch = dict(list(self._waiting.items())[:_BATCH_MAX])
            for prefix in batch:
                del self._waiting[prefix]
            try:
                found = await self._fetch(batch)
            except Exception as error:  # whoever asked is told, and the others go on
                for future in batch.values():
                    future.set_exception(error)
                    future.exception()  # it is read here, should the caller have gone away meanwhile
                continue
            for prefix, future in batch.items():
                self.learn(prefix, found.get(prefix))
                future.set_result(found.get(prefix))
