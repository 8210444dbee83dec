"""A tenant's keys: several, named, with scopes, expiring, rotated with overlap, revoked; bound ones; children.

Keys live in the tenant's head, child keys only in the catalog: they live an hour at most, and die with their parent, so
a rebuild may forget them. Who mints gives no more than he has: of scopes, and of the documents that he may see. A bound
key manages no keys, but it may mint children within its bounds.

A revocation is answered when the catalog has moved, and every replica asks the catalog with every request: from then on
none accepts the key. What was admitted before, an upload say, may end.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from s4.domains import audit
from s4.domains.access import queries
from s4.domains.access.lifetimes import ended_at, ending, in_force, renewed, require_future
from s4.domains.tenants import TenantService
from s4.kernel.clock import parse_moment, rfc3339
from s4.kernel.context import UNRESTRICTED, Actor, AdminContext, Restriction, TenantContext
from s4.kernel.errors import Conflict, Forbidden, InvalidRequest, NotFound
from s4.kernel.ids import RandomBytes, TenantId
from s4.kernel.permissions import TENANT_SCOPES, Permission
from s4.platform.database import Connection, Database
from s4.platform.security import credentials
from s4.platform.security.credentials import MintedKey

KEYS_MAX = 100  # in force, of one tenant: each is some 400 bytes in every head of the tenant
ENDED_KEPT_MAX = 100  # expired and revoked ones that lists still show, the newest
CHILDREN_MAX = 10_000  # of one tenant at a time: rows that each live an hour at most
CHILD_LIFE_MAX = timedelta(hours=1)
BOUND_SCOPES = TENANT_SCOPES - {Permission.USAGE_READ}
"""What a bound key may carry: use is counted by tenant, not by document."""
CHILD_SCOPES = TENANT_SCOPES - {Permission.KEYS_MANAGE}


@dataclass(frozen=True, slots=True)
class NewKey:
    name: str
    scopes: frozenset[Permission]
    expires_at: datetime | None = None
    restriction: Restriction = UNRESTRICTED


@dataclass(frozen=True, slots=True)
class Key:
    """What may be told of a key."""

    prefix: str
    name: str
    scopes: frozenset[Permission]
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    restriction: Restriction
    status: str
    """active, expired, revoked"""
    last_used: datetime | None = None
    parent: str | None = None


@dataclass(frozen=True, slots=True)
class Manager:
    """Who manages a tenant's keys, and the scopes that he can give."""

    tenant_id: TenantId
    actor: Actor
    scopes: frozenset[Permission]
    is_admin: bool = False

    @classmethod
    def of_tenant(cls, context: TenantContext) -> "Manager":
        """Raises `Forbidden`."""
        context.require(Permission.KEYS_MANAGE)
        if context.restriction.binds:
            raise Forbidden("A bound key mints child keys and manages no others.")
        return cls(context.tenant_id, context.actor, context.permissions)

    @classmethod
    def of_admin(cls, context: AdminContext, tenant_id: TenantId) -> "Manager":
        """Raises `Forbidden`."""
        context.require(Permission.ADMIN_WRITE)
        return cls(tenant_id, context.actor, TENANT_SCOPES, is_admin=True)


