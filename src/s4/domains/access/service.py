"""The gate. A context comes from a key's hash, or for a job from the job's row; nothing else makes one.

Every key is looked up anew with every request: what is revoked, expired or suspended is refused by every replica from
the moment that the catalog says so. Whoever fails too often is answered 429 and costs the catalog nothing (`throttle`,
`hashes`); what is remembered can refuse, never accept. Nothing here writes while a request waits (`notes`).
"""

import contextlib
from collections.abc import Collection
from datetime import datetime
from typing import Any, NoReturn

from s4.domains.access import queries
from s4.domains.access.administrators import ENVIRONMENT, AdministratorService
from s4.domains.access.hashes import Hashes
from s4.domains.access.notes import Notes, Refusal
from s4.domains.access.throttle import Throttle
from s4.domains.plans.model import plan_from
from s4.domains.tenants import TenantStatus, logs_queries
from s4.domains.tenants import queries as tenant_queries
from s4.kernel.clock import SystemClock
from s4.kernel.context import UNRESTRICTED, AdminContext, Restriction, TenantContext
from s4.kernel.errors import Forbidden, LimitReached, NotFound, Unauthenticated
from s4.kernel.ids import KeyId, TenantId
from s4.kernel.permissions import TENANT_SCOPES, AdminRole, Permission
from s4.platform.database import Database
from s4.platform.http.routing import Credentials
from s4.platform.security import credentials
from s4.platform.security.credentials import ParsedKey
from s4.platform.telemetry import metrics


