"""Open tables, few and shared: bounded, least recently used out, each pinned at one version.

A handle that nobody uses is moved to another version by a checkout (one small read). One in use is kept,
because the two searches of a query must see one version; a second handle is opened beside it. Opening goes
through one lock per table, so a crowd that asks for a cold table opens it once.
"""

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from weakref import WeakValueDictionary

from s4.engine.vectors.schema import LanceTable
from s4.platform.telemetry import metrics

OpenTable = Callable[[str], Awaitable[LanceTable | None]]
"""Opens the latest version under a prefix; None when the table was never written."""


@dataclass(slots=True)
class _Handle:
    table: LanceTable
    version: int
    users: int = 0
    retired: bool = False

    def close_if_idle(self) -> None:
        if self.retired and self.users == 0:
            self.table.close()


class HandlePool:
    """At most `handles_max` open tables, not counting those that a search holds at the moment."""

    def __init__(self, open_table: OpenTable, *, handles_max: int) -> None:
        self._open_table = open_table
        self._handles_max = handles_max
        self._handles: OrderedDict[str, _Handle] = OrderedDict()
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    def __len__(self) -> int:
        return len(self._handles)

    @asynccontextmanager
    async def lease(self, prefix: str, version: int) -> AsyncIterator[LanceTable | None]:
        """The table at `version`, held there until the block ends."""
        handle = await self._acquire(prefix, version)
        if handle is None:
            yield None
            return
        try:
            yield handle.table
        finally:
            handle.users -= 1
            handle.close_if_idle()

    def forget(self, prefix: str) -> None:
        """Drops the handle, at once or when its last search ends. The next lease opens afresh."""
        if (handle := self._handles.pop(prefix, None)) is not None:
            self._retire(handle)

    def close(self) -> None:
        while self._handles:
            self.forget(next(iter(self._handles)))

    async def _acquire(self, prefix: str, version: int) -> _Handle | None:
        lock = self._locks.setdefault(prefix, asyncio.Lock())
        async with lock:
            handle = self._handles.get(prefix)
            if handle is not None and (handle.version == version or handle.users == 0):
                handle.users += 1  # before any await: eviction must not close it under us
                try:
                    if handle.version != version:
                        await handle.table.checkout(version)
                        handle.version = version
                except BaseException:
                    handle.users -= 1
                    self.forget(prefix)
                    handle.close_if_idle()
                    raise
                if prefix in self._handles:
                    self._handles.move_to_end(prefix)
                metrics.INDEX_HANDLES_ASKED.labels("hit").inc()
                return handle
            return await self._open(prefix, version)

    async def _open(self, prefix: str, version: int) -> _Handle | None:
        metrics.INDEX_HANDLES_ASKED.labels("miss").inc()
        table = await self._open_table(prefix)
        if table is None:
            return None
        try:
            await table.checkout(version)
        except BaseException:
            table.close()
            raise
        handle = _Handle(table, version, users=1)
        current = self._handles.get(prefix)
        if current is not None and current.version > version:
            handle.retired = True  # a straggler that read the catalog early: serve it, keep the newer handle
            return handle
        self.forget(prefix)
        self._handles[prefix] = handle
        while len(self._handles) > self._handles_max:
            metrics.INDEX_HANDLES_ASKED.labels("evicted").inc()
            self.forget(next(iter(self._handles)))
        return handle

    @staticmethod
    def _retire(handle: _Handle) -> None:
        handle.retired = True
        handle.close_if_idle()
