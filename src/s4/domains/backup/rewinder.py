"""Going back to a former state without stopping: in place, or as a new tenant beside the live one.

In place nothing is overwritten and nothing forgotten: what a document was becomes its next head, by the same protocol
as any other change (`Chains.commit`), and a document that was not there then becomes a tombstone. So replicas and
searches follow as always, whoever was in the middle of a change is not torn, and going back can be gone back on. A
document that somebody changes meanwhile stays as he left it, and is counted. Run again, it does what is left to do.

Bytes that are brought back get a version id of their own: the former one may be dead to a collector already. Their sum
is compared on the way, before the head that names them. The text and the vectors come along where they were kept, so
that nothing is extracted or paid for twice; the index is a worker's work, as after every change.

A new tenant is suspended until it is whole: its documents and bytes are counted, and once workers have indexed it, the
backup's searches of the live one are asked of it. In place they are counted, too, and the figures told.

What was archived then is archived again, and nothing else is: what was live comes out of the archive as for a reader.

A tenant's own settings, plan and keys stay as they are: a key that was revoked since stays revoked. A document under a
legal hold stays as it is, too; damaged bytes of it are replaced by the same ones, never by others. Holds themselves are
those of today: none is lifted or placed. A new tenant has the days and the holds that there were then.

What nobody can say of a document, since its head is lost or damaged, is no reason to change it: it is named and stays,
and keeps no other from going back.
"""

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any

import structlog

from s4.domains import audit
from s4.domains.backup import queries
from s4.domains.backup.creator import Progress, silent
from s4.domains.backup.model import Erased, Sample
from s4.domains.backup.rewound import Counted, Rewound
from s4.domains.backup.samples import Finds
from s4.domains.backup.sources import Source, Was, content_of, text_of
from s4.domains.documents.chain import live_body
from s4.domains.documents.chain import subject as document_subject
from s4.domains.documents.queries import holds as legal_holds
from s4.domains.documents.queries import rows
from s4.domains.maintenance.holds import Holds
from s4.domains.tenants import NewTenant, TenantService, TenantStatus
from s4.domains.tenants import queries as tenant_queries
from s4.domains.tenants.lifecycle import audited
from s4.domains.tenants.model import Body
from s4.kernel import keys
from s4.kernel.clock import rfc3339
from s4.kernel.context import AdminContext
from s4.kernel.errors import Conflict, DataCorrupt, InvalidRequest
from s4.kernel.ids import (
    DocumentId,
    RandomBytes,
    TenantId,
    VersionId,
    derived_id,
    document_id_for_key,
    new_version_id,
)
from s4.platform.background import side_by_side
from s4.platform.chains import Chains, Draft, Head
from s4.platform.database import Connection, Database
from s4.platform.faults import failpoint
from s4.platform.objects import ObjectMissing, ObjectStore

log = structlog.get_logger()

BEING_RESTORED = "being restored"
"""Why a new tenant is suspended."""
_INDEXED_EVERY_SECONDS = 0.5  # between two looks at how far workers are
_PARALLEL = 8  # documents in work: each is a copy and two small transactions
_SAID = ("key", "filename", "content_type", "sha256", "size", "metadata")
"""What makes two states of a document the same to its owner, with whether it is archived."""
_COMES_BACK = (*_SAID, "uploaded_at", "archived_at")
_PROBLEMS_NOTED = 20  # in the audit trail


@dataclass(slots=True)
class _Job:
    """One tenant on its way back: whose state, into which tenant, and how."""

    source: Source
    tenant_id: TenantId
    into: TenantId
    erased: Erased
    done: Rewound
    heals: bool
    dry_run: bool
    samples: dict[str, Sample] = field(default_factory=dict)
    """By document."""
    searches: list[Sample] = field(default_factory=list)
    """The same of the documents that were made of them."""

    @property
    def keeps_what_is_unchanged(self) -> bool:
        return self.tenant_id == self.into and not self.heals


class _Meanwhile(Exception):
    """Somebody changed the document between looking and sealing."""


