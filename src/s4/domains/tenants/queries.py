"""All SQL on tenants and keys."""

from datetime import datetime
from typing import Any, cast

import sqlalchemy as sa

from s4.domains.tenants.models import tenant_keys, tenants
from s4.domains.usage.models import usage_balances
from s4.kernel.ids import TenantId
from s4.kernel.keys import Collection
from s4.kernel.pages import PageRequest
from s4.platform.chains.records import records
from s4.platform.database import Connection, upsert


async def revision(connection: Connection, tenant_id: str) -> int:
    """The chain's revision in the catalog, 0 for none; locks the row."""
    found = await connection.execute(
        sa.select(tenants.c.revision).where(tenants.c.tenant_id == tenant_id).with_for_update()
    )
    return found.scalar_one_or_none() or 0


async def put(connection: Connection, values: dict[str, Any]) -> None:
    """Inserts the tenant or overwrites everything but its identity."""
    update = {name: value for name, value in values.items() if name not in ("tenant_id", "created_at")}
    await connection.execute(upsert(connection, tenants, values, conflict=["tenant_id"], update=update))


async def advance(connection: Connection, tenant_id: str, to_revision: int) -> bool:
    """Notes a revision that changed nothing. False when the tenant is unknown."""
    done = await connection.execute(
        sa.update(tenants).where(tenants.c.tenant_id == tenant_id).values(revision=to_revision)
    )
    return done.rowcount == 1


async def replace_keys(connection: Connection, tenant_id: str, keys: list[dict[str, Any]]) -> None:
    """The head's list of keys is the whole truth, but for child keys, which no head names."""
    await connection.execute(
        sa.delete(tenant_keys).where(tenant_keys.c.tenant_id == tenant_id, tenant_keys.c.parent.is_(None))
    )
    if keys:
        await connection.execute(sa.insert(tenant_keys), keys)


def _with_balance() -> sa.Select[Any]:
    return sa.select(
        tenants,
        sa.func.coalesce(usage_balances.c.stored_bytes, 0).label("stored_bytes"),
        sa.func.coalesce(usage_balances.c.documents, 0).label("documents"),
    ).outerjoin(usage_balances, usage_balances.c.tenant_id == tenants.c.tenant_id)


async def get(connection: Connection, tenant_id: TenantId) -> sa.Row[Any] | None:
    """A live tenant with its balance."""
    wanted = _with_balance().where(tenants.c.tenant_id == tenant_id, tenants.c.state == "live")
    row: sa.Row[Any] | None = (await connection.execute(wanted)).one_or_none()
    return row


async def page(
    connection: Connection, request: PageRequest, *, status: str | None, plan_id: str | None, text: str | None
) -> tuple[list[sa.Row[Any]], int]:
    """Live tenants, newest first, and how many there are."""
    wanted = [tenants.c.state == "live"]
    if status is not None:
        wanted.append(tenants.c.status == status)
    if plan_id is not None:
        wanted.append(tenants.c.plan_id == plan_id)
    if text:
        wanted.append(
            sa.or_(*(c.icontains(text, autoescape=True) for c in (tenants.c.name, tenants.c.email, tenants.c.company)))
        )
    total = (await connection.execute(sa.select(sa.func.count()).select_from(tenants).where(*wanted))).scalar_one()
    rows = await connection.execute(
        _with_balance()
        .where(*wanted)
        .order_by(tenants.c.created_at.desc(), tenants.c.tenant_id)
        .offset(request.offset)
        .limit(request.limit)
    )
    return list(rows.all()), total


async def ids(connection: Connection) -> list[TenantId]:
    """Every tenant that the catalog knows and that is not deleted."""
    found = await connection.execute(
        sa.select(tenants.c.tenant_id).where(tenants.c.state == "live").order_by(tenants.c.tenant_id)
    )
    return [TenantId(text) for text in found.scalars()]


_PLAN_OF_TENANT = sa.and_(records.c.collection == Collection.PLANS.value, records.c.name == tenants.c.plan_id)
_PARENT = tenant_keys.alias("parent")
_PLAN = (tenants.c.plan_id, records.c.body.label("plan_body"))


async def key(connection: Connection, prefix: str) -> sa.Row[Any] | None:
    """A key by its public part, with its parent, its tenant's state, status and plan: all that a request needs, in
    one look."""
    found = await connection.execute(
        sa.select(
            tenant_keys,
            _PARENT.c.prefix.label("parent_prefix"),
            _PARENT.c.expires_at.label("parent_expires_at"),
            _PARENT.c.revoked_at.label("parent_revoked_at"),
            tenants.c.status,
            tenants.c.state,
            *_PLAN,
        )
        .outerjoin(_PARENT, sa.and_(_PARENT.c.prefix == tenant_keys.c.parent, _PARENT.c.parent.is_(None)))
        .join(tenants, tenants.c.tenant_id == tenant_keys.c.tenant_id)
        .join(records, _PLAN_OF_TENANT)
        .where(tenant_keys.c.prefix == prefix)
    )
    return found.one_or_none()


async def with_plan(connection: Connection, tenant_id: TenantId) -> sa.Row[Any] | None:
    """Status and plan of a live tenant."""
    wanted = sa.select(tenants.c.status, *_PLAN).join(records, _PLAN_OF_TENANT)
    found = await connection.execute(wanted.where(tenants.c.tenant_id == tenant_id, tenants.c.state == "live"))
    return cast("sa.Row[Any] | None", found.one_or_none())


async def count_on_plan(connection: Connection, plan_id: str) -> int:
    """Tenants, suspended ones too, that are on a plan."""
    found = await connection.execute(
        sa.select(sa.func.count()).where(tenants.c.plan_id == plan_id, tenants.c.state == "live")
    )
    return int(found.scalar_one())


async def counts_by_status(connection: Connection) -> dict[str, int]:
    rows = await connection.execute(
        sa.select(tenants.c.status, sa.func.count()).where(tenants.c.state == "live").group_by(tenants.c.status)
    )
    return {row[0]: row[1] for row in rows}


def void_row(tenant_id: str, at: datetime, revision_: int) -> dict[str, Any]:
    """A tenant whose first revision was abandoned: it never was, but its chain has begun."""
    return {
        "tenant_id": tenant_id, "revision": revision_, "state": "void", "name": "", "plan_id": "", "status": "void",
        "settings": {}, "created_at": at, "updated_at": at,
    }  # fmt: skip
