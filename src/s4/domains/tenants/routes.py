"""The administrator's tenant routes."""

from typing import Annotated

from fastapi import Query

from s4.domains.tenants.schemas import TenantCreate, TenantCreated, TenantOut, TenantPage
from s4.domains.tenants.service import NewTenant, Tenant, TenantService
from s4.kernel.ids import parse_tenant_id
from s4.kernel.pages import PAGE_LIMIT_DEFAULT, PAGE_LIMIT_MAX, PageRequest
from s4.kernel.permissions import Permission
from s4.platform.http.routing import CurrentAdmin, DomainRouter


def tenants_router(tenants: TenantService) -> DomainRouter:
    """Create, list, get."""
    router = DomainRouter(prefix="/admin", tags=["administration"])

    @router.post(
        "/tenants",
        permission=Permission.ADMIN_WRITE,
        status_code=201,
        response_model=TenantCreated,
    )
    async def create_tenant(admin: CurrentAdmin, request: TenantCreate) -> TenantCreated:
        """A new tenant and its first key, which is shown in this answer only."""
        new = NewTenant(request.name, request.email, request.company, request.plan_id)
        tenant, api_key = await tenants.create(admin, new)
        return TenantCreated(**_out(tenant).model_dump(), api_key=api_key)

    @router.get("/tenants", permission=Permission.ADMIN_READ, response_model=TenantPage)
    async def list_tenants(
        _: CurrentAdmin,
        page: Annotated[int, Query(ge=1, le=1_000_000)] = 1,
        limit: Annotated[int, Query(ge=1, le=PAGE_LIMIT_MAX)] = PAGE_LIMIT_DEFAULT,
        status: str | None = None,
        plan: str | None = None,
        q: Annotated[str | None, Query(max_length=200, description="Part of name, e-mail or company.")] = None,
    ) -> TenantPage:
        """Newest first."""
        found, total = await tenants.page(PageRequest(page, limit), status=status, plan_id=plan, text=q)
        return TenantPage(tenants=[_out(tenant) for tenant in found], total=total, page=page, limit=limit)

    @router.get(
        "/tenants/{tenant_id}",
        permission=Permission.ADMIN_READ,
        response_model=TenantOut,
    )
    async def get_tenant(_: CurrentAdmin, tenant_id: str) -> TenantOut:
        """One tenant and what it holds."""
        return _out(await tenants.get(parse_tenant_id(tenant_id)))

    return router


def _out(tenant: Tenant) -> TenantOut:
    return TenantOut(
        id=tenant.tenant_id,
        name=tenant.name,
        email=tenant.email,
        company=tenant.company,
        plan_id=tenant.plan_id,
        status=tenant.status,
        created_at=tenant.created_at,
        storage_used=tenant.stored_bytes,
        document_count=tenant.documents,
    )