class KeyService:
    """Answers with plaintexts once, keeps hashes."""

    def __init__(self, database: Database, tenants: TenantService, random: RandomBytes) -> None:
        self._database = database
        self._tenants = tenants
        self._random = random

    async def all(self, tenant_id: TenantId) -> list[Key]:
        """Oldest first, those too that ended lately. Raises `NotFound` when there is no such tenant."""
        async with self._database.read() as connection:
            rows = await queries.keys_of(connection, tenant_id)
            now = await self._database.now(connection)
        if not rows:
            raise NotFound("No such tenant.")
        return [_from_row(row, now) for row in rows]

    async def create(self, manager: Manager, new: NewKey) -> tuple[Key, str]:
        """Raises `Forbidden` for a scope that the manager has not, `Conflict` when there are too many keys."""
        _require_scopes(manager.scopes, new.scopes)
        _require_bound_scopes(new.restriction, new.scopes)
        minted = credentials.mint(self._random)

        def decide(now: datetime, keys: list[dict[str, Any]]) -> list[dict[str, Any]]:
            require_future(new.expires_at, now)
            expires_at = rfc3339(new.expires_at) if new.expires_at is not None else None
            return [*keys, _entry(minted, new.name, new.scopes, now, expires_at, new.restriction)]

        return await self._change(manager, "key.create", minted.prefix, decide), minted.plaintext

    async def rotate(self, manager: Manager, prefix: str, *, overlap: timedelta) -> tuple[Key, str]:
        """A successor with the same name, scopes and bounds, that lives as long as the old key was to; the old one
        expires after `overlap`. Raises `Conflict` for a key that is no longer in force or was rotated before."""
        minted = credentials.mint(self._random)

        def decide(now: datetime, keys: list[dict[str, Any]]) -> list[dict[str, Any]]:
            old = _find(keys, prefix)
            scopes = _scopes(old)
            _require_scopes(manager.scopes, scopes)
            if not in_force(old, now):
                raise Conflict("This key has ended; make a new one.")
            if old.get("successor"):
                raise Conflict("This key was rotated before.", details={"successor": old["successor"]})
            new = _entry(minted, old["name"], scopes, now, renewed(old, now), _restriction(old))
            left = [k if k is not old else {**ending(k, now, overlap), "successor": minted.prefix} for k in keys]
            return [*left, new]

        return await self._change(manager, "key.rotate", minted.prefix, decide), minted.plaintext

    async def regenerate(self, manager: Manager, *, overlap: timedelta) -> tuple[Key, str]:
        """A key with all scopes; every other one expires after `overlap`. For a tenant that lost its keys, or to
        somebody."""
        minted = credentials.mint(self._random)

        def decide(now: datetime, keys: list[dict[str, Any]]) -> list[dict[str, Any]]:
            left = [ending(key, now, overlap) if in_force(key, now) else key for key in keys]
            return [*left, _entry(minted, "regenerated", TENANT_SCOPES, now, None, UNRESTRICTED)]

        return await self._change(manager, "key.regenerate", minted.prefix, decide), minted.plaintext

    async def revoke(self, manager: Manager, prefix: str, *, force: bool = False) -> None:
        """No replica accepts the key, nor its children, when this returns. Revoking again changes nothing. Raises
        `NotFound`, and `Conflict` without `force` for the last key with which the tenant could make another."""
        async with self._database.read() as connection:
            known = {row.prefix: row for row in await queries.keys_of(connection, manager.tenant_id)}
        if prefix not in known:
            await self._drop_child(manager, prefix)
            return
        if known[prefix].revoked_at is not None:
            return

        def decide(now: datetime, keys: list[dict[str, Any]]) -> list[dict[str, Any]]:
            key = _find(keys, prefix)
            if key["revoked_at"]:
                return keys
            if not force and not manager.is_admin and _is_last_manager(keys, key, now):
                raise Conflict(
                    "This is the last key that can make keys; without it only the operator could. "
                    "Make another first, or repeat with force=true."
                )
            return [k if k is not key else {**k, "revoked_at": rfc3339(now)} for k in keys]

        await self._change(manager, "key.revoke", prefix, decide)

    async def mint_child(
        self, context: TenantContext, scopes: frozenset[Permission], *, life: timedelta, within: Restriction
    ) -> tuple[Key, str]:
        """A key that lives `life`, an hour at most, or as long as its parent; for a browser, say. It has no more scopes
        than its parent and sees no more documents. Raises `Forbidden`, `Conflict`."""
        context.require(Permission.KEYS_MANAGE)
        _require_scopes(context.permissions, scopes)
        if not timedelta(0) < life <= CHILD_LIFE_MAX:
            raise InvalidRequest("A child key lives from one second to an hour.")
        restriction = _narrowed(context.restriction, within)
        if Permission.KEYS_MANAGE in scopes or context.key_id is None:
            raise Forbidden("A child key manages no keys.")
        _require_bound_scopes(restriction, scopes)
        minted = credentials.mint(self._random)

        async def add(connection: Connection) -> Key:
            now = await self._database.now(connection)
            await queries.drop_ended_children(connection, context.tenant_id, now)
            if await queries.count_children(connection, context.tenant_id) >= CHILDREN_MAX:
                raise Conflict(f"There are {CHILDREN_MAX} child keys; use them longer, or let them live shorter.")
            values = {
                "prefix": minted.prefix, "tenant_id": context.tenant_id, "hash": minted.hash, "name": "child",
                "scopes": sorted(scopes), "created_at": now, "expires_at": now + life, "revoked_at": None,
                "key_prefix": restriction.key_prefix, "fields": dict(restriction.fields) or None,
                "parent": context.key_id,
            }  # fmt: skip
            await queries.add_child(connection, values)
            return Key(minted.prefix, "child", scopes, now, now + life, None, restriction, "active",
                       parent=context.key_id)  # fmt: skip

        return await self._database.transact(add), minted.plaintext

    async def _drop_child(self, manager: Manager, prefix: str) -> None:
        async def drop(connection: Connection) -> None:
            if not await queries.drop_child(connection, manager.tenant_id, prefix):
                raise NotFound("No such key.")
            await audit.record(connection, manager.actor, "key.revoke", f"key/{prefix}", tenant_id=manager.tenant_id)

        await self._database.transact(drop)

    async def _change(self, manager: Manager, action: str, prefix: str, decide: Any) -> Key:
        """Commits the list of keys that `decide` makes of the list as it is. Answers with the key of `prefix`."""

        changed_key: Key | None = None

        async def next_body(_: Connection, now: datetime, body: Mapping[str, Any]) -> Mapping[str, Any]:
            keys = decide(now, list(body["keys"]))
            if len(keys) > len(body["keys"]) and sum(in_force(key, now) for key in keys) > KEYS_MAX:
                raise Conflict(f"A tenant has at most {KEYS_MAX} keys; revoke one first.", details={"max": KEYS_MAX})
            return {**body, "keys": _pruned(keys, now)}

        async def noted(connection: Connection, before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
            nonlocal changed_key
            now = await self._database.now(connection)
            old, new = (
                {key["prefix"]: credentials.without_hash(key) for key in body["keys"]} for body in (before, after)
            )
            await queries.forget_uses(connection, sorted(set(old) - set(new)))
            changed = sorted(prefix for prefix in old.keys() | new.keys() if old.get(prefix) != new.get(prefix))
            await audit.record(
                connection,
                manager.actor,
                action,
                f"key/{prefix}",
                tenant_id=manager.tenant_id,
                before={"keys": [old[prefix] for prefix in changed if prefix in old]},
                after={"keys": [new[prefix] for prefix in changed if prefix in new]},
            )
            changed_key = _from_entry(_find(after["keys"], prefix), now)

        await self._tenants.change(manager.tenant_id, next_body, noted=noted)
        assert changed_key is not None, "a change is noted"
        return changed_key


# -- what may be given


def _require_scopes(has: frozenset[Permission], wanted: frozenset[Permission]) -> None:
    beyond = sorted(wanted - has)
    if beyond:
        raise Forbidden(
            "Nobody gives scopes that he has not; ask who holds a key with these.", details={"missing_scopes": beyond}
        )


def _require_bound_scopes(restriction: Restriction, scopes: frozenset[Permission]) -> None:
    if restriction.binds and not scopes <= BOUND_SCOPES:
        raise InvalidRequest("A bound key cannot have usage:read: use is counted by tenant, not by document.")


def _narrowed(parent: Restriction, wanted: Restriction) -> Restriction:
    """Both at once. Raises `Forbidden` where `wanted` leads out of the parent's bounds."""
    prefix = wanted.key_prefix if wanted.key_prefix is not None else parent.key_prefix
    if not (prefix or "").startswith(parent.key_prefix or ""):
        raise Forbidden(f"The parent is bound to keys that begin with {parent.key_prefix!r}.")
    fields = dict(wanted.fields)
    for field, value in parent.fields:
        said = fields.setdefault(field, value)
        if said != value or isinstance(said, bool) is not isinstance(value, bool):  # in Python True is 1
            raise Forbidden(f"The parent is bound to one value of {field!r}, and not to this one.")
    return Restriction.of(prefix, fields)


def _is_last_manager(keys: Sequence[Mapping[str, Any]], key: Mapping[str, Any], now: datetime) -> bool:
    def manages(other: Mapping[str, Any]) -> bool:
        return Permission.KEYS_MANAGE in other["scopes"] and not _restriction(other).binds and in_force(other, now)

    return manages(key) and not any(manages(other) for other in keys if other is not key)


# -- entries of heads


def _entry(
    minted: MintedKey,
    name: str,
    scopes: frozenset[Permission],
    now: datetime,
    expires_at: str | None,
    restriction: Restriction,
) -> dict[str, Any]:
    return {
        "prefix": minted.prefix, "hash": minted.hash, "name": name, "scopes": sorted(scopes),
        "created_at": rfc3339(now), "expires_at": expires_at, "revoked_at": None,
        "key_prefix": restriction.key_prefix, "fields": dict(restriction.fields) or None,
    }  # fmt: skip


def _pruned(keys: Sequence[dict[str, Any]], now: datetime) -> list[dict[str, Any]]:
    """All that are in force, and of the others those that ended last."""
    ended = [key for key in keys if not in_force(key, now)]
    kept = sorted(ended, key=lambda key: str(ended_at(key)))[-ENDED_KEPT_MAX:]
    return [key for key in keys if in_force(key, now) or key in kept]


def _find(keys: Sequence[dict[str, Any]], prefix: str) -> dict[str, Any]:
    for key in keys:
        if key["prefix"] == prefix:
            return key
    raise NotFound("No such key.")


def _scopes(entry: Mapping[str, Any]) -> frozenset[Permission]:
    return frozenset(Permission(scope) for scope in entry["scopes"])


def _restriction(entry: Mapping[str, Any]) -> Restriction:
    return Restriction.of(entry.get("key_prefix"), entry.get("fields"))


def _status(entry: Mapping[str, Any], now: datetime) -> str:
    if entry["revoked_at"] is not None:
        return "revoked"
    return "expired" if entry["expires_at"] is not None and entry["expires_at"] <= now else "active"


def _from_entry(entry: Mapping[str, Any], now: datetime) -> Key:
    moments = {name: parse_moment(entry[name]) for name in ("created_at", "expires_at", "revoked_at")}
    return _from_values({**entry, **moments}, now)


def _from_row(row: Any, now: datetime) -> Key:
    return _from_values(row._mapping, now)


def _from_values(values: Mapping[str, Any], now: datetime) -> Key:
    return Key(
        prefix=values["prefix"],
        name=values["name"],
        scopes=_scopes(values),
        created_at=values["created_at"],
        expires_at=values["expires_at"],
        revoked_at=values["revoked_at"],
        restriction=_restriction(values),
        status=_status(values, now),
        last_used=values.get("last_used_at"),
    )
