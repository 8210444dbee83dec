"""SQL on what moved tenants hold of the index: which generations, what is spent on them, and what they lack."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from s4.domains.documents import jobs as document_jobs
from s4.domains.documents.models import documents
from s4.domains.indexing import jobs as index_jobs
from s4.domains.indexing.models import document_index, index_tables
from s4.domains.tenants import Holding, Role
from s4.domains.tenants.models import tenant_generations
from s4.kernel.ids import DocumentId, GenerationId, TenantId
from s4.platform.database import Connection
from s4.platform.jobs import narrowed
from s4.platform.jobs.models import jobs

_COLUMNS = tenant_generations.c


@dataclass(frozen=True, slots=True)
class Held:
    """A generation that a tenant holds, and how it is getting on."""

    holding: Holding
    tokens_spent: int
    is_stopped: bool
    is_awaited: bool
    """No document is ready before it is here."""


async def of(connection: Connection, tenant_id: TenantId) -> dict[GenerationId, Held]:
    """Empty for a tenant that was never moved."""
    return _held(await connection.execute(_of(tenant_id)))


async def kept_still(connection: Connection, tenant_id: TenantId, *, alone: bool = False) -> dict[GenerationId, Held]:
    """The same, and it stays so until this transaction ends. `alone`: no publication of the tenant's comes between."""
    return _held(await connection.execute(_of(tenant_id).with_for_update(read=not alone)))


def _of(tenant_id: TenantId) -> sa.Select[Any]:
    return sa.select(tenant_generations).where(_COLUMNS.tenant_id == tenant_id).order_by(_COLUMNS.generation_id)


def _held(rows: Iterable[Any]) -> dict[GenerationId, Held]:
    return {
        GenerationId(row.generation_id): Held(
            _holding(row),
            row.tokens_spent,
            row.stopped,
            row.awaited or row.role == Role.SERVED,
        )
        for row in rows
    }


def _holding(row: Any) -> Holding:
    return Holding(GenerationId(row.generation_id), row.model, Role(row.role), row.since, row.budget_tokens)


def moved(tenant_id: sa.Column[str]) -> sa.ColumnElement[bool]:
    """A condition: the tenant was moved, and holds what its head says, nothing else."""
    return sa.exists().where(_COLUMNS.tenant_id == tenant_id)


def holds(tenant_id: sa.Column[str], generation: GenerationId) -> sa.ColumnElement[bool]:
    """A condition: the tenant was moved, holds this generation, and whatever it lacks may be paid for."""
    return sa.exists().where(
        _COLUMNS.tenant_id == tenant_id, _COLUMNS.generation_id == generation, sa.not_(_COLUMNS.stopped)
    )


async def being_built(connection: Connection, used: Collection[GenerationId]) -> list[tuple[TenantId, GenerationId]]:
    """What is built for whom, of the generations `used`, and may go on."""
    found = await connection.execute(
        sa.select(_COLUMNS.tenant_id, _COLUMNS.generation_id)
        .where(_COLUMNS.generation_id.in_(used), _COLUMNS.role == Role.BUILDING.value, sa.not_(_COLUMNS.stopped))
        .order_by(_COLUMNS.tenant_id, _COLUMNS.generation_id)
    )
    return [(TenantId(row.tenant_id), GenerationId(row.generation_id)) for row in found]


async def served(connection: Connection) -> list[tuple[TenantId, Holding]]:
    """From what each moved tenant is served."""
    found = await connection.execute(
        sa.select(tenant_generations).where(_COLUMNS.role == Role.SERVED.value).order_by(_COLUMNS.tenant_id)
    )
    return [(TenantId(row.tenant_id), _holding(row)) for row in found]


async def discards(connection: Connection, tenant_id: TenantId, generation: GenerationId) -> bool:
    """Whether a job is about to remove from the bucket what the tenant has released."""
    waits = sa.exists().where(
        jobs.c.kind == index_jobs.DISCARD, jobs.c.tenant_id == tenant_id, jobs.c.subject == generation
    )
    return bool((await connection.execute(sa.select(waits))).scalar_one())


async def await_in(connection: Connection, tenant_id: TenantId, generation: GenerationId, awaited: bool) -> None:
    await connection.execute(sa.update(tenant_generations).where(*_one(tenant_id, generation)).values(awaited=awaited))


async def spend(connection: Connection, tenant_id: TenantId, generation: GenerationId, tokens: int) -> bool:
    """Books what is about to be paid. False, and the build stops, when the budget has not so much left."""
    spent = _COLUMNS.tokens_spent + tokens
    enough = sa.or_(_COLUMNS.budget_tokens.is_(None), spent <= _COLUMNS.budget_tokens, sa.literal(tokens) == 0)
    booked = await connection.execute(
        sa.update(tenant_generations).where(*_one(tenant_id, generation), enough).values(tokens_spent=spent)
    )
    if booked.rowcount == 1:
        return True
    await connection.execute(sa.update(tenant_generations).where(*_one(tenant_id, generation)).values(stopped=True))
    return False


