"""The administrator's tenant routes."""

from typing import Annotated

from fastapi import Query, Response

from s4.domains.tenants.lifecycle import PlanChange, TenantLifecycle
from s4.domains.tenants.model import Keeping, NewTenant, TenantStatus
from s4.domains.tenants.queries import Wanted
from s4.domains.tenants.schemas import (
    HoldPlace,
    KeepingSet,
    TenantCreate,
    TenantCreated,
    TenantOut,
    TenantPage,
    TenantPlan,
    TenantSuspend,
    TenantUpdate,
)
from s4.domains.tenants.service import TenantService
from s4.kernel.errors import InvalidRequest
from s4.kernel.ids import parse_tenant_id
from s4.kernel.pages import PAGE_LIMIT_DEFAULT, PAGE_LIMIT_MAX, PageRequest
from s4.kernel.permissions import Permission
from s4.platform.http.errors import error_responses
from s4.platform.http.idempotency import IdempotencyKey, checked_idempotency_key
from s4.platform.http.routing import CurrentAdmin, DomainRouter

_TEXT_CHARS_MAX = 200  # as names have


def tenants_router(tenants: TenantService, lifecycle: TenantLifecycle) -> DomainRouter:
    """Everything that an administrator does with tenants."""
    router = DomainRouter(prefix="/admin", tags=["administration"])
    _add_finding(router, tenants)
    _add_changing(router, lifecycle)
    _add_keeping(router, lifecycle)
    _add_leaving(router, lifecycle)
    return router


def _add_finding(router: DomainRouter, tenants: TenantService) -> None:
    @router.post(
        "/tenants",
        permission=Permission.ADMIN_WRITE,
        status_code=201,
        response_model=TenantCreated,
        responses=error_responses(409),
    )
    async def create_tenant(
        admin: CurrentAdmin, request: TenantCreate, response: Response, idempotency_key: IdempotencyKey = None
    ) -> TenantCreated:
        """A new tenant and its first key, which is shown in this answer only: and again in a repeat's, with the same
        Idempotency-Key within 24 hours."""
        new = NewTenant(request.name, request.email, request.company, request.plan_id, request.external_id)
        repeatable = checked_idempotency_key(idempotency_key)
        created = await tenants.create_once(admin, new, idempotency_key=repeatable)
        if created.replayed:
            response.headers["Idempotency-Replayed"] = "true"
        return TenantCreated(**TenantOut.of(created.tenant).model_dump(), api_key=created.api_key)

    @router.get("/tenants", permission=Permission.ADMIN_READ, response_model=TenantPage)
    async def list_tenants(
        _: CurrentAdmin,
        page: Annotated[int, Query(ge=1, le=1_000_000)] = 1,
        limit: Annotated[int, Query(ge=1, le=PAGE_LIMIT_MAX)] = PAGE_LIMIT_DEFAULT,
        status: Annotated[str | None, Query(description=f"One of: {', '.join(TenantStatus)}.")] = None,
        plan: Annotated[str | None, Query(description="Id of the plan that is in force.")] = None,
        external_id: Annotated[str | None, Query(max_length=_TEXT_CHARS_MAX)] = None,
        q: Annotated[
            str | None, Query(max_length=_TEXT_CHARS_MAX, description="Part of name, e-mail or company.")
        ] = None,
    ) -> TenantPage:
        """Newest first."""
        wanted = Wanted(_status(status), plan, external_id, q)
        found, total = await tenants.page(PageRequest(page, limit), wanted)
        return TenantPage(tenants=[TenantOut.of(tenant) for tenant in found], total=total, page=page, limit=limit)

    @router.get("/tenants/{tenant_id}", permission=Permission.ADMIN_READ, response_model=TenantOut)
    async def get_tenant(_: CurrentAdmin, tenant_id: str) -> TenantOut:
        """One tenant and what it holds."""
        return TenantOut.of(await tenants.get(parse_tenant_id(tenant_id)))


def _add_changing(router: DomainRouter, lifecycle: TenantLifecycle) -> None:
    @router.put(
        "/tenants/{tenant_id}",
        permission=Permission.ADMIN_WRITE,
        response_model=TenantOut,
        responses=error_responses(409),
    )
    async def update_tenant(admin: CurrentAdmin, tenant_id: str, request: TenantUpdate) -> TenantOut:
        """Changes the fields that are given; the others stay."""
        fields = request.model_dump(include=request.model_fields_set)
        return TenantOut.of(await lifecycle.update(admin, parse_tenant_id(tenant_id), fields))

    @router.put(
        "/tenants/{tenant_id}/plan",
        permission=Permission.ADMIN_WRITE,
        response_model=TenantOut,
        responses=error_responses(409),
    )
    async def change_plan(admin: CurrentAdmin, tenant_id: str, request: TenantPlan) -> TenantOut:
        """Moves the tenant to another plan, whose limits are those of its next request. What it holds beyond them
        stays; new writes are refused."""
        change = PlanChange(request.plan_id, request.expires_at, request.then_plan_id)
        return TenantOut.of(await lifecycle.change_plan(admin, parse_tenant_id(tenant_id), change))

    @router.post(
        "/tenants/{tenant_id}/reset-usage",
        permission=Permission.ADMIN_WRITE,
        response_model=TenantOut,
        responses=error_responses(409),
    )
    async def reset_usage(admin: CurrentAdmin, tenant_id: str) -> TenantOut:
        """Counts this month's calls from nothing again. What is stored is not usage of a month, and stays."""
        return TenantOut.of(await lifecycle.reset_usage(admin, parse_tenant_id(tenant_id)))


