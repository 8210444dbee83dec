"""The contract of the object store, written once over whatever backend is below: deadlines, settled creation,
resumed downloads, errors and metrics.
"""

import asyncio
import hashlib
import random
import secrets
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from pathlib import Path

import structlog

from s4.kernel import keys
from s4.kernel.errors import DataCorrupt, S4Error
from s4.kernel.keys import ObjectKey, ObjectPrefix
from s4.kernel.units import MIB
from s4.platform.faults import failpoint
from s4.platform.objects.base import (
    COPY_BYTES_MAX,
    DEFAULT_CLASS,
    DELETE_BATCH_MAX,
    NOT_IMPLEMENTED,
    Backend,
    Capabilities,
    CreateOutcome,
    ObjectInfo,
    ObjectMissing,
    Reading,
    StoreFault,
    StoreUnavailable,
    Writing,
    known_code,
)
from s4.platform.telemetry import metrics, traces

log = structlog.get_logger()

LancePlace = tuple[str, dict[str, str]]
"""A base URI and LanceDB's storage options."""
Prefixes = list[ObjectPrefix]
StoreObserver = Callable[[str, str, int], None]
"""Is told of a key or prefix what was done with it (`reads`, `writes`, `bytes_read`, `bytes_written`) and how much."""

# Each attempt already repeats inside the backend; these are for answers that were lost and conflicts (409).
_CREATE_ATTEMPTS_MAX = 4
# Of a download, in a row, without a byte between them; the backend has repeated each of them already.
_RESUMES_MAX = 4
_SILENCE_DEADLINES = 2  # one to notice that nothing comes, one to get it another way
_PAUSE_SECONDS = 0.1  # before the first repeat; doubles
_PING_SECONDS_MAX = 5.0  # a readiness check that takes longer is a "no" already
# The last parts have one deadline, the request that joins them has another.
_FINISH_DEADLINES = 2
_COPIED_IN_A_DEADLINE_BYTES = 512 * MIB  # a store that copies slower than its own disks read is not well


