"""How much of what a generation is to hold is there."""

import sqlalchemy as sa

from s4.domains.documents.models import documents
from s4.domains.indexing.models import document_index
from s4.domains.indexing.queries import held
from s4.domains.indexing.queries.tables import READY, REVISION_HERE, here, is_here
from s4.domains.tenants import Role
from s4.domains.tenants.models import tenant_generations
from s4.kernel.ids import GenerationId
from s4.platform.database import Connection

_IS_HERE = sa.case((documents.c.content_revision <= REVISION_HERE, 1), else_=0)
_READY_AND_HERE = (sa.func.count(), sa.func.coalesce(sa.func.sum(_IS_HERE), 0))


async def filled(connection: Connection, generation: GenerationId) -> tuple[int, int]:
    """How many documents are ready of all tenants that were not moved, and how many of them are here."""
    counted = await connection.execute(
        sa.select(*_READY_AND_HERE)
        .select_from(here(generation))
        .where(READY, sa.not_(held.moved(documents.c.tenant_id)))
    )
    ready, found = counted.one()
    return int(ready), int(found)


async def built(connection: Connection) -> dict[GenerationId, tuple[int, int]]:
    """The same of each generation that is built for tenants, of all those."""
    whose = tenant_generations.c
    counted = await connection.execute(
        sa.select(whose.generation_id, *_READY_AND_HERE)
        .select_from(
            tenant_generations.join(documents, documents.c.tenant_id == whose.tenant_id).outerjoin(
                document_index, is_here(whose.generation_id)
            )
        )
        .where(READY, whose.role == Role.BUILDING.value)
        .group_by(whose.generation_id)
    )
    return {GenerationId(generation): (int(ready), int(found)) for generation, ready, found in counted}
