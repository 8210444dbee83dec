"""The directory of copies. Every function is synchronous and quick, or is called in a thread.

    tables/{prefix}/chunks.lance/…    as in the store
    locks/{n}                         one process at a time fills or removes what hashes to n
    trash/{token}                     on its way out
    boot                              the machine's start that all this was written in

What is written here is not synced to disk, so that a copy costs little. Files of an earlier start of the machine may
have lost bytes with its power: they are removed. A process that is killed loses nothing that the kernel has.
"""

import fcntl
import hashlib
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from s4.kernel.keys import INDEX_TABLE

_LOCKS = 1024  # two tables share one rarely; then one of them is read from the store for the while of a fill
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True)
class FoundCopy:
    """What an earlier process left. `used` is the modification time of its directory, in seconds."""

    prefix: str
    size_bytes: int
    used: float


class CopiesDirectory:
    """Below `root`, which `prepare` makes for its owner alone: it holds what tenants wrote."""

    def __init__(self, root: Path) -> None:
        self._tables = root / "tables"
        self._locks = root / "locks"
        self._trash = root / "trash"
        self._boot = root / "boot"
        self._root = root

    def prepare(self) -> None:
        """Makes the folders, and removes what is not to be trusted."""
        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
        for folder in (self._tables, self._locks, self._trash):
            folder.mkdir(mode=0o700, exist_ok=True)
        boot = _boot_id()
        if boot is None or not self._boot.exists() or self._boot.read_text() != boot:
            self._discard(self._tables)
            self._tables.mkdir(mode=0o700, exist_ok=True)
            self._boot.write_text(boot or "unknown")
        self.empty_trash()

    def take_stock(self) -> list[FoundCopy]:
        """What is there, by whichever process, the least recently used first."""
        found = []
        for table in self._tables.rglob(f"{INDEX_TABLE}.lance"):
            with suppress(FileNotFoundError):  # removed by another process
                prefix = table.parent.relative_to(self._tables).as_posix()
                found.append(FoundCopy(prefix, _size_bytes(table.parent), table.parent.stat().st_mtime))
        return sorted(found, key=lambda copy: copy.used)

    def place(self, prefix: str) -> Path:
        """What LanceDB opens as a database."""
        return self._tables / prefix

    def table(self, prefix: str) -> Path:
        return self.place(prefix) / f"{INDEX_TABLE}.lance"

    def touch(self, prefix: str) -> None:
        """Says to other processes, and to the next one, that it was used."""
        with suppress(FileNotFoundError):
            os.utime(self.place(prefix))

    def used(self, prefix: str) -> float:
        """When any process used it last; 0 when it is gone."""
        try:
            return self.place(prefix).stat().st_mtime
        except FileNotFoundError:
            return 0.0

    @contextmanager
    def locked(self, prefix: str) -> Iterator[bool]:
        """False when another process fills or removes this copy at the moment. Held by the process, not a thread."""
        number = int.from_bytes(hashlib.sha256(prefix.encode()).digest()[:4]) % _LOCKS
        with (self._locks / f"{number:04d}").open("wb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
                return
            yield True

    def keep_only(self, prefix: str, names: set[str]) -> int:
        """Removes every file of a table that is not among `names` (relative to its directory). Answers with the size of
        what stays."""
        table = self.table(prefix)
        for path in list(table.rglob("*")):
            if path.is_file() and path.relative_to(table).as_posix() not in names:
                path.unlink(missing_ok=True)
        return _size_bytes(table)

    def remove(self, prefix: str) -> None:
        """In one step, so that nobody meets half a copy; those who read it meet a missing file."""
        self._discard(self.place(prefix))
        self.empty_trash()

    def empty_trash(self) -> None:
        shutil.rmtree(self._trash, ignore_errors=True)
        self._trash.mkdir(mode=0o700, exist_ok=True)

    def _discard(self, folder: Path) -> None:
        with suppress(FileNotFoundError):
            folder.rename(self._trash / secrets.token_hex(16))


def _size_bytes(folder: Path) -> int:
    """Of all files below `folder`."""
    total = 0
    for path in folder.rglob("*"):
        with suppress(FileNotFoundError):
            total += path.stat().st_size if path.is_file() else 0
    return total


def _boot_id() -> str | None:
    """None where the kernel does not say."""
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return None
