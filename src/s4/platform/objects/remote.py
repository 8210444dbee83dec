"""Objects behind obstore: a bucket of any S3 or of Google's, or memory.

What obstore 0.12 does, as tried out against SeaweedFS and fake-gcs-server, and what follows here:

- A PUT that creates is repeated after a 5xx answer but not after a lost one; 412 and 409 are both
  `AlreadyExistsError`. Settling is the caller's work.
- The asynchronous writer keeps at most `max_concurrency` parts in flight and one in the making, sends what fits in
  its buffer as one PUT, aborts the multipart upload when its block ends with an exception or when its completion
  fails, and leaves it dangling when the completion is cancelled. So completions are never cancelled here.
- A body that breaks off is resumed a bounded number of times; after that it raises.
- Errors of the HTTP layer are `GenericError`, from a writer `OSError`; the status and the store's code are in the text
  only. Google's storage has the same codes as S3.
- Google's objects are deleted one request each, and the first that is missing ends a deletion of many.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Protocol

import obstore
from obstore.exceptions import (
    AlreadyExistsError,
    BaseError,
    PermissionDeniedError,
    PreconditionError,
    UnauthenticatedError,
)
from obstore.store import GCSStore, MemoryStore, S3Store

from s4.kernel.keys import ObjectKey, ObjectPrefix
from s4.kernel.units import KIB, MIB
from s4.platform.objects.base import (
    DEFAULT_CLASS,
    LIST_PAGE_MAX,
    NO_CREDENTIALS,
    ObjectInfo,
    ObjectMissing,
    StoreFault,
    StoreUnavailable,
    beyond_end,
)
from s4.platform.objects.signed import SignedRequests

if TYPE_CHECKING:  # obstore's types exist for type checkers only
    from obstore import Attributes, GetOptions, GetResult, ObjectMeta

_CHUNK_BYTES_MIN = 256 * KIB  # smaller pieces cost more in crossings into Rust than they save in memory
_RANGE_CHUNK_BYTES_MIN = MIB  # of who names an end: a copy of 200 MiB took 0.2 s of processor time less
_PARTS_IN_FLIGHT_MAX = 2
_DELETIONS_AT_ONCE = 32  # of 50 ms each, so that a batch of a thousand takes two seconds
_CLASS_SECONDS_MAX = 30.0  # a caller's own deadline comes first
_MISSING = 404
_EXIT_PAUSE_SECONDS = 0.05  # see `RemoteBackend.aclose`


class _Aborted(Exception):
    """Tells obstore's writer to give up."""


