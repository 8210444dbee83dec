"""A copy of the bucket in another one, brought up to date again and again.

Whatever the copy holds can be served from: no head names bytes that are not there, no manifest of an index names files
that are not. That rests on two listings. What *names* others (heads, manifests, and what the operator configured) is
copied only if it was there when the first listing passed it; what is *named* is taken from the second listing, which
begins when the first has ended, and is copied before. A writer puts bytes before names, so whatever the first listing
shows, the second shows what it names.

    list both buckets, note the names that are missing there ──► list both again, copying what is missing and no name
    ──► copy the names noted: manifests, documents, tenants, `system/`, `deployment.json` ──► say as of when this is

The heads of one document are copied in their order, without gaps: a revision that came to nothing would otherwise be
taken for what is, and the one before it never be looked at. Nothing that is there is written over, but for the few
objects that may change (roll-ups of use, vectors, descriptions). What is otherwise there than here is told of, and as
long as there is any, the copy is whole as of when it was the last time.

A deletion follows when the copy has had for a while what the bucket has no more, names before what they name; what was
an erased tenant's goes at once. A copy that was promoted is not written to (`guarded.py`): whoever tries learns that he
has been superseded. Where he learns it too late, he still hides nothing: a revision is copied only onto its own
predecessor, and what follows one that the copy has otherwise is not copied.
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import structlog

from s4.domains.leaving import erased_tenants
from s4.domains.maintenance import queries
from s4.domains.maintenance.deployment import Mark, Superseded, copied_as_of, declare_copy, mark_of
from s4.domains.maintenance.guarded import GuardedCopy
from s4.domains.maintenance.model import FIRST_TERM, Deployment
from s4.domains.maintenance.report import Progress
from s4.kernel import keys
from s4.kernel.errors import Conflict
from s4.kernel.keys import KeyKind, ObjectKey, ObjectPrefix
from s4.platform.background import side_by_side
from s4.platform.database import Connection, Database
from s4.platform.faults import failpoint
from s4.platform.jobs import RegularJob
from s4.platform.objects import CreateOutcome, ObjectInfo, ObjectMissing, ObjectStore
from s4.platform.telemetry import metrics

log = structlog.get_logger()

REPLICATE = "maintenance.replicate"
DECLARE = "maintenance.declare_copy"
"""Where the store copies by itself."""
AREAS = (keys.INDICES, keys.SYSTEM, keys.TENANTS)
"""What is copied, in the order of keys. Backups have a place of their own."""
_DECLARED_EVERY = timedelta(hours=1)
_COPIES_AT_ONCE = 16
_SMALL_BYTES = 8 << 20  # in one request; larger ones stream, part by part
_NOT_COPIED = (keys.PROBES, keys.REPLICA)
_HINTS = ("latest_version_hint",)  # LanceDB's, which it writes over; without one it looks


@dataclass(slots=True)
class Copied:
    """What one run did. `as_of`: what was acknowledged before is in the copy, but for what differs."""

    as_of: datetime
    objects: int = 0
    size_bytes: int = 0
    deleted: int = 0
    seconds: float = 0.0
    differing: list[str] = field(default_factory=list)
    """Keys that both buckets have, with other bytes, and that never change: somebody wrote into the copy."""


class Replicator:
    """From the first bucket into the second. Two at once do no harm, and no good."""

    def __init__(
        self,
        database: Database,
        store: ObjectStore,
        replica: ObjectStore | None,
        deployment: Deployment,
        *,
        every: timedelta,
        deletions_after: timedelta,
    ) -> None:
        self._database = database
        self._store = store
        self._replica = replica
        self._deployment = deployment
        self._every = every
        self._deletions_after = deletions_after

    def regular_jobs(self) -> list[RegularJob]:
        if self._replica is None:
            return []
        if not self._every:
            return [RegularJob(DECLARE, _DECLARED_EVERY, self.declare_undeclared)]
        return [RegularJob(REPLICATE, self._every, self._run)]

    async def declare_undeclared(self) -> None:
        """For a second bucket into which the store copies by itself. After a promotion nobody can tell a former first
        bucket from a copy: then `fail_back` makes it one, which puts aside what only it has."""
        target = self._target()
        mark = await mark_of(target)
        is_ours = mark is None or (mark.epoch, mark.term) == (self._deployment.epoch, self._deployment.term)
        if is_ours and (mark is None or mark.copied_in is None) and self._deployment.term == FIRST_TERM:
            await self.declare(target, as_of=None)

    async def _run(self) -> None:
        copied = await self.run()
        if (copied.objects or copied.deleted) and not copied.differing:
            log.info("replication.done", objects=copied.objects, size_bytes=copied.size_bytes, deleted=copied.deleted,
                     seconds=round(copied.seconds, 3))  # fmt: skip

    async def run(self, *, progress: Progress = lambda *_: None) -> Copied:
        """One run to its end. Raises `Unavailable`, `Conflict` for a bucket that is no copy of this one, `Superseded`
        for one that was promoted; what was copied stays, and the next run goes on."""
        target = self._target()
        mark = await self._require_copy(target)
        copied = Copied(await self._now())
        if mark is None or mark.copied_in != self._deployment.term:
            await self.declare(target, as_of=None)
        copy = GuardedCopy(target, lambda: self._require_copy(target))
        names = [info async for info in self._missing(target) if _names_others(info.key)]
        failpoint("replicate.listed")
        gone = await self._copy_all(copy, copied, progress)
        failpoint("replicate.contents")
        await self._copy_names(copy, names, copied, progress)
        failpoint("replicate.names")
        await self._delete(copy, gone, copied)
        await self._say(target, copied)
        return copied

    # -- the two listings

    def _target(self) -> ObjectStore:
        if self._replica is None:
            raise Conflict("No second bucket is named: set S4_REPLICA_STORE_URL.")
        return self._replica

    async def _require_copy(self, target: ObjectStore) -> Mark | None:
        mark = await mark_of(target)
        if mark is None:
            return None
        if mark.epoch != self._deployment.epoch:
            raise Conflict("The second bucket belongs to another deployment: their epochs differ.")
        if mark.term > self._deployment.term:
            raise Superseded(self._deployment.term, mark.term)
        if not mark.is_copy:
            raise Conflict("The second bucket was served from, and is no copy: `s4 fail-back` makes it one.")
        return mark

    async def declare(self, target: ObjectStore, *, as_of: datetime | None) -> None:
        """Says in a bucket that it is a copy, before the first object is copied."""
        await declare_copy(target, epoch=self._deployment.epoch, term=self._deployment.term, as_of=as_of)

    async def _missing(self, target: ObjectStore) -> AsyncIterator[ObjectInfo]:
        async for theirs, ours in self._compared(target):
            if ours is not None and (theirs is None or _may_change(ours, theirs)):
                yield ours

    async def _compared(self, target: ObjectStore) -> AsyncIterator[tuple[ObjectInfo | None, ObjectInfo | None]]:
        """What lies under each key in the copy, and here. Both listings are in the order of keys."""
        for area in AREAS:
            here, there = _listed(self._store, area), _listed(target, area)
            ours, theirs = await anext(here, None), await anext(there, None)
            while ours is not None or theirs is not None:
                if theirs is None or (ours is not None and ours.key.encode() < theirs.key.encode()):
                    yield None, ours
                    ours = await anext(here, None)
                elif ours is None or theirs.key.encode() < ours.key.encode():
                    yield theirs, None
                    theirs = await anext(there, None)
                else:
                    yield theirs, ours
                    ours, theirs = await anext(here, None), await anext(there, None)

    # -- copying

    async def _copy_all(self, target: GuardedCopy, copied: Copied, progress: Progress) -> list[ObjectInfo]:
        """All that names nothing. Answers with what only the copy has."""
        gone: list[ObjectInfo] = []

        async def due() -> AsyncIterator[ObjectInfo]:
            async for theirs, ours in self._compared(target.store):
                if ours is None:
                    assert theirs is not None, "one of them is listed"
                    gone.append(theirs)
                elif _names_others(ours.key):
                    continue
                elif theirs is None or _may_change(ours, theirs):
                    yield ours
                elif theirs.size != ours.size:
                    _note_differing(ours.key, copied)

        async def copy(info: ObjectInfo) -> None:
            await self._copy(target, info, copied)
            progress("contents", copied.objects, None)

        await side_by_side(due(), copy, at_once=_COPIES_AT_ONCE)
        return gone

    async def _copy_names(
        self, target: GuardedCopy, names: Sequence[ObjectInfo], copied: Copied, progress: Progress
    ) -> None:
        """In five waves; within one, what belongs to one subject in its order, subjects side by side. Nothing follows
        what the copy has otherwise."""
        for rank in range(_LAST + 1):
            chains: dict[str, list[ObjectInfo]] = {}
            for info in names:
                if _rank(info.key) == rank:
                    chains.setdefault(info.key.rpartition("/")[0], []).append(info)

            async def copy(chain: list[ObjectInfo]) -> None:
                for info in await self._without_gaps(target.store, chain, copied):
                    if not await self._copy_once(target, info, copied):
                        break
                progress("heads", copied.objects, None)

            await side_by_side(chains.values(), copy, at_once=_COPIES_AT_ONCE)

    async def _without_gaps(self, target: ObjectStore, chain: list[ObjectInfo], copied: Copied) -> list[ObjectInfo]:
        """With revisions that were written while the listing passed by; nothing, where they would follow another's."""
        first = chain[0].key
        folder, _, name = first.rpartition("/")
        number, is_head = name.removesuffix(".json"), folder.endswith("/head")
        if not is_head or not number.isdecimal():
            return chain
        listed = {int(info.key.rpartition("/")[2].removesuffix(".json")): info for info in chain}
        found: list[ObjectInfo] = []
        for revision in range(min(listed), max(listed) + 1):
            info = listed.get(revision)
            if info is None:
                info = await _described(self._store, _sibling(folder, revision))
            found += [info] if info is not None else []
        revision = min(listed) - 1
        while revision > 0 and (theirs := await _read(target, _sibling(folder, revision))) is None:
            earlier = await _described(self._store, _sibling(folder, revision))
            if earlier is None:  # pruned
                return found
            found.insert(0, earlier)
            revision -= 1
        if revision > 0 and await _read(self._store, _sibling(folder, revision)) not in (theirs, None):
            _note_differing(_sibling(folder, revision), copied)
            return []
        return found

    async def _copy(self, target: GuardedCopy, info: ObjectInfo, copied: Copied) -> None:
        try:
            if _is_counted(info.key):
                await target.put_in_time(info.key, await self._store.get(info.key))
            elif info.size <= _SMALL_BYTES:
                await target.put(info.key, await self._store.get(info.key))
            else:
                await target.put_stream(info.key, self._store.stream(info.key))
        except ObjectMissing:  # deleted since it was listed: what names it is gone, too, or will be
            return
        _note_copied(info, copied)

    async def _copy_once(self, target: GuardedCopy, info: ObjectInfo, copied: Copied) -> bool:
        """False when somebody else has put something there."""
        try:
            data = await self._store.get(info.key)
        except ObjectMissing:
            return True
        if await target.create(info.key, data) is CreateOutcome.TAKEN:
            _note_differing(info.key, copied)
            return False
        _note_copied(info, copied)
        return True

    # -- deletions

    async def _delete(self, target: GuardedCopy, gone: Sequence[ObjectInfo], copied: Copied) -> None:
        """What has been gone for long enough, and all that was an erased tenant's: that is no error to be noticed."""
        erased = await erased_tenants(self._store) if gone else frozenset()

        async def note(connection: Connection) -> list[str]:
            now = await self._database.now(connection)
            return await queries.note_gone(
                connection, [info.key for info in gone], now=now, before=now - self._deletions_after
            )

        due = {ObjectKey(key) for key in await self._database.transact(note)}
        due.update(info.key for info in gone if keys.owner(info.key) in erased)
        names = sorted(key for key in due if _names_others(key))
        for some in (names, sorted(due.difference(names))):
            await target.delete(some)
        copied.deleted = len(due)
        metrics.REPLICATION_OBJECTS.labels("deleted").inc(len(due))

    async def _say(self, target: ObjectStore, copied: Copied) -> None:
        """Last: as of when the copy is whole. That stands still as long as it has anything otherwise."""
        await self._require_copy(target)
        whole_as_of: datetime | None = copied.as_of
        if copied.differing:
            whole_as_of = await copied_as_of(target)
        else:
            await self.declare(target, as_of=copied.as_of)
        now = await self._now()
        copied.seconds = (now - copied.as_of).total_seconds()
        if whole_as_of is not None:
            metrics.REPLICATION_AS_OF.set(whole_as_of.timestamp())

    async def _now(self) -> datetime:
        async with self._database.read() as connection:
            return await self._database.now(connection)


