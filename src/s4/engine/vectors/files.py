"""Which files a version of a table consists of, and whether they are what was committed.

LanceDB's files never change once they are written. So the sum of a file (`FileSum`) that was taken at one commit holds
for every later version that names it, and one listing tells whether all of them are there and as they were.

Where a sum comes from. A bucket lists the ETag of each object. Of an object that was written by a single request this
is, in most stores, the MD5 of its bytes; whether it is here is seen at the manifest, whose bytes are read anyway. Files
of several parts (beyond 5 MB), and every file where ETags are something else, have a size and no MD5. A local directory
has no ETags; there reading a new file back costs little.
"""

import asyncio
import hashlib
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime

from s4.engine.vectors.errors import IndexDamaged
from s4.engine.vectors.manifest import Fragment, Manifest, manifest_name, version_of
from s4.kernel import keys
from s4.kernel.keys import ObjectKey
from s4.platform.objects import ObjectInfo, ObjectMissing, ObjectStore

_MD5 = re.compile("[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class FileSum:
    """`md5` in hexadecimal digits; None where nobody knows it."""

    size_bytes: int
    md5: str | None

    def agrees(self, other: "FileSum") -> bool:
        return self.size_bytes == other.size_bytes and (self.md5 == other.md5 or None in (self.md5, other.md5))


Sums = Mapping[str, FileSum]
"""By name, relative to the table."""


@dataclass(frozen=True, slots=True)
class Inspected:
    """What a listing shows of a version. `damaged` names what is missing or is not what was recorded."""

    manifest: bytes
    files: dict[str, ObjectInfo] = field(default_factory=dict)
    """Without the manifest."""
    sums: dict[str, FileSum] = field(default_factory=dict)
    """With the manifest."""
    damaged: list[str] = field(default_factory=list)


async def inspect(store: ObjectStore, prefix: str, version: int, recorded: Sums) -> Inspected:
    """One read and one listing, at the same time; of a local directory also the bytes of files that are not recorded.
    Raises `ObjectMissing` when the manifest is gone and was not recorded: then the version was cleaned up.

    `recorded` may be of another version. A version was committed before this listing, so all its files are in it.
    """
    own = manifest_name(version)
    key = keys.index_file(prefix, own)
    found, there = await asyncio.gather(read(store, key), listed(store, prefix))
    if found is None and own not in recorded:
        raise ObjectMissing(key)
    try:
        manifest = Manifest(found or b"")
    except IndexDamaged:
        return Inspected(found or b"", damaged=[own])
    assert found is not None
    seen = FileSum(len(found), hashlib.md5(found, usedforsecurity=False).hexdigest())
    has_md5s = own in there and _etag(there[own]) == seen.md5
    files = {name: info for name, info in there.items() if manifest.names(name)}
    sums = {own: seen if has_md5s or store.local_root is not None else FileSum(seen.size_bytes, None)}
    for name, info in files.items():
        sums[name] = FileSum(info.size, _etag(info) if has_md5s else None)
        if store.local_root is not None:
            known = recorded.get(name)
            sums[name] = FileSum(info.size, known.md5 if known is not None else await md5_of(store, info.key))
    damaged = {
        name
        for name, known in recorded.items()
        if name == own or manifest.names(name)
        if name not in sums or not known.agrees(seen if name == own else sums[name])
    }
    return Inspected(found, files, sums, sorted(damaged.union(manifest.missing_from(there))))


async def newest_version(store: ObjectStore, prefix: str) -> int:
    """The one from which the next writer goes on, published or not; 0 when there is none."""
    return max(filter(None, map(version_of, await listed(store, prefix))), default=0)


async def versions_in(store: ObjectStore, prefix: str) -> dict[int, datetime]:
    """Every version that has a manifest, and when that was written."""
    manifests = keys.index_manifests(prefix)
    root = keys.index_table(prefix)
    found = {version_of(info.key.removeprefix(root)): info.last_modified async for info in store.list(manifests)}
    return {version: at for version, at in found.items() if version is not None}


async def turned(store: ObjectStore, prefix: str, sums: Sums) -> Sequence[str]:
    """Reads every file whose MD5 is known, and answers with the names of those whose bytes are others, or gone."""
    wrong = []
    for name, known in sums.items():
        if known.md5 is not None:
            with suppress(ObjectMissing):
                if await md5_of(store, keys.index_file(prefix, name)) == known.md5:
                    continue
            wrong.append(name)
    return wrong


async def md5_of(store: ObjectStore, key: ObjectKey) -> str:
    """Raises `ObjectMissing`."""
    digest = hashlib.md5(usedforsecurity=False)
    async for part in store.stream(key):
        await asyncio.to_thread(digest.update, part)
    return digest.hexdigest()


async def fragments_of(store: ObjectStore, prefix: str, version: int) -> list[Fragment]:
    """Raises `ObjectMissing`, and `IndexDamaged`."""
    return Manifest(await store.get(keys.index_file(prefix, manifest_name(version)))).fragments


async def read(store: ObjectStore, key: ObjectKey) -> bytes | None:
    """None when it is not there."""
    try:
        return await store.get(key)
    except ObjectMissing:
        return None


async def listed(store: ObjectStore, prefix: str) -> dict[str, ObjectInfo]:
    """By name, relative to the table."""
    root = keys.index_table(prefix)
    return {info.key.removeprefix(root): info async for info in store.list(root)}


def _etag(info: ObjectInfo) -> str | None:
    """When it has the form of an MD5."""
    digest = (info.etag or "").strip('"')
    return digest if _MD5.fullmatch(digest) else None