class Rewinder:
    """Runs beside a live deployment."""

    def __init__(
        self,
        database: Database,
        store: ObjectStore,
        chains: Chains,
        tenants: TenantService,
        holds: Holds,
        random: RandomBytes,
        finds: Finds,
        patience: timedelta,
    ) -> None:
        """`patience`: how long a new tenant is waited for while no worker indexes any of it."""
        self._database = database
        self._store = store
        self._chains = chains
        self._tenants = tenants
        self._holds = holds
        self._random = random
        self._finds = finds
        self._patience = patience
        self._has_turn = False

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """No other restore and no removal of backups to the end of the block; of several tenants, for whoever takes
        one after the other back. Raises `Held`."""
        if self._has_turn:
            yield
            return
        async with self._holds.placed("restore", against="Another restore, or the removal of backups,"):
            self._has_turn = True
            try:
                yield
            finally:
                self._has_turn = False

    async def in_place(
        self,
        context: AdminContext,
        source: Source,
        tenant_id: TenantId,
        erased: Erased,
        *,
        heals: bool = False,
        dry_run: bool = False,
        progress: Progress = silent,
    ) -> Rewound:
        """`heals`: the bytes of documents that are as they were are read, too, and brought back where they are gone or
        damaged. Raises `NotFound` when the tenant was not there at the point or is not here now, `InvalidRequest` when
        it was erased, `Unavailable` while another restore runs, too, `DataCorrupt` when nobody can say what was there.
        """
        await self._require(source, tenant_id, erased)
        if source.doubt is not None:
            raise DataCorrupt(source.doubt)
        await self._tenants.get(tenant_id)
        job = _Job(source, tenant_id, tenant_id, erased, Rewound(tenant_id, tenant_id), heals, dry_run)
        async with self.turn():
            named = await self._each(job, progress)
            for document_id, size_bytes in (await self._live(tenant_id)).items():
                if document_id in named:
                    continue
                if source.names_all:
                    await self._one(job, Was(DocumentId(document_id), None))
                else:
                    job.done.then = job.done.then.and_one(size_bytes)
        await self._count(job)
        if not dry_run:
            await self._note(context, "tenant.rewind", job)
        return job.done

    async def beside(
        self,
        context: AdminContext,
        source: Source,
        tenant_id: TenantId,
        erased: Erased,
        *,
        name: str,
        plan_id: str | None = None,
        dry_run: bool = False,
        progress: Progress = silent,
    ) -> Rewound:
        """As `in_place`, into a new tenant with a key of its own, which is active once it was found to be whole.
        Repeated with the same name within a day, it goes on with the same one. `plan_id`: instead of the plan that it
        was on, which there may not be any more (`InvalidRequest`)."""
        head = await self._require(source, tenant_id, erased)
        job = _Job(source, tenant_id, TenantId(""), erased, Rewound(tenant_id, "a new tenant"), False, dry_run)
        if source.doubt is not None:
            job.done.problems.append(source.doubt)
        async with self.turn():
            if not dry_run:
                new = NewTenant(name, head.body["email"], head.body["company"], plan_id or head.body["plan_id"])
                once = f"s4/restore/{tenant_id}/{rfc3339(source.point)}/{new.plan_id}/{name}"
                created = await self._tenants.create_once(
                    context, new, idempotency_key=once, suspended_for=BEING_RESTORED, kept_as=head.body
                )
                job.into = job.done.into = created.tenant.tenant_id
                job.done.api_key = created.api_key
                await self._bring_vectors(source, tenant_id, job.into)
                job.samples = {each.document_id: each for each in await source.samples(tenant_id)}
                failpoint("rewind.vectors_copied")
            await self._each(job, progress)
        if not dry_run:
            await self._switch_on(context, job, progress)
            await self._note(context, "tenant.restore", job)
        return job.done

    # -- inside

    async def _require(self, source: Source, tenant_id: TenantId, erased: Erased) -> Head:
        if erased.covers(tenant_id, None):
            raise InvalidRequest("This tenant was erased: no restore brings it back.")
        return await source.tenant(tenant_id)

    async def _each(self, job: "_Job", progress: Progress) -> set[str]:
        """Answers with the documents that the source named."""
        named: set[str] = set()
        running: set[asyncio.Task[None]] = set()
        try:
            async for was in job.source.documents(job.tenant_id, if_changed=job.keeps_what_is_unchanged):
                named.add(was.document_id)
                if job.erased.covers(job.tenant_id, was.document_id):
                    job.done.erased += 1
                    continue
                if was.problem is not None:
                    self._tell(job, was.document_id, was.problem)
                    if was.size_bytes is not None:
                        job.done.then = job.done.then.and_one(was.size_bytes)
                    continue
                if was.head is not None:
                    job.done.then = job.done.then.and_one(was.head.body["size"])
                if (sample := job.samples.get(was.document_id)) is not None:
                    job.searches.append(Sample(job.into, _beside(job.into, was), sample.text))
                if len(running) >= _PARALLEL:
                    ended, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                    for task in ended:
                        task.result()
                running.add(asyncio.create_task(self._one(job, was)))
                progress("going back", len(named), job.done.bytes_copied)
            for task in running:
                await task
        finally:
            for task in running:
                task.cancel()
        return named

    async def _one(self, job: "_Job", was: Was) -> None:
        try:
            await self._go_back(job, was)
        except ObjectMissing:
            job.done.lost.append(was.document_id)
            log.error("rewind.bytes_lost", tenant_id=job.tenant_id, document_id=was.document_id)
        except DataCorrupt as error:
            self._tell(job, was.document_id, error.message)

    async def _go_back(self, job: "_Job", was: Was) -> None:
        into, done = job.into, job.done
        target = was.document_id if into == job.tenant_id else _beside(into, was)
        async with self._database.read() as connection:
            row = await rows.find(connection, into, target)
            live = row if row is not None and row.state == "live" else None
            is_held = live is not None and await _is_held(connection, live)
        if was.head is None:
            if is_held:
                done.held += 1
            elif live is not None and await self._commit(job, target, row, "tombstone", {"key": live.key}):
                done.removed += 1
            return
        is_sound = live is not None and not (job.heals and await self._is_damaged(into, live))
        if live is not None and is_sound and _said(live) == _said_by(was.head):
            done.unchanged += 1
            return
        has_its_bytes = live is not None and _bytes_of(live) == _bytes_by(was.head)
        if is_held and (is_sound or not has_its_bytes):
            done.held += 1
            if not is_sound:
                said = "It is under a legal hold, its bytes are damaged, and there were others then: it stays so."
                self._tell(job, was.document_id, said)
            return
        body = live_body(rows.document(live)) if is_held and live is not None else _body_by(job, was.head, live)
        if live is not None and is_sound and has_its_bytes:
            body |= _with_its_bytes(live, is_archived="archived_at" in body)
        elif job.dry_run:
            done.bytes_copied += body["size"]
        else:
            body |= await self._bring(job, was.head, target, row)
        if await self._commit(job, target, row, "live", body):
            done.changed += live is not None
            done.brought_back += live is None

    def _tell(self, job: "_Job", document_id: str, problem: str) -> None:
        job.done.problems.append(f"{document_id}: {problem}")
        log.error("rewind.document_in_doubt", tenant_id=job.tenant_id, document_id=document_id, problem=problem)

    async def _is_damaged(self, into: TenantId, live: Any) -> bool:
        """Whether the bytes of a live document are gone, or others."""
        key = keys.content(into, DocumentId(live.document_id), VersionId(live.version_id))
        digest = hashlib.sha256()
        with suppress(ObjectMissing):
            async for chunk in self._store.stream(key):
                digest.update(chunk)
            return bool(digest.hexdigest() != live.sha256)
        return True

    async def _bring(self, job: "_Job", head: Head, target: DocumentId, row: Any) -> dict[str, Any]:
        """Bytes and text under a new version. Raises `ObjectMissing` when the bytes are gone, `DataCorrupt` when they
        are not what the head says."""
        version_id = new_version_id(self._random)
        digest = hashlib.sha256()
        async with self._store.upload(keys.content(job.into, target, version_id)) as upload:
            async for chunk in job.source.read(content_of(job.tenant_id, head)):
                digest.update(chunk)
                await upload.write(chunk)
            if digest.hexdigest() != head.body["sha256"]:
                raise DataCorrupt(f"The bytes of {head.subject.subject_id} are not what its head says.")
            size_bytes = await upload.commit()
        job.done.bytes_copied += size_bytes  # not around the await: others add to it meanwhile
        failpoint("rewind.content_copied")
        revision = (row.revision if row is not None else 0) + 1
        with suppress(ObjectMissing, DataCorrupt):  # then it is extracted again
            text = b"".join([chunk async for chunk in job.source.read(text_of(job.tenant_id, head))])
            await self._store.create(keys.text(job.into, target, version_id, revision), text, commit_id=None)
        return {"version_id": version_id, "content_revision": revision}

    async def _bring_vectors(self, source: Source, tenant_id: TenantId, into: TenantId) -> None:
        async def one(key: keys.ObjectKey) -> None:
            with suppress(ObjectMissing, DataCorrupt):  # then they are made again
                vectors = b"".join([chunk async for chunk in source.read(key)])
                await self._store.put(keys.embedding_for(into, key), vectors)

        await side_by_side(source.derived(tenant_id), one, at_once=_PARALLEL)

    async def _commit(self, job: "_Job", target: DocumentId, looked_at: Any, state: str, body: dict[str, Any]) -> bool:
        """False when somebody else changed it since it was looked at, or placed a hold; nothing is committed in a dry
        run. What comes back counts as read, so that it is not archived again for having been away."""
        if job.dry_run:
            return True
        revision = looked_at.revision if looked_at is not None else 0

        async def seal(connection: Connection, _: datetime) -> Draft:
            row = await rows.lock(connection, job.into, target)
            if (row.revision if row is not None else 0) != revision:
                raise _Meanwhile
            if row is not None and row.state == "live" and body.get("sha256") != row.sha256:
                await legal_holds.require_free(connection, rows.document(row))
            return Draft(state, body)

        async def settled(connection: Connection, head: Head) -> None:
            if state == "live":
                await rows.touch(connection, job.into, [target], head.committed_at)

        try:
            await self._chains.commit(document_subject(job.into, target), seal=seal, settled=settled)
        except _Meanwhile:
            job.done.changed_meanwhile += 1
            return False
        except Conflict:
            job.done.held += 1
            return False
        failpoint("rewind.committed")
        return True

    async def _live(self, tenant_id: TenantId) -> dict[str, int]:
        async with self._database.read() as connection:
            return await queries.live_documents(connection, tenant_id)

    async def _count(self, job: "_Job") -> None:
        sizes = await self._live(job.into)
        job.done.now = Counted(len(sizes), sum(sizes.values()))

    async def _switch_on(self, context: AdminContext, job: "_Job", progress: Progress) -> None:
        """Lets a new tenant in if it is whole. One that is active already, or was suspended for another reason since,
        stays as it is."""
        done = job.done
        await self._count(job)
        tenant = await self._tenants.get(job.into)
        if (tenant.status, tenant.status_reason) != (TenantStatus.SUSPENDED, BEING_RESTORED):
            done.suspended = tenant.status == TenantStatus.SUSPENDED
            return
        if done.now != done.then:
            done.problems.append(
                f"There are {done.now.documents} documents of {done.now.stored_bytes} bytes, and there were "
                f"{done.then.documents} of {done.then.stored_bytes}."
            )
        if done.ok and not await self._is_indexed(job, progress):
            done.problems.append("No worker has indexed it yet: run this again once they have.")
        for sample in job.searches if done.ok else []:
            done.searches += 1
            if not await self._finds(sample):
                done.problems.append(f"A search does not find {sample.document_id}, which it found then.")
        done.suspended = not done.ok or not await self._activate(context, job.into)

    async def _is_indexed(self, job: "_Job", progress: Progress) -> bool:
        """Waits until workers have indexed what will be searched for, as long as they index anything."""
        wanted = [sample.document_id for sample in job.searches]
        left_before, moved_at = -1, time.monotonic()
        while True:
            async with self._database.read() as connection:
                left, of_wanted = await queries.unindexed(connection, job.into, wanted)
            if not of_wanted:
                return True
            if left != left_before:
                left_before, moved_at = left, time.monotonic()
            elif time.monotonic() - moved_at > self._patience.total_seconds():
                return False
            progress("to be indexed", left, 0)
            await asyncio.sleep(_INDEXED_EVERY_SECONDS)

    async def _activate(self, context: AdminContext, tenant_id: TenantId) -> bool:
        """False when it was suspended for another reason meanwhile."""

        async def decide(_c: Connection, _n: datetime, body: Body) -> Body | None:
            if (body["status"], body.get("status_reason")) != (TenantStatus.SUSPENDED, BEING_RESTORED):
                return None
            return {**body, "status": TenantStatus.ACTIVE, "status_reason": None}

        noted = audited(context.actor, "tenant.activate", tenant_id)
        tenant = await self._tenants.change(tenant_id, decide, noted=noted)
        return tenant is not None and tenant.status == TenantStatus.ACTIVE

    async def _note(self, context: AdminContext, action: str, job: "_Job") -> None:
        done = job.done
        said = {name: value for name, value in asdict(done).items() if name not in ("api_key", "lost")}
        said |= {"point": rfc3339(job.source.point), "lost": len(done.lost), "problems": len(done.problems)}
        said["first_problems"] = done.problems[:_PROBLEMS_NOTED]

        async def note(connection: Connection) -> None:
            await audit.record(
                connection, context.actor, action, f"tenant/{done.into}", tenant_id=done.tenant_id, after=said
            )

        await self._database.transact(note)


