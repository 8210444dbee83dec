"""Which files a version of a table consists of: LanceDB gives no list of them, but its manifests name them.

A manifest, as LanceDB 0.40 writes it: the section of indices, the one of the transaction by which it came to be, the
table, and at the end the table's position. The transaction also names files that belong to the table no longer.

It is read by the numbers of fields in Lance's `table.proto`, which stay what they are as long as there are such files.
"""

import uuid
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

from s4.engine.vectors.errors import IndexDamaged

_NEWEST_FIRST = 2**64 - 1
"""LanceDB names manifests so that a listing gives the newest one first."""
_FOOTER_BYTES = 16  # position of the table, format, and the mark
_MARK = b"LANC"
_LENGTH_BYTES = 4  # before each section
_SUFFIX = {0: "arrow", 1: "bin"}  # by `DeletionFile.file_type`

Value: TypeAlias = Any
"""An `int`, or `bytes`: whoever reads a field knows which."""


def manifest_name(version: int) -> str:
    """Below a table's directory."""
    return f"_versions/{_NEWEST_FIRST - version:020d}.manifest"


def version_of(name: str) -> int | None:
    """Of a manifest, by its name below the table's directory."""
    number = name.removeprefix("_versions/").removesuffix(".manifest")
    return _NEWEST_FIRST - int(number) if name == f"_versions/{number}.manifest" and number.isdecimal() else None


@dataclass(frozen=True, slots=True)
class Fragment:
    """A piece of the table, older than those of higher ids."""

    fragment_id: int
    rows: int
    """That are not deleted."""
    deleted: int = 0


class Manifest:
    """Of one version. Names are below the table's directory."""

    def __init__(self, data: bytes) -> None:
        """Raises `IndexDamaged` when this is no manifest."""
        self.fragments: list[Fragment] = []
        """In the order of their ids."""
        self.transaction: str | None = None
        """The file of the commit that made the version. No reader needs it."""
        self._files: set[str] = set()
        """Of data and deletions."""
        self._indices: set[str] = set()
        """Their directories, of which each holds files as its kind has them."""
        try:
            self._read(data)
        except (ValueError, IndexError, KeyError, AttributeError, TypeError) as error:
            raise IndexDamaged("A manifest of the index is damaged.") from error

    def names(self, name: str) -> bool:
        """Whether it is a file of this version."""
        return name in self._files or "/".join(name.split("/")[:2]) in self._indices

    def missing_from(self, listed: Collection[str]) -> list[str]:
        """Of its files, and of indices that have none at all."""
        there = {"/".join(name.split("/")[:2]) for name in listed}
        return sorted((self._files - set(listed)) | (self._indices - there))

    def _read(self, data: bytes) -> None:
        if not data.endswith(_MARK):
            raise ValueError("it does not end as one")
        table = _section(data, int.from_bytes(data[-_FOOTER_BYTES : -_FOOTER_BYTES + 8], "little"))
        for number, value in table:
            if number == 2:  # DataFragment
                self._read_fragment(_fields(value))
            if number == 12:  # transaction_file
                self.transaction = f"_transactions/{value.decode()}"
            if number == 6:  # the position of the section of indices
                for _, index in _section(data, value):
                    (identity,) = (found for field, found in _fields(index) if field == 1)
                    ((_, raw),) = _fields(identity)
                    self._indices.add(f"_indices/{uuid.UUID(bytes=raw)}")

    def _read_fragment(self, fragment: Iterable[tuple[int, Value]]) -> None:
        fragment_id = written = 0  # fields that are zero are not written
        deletions: dict[int, Value] | None = None
        for number, value in fragment:
            if number == 1:
                fragment_id = value
            if number == 2:  # DataFile
                self._files.add(f"data/{dict(_fields(value))[1].decode()}")
            if number == 3:
                deletions = dict(_fields(value))
            if number == 4:  # physical_rows
                written = value
        deleted = deletions.get(4, 0) if deletions is not None else 0
        self.fragments.append(Fragment(fragment_id, written - deleted, deleted))
        if deletions is not None:
            suffix = _SUFFIX[deletions.get(1, 0)]
            self._files.add(f"_deletions/{fragment_id}-{deletions.get(2, 0)}-{deletions.get(3, 0)}.{suffix}")


def _section(data: bytes, position: int) -> list[tuple[int, Value]]:
    start = position + _LENGTH_BYTES
    length = int.from_bytes(data[position:start], "little")
    if start + length > len(data):
        raise ValueError("it is cut")
    return list(_fields(data[start : start + length]))


def _fields(message: bytes) -> Iterator[tuple[int, Value]]:
    """Number and value of each field, as protocol buffers write them."""
    position = 0
    while position < len(message):
        tag, position = _varint(message, position)
        kind = tag & 7
        if kind == 0:
            value, position = _varint(message, position)
            yield tag >> 3, value
            continue
        if kind == 2:
            length, position = _varint(message, position)
        elif kind in (1, 5):
            length = 8 if kind == 1 else 4
        else:
            raise ValueError(f"no field is of kind {kind}")
        if position + length > len(message):
            raise ValueError("it is cut")
        yield tag >> 3, message[position : position + length]
        position += length


def _varint(message: bytes, position: int) -> tuple[int, int]:
    """The number, and where it ends."""
    number = shift = 0
    while True:
        byte = message[position]
        position += 1
        number |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return number, position
