"""Making a backup.

    hold placed ──► catalog read ──► bucket listed, object by object ──► samples ──► hold verified ──► manifest
                                      │ as before: its entry again
                                      │ large: one data object, copied by the store itself where it can
                                      └ small: gathered into packs of 8 MiB, one request instead of hundreds

Nothing makes it a backup but the manifest, which is written last; a run that was broken off leaves lists and data that
the next run takes over, object by object, and that `Pruner` removes if none comes. Memory: one pack, some objects, and
some hundred bytes a document (see `snapshot`).

The same means: the same key, size, ETag and time of change as when it was copied. S4's objects do not change, but for
a few that are made anew when they are damaged; those are copied again.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import structlog

from s4 import __version__
from s4.domains.audit.model import Batch
from s4.domains.backup.model import LACKING_MAX, Entry, Manifest, Part, Sample, Work, backup_id, is_head, point_of
from s4.domains.backup.place import Place, Traffic
from s4.domains.backup.reading import read_together
from s4.domains.backup.samples import Finds, choose
from s4.domains.backup.snapshot import Snapshot, take
from s4.domains.documents.chain import subject as document_subject
from s4.domains.maintenance.holds import Hold, Holds
from s4.domains.tenants.chain import subject as tenant_subject
from s4.kernel import keys
from s4.kernel.clock import Clock, rfc3339
from s4.kernel.errors import DataCorrupt, S4Error
from s4.kernel.keys import KeyKind, ObjectKey
from s4.kernel.units import KIB, MIB
from s4.platform.chains import Head, Subject
from s4.platform.database import Database
from s4.platform.faults import failpoint
from s4.platform.objects import (
    COPY_BYTES_MAX,
    NOT_IMPLEMENTED,
    ObjectInfo,
    ObjectMissing,
    ObjectStore,
    StoreUnavailable,
)

log = structlog.get_logger()

_PACKED_BYTES_MAX = 256 * KIB  # of one object: what is larger is worth a request of its own
_PACK_BYTES = 8 * MIB
_WINDOW = 256  # objects looked at together; so many are read ahead at most
_PARALLEL = 16  # of them at once
_PART_ENTRIES = 10_000  # some 2 MB of text

Progress = Callable[[str, int, int], None]
"""What is being done, objects and bytes of it so far."""


def silent(_what: str, _objects: int, _bytes: int) -> None:
    """No progress is shown."""


@dataclass(slots=True)
class _Run:
    """What one run has gathered."""

    identifier: str
    snapshot: Snapshot
    known: "_Known"
    stored: dict[str, int]
    parts: list[Part] = field(default_factory=list)
    ready: list[Entry] = field(default_factory=list)
    """Entries in order whose bytes are in the place, not listed yet."""
    copied: int = 0
    bytes_copied: int = 0
    objects: int = 0
    object_bytes: int = 0


class Creator:
    """One run at a time, by its hold. `source` is a store of its own, so that what it reads is nobody's use."""

    def __init__(
        self,
        database: Database,
        source: ObjectStore,
        place: Place,
        holds: Holds,
        clock: Clock,
        finds: Finds,
        *,
        epoch: str,
        secret_key_id: str,
    ) -> None:
        self._database = database
        self._source = source
        self._place = place
        self._holds = holds
        self._clock = clock
        self._finds = finds
        self._epoch = epoch
        self._secret_key_id = secret_key_id
        self._traffic = Traffic()
        source.observer = self._traffic

    async def create(self, progress: Progress = silent, *, anew: bool = False) -> Manifest:
        """`anew`: copies everything, also what former backups have, as after one of them was found damaged. Raises
        `Unavailable`, also while another one runs, or the catalog is being rebuilt. What the bucket has lost or damaged
        is named in the manifest."""
        started = self._clock.now()
        requests_before = self._requests()
        async with self._holds.placed("backup") as hold:
            failpoint("backup.held")
            snapshot = await take(self._database)
            run = await self._begun(snapshot, anew=anew)
            progress("copying", 0, 0)
            seen = await self._copy_all(run, progress)
            failpoint("backup.copied")
            for prefix in snapshot.drop_tables_lacking(seen):
                log.warning("backup.index_left_out", prefix=prefix)
            lacking = await self._lacking(run, seen)
            samples = await choose(self._source, snapshot, self._finds)
            return await self._finish(run, hold, lacking, samples, started, requests_before)

    # -- inside

    async def _begun(self, snapshot: Snapshot, *, anew: bool) -> _Run:
        whole, unfinished = None, None
        for identifier in reversed(await self._place.ids()):
            try:
                whole = await self._place.manifest(identifier)
                break
            except DataCorrupt:
                log.error("backup.manifest_damaged", backup_id=identifier)
            except S4Error:
                unfinished = unfinished or identifier
        same_key = self._place.vault.key_id if self._place.vault is not None else None
        sources = []
        if whole is not None and whole.encrypted_under == same_key:
            sources.append(self._place.entries(whole))
        if unfinished is not None:
            sources.append(self._place.unfinished_entries(unfinished))
        stored = await self._place.data_sizes()
        identifier, taken = backup_id(snapshot.point), await self._place.ids()
        while identifier in taken:  # of this second, one that was broken off say
            identifier = backup_id(point_of(identifier) + timedelta(seconds=1))
        return _Run(identifier, snapshot, _Known([] if anew else sources), stored)

    async def _copy_all(self, run: _Run, progress: Progress) -> set[ObjectKey]:
        """Every object of the snapshot, in order. Answers with the keys that were there."""
        seen: set[ObjectKey] = set()
        window: list[ObjectInfo] = []
        pack = _Pack(self._place, run)
        async for info in self._source.list(keys.EVERYTHING):
            if run.snapshot.wants(info.key):
                window.append(info)
            if len(window) == _WINDOW:
                seen |= await self._copy(run, pack, window)
                window = []
                progress("copying", run.objects, run.object_bytes)
        seen |= await self._copy(run, pack, window)
        await pack.flush()
        if run.ready:
            await self._put_part(run)
        progress("copying", run.objects, run.object_bytes)
        return seen

    async def _copy(self, run: _Run, pack: "_Pack", window: Sequence[ObjectInfo]) -> set[ObjectKey]:
        gate = asyncio.Semaphore(_PARALLEL)

        async def one(info: ObjectInfo, former: Entry | None) -> Entry | tuple[ObjectInfo, bytes] | None:
            has_former = former is not None and self._has(run, former)
            if former is not None and has_former and _is_same(former, info):
                return former
            async with gate:
                try:
                    if info.size <= _PACKED_BYTES_MAX:
                        return info, _sound(info.key, await self._source.get(info.key), run.snapshot)
                    return await self._copied(run, info)
                except ObjectMissing:
                    return None  # it went between listing and copying; whether it may, `_lacking` decides
                except DataCorrupt as error:
                    log.error("backup.object_damaged", object_key=info.key, error=error.message)
                # The rest is worth keeping all the more, and so is what was copied while it was sound.
                return former if former is not None and has_former and await self._was_sound(run, former) else None

        known = [await run.known.find(info) for info in window]
        done = await asyncio.gather(*map(one, window, known))
        seen = set()
        for outcome in done:
            if outcome is None:
                continue
            if isinstance(outcome, Entry):
                pack.add_entry(outcome)
            else:
                await pack.add_bytes(*outcome)
            seen.add(outcome.key if isinstance(outcome, Entry) else outcome[0].key)
            run.objects += 1
            run.object_bytes += outcome.size_bytes if isinstance(outcome, Entry) else len(outcome[1])
            if len(run.ready) >= _PART_ENTRIES:
                await self._put_part(run)
        return seen

    def _has(self, run: _Run, entry: Entry) -> bool:
        """Whether the place still has its bytes, as far as a listing can tell."""
        size_bytes = run.stored.get(entry.data)
        needed = self._place.stored_bytes(entry.offset + entry.size_bytes, encrypted=self._place.vault is not None)
        return size_bytes is not None and size_bytes >= needed

    async def _was_sound(self, run: _Run, former: Entry) -> bool:
        """Whether a former backup has an object as it was before it was damaged."""
        known_sum = run.snapshot.known_sum(former.key)
        if known_sum is not None:
            return former.sum == known_sum
        try:
            encrypted = self._place.vault is not None  # as the former backup, or its entry was not offered
            found = await read_together(self._place, [former], encrypted=encrypted)
            _sound(former.key, found[former.key], run.snapshot)
        except DataCorrupt:
            return False
        return True

    async def _copied(self, run: _Run, info: ObjectInfo) -> Entry:
        """A large object as a data object of its own."""
        identity = f"{info.key}\0{info.etag}\0{info.size}\0{info.last_modified}"
        name = self._place.name_for(identity.encode())
        known_sum = run.snapshot.known_sum(info.key)
        by_itself = self._place.is_shared and self._place.vault is None and self._source.local_root is None
        summed = known_sum
        if not (by_itself and known_sum and info.size <= COPY_BYTES_MAX and await self._copied_by_store(info, name)):
            summed = await self._streamed(info, name, known_sum)
        assert summed is not None, "it was known, or it was taken"
        run.copied += 1
        run.bytes_copied += info.size
        return _entry(info, summed, name, 0)

    async def _copied_by_store(self, info: ObjectInfo, name: str) -> bool:
        """False where the store cannot."""
        try:
            await self._place.store.copy(info.key, keys.backup_data(name), size_bytes=info.size)
        except StoreUnavailable as error:
            if error.details.get("code") in NOT_IMPLEMENTED:
                return False
            raise
        return True

    async def _streamed(self, info: ObjectInfo, name: str, known_sum: str | None) -> str:
        sha256, md5 = hashlib.sha256(), hashlib.md5(usedforsecurity=False)

        async def read() -> AsyncIterator[bytes]:
            async for chunk in self._source.stream(info.key):
                sha256.update(chunk)
                if known_sum is not None and known_sum.startswith("md5:"):
                    md5.update(chunk)
                yield chunk
            if known_sum not in (None, f"sha256:{sha256.hexdigest()}", f"md5:{md5.hexdigest()}"):
                raise DataCorrupt(f"An object in the bucket is not what it was: {info.key}.")

        await self._place.put_data(name, read())
        return f"sha256:{sha256.hexdigest()}"

    async def _put_part(self, run: _Run) -> None:
        number = len(run.parts) + 1
        run.parts.append(await self._place.put_part(run.identifier, number, run.ready))
        run.ready = []
        failpoint("backup.listed")

    async def _lacking(self, run: _Run, seen: set[ObjectKey]) -> list[ObjectKey]:
        """What the bucket should have and has not, but for what was erased meanwhile."""
        missing = [key for key in run.snapshot.expected() if key not in seen]
        if not missing:
            return []
        now = await take(self._database)
        lacking = [key for key in missing if now.still_expects(key)]
        for key in lacking:
            log.error("backup.object_lacking", object_key=key)
        return lacking

    async def _finish(
        self,
        run: _Run,
        hold: Hold,
        lacking: Sequence[ObjectKey],
        samples: Sequence[Sample],
        started: datetime,
        requests_before: int,
    ) -> Manifest:
        listed_samples = await self._place.put_samples(run.identifier, samples)
        await hold.verify()
        work = Work(
            seconds=round((self._clock.now() - started).total_seconds(), 3),
            objects_copied=run.copied,
            bytes_copied=run.bytes_copied,
            requests=self._requests() - requests_before,
        )
        manifest = Manifest(
            backup_id=run.identifier,
            point=run.snapshot.point,
            epoch=self._epoch,
            version=__version__,
            encrypted_under=self._place.vault.key_id if self._place.vault is not None else None,
            secret_key_id=self._secret_key_id,
            parts=tuple(run.parts),
            counts=replace(run.snapshot.counts, objects=run.objects, object_bytes=run.object_bytes),
            samples=listed_samples,
            lacking=tuple(sorted(lacking, key=lambda key: not is_head(key))[:LACKING_MAX]),
            work=work,
        )
        failpoint("backup.ready")
        await self._place.put_manifest(manifest)
        failpoint("backup.written")
        log.info("backup.created", backup_id=run.identifier, objects=run.objects, objects_copied=run.copied,
                 bytes_copied=run.bytes_copied, requests=work.requests, seconds=work.seconds)  # fmt: skip
        return manifest

    def _requests(self) -> int:
        return self._traffic.requests + self._place.traffic.requests