# -- keys

_RANKS = {KeyKind.INDEX: 0, KeyKind.DOCUMENT_HEAD: 1, KeyKind.TENANT_HEAD: 2, KeyKind.SYSTEM: 3}
_LAST = 4
"""`deployment.json`: without it, nothing opens the copy."""


def _rank(key: ObjectKey) -> int:
    if key == keys.DEPLOYMENT:
        return _LAST
    parsed = keys.parse(key)
    return _RANKS[parsed.kind] if parsed is not None else 0


def _names_others(key: str) -> bool:
    """Whether what is there makes something true, or says which files belong together."""
    parsed = keys.parse(key)
    if parsed is None:
        return False
    if parsed.kind is KeyKind.INDEX:
        return "/_versions/" in key
    if parsed.kind is KeyKind.SYSTEM:
        return not key.startswith((keys.SYSTEM_USAGE, keys.EMBEDDING_MODELS))
    return parsed.kind in (KeyKind.DOCUMENT_HEAD, KeyKind.TENANT_HEAD)


_CHANGING = (KeyKind.EMBEDDING, KeyKind.TEXT)


def _may_change(ours: ObjectInfo, theirs: ObjectInfo) -> bool:
    """It is of a kind that is written over, and was since it was copied. Whoever reads an old one is none the worse."""
    parsed = keys.parse(ours.key)
    changes = parsed is not None and (parsed.kind in _CHANGING or _is_counted(ours.key))
    return changes and (ours.size != theirs.size or ours.last_modified > theirs.last_modified)


