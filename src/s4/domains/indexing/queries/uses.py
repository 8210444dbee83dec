"""Which processes use which generation of the index, and which of those are at work."""

from datetime import datetime, timedelta

import sqlalchemy as sa

from s4.domains.indexing.models import generation_uses, generations, index_tables
from s4.kernel.ids import GenerationId
from s4.platform.database import Connection, upsert

USE_LASTS = timedelta(seconds=60)
"""A process that has not been seen for so long uses no generation any more."""
_REMEMBERED = timedelta(hours=1)
"""So long it may come back: the catalog was away, and nobody could say anything."""
_EVERYWHERE = sa.not_(generation_uses.c.by_tenant)
"""Every tenant is indexed here that was not moved elsewhere."""


async def use(
    connection: Connection,
    process: str,
    generation: GenerationId,
    now: datetime,
    *,
    works: bool,
    by_tenant: bool = False,
) -> None:
    """Notes that `process` searches with `generation`, and whether it indexes; `by_tenant`: only for those tenants that
    were moved to it. One into which nobody indexed meanwhile may lack what came since. That is asked more strictly than
    by `at_work`: nobody passes over a generation that holds itself for one that is."""
    worked = sa.select(
        sa.exists().where(
            generation_uses.c.generation_id == generation,
            generation_uses.c.works,
            _EVERYWHERE,
            generation_uses.c.seen_at > now - USE_LASTS / 2,
        )
    )
    if not (await connection.execute(worked)).scalar_one():
        await connection.execute(
            upsert(
                connection,
                generations,
                {"generation_id": generation, "complete": False},
                conflict=["generation_id"],
                update={"complete": False},
            )
        )
    await connection.execute(
        upsert(
            connection,
            generation_uses,
            {"process": process, "generation_id": generation, "works": works, "by_tenant": by_tenant, "seen_at": now},
            conflict=["process"],
            update={"generation_id": generation, "works": works, "by_tenant": by_tenant, "seen_at": now},
        )
    )


async def leave(connection: Connection, *processes: str) -> None:
    await connection.execute(sa.delete(generation_uses).where(generation_uses.c.process.in_(processes)))


async def in_use(connection: Connection, now: datetime) -> dict[GenerationId, bool]:
    """Generations that a living process uses for every tenant, and whether each is complete. It stays so until this
    transaction ends: `completed` waits for it."""
    return await _used(connection, now, _EVERYWHERE)


async def at_work(connection: Connection, now: datetime) -> dict[GenerationId, bool]:
    """Those that have a living worker, be it for some tenants only: what is asked of the others is never done."""
    return await _used(connection, now, generation_uses.c.works)


async def at_work_everywhere(connection: Connection, now: datetime) -> dict[GenerationId, bool]:
    """Those that have a living worker for every tenant."""
    return await _used(connection, now, sa.and_(generation_uses.c.works, _EVERYWHERE))


async def remembered(connection: Connection, now: datetime) -> dict[GenerationId, bool]:
    """Those too whose processes have fallen silent and may come back."""
    return await _used(connection, now, sa.true(), within=_REMEMBERED)


async def _used(
    connection: Connection, now: datetime, by: sa.ColumnElement[bool], *, within: timedelta = USE_LASTS
) -> dict[GenerationId, bool]:
    used = sa.exists().where(
        generation_uses.c.generation_id == generations.c.generation_id, generation_uses.c.seen_at > now - within, by
    )
    found = await connection.execute(
        sa.select(generations)
        .where(used)
        .order_by(generations.c.generation_id)
        .with_for_update(read=True, of=generations)
    )
    return {GenerationId(row.generation_id): row.complete for row in found}


async def forget_silent(connection: Connection, now: datetime) -> None:
    """Processes that died. What was said by a clock that was set back since counts from now on."""
    await connection.execute(
        sa.update(generation_uses).where(generation_uses.c.seen_at > now + USE_LASTS).values(seen_at=now)
    )
    await connection.execute(sa.delete(generation_uses).where(generation_uses.c.seen_at <= now - _REMEMBERED))


async def tables_by_generation(connection: Connection) -> dict[GenerationId, int]:
    """How many tenants have a table of each generation, in use or not."""
    counted = await connection.execute(
        sa.select(index_tables.c.generation_id, sa.func.count()).group_by(index_tables.c.generation_id)
    )
    return {GenerationId(row[0]): row[1] for row in counted}
