"""Plans for everybody, and for the administrator."""

from s4.domains.plans.schemas import PlanCreate, PlanList, PlanOut, PlanReplace
from s4.domains.plans.service import PlanService
from s4.kernel.errors import InvalidRequest
from s4.kernel.permissions import Permission
from s4.platform.http.errors import error_responses
from s4.platform.http.routing import CurrentAdmin, DomainRouter


def plans_router(plans: PlanService) -> DomainRouter:
    """The public list, and the administrator's create, read, replace, delete."""
    router = DomainRouter(tags=["plans"])

    @router.get("/plans", permission=Permission.PUBLIC, response_model=PlanList)
    async def list_public_plans() -> PlanList:
        """The plans that are on offer, from the cheapest to the dearest."""
        return PlanList(plans=[PlanOut.of(plan) for plan in await plans.all() if plan.listed])

    @router.get("/admin/plans", permission=Permission.ADMIN_READ, response_model=PlanList)
    async def list_plans(_: CurrentAdmin) -> PlanList:
        """All plans, those too that are not on offer."""
        return PlanList(plans=[PlanOut.of(plan) for plan in await plans.all()])

    @router.post(
        "/admin/plans",
        permission=Permission.ADMIN_WRITE,
        status_code=201,
        response_model=PlanOut,
        responses=error_responses(409),
    )
    async def create_plan(admin: CurrentAdmin, request: PlanCreate) -> PlanOut:
        """A new plan."""
        return PlanOut.of(await plans.create(admin, request.plan(request.id)))

    @router.get("/admin/plans/{plan_id}", permission=Permission.ADMIN_READ, response_model=PlanOut)
    async def get_plan(_: CurrentAdmin, plan_id: str) -> PlanOut:
        """One plan."""
        return PlanOut.of(await plans.get(plan_id))

    @router.put(
        "/admin/plans/{plan_id}",
        permission=Permission.ADMIN_WRITE,
        response_model=PlanOut,
        responses=error_responses(409),
    )
    async def replace_plan(admin: CurrentAdmin, plan_id: str, request: PlanReplace) -> PlanOut:
        """Changes the plan for all its tenants at once. What they hold beyond it stays; new writes are refused."""
        if request.id not in (None, plan_id):
            raise InvalidRequest("The id in the body is not that of the path: a plan's id does not change.")
        return PlanOut.of(await plans.replace(admin, request.plan(plan_id)))

    @router.delete(
        "/admin/plans/{plan_id}",
        permission=Permission.ADMIN_WRITE,
        status_code=204,
        responses=error_responses(409),
    )
    async def delete_plan(admin: CurrentAdmin, plan_id: str) -> None:
        """Deletes a plan that no tenant is on."""
        await plans.delete(admin, plan_id)

    return router