async def _listed(store: ObjectStore, area: ObjectPrefix) -> AsyncIterator[ObjectInfo]:
    async for info in store.list(area):
        if not info.key.startswith(_NOT_COPIED) and not any(hint in info.key for hint in _HINTS):
            yield info


def _is_counted(key: str) -> bool:
    """Written over, and read by whoever makes a catalog anew: an old one must not come late."""
    parsed = keys.parse(key)
    is_use = parsed is not None and parsed.kind is KeyKind.USAGE
    return is_use or key.startswith((keys.SYSTEM_USAGE, keys.EMBEDDING_MODELS))


def _note_copied(info: ObjectInfo, copied: Copied) -> None:
    copied.objects += 1
    copied.size_bytes += info.size
    metrics.REPLICATION_OBJECTS.labels("copied").inc()
    metrics.REPLICATION_BYTES.inc(info.size)


def _note_differing(key: ObjectKey, copied: Copied) -> None:
    copied.differing.append(key)
    log.error("replication.differs", object_key=key)


def _sibling(folder: str, revision: int) -> ObjectKey:
    return ObjectKey(f"{folder}/{revision:0{keys.REVISION_DIGITS}d}.json")


async def _described(store: ObjectStore, key: ObjectKey) -> ObjectInfo | None:
    try:
        return await store.head(key)
    except ObjectMissing:
        return None


async def _read(store: ObjectStore, key: ObjectKey) -> bytes | None:
    try:
        return await store.get(key)
    except ObjectMissing:
        return None
