"""Making tenants, finding them, and the one way of changing one."""

import hashlib
import json
from collections.abc import Awaitable, Callable
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any

from s4.domains import audit, usage
from s4.domains.plans import PlanService
from s4.domains.tenants import queries
from s4.domains.tenants.chain import subject
from s4.domains.tenants.model import (
    DELETED,
    LIVE,
    TOMBSTONE,
    Body,
    Keeping,
    LegalHold,
    NewTenant,
    Tenant,
    TenantStatus,
    public_body,
)
from s4.domains.tenants.queries import Claim, Wanted
from s4.domains.usage.ledger import Grain
from s4.kernel.clock import parse_rfc3339, rfc3339
from s4.kernel.context import AdminContext
from s4.kernel.errors import Conflict, NotFound
from s4.kernel.ids import RandomBytes, TenantId, new_tenant_id
from s4.kernel.pages import PageRequest
from s4.kernel.permissions import TENANT_SCOPES, Permission
from s4.platform.chains import Chains, Draft, Head
from s4.platform.database import Connection, Database
from s4.platform.security import credentials

Decide = Callable[[Connection, datetime, Body], Awaitable[Body | None]]
"""Sees a live tenant's body as it is, refuses by raising, or answers with the next one; None leaves it as it is. May
run more than once."""
Noted = Callable[[Connection, Body, Body], Awaitable[None]]
"""Runs in the transaction that makes the change visible, with the body before and after."""

_SEED_BYTES = 32  # as a key's secret


@dataclass(frozen=True, slots=True)
class CreationMemory:
    """`remembered`: how long an Idempotency-Key is. `secret`: without it no first key can be made again, whoever reads
    the catalog."""

    remembered: timedelta
    secret: str


@dataclass(frozen=True, slots=True)
class Created:
    """A tenant and its first key. `replayed`: it had been created before, by the same request."""

    tenant: Tenant
    api_key: str = field(repr=False)
    replayed: bool = False


class _Unchanged(Exception):
    """There is nothing to commit: the sealing transaction is taken back."""


