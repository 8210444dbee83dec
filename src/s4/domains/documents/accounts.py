"""Accounts of tenants: the balance counted anew, and what the bucket holds, by class."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime

import structlog

from s4.domains import audit, usage
from s4.domains.documents.queries import recount
from s4.domains.documents.queries.recount import Count
from s4.domains.plans.model import plan_from
from s4.domains.tenants import queries as tenant_queries
from s4.domains.usage import Balance, Holding, StorageClass
from s4.kernel.context import SYSTEM_ACTOR, Actor, AdminContext
from s4.kernel.errors import NotFound
from s4.kernel.ids import TenantId
from s4.kernel.permissions import Permission
from s4.kernel.plans import PlanLimits
from s4.platform.database import Connection, Database

log = structlog.get_logger()

_TENANTS_AT_ONCE = 100  # counted by one statement: bounded in time, whatever the number of tenants


@dataclass(frozen=True, slots=True)
class Storage:
    """Bytes in the bucket by class, as the listing of `listed_at` found them; None before the first."""

    classes: Mapping[StorageClass, Holding]
    listed_at: datetime | None

    @property
    def total(self) -> Holding:
        return sum(self.classes.values(), Holding())


@dataclass(frozen=True, slots=True)
class Account:
    """What one tenant takes in the bucket; and, a figure of its own, what it is held to."""

    tenant_id: TenantId
    storage: Storage
    balance: Balance
    plan: PlanLimits


@dataclass(frozen=True, slots=True)
class Recounted:
    """Of a whole round."""

    tenants: int = 0
    repaired: int = 0
    drift_bytes: int = 0


class Accounts:
    """For the operator and for the reconciler."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def storage(self, context: AdminContext) -> tuple[Storage, Balance]:
        """Of all tenants together, and of what is nobody's."""
        context.require(Permission.ADMIN_READ)
        async with self._database.read() as connection:
            classes, listed_at = await usage.storage.held(connection)
            return Storage(classes, listed_at), await usage.total(connection)

    async def storage_of(self, context: AdminContext, tenant_id: TenantId) -> Account:
        """Raises `NotFound`."""
        context.require(Permission.ADMIN_READ)
        async with self._database.read() as connection:
            row = await tenant_queries.with_plan(connection, tenant_id, await self._database.now(connection))
            if row is None:
                raise NotFound("No such tenant.")
            classes, listed_at = await usage.storage.held(connection, tenant_id)
            balance = await usage.balance(connection, tenant_id)
        return Account(tenant_id, Storage(classes, listed_at), balance, plan_from(row.plan_id, row.plan_body).limits)

    async def recount(self, context: AdminContext, tenant_id: TenantId) -> Count:
        """Counts one tenant's documents and reservations, and puts a balance right that differs. Raises `NotFound`."""
        context.require(Permission.ADMIN_WRITE)
        count = await self._recount(tenant_id, context.actor)
        if count is None:
            raise NotFound("No such tenant.")
        return count

    async def recount_all(self) -> Recounted:
        """The same for everybody, looking first without locks: only a balance that differs is locked and counted once
        more, in the transaction that puts it right."""
        after, tenants, repaired, drift_bytes = "", 0, 0, 0
        while True:
            async with self._database.read() as connection:
                found = await recount.page(connection, after=after, limit=_TENANTS_AT_ONCE)
            if not found:
                return Recounted(tenants, repaired, drift_bytes)
            tenants += len(found)
            after = found[-1].tenant_id
            for suspect in found:
                if suspect.noted == suspect.counted:
                    continue
                count = await self._recount(suspect.tenant_id, SYSTEM_ACTOR)
                if count is not None and count.noted != count.counted:
                    repaired += 1
                    drift_bytes += _drift_bytes(count)

    async def _recount(self, tenant_id: TenantId, actor: Actor) -> Count | None:
        async def prove(connection: Connection) -> Count | None:
            if await usage.lock(connection, tenant_id) is None:
                return None
            count = await recount.one(connection, tenant_id)
            if count is not None and count.noted != count.counted:
                await usage.correct(connection, tenant_id, count.counted)
                await audit.record(
                    connection,
                    actor,
                    "usage.recount",
                    f"tenant/{tenant_id}",
                    tenant_id=tenant_id,
                    before=asdict(count.noted),
                    after=asdict(count.counted),
                )
            return count

        count = await self._database.transact(prove)
        if count is not None and count.noted != count.counted:
            log.error("usage.drifted", tenant_id=tenant_id, noted=asdict(count.noted), counted=asdict(count.counted))
        return count


def _drift_bytes(count: Count) -> int:
    stored = abs(count.counted.stored_bytes - count.noted.stored_bytes)
    return stored + abs(count.counted.reserved_bytes - count.noted.reserved_bytes)
