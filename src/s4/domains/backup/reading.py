"""Reading what lies in a backup: objects out of data objects, each held against the sum that was taken when it was
copied."""

import hashlib
from collections.abc import AsyncIterator, Iterable

from s4.domains.backup.model import Entry
from s4.domains.backup.place import Place
from s4.kernel import keys
from s4.kernel.errors import DataCorrupt
from s4.kernel.keys import ObjectKey
from s4.platform.objects import ObjectMissing

_RANGES_MAX = 8  # of a data object: whoever needs more of it reads it as a whole


async def read_together(place: Place, entries: Iterable[Entry], *, encrypted: bool) -> dict[ObjectKey, bytes]:
    """Small ones, each data object read once. Raises `DataCorrupt` unless all are what was copied."""
    by_data: dict[str, list[Entry]] = {}
    for entry in entries:
        by_data.setdefault(entry.data, []).append(entry)
    found: dict[ObjectKey, bytes] = {}
    for name, of in by_data.items():
        if len(of) <= _RANGES_MAX and not encrypted:
            for entry in of:
                content = summed(entry, bytes_of(place, entry, encrypted=False))
                found[entry.key] = b"".join([chunk async for chunk in content])
            continue
        packed = b"".join([chunk async for chunk in place.data(name, encrypted=encrypted)])
        found |= {entry.key: checked(entry, packed) for entry in of}
    return found


async def bytes_of(place: Place, entry: Entry, *, encrypted: bool) -> AsyncIterator[bytes]:
    """Of one entry, by a range where it lies in plain."""
    if not encrypted:
        start, end = entry.offset, entry.offset + entry.size_bytes
        try:
            async for chunk in place.store.stream(keys.backup_data(entry.data), start=start, end=end):
                yield chunk
        except ObjectMissing as error:
            raise DataCorrupt(f"The backup lacks an object: {keys.backup_data(entry.data)}.") from error
        return
    position = 0
    async for chunk in place.data(entry.data, encrypted=True):
        start = max(entry.offset - position, 0)
        end = min(entry.offset + entry.size_bytes - position, len(chunk))
        position += len(chunk)
        if start < end:
            yield chunk[start:end]
        if position >= entry.offset + entry.size_bytes:
            return


def checked(entry: Entry, packed: bytes | bytearray) -> bytes:
    """The bytes of `entry` in a data object. Raises `DataCorrupt` unless they are what was copied."""
    data = bytes(packed[entry.offset : entry.offset + entry.size_bytes])
    digest = digest_of(entry)
    digest.update(data)
    require_sum(entry, digest.hexdigest(), entry.size_bytes - len(data))
    return data


async def summed(entry: Entry, content: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """`content`, which raises `DataCorrupt` at its end unless it is the entry's."""
    digest, left = digest_of(entry), entry.size_bytes
    async for chunk in content:
        digest.update(chunk)
        left -= len(chunk)
        yield chunk
    require_sum(entry, digest.hexdigest(), left)


def require_sum(entry: Entry, found: str, left: int) -> None:
    if left != 0 or not is_sum(entry, found):
        raise DataCorrupt(f"The backup is damaged: {entry.key}, in {keys.backup_data(entry.data)}, is not what it was.")


def is_sum(entry: Entry, found: str) -> bool:
    return found == entry.sum.partition(":")[2]


def digest_of(entry: Entry) -> "hashlib._Hash":
    return hashlib.new(entry.sum.partition(":")[0], usedforsecurity=False)
