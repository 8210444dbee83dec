"""The gate. A tenant's context comes from its key's hash, or for a job from the job's row; nothing else makes one."""

from typing import NoReturn

import structlog

from s4.domains.plans.model import plan_from
from s4.domains.tenants import TenantStatus
from s4.domains.tenants import queries as tenant_queries
from s4.kernel.context import AdminContext, TenantContext
from s4.kernel.errors import Forbidden, NotFound, Unauthenticated
from s4.kernel.ids import KeyId, TenantId
from s4.kernel.permissions import TENANT_SCOPES, AdminRole, Permission
from s4.platform.database import Database
from s4.platform.http.routing import Credentials
from s4.platform.security import credentials
from s4.platform.telemetry import metrics

log = structlog.get_logger()


class AccessService:
    """An `Authenticator` for the routes, and the mint of contexts for jobs."""

    def __init__(self, database: Database, *, admin_api_key: str) -> None:
        self._database = database
        self._admin_api_key = admin_api_key

    async def tenant(self, presented: Credentials) -> TenantContext:
        """The context of the key in `X-Tenant-Key` or `Authorization: Bearer`. Raises `Unauthenticated`,
        `Forbidden`."""
        plaintext = presented.tenant_key
        if plaintext is None:
            _refuse("missing", "Send your key in X-Tenant-Key, or as Authorization: Bearer.", presented)
        parsed = credentials.parse(plaintext)
        if parsed is None:
            _refuse(
                "malformed",
                "This is not a key of S4: it begins with s4_ and has a check at its end.",
                presented,
            )
        async with self._database.read() as connection:
            now = await self._database.now(connection)
            key = await tenant_queries.key(connection, parsed.prefix, now)
        if key is None or not credentials.matches(plaintext, key.hash) or key.state != "live":
            _refuse("unknown", "This key is not known.", presented)
        if key.revoked_at is not None and key.revoked_at <= now:
            _refuse("revoked", "This key was revoked.", presented)
        if key.expires_at is not None and key.expires_at <= now:
            _refuse("expired", "This key has expired.", presented)
        if key.status != TenantStatus.ACTIVE:
            metrics.AUTH_FAILURES.labels("suspended").inc()
            is_leaving = key.status == TenantStatus.DELETING
            said = "This tenant is being deleted" if is_leaving else "This tenant is suspended"
            raise Forbidden(f"{said}; ask the operator.", code="tenant_suspended")
        scopes = frozenset(Permission(scope) for scope in key.scopes) & TENANT_SCOPES
        plan = plan_from(key.plan_id, key.plan_body).limits
        return TenantContext(TenantId(key.tenant_id), KeyId(key.prefix), scopes, plan, presented.origin)

    async def admin(self, presented: Credentials) -> AdminContext:
        """Raises `Unauthenticated` unless `X-Admin-Key` is the administrator's."""
        if presented.admin_key is None:
            _refuse("missing", "Send the administrator's key in X-Admin-Key.", presented)
        if not credentials.admin_key_matches(presented.admin_key, self._admin_api_key):
            _refuse("unknown", "This is not the administrator's key.", presented)
        return AdminContext("admin", AdminRole.OWNER, presented.origin)

    async def for_job(self, tenant_id: str) -> TenantContext:
        """A context for background work on behalf of a tenant. Raises `NotFound` when it is gone."""
        async with self._database.read() as connection:
            now = await self._database.now(connection)
            row = await tenant_queries.with_plan(connection, TenantId(tenant_id), now)
        if row is None:
            raise NotFound("No such tenant.")
        return TenantContext(TenantId(tenant_id), None, TENANT_SCOPES, plan_from(row.plan_id, row.plan_body).limits)


def _refuse(reason: str, message: str, presented: Credentials) -> NoReturn:
    metrics.AUTH_FAILURES.labels(reason).inc()
    log.warning("access.refused", reason=reason, client_address=presented.origin.address)
    raise Unauthenticated(message)
