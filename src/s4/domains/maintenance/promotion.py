"""A copy of the bucket becomes what is served from, and the former first bucket its copy.

Promoting marks both buckets with the next term, the copy's own first, so that the former region stops as soon as it
sees either. When nobody of it can be copying any more, the catalog is brought after the copy, and serves. Each step can
be repeated: a promotion that was killed is ended by the next.

What the former region accepted without having copied it is *stranded*: heads that only its bucket has, or has
otherwise. It is listed and never merged, for who has read the one and who has read the other have seen two histories.
`fail_back` puts it aside, under `stranded/{term}/`, takes away manifests that belong to it, and copies the other way.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import structlog

from s4.domains.leaving import erased_tenants
from s4.domains.maintenance import guarded
from s4.domains.maintenance.deployment import (
    Mark,
    copied_as_of,
    create_term,
    declare_copy,
    mark_of,
    promotion_of,
    write,
)
from s4.domains.maintenance.model import SERVING, Deployment
from s4.domains.maintenance.rebuild import Rebuild
from s4.domains.maintenance.replication import Copied, Replicator
from s4.domains.maintenance.report import Progress, Report
from s4.kernel import keys
from s4.kernel.clock import parse_rfc3339, rfc3339
from s4.kernel.errors import Conflict, DataCorrupt, Unavailable
from s4.kernel.ids import RandomBytes, base32
from s4.kernel.keys import KeyKind, ObjectKey
from s4.platform.chains import whose
from s4.platform.database import Database
from s4.platform.faults import failpoint
from s4.platform.objects import ObjectInfo, ObjectMissing, ObjectStore

log = structlog.get_logger()

_CLOCKS_APART = timedelta(minutes=5)  # of the two stores: so much earlier is looked at, too


@dataclass(frozen=True, slots=True)
class Promoted:
    """`as_of`: what was acknowledged before is there; None where the store copied, and nobody noted when.
    `fenced`: the former first bucket was told."""

    term: int
    as_of: datetime | None
    promoted_at: datetime
    fenced: bool
    report: Report


@dataclass(frozen=True, slots=True)
class Stranded:
    """A head that the former region made and nobody will serve. `name` is a document's key or file name."""

    key: ObjectKey
    kind: str
    tenant_id: str | None
    subject: str
    revision: int
    state: str
    committed_at: datetime | None
    name: str | None


