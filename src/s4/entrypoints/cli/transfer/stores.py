"""Objects of a bucket as files to upload.

An object is listed with its size and its ETag, and no SHA-256. So one whose size is that of its document is fetched and
hashed before it counts as the same, unless a record of an earlier run says which ETag had which hash.
"""

import asyncio
import errno
import hashlib
import json
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from s4.entrypoints.cli.transfer.files import UnfitKey, key_for
from s4.entrypoints.cli.transfer.manifest import Manifest
from s4.entrypoints.cli.transfer.outcomes import Action, Failure, Outcome
from s4.entrypoints.cli.transfer.selection import Selection
from s4.kernel.errors import S4Error as StoreError
from s4.kernel.keys import EVERYTHING, ObjectKey

if TYPE_CHECKING:
    from s4.entrypoints.cli.transfer.documents import KnownDocument
    from s4.platform.objects import ObjectInfo, ObjectStore


@dataclass(frozen=True, slots=True)
class Seen:
    """What an earlier run found out of an object."""

    etag: str
    sha256: str


class Record:
    """The file that remembers hashes by key and ETag: a JSON line each, the last one counts. None: nothing is."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._seen: dict[str, Seen] = {}
        if path is not None and path.exists():
            for line in path.read_text(encoding="utf-8").split("\n")[:-1]:  # one that was cut off is found out again
                said = json.loads(line)
                self._seen[said["object"]] = Seen(said["etag"], said["sha256"])

    def sha256(self, info: "ObjectInfo") -> str | None:
        seen = self._seen.get(info.key)
        return seen.sha256 if seen is not None and seen.etag == info.etag else None

    def note(self, info: "ObjectInfo", sha256: str) -> None:
        if self._path is None or info.etag is None or self.sha256(info) == sha256:
            return
        self._seen[info.key] = Seen(info.etag, sha256)
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"object": info.key, "etag": info.etag, "sha256": sha256}) + "\n")


@dataclass(slots=True)
class StoreFile:
    """An object and the key that its document has. It is on disk from the first need of its bytes to `release`."""

    store: "ObjectStore"
    info: "ObjectInfo"
    path: str
    key: str
    metadata: dict[str, Any]
    record: Record
    _fetched: Path | None = None
    _sha256: str | None = None

    @property
    def size_bytes(self) -> int:
        return self.info.size

    async def is_same(self, known: "KnownDocument") -> bool:
        if self.info.size != known.size_bytes:
            return False
        sha256 = self.record.sha256(self.info)
        if sha256 is None:
            await self.fetch()
            sha256 = self._sha256
        return sha256 == known.sha256

    async def fetch(self) -> Path:
        """Raises `OSError` when the store does not give it."""
        if self._fetched is not None:
            return self._fetched
        digest = hashlib.sha256()
        with tempfile.NamedTemporaryFile(prefix="s4-import-", delete=False) as file:
            self._fetched = Path(file.name)
            try:
                async for piece in self.store.stream(ObjectKey(self.info.key)):
                    digest.update(piece)
                    await asyncio.to_thread(file.write, piece)
            except (StoreError, ValueError) as error:
                self.release()
                message = error.message if isinstance(error, StoreError) else "its key cannot be asked for"
                raise OSError(errno.EIO, message.rstrip(".")) from error
        self._sha256 = digest.hexdigest()
        self.record.note(self.info, self._sha256)
        return self._fetched

    def release(self) -> None:
        if self._fetched is not None:
            self._fetched.unlink(missing_ok=True)
            self._fetched = None


@dataclass(slots=True)
class StoreFinder:
    """Iterates over the objects of a store, in the order of their keys."""

    store: "ObjectStore"
    url: str
    prefix: str
    record: Record
    manifest: Manifest
    selection: Selection = field(default_factory=Selection)

    async def __aiter__(self) -> AsyncIterator[StoreFile | Outcome]:
        async for info in self.store.list(EVERYTHING):
            if not self.selection.takes(info.key):
                continue
            path = f"{self.url.rstrip('/')}/{info.key}"
            if info.size == 0:
                failure = Failure("empty", "It is empty, as what consoles make for a folder.")
                yield Outcome(path=path, action=Action.SKIPPED, failure=failure)
                continue
            try:
                key = key_for(self.prefix, info.key)
            except UnfitKey as unfit:
                yield Outcome(path=path, action=Action.REFUSED, failure=unfit.failure)
                continue
            if "" in info.key.split("/"):
                failure = Failure("bad_name", "Its key has an empty part, such as `a//b`: rename it.")
                yield Outcome(path=path, action=Action.REFUSED, failure=failure)
                continue
            yield StoreFile(self.store, info, path, key, self.manifest.of(info.key), self.record)
