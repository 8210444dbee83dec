"""Legal holds: what may be neither deleted nor replaced."""

import sqlalchemy as sa

from s4.domains.documents.model import Document
from s4.domains.documents.models import documents
from s4.domains.documents.queries.rows import document
from s4.domains.tenants import TenantStatus
from s4.domains.tenants import queries as tenant_queries
from s4.kernel.errors import Conflict, Unavailable
from s4.kernel.ids import TenantId
from s4.platform.chains.models import commit_tickets
from s4.platform.database import Connection

_HELD = (documents.c.held == sa.true(), documents.c.state == "live")


async def require_free(connection: Connection, wanted: Document) -> None:
    """Raises `Conflict` while the document, or its whole tenant, is under a legal hold."""
    holders = sorted(wanted.holds)
    if not holders and await tenant_queries.is_held(connection, wanted.tenant_id):
        holders = ["operator"]
    if holders:
        raise Conflict(
            "This document is under a legal hold: it can be neither deleted nor replaced until that is lifted.",
            details={"legal_hold": True, "held_by": holders},
        )


async def require_none(connection: Connection, tenant_id: TenantId, *, for_good: bool) -> None:
    """For who deletes a tenant: raises `Conflict` while one of its documents is under a hold. `for_good`: and
    `Unavailable` while a change of one is under way, which may be a hold."""
    held = await count(connection, tenant_id)
    if held:
        raise Conflict(
            f"{held} documents of this tenant are under a legal hold; lift those first.",
            details={"legal_hold": True, "documents": held},
        )
    if not for_good:
        return
    under_way = sa.exists().where(commit_tickets.c.tenant_id == tenant_id, commit_tickets.c.kind == "document")
    if (await connection.execute(sa.select(under_way))).scalar_one():
        raise Unavailable("Documents of this tenant are still being changed; try again.")


async def require_staying(connection: Connection, tenant_id: TenantId) -> None:
    """For who places one: raises `Conflict` for a tenant that is being deleted. Its row is locked, so that its
    deletion, which looks for holds, comes before this or after."""
    await tenant_queries.revision(connection, tenant_id)
    body = await tenant_queries.body(connection, tenant_id)
    if body is None or body["status"] == TenantStatus.DELETING:
        raise Conflict("The tenant is being deleted; place it under a hold as a whole.")


async def count(connection: Connection, tenant_id: TenantId) -> int:
    """How many documents of the tenant are under a hold of their own."""
    counted = await connection.execute(
        sa.select(sa.func.count()).select_from(documents).where(*_HELD, documents.c.tenant_id == tenant_id)
    )
    return int(counted.scalar_one())


async def tenants(connection: Connection) -> set[str]:
    """Those with documents under holds of their own."""
    found = await connection.execute(sa.select(documents.c.tenant_id).where(*_HELD).distinct())
    return set(found.scalars())


async def page(
    connection: Connection, *, tenant_id: TenantId | None, after: tuple[str, str], limit: int
) -> list[Document]:
    """Documents under a hold of their own, of one tenant or of all, in the order of their ids after `after`."""
    identity = sa.tuple_(documents.c.tenant_id, documents.c.document_id)
    wanted = sa.select(documents).where(*_HELD, identity > after).order_by(*documents.primary_key.columns).limit(limit)
    if tenant_id is not None:
        wanted = wanted.where(documents.c.tenant_id == tenant_id)
    return [document(row) for row in await connection.execute(wanted)]


async def keep_bytes(connection: Connection, tenant_id: TenantId, document_id: str) -> bool:
    """Whether a hold, of the document or of its tenant, keeps what is dead of it."""
    own = sa.exists().where(*_HELD, documents.c.tenant_id == tenant_id, documents.c.document_id == document_id)
    if (await connection.execute(sa.select(own))).scalar_one():
        return True
    return await tenant_queries.is_held(connection, tenant_id)