class _Known:
    """Entries of former runs, each in the order of keys, found by keys in that order."""

    def __init__(self, sources: Sequence[AsyncIterator[Entry]]) -> None:
        self._sources = list(sources)
        self._next: list[Entry | None] = [None] * len(self._sources)

    async def find(self, info: ObjectInfo) -> Entry | None:
        """The entry of this very object if there is one, else that of a former one under its key."""
        found = None
        for number, source in enumerate(self._sources):
            entry = self._next[number]
            while entry is None or entry.key < info.key:
                try:
                    entry = await anext(source, None)
                except DataCorrupt as error:  # of a former backup: this one is whole without it
                    log.error("backup.former_damaged", error=error.message)
                    entry = None
                if entry is None:
                    break
            self._next[number] = entry
            if entry is not None and entry.key == info.key and (found is None or _is_same(entry, info)):
                found = entry
        return found


class _Pack:
    """Small objects on their way into one data object. Entries keep their order: those behind a small one wait for its
    pack."""

    def __init__(self, place: Place, run: _Run) -> None:
        self._place = place
        self._run = run
        self._waiting: list[Entry | tuple[ObjectInfo, str, int]] = []
        self._bytes = bytearray()

    def add_entry(self, entry: Entry) -> None:
        if self._bytes:
            self._waiting.append(entry)
        else:
            self._run.ready.append(entry)

    async def add_bytes(self, info: ObjectInfo, data: bytes) -> None:
        summed = f"sha256:{hashlib.sha256(data).hexdigest()}"
        self._waiting.append((replace(info, size=len(data)), summed, len(self._bytes)))
        self._bytes += data
        self._run.copied += 1
        self._run.bytes_copied += len(data)
        if len(self._bytes) >= _PACK_BYTES or not self._bytes:
            await self.flush()

    async def flush(self) -> None:
        if not self._waiting:
            return
        packed = bytes(self._bytes)
        name = self._place.name_for(packed)

        async def once() -> AsyncIterator[bytes]:
            yield packed

        await self._place.put_data(name, once())
        failpoint("backup.packed")
        self._run.ready += [
            each if isinstance(each, Entry) else _entry(each[0], each[1], name, each[2]) for each in self._waiting
        ]
        self._waiting, self._bytes = [], bytearray()