class Promotions:
    """`store` is the bucket that was the copy, `former` the one that was the first, where it is to be reached."""

    def __init__(
        self,
        database: Database,
        store: ObjectStore,
        former: ObjectStore | None,
        deployment: Deployment,
        random: RandomBytes,
    ) -> None:
        self._database = database
        self._store = store
        self._former = former
        self._deployment = deployment
        self._random = random

    async def promote(
        self, rebuild: Rebuild, *, copied_by_store: bool = False, progress: Progress = lambda *_: None
    ) -> Promoted:
        """Raises `Conflict` for a bucket that is no copy, or when another has begun the same term. `copied_by_store`:
        it is one, though the first region never came to say so in it."""
        mark = await mark_of(self._store)
        assert mark is not None, "it was opened"
        if not mark.is_copy and self._deployment.state == SERVING:
            raise Conflict("This bucket is no copy: it serves already.")
        if mark.copied_in is None:
            mark = await self._declared(mark, copied_by_store=copied_by_store)
        as_of = await copied_as_of(self._store)
        term = mark.term + 1 if mark.is_copy else mark.term  # a promotion that was broken off is ended
        now = await self._now()
        if mark.is_copy:
            token = base32(self._random(16))
            if not await create_term(self._store, epoch=mark.epoch, term=term, at=rfc3339(now), token=token):
                raise Conflict(f"Somebody else has begun term {term} at this moment: look at `s4 stranded`.")
        failpoint("promote.marked")
        said = await promotion_of(self._store, term)
        fenced = said is not None and await self._fence(said)
        failpoint("promote.fenced")
        await asyncio.sleep(guarded.QUIET.total_seconds())  # what is read from here on is all that was copied
        report = await rebuild.run(progress=progress, serve=False)
        failpoint("promote.rebuilt")
        await write(self._database, Deployment(mark.epoch, SERVING, term))
        at = parse_rfc3339(said["promoted_at"]) if said is not None else now
        log.warning("deployment.promoted", term=term, as_of=rfc3339(as_of) if as_of is not None else None)
        return Promoted(term, as_of, at, fenced, report)

    async def _declared(self, mark: Mark, *, copied_by_store: bool) -> Mark:
        """Without it this term would be taken for one that was begun, and the former region would never be told."""
        if not copied_by_store:
            raise Conflict(
                "This bucket does not say that it is a copy. If it is one that the store made by itself, promote it "
                "with --copied-by-store; the first bucket is served from as it is, by `s4 serve`."
            )
        await declare_copy(self._store, epoch=mark.epoch, term=mark.term, as_of=None)
        return replace(mark, copied_in=mark.term)

    async def _fence(self, said: dict[str, Any]) -> bool:
        """Tells the former region in its own bucket. It may be away: then it sees the mark in this one, when it can."""
        if self._former is None:
            return False
        try:
            former = await mark_of(self._former)
            if former is None or former.epoch != said["epoch"]:
                return False
            await create_term(
                self._former, epoch=said["epoch"], term=said["term"], at=said["promoted_at"], token=said["promotion"]
            )
            return True
        except Unavailable as error:
            log.warning("deployment.former_region_not_told", error=error.message)
            return False

    # -- what the former region has too much

    async def stranded(self) -> list[Stranded]:
        """In the order of keys. Raises `Unavailable` while the former bucket is away."""
        return [await self._told(info) async for info in self._only_there() if _is_head(info.key)]

    async def fail_back(self, replicator: Replicator, *, progress: Progress = lambda *_: None) -> tuple[int, Copied]:
        """Makes the former first bucket a copy of this one. No process may run on it. Answers with how many objects
        were put aside, and what was copied."""
        former = self._required()
        mark = await mark_of(former)
        if mark is not None and mark.epoch != self._deployment.epoch:
            raise Conflict("The former bucket belongs to another deployment: their epochs differ.")
        if mark is not None and mark.term > self._deployment.term:
            raise Conflict("The former bucket was promoted itself: this region is the former one.")
        aside = 0
        if mark is not None and not mark.is_copy:
            if (said := await promotion_of(self._store, self._deployment.term)) is not None:
                await self._fence(said)
            aside = await self._put_aside(former)
            await replicator.declare(former, as_of=None)
        failpoint("fail_back.put_aside")
        return aside, await replicator.run(progress=progress)

    async def _put_aside(self, former: ObjectStore) -> int:
        """What names others first, so that nobody is misled by what is left when this is broken off. Of whom this
        region has erased nothing is kept."""
        found = [info async for info in self._only_there()]
        erased = await erased_tenants(self._store)
        for info in sorted(found, key=lambda info: not _is_head(info.key)):
            if not info.key.startswith(keys.INDICES) and await self._owner(former, info.key) not in erased:
                await former.put_stream(keys.stranded(self._deployment.term, info.key), former.stream(info.key))
            await former.delete([info.key])
        return len(found)

    async def _owner(self, former: ObjectStore, key: ObjectKey) -> str | None:
        """The tenant whose it is; also of webhooks and contacts, whose heads alone say it."""
        if key.startswith(tuple(map(keys.collection, keys.OF_TENANTS))):
            with suppress(DataCorrupt):
                return whose(key, await former.get(key))
        return keys.owner(key)

    async def _only_there(self) -> AsyncIterator[ObjectInfo]:
        """What the former bucket took since it was last copied and this one has not, or has otherwise."""
        former = self._required()
        as_of = await copied_as_of(self._store)
        since = as_of - _CLOCKS_APART if as_of is not None else None
        for area in (keys.INDICES, keys.SYSTEM, keys.TENANTS):
            async for info in former.list(area):
                if info.key.startswith((keys.PROBES, keys.TERMS)) or info.key in (keys.REPLICA, keys.DEPLOYMENT):
                    continue
                if (since is None or info.last_modified >= since) and await self._differs(former, info):
                    yield info

    async def _differs(self, former: ObjectStore, info: ObjectInfo) -> bool:
        """Of what has a random name it counts whether it is here, of the rest the bytes do."""
        try:
            here = await self._store.head(info.key)
            if here.size != info.size:
                return True
            if _is_named_at_random(info.key):
                return False
            return await self._store.get(info.key) != await former.get(info.key)
        except ObjectMissing:
            return True

    async def _told(self, info: ObjectInfo) -> Stranded:
        parsed = keys.parse(info.key)
        assert parsed is not None, "it is a head"
        subject = parsed.document_id or parsed.tenant_id or info.key.split("/")[2]
        try:
            head = json.loads(await self._required().get(info.key))
            body = head["body"]
            return Stranded(
                info.key, str(head["kind"]), parsed.tenant_id, subject, int(head["revision"]), str(head["state"]),
                parse_rfc3339(head["committed_at"]), body.get("key") or body.get("filename") or body.get("name"),
            )  # fmt: skip
        except (ValueError, KeyError, TypeError, DataCorrupt):
            return Stranded(info.key, "unreadable", parsed.tenant_id, subject, parsed.revision or 0, "", None, None)

    def _required(self) -> ObjectStore:
        if self._former is None:
            raise Conflict("The former first bucket is not named: set S4_REPLICA_STORE_URL to it.")
        return self._former

    async def _now(self) -> datetime:
        async with self._database.read() as connection:
            return await self._database.now(connection)


def _is_head(key: str) -> bool:
    parsed = keys.parse(key)
    if parsed is None:
        return False
    of_the_operator = parsed.kind is KeyKind.SYSTEM and "/head/" in key
    return of_the_operator or parsed.kind in (KeyKind.DOCUMENT_HEAD, KeyKind.TENANT_HEAD)


def _is_named_at_random(key: str) -> bool:
    """Or by what is in it."""
    parsed = keys.parse(key)
    if parsed is None:
        return False
    if parsed.kind is KeyKind.INDEX:
        return "/_versions/" not in key
    return parsed.kind in (KeyKind.CONTENT, KeyKind.TEXT, KeyKind.EMBEDDING)