async def correct(connection: Connection, tenant_id: TenantId, generation: GenerationId, tokens: int) -> None:
    """More, or less, was paid than was booked."""
    await connection.execute(
        sa.update(tenant_generations)
        .where(*_one(tenant_id, generation))
        .values(tokens_spent=_COLUMNS.tokens_spent + tokens)
    )


def _one(tenant_id: TenantId, generation: GenerationId) -> tuple[sa.ColumnElement[bool], ...]:
    return _COLUMNS.tenant_id == tenant_id, _COLUMNS.generation_id == generation


async def jobs_into(
    connection: Connection, generation: GenerationId, state: str, tenant_id: TenantId | None = None
) -> int:
    """How many documents (one tenant's, or all) wait to be indexed here, or failed here: by the `state` of their
    jobs."""
    counted = await connection.execute(
        sa.select(sa.func.count()).where(
            jobs.c.kind == narrowed(document_jobs.INDEX, generation),
            jobs.c.state == state,
            jobs.c.tenant_id == tenant_id if tenant_id is not None else sa.true(),
        )
    )
    return int(counted.scalar_one())


async def unfinished(connection: Connection, tenant_id: TenantId, served: GenerationId) -> list[DocumentId]:
    """Documents that wait for a generation that is awaited no more: all that is promised of them is there."""
    found = await connection.execute(
        sa.select(documents.c.document_id)
        .join(
            document_index,
            sa.and_(
                document_index.c.tenant_id == documents.c.tenant_id,
                document_index.c.document_id == documents.c.document_id,
                document_index.c.generation_id == served,
                document_index.c.searchable_revision == documents.c.content_revision,
            ),
        )
        .where(documents.c.tenant_id == tenant_id, documents.c.state == "live", documents.c.status == "processing")
        .order_by(documents.c.document_id)
    )
    return [DocumentId(text) for text in found.scalars()]


async def contents(connection: Connection, tenant_id: TenantId, generation: GenerationId) -> tuple[int, int]:
    """How many documents and chunks of the tenant are searchable here."""
    i = document_index.c
    counted = await connection.execute(
        sa.select(sa.func.count(), sa.func.coalesce(sa.func.sum(i.chunks), 0)).where(
            i.tenant_id == tenant_id, i.generation_id == generation
        )
    )
    row = counted.one()
    return int(row[0]), int(row[1])


async def sample(connection: Connection, tenant_id: TenantId, *, limit: int) -> list[DocumentId]:
    """Some ready documents, drawn by chance: ids have no order."""
    ready = documents.c.tenant_id == tenant_id, documents.c.state == "live", documents.c.status == "ready"
    found = await connection.execute(
        sa.select(documents.c.document_id).where(*ready).order_by(documents.c.document_id).limit(limit)
    )
    return [DocumentId(text) for text in found.scalars()]


async def ready(connection: Connection, tenant_id: TenantId) -> tuple[int, int]:
    """How many documents of the tenant are ready, and of how many chunks."""
    counted = await connection.execute(
        sa.select(sa.func.count(), sa.func.coalesce(sa.func.sum(documents.c.chunks), 0)).where(
            documents.c.tenant_id == tenant_id, documents.c.state == "live", documents.c.status == "ready"
        )
    )
    row = counted.one()
    return int(row[0]), int(row[1])


async def living(connection: Connection, tenant_id: TenantId) -> tuple[int, int, int]:
    """How many documents the tenant has, archived ones too, of how many it is not known yet how many chunks they have,
    and how many chunks the others have."""
    d = documents.c
    is_unknown = sa.case((sa.and_(d.chunks.is_(None), d.status == "processing"), 1), else_=0)
    counted = await connection.execute(
        sa.select(
            sa.func.count(), sa.func.coalesce(sa.func.sum(is_unknown), 0), sa.func.coalesce(sa.func.sum(d.chunks), 0)
        ).where(d.tenant_id == tenant_id, d.state == "live")
    )
    row = counted.one()
    return int(row[0]), int(row[1]), int(row[2])


async def forget(connection: Connection, tenant_id: TenantId, generation: GenerationId) -> None:
    """All that the catalog has of the tenant's table here, and what waits to be written into it."""
    kinds = [narrowed(kind, generation) for kind in (document_jobs.INDEX, document_jobs.UNINDEX)]
    await connection.execute(sa.delete(jobs).where(jobs.c.kind.in_(kinds), jobs.c.tenant_id == tenant_id))
    for table in (document_index, index_tables):
        await connection.execute(
            sa.delete(table).where(table.c.tenant_id == tenant_id, table.c.generation_id == generation)
        )
