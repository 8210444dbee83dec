"""Which files a version of a table consists of, and whether they are what was committed.

LanceDB's files never change once they are written. So the sum of a file (`FileSum`) that was taken at one commit holds
for every later version that names it, and one listing tells whether all of them are there and as they were.

Where a sum comes from. A bucket lists the ETag of each object. Of an object that was written by a single request this
is, in most stores, the MD5 of its bytes; whether it is here is seen at the manifest, whose bytes are read anyway. Files
of several parts (beyond 5 MB), and every file where ETags are something else, have a size and no MD5. A local directory
has no ETags; there reading a new file back costs little.

A manifest, as LanceDB 0.40 writes it: the section of indices, the section of the transaction, the table, and at the end
the table's position. The transaction names files that no longer belong to the table; it is left out.
"""

import asyncio
import hashlib
import re
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from s4.engine.vectors.errors import IndexDamaged
from s4.kernel import keys
from s4.kernel.keys import ObjectKey
from s4.platform.objects import ObjectInfo, ObjectMissing, ObjectStore

_NEWEST_FIRST = 2**64 - 1
"""LanceDB names manifests so that a listing gives the newest one first."""
_FOOTER_BYTES = 16  # position of the table, format, and the mark
_MARK = b"LANC"
_LENGTH_BYTES = 4  # before each section
_MD5 = re.compile("[0-9a-f]{32}")
_DELETIONS = re.compile(r"\d+-(\d+)-(\d+)\.(?:arrow|bin)")


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


def manifest_name(version: int) -> str:
    """Below a table's directory."""
    return f"_versions/{_NEWEST_FIRST - version:020d}.manifest"


class Manifest:
    """Tells which files belong to a version. LanceDB gives no list of them, but their names are in the bytes."""

    def __init__(self, data: bytes) -> None:
        """Raises `IndexDamaged` when this is no manifest."""
        position = int.from_bytes(data[-_FOOTER_BYTES : -_FOOTER_BYTES + 8], "little")
        if not data.endswith(_MARK) or position > len(data) - _FOOTER_BYTES:
            raise IndexDamaged("A manifest of the index is damaged.")
        self._table = data[position:]
        self._indices = data[: _LENGTH_BYTES + int.from_bytes(data[:_LENGTH_BYTES], "little")]

    def names(self, name: str) -> bool:
        """Data files stand there by name, indices by the bytes of their UUID, deletions by their two numbers."""
        folder, _, rest = name.partition("/")
        if folder == "data":
            return rest.encode() in self._table
        if folder == "_indices":
            with suppress(ValueError):
                return uuid.UUID(rest.partition("/")[0]).bytes in self._indices
        if folder == "_deletions" and (parts := _DELETIONS.fullmatch(rest)) is not None:
            return b"\x10" + _varint(int(parts[1])) + b"\x18" + _varint(int(parts[2])) in self._table
        return False


async def inspect(store: ObjectStore, prefix: str, version: int, recorded: Sums) -> Inspected:
    """One read and one listing, at the same time; of a local directory also the bytes of files that are not recorded.
    Raises `ObjectMissing` when the manifest is gone and was not recorded: then the version was cleaned up.

    `recorded` may be of another version. A version was committed before this listing, so all its files are in it.
    """
    own = manifest_name(version)
    key = keys.index_file(prefix, own)
    found, listed = await asyncio.gather(_read(store, key), _listed(store, prefix))
    if found is None and own not in recorded:
        raise ObjectMissing(key)
    try:
        manifest = Manifest(found or b"")
    except IndexDamaged:
        return Inspected(found or b"", damaged=[own])
    assert found is not None
    seen = FileSum(len(found), hashlib.md5(found, usedforsecurity=False).hexdigest())
    has_md5s = own in listed and _etag(listed[own]) == seen.md5
    files = {name: info for name, info in listed.items() if manifest.names(name)}
    sums = {own: seen if has_md5s or store.local_root is not None else FileSum(seen.size_bytes, None)}
    for name, info in files.items():
        sums[name] = FileSum(info.size, _etag(info) if has_md5s else None)
        if store.local_root is not None:
            known = recorded.get(name)
            sums[name] = FileSum(info.size, known.md5 if known is not None else await md5_of(store, info.key))
    needed = {own, *(name for name in recorded if manifest.names(name))}
    damaged = [
        name
        for name in sorted(needed & recorded.keys())
        if name not in sums or not recorded[name].agrees(seen if name == own else sums[name])
    ]
    return Inspected(found, files, sums, damaged)


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


async def _read(store: ObjectStore, key: ObjectKey) -> bytes | None:
    try:
        return await store.get(key)
    except ObjectMissing:
        return None


async def _listed(store: ObjectStore, prefix: str) -> dict[str, ObjectInfo]:
    root = keys.index_table(prefix)
    return {info.key.removeprefix(root): info async for info in store.list(root)}


def _etag(info: ObjectInfo) -> str | None:
    """When it has the form of an MD5."""
    digest = (info.etag or "").strip('"')
    return digest if _MD5.fullmatch(digest) else None


def _varint(number: int) -> bytes:
    """As protocol buffers write it."""
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*encoded, number])
