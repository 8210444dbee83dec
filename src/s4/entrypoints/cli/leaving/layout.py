"""An export on disk.

The manifest comes last and names the list of all files with their sums: a directory without one is no export, but the
beginning of one, whose journal says which parts are whole.
"""

import contextlib
import hashlib
import json
import os
import re
import secrets
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from s4.entrypoints.cli.options import WrongUsage

FORMAT = "s4-tenant-export"
FORMAT_VERSION = 2
"""As the server's (`domains/leaving/model.py`): the command line imports no domains, which take a second."""
_READS = (1, FORMAT_VERSION)
"""Version 1 knows no holds and no archive of documents: what is loaded from it has none."""
MANIFEST = "manifest.json"
FILES = "files.jsonl"
TENANT = "tenant.json"
GENERATIONS = "generations.json"
RECORDS = ("usage", "endpoints", "audit")
_AT_THE_TOP = {MANIFEST, FILES, TENANT, GENERATIONS, *(f"{kind}.jsonl" for kind in RECORDS)}
_JOURNAL = "export.journal"
_OURS = re.compile(
    r"(content/../doc_\w+|text/../doc_\w+\.json|documents/\d+\.jsonl|chunks/gen_\w+/\d+\.parquet"
    r"|embeddings/[^/]+/[0-9a-f]{2}\.parquet)"
)
_PART = re.compile(r"\.(.+)\.[0-9a-f]{8}\.part")
"""What is written beside its place before it is moved there (`write` below, and s4client)."""
_PIECE_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class FileEntry:
    """A file of an export, by its path below it, with slashes."""

    path: str
    size_bytes: int
    sha256: str

    def to_dict(self) -> dict[str, Any]:
        return {"path": self.path, "size": self.size_bytes, "sha256": self.sha256}

    @classmethod
    def of(cls, said: Mapping[str, Any]) -> "FileEntry":
        return cls(_text(said["path"]), _number(said["size"]), _text(said["sha256"]))


