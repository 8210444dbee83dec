"""Whether a backup is what was written: its manifest, its lists, and the bytes of its objects.

Every data object is looked for in a listing, with its size. Then bytes are read and summed: all of them, or as many as
a budget allows, drawn at random, so that regular checks of a part see all of it in time.

A backup that is removed meanwhile lacks more and more. Its manifest goes first: by that it is told from a damaged one.
"""

import hashlib
import random
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

import structlog

from s4.domains.backup.creator import Progress, silent
from s4.domains.backup.model import LATEST, Entry, Manifest, superseded
from s4.domains.backup.place import Place
from s4.kernel import keys
from s4.kernel.errors import DataCorrupt, NotFound

log = structlog.get_logger()

_SHOWN = 20


@dataclass(slots=True)
class Verification:
    """`problems` are sentences; the first ones of `problems_count`."""

    backup_id: str
    objects: int = 0
    objects_read: int = 0
    bytes_read: int = 0
    problems_count: int = 0
    problems: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return self.problems_count == 0

    def add(self, problem: str) -> None:
        self.problems_count += 1
        if len(self.problems) < _SHOWN:
            self.problems.append(problem)

    def tell(self) -> None:
        for problem in self.problems:
            log.error("backup.damaged", backup_id=self.backup_id, problem=problem)


class Verifier:
    """Reads a place, changes nothing."""

    def __init__(self, place: Place) -> None:
        self._place = place

    async def verify(
        self, wanted: str, *, newest_made: str | None, bytes_max: int | None = None, progress: Progress = silent
    ) -> tuple[Manifest | None, Verification]:
        """Of `latest` or a backup by its id. `newest_made`: which is the latest by the catalog, if there is one to ask.
        `bytes_max`: about how much is read, None for all of it. Raises `NotFound` when there is no such backup, or no
        more, `InvalidRequest` when it is encrypted under another key."""
        found = Verification(wanted)
        manifest = None
        try:
            manifest = await self._place.find(wanted)
            found.backup_id = manifest.backup_id
            if wanted == LATEST and (gone := superseded(manifest, newest_made)):
                found.add(gone)
            await self._look(manifest, found, bytes_max, progress)
            if not found.ok:
                await self._place.manifest(manifest.backup_id)
        except DataCorrupt as error:
            found.add(error.message)
        except NotFound:
            if manifest is None or wanted != LATEST:
                raise
            return await self.verify(wanted, newest_made=newest_made, bytes_max=bytes_max, progress=progress)
        found.tell()
        return manifest, found

    async def _look(self, manifest: Manifest, found: Verification, bytes_max: int | None, progress: Progress) -> None:
        for said in manifest.lacked:
            found.add(said)
        by_data: dict[str, list[Entry]] = defaultdict(list)
        try:
            async for entry in self._place.entries(manifest):
                by_data[entry.data].append(entry)
                found.objects += 1
            await self._place.samples(manifest)
        except DataCorrupt as error:
            found.add(error.message)
        encrypted = manifest.encrypted_under is not None
        stored = await self._place.data_sizes()
        sound = [name for name, entries in by_data.items() if self._is_there(name, entries, stored, encrypted, found)]
        for name in _drawn(sound, by_data, bytes_max):
            await self._read(name, by_data[name], encrypted, found)
            progress("verifying", found.objects_read, found.bytes_read)

    def _is_there(
        self, name: str, entries: Sequence[Entry], stored: dict[str, int], encrypted: bool, found: Verification
    ) -> bool:
        plain_bytes = max(entry.offset + entry.size_bytes for entry in entries)
        needed = self._place.stored_bytes(plain_bytes, encrypted=encrypted)
        size_bytes = stored.get(name)
        if size_bytes is None:
            found.add(f"{keys.backup_data(name)} is missing; it holds {_named(entries)}.")
        elif size_bytes < needed:
            found.add(f"{keys.backup_data(name)} is cut; it holds {_named(entries)}.")
        return size_bytes is not None and size_bytes >= needed

    async def _read(self, name: str, entries: list[Entry], encrypted: bool, found: Verification) -> None:
        """One data object, from its beginning to its end, with the sums of all that lies in it."""
        sums = [(entry, hashlib.new(entry.sum.partition(":")[0], usedforsecurity=False)) for entry in entries]
        position = 0
        try:
            async for chunk in self._place.data(name, encrypted=encrypted):
                for entry, digest in sums:
                    start = max(entry.offset - position, 0)
                    end = min(entry.offset + entry.size_bytes - position, len(chunk))
                    if start < end:
                        digest.update(memoryview(chunk)[start:end])
                position += len(chunk)
        except DataCorrupt as error:
            found.add(f"{keys.backup_data(name)}: {error.message} It holds {_named(entries)}.")
            return
        found.bytes_read += position
        for entry, digest in sums:
            found.objects_read += 1
            if digest.hexdigest() != entry.sum.partition(":")[2]:
                found.add(f"{entry.key} is not what was copied, in {keys.backup_data(name)}.")


def _drawn(names: list[str], by_data: dict[str, list[Entry]], bytes_max: int | None) -> list[str]:
    if bytes_max is None:
        return names
    shuffled = random.sample(names, len(names))
    taken: list[str] = []
    total = 0
    for name in shuffled:
        if taken and total >= bytes_max:
            break
        taken.append(name)
        total += sum(entry.size_bytes for entry in by_data[name])
    return taken


def _named(entries: Sequence[Entry]) -> str:
    rest = f" and {len(entries) - 1} more" if len(entries) > 1 else ""
    return f"{entries[0].key}{rest}"
