"""All SQL on tenants, their keys and generations, and the Idempotency-Keys that made tenants."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

import sqlalchemy as sa

from s4.domains.tenants.model import Body, Holding, Keeping, TenantStatus
from s4.domains.tenants.models import tenant_claims, tenant_generations, tenant_keys, tenants
from s4.domains.usage.models import usage_balances
from s4.kernel.clock import rfc3339
from s4.kernel.errors import Conflict
from s4.kernel.ids import GenerationId, TenantId
from s4.kernel.keys import Collection
from s4.kernel.pages import PageRequest
from s4.platform.chains.records import LIVE, records
from s4.platform.database import Connection, UtcDateTime, upsert


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


async def replace_holdings(connection: Connection, tenant_id: TenantId, held: Sequence[Holding]) -> None:
    """The head's list of generations is the whole truth, but for what was spent on them. A build goes on when its
    budget is another; and after each change nobody waits for any of them but the one that is served."""
    h = tenant_generations.c
    mine = h.tenant_id == tenant_id
    await connection.execute(
        sa.delete(tenant_generations).where(mine, h.generation_id.not_in([each.generation for each in held]))
    )
    for each in sorted(held, key=lambda holding: holding.generation):
        moved: dict[str, Any] = {
            "model": each.model,
            "role": each.role.value,
            "since": each.since,
            "budget_tokens": each.budget_tokens,
            "awaited": False,
        }
        same = h.budget_tokens.is_not_distinct_from(each.budget_tokens)
        await connection.execute(
            upsert(
                connection,
                tenant_generations,
                {"tenant_id": tenant_id, "generation_id": each.generation} | moved,
                conflict=["tenant_id", "generation_id"],
                update=moved | {"stopped": sa.and_(h.stopped, same)},
            )
        )


async def served_generation(connection: Connection, tenant_id: TenantId) -> GenerationId | None:
    """None: the tenant is served from what each process indexes into by itself."""
    found = await connection.execute(sa.select(tenants.c.served_generation).where(tenants.c.tenant_id == tenant_id))
    return cast("GenerationId | None", found.scalar_one_or_none())


async def state(connection: Connection, tenant_id: TenantId) -> str | None:
    """live, tombstone, void; None for a tenant that the catalog does not know."""
    found = await connection.execute(sa.select(tenants.c.state).where(tenants.c.tenant_id == tenant_id))
    return cast("str | None", found.scalar_one_or_none())


async def is_held(connection: Connection, tenant_id: TenantId) -> bool:
    """Whether the tenant as a whole is under a legal hold."""
    found = await connection.execute(sa.select(tenants.c.held).where(tenants.c.tenant_id == tenant_id))
    return bool(found.scalar_one_or_none())


async def body(connection: Connection, tenant_id: TenantId) -> Body | None:
    """A live tenant's newest head's body."""
    live = sa.select(tenants).where(tenants.c.tenant_id == tenant_id, tenants.c.state == "live")
    row = (await connection.execute(live)).one_or_none()
    if row is None:
        return None
    if row.body is not None:
        return cast(Body, row.body)
    # A release that did not know the column applied the head. It knew nothing that stands not in the others.
    columns = tenant_keys.c
    held = await connection.execute(
        sa.select(columns.prefix, columns.hash, columns.name, columns.scopes, columns.created_at, columns.expires_at,
                  columns.revoked_at).where(columns.tenant_id == tenant_id).order_by(columns.created_at, columns.prefix)
    )  # fmt: skip
    return {
        "name": row.name, "email": row.email, "company": row.company, "plan_id": row.plan_id, "status": row.status,
        "settings": row.settings, "created_at": rfc3339(row.created_at),
        "keys": [{name: rfc3339(value) if isinstance(value, datetime) else value for name, value in key.items()}
                 for key in held.mappings()],
    }  # fmt: skip


def plan_in_force(now: datetime | sa.BindParameter[Any]) -> sa.ColumnElement[str]:
    """The plan that a tenant is on: of one that has expired, the next, whether or not somebody noted it already."""
    return sa.case((tenants.c.plan_expires_at <= now, tenants.c.then_plan_id), else_=tenants.c.plan_id)


def _with_balance(now: datetime) -> sa.Select[Any]:
    return sa.select(
        tenants,
        plan_in_force(now).label("plan_in_force"),
        (sa.func.coalesce(tenants.c.plan_expires_at <= now, sa.false())).label("plan_expired"),
        sa.func.coalesce(usage_balances.c.stored_bytes, 0).label("stored_bytes"),
        sa.func.coalesce(usage_balances.c.documents, 0).label("documents"),
    ).outerjoin(usage_balances, usage_balances.c.tenant_id == tenants.c.tenant_id)


async def get(connection: Connection, tenant_id: TenantId, now: datetime) -> sa.Row[Any] | None:
    """A live tenant with its balance."""
    wanted = _with_balance(now).where(tenants.c.tenant_id == tenant_id, tenants.c.state == "live")
    row: sa.Row[Any] | None = (await connection.execute(wanted)).one_or_none()
    return row


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which tenants; None is any. `text` is part of name, e-mail or company."""

    status: TenantStatus | None = None
    plan_id: str | None = None
    external_id: str | None = None
    text: str | None = None


