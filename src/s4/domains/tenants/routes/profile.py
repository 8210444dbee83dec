"""What a tenant sees of itself."""

from collections.abc import Callable
from typing import Any

from s4.domains.plans import PlanService
from s4.domains.tenants.schemas import ProfileOut, ProfilePlan, ProfileUsage
from s4.domains.tenants.service import TenantService
from s4.kernel.permissions import Permission
from s4.platform.http.routing import CurrentTenant, DomainRouter

Announced = Callable[[str], list[dict[str, Any]]]
"""The maintenance windows that a tenant is to know of."""


def profile_router(tenants: TenantService, plans: PlanService, announced: Announced) -> DomainRouter:
    router = DomainRouter(tags=["usage"])

    @router.get("/profile", permission=Permission.USAGE_READ, counted=False, response_model=ProfileOut)
    async def get_profile(context: CurrentTenant) -> ProfileOut:
        """Who the key speaks for, its plan, and what it has used of it."""
        tenant = await tenants.get(context.tenant_id)
        plan = await plans.get(context.plan.plan_id)
        return ProfileOut(
            tenant_id=tenant.tenant_id,
            name=tenant.name,
            email=tenant.email,
            company=tenant.company,
            plan=ProfilePlan(
                id=plan.id,
                name=plan.name,
                storage_limit=plan.storage_limit,
                api_calls_limit=plan.api_calls_limit,
                max_file_size=plan.max_file_size,
                features=list(plan.features),
            ),
            usage=ProfileUsage(
                storage_used=tenant.stored_bytes,
                storage_used_percent=_percent(tenant.stored_bytes, plan.storage_limit),
                api_calls_count=tenant.calls,
                api_calls_percent=_percent(tenant.calls, plan.api_calls_limit),
                document_count=tenant.documents,
                last_activity=await tenants.last_activity(tenant.tenant_id),
            ),
            created_at=tenant.created_at,
            status=tenant.status,
            maintenance=announced(tenant.tenant_id),
        )

    return router


def _percent(used: int, limit: int | None) -> float | None:
    """More than 100 after a move to a smaller plan. A limit of nothing is used up."""
    if limit is None:
        return None
    return round(100 * used / limit, 2) if limit else 100.0