class AccessService:
    """An `Authenticator` for the routes, and the mint of contexts for jobs."""

    def __init__(
        self,
        database: Database,
        administrators: AdministratorService,
        *,
        admin_api_key: str,
        failures_per_minute: int,
    ) -> None:
        self._database = database
        self._administrators = administrators
        self._admin_api_key = admin_api_key
        self._throttle = Throttle(failures_per_minute)
        self._tenant_hashes = Hashes(self._hashes_of_tenants)
        self._admin_hashes = Hashes(administrators.hashes)
        self.notes = Notes(database)

    def notes_kept(self) -> contextlib.AbstractAsyncContextManager[None]:
        """From here to the end of the block, what requests leave behind is written down."""
        return self.notes.kept()

    async def tenant(self, presented: Credentials) -> TenantContext:
        """The context of the key in `X-Tenant-Key` or `Authorization: Bearer`. Raises `Unauthenticated`, `Forbidden`,
        and `LimitReached` for a guess after many."""
        plaintext = presented.tenant_key
        if plaintext is None:
            self._missing("Send your key in X-Tenant-Key, or as Authorization: Bearer.", presented)
        parsed = credentials.parse(plaintext)
        if parsed is None:
            self._guessed(
                "malformed", "This is not a key of S4: it begins with s4_ and has a check at its end.", presented
            )
        await self._doubt(self._tenant_hashes, parsed, presented)
        async with self._database.read() as connection:
            now = await self._database.now(connection)
            key = await tenant_queries.key(connection, parsed.prefix, now)
        known = key.hash if key is not None else None
        if not credentials.matches(plaintext, known) or key is None or key.state != "live":
            self._guessed("unknown", "This key is not known.", presented, prefix=parsed.prefix, known=key)
        self._tenant_hashes.learn(key.prefix, key.hash)
        self._require_in_force(key, now, presented)
        if key.status != TenantStatus.ACTIVE:
            self._count("suspended", presented, key)
            is_leaving = key.status == TenantStatus.DELETING
            said = "This tenant is being deleted" if is_leaving else "This tenant is suspended"
            raise Forbidden(f"{said}; ask the operator.", code="tenant_suspended")
        self.notes.used(key.parent or key.prefix, now)
        return TenantContext(
            TenantId(key.tenant_id),
            KeyId(key.prefix),
            frozenset(Permission(scope) for scope in key.scopes) & TENANT_SCOPES,
            plan_from(key.plan_id, key.plan_body).limits,
            presented.origin,
            _restriction(key),
            key.served_generation,
            logs_queries(key.settings),
        )

    async def admin(self, presented: Credentials) -> AdminContext:
        """Raises `Unauthenticated` unless `X-Admin-Key` is an administrator's, and `LimitReached` for a guess after
        many."""
        plaintext = presented.admin_key
        if plaintext is None:
            self._missing("Send the administrator's key in X-Admin-Key.", presented)
        if credentials.admin_key_matches(plaintext, self._admin_api_key):
            self.notes.used(ENVIRONMENT, SystemClock().now())  # a stamp: not worth a look into the catalog
            self.notes.whereabouts.seen(ENVIRONMENT, presented.origin.address)
            return AdminContext(ENVIRONMENT, AdminRole.OWNER, presented.origin)
        parsed = credentials.parse_admin(plaintext)
        if parsed is None:
            self._guessed("malformed", "This is not an administrator's key.", presented)
        await self._doubt(self._admin_hashes, parsed, presented)
        found, now = await self._administrators.by_prefix(parsed.prefix)
        known = found[1]["hash"] if found is not None else None
        if not credentials.matches(plaintext, known) or found is None:
            self._guessed("unknown", "This is not an administrator's key.", presented, prefix=parsed.prefix)
        administrator, key = found
        self._admin_hashes.learn(key["prefix"], key["hash"])
        if key["expires_at"] is not None and key["expires_at"] <= now:
            self._count("expired", presented)
            raise Unauthenticated("This key has expired.")
        self.notes.used(parsed.prefix, now)
        self.notes.whereabouts.seen(administrator.name, presented.origin.address)
        return AdminContext(administrator.name, administrator.role, presented.origin)

    async def for_job(self, tenant_id: str) -> TenantContext:
        """A context for background work on behalf of a tenant. Raises `NotFound` when it is gone."""
        async with self._database.read() as connection:
            now = await self._database.now(connection)
            row = await tenant_queries.with_plan(connection, TenantId(tenant_id), now)
        if row is None:
            raise NotFound("No such tenant.")
        return TenantContext(
            TenantId(tenant_id),
            None,
            TENANT_SCOPES,
            plan_from(row.plan_id, row.plan_body).limits,
            generation=row.served_generation,
        )

    # -- refusing

    async def _doubt(self, hashes: Hashes, parsed: ParsedKey, presented: Credentials) -> None:
        """After many failures only a key that would match may ask the catalog. Raises `LimitReached`."""
        exceeded = self._throttle.exceeded(presented.origin.address, parsed.prefix)
        if exceeded and not await hashes.match(parsed):
            self._guessed("unknown", "This key is not known.", presented, prefix=parsed.prefix)

    def _require_in_force(self, key: Any, now: datetime, presented: Credentials) -> None:
        """A key that was valid is no guess: it is told what became of it, however many others fail."""
        orphaned = key.parent is not None and key.parent_prefix is None
        if orphaned or any(at is not None and at <= now for at in (key.revoked_at, key.parent_revoked_at)):
            self._count("revoked", presented, key)
            raise Unauthenticated("This key was revoked.")
        if any(at is not None and at <= now for at in (key.expires_at, key.parent_expires_at)):
            self._count("expired", presented, key)
            raise Unauthenticated("This key has expired.")

    def _missing(self, message: str, presented: Credentials) -> NoReturn:
        self._count("missing", presented)
        raise Unauthenticated(message)

    def _guessed(
        self, reason: str, message: str, presented: Credentials, *, prefix: str | None = None, known: Any = None
    ) -> NoReturn:
        address = presented.origin.address
        self._count(reason, presented, known)
        exceeded = self._throttle.exceeded(address, prefix)
        self._throttle.failed(address, prefix)
        if exceeded:
            metrics.AUTH_THROTTLED.inc()
            raise LimitReached(
                "Too many attempts with keys that are not known; wait, and look at the key.",
                retry_after=self._throttle.retry_after(address, prefix),
            )
        raise Unauthenticated(message)

    def _count(self, reason: str, presented: Credentials, known: Any = None) -> None:
        metrics.AUTH_FAILURES.labels(reason).inc()
        whose = (known.prefix, known.tenant_id) if known is not None else ("", "")
        self.notes.refused(Refusal(reason, presented.origin.address, *whose))

    async def _hashes_of_tenants(self, prefixes: Collection[str]) -> dict[str, str]:
        async with self._database.read() as connection:
            return await queries.hashes(connection, prefixes)


def _restriction(key: Any) -> Restriction:
    if key.key_prefix is None and not key.fields:
        return UNRESTRICTED
    return Restriction.of(key.key_prefix, key.fields)
