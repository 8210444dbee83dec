"""One fill: what a version needs, of that what is missing, and the manifest last."""

import asyncio
import secrets
import uuid
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from s4.engine.vectors.copies.disk import CopiesDirectory, manifest_name
from s4.kernel import keys
from s4.kernel.keys import ObjectKey, ObjectPrefix
from s4.kernel.units import MIB
from s4.platform.objects import ObjectInfo, ObjectStore

RANGE_BYTES = 4 * MIB  # some tens of ranges of a table of 100,000 chunks; sixteen at once take 64 MiB of memory
_READ_FOR_SEARCHES = ("data", "_indices", "_deletions")
"""Of a table's folders. The others are history, and the hint of which version is the latest, which is mutable."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a version of a table needs, and what of it is not there yet. Names are relative to the table."""

    prefix: str
    version: int
    manifest: bytes
    files: dict[str, ObjectInfo]
    missing: dict[str, ObjectInfo]

    @property
    def size_bytes(self) -> int:
        return len(self.manifest) + sum(info.size for info in self.files.values())

    @property
    def missing_bytes(self) -> int:
        return sum(info.size for info in self.missing.values())


async def plan(store: ObjectStore, directory: CopiesDirectory, prefix: str, version: int) -> Plan:
    """One read and one listing, at the same time. Raises `ObjectMissing` when the version was cleaned up.

    The version was committed before this listing, so all its files are in it.
    """
    root = keys.index_table(prefix)
    manifest, listed = await asyncio.gather(
        store.get(keys.index_file(prefix, manifest_name(version))), _listed(store, root)
    )
    files = {name: info for name, info in listed.items() if _is_needed(name, manifest)}
    table = directory.table(prefix)
    missing = await asyncio.to_thread(
        lambda: {name: info for name, info in files.items() if not _is_there(table / name, info.size)}
    )
    return Plan(prefix, version, manifest, files, missing)


async def carry_out(plan: Plan, store: ObjectStore, directory: CopiesDirectory, gate: asyncio.Semaphore) -> None:
    """Fetches what is missing, as many ranges at once as the gate lets through, then writes the manifest.

    Raises a group of `S4Error` of the store and `OSError` of the local disk; what came stays.
    """
    table = directory.table(plan.prefix)
    async with asyncio.TaskGroup() as fetching:
        for name, info in plan.missing.items():
            fetching.create_task(_fetch(store, info, table / name, gate))
    await asyncio.to_thread(_write, table / manifest_name(plan.version), plan.manifest)


def names_on_disk(directory: CopiesDirectory, prefix: str, version: int) -> set[str]:
    """Of the files that a version needs, by its manifest on disk. Raises `FileNotFoundError` when it was removed."""
    table = directory.table(prefix)
    manifest = (table / manifest_name(version)).read_bytes()
    names = (path.relative_to(table).as_posix() for path in table.rglob("*"))
    return {manifest_name(version), *(name for name in names if _is_needed(name, manifest))}


async def _listed(store: ObjectStore, root: ObjectPrefix) -> dict[str, ObjectInfo]:
    return {info.key.removeprefix(root): info async for info in store.list(root)}


def _is_needed(name: str, manifest: bytes) -> bool:
    """Whether the manifest names the file: data by name, an index by the bytes of its UUID.

    Names of deletion files are made of numbers; all are taken, they are small.
    """
    folder, _, rest = name.partition("/")
    if folder not in _READ_FOR_SEARCHES:
        return False
    if folder == "data":
        return rest.encode() in manifest
    if folder == "_indices":
        with suppress(ValueError):
            return uuid.UUID(rest.partition("/")[0]).bytes in manifest
    return True


def _is_there(path: Path, size_bytes: int) -> bool:
    try:
        return path.stat().st_size == size_bytes
    except FileNotFoundError:
        return False


async def _fetch(store: ObjectStore, info: ObjectInfo, target: Path, gate: asyncio.Semaphore) -> None:
    part = await asyncio.to_thread(_opened, target)
    try:
        async with asyncio.TaskGroup() as fetching:
            for start in range(0, info.size, RANGE_BYTES):
                end = min(start + RANGE_BYTES, info.size)
                fetching.create_task(_fetch_range(store, info.key, part, start, end, gate))
        await asyncio.to_thread(part.rename, target)
    finally:
        part.unlink(missing_ok=True)


async def _fetch_range(
    store: ObjectStore, key: ObjectKey, part: Path, start: int, end: int, gate: asyncio.Semaphore
) -> None:
    async with gate:
        data = await store.get_range(key, start, end)  # all of it, or it raises
        await asyncio.to_thread(_write_at, part, start, data)


def _opened(target: Path) -> Path:
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}.{secrets.token_hex(8)}")
    part.touch(mode=0o600)
    return part


def _write_at(path: Path, start: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(start)
        file.write(data)


def _write(target: Path, data: bytes) -> None:
    part = _opened(target)
    try:
        part.write_bytes(data)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
