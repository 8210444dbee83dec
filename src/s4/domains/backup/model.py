"""What a backup is made of. Format 1; golden files of it are kept with the tests."""

import hashlib
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from s4.kernel import keys
from s4.kernel.clock import parse_rfc3339, rfc3339
from s4.kernel.errors import DataCorrupt, InvalidRequest
from s4.kernel.keys import KeyKind, ObjectKey, is_backup_id

FORMAT = 1
LATEST = "latest"
LACKING_MAX = 100
"""Objects that a manifest names as lacking, heads first. With so many there may be more."""
_ID = "%Y%m%dT%H%M%SZ"
_SUM = re.compile(r"(?:sha256:[0-9a-f]{64}|md5:[0-9a-f]{32})")


def backup_id(point: datetime) -> str:
    return point.astimezone(UTC).strftime(_ID)


def point_of(identifier: str) -> datetime:
    """To the second. Raises `InvalidRequest`."""
    if not is_backup_id(identifier):
        raise InvalidRequest(f"{identifier!r} is not a backup: say `latest`, or one that `s4 backup list` names.")
    return datetime.strptime(identifier, _ID).replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Entry:
    """One object of the deployment, and where its bytes are. `sum` names its kind: `sha256:…` or `md5:…`. `etag` and
    `modified` are what the store said when it was copied: with the size they tell that it is still the same one."""

    key: ObjectKey
    size_bytes: int
    sum: str
    data: str
    """Name of the object in the place; several small ones share one."""
    offset: int
    etag: str | None
    modified: str

    def to_line(self) -> str:
        return json.dumps(
            [self.key, self.size_bytes, self.sum, self.data, self.offset, self.etag, self.modified],
            ensure_ascii=False,
            separators=(",", ":"),
        )

    @classmethod
    def from_line(cls, line: str) -> "Entry":
        """Raises `DataCorrupt`."""
        try:
            key, size_bytes, summed, data, offset, etag, modified = json.loads(line)
            entry = cls(ObjectKey(key), int(size_bytes), str(summed), str(data), int(offset), etag, modified)
        except (ValueError, TypeError) as error:
            raise DataCorrupt("A list of a backup's objects cannot be read.") from error
        if _SUM.fullmatch(entry.sum) is None:
            raise DataCorrupt("A list of a backup's objects has an entry without a sum.")
        return entry


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of the list of entries, in the order of their keys. `sha256` is of its bytes as they are stored."""

    number: int
    entries: int
    sha256: str
    first_key: str


@dataclass(frozen=True, slots=True)
class Sample:
    """A search that found a document when the backup was made, and must find it after a restore."""

    tenant_id: str
    document_id: str
    text: str


@dataclass(frozen=True, slots=True)
class Counts:
    """What the catalog said at the point."""

    tenants: int
    documents: int
    stored_bytes: int
    objects: int = 0
    object_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Work:
    """What making it took. Requests are those to either store, deletions apart."""

    seconds: float = 0.0
    objects_copied: int = 0
    bytes_copied: int = 0
    requests: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """A whole backup: the state of the deployment at `point`."""

    backup_id: str
    point: datetime
    epoch: str
    version: str
    """Of S4."""
    encrypted_under: str | None
    """Id of the key; None for a backup in plain."""
    secret_key_id: str
    """Of `S4_SECRET_KEY`, which is not in the backup and without which webhooks' secrets do not open."""
    parts: tuple[Part, ...]
    counts: Counts
    samples: Part
    """A list of `Sample`, as it lies in the place."""
    lacking: tuple[str, ...]
    """Keys of objects that the catalog named and the bucket did not have, heads first. Bounded; not empty is a reason
    to look."""
    work: Work = field(default_factory=Work)

    @property
    def lacked(self) -> list[str]:
        """`lacking`, in sentences."""
        return [f"The bucket lacked {key} when the backup was made." for key in self.lacking]

    @property
    def may_lack_more_heads(self) -> bool:
        """Than `lacking` has room for."""
        return len(self.lacking) >= LACKING_MAX and is_head(self.lacking[-1])

    def to_bytes(self) -> bytes:
        said = _canonical(asdict(self) | {"format": FORMAT, "point": rfc3339(self.point)})
        return json.dumps({"manifest": json.loads(said), "sha256": _digest(said)}, indent=1).encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> "Manifest":
        """Raises `DataCorrupt` for what is cut or changed."""
        try:
            document = json.loads(data)
            said = document["manifest"]
            if said["format"] != FORMAT:
                raise DataCorrupt(f"A backup has format {said['format']}; this release reads {FORMAT}.")
            if _digest(_canonical(said)) != document["sha256"]:
                raise DataCorrupt("A backup's manifest is not what was written.")
            return cls(
                backup_id=said["backup_id"],
                point=parse_rfc3339(said["point"]),
                epoch=said["epoch"],
                version=said["version"],
                encrypted_under=said["encrypted_under"],
                secret_key_id=said["secret_key_id"],
                parts=tuple(Part(**part) for part in said["parts"]),
                counts=Counts(**said["counts"]),
                samples=Part(**said["samples"]),
                lacking=tuple(said["lacking"]),
                work=Work(**said["work"]),
            )
        except (ValueError, KeyError, TypeError) as error:
            raise DataCorrupt("A backup's manifest cannot be read.") from error


