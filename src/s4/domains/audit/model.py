"""An entry, and the chain that entries are sealed in.

`h_n = SHA-256(h_{n-1} || canonical JSON of entry n)`, with `h_0` of 64 zeros. Canonical is what survives the way
through either database: sorted names, no spaces, whole numbers without a fraction.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

import zstandard

from s4.kernel.clock import parse_rfc3339, rfc3339
from s4.kernel.errors import DataCorrupt

FORMAT = 1
GENESIS = "0" * 64
BATCH_ENTRIES_MAX = 500
"""Of one batch: some 200 KB unpacked in common use, marked in one short transaction."""
_UNPACKED_BYTES_MAX = 1 << 30  # whoever can write to the bucket must not fill the worker's memory with one object
_LEVEL = 3  # zstd's default


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One act, or `count` alike within a minute. `before` and `after` never hold a secret."""

    entry_id: str
    at: datetime
    actor_kind: str
    actor: str
    action: str
    subject: str
    tenant_id: str = ""
    before: Mapping[str, Any] | None = None
    after: Mapping[str, Any] | None = None
    address: str | None = None
    request_id: str | None = None
    status: int | None = None
    count: int = 1

    def canonical(self) -> bytes:
        said = {field.name: _plain(getattr(self, field.name)) for field in fields(self)}
        return json.dumps(said, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()


@dataclass(frozen=True, slots=True)
class Sealed:
    """An entry in its place in the chain."""

    entry: Entry
    position: int
    digest: str


@dataclass(frozen=True, slots=True)
class ChainHead:
    """Where the chain ends: the newest batch, its last position, the hash of its last entry."""

    sequence: int = 0
    position: int = 0
    digest: str = GENESIS


@dataclass(frozen=True, slots=True)
class Batch:
    """What one object in the bucket holds."""

    sequence: int
    previous: str
    sealed_at: datetime
    seal_id: str
    """Random: reading a batch back tells whose it is."""
    entries: tuple[Sealed, ...]

    @property
    def head(self) -> ChainHead:
        return ChainHead(self.sequence, self.entries[-1].position, self.entries[-1].digest)

    def to_bytes(self) -> bytes:
        document = {
            "format": FORMAT,
            "sequence": self.sequence,
            "previous_hash": self.previous,
            "sealed_at": rfc3339(self.sealed_at),
            "seal_id": self.seal_id,
            "entries": [
                {"position": each.position, "hash": each.digest, "entry": json.loads(each.entry.canonical())}
                for each in self.entries
            ],
        }
        text = json.dumps(document, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
        return zstandard.ZstdCompressor(level=_LEVEL, write_checksum=True).compress(text.encode())

    @classmethod
    def from_bytes(cls, data: bytes) -> "Batch":
        """Raises `DataCorrupt` for what is no batch."""
        try:
            unpacked = zstandard.ZstdDecompressor().decompress(data, max_output_size=_UNPACKED_BYTES_MAX)
            document = json.loads(unpacked)
            if document["format"] != FORMAT:
                raise DataCorrupt(f"An audit batch has format {document['format']}; this release reads {FORMAT}.")
            return cls(
                int(document["sequence"]),
                str(document["previous_hash"]),
                parse_rfc3339(document["sealed_at"]),
                str(document["seal_id"]),
                tuple(
                    Sealed(_entry(each["entry"]), int(each["position"]), str(each["hash"]))
                    for each in document["entries"]
                ),
            )
        except (zstandard.ZstdError, ValueError, KeyError, TypeError) as error:
            raise DataCorrupt("An audit batch cannot be read.") from error


def chained(head: ChainHead, entries: Sequence[Entry]) -> tuple[Sealed, ...]:
    """The entries in their places after `head`."""
    sealed = []
    digest = head.digest
    for position, entry in enumerate(entries, head.position + 1):
        digest = hashlib.sha256(digest.encode() + entry.canonical()).hexdigest()
        sealed.append(Sealed(entry, position, digest))
    return tuple(sealed)


def _entry(said: Mapping[str, Any]) -> Entry:
    return Entry(**{**said, "at": parse_rfc3339(said["at"])})


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return rfc3339(value)
    if isinstance(value, float) and value.is_integer():
        return int(value)  # JSONB gives 1e22 back as a whole number
    if isinstance(value, Mapping):
        return {str(name): _plain(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return value