class TenantService:
    """Creates, finds and changes tenants."""

    def __init__(
        self, database: Database, chains: Chains, plans: PlanService, random: RandomBytes, memory: CreationMemory
    ) -> None:
        self._database = database
        self._chains = chains
        self._plans = plans
        self._random = random
        self._memory = memory

    async def create(
        self, context: AdminContext, new: NewTenant, *, idempotency_key: str | None = None
    ) -> tuple[Tenant, str]:
        """As `create_once`; answers with the tenant and its first key."""
        created = await self.create_once(context, new, idempotency_key=idempotency_key)
        return created.tenant, created.api_key

    async def create_once(
        self,
        context: AdminContext,
        new: NewTenant,
        *,
        idempotency_key: str | None,
        suspended_for: str | None = None,
        kept_as: Body | None = None,
    ) -> Created:
        """Commits the tenant's first head with a first key that may do everything a tenant may; with `suspended_for`,
        the reason, once it is activated. `kept_as`: it has the days and the hold of that one from its first moment.

        Answers with the tenant and the key, which is stored only as a hash. Ids are never reused, so a namesake is
        somebody else. Repeated with the same `idempotency_key` it answers with the same tenant and the same key
        (decision 0018). Raises `Conflict` when that was used for another request, and when the first key cannot be
        made again; `details["tenant_id"]` then says which tenant there is.
        """
        context.require(Permission.ADMIN_WRITE)
        claim, tenant_id, random = None, new_tenant_id(self._random), self._random
        if idempotency_key is not None:
            claim = await self._claim(new, idempotency_key)
            tenant_id, random = claim.tenant_id, self._again(claim, idempotency_key)
        key = credentials.mint(random)

        async def seal(connection: Connection, now: datetime) -> Draft:
            current = await queries.body(connection, tenant_id)
            if current is not None:
                _require_first_key(current, key.prefix, tenant_id)
                raise _Unchanged
            if await queries.state(connection, tenant_id) == TOMBSTONE:
                raise Conflict("The tenant that this Idempotency-Key made was deleted; choose a new key.")
            await self._plans.require(connection, new.plan_id)
            if new.external_id is not None:
                await queries.require_free(connection, new.external_id, tenant_id)
            body = _first_body(new, key, created_at=rfc3339(now), suspended_for=suspended_for)
            body |= {name: kept_as[name] for name in ("keeping", "hold") if kept_as and kept_as.get(name)}
            if claim is not None:
                body["idempotency"] = {"key_hash": claim.key_hash, "fingerprint": claim.fingerprint}
            return Draft(LIVE, body)

        async def settled(connection: Connection, head: Head) -> Tenant:
            await audit.record(
                connection,
                context.actor,
                "tenant.create",
                f"tenant/{tenant_id}",
                tenant_id=tenant_id,
                after=public_body(head.body),
            )
            return _found(await self._read(connection, tenant_id))

        try:
            return Created(await self._chains.commit(subject(tenant_id), seal=seal, settled=settled), key.plaintext)
        except _Unchanged:
            return Created(await self.get(tenant_id), key.plaintext, replayed=True)

    async def change(self, tenant_id: TenantId, decide: Decide, *, noted: Noted) -> Tenant | None:
        """Commits what `decide` answers with. The tenant as it is then; None once it is deleted. Raises `NotFound`,
        as `Chains.commit`, and what `decide` raises."""
        before: Body = {}

        async def seal(connection: Connection, now: datetime) -> Draft:
            nonlocal before
            current = await queries.body(connection, tenant_id)
            if current is None:
                raise NotFound("No such tenant.")
            before = current
            after = await decide(connection, now, before)
            if after is None:
                raise _Unchanged
            return Draft(TOMBSTONE if after["status"] == DELETED else LIVE, after)

        async def settled(connection: Connection, head: Head) -> Tenant | None:
            await noted(connection, before, head.body)
            return await self._read(connection, tenant_id)

        try:
            return await self._chains.commit(subject(tenant_id), seal=seal, settled=settled)
        except _Unchanged:
            return await self.get(tenant_id)

    async def is_changing(self, connection: Connection, tenant_id: TenantId) -> bool:
        """Whether a change is sealed and not settled."""
        return await self._chains.is_ticketed(connection, subject(tenant_id))

    async def get(self, tenant_id: TenantId) -> Tenant:
        """Raises `NotFound`."""
        async with self._database.read() as connection:
            return _found(await self._read(connection, tenant_id))

    async def page(self, request: PageRequest, wanted: Wanted | None = None) -> tuple[list[Tenant], int]:
        """A page of tenants, newest first, and the number of all that match."""
        async with self._database.read() as connection:
            now = await self._database.now(connection)
            rows, total = await queries.page(connection, request, wanted or Wanted(), now)
            calls = await usage.calls_of(connection, [row.tenant_id for row in rows], Grain.MONTH.floor(now))
        return [_tenant(row, calls.get(row.tenant_id, 0)) for row in rows], total

    async def ids(self) -> list[TenantId]:
        async with self._database.read() as connection:
            return await queries.ids(connection)

    async def is_deleted(self, tenant_id: TenantId) -> bool:
        async with self._database.read() as connection:
            return await queries.state(connection, tenant_id) == TOMBSTONE

    async def last_activity(self, tenant_id: TenantId) -> datetime | None:
        """When the tenant last called; None for never."""
        async with self._database.read() as connection:
            return await usage.last_activity(connection, tenant_id)

    async def adopt(self, tenant_id: TenantId) -> int:
        """Follows the tenant's chain in the bucket."""
        return await self._chains.adopt(subject(tenant_id))

    async def forget_claims(self) -> int:
        """Idempotency-Keys that are old: what their first keys came of is gone with them."""

        async def forget(connection: Connection) -> int:
            now = await self._database.now(connection)
            return await queries.forget_claims(connection, before=now - self._memory.remembered)

        return await self._database.transact(forget)

    async def _read(self, connection: Connection, tenant_id: TenantId) -> Tenant | None:
        row = await queries.get(connection, tenant_id, await self._database.now(connection))
        return _tenant(row, await usage.calls_this_month(connection, tenant_id)) if row is not None else None

    async def _claim(self, new: NewTenant, idempotency_key: str) -> Claim:
        """Which tenant this request makes: of all that bear the same Idempotency-Key, the same."""
        tenant_id, seed = new_tenant_id(self._random), self._random(_SEED_BYTES).hex()
        fingerprint = hashlib.sha256(json.dumps(asdict(new), sort_keys=True).encode()).hexdigest()
        key_hash = hashlib.sha256(idempotency_key.encode()).hexdigest()

        async def claim(connection: Connection) -> Claim:
            await self._database.exclude(connection, f"tenant-claim/{key_hash}")
            now = await self._database.now(connection)
            wanted = Claim(key_hash, fingerprint, tenant_id, seed, now)
            return await queries.claim(connection, wanted, forgotten_before=now - self._memory.remembered)

        claimed = await self._database.transact(claim)
        if claimed.fingerprint != fingerprint:
            raise Conflict(
                "This Idempotency-Key was used for another request; choose a new one.",
                details={"tenant_id": claimed.tenant_id},
            )
        return claimed

    def _again(self, claim: Claim, idempotency_key: str) -> RandomBytes:
        return credentials.derived(self._memory.secret, claim.seed or "", idempotency_key, claim.tenant_id)