async def page(
    connection: Connection, request: PageRequest, wanted: Wanted, now: datetime
) -> tuple[list[sa.Row[Any]], int]:
    """Live tenants, newest first, and how many there are."""
    conditions: list[sa.ColumnElement[bool]] = [tenants.c.state == "live"]
    if wanted.status is not None:
        conditions.append(tenants.c.status == wanted.status.value)
    if wanted.plan_id is not None:
        conditions.append(plan_in_force(now) == wanted.plan_id)
    if wanted.external_id is not None:
        conditions.append(tenants.c.external_id == wanted.external_id)
    if wanted.text:
        columns = (tenants.c.name, tenants.c.email, tenants.c.company)
        conditions.append(sa.or_(*(column.icontains(wanted.text, autoescape=True) for column in columns)))
    total = (await connection.execute(sa.select(sa.func.count()).select_from(tenants).where(*conditions))).scalar_one()
    rows = await connection.execute(
        _with_balance(now)
        .where(*conditions)
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


_PARENT = tenant_keys.alias("parent")
_PARAMETERS_MAX = 500  # ids in one IN (…)


def _with_plan_in_force(selected: sa.Select[Any], now: datetime | sa.BindParameter[Any]) -> sa.Select[Any]:
    plan_id = plan_in_force(now)
    of_tenant = sa.and_(
        records.c.collection == Collection.PLANS.value, records.c.name == plan_id, records.c.state == LIVE
    )
    return selected.add_columns(records.c.name.label("plan_id"), records.c.body.label("plan_body")).join(
        records, of_tenant
    )


_KEY = _with_plan_in_force(
    sa.select(
        tenant_keys,
        _PARENT.c.prefix.label("parent_prefix"),
        _PARENT.c.expires_at.label("parent_expires_at"),
        _PARENT.c.revoked_at.label("parent_revoked_at"),
        tenants.c.status,
        tenants.c.state,
        tenants.c.served_generation,
        tenants.c.settings,
    )
    .outerjoin(_PARENT, sa.and_(_PARENT.c.prefix == tenant_keys.c.parent, _PARENT.c.parent.is_(None)))
    .join(tenants, tenants.c.tenant_id == tenant_keys.c.tenant_id),
    sa.bindparam("now", type_=UtcDateTime),
).where(tenant_keys.c.prefix == sa.bindparam("prefix"))
"""Made once, for every request asks it."""


async def key(connection: Connection, prefix: str, now: datetime) -> sa.Row[Any] | None:
    """A key by its public part, with its parent, its tenant's state, status and plan: all that a request needs, in
    one look."""
    found = await connection.execute(_KEY, {"prefix": prefix, "now": now})
    return cast("sa.Row[Any] | None", found.one_or_none())


async def with_plan(connection: Connection, tenant_id: TenantId, now: datetime) -> sa.Row[Any] | None:
    """Status, plan and generation of the index of a live tenant."""
    selected = sa.select(tenants.c.status, tenants.c.served_generation, tenants.c.settings)
    wanted = _with_plan_in_force(selected.select_from(tenants), now)
    found = await connection.execute(wanted.where(tenants.c.tenant_id == tenant_id, tenants.c.state == "live"))
    return cast("sa.Row[Any] | None", found.one_or_none())


@dataclass(frozen=True, slots=True)
class KeepingRow:
    """What says how long a live tenant's documents are kept."""

    tenant_id: TenantId
    is_held: bool
    own: Keeping
    plan_body: Mapping[str, Any]


async def keeping(
    connection: Connection, now: datetime, *, after: str = "", only: TenantId | None = None, limit: int = 500
) -> list[KeepingRow]:
    """Live tenants in the order of their ids, those after `after`, or the one."""
    columns = tenants.c
    selected = sa.select(columns.tenant_id, columns.held, columns.retention_days, columns.archive_after_days)
    wanted = _with_plan_in_force(selected.select_from(tenants), now).where(columns.state == "live")
    wanted = wanted.where(columns.tenant_id == only if only is not None else columns.tenant_id > after)
    return [
        KeepingRow(
            TenantId(row.tenant_id), row.held, Keeping(row.retention_days, row.archive_after_days), row.plan_body
        )
        for row in await connection.execute(wanted.order_by(columns.tenant_id).limit(limit))
    ]


async def without_plan(connection: Connection, now: datetime) -> list[tuple[TenantId, str]]:
    """Live tenants whose plan the catalog does not know, so that every request of theirs is refused; and that plan."""
    known = sa.select(records.c.name).where(records.c.collection == Collection.PLANS.value, records.c.state == LIVE)
    plan_id = plan_in_force(now)
    found = await connection.execute(
        sa.select(tenants.c.tenant_id, plan_id.label("plan_id"))
        .where(tenants.c.state == "live", plan_id.not_in(known))
        .order_by(tenants.c.tenant_id)
    )
    return [(TenantId(row.tenant_id), row.plan_id) for row in found]


async def count_on_plan(connection: Connection, plan_id: str) -> int:
    """Tenants, suspended ones too, that are on a plan or will be."""
    concerned = sa.or_(tenants.c.plan_id == plan_id, tenants.c.then_plan_id == plan_id)
    found = await connection.execute(sa.select(sa.func.count()).where(concerned, tenants.c.state == "live"))
    return int(found.scalar_one())


async def require_free(connection: Connection, external_id: str, tenant_id: TenantId) -> None:
    """Raises `Conflict` when a live tenant that is not this one is called `external_id` by the operator."""
    found = await connection.execute(
        sa.select(tenants.c.tenant_id)
        .where(tenants.c.external_id == external_id, tenants.c.tenant_id != tenant_id, tenants.c.state == "live")
        .limit(1)
    )
    other = found.scalar_one_or_none()
    if other is not None:
        raise Conflict(
            f"There is a tenant with the external id {external_id!r}: {other}.", details={"tenant_id": other}
        )


async def expired(connection: Connection, now: datetime, *, limit: int) -> list[TenantId]:
    """Tenants that are still noted on a plan that has ended."""
    over = sa.select(tenants.c.tenant_id).where(tenants.c.state == "live", tenants.c.plan_expires_at <= now)
    found = await connection.execute(over.order_by(tenants.c.plan_expires_at).limit(limit))
    return [TenantId(text) for text in found.scalars()]


async def departing(connection: Connection, now: datetime, *, limit: int) -> list[TenantId]:
    """Tenants whose grace is over."""
    over = sa.select(tenants.c.tenant_id).where(
        tenants.c.state == "live", tenants.c.status == TenantStatus.DELETING.value, tenants.c.delete_after <= now
    )
    found = await connection.execute(over.order_by(tenants.c.delete_after).limit(limit))
    return [TenantId(text) for text in found.scalars()]


async def names(connection: Connection, tenant_ids: Sequence[str]) -> dict[str, str]:
    """By id, of those few that are asked for; deleted ones too."""
    found = await connection.execute(
        sa.select(tenants.c.tenant_id, tenants.c.name).where(tenants.c.tenant_id.in_(tenant_ids))
    )
    return {row.tenant_id: row.name for row in found}


async def known_among(connection: Connection, tenant_ids: Sequence[str]) -> set[str]:
    """Those of these few that there are or were."""
    return set(await names(connection, tenant_ids))


async def created_between(connection: Connection, start: datetime, end: datetime) -> int:
    """How many of the live tenants were made from `start` up to, not including, `end`."""
    found = await connection.execute(
        sa.select(sa.func.count()).where(
            tenants.c.state == "live", tenants.c.created_at >= start, tenants.c.created_at < end
        )
    )
    return int(found.scalar_one())


async def call_limits(connection: Connection, tenant_ids: Sequence[str], now: datetime) -> dict[str, int]:
    """Calls a month by tenant, of those whose plan limits them."""
    found: dict[str, int] = {}
    for start in range(0, len(tenant_ids), _PARAMETERS_MAX):
        some = tenant_ids[start : start + _PARAMETERS_MAX]
        wanted = _with_plan_in_force(sa.select(tenants.c.tenant_id).select_from(tenants), now)
        rows = await connection.execute(wanted.where(tenants.c.tenant_id.in_(some), tenants.c.state == "live"))
        limits = {row.tenant_id: row.plan_body.get("api_calls_limit") for row in rows}
        found.update({tenant_id: limit for tenant_id, limit in limits.items() if limit is not None})
    return found


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


@dataclass(frozen=True, slots=True)
class Claim:
    """What an Idempotency-Key was used for. `seed` is hex; None when the catalog that knew it is lost."""

    key_hash: str
    fingerprint: str
    tenant_id: TenantId
    seed: str | None
    created_at: datetime


async def claim(connection: Connection, wanted: Claim, *, forgotten_before: datetime) -> Claim:
    """The claim that stands for that key: an earlier one that is remembered, or else `wanted`. The caller sees to it
    that no other claims the key at the same time."""
    mine = tenant_claims.c.key_hash == wanted.key_hash
    row = (await connection.execute(sa.select(tenant_claims).where(mine))).one_or_none()
    if row is not None and row.created_at >= forgotten_before:
        return Claim(row.key_hash, row.fingerprint, TenantId(row.tenant_id), row.seed, row.created_at)
    values = {"fingerprint": wanted.fingerprint, "tenant_id": wanted.tenant_id, "seed": wanted.seed,
              "created_at": wanted.created_at}  # fmt: skip
    identity = {"key_hash": wanted.key_hash}
    await connection.execute(
        upsert(connection, tenant_claims, identity | values, conflict=list(identity), update=values)
    )
    return wanted


async def restore_claim(
    connection: Connection, tenant_id: TenantId, said: Mapping[str, str], *, created_at: datetime
) -> None:
    """From the head, for a catalog that does not know it."""
    values = {"key_hash": said["key_hash"], "fingerprint": said["fingerprint"], "tenant_id": tenant_id, "seed": None,
              "created_at": created_at}  # fmt: skip
    await connection.execute(upsert(connection, tenant_claims, values, conflict=["key_hash"]))


async def forget_claims(connection: Connection, *, before: datetime) -> int:
    done = await connection.execute(sa.delete(tenant_claims).where(tenant_claims.c.created_at < before))
    return done.rowcount