class Folder:
    """The directory of one export."""

    def __init__(self, root: Path) -> None:
        self.root = root

    # -- names

    def content(self, document_id: str) -> str:
        """Spread over directories by the id's last two characters: file systems dislike a hundred thousand in one."""
        return f"content/{document_id[-2:]}/{document_id}"

    def text(self, document_id: str) -> str:
        return f"text/{document_id[-2:]}/{document_id}.json"

    def documents(self, part: int) -> str:
        return f"documents/{part:06d}.jsonl"

    def chunks(self, generation: str, part: int) -> str:
        return f"chunks/{generation}/{part:06d}.parquet"

    def embeddings(self, space: str, part: str) -> str:
        return f"embeddings/{space}/{part}.parquet"

    def records(self, kind: str) -> str:
        return f"{kind}.jsonl"

    def path(self, name: str) -> Path:
        """Raises `WrongUsage` for a name that leads elsewhere: an export may come from a stranger."""
        parts = PurePosixPath(name).parts
        if not parts or name.startswith("/") or ".." in parts or "\0" in name:
            raise WrongUsage(f"The export names the file {name!r}, which is not in it.")
        return self.root.joinpath(*parts)

    # -- writing

    def prepare(self, name: str) -> Path:
        """Where to write it; its directory is there."""
        path = self.path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def write(self, name: str, pieces: Iterable[bytes]) -> FileEntry:
        """There whole or not at all, and on disk."""
        path = self.prepare(name)
        part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
        try:
            with part.open("xb") as file:
                for piece in pieces:
                    file.write(piece)
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)
        return self.entry(name)

    def write_json(self, name: str, value: Any) -> FileEntry:
        return self.write(name, [json.dumps(value, ensure_ascii=False, indent=2).encode() + b"\n"])

    def entry(self, name: str) -> FileEntry:
        """Reads the file to take its sum."""
        path = self.path(name)
        return FileEntry(name, path.stat().st_size, sha256_of(path))

    # -- the journal of an export that is not whole

    def journal(self) -> list[dict[str, Any]]:
        try:
            lines = (self.root / _JOURNAL).read_bytes().split(b"\n")
        except FileNotFoundError:
            return []
        return [json.loads(line) for line in lines[:-1]]  # the last one has no end: a crash was in the middle of it

    def note(self, said: Mapping[str, Any]) -> None:
        with (self.root / _JOURNAL).open("ab") as file:
            file.write(json.dumps(said, ensure_ascii=False, separators=(",", ":")).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())

    def mend_journal(self) -> None:
        """Takes a line off that was cut short."""
        path = self.root / _JOURNAL
        if path.exists():
            with path.open("r+b") as file:
                kept = file.read().rfind(b"\n") + 1
                file.truncate(kept)

    def finish(self, entries: Iterable[FileEntry], said: Mapping[str, Any]) -> None:
        """The list of files, then the manifest; then the journal goes."""
        entries = [*entries]
        self._sweep({each.path for each in entries})
        lines = (json.dumps(each.to_dict(), separators=(",", ":")).encode() + b"\n" for each in entries)
        files = self.write(FILES, lines)
        head = {"format": FORMAT, "format_version": FORMAT_VERSION}
        self.write_json(MANIFEST, head | dict(said) | {"files": files.to_dict()})
        (self.root / _JOURNAL).unlink(missing_ok=True)

    def _sweep(self, listed: set[str]) -> None:
        """Removes what the list does not name: bytes of documents that were deleted or replaced before their part was
        whole, and what a crash cut short. Only what an export writes: the directory may hold other things."""
        for path in self.root.rglob("*"):
            name = path.relative_to(self.root).as_posix()
            cut = _PART.fullmatch(path.name)
            whole = path.with_name(cut[1]).relative_to(self.root).as_posix() if cut else name
            is_ours = _OURS.fullmatch(whole) or (cut and whole in _AT_THE_TOP)
            if is_ours and name not in listed and path.is_file():
                path.unlink()

    # -- reading

    @property
    def is_whole(self) -> bool:
        return (self.root / MANIFEST).exists()

    def manifest(self) -> dict[str, Any]:
        """Raises `WrongUsage` where there is none, or of a form that this release does not read."""
        try:
            said = json.loads((self.root / MANIFEST).read_bytes())
        except FileNotFoundError as error:
            raise WrongUsage(f"{self.root} is no export: it has no {MANIFEST}, which is written last.") from error
        except ValueError as error:
            raise WrongUsage(f"The {MANIFEST} of {self.root} is damaged.") from error
        if not isinstance(said, dict) or said.get("format") != FORMAT:
            raise WrongUsage(f"{self.root} is no export of a tenant.")
        if said.get("format_version") not in _READS:
            raise WrongUsage(
                f"The export has version {said.get('format_version')}; this release reads "
                f"{', '.join(map(str, _READS))}."
            )
        with _expected(MANIFEST):
            FileEntry.of(said["files"])
            _number(said["content_bytes"])
        return said

    def tenant(self) -> dict[str, Any]:
        """Raises `WrongUsage` as `lines` does."""
        with _expected(TENANT):
            said = _object(self.path(TENANT).read_bytes())
            for name in ("id", "name"):
                _text(said[name])
            said["keeping"] = dict(said.get("keeping") or {})
            if (hold := said.get("legal_hold")) is not None:
                _text(hold["reason"])
        return said

    def files(self, manifest: Mapping[str, Any]) -> Iterator[FileEntry]:
        """Every file that the manifest vouches for. Raises `WrongUsage` when the list is not the manifest's."""
        said = FileEntry.of(manifest["files"])
        self.require(said)
        with self.path(said.path).open("rb") as file:
            for line in file:
                with _expected(FILES):
                    entry = FileEntry.of(_object(line))
                yield entry

    def holds(self, entry: FileEntry) -> bool:
        """Whether the file is there, and is what the list says. Reads it."""
        try:
            return self.entry(entry.path) == entry
        except OSError:
            return False

    def require(self, entry: FileEntry) -> None:
        """Raises `WrongUsage` for a file that is not what the list says."""
        if not self.holds(entry):
            raise WrongUsage(f"{entry.path} is not what the manifest says: the export is damaged.")

    def lines(self, name: str) -> Iterator[dict[str, Any]]:
        """Documents. Raises `WrongUsage` for what no export has there."""
        with self.path(name).open("rb") as file:
            for line in file:
                with _expected(name):
                    said = _object(line)
                    _text(said["document_id"])
                    _number(said["size"])
                yield said


@contextlib.contextmanager
def _expected(name: str) -> Iterator[None]:
    """Whatever its sum is: an export may come from a stranger."""
    try:
        yield
    except (AttributeError, LookupError, RecursionError, TypeError, ValueError) as error:
        raise WrongUsage(
            f"{name} does not hold what an export has there: it is damaged, or of another make."
        ) from error


def _object(data: bytes) -> dict[str, Any]:
    said = json.loads(data)
    json.dumps(said, ensure_ascii=False).encode()  # fails at half of a surrogate pair, which nothing can send
    if not isinstance(said, dict):
        raise TypeError
    return said


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _number(value: Any) -> int:
    if not isinstance(value, int):
        raise TypeError
    return value


def sha256_of(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(_PIECE_BYTES):
            digest.update(piece)
    return digest.hexdigest()
