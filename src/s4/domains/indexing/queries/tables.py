"""All SQL on what is searchable."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from s4.domains.documents import jobs as document_jobs
from s4.domains.documents.models import documents
from s4.domains.indexing.models import document_index, generations, index_tables
from s4.domains.indexing.queries import held
from s4.engine.vectors import FileSum, Sums
from s4.kernel.ids import DocumentId, GenerationId, Incarnation, JobId, TenantId
from s4.platform.database import Connection, upsert
from s4.platform.jobs import narrowed
from s4.platform.jobs.models import jobs


@dataclass(frozen=True, slots=True)
class TableState:
    """What searches open. `version` is 0 before the first commit of an incarnation. A table that is not whole is being
    made anew, and lacks documents that are ready."""

    incarnation: Incarnation
    version: int
    is_whole: bool


@dataclass(frozen=True, slots=True)
class TableRecord:
    """What else is known of a table."""

    state: TableState
    sums: dict[str, FileSum]
    """Of files, as of the last commit that noted them. An older release notes none."""
    repairs: int
    repaired_at: datetime | None


async def table_state(connection: Connection, tenant_id: TenantId, generation: GenerationId) -> TableState | None:
    """None when nothing was ever indexed."""
    found = await connection.execute(sa.select(*STATE).where(*_of(tenant_id, generation)))
    row = found.one_or_none()
    return None if row is None else state_of(row)


async def table_record(connection: Connection, tenant_id: TenantId, generation: GenerationId) -> TableRecord | None:
    """None when nothing was ever indexed."""
    t = index_tables.c
    found = await connection.execute(
        sa.select(*STATE, t.files, t.repairs, t.repaired_at).where(*_of(tenant_id, generation))
    )
    row = found.one_or_none()
    return None if row is None else TableRecord(state_of(row), _sums(row.files), row.repairs, row.repaired_at)


STATE = (index_tables.c.incarnation, index_tables.c.lance_version, index_tables.c.remade_since)
"""The columns of a `TableState`."""


def state_of(row: Any) -> TableState:
    """From a row with the columns `STATE`."""
    return TableState(Incarnation(row.incarnation), row.lance_version, row.remade_since is None)


def _of(tenant_id: TenantId, generation: GenerationId) -> tuple[sa.ColumnElement[bool], ...]:
    return index_tables.c.tenant_id == tenant_id, index_tables.c.generation_id == generation


def _sums(files: dict[str, list[Any]] | None) -> dict[str, FileSum]:
    return {name: FileSum(*described) for name, described in (files or {}).items()}


def files(sums: Sums) -> dict[str, list[Any]]:
    return {name: [known.size_bytes, known.md5] for name, known in sums.items()}


async def has_table(connection: Connection, tenant_id: TenantId) -> bool:
    """Whether anything was ever indexed, in any generation."""
    found = await connection.execute(sa.select(sa.exists().where(index_tables.c.tenant_id == tenant_id)))
    return bool(found.scalar_one())


async def move_table(
    connection: Connection,
    tenant_id: TenantId,
    generation: GenerationId,
    incarnation: Incarnation,
    *,
    version: int,
    sums: Sums,
    now: datetime,
) -> int:
    """Searches open `version` from this transaction on; never an older one than before. Answers with the number of
    commits since the table was compacted. The caller holds the table's lease, so `incarnation` is the one that counts.
    """
    newest = sa.case((index_tables.c.lance_version > version, index_tables.c.lance_version), else_=sa.literal(version))
    moved = await connection.execute(
        upsert(
            connection,
            index_tables,
            {
                "tenant_id": tenant_id,
                "generation_id": generation,
                "lance_version": version,
                "commits_since_optimize": 1,
                "updated_at": now,
                "incarnation": incarnation,
                "files": files(sums),
            },
            conflict=["tenant_id", "generation_id"],
            update={
                "lance_version": newest,
                "commits_since_optimize": index_tables.c.commits_since_optimize + 1,
                "updated_at": now,
                "files": files(sums),
            },
        ).returning(index_tables.c.commits_since_optimize)
    )
    return int(moved.scalar_one())


async def optimized(
    connection: Connection,
    tenant_id: TenantId,
    generation: GenerationId,
    incarnation: Incarnation,
    *,
    version: int,
    sums: Sums,
    now: datetime,
) -> None:
    """After compaction: the compacted version holds the same rows."""
    await move_table(connection, tenant_id, generation, incarnation, version=version, sums=sums, now=now)
    await connection.execute(
        sa.update(index_tables).where(*_of(tenant_id, generation)).values(commits_since_optimize=0)
    )


async def begin_anew(
    connection: Connection,
    tenant_id: TenantId,
    generation: GenerationId,
    incarnation: Incarnation,
    *,
    repairs: int,
    now: datetime,
) -> None:
    """Nothing of the table counts from this transaction on; `incarnation` takes its place, and is empty."""
    await connection.execute(
        sa.delete(document_index).where(
            document_index.c.tenant_id == tenant_id, document_index.c.generation_id == generation
        )
    )
    await connection.execute(
        sa.update(index_tables)
        .where(*_of(tenant_id, generation))
        .values(
            incarnation=incarnation,
            lance_version=0,
            commits_since_optimize=0,
            files=None,
            remade_since=now,
            repairs=repairs,
            repaired_at=now,
            checked_at=now,
            updated_at=now,
        )
    )
    await note_whole(connection, tenant_id)


async def hold_remade(connection: Connection, tenant_id: TenantId) -> None:
    """Until this transaction ends, nobody publishes into a table that is made anew: of two that end the last two
    documents at once, the later one notes that it is whole. Before the lock of a document, as publications do."""
    t = index_tables.c
    remade = sa.select(t.generation_id).where(t.tenant_id == tenant_id, t.remade_since.is_not(None))
    await connection.execute(remade.order_by(t.generation_id).with_for_update())


async def note_whole(connection: Connection, tenant_id: TenantId | None = None, *, failing: JobId | None = None) -> int:
    """Tables (one tenant's, or all) that were made anew and lack no ready document any more, nor one that was being
    replaced at the time, and found by its former text; but for those that were tried in vain, or are about to be: by
    the job `failing`. Answers with how many."""
    tried_in_vain = sa.exists().where(
        jobs.c.kind == sa.literal(narrowed(document_jobs.INDEX, "")).concat(index_tables.c.generation_id),
        jobs.c.tenant_id == documents.c.tenant_id,
        jobs.c.subject == documents.c.document_id,
        sa.or_(jobs.c.state == "failed", jobs.c.job_id == failing),
    )
    replaced_and_absent = sa.and_(
        documents.c.state == "live",
        documents.c.status == "processing",
        documents.c.content_revision > 1,
        documents.c.content_revision > REVISION_HERE,
        documents.c.uploaded_at <= index_tables.c.remade_since,
    )
    lacks = sa.exists(
        sa.select(documents.c.document_id)
        .select_from(here(index_tables.c.generation_id))
        .where(
            documents.c.tenant_id == index_tables.c.tenant_id,
            sa.or_(_READY_AND_ABSENT, replaced_and_absent),
            sa.not_(tried_in_vain),
        )
        .correlate(index_tables)
    )
    noted = await connection.execute(
        sa.update(index_tables)
        .where(
            index_tables.c.remade_since.is_not(None),
            index_tables.c.tenant_id == tenant_id if tenant_id is not None else sa.true(),
            sa.not_(lacks),
        )
        .values(remade_since=None)
    )
    return noted.rowcount


async def tables_to_check(
    connection: Connection, used: Collection[GenerationId], *, checked_before: datetime, limit: int
) -> list[tuple[TenantId, GenerationId]]:
    """Tables of the generations at work that were not looked at since, the longest unseen first."""
    t = index_tables.c
    found = await connection.execute(
        sa.select(t.tenant_id, t.generation_id)
        .where(t.generation_id.in_(used), sa.or_(t.checked_at.is_(None), t.checked_at < checked_before))
        .order_by(t.checked_at.asc().nulls_first())
        .limit(limit)
    )
    return [(TenantId(row.tenant_id), GenerationId(row.generation_id)) for row in found]


async def note_checked(
    connection: Connection, tenant_id: TenantId, generation: GenerationId, *, sums: Sums, now: datetime
) -> None:
    """Its files are what they were; `sums` knows also those that nobody noted before."""
    await connection.execute(
        sa.update(index_tables).where(*_of(tenant_id, generation)).values(checked_at=now, files=files(sums))
    )


async def tables_to_optimize(
    connection: Connection, used: Collection[GenerationId], *, commits_min: int, rest_since: datetime, limit: int
) -> list[tuple[TenantId, GenerationId]]:
    """Tables of the generations at work that have had at least so many commits since they were compacted; or some, and
    none since a while, so that what those superseded does not stay."""
    found = await connection.execute(
        sa.select(index_tables.c.tenant_id, index_tables.c.generation_id)
        .where(
            index_tables.c.generation_id.in_(used),
            sa.or_(
                index_tables.c.commits_since_optimize >= commits_min,
                sa.and_(index_tables.c.commits_since_optimize > 0, index_tables.c.updated_at < rest_since),
            ),
        )
        .order_by(index_tables.c.commits_since_optimize.desc())
        .limit(limit)
    )
    return [(TenantId(row.tenant_id), GenerationId(row.generation_id)) for row in found]


async def searchable_revision(
    connection: Connection, tenant_id: TenantId, generation: GenerationId, document_id: DocumentId
) -> int:
    """0 when no revision of the document is in this generation."""
    found = await connection.execute(
        sa.select(document_index.c.searchable_revision).where(
            document_index.c.tenant_id == tenant_id,
            document_index.c.generation_id == generation,
            document_index.c.document_id == document_id,
        )
    )
    return found.scalar_one_or_none() or 0


async def newest_searchable(
    connection: Connection, tenant_id: str, document_id: str, among: Collection[GenerationId]
) -> int:
    """0 when none of these generations has a revision of the document."""
    found = await connection.execute(
        sa.select(sa.func.max(document_index.c.searchable_revision)).where(
            document_index.c.tenant_id == tenant_id,
            document_index.c.generation_id.in_(among),
            document_index.c.document_id == document_id,
        )
    )
    return found.scalar_one() or 0


async def floors(connection: Connection, tenant_id: TenantId, generation: GenerationId) -> dict[str, int]:
    """Document to the revision below which its rows are dead: the searchable one, or the one after its deletion."""
    searchable = sa.func.coalesce(document_index.c.searchable_revision, 0)
    deleted_up_to = documents.c.searchable_floor
    found = await connection.execute(
        sa.select(
            documents.c.document_id,
            sa.case((searchable > deleted_up_to, searchable), else_=deleted_up_to + 1).label("floor"),
        )
        .outerjoin(
            document_index,
            sa.and_(
                document_index.c.tenant_id == documents.c.tenant_id,
                document_index.c.document_id == documents.c.document_id,
                document_index.c.generation_id == generation,
            ),
        )
        .where(documents.c.tenant_id == tenant_id)
    )
    return {row.document_id: row.floor for row in found}


async def publish(
    connection: Connection,
    tenant_id: TenantId,
    generation: GenerationId,
    document_id: DocumentId,
    *,
    revision: int,
    chunks: int,
) -> None:
    """Makes a revision the searchable one; never an older one than before."""
    await connection.execute(
        upsert(
            connection,
            document_index,
            {
                "tenant_id": tenant_id,
                "generation_id": generation,
                "document_id": document_id,
                "searchable_revision": revision,
                "chunks": chunks,
            },
            conflict=["tenant_id", "generation_id", "document_id"],
            update={"searchable_revision": revision, "chunks": chunks},
        )
    )


async def published(connection: Connection, tenant_id: TenantId, generation: GenerationId) -> set[tuple[str, int]]:
    """The pairs of document and revision that are said to be searchable here."""
    i = document_index.c
    found = await connection.execute(
        sa.select(i.document_id, i.searchable_revision).where(i.tenant_id == tenant_id, i.generation_id == generation)
    )
    return {(row.document_id, row.searchable_revision) for row in found}


async def withdraw_lost(
    connection: Connection, tenant_id: TenantId, generation: GenerationId, lost: Collection[tuple[str, int]]
) -> None:
    """Forgets what was said to be searchable here and is not in the table. The caller holds the table's lease."""
    for document_id, revision in sorted(lost):
        await connection.execute(
            sa.delete(document_index).where(
                document_index.c.tenant_id == tenant_id,
                document_index.c.generation_id == generation,
                document_index.c.document_id == document_id,
                document_index.c.searchable_revision == revision,
            )
        )


async def withdraw(
    connection: Connection, tenant_id: TenantId, document_id: DocumentId, *, up_to_revision: int
) -> None:
    """Forgets what was searchable of a deleted document, in every generation."""
    await connection.execute(
        sa.delete(document_index).where(
            document_index.c.tenant_id == tenant_id,
            document_index.c.document_id == document_id,
            document_index.c.searchable_revision <= up_to_revision,
        )
    )


# -- generations


async def completed(connection: Connection, generation: GenerationId) -> bool:
    """Notes that a generation holds whatever is promised, if it does. Publications that began before have ended when
    it is looked, and those that follow know; none waits for as long as something is lacking anyway."""
    if await lacking(connection, generation):
        return False
    row = sa.select(generations).where(generations.c.generation_id == generation).with_for_update()
    if (await connection.execute(row)).one_or_none() is None or await lacking(connection, generation):
        return False
    await connection.execute(
        sa.update(generations).where(generations.c.generation_id == generation).values(complete=True)
    )
    return True


async def is_complete(connection: Connection, generation: GenerationId) -> bool:
    found = await connection.execute(sa.select(generations.c.complete).where(generations.c.generation_id == generation))
    return bool(found.scalar_one_or_none())


def is_here(generation: GenerationId | sa.Column[str]) -> sa.ColumnElement[bool]:
    """A condition on rows of `document_index`, beside those of `documents`."""
    return sa.and_(
        document_index.c.tenant_id == documents.c.tenant_id,
        document_index.c.document_id == documents.c.document_id,
        document_index.c.generation_id == generation,
    )


def here(generation: GenerationId | sa.Column[str]) -> sa.Join:
    return documents.outerjoin(document_index, is_here(generation))


REVISION_HERE = sa.func.coalesce(document_index.c.searchable_revision, 0)
READY = sa.and_(documents.c.state == "live", documents.c.status == "ready")
_READY_AND_ABSENT = sa.and_(READY, documents.c.content_revision > REVISION_HERE)


async def lacking(connection: Connection, generation: GenerationId, tenant_id: TenantId | None = None) -> int:
    """How many documents (one tenant's, or those of all that were not moved) others find and this generation does not:
    ready ones, and those that are being replaced.
    What is processed for the first time was promised to nobody yet. Of a document whose replacement failed, the former
    text is served as long as there is a generation that has it."""
    elsewhere = document_index.alias()
    replaced_and_absent = sa.and_(
        documents.c.state == "live",
        documents.c.status == "processing",
        documents.c.searchable_floor >= REVISION_HERE,
        sa.exists().where(
            elsewhere.c.tenant_id == documents.c.tenant_id,
            elsewhere.c.document_id == documents.c.document_id,
            elsewhere.c.searchable_revision > documents.c.searchable_floor,
            elsewhere.c.searchable_revision < documents.c.content_revision,
        ),
    )
    counted = await connection.execute(
        sa.select(sa.func.count())
        .select_from(here(generation))
        .where(
            sa.or_(_READY_AND_ABSENT, replaced_and_absent),
            documents.c.tenant_id == tenant_id if tenant_id is not None else sa.not_(held.moved(documents.c.tenant_id)),
        )
    )
    return int(counted.scalar_one())


def _job(generation: GenerationId, *states: str) -> sa.ColumnElement[bool]:
    """A condition on rows of `documents`: there is a job that will index it here, in one of `states`."""
    return sa.exists().where(
        jobs.c.kind.in_((document_jobs.INDEX, narrowed(document_jobs.INDEX, generation))),
        jobs.c.tenant_id == documents.c.tenant_id,
        jobs.c.subject == documents.c.document_id,
        jobs.c.state.in_(states),
    )


async def unindexed(
    connection: Connection,
    generation: GenerationId,
    *,
    limit: int,
    with_failed: bool,
    tenant_id: TenantId | None = None,
    everywhere: bool = True,
) -> list[tuple[TenantId, DocumentId]]:
    """Ready documents (one tenant's, or of all who are to be found here) whose content this generation lacks and that
    no job is about to index; `everywhere`: tenants that were not moved are to be found here. `with_failed`: those too
    that have been tried. In the order in which publications lock them."""
    known = ("ready", "running") if with_failed else ("ready", "running", "failed")
    of_moved = held.holds(documents.c.tenant_id, generation)
    of_others = sa.not_(held.moved(documents.c.tenant_id)) if everywhere else sa.false()
    found = await connection.execute(
        sa.select(documents.c.tenant_id, documents.c.document_id)
        .select_from(here(generation))
        .where(
            _READY_AND_ABSENT,
            documents.c.tenant_id == tenant_id if tenant_id is not None else sa.or_(of_others, of_moved),
            sa.not_(_job(generation, *known)),
        )
        .order_by(documents.c.tenant_id, documents.c.document_id)
        .limit(limit)
    )
    return [(TenantId(row.tenant_id), DocumentId(row.document_id)) for row in found]


async def awaits_anybody(connection: Connection, tenant_id: str, document_id: str) -> bool:
    """Whether a job that any generation may do is about to index the document's current content."""
    waits = sa.exists().where(
        jobs.c.kind == document_jobs.INDEX,
        jobs.c.tenant_id == tenant_id,
        jobs.c.subject == document_id,
        jobs.c.state.in_(("ready", "running")),
    )
    return bool((await connection.execute(sa.select(waits))).scalar_one())
