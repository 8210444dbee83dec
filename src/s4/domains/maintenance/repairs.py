"""A table whose files are gone or damaged is made anew, from texts and vectors that are kept elsewhere.

`check` holds a table against what was recorded at its commits. Regularly it reads the manifest and lists the files; of
a suspected table, which failed somebody, it reads every byte. What it finds counts when it is found twice, under the
table's lease, of the version that the catalog names: so neither a store that fails nor a clean-up starts a repair.

A repair is one transaction, `begin_anew`: no document is searchable any more, and another *incarnation* of the table,
in another place, takes the old one's. Versions of a table begin at 1; so nothing of one making may ever be taken for
another's, neither by a copy on a replica's disk nor by a writer that overslept. Then every ready document is indexed
again, as after a change of the generation. Until the last one is in, searches are answered with 503, not with a part.

Every step can be repeated: who dies after the transaction leaves ready documents without an index, which the reconciler
finds, and a table that nobody names, which `collect` removes.
"""

import time
from collections.abc import Collection, Iterable
from datetime import datetime, timedelta

import structlog

from s4.domains.indexing import Generation, Publisher, ask_for_absent
from s4.domains.indexing import jobs as index_jobs
from s4.domains.indexing.queries import tables as index_queries
from s4.domains.indexing.queries import uses
from s4.domains.indexing.queries.tables import TableRecord
from s4.domains.maintenance.holds import any_stands
from s4.domains.maintenance.report import Report
from s4.engine.vectors import Sums, VectorStore, inspect, manifest_name, newest_version, turned
from s4.kernel import keys
from s4.kernel.errors import Unavailable
from s4.kernel.ids import GenerationId, Incarnation, RandomBytes, TenantId, new_incarnation
from s4.platform.database import Connection, Database
from s4.platform.faults import failpoint
from s4.platform.jobs import JobHandler, JobRun, Lease, Queue, narrowed
from s4.platform.objects import ObjectInfo, ObjectMissing, ObjectStore
from s4.platform.telemetry import metrics

log = structlog.get_logger()

_BATCH = 500  # rows of one transaction
_CHECKS = 50  # asked for at a time: they are nobody's jobs, and go before what else is
_LOOKS = 2
_CHECK_EVERY = timedelta(hours=6)  # two requests per table: at 1,000 tables, one every five seconds
_READ_SECONDS = 60.0  # between two readings of a whole table by one process: it may be the store that is not well
_FIRST_PAUSE = timedelta(seconds=5)  # between two repairs of a table, doubled each time
_PAUSE_MAX = timedelta(hours=6)
_IN_A_ROW = timedelta(days=1)  # a table that was well for so long begins to count again
_NAMES_SHOWN = 10  # of what is damaged or missing, in the log

Table = tuple[TenantId, GenerationId, Incarnation]
Pair = tuple[str, int]
"""A document and its revision."""


