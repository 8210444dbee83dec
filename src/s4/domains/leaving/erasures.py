"""A deleted tenant's bytes and rows go, and a receipt proves it.

`begin` follows the tombstone at once; `run` comes round and takes each erasure a step further, whatever a crash left
half done: what there is is counted before any of it is deleted, so that a repeated deletion counts nothing twice, and a
receipt is signed only of a listing that was empty after the longest upload and the longest lease had passed. The
tombstone itself stays: it names nobody, and keeps writers of the past out.

What else has the tenant's bytes is dealt with before the receipt (`Elsewhere`): a second bucket is emptied, too, and
beside the backups is written who must not come back from them. Neither is passed over while it is away. When another
region is promoted, its bucket is looked at as well, whatever was proved of the former.
"""

import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Protocol

import structlog

from s4.domains import audit
from s4.domains.leaving.erasure_model import (
    FORMAT,
    RECEIPT_FORMAT,
    RECEIPT_VERSION,
    Erasure,
    ErasureState,
    Remaining,
    Removed,
)
from s4.domains.leaving.queries import erasures as queries
from s4.domains.tenants.chain import subject as tenant_subject
from s4.domains.tenants.model import TOMBSTONE
from s4.kernel import keys
from s4.kernel.clock import rfc3339
from s4.kernel.context import SYSTEM_ACTOR, AdminContext
from s4.kernel.errors import Conflict, DataCorrupt, NotFound, S4Error, Unavailable
from s4.kernel.ids import TenantId, is_tenant_id
from s4.kernel.keys import Collection, KeyKind, ObjectKey, ObjectPrefix
from s4.kernel.permissions import Permission
from s4.platform.chains import ABANDONED, Head, Record, Records, whose
from s4.platform.database import Connection, Database
from s4.platform.faults import failpoint
from s4.platform.jobs import SYSTEM, JobHandler, JobRequest, JobRun, Queue
from s4.platform.objects import ObjectInfo, ObjectMissing, ObjectStore
from s4.platform.security.signing import Signer

log = structlog.get_logger()

ERASE = "leaving.erase"
PROVE = "leaving.prove"


def erase(tenant_id: TenantId) -> JobRequest:
    """S4's own: the jobs of the tenant go with it."""
    return JobRequest(ERASE, SYSTEM, tenant_id, {})


def prove(tenant_id: TenantId) -> JobRequest:
    """The same, when nobody can write for the tenant any more."""
    return JobRequest(PROVE, SYSTEM, tenant_id, {})


Remains = Callable[[TenantId, datetime], Awaitable[Sequence[Remaining]]]
"""What is not erased of a tenant that is erased now: backups of the deployment, copies on machines, the trail."""

_BEGUN_MAX = 200  # tombstones of one run
_ROWS = 500  # of one transaction and table
_BATCHES_MAX = 2000  # of one tenant and run: a million rows of each table
_DELETED_TOGETHER = 1000  # keys, S3's bound for one request
_TOMBSTONE = {"what": "tombstone", "why": "It names nobody, and keeps the id from being used again."}
_CLASSES = {
    KeyKind.TENANT_HEAD: "heads",
    KeyKind.DOCUMENT_HEAD: "heads",
    KeyKind.CONTENT: "content",
    KeyKind.TEXT: "text",
    KeyKind.INDEX: "index",
    KeyKind.EMBEDDING: "embeddings",
    KeyKind.USAGE: "usage",
    KeyKind.STRANDED: "stranded",
    KeyKind.SYSTEM: "configuration",
}


@dataclass(frozen=True, slots=True)
class ErasureTimes:
    """`settle`: after it nobody writes for a tenant that was deleted: no upload lasts longer, no lease lives longer."""

    settle: timedelta