def is_head(key: str) -> bool:
    """Of a tenant or a document."""
    parsed = keys.parse(key)
    return parsed is not None and parsed.kind in (KeyKind.TENANT_HEAD, KeyKind.DOCUMENT_HEAD)


def superseded(manifest: Manifest, newest_made: str | None) -> str | None:
    """What to say of a backup that is the latest in its place only because one that was made later is gone."""
    if newest_made is None or newest_made <= manifest.backup_id:
        return None
    return (
        f"Backup {newest_made} was made here, by what the catalog remembers, and its manifest is gone: the latest that "
        f"is left is {manifest.backup_id}. Make one with `s4 backup create`."
    )


@dataclass(slots=True)
class Erased:
    """Whom no restore may bring back: whole tenants, documents by (tenant, document), and by (collection, name) what
    was configured for those tenants."""

    tenants: frozenset[str] = frozenset()
    documents: frozenset[tuple[str, str]] = frozenset()
    records: frozenset[tuple[str, str]] = frozenset()

    def covers(self, tenant_id: str | None, document_id: str | None) -> bool:
        return tenant_id in self.tenants or (tenant_id or "", document_id or "") in self.documents


@dataclass(frozen=True, slots=True)
class Retention:
    """A backup goes when it is older than `kept` and `count_min` newer ones are there."""

    kept: timedelta
    count_min: int

    def expired(self, points: Iterable[datetime], now: datetime) -> list[datetime]:
        """The newest is never among them."""
        newest_first = sorted(points, reverse=True)
        return [point for point in newest_first[max(1, self.count_min) :] if now - point > self.kept]


def samples_of(data: bytes) -> Iterator[Sample]:
    """Raises `DataCorrupt`."""
    try:
        for line in data.decode().split("\n"):  # a text may hold what else ends a line
            if line:
                yield Sample(**json.loads(line))
    except (ValueError, TypeError) as error:
        raise DataCorrupt("A backup's samples cannot be read.") from error


def lines(entries: Iterable[Entry]) -> bytes:
    return "".join(f"{entry.to_line()}\n" for entry in entries).encode()


def entries_of(data: bytes) -> Iterator[Entry]:
    """Raises `DataCorrupt`."""
    try:
        text = data.decode()
    except ValueError as error:
        raise DataCorrupt("A list of a backup's objects cannot be read.") from error
    return map(Entry.from_line, filter(None, text.split("\n")))  # a key may hold what else ends a line


def _canonical(said: dict[str, Any]) -> str:
    return json.dumps(said, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
