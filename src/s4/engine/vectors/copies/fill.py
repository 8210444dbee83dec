"""One fill: what a version needs, of that what is missing, and the manifest last."""

import asyncio
import hashlib
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from s4.engine.vectors.copies.disk import CopiesDirectory
from s4.engine.vectors.errors import IndexDamaged
from s4.engine.vectors.files import FileSum, Sums, inspect
from s4.engine.vectors.manifest import Manifest, manifest_name
from s4.kernel.keys import ObjectKey
from s4.kernel.units import MIB
from s4.platform.objects import ObjectInfo, ObjectStore

RANGE_BYTES = 8 * MIB  # a far store takes its time to begin, so a table of 100,000 chunks is fetched in one wave
_FETCHES_MAX = 2  # of a file whose bytes are others than were committed: what turned on the way is right the next time


@dataclass(frozen=True, slots=True)
class Plan:
    """What a version of a table needs, and what of it is not there yet. Names are relative to the table."""

    prefix: str
    version: int
    manifest: bytes
    files: dict[str, ObjectInfo]
    sums: Sums
    missing: dict[str, ObjectInfo]

    @property
    def size_bytes(self) -> int:
        return len(self.manifest) + sum(info.size for info in self.files.values())

    @property
    def missing_bytes(self) -> int:
        return sum(info.size for info in self.missing.values())


async def plan(store: ObjectStore, directory: CopiesDirectory, prefix: str, version: int, recorded: Sums) -> Plan:
    """One read and one listing, at the same time. Raises `ObjectMissing` when the version was cleaned up,
    `IndexDamaged` when what is there is not what was `recorded` at a commit."""
    found = await inspect(store, prefix, version, recorded)
    if found.damaged:
        raise IndexDamaged("Files of this index are damaged.", details={"files": found.damaged})
    table = directory.table(prefix)
    missing = await asyncio.to_thread(
        lambda: {name: info for name, info in found.files.items() if not _is_there(table / name, info.size)}
    )
    sums = {name: recorded.get(name, known) for name, known in found.sums.items()}
    return Plan(prefix, version, found.manifest, found.files, sums, missing)


async def carry_out(plan: Plan, store: ObjectStore, directory: CopiesDirectory, gate: asyncio.Semaphore) -> None:
    """Fetches what is missing, as many ranges at once as the gate lets through, then writes the manifest.

    Raises a group of `S4Error` of the store, `IndexDamaged` among them, and `OSError` of the local disk; what came
    stays.
    """
    table = directory.table(plan.prefix)
    async with asyncio.TaskGroup() as fetching:
        for name, info in plan.missing.items():
            fetching.create_task(_fetch(store, info, plan.sums[name], table / name, gate))
    await asyncio.to_thread(_write, table / manifest_name(plan.version), plan.manifest)


def names_on_disk(directory: CopiesDirectory, prefix: str, version: int) -> set[str]:
    """Of the files that a version needs, by its manifest on disk. Raises `FileNotFoundError` when it was removed,
    `IndexDamaged` when it cannot be read."""
    table = directory.table(prefix)
    manifest = Manifest((table / manifest_name(version)).read_bytes())
    names = (path.relative_to(table).as_posix() for path in table.rglob("*"))
    return {manifest_name(version), *(name for name in names if manifest.names(name))}


def _is_there(path: Path, size_bytes: int) -> bool:
    try:
        return path.stat().st_size == size_bytes
    except FileNotFoundError:
        return False


async def _fetch(store: ObjectStore, info: ObjectInfo, known: FileSum, target: Path, gate: asyncio.Semaphore) -> None:
    part = await asyncio.to_thread(_opened, target)
    try:
        for _ in range(_FETCHES_MAX):
            async with asyncio.TaskGroup() as fetching:
                for start in range(0, info.size, RANGE_BYTES):
                    end = min(start + RANGE_BYTES, info.size)
                    fetching.create_task(_fetch_range(store, info.key, part, start, end, gate))
            if known.md5 is None or known.md5 == await asyncio.to_thread(_md5, part):
                await asyncio.to_thread(part.rename, target)
                return
        raise IndexDamaged("A file of this index is damaged.", details={"files": [target.name]})
    finally:
        part.unlink(missing_ok=True)


async def _fetch_range(
    store: ObjectStore, key: ObjectKey, part: Path, start: int, end: int, gate: asyncio.Semaphore
) -> None:
    async with gate:
        async for piece in store.stream(key, start=start, end=end):  # all of it, or it raises
            await asyncio.to_thread(_write_at, part, start, piece)
            start += len(piece)


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def damage_in(errors: BaseExceptionGroup[BaseException]) -> IndexDamaged | None:
    """What a fill found out about the bucket, if anything."""
    found: BaseException | None = errors.subgroup(IndexDamaged)
    while isinstance(found, BaseExceptionGroup):
        found = found.exceptions[0]
    return found if isinstance(found, IndexDamaged) else None


def _opened(target: Path) -> Path:
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}.{secrets.token_hex(8)}")
    part.touch(mode=0o600)
    return part


def _write_at(path: Path, start: int, data: bytes) -> None:
    """Raises `OSError` for what the disk has no room for: a call may write a part, and the next one says why."""
    left = memoryview(data)
    with path.open("r+b", buffering=0) as file:
        while left:
            written = os.pwrite(file.fileno(), left, start)
            left, start = left[written:], start + written


def _write(target: Path, data: bytes) -> None:
    part = _opened(target)
    try:
        part.write_bytes(data)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
