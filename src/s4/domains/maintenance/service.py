"""The reconcilers. Each answers with a report that says what it mended."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import structlog

from s4.domains import usage
from s4.domains.documents import DocumentService
from s4.domains.documents import jobs as document_jobs
from s4.domains.documents.chain import subject as document_subject
from s4.domains.documents.queries import idempotency, reservations, rows
from s4.domains.indexing import COMMITS_BEFORE_OPTIMIZE, Generation, Publisher
from s4.domains.indexing import jobs as index_jobs
from s4.domains.indexing import queries as index_queries
from s4.domains.maintenance import queries
from s4.domains.maintenance.deployment import SERVING, Deployment, current_state
from s4.domains.tenants import TenantService
from s4.engine.vectors import VectorStore
from s4.kernel import keys
from s4.kernel.errors import DataCorrupt, S4Error
from s4.kernel.ids import DocumentId, TenantId, VersionId, is_document_id, is_tenant_id
from s4.kernel.keys import KeyKind, ObjectKey
from s4.platform.chains import Chains, Records
from s4.platform.database import Connection, Database
from s4.platform.faults import failpoint
from s4.platform.jobs import SYSTEM, JobHandler, JobRequest, JobRun, Queue, RegularTask, regular_handler
from s4.platform.objects import ObjectInfo, ObjectStore
from s4.platform.telemetry import metrics

log = structlog.get_logger()

RECONCILE = "maintenance.reconcile"
COLLECT = "maintenance.collect"
OPTIMIZE = "maintenance.optimize"
REBUILD = "maintenance.rebuild"
RESOLVE = "maintenance.resolve"

_BATCH = 500  # rows of one transaction
_PARALLEL = 8  # chains read at once during rebuild


@dataclass(frozen=True, slots=True)
class MaintenanceLimits:
    """`upload_duration_max`: content that no head names may belong to an upload of at most this age.
    `garbage_grace`: how long dead content is kept; `index_grace`: how long superseded index versions are."""

    upload_duration_max: timedelta
    garbage_grace: timedelta
    index_grace: timedelta
    idempotency: timedelta
    sweep_every: timedelta
    commit_lease: timedelta


@dataclass(slots=True)
class Report:
    """What a reconciler mended, by action."""

    counts: dict[str, int] = field(default_factory=dict)

    def add(self, action: str, count: int = 1) -> None:
        if count:
            self.counts[action] = self.counts.get(action, 0) + count
            metrics.RECONCILED.labels(action).inc(count)


class MaintenanceService:
    """Runs in workers, called by the scheduler, or at once by an operator."""

    def __init__(
        self,
        database: Database,
        store: ObjectStore,
        vectors: VectorStore,
        queue: Queue,
        chains: Chains,
        tenants: TenantService,
        documents: DocumentService,
        publisher: Publisher,
        generation: Generation,
        deployment: Deployment,
        records: Sequence[Records],
        limits: MaintenanceLimits,
    ) -> None:
        self._database = database
        self._store = store
        self._vectors = vectors
        self._queue = queue
        self._chains = chains
        self._tenants = tenants
        self._documents = documents
        self._publisher = publisher
        self._generation = generation
        self._deployment = deployment
        self._records = records
        self._limits = limits

    def handlers(self) -> dict[str, JobHandler]:
        return {
            kind: regular_handler(self._database, kind, self._logged(kind, task))
            for kind, task in {
                RESOLVE: self.resolve,
                RECONCILE: self.reconcile,
                COLLECT: self.collect,
                OPTIMIZE: self.optimize,
                REBUILD: self.rebuild,
            }.items()
        } | {index_jobs.OPTIMIZE: JobHandler(self.optimize_table)}

    def _logged(self, kind: str, task: Callable[[], Awaitable[Report]]) -> Callable[[], Awaitable[None]]:
        async def run() -> None:
            report = await task()
            if report.counts:
                log.info("maintenance.mended", kind=kind, counts=report.counts)

        return run

    def regular_tasks(self) -> list[RegularTask]:
        sweep = self._limits.sweep_every
        # Collecting lists the whole bucket: four times as rare as the cheap reconcilers.
        return [
            RegularTask(RESOLVE, self._limits.commit_lease),
            RegularTask(RECONCILE, sweep),
            RegularTask(COLLECT, 4 * sweep),
            RegularTask(OPTIMIZE, sweep),
        ]

    async def ensure_adopted(self) -> None:
        """Enqueues the rebuild of a catalog that has not adopted its bucket."""
        if await current_state(self._database) != SERVING:
            await self._database.transact(lambda c: self._queue.enqueue(c, JobRequest(REBUILD, SYSTEM, REBUILD, {})))

    # -- catalog

    async def resolve(self) -> Report:
        """Commits whose writers did not come back. Often: until then, readers see what was before."""
        report = Report()
        report.add("resolved", await self._chains.resolve_stale())
        return report

    async def reconcile(self) -> Report:
        """Overdue uploads, documents without a job or without an index, old idempotency keys."""
        report = Report()
        report.add("released", await self._release_overdue())
        failpoint("reconcile.released")
        report.add("requeued", await self._requeue())
        failpoint("reconcile.requeued")
        report.add("reindexed", await self._reindex())
        failpoint("reconcile.reindexed")
        now = await self._now()
        report.add(
            "forgotten_idempotency",
            await self._database.transact(lambda c: idempotency.forget(c, before=now - self._limits.idempotency)),
        )
        return report

    async def _release_overdue(self) -> int:
        async def release(connection: Connection) -> int:
            now = await self._database.now(connection)
            overdue = await reservations.expired(connection, now, limit=_BATCH)
            for tenant_id, version_id in overdue:
                freed = await reservations.drop(connection, version_id)
                await usage.release(connection, tenant_id, freed)
            return len(overdue)

        return await self._database.transact(release)

    async def _requeue(self) -> int:
        async def requeue(connection: Connection) -> int:
            lost = await queries.forgotten(connection, limit=_BATCH)
            for tenant_id, document_id in lost:
                await self._queue.enqueue(connection, document_jobs.index(tenant_id, document_id))
            return len(lost)

        return await self._database.transact(requeue)

    async def _reindex(self) -> int:
        """Ready documents that this generation lacks: another model or chunker was configured."""

        async def enqueue(connection: Connection) -> int:
            lacking = await index_queries.unindexed(connection, self._generation.id, limit=_BATCH)
            for tenant_id, document_id in lacking:
                await self._queue.enqueue(connection, document_jobs.index(tenant_id, document_id))
            return len(lacking)

        return await self._database.transact(enqueue)

    # -- index

    async def optimize(self) -> Report:
        """Tables that are due although nobody asked, because the one who should have crashed."""
        report = Report()

        async def enqueue(connection: Connection) -> int:
            due = await index_queries.tables_to_optimize(
                connection, self._generation.id, commits_min=COMMITS_BEFORE_OPTIMIZE, limit=_BATCH
            )
            for tenant_id in due:
                await self._queue.enqueue(connection, index_jobs.optimize(tenant_id))
            return len(due)

        report.add("optimize_requested", await self._database.transact(enqueue))
        return report

    async def optimize_table(self, run: JobRun) -> bool:
        """Compacts a tenant's table, and drops rows that the catalog does not vouch for."""
        pruned = await self._optimize_table(TenantId(run.job.tenant_id))
        log.info("index.optimized", pruned=pruned)
        return False

    async def _optimize_table(self, tenant_id: TenantId) -> int:
        """Answers with the number of (document, revision) pairs that were pruned."""
        prefix = self._generation.prefix(tenant_id)
        async with self._publisher.exclusive(tenant_id) as lease:
            async with self._database.read() as connection:
                version = await index_queries.table_version(connection, tenant_id, self._generation.id)
                floors = await index_queries.floors(connection, tenant_id, self._generation.id)
            if version is None:
                return 0
            reader = await self._vectors.reader(prefix, version)
            pairs = await reader.all_pairs() if reader is not None else {}
            # Only what no publication can need any more. What is not searchable yet may become so at any moment, for we
            # may have slept through our lease; and what a deletion never proved dead is not dead.
            dead = [pair for pair in pairs if pair[1] < floors.get(pair[0], 0)]
            writer = await self._vectors.writer(prefix, self._generation.dimension)
            try:
                failpoint("optimize.planned")
                if dead:
                    await writer.prune(dead)
                failpoint("optimize.pruned")
                done = await writer.optimize(grace=self._limits.index_grace, keep_version=version)
                failpoint("optimize.compacted")
            finally:
                await writer.close()

            async def publish(connection: Connection) -> None:
                await self._publisher.verify(connection, lease)
                now = await self._database.now(connection)
                await index_queries.optimized(connection, tenant_id, self._generation.id, version=done.version, now=now)

            await self._database.transact(publish)
            failpoint("optimize.published")
            return len(dead)

    # -- bucket

    async def collect(self) -> Report:
        """Adopts what the catalog does not know; deletes what the bucket itself proves dead.

        Dead is: content of a version that no head names and that is older than any upload may last; content of a
        superseded or tombstoned version, once the grace period has passed since it ended.
        """
        report = Report()
        if await current_state(self._database) != SERVING:
            return report
        await self._adopt_records()
        for prefix in await self._store.list_children(keys.TENANTS):
            tenant_id = prefix.removeprefix(keys.TENANTS).rstrip("/")
            if is_tenant_id(tenant_id):
                await self._tenants.adopt(TenantId(tenant_id))
                await self._collect_tenant(TenantId(tenant_id), report)
        return report

    async def _adopt_records(self) -> int:
        return sum([await records.adopt_all(self._store) for records in self._records])

    async def _collect_tenant(self, tenant_id: TenantId, report: Report) -> None:
        async for document_id, objects in self._documents_in_bucket(tenant_id):
            await self._collect_document(tenant_id, document_id, objects, report)

    async def _documents_in_bucket(self, tenant_id: TenantId) -> AsyncIterator[tuple[DocumentId, list[ObjectInfo]]]:
        """The objects of one document after the other: a listing is in key order."""
        current: DocumentId | None = None
        objects: list[ObjectInfo] = []
        async for info in self._store.list(keys.documents(tenant_id)):
            parsed = keys.parse(info.key)
            if parsed is None or parsed.document_id is None:
                continue
            if parsed.document_id != current:
                if current is not None:
                    yield current, objects
                current, objects = parsed.document_id, []
            objects.append(info)
        if current is not None:
            yield current, objects

    async def _collect_document(
        self, tenant_id: TenantId, document_id: DocumentId, objects: list[ObjectInfo], report: Report
    ) -> None:
        heads = [parsed.revision or 0 for info in objects if (parsed := keys.parse(info.key)) and
                 parsed.kind is KeyKind.DOCUMENT_HEAD]  # fmt: skip
        async with self._database.read() as connection:
            row = await rows.find(connection, tenant_id, document_id)
        if heads and (row is None or row.revision < max(heads)):
            if await self._chains.has_ticket(document_subject(tenant_id, document_id)):
                return  # its writer is about to settle, or its ticket will be resolved
            try:
                await self._documents.adopt(tenant_id, document_id)
            except S4Error as error:
                log.error("maintenance.adoption_failed", tenant_id=tenant_id, document_id=document_id,
                          error=error.message)  # fmt: skip
                return
            report.add("adopted")
            async with self._database.read() as connection:
                row = await rows.find(connection, tenant_id, document_id)
        now = await self._now()
        living = row.version_id if row is not None else None
        dead = [
            info.key
            for info in objects
            if (version_id := _version_of(info.key)) is not None
            and version_id != living
            and now - info.last_modified > self._limits.upload_duration_max
            and (row is None or now - _ended_at(row) > self._limits.garbage_grace)
        ]
        if dead and not await self._under_way(tenant_id, document_id, dead):
            failpoint("collect.planned")
            await self._store.delete(dead)
            failpoint("collect.deleted")
            report.add("collected", len(dead))

    async def _under_way(self, tenant_id: TenantId, document_id: DocumentId, dead: list[ObjectKey]) -> bool:
        """A reservation that still stands, or a ticket: their upload may commit at any moment. In one look, for the
        one follows the other: a version with neither can never be sealed again."""
        versions = {version for key in dead if (version := _version_of(key)) is not None}

        async def check(connection: Connection) -> bool:
            if await self._chains.is_ticketed(connection, document_subject(tenant_id, document_id)):
                return True
            return any([await reservations.alive(connection, version) for version in versions])

        return await self._database.transact(check)

    async def rebuild(self) -> Report:
        """Makes the catalog what the bucket says: what the operator configured, tenants, then every document, then
        what lacks an index."""
        report = Report()
        gate = asyncio.Semaphore(_PARALLEL)

        async def adopt(name: str, adopting: Callable[[], Awaitable[object]], action: str) -> None:
            async with gate:
                try:
                    await adopting()
                except DataCorrupt as error:  # one damaged head keeps nobody else from coming back
                    log.error("maintenance.adoption_failed", subject=name, error=error.message)
                    report.add("unreadable")
                    return
            report.add(action)

        report.add("records", await self._adopt_records())
        failpoint("rebuild.records")
        for prefix in await self._store.list_children(keys.TENANTS):
            name = prefix.removeprefix(keys.TENANTS).rstrip("/")
            if is_tenant_id(name):
                await adopt(name, partial(self._tenants.adopt, TenantId(name)), "tenants")
        failpoint("rebuild.tenants")
        for tenant_id in await self._tenants.ids():
            children = await self._store.list_children(keys.documents(tenant_id))
            names = [child.rstrip("/").rsplit("/", 1)[-1] for child in children]
            try:
                async with asyncio.TaskGroup() as tasks:
                    for name in filter(is_document_id, names):
                        adopting = partial(self._documents.adopt, tenant_id, DocumentId(name))
                        tasks.create_task(adopt(name, adopting, "adopted"))
            except ExceptionGroup as failed:
                raise failed.exceptions[0] from None  # the worker knows errors, not groups of them
        failpoint("rebuild.documents")
        await self._begin_serving()
        failpoint("rebuild.serving")
        return report

    async def _begin_serving(self) -> None:
        async def write(connection: Connection) -> None:
            now = await self._database.now(connection)
            await queries.write_deployment(connection, epoch=self._deployment.epoch, state=SERVING, now=now)

        await self._database.transact(write)

    async def _now(self) -> datetime:
        async with self._database.read() as connection:
            return await self._database.now(connection)


def _ended_at(row: Any) -> datetime:
    """When the versions that are not the living one had all ended: with the upload of that one, or the deletion."""
    moment: datetime = row.uploaded_at if row.state == "live" else row.updated_at
    return moment


def _version_of(key: ObjectKey) -> VersionId | None:
    parsed = keys.parse(key)
    return parsed.version_id if parsed is not None else None
