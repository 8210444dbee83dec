"""A whole deployment out of a backup, into an empty store.

    marked as being restored ──► every data object read once, its objects summed and written ──► catalog rebuilt and
    verified, by whoever opens deployments (`Opened`) ──► the mark taken away: the deployment may be served

Until the mark is gone no process starts on the bucket. A restore that was broken off is repeated with the same backup:
what is in the target already is read back and compared instead of copied. The restored deployment has an epoch of its
own, so that a catalog of the old one refuses it.

Who was erased since the backup was made is left out (`Erased`): a restore brings nobody back who was promised to be
gone.
"""

from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Protocol

import structlog

from s4.domains.backup.creator import Progress, silent
from s4.domains.backup.erased import with_records
from s4.domains.backup.lost import Lost
from s4.domains.backup.model import Counts, Entry, Erased, Manifest, Sample
from s4.domains.backup.place import Place, Traffic
from s4.domains.backup.reading import checked, digest_of, is_sum, require_sum
from s4.domains.maintenance.restoring import begin_restore, begun_restore, end_restore
from s4.kernel import keys
from s4.kernel.clock import Clock
from s4.kernel.errors import DataCorrupt
from s4.kernel.ids import RandomBytes
from s4.kernel.keys import KeyKind, ObjectKey
from s4.kernel.units import MIB
from s4.platform.background import side_by_side
from s4.platform.faults import failpoint
from s4.platform.objects import ObjectStore

log = structlog.get_logger()

_DATA_PARALLEL = 4  # data objects in work at once: a pack of 8 MiB each, and less of a large object
_WRITES_PARALLEL = 16  # of the small objects of one pack
_PACK_BYTES_MAX = 16 * MIB  # of a data object that holds many: more than a pack ever has is damage


class Opened(Protocol):
    """A restored deployment, opened on a catalog of its own before it is switched on."""

    async def rebuild(self) -> list[str]:
        """Makes the catalog, and the index as far as it was not in the backup. Returns when nothing is left to do, with
        what could not be brought back, in sentences."""
        ...

    async def counts(self) -> Counts: ...

    async def finds(self, sample: Sample) -> bool: ...


RequireCatalog = Callable[[str | None], Awaitable[None]]
"""Raises `Conflict` unless the catalog is empty, or that of a restore which was broken off, by its epoch."""
OpenRestored = Callable[[], AbstractAsyncContextManager[Opened]]


@dataclass(slots=True)
class Restored:
    """What a restore did, or would do. `problems` are sentences: with any of them it was not switched on. With
    `damaged` it was: that had been gone or damaged when it was backed up, and no restore can do better."""

    backup_id: str
    epoch: str = ""
    objects: int = 0
    objects_there: int = 0
    objects_left_out: int = 0
    bytes_written: int = 0
    requests: int = 0
    left_out: Counts = field(default_factory=lambda: Counts(0, 0, 0))
    """Of what was erased: heads of tenants, documents with bytes."""
    counts: Counts | None = None
    samples: int = 0
    problems: list[str] = field(default_factory=list)
    damaged: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return not self.problems

    def leave_out(self, entry: Entry) -> None:
        """Notes that an object was erased since."""
        parsed = keys.parse(entry.key)
        is_document = parsed is not None and parsed.kind is KeyKind.CONTENT
        is_tenant = parsed is not None and parsed.kind is KeyKind.TENANT_HEAD
        self.objects_left_out += 1
        self.left_out = Counts(
            self.left_out.tenants + is_tenant,
            self.left_out.documents + is_document,
            self.left_out.stored_bytes + entry.size_bytes * is_document,
        )


