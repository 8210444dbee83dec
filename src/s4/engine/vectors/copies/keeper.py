"""Which tables are on local disk: the hottest ones, within a bound of bytes."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from weakref import WeakValueDictionary

import structlog

from s4.engine.vectors.copies import fill
from s4.engine.vectors.copies.disk import CopiesDirectory
from s4.engine.vectors.errors import IndexDamaged
from s4.engine.vectors.files import Sums
from s4.engine.vectors.manifest import manifest_name
from s4.kernel.errors import NotFound, S4Error, Unavailable
from s4.platform.background import in_background
from s4.platform.objects import ObjectStore, StoreFault, StoreUnavailable
from s4.platform.telemetry import metrics

log = structlog.get_logger()

_RANGES_AT_ONCE = 32  # each with a piece of some megabyte in memory
_TOUCH_SECONDS = 1.0  # how fine the use of a copy is known to other processes, and to the choice of what goes
_STOCK_SECONDS = 30.0  # how often a fill looks what other processes brought
_PLAN_SECONDS_MAX = 10.0  # for two small requests; whoever waits for them holds a place that others want
_SILENT_SECONDS = 5.0  # so long nobody waits for a store that has just said nothing
_AVOID_SECONDS = 60.0  # after a failure, or for a table that does not fit: until then its searches read the store
_SWEEP_SECONDS = 600.0
_VERSIONS_KEPT = 2  # the new one, and the one that searches under way may hold


Recorded = Callable[[], Awaitable[Sums]]
"""Reads what is known of a table's files since they were committed; asked when something is fetched."""


@dataclass(frozen=True, slots=True)
class CopyLimits:
    """`bytes_max` of all copies; a missing part up to `copy_first_bytes_max` is waited for, a larger one is fetched
    while searches read the store; a copy that no search used for `idle_max` goes."""

    bytes_max: int
    copy_first_bytes_max: int
    idle_max: timedelta


class _Silence(Unavailable):
    def __init__(self) -> None:
        super().__init__(
            "The object store does not answer, and this index is not on local disk yet; try again.",
            details={"dependency": "object_store"},
            retry_after=timedelta(seconds=_SILENT_SECONDS),
        )


@dataclass(slots=True)
class _Copy:
    size_bytes: int
    touched: float = 0.0
    files: OrderedDict[int, set[str]] = field(default_factory=OrderedDict)
    """By version that it is known to hold, the oldest first: the names that the version needs."""

    @property
    def newest(self) -> int:
        return max(self.files, default=0)


@dataclass(frozen=True, slots=True)
class _Filling:
    task: asyncio.Task[bool]
    version: int
    is_waited_for: bool