def _beside(into: TenantId, was: Was) -> DocumentId:
    """The same in every run: by the tenant's own key, where it has one, as an upload by it would have."""
    key = was.head.body["key"] if was.head is not None else None
    of = TenantId(was.head.subject.tenant_id) if was.head is not None else into
    if key is not None and was.document_id == document_id_for_key(of, key):
        return document_id_for_key(into, key)
    return DocumentId(derived_id("doc", into, was.document_id))


async def _is_held(connection: Connection, live: Any) -> bool:
    """Whether a document, or its whole tenant, is under a legal hold: then it is neither deleted nor replaced."""
    return bool(live.holds) or await tenant_queries.is_held(connection, live.tenant_id)


def _body_by(job: "_Job", head: Head, live: Any) -> dict[str, Any]:
    """What the next head says, but for its bytes. In place holds are those of today."""
    body = {name: head.body[name] for name in _COMES_BACK if name in head.body}
    of_today = live.holds if live is not None else None
    holds = of_today if job.tenant_id == job.into else head.body.get("holds")
    return body | ({"holds": holds} if holds else {})


def _with_its_bytes(live: Any, *, is_archived: bool) -> dict[str, Any]:
    """What the next head says of bytes that are there. Out of the archive, they are indexed anew."""
    if live.archived_at is not None and not is_archived:
        return {"version_id": live.version_id, "content_revision": live.revision + 1, "restores": True}
    return {"version_id": live.version_id, "content_revision": live.content_revision}


def _bytes_of(row: Any) -> tuple[str, int]:
    return row.sha256, row.size_bytes


def _bytes_by(head: Head) -> tuple[str, int]:
    return head.body["sha256"], head.body["size"]


def _said_by(head: Head) -> dict[str, Any]:
    return {name: head.body[name] for name in _SAID} | {"archived": "archived_at" in head.body}


def _said(row: Any) -> dict[str, Any]:
    return {
        "archived": row.archived_at is not None,
        "key": row.key,
        "filename": row.filename,
        "content_type": row.content_type,
        "sha256": row.sha256,
        "size": row.size_bytes,
        "metadata": row.metadata,
    }
