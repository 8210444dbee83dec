"""What becomes of a tenant: renamed, moved to another plan, suspended, brought back, deleted in two steps.

Deleting: the first step shuts the tenant out at once and sets the moment after which it goes; until then activating
brings it back as it was. The second, asked for or by the clock, is the tombstone: nobody ever comes in again, and
`maintenance.Departures` takes out of the catalog what it had there.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Protocol

import structlog

from s4.domains import audit
from s4.domains.events import EventKind, Events
from s4.domains.plans import PlanService
from s4.domains.tenants import queries
from s4.domains.tenants.model import DELETED, Body, Keeping, Tenant, TenantStatus, public_body
from s4.domains.tenants.service import Decide, Noted, TenantService
from s4.kernel.clock import parse_rfc3339, rfc3339
from s4.kernel.context import SYSTEM_ACTOR, Actor, AdminContext
from s4.kernel.errors import Conflict, InvalidRequest, NotFound, S4Error
from s4.kernel.ids import TenantId
from s4.kernel.permissions import Permission
from s4.platform.database import Connection, Database

log = structlog.get_logger()

Buried = Callable[[TenantId], Awaitable[None]]


class RequireNoHolds(Protocol):
    """Raises `Conflict` while documents of the tenant are under a legal hold, and `for_good` `Unavailable` while that
    cannot be told."""

    async def __call__(self, connection: Connection, tenant_id: TenantId, *, for_good: bool) -> None: ...


@dataclass(frozen=True, slots=True)
class PlanChange:
    """`expires_at`: from then on the tenant is on `then_plan_id`. None: the plan renews itself, month by month."""

    plan_id: str
    expires_at: datetime | None = None
    then_plan_id: str = "free"


class TenantLifecycle:
    """Each act is idempotent: repeated, it changes nothing and is noted once."""

    def __init__(
        self,
        database: Database,
        tenants: TenantService,
        plans: PlanService,
        events: Events,
        require_no_holds: RequireNoHolds,
        *,
        grace: timedelta,
        buried: Buried | None = None,
    ) -> None:
        """`grace`: how long a tenant that is being deleted can be brought back. `buried` is told of each that is gone;
        whoever listens finds by itself those of whom it was not told."""
        self._database = database
        self._tenants = tenants
        self._plans = plans
        self._events = events
        self._require_no_holds = require_no_holds
        self._grace = grace
        self._buried = buried

    async def update(self, context: AdminContext, tenant_id: TenantId, fields: Mapping[str, str | None]) -> Tenant:
        """Changes what `fields` names of name, email, company, external_id. Raises `NotFound`, `Conflict`."""

        async def decide(connection: Connection, _: datetime, body: Body) -> Body:
            external_id = fields.get("external_id")
            if external_id is not None:
                await queries.require_free(connection, external_id, tenant_id)
            return {**body, **fields}

        return await self._act(context, "tenant.update", tenant_id, decide)

    async def change_plan(self, context: AdminContext, tenant_id: TenantId, change: PlanChange) -> Tenant:
        """Applies to the next request. What the tenant holds beyond the new plan stays; new writes are refused.
        Raises `NotFound`, `InvalidRequest` for a plan that does not exist or an end that is past."""

        async def decide(connection: Connection, now: datetime, body: Body) -> Body:
            await self._plans.require(connection, change.plan_id)
            if change.expires_at is None:
                return {**body, "plan_id": change.plan_id, "plan_expires_at": None, "then_plan_id": None}
            if change.expires_at <= now:
                raise InvalidRequest("The plan's end is past; give one that is to come, or none.")
            await self._plans.require(connection, change.then_plan_id)
            ends = {"plan_expires_at": rfc3339(change.expires_at), "then_plan_id": change.then_plan_id}
            return {**body, "plan_id": change.plan_id, **ends}

        return await self._act(context, "tenant.change_plan", tenant_id, decide)

    async def suspend(self, context: AdminContext, tenant_id: TenantId, *, reason: str | None) -> Tenant:
        """Refuses all requests of the tenant from the next on, and tells it so. Raises `NotFound`, `Conflict`."""

        async def decide(_c: Connection, _n: datetime, body: Body) -> Body:
            if body["status"] == TenantStatus.DELETING:
                raise Conflict("This tenant is being deleted, and is shut out already.")
            return {**body, "status": TenantStatus.SUSPENDED, "status_reason": reason}

        async def tell(connection: Connection, before: Body, after: Body) -> None:
            if before["status"] != after["status"]:
                told = {"tenant_id": tenant_id, "reason": reason}
                await self._events.emit(connection, tenant_id, EventKind.TENANT_SUSPENDED, told)

        return await self._act(context, "tenant.suspend", tenant_id, decide, tell=tell)

    async def activate(self, context: AdminContext, tenant_id: TenantId) -> Tenant:
        """Lets a tenant in again that is suspended, or being deleted. Raises `NotFound` when it is gone already,
        `Conflict` when its grace is over."""

        async def decide(_: Connection, now: datetime, body: Body) -> Body:
            delete_after = body.get("delete_after")
            if delete_after is not None and parse_rfc3339(delete_after) <= now:
                raise Conflict("The grace of this tenant is over; it is being deleted.")
            return {**body, "status": TenantStatus.ACTIVE, "status_reason": None, "delete_after": None}

        return await self._act(context, "tenant.activate", tenant_id, decide)

    async def reset_usage(self, context: AdminContext, tenant_id: TenantId) -> Tenant:
        """Counts this month's calls from nothing again; the ledger keeps them. Raises `NotFound`."""

        async def decide(_: Connection, now: datetime, body: Body) -> Body:
            return {**body, "usage_reset_at": rfc3339(now)}

        return await self._act(context, "tenant.reset_usage", tenant_id, decide)

    async def hold(self, context: AdminContext, tenant_id: TenantId, *, reason: str) -> Tenant:
        """Places the whole tenant under a legal hold: nothing of it is deleted or replaced, by anybody, until it is
        lifted; what was deleted before and is still in the bucket stays there. Raises `NotFound`."""

        async def decide(_: Connection, now: datetime, body: Body) -> Body:
            placed_at = (body.get("hold") or {}).get("placed_at") or rfc3339(now)
            return {**body, "hold": {"reason": reason, "placed_at": placed_at}}

        return await self._act(context, "tenant.hold", tenant_id, decide)

    async def lift_hold(self, context: AdminContext, tenant_id: TenantId) -> Tenant:
        """The tenant's own hold; those of its documents stay. Raises `NotFound`."""

        async def decide(_c: Connection, _n: datetime, body: Body) -> Body:
            return {name: value for name, value in body.items() if name != "hold"}

        return await self._act(context, "tenant.lift_hold", tenant_id, decide)

    async def set_keeping(self, context: AdminContext, tenant_id: TenantId, keeping: Keeping) -> Tenant:
        """How long its documents are kept, whatever its plan says. Raises `NotFound`."""

        async def decide(_c: Connection, _n: datetime, body: Body) -> Body:
            said = {name: value for name, value in body.items() if name != "keeping"}
            days = {name: value for name, value in asdict(keeping).items() if value is not None}
            return {**said, "keeping": days} if days else said

        return await self._act(context, "tenant.set_keeping", tenant_id, decide)

    async def delete(self, context: AdminContext, tenant_id: TenantId) -> Tenant:
        """The first step. The answer says until when the tenant can be brought back. Raises `NotFound`, `Conflict`
        under a legal hold."""

        async def decide(connection: Connection, now: datetime, body: Body) -> Body | None:
            if body["status"] == TenantStatus.DELETING:
                return None
            await self._require_free(connection, tenant_id, body, for_good=False)
            delete_after = rfc3339(now + self._grace)
            return {**body, "status": TenantStatus.DELETING, "status_reason": None, "delete_after": delete_after}

        return await self._act(context, "tenant.delete", tenant_id, decide)

    async def finish_deletion(self, context: AdminContext, tenant_id: TenantId) -> None:
        """The second step, before its time. Raises `NotFound`, `Conflict` before the first, or under a legal hold."""
        context.require(Permission.ADMIN_WRITE)

        async def decide(connection: Connection, now: datetime, body: Body) -> Body:
            if body["status"] != TenantStatus.DELETING:
                raise Conflict("This tenant is not being deleted: DELETE it first, without confirm.")
            await self._require_free(connection, tenant_id, body, for_good=True)
            return _tombstone(body, now)

        await self._change(context.actor, "tenant.deleted", tenant_id, decide)

    # -- by the clock

    async def finish_due_deletions(self, *, limit: int) -> int:
        """Tenants whose grace is over go, but for those under a legal hold. Answers with their number."""

        async def decide(connection: Connection, now: datetime, body: Body, *, tenant_id: TenantId) -> Body | None:
            if body["status"] != TenantStatus.DELETING or parse_rfc3339(body["delete_after"]) > now:
                return None  # brought back meanwhile
            await self._require_free(connection, tenant_id, body, for_good=True)
            return _tombstone(body, now)

        async with self._database.read() as connection:
            due = await queries.departing(connection, await self._database.now(connection), limit=limit)
        return await self._by_clock("tenant.deleted", due, lambda tenant_id: partial(decide, tenant_id=tenant_id))

    async def follow_expired_plans(self, *, limit: int) -> int:
        """Notes the next plan of tenants whose plan has ended; requests go by it already. Answers with their number."""

        async def decide(_: Connection, now: datetime, body: Body) -> Body | None:
            ends = body.get("plan_expires_at")
            if ends is None or parse_rfc3339(ends) > now:
                return None  # somebody gave it another plan meanwhile
            return {**body, "plan_id": body["then_plan_id"], "plan_expires_at": None, "then_plan_id": None}

        async with self._database.read() as connection:
            due = await queries.expired(connection, await self._database.now(connection), limit=limit)
        return await self._by_clock("tenant.plan_expired", due, lambda _: decide)

    async def _require_free(self, connection: Connection, tenant_id: TenantId, body: Body, *, for_good: bool) -> None:
        if body.get("hold") is not None:
            raise Conflict("This tenant is under a legal hold; lift that first.", details={"legal_hold": True})
        await self._require_no_holds(connection, tenant_id, for_good=for_good)

    async def _by_clock(self, action: str, tenant_ids: list[TenantId], decide: Callable[[TenantId], Decide]) -> int:
        done = 0
        for tenant_id in tenant_ids:
            try:
                await self._change(SYSTEM_ACTOR, action, tenant_id, decide(tenant_id))
            except NotFound:
                continue  # another was faster
            except Conflict as error:  # a legal hold: its turn comes when that is lifted
                log.info("tenants.held", action=action, tenant_id=tenant_id, reason=error.message)
                continue
            except S4Error as error:  # its turn comes again, and it keeps nobody else from theirs
                log.error("tenants.change_failed", action=action, tenant_id=tenant_id, error=error.message)
                continue
            done += 1
        return done

    async def _act(
        self, context: AdminContext, action: str, tenant_id: TenantId, decide: Decide, *, tell: Noted | None = None
    ) -> Tenant:
        context.require(Permission.ADMIN_WRITE)
        tenant = await self._change(context.actor, action, tenant_id, decide, tell=tell)
        assert tenant is not None, "only the second step of a deletion makes a tombstone"
        return tenant

    async def _change(
        self, actor: Actor, action: str, tenant_id: TenantId, decide: Decide, *, tell: Noted | None = None
    ) -> Tenant | None:
        async def decide_change(connection: Connection, now: datetime, body: Body) -> Body | None:
            after = await decide(connection, now, body)
            return None if after == body else after

        note = audited(actor, action, tenant_id)

        async def noted(connection: Connection, before: Body, after: Body) -> None:
            await note(connection, before, after)
            if tell is not None:
                await tell(connection, before, after)

        tenant = await self._tenants.change(tenant_id, decide_change, noted=noted)
        if tenant is None and self._buried is not None:
            try:
                await self._buried(tenant_id)
            except S4Error as error:  # the tenant is gone all the same
                log.warning("tenants.burial_untold", tenant_id=tenant_id, error=error.message)
        return tenant


def _tombstone(body: Body, now: datetime) -> dict[str, Any]:
    """Nothing of whom it was."""
    return {"status": DELETED, "created_at": body["created_at"], "deleted_at": rfc3339(now)}


def audited(actor: Actor, action: str, tenant_id: TenantId) -> Noted:
    """A change of a tenant in the audit trail, as it was and as it is."""

    async def noted(connection: Connection, before: Body, after: Body) -> None:
        await audit.record(
            connection,
            actor,
            action,
            f"tenant/{tenant_id}",
            tenant_id=tenant_id,
            before=public_body(before),
            after=public_body(after),
        )

    return noted