class TableCopies:
    """Belongs to one event loop. Several processes may share a directory."""

    def __init__(
        self, store: ObjectStore, root: Path, limits: CopyLimits, *, on_removal: Callable[[str], None]
    ) -> None:
        """`on_removal` is told of a directory that is about to go, so that open tables are closed."""
        self._store = store
        self._directory = CopiesDirectory(root)
        self._limits = limits
        self._on_removal = on_removal
        self._copies: dict[str, _Copy] = {}
        self._asking: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._filling: dict[str, _Filling] = {}
        self._avoided: dict[str, float] = {}
        self._silent_until: float | None = None
        """The store said nothing when it was asked last; until then it is asked for no table."""
        self._damaged: dict[str, IndexDamaged] = {}
        """Found by fills, and not told yet."""
        self._gate = asyncio.Semaphore(_RANGES_AT_ONCE)
        self._preparing: asyncio.Task[None] | None = None
        self._stock_taken = 0.0

    @property
    def size_bytes(self) -> int:
        """Of all copies that this process knows of."""
        return sum(copy.size_bytes for copy in self._copies.values())

    @asynccontextmanager
    async def kept(self) -> AsyncIterator[None]:
        """Takes stock of what an earlier process left, and removes what nobody uses, from here to the end of the
        block."""
        await self._is_prepared()
        async with in_background(self._keep()):
            yield

    async def close(self) -> None:
        """Ends fills that are under way; the next process goes on with what they brought."""
        running = [filling.task for filling in self._filling.values()]
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    async def place(self, prefix: str, version: int, recorded: Recorded) -> Path | None:
        """Where LanceDB finds the table at `version` on local disk; None: search the store, for now.

        Raises `IndexDamaged` when the store's files are not those that were committed; `Unavailable` when the store
        says nothing: reading it would take as long, for nothing.
        """
        if self._is_held(prefix, version):
            metrics.INDEX_COPIES.labels("hit").inc()
            return self._directory.place(prefix)
        lock = self._asking.setdefault(prefix, asyncio.Lock())
        async with lock:  # a crowd that asks for a cold table plans and fills it once
            if not await self._is_prepared():
                return None
            if self._is_held(prefix, version) or await self._is_found(prefix, version):
                metrics.INDEX_COPIES.labels("hit").inc()
                return self._directory.place(prefix)
            there = await self._filled(prefix, version, recorded)
            if (damage := self._damaged.pop(prefix, None)) is not None:
                raise damage
        if not there:
            metrics.INDEX_COPIES.labels("store").inc()
        return self._directory.place(prefix) if there else None

    async def distrust(self, prefix: str) -> None:
        """A copy could not be read: another process removed it, or it is damaged. It goes, and is fetched anew."""
        log.warning("index_copies.distrusted", prefix=prefix)
        metrics.INDEX_COPIES.labels("distrusted").inc()
        await self.remove(prefix)

    async def _is_prepared(self) -> bool:
        """False where the disk does not let us: all searches read the store then."""
        if self._preparing is None:
            self._preparing = asyncio.create_task(asyncio.to_thread(self._directory.prepare))
        try:
            await asyncio.shield(self._preparing)
        except OSError as error:
            log.warning("index_copies.no_directory", error=str(error))
            return False
        return True

    # -- what is there

    def _is_held(self, prefix: str, version: int) -> bool:
        copy = self._copies.get(prefix)
        if copy is None or version not in copy.files:
            return False
        if (now := time.monotonic()) - copy.touched > _TOUCH_SECONDS:
            copy.touched = now
            self._directory.touch(prefix)
        return True

    async def _is_found(self, prefix: str, version: int) -> bool:
        """On disk, by an earlier process or another one: its manifest was written last, so all of it is there."""
        copy = self._copies.get(prefix)
        if copy is not None and version < copy.newest:
            return False
        try:
            names = await asyncio.to_thread(fill.names_on_disk, self._directory, prefix, version)
        except (OSError, IndexDamaged):
            return False
        self._note(prefix, version, names)
        return self._is_held(prefix, version)

    def _note(self, prefix: str, version: int, names: set[str]) -> _Copy:
        copy = self._copies.setdefault(prefix, _Copy(0))
        copy.files[version] = names
        while len(copy.files) > _VERSIONS_KEPT:
            copy.files.popitem(last=False)
        return copy

    # -- filling

    async def _filled(self, prefix: str, version: int, recorded: Recorded) -> bool:
        """Whether the copy holds `version` now."""
        if (filling := self._filling.get(prefix)) is not None:
            waits = filling.is_waited_for and filling.version == version
            return await asyncio.shield(filling.task) if waits else False
        copy = self._copies.get(prefix)
        if copy is not None and version < copy.newest:
            return False  # a straggler that read the catalog early
        self._refuse_while_silent()
        if self._avoided.get(prefix, 0.0) > time.monotonic():
            return False
        try:
            plan = await self._planned(prefix, version, await recorded())
        except NotFound:
            return False  # cleaned up: reading the store will say so
        except IndexDamaged as error:
            self._note_damage(prefix, error)
            return False
        except _Silence:
            metrics.INDEX_COPIES.labels("failed").inc()
            log.warning("index_copies.store_is_silent", prefix=prefix)
            raise
        except (S4Error, OSError) as error:
            self._avoid(prefix, error)
            return False
        if plan.size_bytes > self._limits.bytes_max:
            self._avoid(prefix, ValueError("larger than all copies may be"))
            return False
        is_waited_for = plan.missing_bytes <= self._limits.copy_first_bytes_max
        task = asyncio.create_task(self._fill(plan))
        self._filling[prefix] = _Filling(task, version, is_waited_for)
        task.add_done_callback(lambda _: self._filling.pop(prefix, None))
        # Shielded: who goes away does not take the others' copy along.
        return await asyncio.shield(task) if is_waited_for else False

    async def _planned(self, prefix: str, version: int, recorded: Sums) -> fill.Plan:
        """Raises `_Silence` when the store does not answer, and whatever `plan` raises."""
        silent_until: float | None = None
        try:
            async with asyncio.timeout(_PLAN_SECONDS_MAX):
                return await fill.plan(self._store, self._directory, prefix, version, recorded)
        except (TimeoutError, StoreUnavailable) as error:
            if isinstance(error, StoreUnavailable) and error.fault is not StoreFault.TIMEOUT:
                raise
            silent_until = time.monotonic() + _SILENT_SECONDS
            raise _Silence from error
        finally:
            self._silent_until = silent_until

    def _refuse_while_silent(self) -> None:
        """Lets one ask again when the time has come; the others are refused until it was answered."""
        now = time.monotonic()
        if self._silent_until is None:
            return
        if now < self._silent_until:
            raise _Silence
        self._silent_until = now + _PLAN_SECONDS_MAX

    async def _fill(self, plan: fill.Plan) -> bool:
        with self._directory.locked(plan.prefix) as mine:
            if not mine:
                return False
            try:
                await fill.carry_out(plan, self._store, self._directory, self._gate)
                copy = self._note(plan.prefix, plan.version, {manifest_name(plan.version), *plan.files})
                await self._tidy(plan.prefix, copy)
            except ExceptionGroup as errors:
                if errors.split((S4Error, OSError))[1] is not None:
                    raise
                if (damage := fill.damage_in(errors)) is not None:
                    self._note_damage(plan.prefix, damage)
                    return False
                self._avoid(plan.prefix, errors)
                return False
            except OSError as error:
                self._avoid(plan.prefix, error)
                return False
        self._directory.touch(plan.prefix)
        metrics.INDEX_COPIES.labels("filled").inc()
        metrics.INDEX_COPIED_BYTES.inc(plan.missing_bytes)
        await self._make_room()
        return plan.prefix in self._copies

    async def _tidy(self, prefix: str, copy: _Copy) -> None:
        """Removes files that no version needs that we know of, and adds up the rest."""
        needed = set().union(*copy.files.values())
        copy.size_bytes = await asyncio.to_thread(self._directory.keep_only, prefix, needed)

    def _avoid(self, prefix: str, error: Exception) -> None:
        """Its searches read the store, which says itself what is wrong with it, if anything."""
        log.warning("index_copies.not_filled", prefix=prefix, error=str(error))
        metrics.INDEX_COPIES.labels("failed").inc()
        self._avoided[prefix] = time.monotonic() + _AVOID_SECONDS

    def _note_damage(self, prefix: str, error: IndexDamaged) -> None:
        """For the search that waits, or the next one."""
        log.error("index_copies.damage_found", prefix=prefix, error=error.message, files=error.details.get("files", []))
        metrics.INDEX_COPIES.labels("damaged").inc()
        self._damaged[prefix] = error

    # -- removing

    async def _make_room(self) -> None:
        """The least recently used go, by whichever process they were used."""
        now = time.monotonic()
        if self.size_bytes <= self._limits.bytes_max and now - self._stock_taken < _STOCK_SECONDS:
            return
        self._stock_taken = now
        stock = await asyncio.to_thread(self._directory.take_stock)
        for found in stock:
            self._copies.setdefault(found.prefix, _Copy(0)).size_bytes = found.size_bytes
        for found in stock:
            if self.size_bytes <= self._limits.bytes_max:
                break
            if await self.remove(found.prefix):
                metrics.INDEX_COPIES.labels("evicted").inc()
        metrics.INDEX_COPIES_BYTES.set(self.size_bytes)

    async def remove(self, prefix: str) -> bool:
        """False while another task or process fills it."""
        if not await self._is_prepared():
            return False
        with self._directory.locked(prefix) as mine:
            if not mine:
                return False
            self._copies.pop(prefix, None)
            self._on_removal(str(self._directory.place(prefix)))
            await asyncio.to_thread(self._directory.remove, prefix)
        metrics.INDEX_COPIES_BYTES.set(self.size_bytes)
        return True

    async def _keep(self) -> None:
        with suppress(OSError):  # the next fill makes room, then
            await self._make_room()
        while True:
            await asyncio.sleep(min(_SWEEP_SECONDS, self._limits.idle_max.total_seconds()))
            with suppress(OSError):  # the next time, then
                await self._sweep()

    async def _sweep(self) -> None:
        """What no process used for long goes, so that nothing of a tenant that left stays for ever."""
        now = time.monotonic()
        self._avoided = {prefix: until for prefix, until in self._avoided.items() if until > now}
        oldest = time.time() - self._limits.idle_max.total_seconds()
        for prefix in list(self._copies):
            if await asyncio.to_thread(self._directory.used, prefix) < oldest and await self.remove(prefix):
                metrics.INDEX_COPIES.labels("idle").inc()