def _add_keeping(router: DomainRouter, lifecycle: TenantLifecycle) -> None:
    @router.put(
        "/tenants/{tenant_id}/legal-hold",
        permission=Permission.ADMIN_WRITE,
        response_model=TenantOut,
        responses=error_responses(409),
    )
    async def hold_tenant(admin: CurrentAdmin, tenant_id: str, request: HoldPlace) -> TenantOut:
        """Nothing of the tenant is deleted or replaced any more, by itself, by its retention or by the operator; what
        it deleted before and is still in the bucket stays there."""
        return TenantOut.of(await lifecycle.hold(admin, parse_tenant_id(tenant_id), reason=request.reason))

    @router.delete(
        "/tenants/{tenant_id}/legal-hold",
        permission=Permission.ADMIN_WRITE,
        response_model=TenantOut,
        responses=error_responses(409),
    )
    async def lift_tenant_hold(admin: CurrentAdmin, tenant_id: str) -> TenantOut:
        """Lifts the hold of the tenant as a whole. Those of its documents stay."""
        return TenantOut.of(await lifecycle.lift_hold(admin, parse_tenant_id(tenant_id)))

    @router.put(
        "/tenants/{tenant_id}/keeping",
        permission=Permission.ADMIN_WRITE,
        response_model=TenantOut,
        responses=error_responses(409),
    )
    async def set_tenant_keeping(admin: CurrentAdmin, tenant_id: str, request: KeepingSet) -> TenantOut:
        """For how long the tenant's documents are kept, and when they are archived, whatever its plan says."""
        keeping = Keeping(request.retention_days, request.archive_after_days)
        return TenantOut.of(await lifecycle.set_keeping(admin, parse_tenant_id(tenant_id), keeping))


def _add_leaving(router: DomainRouter, lifecycle: TenantLifecycle) -> None:
    @router.post(
        "/tenants/{tenant_id}/suspend",
        permission=Permission.ADMIN_WRITE,
        response_model=TenantOut,
        responses=error_responses(409),
    )
    async def suspend_tenant(admin: CurrentAdmin, tenant_id: str, request: TenantSuspend | None = None) -> TenantOut:
        """Refuses every request of the tenant, from the next on, with 403 `tenant_suspended`. Deletes nothing."""
        reason = request.reason if request is not None else None
        return TenantOut.of(await lifecycle.suspend(admin, parse_tenant_id(tenant_id), reason=reason))

    @router.post(
        "/tenants/{tenant_id}/activate",
        permission=Permission.ADMIN_WRITE,
        response_model=TenantOut,
        responses=error_responses(409),
    )
    async def activate_tenant(admin: CurrentAdmin, tenant_id: str) -> TenantOut:
        """Lets a tenant in again that is suspended, or that is being deleted, with all that it had."""
        return TenantOut.of(await lifecycle.activate(admin, parse_tenant_id(tenant_id)))

    @router.delete(
        "/tenants/{tenant_id}",
        permission=Permission.ADMIN_WRITE,
        status_code=202,
        response_model=TenantOut,
        responses=error_responses(409) | {204: {"description": "With `confirm`: it is deleted."}},
    )
    async def delete_tenant(
        admin: CurrentAdmin,
        tenant_id: str,
        confirm: Annotated[
            str | None, Query(description="The tenant's id once more: deletes, before its time, what is being deleted.")
        ] = None,
    ) -> TenantOut | Response:
        """Two steps. The first shuts the tenant out at once; until `delete_after` it can be activated again. Then, or
        with `confirm`, it is deleted for ever. Asking again moves `delete_after` not."""
        parsed = parse_tenant_id(tenant_id)
        if confirm is None:
            return TenantOut.of(await lifecycle.delete(admin, parsed))
        if confirm != parsed:
            raise InvalidRequest("To confirm, give the id of the tenant itself.")
        await lifecycle.finish_deletion(admin, parsed)
        return Response(status_code=204)


def _status(text: str | None) -> TenantStatus | None:
    if text is None:
        return None
    if text not in set(TenantStatus):
        raise InvalidRequest(f"There is no status {text!r}. There are: {', '.join(TenantStatus)}.")
    return TenantStatus(text)
