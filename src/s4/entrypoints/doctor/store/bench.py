"""The store on the bench: where an examination writes, and how it takes everything away again.

All of it lies below `system/probes/doctor-…/`, where no document ever is. Interrupted, `clear` runs all the same; of an
examination that was killed, the next one removes what it left.
"""

import asyncio
import os
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from s4.kernel import keys
from s4.kernel.errors import S4Error
from s4.kernel.keys import ObjectKey, ObjectPrefix
from s4.kernel.settings import Settings
from s4.kernel.units import MIB
from s4.platform.objects import ObjectMissing, ObjectStore, SignedRequests, StoreAnswer, open_signed, open_store

PART_BYTES = 5 * MIB
"""The smallest part that S3 takes: several of them are sent."""
_NAME = "doctor-"
_ABANDONED = timedelta(hours=1)  # longer than any examination lasts
_SWEEPS_MAX = 3  # a request that was under way when we were interrupted may land behind the first
_SWEEP_PAUSE_SECONDS = 0.2


def new_name() -> str:
    """Of an examination."""
    return f"{_NAME}{secrets.token_hex(8)}"


@dataclass
class Bench:
    """An open store, and the names of what was put there."""

    settings: Settings
    store: ObjectStore
    signed: SignedRequests | None
    """None where there is no bucket."""
    examination: str = field(default_factory=new_name)
    written: set[ObjectKey] = field(default_factory=set)

    @property
    def place(self) -> ObjectPrefix:
        return keys.probes(self.examination)

    def key(self, name: str) -> ObjectKey:
        """For an object that is about to be written."""
        key = self.unwritten(name)
        self.written.add(key)
        return key

    def unwritten(self, name: str) -> ObjectKey:
        """For an object that is to be missing."""
        return keys.probe(f"{self.examination}/{name}")

    def data(self, name: str) -> bytes:
        """Bytes of this examination alone."""
        return f"{name} of {self.examination}".encode()

    async def clear(self) -> list[str]:
        """Removes what was written. Answers with the keys that are, or may be, still there."""
        for sweep in range(_SWEEPS_MAX):
            if sweep:
                await asyncio.sleep(_SWEEP_PAUSE_SECONDS)
            try:
                found = await self._found()
            except S4Error:  # it may not be listed: then what was written is known by name
                break
            if sweep and not found:
                return []
            await self._removed(found)
        if await self._removed(self.written):
            return []
        return sorted([key for key in self.written if not await self._gone(key)])

    async def _found(self) -> set[ObjectKey]:
        abandoned = datetime.now(UTC) - _ABANDONED
        return {
            info.key
            async for info in self.store.list(keys.PROBES)
            if info.key.startswith(self.place)
            or (info.key.startswith(f"{keys.PROBES}{_NAME}") and info.last_modified < abandoned)
        }

    async def _removed(self, doomed: set[ObjectKey]) -> bool:
        try:
            await self.store.delete(doomed)
        except S4Error:
            return False
        return True

    async def _gone(self, key: ObjectKey) -> bool:
        try:
            await self.store.head(key)
        except ObjectMissing:
            return True
        except S4Error:
            return False
        return False


@asynccontextmanager
async def open_bench(settings: Settings) -> AsyncIterator[Bench]:
    """Closed by whoever leaves the block, but not cleared: what is left belongs into the report."""
    settings = settings.model_copy(update={"store_part_bytes": PART_BYTES})
    store = open_store(settings)
    try:
        yield Bench(settings, store, open_signed(settings))
    finally:
        await store.aclose()


def upload_begun(answer: StoreAnswer) -> str | None:
    """The id of an upload in parts, if the store began one."""
    document = answer.document() if answer.ok else None
    return document.findtext("{*}UploadId") if document is not None else None


def random_bytes(size_bytes: int) -> bytes:
    """In which every part differs from every other."""
    return os.urandom(size_bytes)
