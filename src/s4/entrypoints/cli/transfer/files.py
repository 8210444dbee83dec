"""Finds files and gives them keys.

Files are found one at a time, while others are already on their way: of a directory with a hundred thousand files no
list is made but the names of each single directory. What cannot be uploaded comes out as an outcome that says why.
"""

import asyncio
import contextlib
import hashlib
import os
import stat
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from s4.entrypoints.cli.transfer.manifest import Manifest
from s4.entrypoints.cli.transfer.outcomes import Action, Failure, Outcome, failure_of
from s4.entrypoints.cli.transfer.selection import Selection

if TYPE_CHECKING:
    from s4.entrypoints.cli.transfer.documents import KnownDocument

KEY_BYTES_MAX = 1024
"""The server's bound (`docs/guide/documents.md`); told here, it costs no request."""
PIECE_BYTES = 1024 * 1024
"""Hashed at a time in a thread: an interruption waits for no more than this."""


@dataclass(frozen=True, slots=True)
class LocalFile:
    """A regular file, the key that its document has, and metadata of its own."""

    path: Path
    key: str
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @property
    def size_bytes(self) -> int:
        return self.path.stat().st_size

    async def is_same(self, known: "KnownDocument") -> bool:
        """Sizes are compared first, since that costs nothing; times are not, since copying changes them."""
        return self.size_bytes == known.size_bytes and await sha256_of(self.path) == known.sha256

    async def fetch(self) -> Path:
        return self.path

    def release(self) -> None:
        """Nothing was fetched."""


class UnfitKey(Exception):
    """Raised with a `Failure`."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


def folder_prefix(prefix: str) -> str:
    """A prefix names a folder of keys: `reports` means `reports/`, and never `reports-of-others/`."""
    return prefix if not prefix or prefix.endswith("/") else f"{prefix}/"


def key_for(prefix: str, relative: str) -> str:
    """The key of the file at that path. Raises `UnfitKey` when the path cannot be one."""
    try:
        (prefix + relative).encode()
    except UnicodeEncodeError as error:
        raise UnfitKey(Failure("bad_name", "Its name is not UTF-8: rename it.")) from error
    # Composed (NFC): the same name, typed on another system, is the same key.
    key = unicodedata.normalize("NFC", prefix + relative)
    if any(unicodedata.category(character) == "Cc" for character in key):
        raise UnfitKey(Failure("bad_name", "Its name holds control characters, such as a line break: rename it."))
    if len(key.encode()) > KEY_BYTES_MAX:
        raise UnfitKey(Failure("name_too_long", f"Prefix and path have more than {KEY_BYTES_MAX} bytes: shorten them."))
    return key


@dataclass(slots=True)
class Finder:
    """Iterates over the files below `paths`, sorted within each directory. Read once.

    `covered` gathers the relative paths of what is there and was not looked into: nothing below them counts as missing.
    `files_found` counts the files of directories.
    """

    paths: Sequence[Path]
    prefix: str
    selection: Selection = field(default_factory=Selection)
    name: str | None = None
    """In place of the name of the only path, a file."""
    manifest: Manifest = field(default_factory=Manifest)
    covered: list[str] = field(default_factory=list)
    files_found: int = 0

    def named_keys(self) -> list[str]:
        """Of paths that are files."""
        found = [self._named(path) for path in self.paths]
        return [each.key for each in found if isinstance(each, LocalFile)]

    def __iter__(self) -> Iterator[LocalFile | Outcome]:
        for path in self.paths:
            if path.is_dir():
                yield from self._below(path)
            else:
                yield self._named(path)

    def _named(self, path: Path) -> LocalFile | Outcome:
        """A file that was named is taken whatever it is called; a link that was named is followed."""
        try:
            is_regular = stat.S_ISREG(path.stat().st_mode)
        except OSError as error:
            return Outcome(path=str(path), action=Action.REFUSED, failure=failure_of(error))
        if not is_regular:
            failure = Failure("not_a_file", "It is no regular file: pipe it to `s4 upload -`.")
            return Outcome(path=str(path), action=Action.REFUSED, failure=failure)
        return self._file(path, self.name or path.name)

    def _below(self, directory: Path) -> Iterator[LocalFile | Outcome]:
        """Depth first, on a stack of its own: a hostile tree is deeper than Python's."""
        open_directories = [self._entries(directory, "")]
        while open_directories:
            for entry, relative in open_directories[-1]:
                if isinstance(entry, Outcome):
                    yield entry
                elif entry.is_dir(follow_symlinks=False):
                    if self.selection.enters(relative):
                        open_directories.append(self._entries(Path(entry.path), relative))
                        break
                elif self.selection.takes(relative):
                    yield self._entry(entry, relative)
            else:
                open_directories.pop()

    def _entries(self, directory: Path, relative: str) -> Iterator[tuple["os.DirEntry[str] | Outcome", str]]:
        try:
            with os.scandir(directory) as scan:
                entries = sorted(scan, key=lambda entry: entry.name)
        except OSError as error:
            yield self._unread(directory, relative, error), relative
            return
        for entry in entries:
            yield entry, f"{relative}/{entry.name}" if relative else entry.name

    def _unread(self, directory: Path, relative: str, error: OSError) -> Outcome:
        self.covered.append(unicodedata.normalize("NFC", relative))
        failure = Failure("file_error", f"The directory cannot be read: {error.strerror or error}.")
        return Outcome(path=str(directory), action=Action.REFUSED, failure=failure)

    def _entry(self, entry: "os.DirEntry[str]", relative: str) -> LocalFile | Outcome:
        if entry.is_symlink():
            failure = Failure("symlink", "It is a symbolic link: name its target to upload that.")
        elif not entry.is_file(follow_symlinks=False):
            failure = Failure("not_a_file", "It is no regular file.")
        else:
            self.files_found += 1
            return self._file(Path(entry.path), relative)
        self.covered.append(unicodedata.normalize("NFC", relative))
        return Outcome(path=entry.path, action=Action.SKIPPED, failure=failure)

    def _file(self, path: Path, relative: str) -> LocalFile | Outcome:
        try:
            return LocalFile(path, key_for(self.prefix, relative), self.manifest.of(relative))
        except UnfitKey as unfit:
            return Outcome(path=str(path), action=Action.REFUSED, failure=unfit.failure)


async def sha256_of(path: Path) -> str:
    """In hexadecimal; read piece by piece in threads."""
    digest = hashlib.sha256()
    with contextlib.closing(await asyncio.to_thread(path.open, "rb")) as file:

        def add_piece() -> bool:
            piece = file.read(PIECE_BYTES)
            digest.update(piece)
            return bool(piece)

        while await asyncio.to_thread(add_piece):
            pass
    return digest.hexdigest()
