"""A store whose contents and texts can be read from a copy of it when it fails.

Both never change once they are written, so what the copy has is what the first one had; what it has not is not taken
for missing. Everything else is the first store's alone: heads, for a copy may be behind; listings, for the same
reason; and all writes.

While the first one is down it is asked now and then, not by every reader: each would wait for it.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, suppress

import structlog

from s4.kernel import keys
from s4.kernel.keys import KeyKind, ObjectKey
from s4.platform.objects.base import Backend, ObjectMissing, StoreFault, StoreUnavailable
from s4.platform.objects.store import LancePlace, ObjectStore
from s4.platform.telemetry import metrics

log = structlog.get_logger()

_FROM_THE_COPY = (KeyKind.CONTENT, KeyKind.TEXT)
_DOWN_SECONDS = 5.0  # so long nobody waits for a store that has just failed


class FailingOver(ObjectStore):
    """See the module's docstring. `replica` is its owner's to close."""

    def __init__(
        self,
        backend: Backend,
        *,
        timeout_seconds: float,
        part_bytes: int,
        lance_place: LancePlace | None,
        replica: ObjectStore,
        first_byte_seconds: float,
    ) -> None:
        super().__init__(backend, timeout_seconds=timeout_seconds, part_bytes=part_bytes, lance_place=lance_place)
        self._replica = replica
        self._first_byte_seconds = first_byte_seconds
        self._down_until = 0.0

    async def get(self, key: ObjectKey) -> bytes:
        """As of any store; of contents and texts from the copy if need be."""
        if not _is_copied(key):
            return await super().get(key)
        return b"".join([chunk async for chunk in self.stream(key)])

    async def stream(self, key: ObjectKey, *, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """The same. A download that breaks off goes on from the copy where it stopped."""
        if not _is_copied(key):
            async for chunk in super().stream(key, start=start, end=end):
                yield chunk
            return
        offset = start
        failure: StoreUnavailable
        try:
            async with aclosing(self._first(key, start, end)) as chunks:
                async for chunk in chunks:
                    offset += len(chunk)
                    yield chunk
            return
        except StoreUnavailable as error:
            failure = error
        try:
            async for chunk in self._replica.stream(key, start=offset, end=end):
                yield chunk
        except ObjectMissing as missing:  # too new for the copy
            if time.monotonic() >= self._down_until:
                raise failure from missing
            async for chunk in super().stream(key, start=offset, end=end):
                yield chunk
            return
        metrics.STORE_FAILOVERS.inc()

    async def _first(self, key: ObjectKey, start: int, end: int | None) -> AsyncGenerator[bytes, None]:
        """Raises `StoreUnavailable` also when the first byte takes too long, or is not worth waiting for."""
        if time.monotonic() < self._down_until:
            raise StoreUnavailable(StoreFault.ERROR, operation="get", code="down")
        chunks = super().stream(key, start=start, end=end)
        try:
            try:
                async with asyncio.timeout(self._first_byte_seconds):
                    first = await anext(chunks)
            except StopAsyncIteration:
                return
            except TimeoutError as error:
                raise StoreUnavailable(StoreFault.TIMEOUT, operation="get") from error
            yield first
            async for chunk in chunks:
                yield chunk
        except StoreUnavailable as error:
            self._down_until = time.monotonic() + _DOWN_SECONDS
            log.warning("store.failed_over", fault=error.fault.value, operation="get", code=error.details.get("code"))
            raise
        finally:
            with suppress(StoreUnavailable):
                await chunks.aclose()  # type: ignore[attr-defined]  # a generator, whatever its type says


def _is_copied(key: ObjectKey) -> bool:
    parsed = keys.parse(key)
    return parsed is not None and parsed.kind in _FROM_THE_COPY