class Copy(Protocol):
    """The second bucket: read by `store`, and deleted in as long as it is a copy."""

    store: ObjectStore

    async def delete(self, keys: Sequence[ObjectKey]) -> None: ...


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """`copy`: the second bucket, where one is named; it answers None while that is no copy of this one. `backups`: the
    place of backups, where it is another than the bucket."""

    copy: Callable[[], Awaitable[Copy | None]] | None = None
    backups: Callable[[], AbstractAsyncContextManager[ObjectStore]] | None = None


class Erasures:
    """One for each process; workers call `run`."""

    def __init__(
        self,
        database: Database,
        store: ObjectStore,
        queue: Queue,
        records: Records,
        signer: Signer,
        times: ErasureTimes,
        *,
        epoch: str,
        term: int,
        elsewhere: Elsewhere,
        remains: Sequence[Remains] = (),
    ) -> None:
        self._database = database
        self._store = store
        self._queue = queue
        self._records = records
        self._signer = signer
        self._times = times
        self._epoch = epoch
        self._term = term
        self._elsewhere = elsewhere
        self._remains = tuple(remains)

    # -- asked

    @property
    def public_key(self) -> str:
        """By which receipts are verified."""
        return self._signer.public_key

    async def all(self, context: AdminContext) -> list[Erasure]:
        """In the order of their tenants' ids."""
        context.require(Permission.ADMIN_READ)
        return await self._all()

    async def get(self, context: AdminContext, tenant_id: TenantId) -> Erasure:
        """Raises `NotFound` for a tenant that is not being erased."""
        context.require(Permission.ADMIN_READ)
        async with self._database.read() as connection:
            record = await self._records.get(connection, tenant_id)
        if record is None:
            raise NotFound("No such tenant was erased.")
        return Erasure.of(record)

    # -- done

    async def begin(self, tenant_id: TenantId) -> None:
        """Puts a tenant that was just buried on the list, with what the catalog has of it. Twice does no harm."""

        async def decide(connection: Connection, now: datetime, current: Record | None) -> dict[str, object]:
            if current is not None:
                return dict(current.body)
            counted = Removed(rows=await queries.row_counts(connection, tenant_id))
            configured = await queries.configured(connection, tenant_id)
            return Erasure(tenant_id, ErasureState.BEGUN, now, counted, configured).body()

        async def noted(connection: Connection, before: Record | None, after: Record | None) -> None:
            await _noted(connection, before, after)
            if before is None:
                await self._queue.enqueue(connection, erase(tenant_id))

        await self._records.change(tenant_id, decide, noted=noted)
        failpoint("erase.begun")

    def handlers(self) -> dict[str, JobHandler]:
        """What was begun goes on at once; `run` comes round for the proof, and for what was left half done."""
        return {ERASE: JobHandler(self._run), PROVE: JobHandler(self._run_proof)}

    async def _run(self, job: JobRun) -> bool:
        for erasure in await self._all():
            if erasure.tenant_id == job.job.subject and erasure.state is not ErasureState.PROVED:
                with suppress(Conflict):  # the sweep was faster
                    await self._forget(erasure)
                    await self._go_on(erasure)
        return False

    async def _run_proof(self, job: JobRun) -> bool:
        try:
            return await self._run(job)
        except S4Error as error:  # `run` comes round
            log.error("erasures.deferred", tenant_id=job.job.subject, error=error.message)
            return False

    async def begin_missing(self) -> int:
        """For tombstones whose erasure nobody began, because who should have crashed. Answers with their number."""
        async with self._database.read() as connection:
            missing = await queries.unnoted(connection, limit=_BEGUN_MAX)
        for tenant_id in missing:
            await self.begin(tenant_id)
        return len(missing)

    async def run(self) -> tuple[int, int]:
        """Takes every erasure as far as it goes now. Answers with the rows that went, and the receipts signed."""
        rows, proved = await self._database.transact(queries.forget_reappeared), 0
        for erasure in await self._all():
            if erasure.state is ErasureState.PROVED and erasure.term >= self._term:
                continue
            try:
                rows += await self._forget(erasure)
                proved += await self._go_on(erasure)
            except Conflict:
                continue
            except S4Error as error:  # its turn comes again, and it keeps no other from its own
                log.error("erasures.deferred", tenant_id=erasure.tenant_id, error=error.message)
        return rows, proved

    async def forget_left_behind(self, *, limit: int) -> int:
        """Of tombstones: what a writer that was later than their erasure still brought in. Answers with the rows that
        went."""
        async with self._database.read() as connection:
            left = await queries.left_behind(connection, limit=limit)
        forget = partial(queries.forget_left_behind, rows_max=_ROWS)
        return sum([await self._in_batches(partial(forget, tenant_id=tenant_id)) for tenant_id in left])

    async def _go_on(self, erasure: Erasure) -> bool:
        """Whether the receipt was signed."""
        if erasure.state is ErasureState.PROVED:
            found = await self._count(erasure)
            if found.is_nothing:
                await self._move(erasure, replace(erasure, term=self._term))
                return False
            log.warning("erasures.found_in_copy", tenant_id=erasure.tenant_id, objects=sum(found.objects.values()))
            erasure = await self._move(erasure, _to_be_deleted(erasure, found))
        if erasure.state is ErasureState.BEGUN:
            found = await self._count(erasure)
            erasure = await self._move(
                erasure, replace(erasure, state=ErasureState.COUNTED, removed=erasure.removed.plus(found))
            )
            failpoint("erase.counted")
        if erasure.state is ErasureState.COUNTED:
            await self._delete(erasure)
            failpoint("erase.deleted")
            now = await self._now()
            until = now + self._times.settle
            erased = replace(erasure, state=ErasureState.ERASED, erased_at=now, prove_after=until)
            erasure = await self._move(erasure, erased)
            log.info("erasures.erased", tenant_id=erasure.tenant_id)
        if erasure.prove_after is None or await self._now() < erasure.prove_after:
            return False
        return await self._prove(erasure)

    async def _prove(self, erasure: Erasure) -> bool:
        late = await self._count(erasure)
        async with self._database.read() as connection:
            late = late.plus(Removed(rows=await queries.row_counts(connection, erasure.tenant_id, late=True)))
        if not late.is_nothing:
            log.warning("erasures.found_more", tenant_id=erasure.tenant_id, objects=sum(late.objects.values()))
            await self._move(erasure, _to_be_deleted(erasure, late))
            return False
        copy = await self._copy()
        if copy is not None and await self._clear(copy.store, erasure, copy.delete):
            until = await self._now() + self._times.settle
            await self._move(erasure, replace(erasure, prove_after=until))
            return False
        await self._note_beside_backups(erasure)
        now = await self._now()
        receipt = self._signer.signed(await self._receipt(erasure, now, is_in_copy=copy is None))
        proved = replace(erasure, state=ErasureState.PROVED, receipt=receipt, term=self._term)
        await self._move(erasure, proved)
        log.info("erasures.proved", tenant_id=erasure.tenant_id)
        return True

    async def _note_beside_backups(self, erasure: Erasure) -> None:
        """Whoever restores a backup of before reads it there, also when this bucket is lost."""
        if self._elsewhere.backups is None:
            return
        said = {"format": FORMAT, "tenant_id": erasure.tenant_id, "requested_at": rfc3339(erasure.requested_at)}
        async with self._elsewhere.backups() as place:
            await place.create(keys.backup_erased(erasure.tenant_id), json.dumps(said).encode(), commit_id=None)

    async def _receipt(self, erasure: Erasure, now: datetime, *, is_in_copy: bool) -> dict[str, object]:
        """`is_in_copy`: nobody looked into the second bucket, if there is one."""
        assert erasure.erased_at is not None, "it was erased before it is proved"
        remains = [each for ask in self._remains for each in await ask(erasure.tenant_id, erasure.erased_at)]
        if is_in_copy and self._elsewhere.copy is not None:
            remains.append(Remaining("the second bucket, which is no copy of the first at this time", None))
        classes = sorted(erasure.removed.objects)
        return {
            "format": RECEIPT_FORMAT,
            "format_version": RECEIPT_VERSION,
            "deployment": self._epoch,
            "tenant_id": erasure.tenant_id,
            "requested_at": rfc3339(erasure.requested_at),
            "erased_at": rfc3339(erasure.erased_at),
            "proved_empty_at": rfc3339(now),
            "settled_seconds": round(self._times.settle.total_seconds()),
            "removed": {
                "objects": {
                    name: {"objects": erasure.removed.objects[name], "bytes": erasure.removed.bytes.get(name, 0)}
                    for name in classes
                },
                "rows": dict(erasure.removed.rows),
            },
            "kept": [_TOMBSTONE] if await self._tombstone(erasure.tenant_id) else [],
            "remains": [each.to_dict() for each in remains],
        }

    # -- objects

    async def _count(self, erasure: Erasure) -> Removed:
        objects: Counter[str] = Counter()
        size_bytes: Counter[str] = Counter()
        async for info in self._doomed(self._store, erasure):
            objects[_class_of(info)] += 1
            size_bytes[_class_of(info)] += info.size
        return Removed(dict(objects), dict(size_bytes))

    async def _delete(self, erasure: Erasure) -> None:
        await self._clear(self._store, erasure, self._store.delete)
        await self._database.transact(partial(queries.forget_configured, names=erasure.records))
        with suppress(Unavailable):  # before the receipt it is asked again
            if (copy := await self._copy()) is not None:
                await self._clear(copy.store, erasure, copy.delete)

    async def _clear(
        self, store: ObjectStore, erasure: Erasure, delete: Callable[[Sequence[ObjectKey]], Awaitable[None]]
    ) -> int:
        """Answers with how many objects there were."""
        count = 0
        batch: list[ObjectKey] = []
        async for info in self._doomed(store, erasure):
            batch.append(info.key)
            count += 1
            if len(batch) == _DELETED_TOGETHER:
                await delete(batch)
                batch = []
        await delete(batch)
        return count

    async def _copy(self) -> Copy | None:
        return await self._elsewhere.copy() if self._elsewhere.copy is not None else None

    async def _doomed(self, store: ObjectStore, erasure: Erasure) -> AsyncIterator[ObjectInfo]:
        """Everything but the tombstone, and what fenced writers off behind it. Raises `DataCorrupt` where the bucket
        that serves knows of no tombstone: then it is not certain that this tenant was deleted."""
        buried_in = await self._tombstone(erasure.tenant_id)
        terms = await store.list_children(keys.STRANDED)
        for prefix in _places(erasure, terms):
            async for info in store.list(prefix):
                parsed = keys.parse(info.key)
                is_head = parsed is not None and parsed.kind is KeyKind.TENANT_HEAD
                if not is_head or (parsed is not None and (parsed.revision or 0) < buried_in):
                    yield info
        for term in terms:
            async for info in self._records_aside(store, term, erasure.tenant_id):
                yield info

    async def _records_aside(
        self, store: ObjectStore, term: ObjectPrefix, tenant_id: TenantId
    ) -> AsyncIterator[ObjectInfo]:
        """The tenant's webhooks and contacts that a former first region accepted too late: no catalog knows them."""
        for collection in keys.OF_TENANTS:
            async for info in store.list(keys.stranded_part(term, keys.collection(collection))):
                try:
                    is_theirs = whose(info.key.removeprefix(term), await store.get(info.key)) == tenant_id
                except (ObjectMissing, DataCorrupt):
                    continue
                if is_theirs:
                    yield info

    async def _tombstone(self, tenant_id: TenantId) -> int:
        """The revision that buried the tenant; 0 where the bucket has no head of it at all, as after the restore of a
        backup, which leaves out whoever is on the list."""
        subject = tenant_subject(tenant_id)
        heads = [info.key async for info in self._store.list(keys.tenant_heads(tenant_id))]
        if not heads:
            return 0
        for key in reversed(heads):
            head = Head.from_bytes(await self._store.get(key), expected=subject)
            if head.state == TOMBSTONE:
                return head.revision
            if head.state != ABANDONED:
                break
        raise DataCorrupt(f"The bucket does not say that {tenant_id} was deleted: nothing of it is erased.")

    # -- rows

    async def _forget(self, erasure: Erasure) -> int:
        await self._tombstone(erasure.tenant_id)
        return await self._in_batches(partial(queries.forget, tenant_id=erasure.tenant_id, rows_max=_ROWS))

    async def _in_batches(self, forget: Callable[[Connection], Awaitable[int]]) -> int:
        total = 0
        for _ in range(_BATCHES_MAX):
            count = await self._database.transact(forget)
            if count == 0:
                break
            total += count
            failpoint("erase.forgotten")
        return total

    async def _move(self, before: Erasure, after: Erasure) -> Erasure:
        """Raises `Conflict` when another worker has moved it meanwhile."""

        async def decide(_c: Connection, _n: datetime, current: Record | None) -> dict[str, object]:
            if current is None or Erasure.of(current) != before:
                raise Conflict("Another worker goes on with this erasure.")
            return after.body()

        async def noted(connection: Connection, was: Record | None, is_now: Record | None) -> None:
            await _noted(connection, was, is_now)
            due = after.prove_after
            if after.state is ErasureState.ERASED and due is not None and due > await self._database.now(connection):
                await self._queue.enqueue(connection, prove(after.tenant_id), not_before=due)

        await self._records.change(before.tenant_id, decide, noted=noted)
        return after

    async def _all(self) -> list[Erasure]:
        async with self._database.read() as connection:
            return [Erasure.of(record) for record in await self._records.all(connection)]

    async def _now(self) -> datetime:
        async with self._database.read() as connection:
            return await self._database.now(connection)