class RemoteBackend:
    """Objects below `prefix` (empty, or ending with a slash) of an obstore store."""

    def __init__(self, store: S3Store | GCSStore | MemoryStore, *, prefix: str, part_bytes: int) -> None:
        self._store = store
        self._prefix = prefix
        self._part_bytes = part_bytes
        self._completions: set[asyncio.Task[None]] = set()

    @property
    def local_root(self) -> Path | None:
        return None

    async def create(self, key: ObjectKey, data: bytes) -> bool:
        try:
            with _errors_told(key):
                await obstore.put_async(self._store, self._path(key), data, mode="create", use_multipart=False)
        except (AlreadyExistsError, PreconditionError):
            return False
        return True

    async def put(self, key: ObjectKey, data: bytes, *, lasting: bool = True) -> None:  # noqa: ARG002 - it always is
        with _errors_told(key):
            await obstore.put_async(self._store, self._path(key), data, use_multipart=False)

    async def make_last(self) -> None:
        """A store answers when it is."""

    async def open_upload(self, key: ObjectKey, *, storage_class: str | None = None) -> "_RemoteWriting":
        attributes: Attributes = {"Storage-Class": storage_class} if storage_class is not None else {}
        with _errors_told(key):
            writer = obstore.open_writer_async(
                self._store,
                self._path(key),
                # A full buffer is sent as a part: one byte more, and an object of exactly one part is one PUT.
                buffer_size=self._part_bytes + 1,
                max_concurrency=_PARTS_IN_FLIGHT_MAX,
                attributes=attributes or None,
            )
        return _RemoteWriting(writer, key, self._completions)

    async def open(self, key: ObjectKey, start: int, end: int | None) -> "_RemoteReading":
        options: GetOptions = {}
        if end is not None:
            options["range"] = (start, end)
        elif start > 0:
            options["range"] = {"offset": start}
        with _errors_told(key):
            try:
                result = await obstore.get_async(self._store, self._path(key), options=options)
            except BaseError as error:
                if not _starts_beyond_end(error):
                    raise
                if start > 0 or end is None:
                    raise beyond_end(None) from error
                return await self.open(key, 0, None)  # it is empty, and any range from 0 is all of it
        chunk_bytes_min = _CHUNK_BYTES_MIN if end is None else _RANGE_CHUNK_BYTES_MIN
        return _RemoteReading(result, self._info(result.meta), chunk_bytes_min)

    async def storage_class(self, key: ObjectKey) -> str | None:
        """obstore passes over what S3 says of it, and of Google's storage nobody can be asked without its own API."""
        signed = self.signed(timeout_seconds=_CLASS_SECONDS_MAX)
        if signed is None:
            return None
        answer = await signed.ask("HEAD", key)
        if answer.status == _MISSING:
            raise ObjectMissing(key)
        return (answer.storage_class or DEFAULT_CLASS) if answer.ok else None

    async def head(self, key: ObjectKey) -> ObjectInfo:
        with _errors_told(key):
            return self._info(await obstore.head_async(self._store, self._path(key)))

    async def pages(self, prefix: ObjectPrefix) -> AsyncIterator[Sequence[ObjectInfo]]:
        with _errors_told():
            stream = obstore.list(self._store, self._path(prefix), chunk_size=LIST_PAGE_MAX)
        while True:
            with _errors_told():
                try:
                    page = await anext(stream)
                except StopAsyncIteration:
                    return
            yield [self._info(meta) for meta in page]

    async def children(self, prefix: ObjectPrefix) -> list[ObjectPrefix]:
        with _errors_told():
            result = await obstore.list_with_delimiter_async(self._store, self._path(prefix))
        prefixes = (name.removesuffix("/") + "/" for name in result["common_prefixes"])
        return sorted(ObjectPrefix(name.removeprefix(self._prefix)) for name in prefixes)

    async def copy(self, source: ObjectKey, target: ObjectKey) -> None:
        with _errors_told(source):
            await obstore.copy_async(self._store, self._path(source), self._path(target), overwrite=True)

    async def delete(self, keys: Sequence[ObjectKey]) -> None:
        if isinstance(self._store, GCSStore):
            some_at_once = asyncio.Semaphore(_DELETIONS_AT_ONCE)
            await asyncio.gather(*(self._delete(key, some_at_once) for key in keys))
            return
        with _errors_told():
            await obstore.delete_async(self._store, [self._path(key) for key in keys])

    async def aclose(self) -> None:
        """Waits for completions that outlived their callers, then gives obstore's threads a moment.

        They answer Python from outside, and one that does so while the interpreter already comes down aborts the
        whole process (9 of 80 short runs; none of 40 with this pause). Nothing in obstore says when they are done.
        """
        if self._completions:
            await asyncio.wait(self._completions)
        await asyncio.sleep(_EXIT_PAUSE_SECONDS)

    def signed(self, *, timeout_seconds: float) -> SignedRequests | None:
        """The same place, with the same credentials; None where it is not S3."""
        if not isinstance(self._store, S3Store):
            return None
        return SignedRequests(self._store, prefix=self._prefix, timeout_seconds=timeout_seconds)

    async def _delete(self, key: ObjectKey, some_at_once: asyncio.Semaphore) -> None:
        async with some_at_once:
            with suppress(ObjectMissing), _errors_told(key):
                await obstore.delete_async(self._store, self._path(key))

    def _path(self, key: str) -> str:
        return f"{self._prefix}{key}"

    def _info(self, meta: "ObjectMeta") -> ObjectInfo:
        return ObjectInfo(
            key=ObjectKey(meta["path"].removeprefix(self._prefix)),
            size=meta["size"],
            last_modified=meta["last_modified"],
            etag=meta["e_tag"],
        )


class _RemoteReading:
    """A response whose body is on its way."""

    def __init__(self, result: "GetResult", info: ObjectInfo, chunk_bytes_min: int) -> None:
        self.info = info
        self.start, self.end = result.range
        self._stream = result.stream(min_chunk_size=chunk_bytes_min)

    async def next_chunk(self) -> bytes:
        with _errors_told(self.info.key):
            return bytes(await anext(self._stream, b""))

    async def close(self) -> None:
        """The connection is dropped with the object."""


