"""Use cases on tenants."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from s4.domains import audit
from s4.domains.plans import PlanService
from s4.domains.tenants import queries
from s4.domains.tenants.chain import subject
from s4.kernel.clock import rfc3339
from s4.kernel.context import AdminContext
from s4.kernel.errors import NotFound
from s4.kernel.ids import RandomBytes, TenantId, new_tenant_id
from s4.kernel.pages import PageRequest
from s4.kernel.permissions import TENANT_SCOPES, Permission
from s4.platform.chains import Chains, Draft, Head
from s4.platform.database import Connection, Database
from s4.platform.security import credentials


class TenantStatus(StrEnum):
    ACTIVE = "active"
    SUSPENDED = "suspended"


@dataclass(frozen=True, slots=True)
class NewTenant:
    name: str
    email: str | None
    company: str | None
    plan_id: str


@dataclass(frozen=True, slots=True)
class Tenant:
    """A live tenant and what it holds."""

    tenant_id: TenantId
    name: str
    email: str | None
    company: str | None
    plan_id: str
    status: str
    created_at: datetime
    stored_bytes: int
    documents: int


class TenantService:
    """Creates, lists and finds tenants."""

    def __init__(self, database: Database, chains: Chains, plans: PlanService, random: RandomBytes) -> None:
        self._database = database
        self._chains = chains
        self._plans = plans
        self._random = random

    async def create(self, context: AdminContext, new: NewTenant) -> tuple[Tenant, str]:
        """Commits the tenant's first head with a first key that may do everything a tenant may.

        Answers with the tenant and the key, which is stored only as a hash. Ids are never reused, so a namesake is
        somebody else.
        """
        context.require(Permission.ADMIN_WRITE)
        tenant_id = new_tenant_id(self._random)
        key = credentials.mint(self._random)

        async def seal(connection: Connection, now: datetime) -> Draft:
            await self._plans.require(connection, new.plan_id)
            created_at = rfc3339(now)
            body: dict[str, Any] = {
                "name": new.name,
                "email": new.email,
                "company": new.company,
                "plan_id": new.plan_id,
                "status": TenantStatus.ACTIVE,
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
            return Draft("live", body)

        async def settled(connection: Connection, head: Head) -> Tenant:
            await audit.record(
                connection,
                context.actor,
                "tenant.create",
                f"tenant/{tenant_id}",
                tenant_id=tenant_id,
                after=public_body(head.body),
            )
            return _tenant(await queries.get(connection, tenant_id))

        return await self._chains.commit(subject(tenant_id), seal=seal, settled=settled), key.plaintext

    async def get(self, tenant_id: TenantId) -> Tenant:
        """Raises `NotFound`."""
        async with self._database.read() as connection:
            return _tenant(await queries.get(connection, tenant_id))

    async def page(
        self,
        request: PageRequest,
        *,
        status: str | None = None,
        plan_id: str | None = None,
        text: str | None = None,
    ) -> tuple[list[Tenant], int]:
        """A page of tenants, newest first, and the number of all that match."""
        async with self._database.read() as connection:
            rows, total = await queries.page(connection, request, status=status, plan_id=plan_id, text=text)
        return [_tenant(row) for row in rows], total

    async def ids(self) -> list[TenantId]:
        async with self._database.read() as connection:
            return await queries.ids(connection)

    async def adopt(self, tenant_id: TenantId) -> int:
        """Follows the tenant's chain in the bucket."""
        return await self._chains.adopt(subject(tenant_id))


def public_body(body: Mapping[str, Any]) -> dict[str, Any]:
    """A head's body as the audit trail may keep it: keys without their hashes."""
    keys = [{name: value for name, value in key.items() if name != "hash"} for key in body["keys"]]
    return {**body, "keys": keys}


def _tenant(row: Any) -> Tenant:
    if row is None:
        raise NotFound("No such tenant.")
    return Tenant(
        tenant_id=TenantId(row.tenant_id),
        name=row.name,
        email=row.email,
        company=row.company,
        plan_id=row.plan_id,
        status=row.status,
        created_at=row.created_at,
        stored_bytes=row.stored_bytes,
        documents=row.documents,
    )
