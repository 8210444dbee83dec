"""Writes to a tenant's table: one writer at a time, many documents per commit, and the catalog in the same breath.

While one commit runs, what else becomes ready for the same tenant gathers and goes into the next: a single document
waits for nobody, a thousand share commits. The lease on the table spares conflicts between workers; correctness rests
on monotone writes and on the publishing transaction, which verifies lease and jobs and refuses a writer that overslept.
"""

import asyncio
import contextlib
import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from weakref import WeakValueDictionary

import structlog

from s4.domains import usage
from s4.domains.documents.chain import told_of
from s4.domains.documents.model import Document, DocumentStatus
from s4.domains.documents.queries import rows as document_rows
from s4.domains.events import EventKind, Events
from s4.domains.indexing import jobs
from s4.domains.indexing.elsewhere import Elsewhere, Place
from s4.domains.indexing.generation import Generation
from s4.domains.indexing.queries import tables as queries
from s4.domains.indexing.stages import stage
from s4.domains.indexing.suspicions import Suspicions
from s4.engine.vectors import ChunkRow, IndexDamaged, IndexFault, Sums, TableWriter, VectorStore, inspect
from s4.kernel import keys
from s4.kernel.errors import S4Error, Unavailable
from s4.kernel.ids import (
    FIRST_INCARNATION,
    DocumentId,
    GenerationId,
    Incarnation,
    RandomBytes,
    TenantId,
    new_incarnation,
)
from s4.platform.database import Connection, Database
from s4.platform.faults import failpoint
from s4.platform.jobs import ClaimedJob, Lease, LeaseLost, Leases, Queue
from s4.platform.objects import ObjectMissing, ObjectStore
from s4.platform.telemetry import metrics
from s4.platform.turns import Turns

log = structlog.get_logger()

_BATCH_ROWS_MAX = 20_000  # of one commit: 384 dimensions of float32 are some 30 MB
_LEASE_POLL_SECONDS = 0.02
_LEASE_WAIT = timedelta(seconds=60)
_SESSION_SECONDS_MAX = 5.0  # under one lease, so that other workers get their turn at a busy tenant's table
_CLOSE_SECONDS_MAX = 2.0  # for tidying behind what is published; a stopping process was patient before
_OVERSLEPT = "The lease on the index ran out while it was written."
COMMITS_BEFORE_OPTIMIZE = 20
"""Of a table: keyword search must scan what was added since, and slows down with every commit."""


@dataclass(slots=True, eq=False)
class Change:
    """What one job wants written: the rows of a document's new revision, or the removal of a deleted one's."""

    tenant_id: TenantId
    document_id: DocumentId
    revision: int
    job: ClaimedJob
    document: Document | None = None
    rows: list[ChunkRow] = field(default_factory=list)
    pages: int | None = None
    detected_type: str | None = None
    use: Mapping[str, int] = field(default_factory=dict)
    """What the work took, for the ledger: told with the publication, or not at all."""
    became_ready: bool = False
    """By the publication, for the first time of this revision `waited` after it was acknowledged."""
    waited: timedelta | None = None
    done: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    @property
    def removes(self) -> bool:
        return self.document is None


@dataclass(slots=True)
class _OpenTable:
    """A tenant's table in this process's hands. `sums` are those of its last commit."""

    tenant_id: TenantId
    incarnation: Incarnation
    lease: Lease
    writer: TableWriter
    sums: Sums
    is_whole: bool


