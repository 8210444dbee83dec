"""The reconcilers. Each answers with a report that says what it mended."""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import structlog

from s4.domains import usage
from s4.domains.calls import CallBudget
from s4.domains.documents import Accounts, DocumentService
from s4.domains.documents import jobs as document_jobs
from s4.domains.documents.chain import subject as document_subject
from s4.domains.documents.queries import holds, idempotency, reservations, rows
from s4.domains.indexing import COMMITS_BEFORE_OPTIMIZE, Generations
from s4.domains.indexing import jobs as index_jobs
from s4.domains.indexing.queries import tables as index_queries
from s4.domains.indexing.queries import uses
from s4.domains.maintenance import queries
from s4.domains.maintenance.departures import Departures
from s4.domains.maintenance.deployment import current_state
from s4.domains.maintenance.holds import any_stands
from s4.domains.maintenance.inventory import Inventory
from s4.domains.maintenance.model import SERVING
from s4.domains.maintenance.rebuild import Rebuild
from s4.domains.maintenance.releases import Releases
from s4.domains.maintenance.repairs import Repairs, Table, tables_of
from s4.domains.maintenance.report import Report
from s4.domains.maintenance.tidying import Tidying
from s4.domains.maintenance.trimming import Kept, Trimming
from s4.domains.tenants import TenantService
from s4.kernel import keys
from s4.kernel.errors import DataCorrupt, S4Error
from s4.kernel.ids import DocumentId, TenantId, VersionId
from s4.kernel.keys import KeyKind, ObjectKey
from s4.platform.chains import Chains
from s4.platform.database import Connection, Database
from s4.platform.faults import failpoint
from s4.platform.jobs import SYSTEM, JobHandler, JobRequest, Queue, RegularTask, record_drift, regular_handler
from s4.platform.objects import ObjectInfo, ObjectMissing, ObjectStore
from s4.platform.telemetry import metrics

log = structlog.get_logger()

RECONCILE = "maintenance.reconcile"
COLLECT = "maintenance.collect"
RECOUNT = "maintenance.recount"
OPTIMIZE = "maintenance.optimize"
REBUILD = "maintenance.rebuild"
RESOLVE = "maintenance.resolve"
DEPARTURES = "maintenance.departures"
CHECK = "maintenance.check"

_BATCH = 500  # rows of one transaction


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