class ObjectStore:
    """One deployment's objects. Keys come from `kernel/keys.py`; where they lie, the backend knows.

    Every operation raises `StoreUnavailable` when the store does not do it within its deadline.
    """

    def __init__(
        self,
        backend: Backend,
        *,
        timeout_seconds: float,
        part_bytes: int,
        lance_place: LancePlace | None,
    ) -> None:
        self._backend = backend
        self._timeout_seconds = timeout_seconds
        self._part_bytes = part_bytes
        self._lance_place = lance_place
        self._aborts: set[asyncio.Task[None]] = set()
        self.observer: StoreObserver = _unobserved
        self._closed: S4Error | None = None

    # -- write

    def close_for_writing(self, error: S4Error) -> None:
        """From here on whatever would write or delete raises `error`; what is on its way may still arrive."""
        self._closed = error

    async def create(self, key: ObjectKey, data: bytes, *, commit_id: str | None) -> CreateOutcome:
        """Creates a small object unless one is there.

        `CREATED` means that the object holds exactly `data`, also where another creator sent the same bytes; a
        `commit_id` in `data`, random, makes that impossible, so that `CREATED` is ours alone. Raises
        `StoreUnavailable` when the outcome is unknown: `data` may still appear.
        """
        _check(key)
        if commit_id is not None and commit_id.encode() not in data:
            raise ValueError("the data of a commit must contain its commit id")
        self._refuse_if_closed()
        outcome = "unknown"
        try:
            async with self._deadline("create", self._timeout_seconds):
                outcome = await self._create(key, data)
        finally:
            if commit_id is not None:
                metrics.COMMITS.labels(outcome).inc()
        return CreateOutcome.TAKEN if outcome == "taken" else CreateOutcome.CREATED

    async def put(self, key: ObjectKey, data: bytes, *, lasting: bool = True) -> None:
        """Writes a whole small object over whatever is there. For what can be made again. Not `lasting`: a power cut
        may still undo or damage it, until `make_last` has returned."""
        _check(key)
        self._refuse_if_closed()
        async with self._operation("put"):
            await self._backend.put(key, data, lasting=lasting)
        self._written(key, len(data))

    async def make_last(self) -> None:
        await self._backend.make_last()

    def upload(self, key: ObjectKey) -> AbstractAsyncContextManager["Upload"]:
        """Streams an object of unknown length; nothing is visible before its `commit`.

        Leaving the block without a commit removes what was sent. Up to one part costs one request.
        """
        _check(key)
        self._refuse_if_closed()
        return self._upload(key)

    async def put_stream(self, key: ObjectKey, content: AsyncIterator[bytes]) -> None:
        """Writes an object piece by piece. Raises what `content` does; then nothing is there under that key."""
        async with self.upload(key) as upload:
            async for chunk in content:
                await upload.write(chunk)
            await upload.commit()

    async def copy(self, source: ObjectKey, target: ObjectKey, *, size_bytes: int) -> None:
        """Writes the object of `source` under `target` as well, within the store: no byte of it comes here, so nobody
        has looked at what was copied. Raises `ObjectMissing`, and `ValueError` above `COPY_BYTES_MAX`."""
        _check(source)
        _check(target)
        if size_bytes > COPY_BYTES_MAX:
            raise ValueError("a store copies at most 5 GiB at once")
        async with self._operation("copy", deadlines=1 + size_bytes // _COPIED_IN_A_DEADLINE_BYTES):
            await self._backend.copy(source, target)
        self.observer(target, "writes", 1)

    async def move_class(self, key: ObjectKey, storage_class: str | None, *, sha256: str) -> bool:
        """Writes an object over itself in another storage class, None for the store's default. Whether it had to.

        Readers see the same bytes before, meanwhile and after. Raises `ObjectMissing`, and `DataCorrupt` when the bytes
        are not those of `sha256`: then nothing was written.
        """
        _check(key)
        async with self._operation("head"):
            self.observer(key, "reads", 1)
            current = await self._backend.storage_class(key)
        if self.local_root is not None or current == (storage_class or DEFAULT_CLASS):
            return False
        digest = hashlib.sha256()
        async with self._upload(key, storage_class=storage_class) as upload:
            async for chunk in self.stream(key):
                digest.update(chunk)
                await upload.write(chunk)
            if digest.hexdigest() != sha256:
                raise DataCorrupt("An object is not what it was; it was not moved to another storage class.")
            await upload.commit()
        return True

    async def delete(self, doomed: Iterable[ObjectKey]) -> None:
        """Removes objects; missing ones are fine. A failure may leave some of them: call again."""
        self._refuse_if_closed()
        remaining = [_checked(key) for key in doomed]
        for start in range(0, len(remaining), DELETE_BATCH_MAX):
            async with self._operation("delete"):
                await self._backend.delete(remaining[start : start + DELETE_BATCH_MAX])

    # -- read

    async def get(self, key: ObjectKey) -> bytes:
        """A whole small object. Raises `ObjectMissing`."""
        return await self._collected(key, 0, None)

    async def get_range(self, key: ObjectKey, start: int, end: int) -> bytes:
        """Bytes from `start` up to, not including, `end`, or the object's end if that comes first.

        Raises `ObjectMissing`, and `RangeNotSatisfiable` when `start` is not before the object's end.
        """
        return await self._collected(key, start, end)

    def stream(self, key: ObjectKey, *, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """The bytes from `start` up to, not including, `end` or the object's end, piece by piece.

        A connection that breaks is replaced and the download goes on where it stopped. Every byte comes, or this
        raises: `ObjectMissing`, `RangeNotSatisfiable`, `DataCorrupt` when the object changed meanwhile.
        """
        return self._streamed(key, start, end)

    async def _streamed(self, key: ObjectKey, start: int, end: int | None) -> AsyncIterator[bytes]:
        _check(key)
        if start < 0 or (end is not None and end < start):
            raise ValueError(f"{start}..{end} is not a range")
        if end == start:
            return
        offset, breaks = start, 0
        progressed = time.monotonic()
        first: Reading | None = None
        reading: Reading | None = None
        try:
            while first is None or offset < first.end:
                try:
                    if reading is None:
                        reading = await self._opened(key, offset, end, first)
                    if first is None:
                        first = reading
                    chunk = await self._next_chunk(reading, first.end - offset)
                    self.observer(key, "bytes_read", len(chunk))
                except StoreUnavailable as error:
                    breaks += 1
                    silence_seconds = time.monotonic() - progressed
                    if (
                        first is None  # it did not even begin: the backend has tried that often enough
                        or error.refused
                        or breaks > _RESUMES_MAX
                        or silence_seconds > self._timeout_seconds * _SILENCE_DEADLINES
                    ):
                        raise
                    metrics.STORE_RETRIES.labels("get").inc()
                    await _close(reading)
                    reading = None
                    await _pause(breaks)
                else:
                    offset, breaks = offset + len(chunk), 0
                    if chunk:
                        yield chunk
                    progressed = time.monotonic()  # not before: the reader's time is not the store's
        finally:
            await _close(reading)

    async def head(self, key: ObjectKey) -> ObjectInfo:
        """What the store knows of an object. Raises `ObjectMissing`."""
        _check(key)
        async with self._operation("head"):
            self.observer(key, "reads", 1)
            return await self._backend.head(key)

    async def list(self, prefix: ObjectPrefix) -> AsyncIterator[ObjectInfo]:
        """Every object below `prefix`, ordered by the bytes of its key, at whatever depth.

        Objects that come or go meanwhile may be listed or not.
        """
        _check_prefix(prefix)
        pages = self._backend.pages(prefix)
        while True:
            page: Sequence[ObjectInfo] | None = None
            async with self._operation("list"):
                self.observer(prefix, "writes", 1)  # stores charge a listing as they do a write
                with suppress(StopAsyncIteration):
                    page = await anext(pages)
            if page is None:
                return
            for info in page:
                yield info

    async def list_children(self, prefix: ObjectPrefix) -> Prefixes:
        """The prefixes directly below `prefix` that hold objects, ordered."""
        _check_prefix(prefix)
        async with self._operation("list"):
            return await self._backend.children(prefix)

    # -- the store itself

    async def probe(self) -> Capabilities:
        """Tries whether the second of two creators is refused. Leaves nothing behind."""
        token = secrets.token_hex(16)
        key = keys.probe(token)
        first, second = f"first {token}".encode(), f"second {token}".encode()
        try:
            outcomes = [
                await self.create(key, first, commit_id=None),
                await self.create(key, second, commit_id=None),
            ]
            honoured = outcomes == [CreateOutcome.CREATED, CreateOutcome.TAKEN]
            return Capabilities(create_if_absent=honoured and await self.get(key) == first)
        except StoreUnavailable as error:
            if error.details.get("code") in NOT_IMPLEMENTED:
                return Capabilities(create_if_absent=False)
            raise
        finally:
            await self.delete([key])

    async def ping(self) -> None:
        """Cheap check for readiness: returns when the store answers, raises `StoreUnavailable` otherwise.

        Reads the deployment's mark instead of asking for its head, because only an answer with a body tells a
        missing object from a missing bucket.
        """
        with suppress(ObjectMissing):
            async with self._deadline("get", min(self._timeout_seconds, _PING_SECONDS_MAX)):
                await self.get(keys.DEPLOYMENT)

    @property
    def local_root(self) -> Path | None:
        """The directory of a local store."""
        return self._backend.local_root

    def lance_uri(self) -> LancePlace | None:
        """Where the engine keeps its tables: a base URI and its options. None for memory, which it cannot see."""
        return self._lance_place

    async def aclose(self) -> None:
        """Waits for what still runs. Call it before the process ends; see the backends for why."""
        if self._aborts:
            await asyncio.wait(self._aborts)
        await self._backend.aclose()

    # -- inside

    def _refuse_if_closed(self) -> None:
        if self._closed is not None:
            raise self._closed

    def _written(self, key: ObjectKey, size_bytes: int, *, requests: int = 1) -> None:
        metrics.STORE_BYTES.labels("written").inc(size_bytes)
        self.observer(key, "writes", requests)
        self.observer(key, "bytes_written", size_bytes)

    async def _create(self, key: ObjectKey, data: bytes) -> str:
        """`own`, `lost_answer` or `taken`."""
        failure = StoreUnavailable(StoreFault.ERROR, operation="create")
        for attempt in range(_CREATE_ATTEMPTS_MAX):
            if attempt > 0:
                metrics.STORE_RETRIES.labels("create").inc()
                await _pause(attempt)
            try:
                async with self._operation("create"):
                    if await self._backend.create(key, data):
                        self._written(key, len(data))
                        return "own"
            except StoreUnavailable as error:
                if error.refused:
                    raise
                failure = error
            # There is an object, or we do not know. Who wrote what is there?
            with suppress(ObjectMissing):
                return "lost_answer" if await self._collected(key, 0, None) == data else "taken"
        raise failure

    @asynccontextmanager
    async def _upload(self, key: ObjectKey, *, storage_class: str | None = None) -> AsyncIterator["Upload"]:
        async with self._operation("multipart", step=True):
            writing = await self._backend.open_upload(key, storage_class=storage_class)
        upload = Upload(self, key, writing, self._part_bytes)
        try:
            yield upload
        finally:
            if not upload.ended:
                # Shielded: the caller is often being cancelled, and what was sent must go all the same.
                abort = asyncio.create_task(self._abort(writing))
                self._aborts.add(abort)
                abort.add_done_callback(self._aborts.discard)
                await asyncio.shield(abort)

    async def _abort(self, writing: Writing) -> None:
        """Leaves the error that led here alone: what cannot be removed now is garbage, and known as such."""
        with suppress(StoreUnavailable):
            async with self._operation("multipart", step=True):
                await writing.abort()

    async def _collected(self, key: ObjectKey, start: int, end: int | None) -> bytes:
        async with self._deadline("get", self._timeout_seconds):
            return b"".join([chunk async for chunk in self._streamed(key, start, end)])

    async def _opened(self, key: ObjectKey, start: int, end: int | None, first: Reading | None) -> Reading:
        async with self._operation("get"):
            self.observer(key, "reads", 1)
            reading = await self._backend.open(key, start, end)
        if first is not None and (reading.info.etag, reading.info.size) != (first.info.etag, first.info.size):
            await _close(reading)
            log.error("store.object_changed", object_key=key)
            raise DataCorrupt("An object changed while it was read.")
        return reading

    async def _next_chunk(self, reading: Reading, left: int) -> bytes:
        """At least one byte as long as any are left, at most `left`; anything else is a broken download."""
        async with self._deadline("get", self._timeout_seconds):
            chunk = await reading.next_chunk()
        if not min(1, left) <= len(chunk) <= left:
            raise StoreUnavailable(StoreFault.ERROR, operation="get", code="length")
        metrics.STORE_BYTES.labels("read").inc(len(chunk))
        return chunk

    @asynccontextmanager
    async def _deadline(self, operation: str, seconds: float) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(seconds):
                yield
        except TimeoutError as error:
            raise StoreUnavailable(StoreFault.TIMEOUT, operation=operation) from error

    @asynccontextmanager
    async def _operation(self, operation: str, *, deadlines: int = 1, step: bool = False) -> AsyncIterator[None]:
        """One request: its deadline, its metrics, and its name in whatever it raises.

        A `step` of something longer is counted only when it fails.
        """
        started = time.perf_counter()
        outcome = "cancelled"
        try:
            with traces.NOTHING if step else traces.span(f"store {operation}"):
                async with self._deadline(operation, self._timeout_seconds * deadlines):
                    yield
            outcome = "step" if step else "ok"
        except StoreUnavailable as error:
            outcome = error.fault.value
            error.details["operation"] = operation
            metrics.STORE_ERRORS.labels(operation, known_code(error.details.get("code"))).inc()
            log.warning("store.failed", fault=error.fault.value, operation=operation, code=error.details.get("code"))
            raise
        except S4Error:
            outcome = "missing"
            raise
        finally:
            if outcome != "step":
                metrics.STORE_REQUESTS.labels(operation, outcome).inc()
                metrics.STORE_SECONDS.labels(operation).observe(time.perf_counter() - started)


class Upload:
    """An object on its way. `write` in order, then `commit` or `abort` once."""

    def __init__(self, store: ObjectStore, key: ObjectKey, writing: Writing, part_bytes: int) -> None:
        self._store = store
        self._key = key
        self._writing = writing
        self._part_bytes = part_bytes
        self.size_bytes = 0
        self.ended = False

    async def write(self, chunk: bytes) -> None:
        """Takes `chunk`; waits while two parts are on their way."""
        async with self._store._operation("multipart", step=True):
            await self._writing.write(chunk)
        parts_before = self.size_bytes // self._part_bytes
        self.size_bytes += len(chunk)
        if self.size_bytes // self._part_bytes > parts_before:
            failpoint("object.part_written")

    async def commit(self) -> int:
        """Makes the object visible and durable; answers with its size in bytes.

        When it raises, the object may be there or may still appear, so the key must not be used again.
        """
        operation = "put" if self.size_bytes <= self._part_bytes else "multipart"
        async with self._store._operation(operation, deadlines=_FINISH_DEADLINES):
            await self._writing.finish()
        self.ended = True
        # Of an upload in parts: each of them, the request that begins it and the one that joins them.
        parts = -(-self.size_bytes // self._part_bytes)
        self._store._written(self._key, self.size_bytes, requests=1 if operation == "put" else parts + 2)
        return self.size_bytes

    async def abort(self) -> None:
        """Removes what was sent. Leaving the block does that, too, but does not raise when it fails."""
        self.ended = True
        async with self._store._operation("multipart", step=True):
            await self._writing.abort()


def _unobserved(_key: str, _what: str, _amount: int) -> None:
    pass


async def _pause(attempt: int) -> None:
    """Exponential, with full jitter, so that creators who collided once do not meet again."""
    await asyncio.sleep(random.uniform(0, _PAUSE_SECONDS * 2**attempt))  # noqa: S311 - not a secret


async def _close(reading: Reading | None) -> None:
    if reading is not None:
        await reading.close()


def _check(key: str) -> None:
    """Keys come from `kernel/keys.py`; whatever slips past it must still not leave the store's root."""
    parts = key.split("/")
    if parts[0].startswith(".") or any(part in ("", ".", "..") for part in parts) or "\0" in key:
        raise ValueError(f"{key!r} is not an object key")


def _checked(key: ObjectKey) -> ObjectKey:
    _check(key)
    return key


def _check_prefix(prefix: str) -> None:
    if prefix == keys.EVERYTHING:
        return
    if not prefix.endswith("/"):
        raise ValueError(f"{prefix!r} is not a prefix: it must end with a slash")
    _check(prefix.removesuffix("/"))