class Repairs:
    """Runs in workers."""

    def __init__(
        self,
        database: Database,
        store: ObjectStore,
        vectors: VectorStore,
        queue: Queue,
        publisher: Publisher,
        generation: Generation,
        random: RandomBytes,
    ) -> None:
        self._database = database
        self._store = store
        self._vectors = vectors
        self._queue = queue
        self._publisher = publisher
        self._generation = generation
        self._random = random
        self._read: dict[TenantId, float] = {}

    def handlers(self) -> dict[str, JobHandler]:
        return {narrowed(index_jobs.CHECK, self._generation.id): JobHandler(self.check)}

    async def check_all(self) -> Report:
        """Tables that were not looked at for long."""
        report = Report()

        async def enqueue(connection: Connection) -> int:
            now = await self._database.now(connection)
            used = await uses.at_work(connection, now)
            due = await index_queries.tables_to_check(
                connection, used, checked_before=now - _CHECK_EVERY, limit=_CHECKS
            )
            for tenant_id, generation in due:
                await self._queue.enqueue(connection, index_jobs.check(tenant_id, generation, is_suspected=False))
            return len(due)

        report.add("checks_requested", await self._database.transact(enqueue))
        return report

    async def check(self, run: JobRun) -> bool:
        """Looks at a tenant's table, and makes it anew if it is damaged. Raises `Unavailable` when nobody can tell, or
        when it was made anew a short while ago."""
        tenant_id = TenantId(run.job.subject)
        async with self._publisher.exclusive(tenant_id) as lease:
            async with self._database.read() as connection:
                table = await index_queries.table_record(connection, tenant_id, self._generation.id)
            if table is None:
                return False
            lost: set[Pair] = set()
            reads_all = bool(run.job.payload["is_suspected"]) and self._may_read(tenant_id)
            for _ in range(_LOOKS):
                sums, damaged = await self._look(tenant_id, table, reads_all=reads_all)
                if not damaged:
                    break
            else:
                await self._begin_anew(tenant_id, table, lease, damaged)
            if not damaged:
                lost = await self._lost(tenant_id, table) if reads_all else set()
                await self._note_checked(tenant_id, lease, sums, lost)
                metrics.INDEX_CHECKS.labels("sound").inc()
        if lost:
            await self.bring_back(tenant_id, lost)
        elif damaged or not table.state.is_whole:
            await self._reindex(tenant_id)
        return False

    async def bring_back(self, tenant_id: TenantId, lost: Collection[Pair]) -> None:
        """Has documents indexed again that were said to be searchable and were not in the table: an older release wrote
        them to where it was before."""
        metrics.RECONCILED.labels("withdrawn").inc(len(lost))
        documents = sorted(document_id for document_id, _ in lost)
        log.warning("index.rows_missing", tenant_id=tenant_id, documents=documents[:_NAMES_SHOWN], count=len(lost))
        await self._reindex(tenant_id)

    async def collect(self, tables: Iterable[Table], report: Report) -> None:
        """Removes those of `tables` that the catalog does not name. Of this generation only: another may be in use by
        another release. And of tenants that have a table, for a first one may be in the making."""
        async with self._database.read() as connection:
            if await any_stands(self._database, connection):
                return
        for tenant_id, generation_id, incarnation in sorted(tables):
            if generation_id != self._generation.id or await self._counts(tenant_id, incarnation):
                continue
            async with self._publisher.exclusive(tenant_id):  # nobody writes a table that is not named yet
                if not await self._counts(tenant_id, incarnation):
                    report.add("collected", await self._remove(tenant_id, incarnation))

    # -- inside

    def _may_read(self, tenant_id: TenantId) -> bool:
        now = time.monotonic()
        self._read = {each: at for each, at in self._read.items() if now - at < _READ_SECONDS}
        return self._read.setdefault(tenant_id, now) == now

    async def _look(self, tenant_id: TenantId, table: TableRecord, *, reads_all: bool) -> tuple[Sums, list[str]]:
        """What is known of the files now, and the names of those that are damaged."""
        prefix = self._generation.prefix(tenant_id, table.state.incarnation)
        sums: Sums = {}
        if table.state.version > 0:
            sums, damaged = await self._inspect(prefix, table.state.version, table.sums)
            if damaged or not reads_all:
                return sums, damaged
        damaged = []
        newest = await newest_version(self._store, prefix)
        if newest > table.state.version:  # of a writer that died: nobody searches it, but the next one goes on from it
            _, damaged = await self._inspect(prefix, newest, table.sums)
        known = {name: table.sums.get(name, seen) for name, seen in sums.items()}
        return sums, damaged or list(await turned(self._store, prefix, known))

    async def _inspect(self, prefix: str, version: int, recorded: Sums) -> tuple[Sums, list[str]]:
        try:
            found = await inspect(self._store, prefix, version, recorded)
        except ObjectMissing:
            return {}, [manifest_name(version)]
        return found.sums, found.damaged

    async def _lost(self, tenant_id: TenantId, table: TableRecord) -> set[Pair]:
        """What the catalog says is searchable, and the table does not hold."""
        async with self._database.read() as connection:
            published = await index_queries.published(connection, tenant_id, self._generation.id)
        prefix = self._generation.prefix(tenant_id, table.state.incarnation)
        reader = await self._vectors.reader(prefix, table.state.version) if published else None
        return published.difference(await reader.all_pairs()) if reader is not None else set()

    async def _note_checked(self, tenant_id: TenantId, lease: Lease, sums: Sums, lost: Collection[Pair]) -> None:
        async def note(connection: Connection) -> None:
            await self._publisher.verify(connection, lease)
            now = await self._database.now(connection)
            await index_queries.note_checked(connection, tenant_id, self._generation.id, sums=sums, now=now)
            await index_queries.withdraw_lost(connection, tenant_id, self._generation.id, lost)

        await self._database.transact(note)

    async def _begin_anew(self, tenant_id: TenantId, table: TableRecord, lease: Lease, damaged: list[str]) -> None:
        failpoint("repair.proven")
        incarnation = new_incarnation(self._random)

        async def begin(connection: Connection) -> timedelta:
            await self._publisher.verify(connection, lease)
            now = await self._database.now(connection)
            repairs, pause = _turn(table, now)
            if not pause:
                await index_queries.begin_anew(
                    connection, tenant_id, self._generation.id, incarnation, repairs=repairs, now=now
                )
            return pause

        if pause := await self._database.transact(begin):
            metrics.INDEX_CHECKS.labels("deferred").inc()
            log.error("index.repair_deferred", tenant_id=tenant_id, repairs=table.repairs,
                      pause_seconds=round(pause.total_seconds()))  # fmt: skip
            raise Unavailable("This index is damaged, and was made anew a short while ago.", retry_after=pause)
        metrics.INDEX_CHECKS.labels("damaged").inc()
        log.error("index.repair_begun", tenant_id=tenant_id, incarnation=incarnation, repairs=table.repairs,
                  version=table.state.version, files=damaged[:_NAMES_SHOWN], count=len(damaged))  # fmt: skip
        failpoint("repair.begun")
        await self._remove(tenant_id, table.state.incarnation)
        failpoint("repair.removed")

    async def _remove(self, tenant_id: TenantId, incarnation: Incarnation) -> int:
        """Answers with the number of objects. Searches that still read them ask the catalog anew."""
        prefix = self._generation.prefix(tenant_id, incarnation)
        doomed = [info.key async for info in self._store.list(keys.index_table(prefix))]
        await self._store.delete(doomed)
        await self._vectors.forget(prefix)
        return len(doomed)

    async def _reindex(self, tenant_id: TenantId) -> None:
        """All that is ready, in batches; what is processed has a job already."""

        async def enqueue(connection: Connection) -> int:
            return await ask_for_absent(
                connection, self._queue, self._generation.id, limit=_BATCH, with_failed=True, tenant_id=tenant_id
            )

        while await self._database.transact(enqueue) == _BATCH:
            pass

    async def _counts(self, tenant_id: TenantId, incarnation: Incarnation) -> bool:
        """Whether the catalog names it, or has nothing to compare it with."""
        async with self._database.read() as connection:
            state = await index_queries.table_state(connection, tenant_id, self._generation.id)
        return state is None or state.incarnation == incarnation


def tables_of(objects: Iterable[ObjectInfo]) -> set[Table]:
    """The index tables of which these are files."""
    parsed = filter(None, (keys.parse(info.key) for info in objects))
    return {
        (key.tenant_id, key.generation_id, key.incarnation)
        for key in parsed
        if key.tenant_id is not None and key.generation_id is not None and key.incarnation is not None
    }


def _turn(table: TableRecord, now: datetime) -> tuple[int, timedelta]:
    """Which repair in a row this is, and how long it has to wait: a store that loses everything again and again is not
    filled again and again."""
    if table.repaired_at is None or now - table.repaired_at > _IN_A_ROW:
        return 1, timedelta()
    pause = min(_FIRST_PAUSE * 2 ** (table.repairs - 1), _PAUSE_MAX)
    return table.repairs + 1, max(table.repaired_at + pause - now, timedelta())