class Restorer:
    """`target`: the empty store, opened for this, so that what is done to it is nobody's use."""

    def __init__(
        self,
        place: Place,
        target: ObjectStore,
        clock: Clock,
        random: RandomBytes,
        require_catalog: RequireCatalog | None = None,
    ) -> None:
        self._place = place
        self._require_catalog = require_catalog
        self._target = target
        self._clock = clock
        self._random = random
        self._traffic = Traffic()
        target.observer = self._traffic

    async def plan(self, manifest: Manifest, erased: Erased) -> Restored:
        """What `restore` would copy. Writes nothing, and refuses what `restore` refuses."""
        await self._require(manifest)
        erased = await with_records(self._place, manifest, erased)
        planned = Restored(manifest.backup_id, counts=manifest.counts)
        async for entry in self._place.entries(manifest):
            if _is_erased(entry.key, erased):
                planned.leave_out(entry)
            else:
                planned.objects += 1
                planned.bytes_written += entry.size_bytes
        return planned

    async def restore(
        self,
        manifest: Manifest,
        erased: Erased,
        open_restored: OpenRestored,
        progress: Progress = silent,
        *,
        besides: Mapping[ObjectKey, bytes] | None = None,
    ) -> Restored:
        """`besides`: objects that take the place of the backup's, the list of who was erased as it is now.
        Copies, has it verified, and switches it on if it is sound. Raises `Conflict` when the target is not empty,
        `DataCorrupt` when the backup is damaged, `Unavailable`; then it can be repeated."""
        await self._require(manifest)
        erased = await with_records(self._place, manifest, erased)
        done = Restored(manifest.backup_id)
        requests_before = self._traffic.requests + self._place.traffic.requests
        done.epoch = await begin_restore(self._target, manifest.backup_id, clock=self._clock, random=self._random)
        failpoint("restore.begun")
        lost = Lost.of(manifest, erased)
        await self._copy(manifest, erased, besides or {}, done, progress, lost)
        failpoint("restore.copied")
        async with open_restored() as opened:
            progress("rebuilding", done.objects, done.bytes_written)
            done.damaged = [*manifest.lacked, *await opened.rebuild()]
            progress("verifying", done.objects, done.bytes_written)
            await self._verify(manifest, erased, opened, done, lost)
        done.requests = self._traffic.requests + self._place.traffic.requests - requests_before
        if done.ok:
            failpoint("restore.verified")
            await end_restore(self._target)
            log.info("restore.finished", backup_id=manifest.backup_id, objects=done.objects, requests=done.requests)
        else:
            log.error("restore.not_sound", backup_id=manifest.backup_id, problems=done.problems)
        return done

    # -- inside

    async def _require(self, manifest: Manifest) -> None:
        self._place.require_key(manifest)
        epoch = await begun_restore(self._target, manifest.backup_id)
        if self._require_catalog is not None:
            await self._require_catalog(epoch)

    async def _copy(
        self,
        manifest: Manifest,
        erased: Erased,
        besides: Mapping[ObjectKey, bytes],
        done: Restored,
        progress: Progress,
        lost: Lost,
    ) -> None:
        for key, data in besides.items():
            await self._target.put(key, data)
        there = {info.key: info.size async for info in self._target.list(keys.EVERYTHING)}
        by_data: dict[str, list[Entry]] = defaultdict(list)
        async for entry in self._place.entries(manifest):
            lost.note(entry)
            if entry.key in besides:
                done.objects_there += 1
            elif _is_erased(entry.key, erased):
                done.leave_out(entry)
            elif there.get(entry.key) == entry.size_bytes and await self._agrees(entry):
                done.objects_there += 1
            else:
                by_data[entry.data].append(entry)
        encrypted = manifest.encrypted_under is not None

        async def one(data: tuple[str, list[Entry]]) -> None:
            name, entries = data
            await self._copy_data(name, entries, encrypted=encrypted)
            done.objects += len(entries)
            done.bytes_written += sum(entry.size_bytes for entry in entries)
            progress("copying", done.objects, done.bytes_written)

        await side_by_side(by_data.items(), one, at_once=_DATA_PARALLEL)
        await self._target.make_last()  # before that a power cut may damage any: whoever repeats this looks at each

    async def _copy_data(self, name: str, entries: list[Entry], *, encrypted: bool) -> None:
        if len(entries) == 1 and entries[0].offset == 0:
            await self._stream(name, entries[0], encrypted=encrypted)
            return
        packed = bytearray()
        async for chunk in self._place.data(name, encrypted=encrypted):
            packed += chunk
            if len(packed) > _PACK_BYTES_MAX:
                raise DataCorrupt(f"{keys.backup_data(name)} is larger than any pack.")

        async def write(entry: Entry) -> None:
            await self._target.put(entry.key, checked(entry, packed), lasting=False)
            failpoint("restore.written")

        await side_by_side(entries, write, at_once=_WRITES_PARALLEL)

    async def _stream(self, name: str, entry: Entry, *, encrypted: bool) -> None:
        """Nothing is visible in the target before the sum is right."""
        digest = digest_of(entry)
        left = entry.size_bytes
        async with self._target.upload(entry.key) as upload:
            async for chunk in self._place.data(name, encrypted=encrypted):
                piece = chunk[:left]  # others may lie behind it
                left -= len(piece)
                digest.update(piece)
                await upload.write(piece)
                if left == 0 and piece:
                    break
            require_sum(entry, digest.hexdigest(), left)
            await upload.commit()

    async def _agrees(self, entry: Entry) -> bool:
        digest = digest_of(entry)
        async for chunk in self._target.stream(entry.key):
            digest.update(chunk)
        return is_sum(entry, digest.hexdigest())

    async def _verify(self, manifest: Manifest, erased: Erased, opened: Opened, done: Restored, lost: Lost) -> None:
        done.counts = counts = await opened.counts()
        for what in ("tenants", "documents", "stored_bytes"):
            if what == "tenants" and done.left_out.tenants:
                continue  # whether those were alive then, nobody has read
            was, now = getattr(manifest.counts, what) - getattr(done.left_out, what), getattr(counts, what)
            if was != now:
                said = f"There are {now} {what.replace('_', ' ')}, and there were {was}."
                (done.damaged if lost.explains(what, was - now) else done.problems).append(said)
        for sample in await self._place.samples(manifest):
            if erased.covers(sample.tenant_id, sample.document_id):
                continue
            done.samples += 1
            if not await opened.finds(sample):
                said = f"A search does not find {sample.document_id} of {sample.tenant_id} any more."
                (done.damaged if lost.explains_silence(sample) else done.problems).append(said)


def _is_erased(key: ObjectKey, erased: Erased) -> bool:
    parsed = keys.parse(key)
    if parsed is not None and parsed.kind is KeyKind.SYSTEM:
        named = keys.parse_system_head(key)
        return named is not None and (named[0].value, named[1]) in erased.records
    document_id = parsed.document_id if parsed is not None else None
    return erased.covers(keys.owner(key), document_id)
