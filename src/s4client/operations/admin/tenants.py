"""Tenants."""

from s4client.flow import Batch, Flow, Pages, Params, Request, operation, paged
from s4client.models import NewTenant, Tenant, TenantPage
from s4client.operations.common import API, PAGE_LIMIT, ServerOperations, given, segment


class TenantsOperations(ServerOperations):
    """Make, find, change tenants."""

    @operation
    def create_tenant(
        self,
        name: str,
        *,
        email: str | None = None,
        company: str | None = None,
        plan_id: str | None = None,
    ) -> Flow[NewTenant]:
        """Create a tenant. Its key is in this answer only."""
        tenant = given(name=name, email=email, company=company, plan_id=plan_id)
        reply = yield from self.send(Request(method="POST", path=f"{API}/admin/tenants", json=tenant, repeatable=False))
        return reply.parse(NewTenant)

    @operation
    def get_tenant(self, tenant_id: str) -> Flow[Tenant]:
        """A tenant by its id."""
        path = f"{API}/admin/tenants/{segment(tenant_id)}"
        reply = yield from self.send(Request(method="GET", path=path, repeatable=True))
        return reply.parse(Tenant)

    @operation
    def list_tenants_page(
        self,
        *,
        page: int | None = None,
        limit: int | None = None,
        status: str | None = None,
        plan: str | None = None,
        q: str | None = None,
    ) -> Flow[TenantPage]:
        """One page of the tenants; `q` looks in their names."""
        return (yield from self._tenants(given(page=page, limit=limit, status=status, plan=plan, q=q)))

    @paged
    def iter_tenants(
        self,
        *,
        status: str | None = None,
        plan: str | None = None,
        q: str | None = None,
        page_limit: int = PAGE_LIMIT,
    ) -> Pages[Tenant]:
        """Iterate over the tenants."""
        params = given(status=status, plan=plan, q=q, limit=page_limit)

        def batch(cursor: str | None) -> Flow[Batch[Tenant]]:
            page = int(cursor or "1")
            found = yield from self._tenants(params | {"page": page})
            seen = (page - 1) * page_limit + len(found.tenants)
            is_last = not found.tenants or seen >= (found.total or 0)
            return found.tenants, None if is_last else str(page + 1)

        return batch

    def _tenants(self, params: Params) -> Flow[TenantPage]:
        reply = yield from self.send(Request(method="GET", path=f"{API}/admin/tenants", params=params, repeatable=True))
        return reply.parse(TenantPage)