class _Writer(Protocol):
    """obstore's writer, as far as it is used here."""

    async def write(self, buffer: bytes, /) -> int: ...

    async def close(self) -> None: ...

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...


class _RemoteWriting:
    """A single PUT, or a multipart upload once there is more than one part."""

    def __init__(self, writer: _Writer, key: ObjectKey, completions: set[asyncio.Task[None]]) -> None:
        self._writer = writer
        self._key = key
        self._completions = completions
        self._completed = False

    async def write(self, chunk: bytes) -> None:
        with _errors_told(self._key):
            await self._writer.write(chunk)

    async def finish(self) -> None:
        self._completed = True
        # A cancelled completion would leave its parts in the bucket, unseen and paid for.
        completion = asyncio.ensure_future(_awaited(self._writer.close()))
        self._completions.add(completion)
        completion.add_done_callback(self._forget)
        with _errors_told(self._key):
            await asyncio.shield(completion)

    async def abort(self) -> None:
        if not self._completed:  # a completion that fails aborts by itself
            with _errors_told(self._key):
                await self._writer.__aexit__(_Aborted, _Aborted(), None)

    def _forget(self, completion: asyncio.Task[None]) -> None:
        self._completions.discard(completion)
        if not completion.cancelled():
            completion.exception()  # looked at, so that asyncio does not complain when nobody waits any more


async def _awaited(awaitable: Awaitable[None]) -> None:
    """obstore's methods answer with futures of their own; a task wants a coroutine."""
    await awaitable


_STATUS = re.compile(r"status code: (\d{3})")
_CODE = re.compile(r"(?:<Code>|\(code: )(\w{1,64})(?:</Code>|\))")  # the second of one key in a bulk deletion
_THROTTLED = {"429", "503", "SlowDown", "TooManyRequests", "RequestLimitExceeded", "Throttling"}
_FULL = {"507", "InsufficientStorage", "XMinioStorageFull", "QuotaExceeded"}
_DENIED = {"401", "403", "AccessDenied"}
_NO_BUCKET = "NoSuchBucket"
_TIMED_OUT = "kind: Timeout"  # of obstore's HTTP client, in the text only, as the rest
_UNIDENTIFIED = "Error performing token request"


@contextmanager
def _errors_told(key: ObjectKey | None = None) -> Iterator[None]:
    """obstore's errors as S4's. Their text may hold the endpoint and key ids: it stays in the cause."""
    try:
        yield
    except (AlreadyExistsError, PreconditionError):
        raise
    except FileNotFoundError as error:
        status_code = _code(error)
        # An empty answer about an object in a bucket that does not exist would look like an empty store.
        if key is None or status_code == _NO_BUCKET:
            raise StoreUnavailable(StoreFault.ERROR, code=status_code) from error
        raise ObjectMissing(key) from error
    except (PermissionDeniedError, UnauthenticatedError) as error:
        raise StoreUnavailable(StoreFault.DENIED, code=_code(error)) from error
    except (BaseError, OSError) as error:
        raise StoreUnavailable(_fault(error), code=_code(error)) from error


def _fault(error: Exception) -> StoreFault:
    said = set(_STATUS.findall(str(error))) | set(_CODE.findall(str(error)))
    if said & _FULL:
        return StoreFault.FULL
    if said & _THROTTLED:
        return StoreFault.THROTTLED
    if said & _DENIED or _UNIDENTIFIED in str(error):
        return StoreFault.DENIED
    return StoreFault.TIMEOUT if _TIMED_OUT in str(error) else StoreFault.ERROR


def _code(error: Exception) -> str | None:
    """The store's code, else the HTTP status, else nothing."""
    if _UNIDENTIFIED in str(error):  # the metadata service's, which is not there or gives none
        return NO_CREDENTIALS
    found = _CODE.search(str(error)) or _STATUS.search(str(error))
    return found[1] if found else None


def _starts_beyond_end(error: Exception) -> bool:
    return _code(error) in ("InvalidRange", "416") or "Wanted range starting at" in str(error)