async def erased_tenants(store: ObjectStore) -> frozenset[TenantId]:
    """Whose data must not come back, whatever an old backup says. Read from the bucket, so that it is known before
    there is a catalog."""
    prefix = keys.collection(Collection.ERASURES)
    names = (child.removeprefix(prefix).rstrip("/") for child in await store.list_children(prefix))
    return frozenset(TenantId(name) for name in names if is_tenant_id(name))


async def _noted(connection: Connection, before: Record | None, after: Record | None) -> None:
    """The audit trail notes the beginning and the receipt; the steps between are nobody's act."""
    if after is None or (before is not None and before.body == after.body):
        return
    state = ErasureState(after.body["state"])
    if before is not None and (state is not ErasureState.PROVED or before.body["receipt"] == after.body["receipt"]):
        return
    action = "tenant.erased" if state is ErasureState.PROVED else "tenant.erasure_begun"
    receipt = after.body["receipt"]
    said = {"signature": receipt["signature"]} if receipt is not None else {"rows": after.body["rows"]}
    await audit.record(connection, SYSTEM_ACTOR, action, f"tenant/{after.name}", tenant_id=after.name, after=said)


def _to_be_deleted(erasure: Erasure, found: Removed) -> Erasure:
    removed = erasure.removed.plus(found)
    return replace(erasure, state=ErasureState.COUNTED, removed=removed, receipt=None, prove_after=None)


def _places(erasure: Erasure, terms: Sequence[ObjectPrefix]) -> list[ObjectPrefix]:
    """`terms`: below which lies what a former first region accepted too late."""
    own = [keys.tenant(erasure.tenant_id), keys.indices(erasure.tenant_id)]
    configured = [keys.system_heads(Collection(collection), name) for collection, name in erasure.records]
    return [*own, *configured, *(keys.stranded_part(term, part) for term in terms for part in own)]


def _class_of(info: ObjectInfo) -> str:
    parsed = keys.parse(info.key)
    return _CLASSES[parsed.kind] if parsed is not None else "other"