def _first_body(
    new: NewTenant, key: credentials.MintedKey, *, created_at: str, suspended_for: str | None
) -> dict[str, Any]:
    return {
        "name": new.name,
        "email": new.email,
        "company": new.company,
        "external_id": new.external_id,
        "plan_id": new.plan_id,
        "plan_expires_at": None,
        "then_plan_id": None,
        "status": TenantStatus.ACTIVE if suspended_for is None else TenantStatus.SUSPENDED,
        "status_reason": suspended_for,
        "delete_after": None,
        "settings": {},
        "created_at": created_at,
        "keys": [
            {
                "prefix": key.prefix,
                "hash": key.hash,
                "name": "first key",
                "scopes": sorted(TENANT_SCOPES),
                "created_at": created_at,
                "expires_at": None,
                "revoked_at": None,
            }
        ],
    }


def _require_first_key(body: Body, prefix: str, tenant_id: TenantId) -> None:
    """The key that was made again is one of the tenant's."""
    if prefix not in {key["prefix"] for key in body["keys"]}:
        raise Conflict(
            f"The tenant is there ({tenant_id}), but its first key cannot be shown again: mint another one.",
            details={"tenant_id": tenant_id},
        )


def _found(tenant: Tenant | None) -> Tenant:
    if tenant is None:
        raise NotFound("No such tenant.")
    return tenant


def _tenant(row: Any, calls: int) -> Tenant:
    body = row.body or {}
    hold = body.get("hold")
    return Tenant(
        tenant_id=TenantId(row.tenant_id),
        name=row.name,
        email=row.email,
        company=row.company,
        external_id=row.external_id,
        plan_id=row.plan_in_force,
        plan_expires_at=None if row.plan_expired else row.plan_expires_at,
        then_plan_id=None if row.plan_expired else row.then_plan_id,
        status=row.status,
        status_reason=body.get("status_reason"),
        delete_after=row.delete_after,
        created_at=row.created_at,
        stored_bytes=row.stored_bytes,
        documents=row.documents,
        calls=calls,
        hold=LegalHold(hold["reason"], parse_rfc3339(hold["placed_at"])) if hold is not None else None,
        keeping=Keeping(row.retention_days, row.archive_after_days),
    )
