"""Administrators: several, named, each with a role and a key. The one whose key stands in the environment is the first
owner, is called `environment`, and is in no list of theirs but the answer's."""

from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from s4.domains import audit
from s4.domains.access import queries
from s4.domains.access.lifetimes import ending, in_force, renewed, require_future
from s4.kernel.clock import parse_moment, parse_rfc3339, rfc3339
from s4.kernel.context import AdminContext
from s4.kernel.errors import Conflict, InvalidRequest, NotFound
from s4.kernel.ids import RandomBytes
from s4.kernel.permissions import AdminRole, Permission
from s4.platform.chains import Record, Records
from s4.platform.database import Connection, Database
from s4.platform.security import credentials
from s4.platform.security.credentials import MintedKey

ENVIRONMENT = "environment"
ADMINISTRATORS_MAX = 100  # all of them are read to find one by its key
_OVERLAPPING_MAX = 4  # old keys of one administrator that still open: rotations within one overlap

Body = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Administrator:
    """`prefix` and `expires_at` of the newest key; `environment` has neither."""

    name: str
    role: AdminRole
    prefix: str | None = None
    created_at: datetime | None = None
    expires_at: datetime | None = None
    last_used: datetime | None = None


class AdministratorService:
    """Their truth is records; the key's own use of them is `AccessService`'s."""

    def __init__(self, database: Database, records: Records, random: RandomBytes) -> None:
        self._database = database
        self._records = records
        self._random = random

    async def all(self) -> list[Administrator]:
        """The environment's first, then by name."""
        async with self._database.read() as connection:
            found = await self._records.all(connection)
            prefixes = [key["prefix"] for record in found for key in record.body["keys"]]
            uses = await queries.last_uses(connection, [ENVIRONMENT, *prefixes])
        first = Administrator(ENVIRONMENT, AdminRole.OWNER, last_used=uses.get(ENVIRONMENT))
        return [first, *(_administrator(record.name, record.body, uses) for record in found)]

    async def create(
        self, context: AdminContext, name: str, role: AdminRole, *, expires_at: datetime | None
    ) -> tuple[Administrator, str]:
        """Answers with the administrator and the key, which is stored only as a hash."""
        if name == ENVIRONMENT:
            raise InvalidRequest("The administrator 'environment' is the one whose key is in S4_ADMIN_API_KEY.")
        minted = credentials.mint_admin(self._random)

        async def decide(connection: Connection, now: datetime, before: Record | None) -> Body:
            if before is not None:
                raise Conflict("There is an administrator of this name.")
            if len(await self._records.all(connection)) >= ADMINISTRATORS_MAX:
                raise Conflict(f"There are {ADMINISTRATORS_MAX} administrators, which is the most; revoke one first.")
            require_future(expires_at, now)
            return {
                "role": role.value,
                "created_at": rfc3339(now),
                "keys": [_key(minted, now, rfc3339(expires_at) if expires_at is not None else None)],
            }

        return _made(await self._change(context, "administrator.create", name, decide)), minted.plaintext

    async def rotate(self, context: AdminContext, name: str, *, overlap: timedelta) -> tuple[Administrator, str]:
        """A new key that lives as long as the old one was to; the old ones expire after `overlap`."""
        minted = credentials.mint_admin(self._random)

        async def decide(_: Connection, now: datetime, before: Record | None) -> Body:
            if before is None:
                raise NotFound("No such administrator.")
            newest = before.body["keys"][-1]
            old = [ending(key, now, overlap) for key in before.body["keys"] if in_force(key, now)]
            kept = [key for key in old if in_force(key, now)][-_OVERLAPPING_MAX:]
            return {**before.body, "keys": [*kept, _key(minted, now, renewed(newest, now))]}

        return _made(await self._change(context, "administrator.rotate", name, decide)), minted.plaintext

    async def revoke(self, context: AdminContext, name: str) -> None:
        """Refused everywhere when this returns. Raises `NotFound`."""
        if name == ENVIRONMENT:
            raise Conflict("The environment's key is revoked by setting another S4_ADMIN_API_KEY and starting anew.")

        async def decide(_connection: Connection, _now: datetime, before: Record | None) -> None:
            if before is None:
                raise NotFound("No such administrator.")

        await self._change(context, "administrator.revoke", name, decide)

    # -- for the gate

    async def by_prefix(self, prefix: str) -> tuple[tuple[Administrator, dict[str, Any]] | None, datetime]:
        """The administrator and the key, if there is one, and the time that it is."""
        async with self._database.read() as connection:
            found = await self._records.all(connection)
            now = await self._database.now(connection)
        for record in found:
            for key in record.body["keys"]:
                if key["prefix"] == prefix:
                    administrator = _administrator(record.name, record.body, {})
                    return (administrator, {**key, "expires_at": parse_moment(key["expires_at"])}), now
        return None, now

    async def hashes(self, prefixes: Collection[str]) -> dict[str, str]:
        async with self._database.read() as connection:
            found = await self._records.all(connection)
        known = {key["prefix"]: key["hash"] for record in found for key in record.body["keys"]}
        return {prefix: known[prefix] for prefix in prefixes if prefix in known}

    async def _change(
        self,
        context: AdminContext,
        action: str,
        name: str,
        decide: Callable[[Connection, datetime, Record | None], Awaitable[Body | None]],
    ) -> Record | None:
        context.require(Permission.ADMIN_MANAGE)

        async def noted(connection: Connection, before: Record | None, after: Record | None) -> None:
            await audit.record(
                connection,
                context.actor,
                action,
                f"administrator/{name}",
                before=_public(before),
                after=_public(after),
            )
            if before is not None and after is None:
                await queries.forget_uses(connection, [key["prefix"] for key in before.body["keys"]])

        return await self._records.change(name, decide, noted=noted)


def _key(minted: MintedKey, now: datetime, expires_at: str | None) -> dict[str, Any]:
    return {"prefix": minted.prefix, "hash": minted.hash, "created_at": rfc3339(now), "expires_at": expires_at}


def _public(record: Record | None) -> dict[str, Any] | None:
    if record is None:
        return None
    keys = [credentials.without_hash(key) for key in record.body["keys"]]
    return {**record.body, "keys": keys}


def _made(record: Record | None) -> Administrator:
    if record is None:
        raise NotFound("No such administrator.")
    return _administrator(record.name, record.body, {})


def _administrator(name: str, body: Body, uses: Mapping[str, datetime]) -> Administrator:
    newest = body["keys"][-1]
    used = [uses[key["prefix"]] for key in body["keys"] if key["prefix"] in uses]
    return Administrator(
        name,
        AdminRole(body["role"]),
        newest["prefix"],
        parse_rfc3339(body["created_at"]),
        parse_moment(newest["expires_at"]),
        max(used, default=None),
    )
