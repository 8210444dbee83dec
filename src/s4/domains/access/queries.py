"""All SQL on keys, beside the look-up of one at `tenants.queries.key`."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from s4.domains.access.models import credential_uses
from s4.domains.tenants.models import tenant_keys, tenants
from s4.kernel.ids import TenantId
from s4.platform.database import Connection, UtcDateTime, upsert


async def keys_of(connection: Connection, tenant_id: TenantId) -> list[sa.Row[Any]]:
    """The keys that the tenant's head names, oldest first, with their last use."""
    rows = await connection.execute(
        sa.select(tenant_keys, credential_uses.c.last_used_at)
        .outerjoin(credential_uses, credential_uses.c.prefix == tenant_keys.c.prefix)
        .join(tenants, tenants.c.tenant_id == tenant_keys.c.tenant_id)
        .where(tenant_keys.c.tenant_id == tenant_id, tenant_keys.c.parent.is_(None), tenants.c.state == "live")
        .order_by(tenant_keys.c.created_at, tenant_keys.c.prefix)
    )
    return list(rows)


async def hashes(connection: Connection, prefixes: Collection[str]) -> dict[str, str]:
    """Of those that exist."""
    rows = await connection.execute(
        sa.select(tenant_keys.c.prefix, tenant_keys.c.hash).where(tenant_keys.c.prefix.in_(list(prefixes)))
    )
    return {row.prefix: row.hash for row in rows}


async def last_uses(connection: Connection, prefixes: Collection[str]) -> dict[str, datetime]:
    rows = await connection.execute(sa.select(credential_uses).where(credential_uses.c.prefix.in_(list(prefixes))))
    return {row.prefix: row.last_used_at for row in rows}


async def note_uses(connection: Connection, uses: Mapping[str, datetime]) -> None:
    """Later moments stand: replicas write in any order."""
    known = credential_uses.c.last_used_at
    for prefix, at in sorted(uses.items()):  # in one order everywhere, so that replicas do not block each other
        later = {"last_used_at": sa.case((known > at, known), else_=sa.literal(at, UtcDateTime()))}
        values = {"prefix": prefix, "last_used_at": at}
        await connection.execute(upsert(connection, credential_uses, values, conflict=["prefix"], update=later))


async def forget_uses(connection: Connection, prefixes: Sequence[str]) -> None:
    if prefixes:
        await connection.execute(sa.delete(credential_uses).where(credential_uses.c.prefix.in_(prefixes)))


async def add_child(connection: Connection, values: Mapping[str, Any]) -> None:
    await connection.execute(sa.insert(tenant_keys).values(dict(values)))


async def drop_ended_children(connection: Connection, tenant_id: TenantId, now: datetime) -> None:
    await connection.execute(sa.delete(tenant_keys).where(*_children(tenant_id), tenant_keys.c.expires_at <= now))


async def count_children(connection: Connection, tenant_id: TenantId) -> int:
    found = await connection.execute(sa.select(sa.func.count()).where(*_children(tenant_id)))
    return int(found.scalar_one())


async def drop_child(connection: Connection, tenant_id: TenantId, prefix: str) -> bool:
    """False when the tenant has no such child key."""
    done = await connection.execute(sa.delete(tenant_keys).where(*_children(tenant_id), tenant_keys.c.prefix == prefix))
    return done.rowcount == 1


def _children(tenant_id: TenantId) -> tuple[sa.ColumnElement[bool], ...]:
    return tenant_keys.c.tenant_id == tenant_id, tenant_keys.c.parent.is_not(None)
