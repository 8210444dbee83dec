"""The catalog is made anew from the bucket: what the operator configured, tenants, then every document with its index,
then what was used, then the audit trail.

Each step asks the bucket for what it has and the catalog for what it knows, and brings over the difference. So a
rebuild that was killed goes on where it was, one of a catalog that is whole does nothing, and a standby that follows a
bucket is a rebuild that is repeated.

A tenant's documents are found by one listing, not by one for each of them: it shows the newest revision of each. Those
that the catalog does not know are read side by side, and adopted by the hundred in one transaction, which also makes
searchable what the tenant's index has of them (`indexing/attachments.py`). What no index has keeps the job that every
new document gets.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import structlog

from s4.domains import usage
from s4.domains.audit import Sealer
from s4.domains.calls import CallBudget, Month
from s4.domains.documents import texts
from s4.domains.documents.chain import LIVE, TOMBSTONE
from s4.domains.documents.chain import subject as document_subject
from s4.domains.documents.queries import rows
from s4.domains.indexing.attachments import Attached, Attachments, Described, Living
from s4.domains.maintenance.deployment import current_state, write
from s4.domains.maintenance.model import SERVING, Deployment
from s4.domains.maintenance.report import Progress, Report
from s4.domains.tenants import TenantService
from s4.domains.tenants import queries as tenant_queries
from s4.domains.tenants.chain import subject as tenant_subject
from s4.domains.usage import RollUps
from s4.kernel import keys
from s4.kernel.errors import DataCorrupt
from s4.kernel.ids import DocumentId, TenantId, VersionId, is_tenant_id
from s4.kernel.keys import KeyKind
from s4.platform.background import side_by_side
from s4.platform.chains import ABANDONED, Chains, Head, Records, Subject
from s4.platform.database import Connection, Database
from s4.platform.faults import failpoint
from s4.platform.objects import ObjectInfo, ObjectMissing, ObjectStore

log = structlog.get_logger()

_READS = 32  # heads and texts read at once: each waits for the store most of its time
_TENANTS_AT_ONCE = 4  # each with a listing, and a transaction of its own
_BATCH = 100  # documents of one transaction

_UNKNOWN = rows.Known(0, None)


@dataclass(slots=True)
class Found:
    """What a listing shows of a document: the revisions of its chain, and its texts."""

    document_id: DocumentId
    revisions: list[int] = field(default_factory=list)
    texts: dict[tuple[VersionId, int], ObjectInfo] = field(default_factory=dict)


class Rebuild:
    """Runs in workers and from the command line. Any number at once do no harm."""

    def __init__(
        self,
        database: Database,
        store: ObjectStore,
        chains: Chains,
        records: Sequence[Records],
        tenants: TenantService,
        attachments: Attachments,
        rollups: RollUps,
        calls: CallBudget,
        sealer: Sealer,
        deployment: Deployment,
    ) -> None:
        self._database = database
        self._store = store
        self._chains = chains
        self._records = records
        self._tenants = tenants
        self._attachments = attachments
        self._rollups = rollups
        self._calls = calls
        self._sealer = sealer
        self._deployment = deployment
        self._reads = asyncio.Semaphore(_READS)

    async def run(self, *, progress: Progress = lambda *_: None, serve: bool = True, writes: bool = True) -> Report:
        """Brings the catalog to what the bucket says; with `serve` it then says so. Without `writes` the bucket is left
        as it is. Raises `Unavailable`, and can be called again."""
        report = Report()
        report.add("records", await self.adopt_records(report))
        failpoint("rebuild.records")
        await self._adopt_tenants(report, progress)
        failpoint("rebuild.tenants")
        await self._adopt_documents(report, progress, writes=writes)
        failpoint("rebuild.documents")
        report.add("usage_months", await self._restore_usage())
        failpoint("rebuild.usage")
        await self._adopt_audit(report)
        failpoint("rebuild.audit")
        await self._tell_of_missing_plans(report)
        if serve:
            await self._begin_serving()
        failpoint("rebuild.serving")
        return report

    async def adopt_records(self, report: Report) -> int:
        """What the operator configured. Answers with the number of records; `report` says which cannot be read."""

        def damaged(subject: Subject, error: DataCorrupt) -> None:
            _damaged(subject.label, error, report)

        return sum([await records.adopt_all(self._store, damaged) for records in self._records])

    async def _tell_of_missing_plans(self, report: Report) -> None:
        """A tenant without a plan is refused, and its operator would not know why."""
        async with self._database.read() as connection:
            without = await tenant_queries.without_plan(connection, await self._database.now(connection))
        of_plan: dict[str, list[TenantId]] = {}
        for tenant_id, plan_id in without:
            of_plan.setdefault(plan_id, []).append(tenant_id)
        for plan_id, locked_out in of_plan.items():
            log.error("maintenance.plan_missing", plan_id=plan_id, tenants=locked_out)
            report.add("without_plan", len(locked_out))
            report.problems.append(
                f"There is no plan {plan_id}, and every request of its tenants is refused until it is made anew: "
                f"{', '.join(locked_out)}."
            )

    async def _adopt_audit(self, report: Report) -> None:
        try:
            report.add("audit_entries", await self._sealer.adopt())
        except DataCorrupt as error:  # what comes behind it stays in the bucket
            _damaged("system/audit", error, report)

    # -- tenants

    async def _adopt_tenants(self, report: Report, progress: Progress) -> None:
        names = [prefix.removeprefix(keys.TENANTS).rstrip("/") for prefix in
                 await self._store.list_children(keys.TENANTS)]  # fmt: skip
        tenant_ids = [TenantId(name) for name in names if is_tenant_id(name)]

        async def adopt(tenant_id: TenantId) -> None:
            try:
                await self._tenants.adopt(tenant_id)
            except DataCorrupt as error:  # one damaged head keeps nobody else from coming back
                _damaged(tenant_subject(tenant_id).label, error, report)
                return
            report.add("tenants")
            progress("tenants", report.counts["tenants"], len(tenant_ids))

        await side_by_side(tenant_ids, adopt, at_once=_TENANTS_AT_ONCE)

    # -- documents

    async def _adopt_documents(self, report: Report, progress: Progress, *, writes: bool) -> None:
        newest = await current_state(self._database) != SERVING

        async def adopt(tenant_id: TenantId) -> None:
            held = await self._attachments.find(tenant_id, newest=newest, writes=writes)
            report.add("indices", len(held))
            failpoint("rebuild.attached")
            await self._adopt_of(tenant_id, held, report, progress)

        await side_by_side(await self._tenants.ids(), adopt, at_once=_TENANTS_AT_ONCE)

    async def _adopt_of(
        self, tenant_id: TenantId, held: Sequence[Attached], report: Report, progress: Progress
    ) -> None:
        async with self._database.read() as connection:
            known = await rows.known(connection, tenant_id)
        batch: list[Found] = []
        late: list[Found] = []
        async for found in self._listed(tenant_id):
            before = known.get(found.document_id, _UNKNOWN)
            if found.revisions and max(found.revisions) > before.revision:
                batch.append(found)
            elif before.processing and self._attachments.holds(held, found.document_id, before.processing[0]):
                late.append(found)
            if len(batch) == _BATCH:
                await self._adopt_batch(tenant_id, batch, held, report)
                progress("documents", report.counts.get("adopted", 0), None)
                batch = []
            if len(late) == _BATCH:
                await self._attach_late(tenant_id, late, known, held, report)
                late = []
        if batch:
            await self._adopt_batch(tenant_id, batch, held, report)
            progress("documents", report.counts.get("adopted", 0), None)
        if late:
            await self._attach_late(tenant_id, late, known, held, report)

    async def _attach_late(
        self,
        tenant_id: TenantId,
        late: Sequence[Found],
        known: Mapping[str, rows.Known],
        held: Sequence[Attached],
        report: Report,
    ) -> None:
        """Documents that were adopted before their index was there."""

        async def read(found: Found) -> Living | None:
            waiting = known[found.document_id].processing
            assert waiting is not None, "the caller has looked"
            text = found.texts.get((waiting[1], waiting[0]))
            described = await self._described(found.document_id, text) if text is not None else None
            return Living(found.document_id, waiting[0], described) if described is not None else None

        living = [each for each in await asyncio.gather(*map(read, late)) if each is not None]

        async def publish(connection: Connection) -> int:
            return await self._attachments.publish(connection, tenant_id, held, living, [])

        report.add("attached", await self._database.transact(publish))

    async def _listed(self, tenant_id: TenantId) -> AsyncIterator[Found]:
        """A listing is in the order of keys: everything of one document, then of the next."""
        found: Found | None = None
        async for info in self._store.list(keys.documents(tenant_id)):
            parsed = keys.parse(info.key)
            if parsed is None or parsed.document_id is None:
                continue
            if found is None or found.document_id != parsed.document_id:
                if found is not None:
                    yield found
                found = Found(parsed.document_id)
            if parsed.kind is KeyKind.DOCUMENT_HEAD and parsed.revision is not None:
                found.revisions.append(parsed.revision)
            if parsed.kind is KeyKind.TEXT and parsed.version_id is not None and parsed.revision is not None:
                found.texts[parsed.version_id, parsed.revision] = info
        if found is not None:
            yield found

    async def _adopt_batch(
        self, tenant_id: TenantId, batch: Sequence[Found], held: Sequence[Attached], report: Report
    ) -> None:
        read = await asyncio.gather(*(self._read(tenant_id, found, held, report) for found in batch))
        chains: dict[Subject, list[Head]] = {}
        living: list[Living] = []
        dead: list[DocumentId] = []
        for each in read:
            if each is None:
                continue
            chain, document = each
            chains[chain[-1].subject] = chain
            living += [document] if document is not None else []
            dead += [DocumentId(head.subject.subject_id) for head in chain if head.state == TOMBSTONE]
        if not chains:
            return
        attached = 0

        async def publish(connection: Connection) -> None:
            nonlocal attached
            attached = await self._attachments.publish(connection, tenant_id, held, living, dead)

        await self._chains.adopt_all(chains, and_then=publish)
        report.add("adopted", len(chains))
        report.add("attached", attached)
        report.add("to_index", len(living) - attached)

    async def _read(
        self, tenant_id: TenantId, found: Found, held: Sequence[Attached], report: Report
    ) -> tuple[list[Head], Living | None] | None:
        """The chain's end, and the document if it lives. None, and a line in the log, for what cannot be read."""
        subject = document_subject(tenant_id, found.document_id)
        async with self._reads:
            try:
                chain = await self._chains.read_back(subject, found.revisions)
            except ObjectMissing:  # pruned since the listing: what is newer comes with the next look
                return None
            except DataCorrupt as error:
                _damaged(subject.label, error, report)
                return None
            newest = next((head for head in reversed(chain) if head.state != ABANDONED), None)
            if newest is None or newest.state != LIVE or "archived_at" in newest.body:
                return chain, None  # what is archived is in no index, whatever rows are left of it
            version_id, revision = VersionId(newest.body["version_id"]), int(newest.body["content_revision"])
            described = None
            text = found.texts.get((version_id, revision))
            if text is not None and self._attachments.holds(held, found.document_id, revision):
                described = await self._described(found.document_id, text)
            return chain, Living(found.document_id, revision, described)

    async def _described(self, document_id: DocumentId, info: ObjectInfo) -> Described | None:
        text = await texts.load_at(self._store, info.key, document_id)
        if text is None:
            return None
        return Described(len(text.pages) or None, text.content_type, info.last_modified)

    async def _restore_usage(self) -> int:
        """The ledger, and from it how much of this month's calls is spent."""
        tenant_ids = await self._tenants.ids()
        months = await self._rollups.restore(tenant_ids)
        async with self._database.read() as connection:
            month = Month.of(await self._database.now(connection))
            made = await usage.calls_of(connection, tenant_ids, month.begins)
        await self._calls.restore({tenant_id: calls for tenant_id, calls in made.items() if calls > 0}, month)
        return months

    async def _begin_serving(self) -> None:
        await self._database.analyze()
        await write(self._database, replace(self._deployment, state=SERVING))


def _damaged(subject: str, error: DataCorrupt, report: Report) -> None:
    log.error("maintenance.adoption_failed", subject=subject, error=error.message)
    report.add("unreadable")
    report.problems.append(f"{subject} could not be brought back: {error.message}")