class MaintenanceService:
    """Runs in workers, called by the scheduler, or at once by an operator."""

    def __init__(
        self,
        database: Database,
        store: ObjectStore,
        queue: Queue,
        chains: Chains,
        tenants: TenantService,
        departures: Departures,
        documents: DocumentService,
        tidying: Tidying,
        repairs: Repairs,
        releases: Releases,
        trimming: Trimming,
        generations: Generations,
        accounts: Accounts,
        rebuild: Rebuild,
        calls: CallBudget,
        limits: MaintenanceLimits,
    ) -> None:
        self._database = database
        self._store = store
        self._queue = queue
        self._chains = chains
        self._tenants = tenants
        self._departures = departures
        self._documents = documents
        self._tidying = tidying
        self._repairs = repairs
        self._all_repairs = [repairs]
        self._releases = releases
        self._trimming = trimming
        self._generations = generations
        self._accounts = accounts
        self._rebuild = rebuild
        self._calls = calls
        self._limits = limits

    def handlers(self) -> dict[str, JobHandler]:
        return {
            kind: regular_handler(self._database, kind, self._logged(kind, task))
            for kind, task in {
                RESOLVE: self.resolve,
                RECONCILE: self.reconcile,
                COLLECT: self.collect,
                RECOUNT: self.recount,
                OPTIMIZE: self.optimize,
                REBUILD: self.rebuild,
                DEPARTURES: self.depart,
                CHECK: self._repairs.check_all,
            }.items()
        } | {
            index_jobs.OPTIMIZE: JobHandler(self._tidying.optimize),  # an older release names no generation
            **self._releases.handlers(),
            **self._trimming.handlers(),
            **self._tidying.handlers(),
            **self._repairs.handlers(),
        }

    def handlers_beside(self, tidying: Tidying, repairs: Repairs) -> dict[str, JobHandler]:
        """Of the tables of another generation, into which this process indexes as well."""
        self._all_repairs.append(repairs)
        return tidying.handlers() | repairs.handlers()

    def _logged(self, kind: str, task: Callable[[], Awaitable[Report]]) -> Callable[[], Awaitable[None]]:
        async def run() -> None:
            report = await task()
            if report.counts:
                log.info("maintenance.mended", kind=kind, counts=report.counts)

        return run

    def regular_tasks(self) -> list[RegularTask]:
        sweep = self._limits.sweep_every
        return [
            RegularTask(RESOLVE, self._limits.commit_lease),
            RegularTask(RECONCILE, sweep),
            RegularTask(COLLECT, self._whole_every),
            RegularTask(RECOUNT, self._whole_every),
            RegularTask(OPTIMIZE, sweep),
            RegularTask(DEPARTURES, sweep),
            RegularTask(CHECK, sweep),
        ]

    @property
    def _whole_every(self) -> timedelta:
        """Collecting lists the whole bucket, recounting reads every document's row: four times as rare as the rest."""
        return 4 * self._limits.sweep_every

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
        """Overdue uploads, documents without a job or without an index, old idempotency keys of both kinds."""
        report = Report()
        report.add("released", await self._release_overdue())
        failpoint("reconcile.released")
        written_off = await self._calls.write_off()
        metrics.CALLS_WRITTEN_OFF.inc(written_off)
        report.add("calls_written_off", written_off)
        report.add("requeued", await self._requeue())
        failpoint("reconcile.requeued")
        # The last document that a table lacked may have been deleted. Before what failed is asked for again.
        report.add("indices_remade", await self._database.transact(index_queries.note_whole))
        report.add("reindexed", await self._generations.ask_for_lost(limit=_BATCH))
        failpoint("reconcile.reindexed")
        now = await self._now()
        report.add(
            "forgotten_idempotency",
            await self._database.transact(lambda c: idempotency.forget(c, before=now - self._limits.idempotency)),
        )
        report.add("forgotten_claims", await self._tenants.forget_claims())
        return report

    async def depart(self) -> Report:
        """Plans that have ended, tenants whose grace is over, and what tombstones left behind."""
        return await self._departures.run()

    async def recount(self) -> Report:
        """Balances that are not what documents and reservations add up to. There is no way to one that is known."""
        report = Report()
        counted = await self._accounts.recount_all()
        await self._note_drift(RECOUNT, counted.drift_bytes)
        report.add("recounted", counted.repaired)
        return report

    async def _release_overdue(self) -> int:
        async with self._database.read() as connection:
            overdue = await reservations.expired(connection, await self._database.now(connection), limit=_BATCH)
        return sum([await self._release(*upload) for upload in overdue])

    async def _release(self, tenant_id: TenantId, document_id: DocumentId, version_id: VersionId) -> bool:
        """Unless its writer has sealed it: then it is settled, or its ticket resolved, and that needs the room."""

        async def release(connection: Connection) -> bool:
            held = await reservations.lock(connection, version_id)
            if held is None or await self._chains.is_ticketed(connection, document_subject(tenant_id, document_id)):
                return False
            await usage.release(connection, tenant_id, await reservations.drop(connection, version_id))
            return True

        return await self._database.transact(release)

    async def _requeue(self) -> int:
        async def requeue(connection: Connection) -> int:
            lost = await queries.forgotten(connection, limit=_BATCH)
            for tenant_id, document_id in lost:
                await self._queue.enqueue(connection, document_jobs.index(tenant_id, document_id))
            return len(lost)

        return await self._database.transact(requeue)

    # -- index

    async def optimize(self) -> Report:
        """Tables that are due although nobody asked: they rest, or the one who should have crashed."""
        report = Report()

        async def enqueue(connection: Connection) -> int:
            now = await self._database.now(connection)
            due = await index_queries.tables_to_optimize(
                connection,
                await uses.at_work(connection, now),
                commits_min=COMMITS_BEFORE_OPTIMIZE,
                rest_since=now - self._limits.index_grace,
                limit=_BATCH,
            )
            for tenant_id, generation in due:
                await self._queue.enqueue(connection, index_jobs.optimize(tenant_id, generation))
            return len(due)

        report.add("optimize_requested", await self._database.transact(enqueue))
        return report

    # -- bucket

    async def collect(self) -> Report:
        """Adopts what the catalog does not know; deletes what the bucket itself proves dead.

        Dead is: content of a version that no head names and that is older than any upload may last; content of a
        superseded or tombstoned version, once the grace period has passed since it ended; an index table in whose place
        the catalog names another. Asks that vectors go of whoever keeps too many.
        """
        report = Report()
        if await current_state(self._database) != SERVING:
            return report
        await self._rebuild.adopt_records(report)
        inventory = Inventory()
        tables: set[Table] = set()
        kept: dict[TenantId, Kept] = {}
        listed_at = await self._now()
        adopted, deleted = None, False
        async for tenant_id, document_id, objects in self._bucket():
            if tenant_id is not None and tenant_id != adopted:
                await self._adopt_tenant(tenant_id)
                adopted, deleted = tenant_id, await self._tenants.is_deleted(tenant_id)
            if tenant_id is not None and document_id is not None and not deleted:
                living, left = await self._collect_document(tenant_id, document_id, objects, report)
                inventory.count(left, living=living)
            else:
                inventory.count(objects)
                tables |= tables_of(objects)
                self._trimming.count(objects, kept, now=listed_at)
        for repairs in self._all_repairs:
            await repairs.collect(tables, report)
        report.add("discards_requested", await self._releases.collect(tables))
        report.add("trims_requested", await self._trimming.collect(kept, tables))
        await inventory.save(self._database, listed_at=listed_at)
        await self._note_drift(COLLECT, report.drift_bytes)
        return report

    async def _adopt_tenant(self, tenant_id: TenantId) -> None:
        try:
            await self._tenants.adopt(tenant_id)
        except DataCorrupt as error:  # it stays as the catalog knows it, and nobody else waits for it
            log.error("maintenance.adoption_failed", tenant_id=tenant_id, error=error.message)

    async def _bucket(self) -> AsyncIterator[tuple[TenantId | None, DocumentId | None, list[ObjectInfo]]]:
        """Everything, in one listing, which is in key order: the objects of one document after the other, all of them
        together, then those of its tenant. What is below no tenant comes without either."""
        whose: tuple[TenantId | None, DocumentId | None] = (None, None)
        objects: list[ObjectInfo] = []
        strays: list[ObjectInfo] = []  # a key that nobody knows tears no document apart
        async for info in self._store.list(keys.EVERYTHING):
            parsed = keys.parse(info.key)
            if parsed is None or not info.key.startswith(keys.TENANTS):
                strays.append(info)
                if len(strays) == _BATCH:
                    yield None, None, strays
                    strays = []
                continue
            if (parsed.tenant_id, parsed.document_id) != whose:
                yield *whose, objects
                whose, objects = (parsed.tenant_id, parsed.document_id), []
            objects.append(info)
        yield *whose, objects
        yield None, None, strays

    async def _collect_document(
        self, tenant_id: TenantId, document_id: DocumentId, objects: list[ObjectInfo], report: Report
    ) -> tuple[VersionId | None, list[ObjectInfo]]:
        """Answers with the version that is the document's, and the objects that are left."""
        heads = [parsed.revision or 0 for info in objects if (parsed := keys.parse(info.key)) and
                 parsed.kind is KeyKind.DOCUMENT_HEAD]  # fmt: skip
        async with self._database.read() as connection:
            row = await rows.find(connection, tenant_id, document_id)
        if heads and (row is None or row.revision < max(heads)):
            if await self._chains.has_ticket(document_subject(tenant_id, document_id)):
                return _living(row), objects  # its writer is about to settle, or its ticket will be resolved
            try:
                await self._documents.adopt(tenant_id, document_id)
            except S4Error as error:
                log.error("maintenance.adoption_failed", tenant_id=tenant_id, document_id=document_id,
                          error=error.message)  # fmt: skip
                return _living(row), objects
            report.add("adopted")
            async with self._database.read() as connection:
                row = await rows.find(connection, tenant_id, document_id)
        await self._compare(row, objects, report)
        now = await self._now()
        living = _living(row)
        dead = {
            info.key
            for info in objects
            if (version_id := _version_of(info.key)) is not None
            and version_id != living
            and now - info.last_modified > self._limits.upload_duration_max
            and (row is None or now - _ended_at(row) > self._limits.garbage_grace)
        }
        if not dead or await self._may_live(tenant_id, document_id, dead):
            return living, objects
        failpoint("collect.planned")
        await self._store.delete(dead)
        failpoint("collect.deleted")
        report.add("collected", len(dead))
        return living, [info for info in objects if info.key not in dead]

    async def _compare(self, row: Any, objects: list[ObjectInfo], report: Report) -> None:
        """A document whose bytes are not there, or not as many as it says. Bytes that came after the listing are looked
        for once more; what is lost is told, for only a backup brings it back."""
        if row is None or row.state != "live":
            return
        tenant_id, document_id = TenantId(row.tenant_id), DocumentId(row.document_id)
        key = keys.content(tenant_id, document_id, VersionId(row.version_id))
        if any(info.key == key and info.size == row.size_bytes for info in objects):
            return
        try:
            found_bytes = (await self._store.head(key)).size
        except ObjectMissing:
            found_bytes = 0
            async with self._database.read() as connection:
                current = await rows.find(connection, tenant_id, document_id)
            if current is None or current.version_id != row.version_id:
                return  # replaced or deleted since, and collected
        if found_bytes != row.size_bytes:
            report.drift_bytes += abs(row.size_bytes - found_bytes)
            log.error("maintenance.content_differs", tenant_id=tenant_id, document_id=document_id,
                      expected_bytes=row.size_bytes, found_bytes=found_bytes)  # fmt: skip

    async def _may_live(self, tenant_id: TenantId, document_id: DocumentId, dead: set[ObjectKey]) -> bool:
        """Or is kept by a legal hold. A reservation that still stands, or a ticket: their upload may commit at any
        moment. Or it has, since we looked. In this order, for each follows the one before: a version that is found in
        none of them never becomes the document's."""
        versions = {version for key in dead if (version := _version_of(key)) is not None}

        async def check(connection: Connection) -> bool:
            if await any_stands(self._database, connection):
                return True
            if await holds.keep_bytes(connection, tenant_id, document_id):
                return True
            if any([await reservations.lock(connection, version) is not None for version in versions]):
                return True
            if await self._chains.is_ticketed(connection, document_subject(tenant_id, document_id)):
                return True
            return _living(await rows.find(connection, tenant_id, document_id)) in versions

        return await self._database.transact(check)

    async def rebuild(self) -> Report:
        """Makes the catalog what the bucket says."""
        return await self._rebuild.run()

    async def _note_drift(self, kind: str, drift_bytes: int) -> None:
        await self._database.transact(lambda c: record_drift(c, kind, drift_bytes=drift_bytes))

    async def _now(self) -> datetime:
        async with self._database.read() as connection:
            return await self._database.now(connection)


def _ended_at(row: Any) -> datetime:
    """When the versions that are not the living one had all ended: with the upload of that one, or the deletion."""
    moment: datetime = row.uploaded_at if row.state == "live" else row.updated_at
    return moment


def _living(row: Any) -> VersionId | None:
    return row.version_id if row is not None else None


def _version_of(key: ObjectKey) -> VersionId | None:
    parsed = keys.parse(key)
    return parsed.version_id if parsed is not None else None