def _sound(key: ObjectKey, data: bytes, snapshot: Snapshot) -> bytes:
    """Raises `DataCorrupt` when the catalog knows another sum, and when it is not what its key says."""
    sums = f"sha256:{hashlib.sha256(data).hexdigest()}", f"md5:{hashlib.md5(data, usedforsecurity=False).hexdigest()}"
    if snapshot.known_sum(key) not in (None, *sums):
        raise DataCorrupt(f"An object in the bucket is not what it was: {key}.")
    subject, revision = _head_of(key)
    if subject is not None and Head.from_bytes(data, expected=subject).revision != revision:
        raise DataCorrupt(f"A head is another revision than its key says: {key}.")
    if key.startswith(keys.AUDIT) and key != keys.audit_batch(Batch.from_bytes(data).sequence):
        raise DataCorrupt(f"A batch of the audit trail is another than its key says: {key}.")
    return data


def _head_of(key: ObjectKey) -> tuple[Subject | None, int | None]:
    """Whose head it is, and which revision; None for what is no head."""
    if (named := keys.parse_system_head(key)) is not None:
        return Subject(named[0].value, "", named[1]), named[2]
    parsed = keys.parse(key)
    if parsed is None or parsed.tenant_id is None:
        return None, None
    if parsed.kind is KeyKind.TENANT_HEAD:
        return tenant_subject(parsed.tenant_id), parsed.revision
    if parsed.kind is KeyKind.DOCUMENT_HEAD and parsed.document_id is not None:
        return document_subject(parsed.tenant_id, parsed.document_id), parsed.revision
    return None, None


def _entry(info: ObjectInfo, summed: str, name: str, offset: int) -> Entry:
    modified = rfc3339(info.last_modified.astimezone(UTC))
    return Entry(info.key, info.size, summed, name, offset, info.etag, modified)


def _is_same(entry: Entry, info: ObjectInfo) -> bool:
    seen = info.size, info.etag, rfc3339(info.last_modified.astimezone(UTC))
    return (entry.size_bytes, entry.etag, entry.modified) == seen