class Publisher:
    """One per process and generation."""

    def __init__(
        self,
        database: Database,
        store: ObjectStore,
        vectors: VectorStore,
        queue: Queue,
        leases: Leases,
        events: Events,
        generation: Generation,
        suspicions: Suspicions,
        random: RandomBytes,
    ) -> None:
        self._database = database
        self._store = store
        self._vectors = vectors
        self._queue = queue
        self._leases = leases
        self._events = events
        self._generation = generation
        self._suspicions = suspicions
        self._random = random
        self.elsewhere = Elsewhere(database, queue, generation.id)
        self._waiting: dict[TenantId, list[Change]] = {}
        self._writers: dict[TenantId, asyncio.Task[None]] = {}
        self._turns: WeakValueDictionary[TenantId, Turns] = WeakValueDictionary()

    async def publish(self, change: Change) -> None:
        """Returns when the change is in the index and in the catalog and its job is finished.

        Raises `LeaseLost` when the job was taken away, `Unavailable` when the store, the catalog or the lease is.
        """
        self._waiting.setdefault(change.tenant_id, []).append(change)
        if change.tenant_id not in self._writers:
            task = asyncio.create_task(self._drain(change.tenant_id))
            self._writers[change.tenant_id] = task
        await change.done

    async def aclose(self) -> None:
        """Ends the writing, so that no table stays held: what is being written belongs to no job of ours any more."""
        writers = list(self._writers.values())
        if not writers:
            return
        await asyncio.wait(writers, timeout=_CLOSE_SECONDS_MAX)
        for task in writers:
            task.cancel()
        await asyncio.wait(writers)

    @contextlib.asynccontextmanager
    async def exclusive(self, tenant_id: TenantId, generation: GenerationId | None = None) -> AsyncIterator[Lease]:
        """The lease on the tenant's table (of `generation`, or of ours), for the length of the block. Raises
        `Unavailable` when it is not to be had. What the table does to the block is looked into afterwards.

        A lease tells processes apart, not the tasks of one: those take turns first, so that compaction gets its turn at
        a table that is written without end.
        """
        async with self._turns_at(tenant_id).place():
            lease = await self._acquire(tenant_id, generation or self._generation.id)
            try:
                yield lease
            except Exception as error:
                if await self._was_overslept(lease, error):
                    raise Unavailable(_OVERSLEPT) from error
                await self._suspect(tenant_id, error, generation)
                raise
            finally:
                await self._leases.release(lease)

    def _turns_at(self, tenant_id: TenantId) -> Turns:
        return self._turns.setdefault(tenant_id, Turns(1))

    async def _was_overslept(self, lease: Lease, error: Exception) -> bool:
        """Whether the lease has passed on when `error` came: to whoever writes on, what we wrote is superseded, and its
        files may have gone from under us. That says nothing of the document, nor of the table."""
        if isinstance(error, Unavailable | LeaseLost):
            return False
        try:
            await self._database.transact(lambda connection: self._leases.verify(connection, lease))
        except LeaseLost:
            return True
        return False

    async def _suspect(self, tenant_id: TenantId, error: Exception, generation: GenerationId | None = None) -> None:
        """LanceDB has no class for what damaged files do to it."""
        if isinstance(error, IndexFault) or not isinstance(error, S4Error | LeaseLost):
            await self._suspicions.tell(tenant_id, generation or self._generation.id, error)

    async def _acquire(self, tenant_id: TenantId, generation: GenerationId) -> Lease:
        give_up_at = time.monotonic() + _LEASE_WAIT.total_seconds()
        while True:
            lease = await self._leases.acquire(f"table/{tenant_id}/{generation}")
            if lease is not None:
                return lease
            if time.monotonic() > give_up_at:
                raise Unavailable("Another worker is writing this tenant's index.")
            await asyncio.sleep(_LEASE_POLL_SECONDS)

    async def verify(self, connection: Connection, lease: Lease) -> None:
        """Raises `LeaseLost` unless `lease` still stands; part of the caller's publishing transaction."""
        await self._leases.verify(connection, lease)

    async def _drain(self, tenant_id: TenantId) -> None:
        """Writes session after session until nothing waits."""
        try:
            while batch := self._next_batch(tenant_id):
                try:
                    await self._session(tenant_id, batch)
                except Exception as error:
                    _settle(batch, error)
        finally:
            del self._writers[tenant_id]
            _settle(self._waiting.pop(tenant_id, []), Unavailable("The worker stops."))

    async def _session(self, tenant_id: TenantId, batch: list[Change]) -> None:
        """Under one lease, with the table open: this batch, and what gathers meanwhile, but not for ever, nor once
        another task of this process waits for the table."""
        give_way_at = time.monotonic() + _SESSION_SECONDS_MAX
        turns = self._turns_at(tenant_id)
        async with self._opened(tenant_id) as table:
            await self._commit_or_part(table, batch)
            while time.monotonic() < give_way_at and not turns.waiting and (following := self._next_batch(tenant_id)):
                try:
                    await self._commit_or_part(table, following)
                except Exception as error:
                    await self._suspect(tenant_id, error)
                    _settle(following, error)
                    return  # with a fresh lease and a fresh table next time

    @contextlib.asynccontextmanager
    async def _opened(self, tenant_id: TenantId) -> AsyncIterator["_OpenTable"]:
        async with self.exclusive(tenant_id) as lease:
            async with self._database.read() as connection:
                known = await queries.table_record(connection, tenant_id, self._generation.id)
            incarnation = known.state.incarnation if known is not None else await self._begun(tenant_id)
            failpoint("index.described")
            prefix = self._generation.prefix(tenant_id, incarnation)
            writer = await self._vectors.writer(prefix, self._generation.dimension)
            try:
                # Without its newest manifest LanceDB would take an older version for the latest, and go on from there.
                if known is not None and await writer.latest() < known.state.version:
                    raise IndexDamaged("The newest version of this index is gone.")
                sums, is_whole = (known.sums, known.state.is_whole) if known is not None else ({}, True)
                yield _OpenTable(tenant_id, incarnation, lease, writer, sums, is_whole)
            finally:
                await writer.close()

    async def inspected(self, tenant_id: TenantId, incarnation: Incarnation, version: int, sums: Sums) -> Sums:
        """What is to be recorded of `version`. Raises `IndexDamaged` when files are not what `sums` says of them."""
        prefix = self._generation.prefix(tenant_id, incarnation)
        found = await inspect(self._store, prefix, version, sums)
        if found.damaged:
            raise IndexDamaged("Files of this index are damaged.", details={"files": found.damaged})
        return found.sums

    def _next_batch(self, tenant_id: TenantId) -> list[Change]:
        waiting = self._waiting.get(tenant_id, [])
        batch: list[Change] = []
        rows = 0
        while waiting and (not batch or rows + len(waiting[0].rows) <= _BATCH_ROWS_MAX):
            change = waiting.pop(0)
            if not change.done.done():  # cancelled while it waited
                batch.append(change)
                rows += len(change.rows)
        return batch

    async def _commit_or_part(self, table: "_OpenTable", batch: list[Change]) -> None:
        """Commits the batch; if that fails for a reason of its own, each change alone: one poisoned document takes no
        innocent along. Raises what concerns the table as a whole."""
        try:
            await self._commit(table, batch)
        except Unavailable:
            raise
        except Exception:
            if len(batch) == 1:
                raise
            log.warning("index.batch_parted", changes=len(batch))
            for change in batch:
                try:
                    await self._commit(table, [change])
                except Unavailable:
                    raise
                except Exception as error:
                    await self._suspect(table.tenant_id, error)
                    _settle([change], error)

    async def _commit(self, table: "_OpenTable", batch: list[Change]) -> None:
        try:
            with stage("write"):
                version = await table.writer.apply(
                    [row for change in batch for row in change.rows],
                    removals={
                        # Above the deleted revision, so that its own rows go as well.
                        change.document_id: change.revision + 1
                        for change in batch
                        if change.removes
                    },
                    keep_older=True,  # until the catalog has moved, searches need what is replaced
                )
            failpoint("index.written")
            with stage("record"):
                table.sums = await self.inspected(table.tenant_id, table.incarnation, version, table.sums)
            with stage("publish"):
                lost = await self._database.transact(lambda c: self._publish(c, table, batch, version))
        except Exception as error:
            if isinstance(error, LeaseLost) or await self._was_overslept(table.lease, error):
                metrics.INDEX_COMMITS.labels("lost_lease").inc()
                raise Unavailable(_OVERSLEPT) from error
            raise
        metrics.INDEX_COMMITS.labels("ok").inc()
        _count_ready([change for change in batch if change not in lost])
        failpoint("index.published")
        _settle(lost, LeaseLost("job"))
        _settle(batch, None)
        await self._tidy(table, [change for change in batch if change not in lost])

    async def _tidy(self, table: "_OpenTable", published: list[Change]) -> None:
        """Removes the rows that `published` replaced. What fails here is pruned by maintenance: they are ignored."""
        replaced: dict[str, int] = {c.document_id: c.revision for c in published if not c.removes and c.revision > 1}
        if not replaced:
            return

        async def move(connection: Connection) -> None:
            await self._leases.verify(connection, table.lease)
            await self._move(connection, table, version, await self._database.now(connection))

        try:
            version = await table.writer.apply([], removals=replaced)
            failpoint("index.replaced_removed")
            table.sums = await self.inspected(table.tenant_id, table.incarnation, version, table.sums)
            await self._database.transact(move)
            failpoint("index.tidied")
        except (LeaseLost, Unavailable) as error:
            log.warning("index.tidying_deferred", tenant_id=table.tenant_id, error=str(error))
            await self._suspect(table.tenant_id, error)

    async def _move(self, connection: Connection, table: "_OpenTable", version: int, now: datetime) -> int:
        return await queries.move_table(
            connection,
            table.tenant_id,
            self._generation.id,
            table.incarnation,
            version=version,
            sums=table.sums,
            now=now,
        )

    async def _begun(self, tenant_id: TenantId) -> Incarnation:
        """Which table the catalog will know first. Says in the bucket what it is made with.

        Where that stands already, the catalog was lost, or whoever wrote it was: what they left is not taken over, for
        nobody knows of its files what they were.
        """
        described = keys.generation_manifest(tenant_id, self._generation.id)
        try:
            await self._store.head(described)
        except ObjectMissing:
            text = json.dumps(self._generation.describe(), indent=1)
            await self._store.create(described, text.encode(), commit_id=None)
            return FIRST_INCARNATION
        return new_incarnation(self._random)

    async def _publish(
        self, connection: Connection, table: "_OpenTable", batch: list[Change], version: int
    ) -> list[Change]:
        """One transaction: table version, searchable revisions, documents' states, jobs. Answers with the changes
        whose jobs were taken away; their rows are there and ignored. All of them, when the tenant has released this
        generation meanwhile."""
        tenant_id = table.tenant_id
        await self._leases.verify(connection, table.lease)
        now = await self._database.now(connection)
        place = await self.elsewhere.place(connection, tenant_id, now)
        if not place.is_held:
            return batch
        commits = await self._move(connection, table, version, now)
        if commits >= COMMITS_BEFORE_OPTIMIZE:
            since = min(change.job.created_at for change in batch)  # behind what waits, a long queue would delay it
            await self._queue.enqueue(connection, jobs.optimize(tenant_id, self._generation.id), not_before=since)
        lost = []
        # In one order everywhere, so that two transactions cannot wait for each other's rows.
        for change in sorted(batch, key=lambda change: change.document_id):
            # The document before the job, as whoever enqueues locks them: the other order would deadlock.
            row = await document_rows.lock(connection, tenant_id, change.document_id)
            if not await self._queue.holds(connection, change.job):
                lost.append(change)
                continue
            if change.removes:
                await queries.withdraw(connection, tenant_id, change.document_id, up_to_revision=change.revision)
                await self.elsewhere.remove(connection, change.job, place.others)
            else:
                await self._make_searchable(connection, change, row, now, place)
            await self._queue.finish(connection, change.job)
        if not table.is_whole:
            await queries.note_whole(connection, tenant_id)
        await _meter(connection, tenant_id, now, [change for change in batch if change not in lost])
        return lost

    async def _make_searchable(
        self, connection: Connection, change: Change, row: Any, now: datetime, place: Place
    ) -> None:
        """`row` is the document's, locked. Notes in `change` what is counted once this is committed."""
        change.became_ready, change.waited = False, None
        if row is None or row.state != "live" or row.searchable_floor >= change.revision:
            return  # deleted meanwhile; another job removes the rows
        known = await queries.searchable_revision(connection, change.tenant_id, self._generation.id, change.document_id)
        if known < change.revision:
            await queries.publish(
                connection,
                change.tenant_id,
                self._generation.id,
                change.document_id,
                revision=change.revision,
                chunks=len(change.rows),
            )
        if row.content_revision != change.revision:
            return  # replaced meanwhile; the newer content has its own turn
        is_awaited = await self.elsewhere.index(
            connection, change.tenant_id, change.document_id, change.revision, place.others
        )
        if is_awaited and row.status != DocumentStatus.READY:
            return
        if row.status == DocumentStatus.READY and not place.is_served:
            return  # nobody searches here: what is said of the document is as it was
        await document_rows.update(
            connection,
            change.tenant_id,
            change.document_id,
            status=DocumentStatus.READY.value,
            stage=None,
            error_code=None,
            error_message=None,
            chunks=len(change.rows),
            pages=change.pages,
            detected_type=change.detected_type,
            indexed_at=now,
        )
        if row.status != DocumentStatus.READY:  # not when a new generation indexes what is ready
            said = told_of(row) | {"status": DocumentStatus.READY.value, "chunks": len(change.rows)}
            await self._events.emit(
                connection,
                change.tenant_id,
                EventKind.DOCUMENT_PROCESSED,
                said | {"pages": change.pages},
                once=f"{change.document_id}/{change.revision}",
            )
            if known < change.revision and not row.restoring:
                change.waited = now - change.job.created_at  # which came with the commit that was acknowledged
        change.became_ready = True


def _count_ready(published: list[Change]) -> None:
    for change in published:
        if change.became_ready:
            metrics.DOCUMENTS_INDEXED.labels("ready", "").inc()
        if change.waited is not None:
            metrics.FRESHNESS_SECONDS.observe(change.waited.total_seconds())


async def _meter(connection: Connection, tenant_id: TenantId, now: datetime, changes: list[Change]) -> None:
    used: Counter[str] = Counter()
    for change in changes:
        used.update(change.use)
    if used:
        await usage.add(connection, tenant_id, now, used)


def _settle(changes: list[Change], error: Exception | None) -> None:
    for change in changes:
        if change.done.done():
            continue
        if error is None:
            change.done.set_result(None)
        else:
            change.done.set_exception(error)
