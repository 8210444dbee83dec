"""Tenants."""

import secrets
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from s4client.errors import InvalidArgument
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
        external_id: str | None = None,
        idempotency_key: str | None = None,
    ) -> Flow[NewTenant]:
        """Create a tenant. Its key is in this answer only, and for 24 hours in that of a repeat with the same
        `idempotency_key`; one is made if none is given."""
        tenant = given(name=name, email=email, company=company, plan_id=plan_id, external_id=external_id)
        headers = {"Idempotency-Key": idempotency_key or secrets.token_hex(16)}
        path = f"{API}/admin/tenants"
        reply = yield from self.send(Request(method="POST", path=path, json=tenant, headers=headers, repeatable=True))
        return reply.parse(NewTenant, replayed=reply.headers.get("idempotency-replayed") == "true")

    @operation
    def get_tenant(self, tenant_id: str) -> Flow[Tenant]:
        """A tenant by its id."""
        return (yield from self._tenant("GET", tenant_id))

    @operation
    def update_tenant(self, tenant_id: str, fields: Mapping[str, str | None]) -> Flow[Tenant]:
        """Change those of name, email, company, external_id that `fields` has; None empties one."""
        return (yield from self._tenant("PUT", tenant_id, json=dict(fields)))

    @operation
    def change_plan(
        self,
        tenant_id: str,
        plan_id: str,
        *,
        expires_at: datetime | None = None,
        then_plan_id: str | None = None,
    ) -> Flow[Tenant]:
        """Move the tenant to another plan: for good, or until `expires_at`, from when on it is on `then_plan_id`."""
        change = given(plan_id=plan_id, expires_at=expires_at, then_plan_id=then_plan_id)
        return (yield from self._tenant("PUT", tenant_id, "/plan", json=change))

    @operation
    def suspend_tenant(self, tenant_id: str, *, reason: str | None = None) -> Flow[Tenant]:
        """Refuse all requests of the tenant, from the next on."""
        return (yield from self._tenant("POST", tenant_id, "/suspend", json=given(reason=reason)))

    @operation
    def activate_tenant(self, tenant_id: str) -> Flow[Tenant]:
        """Let a tenant in again that is suspended, or being deleted."""
        return (yield from self._tenant("POST", tenant_id, "/activate"))

    @operation
    def reset_usage(self, tenant_id: str) -> Flow[Tenant]:
        """Count this month's calls from nothing again."""
        return (yield from self._tenant("POST", tenant_id, "/reset-usage"))

    @operation
    def delete_tenant(self, tenant_id: str) -> Flow[Tenant]:
        """The first step: shut the tenant out. After `delete_after` of the answer it is gone."""
        return (yield from self._tenant("DELETE", tenant_id))

    @operation
    def confirm_deletion(self, tenant_id: str) -> Flow[None]:
        """The second step before its time: a tenant that is being deleted is gone at once, and for ever."""
        request = Request(method="DELETE", path=_path(tenant_id), params={"confirm": tenant_id}, repeatable=False)
        yield from self.send(request)

    @operation
    def list_tenants_page(
        self,
        *,
        page: int | None = None,
        limit: int | None = None,
        status: str | None = None,
        plan: str | None = None,
        q: str | None = None,
        external_id: str | None = None,
    ) -> Flow[TenantPage]:
        """One page of the tenants; `q` looks in their names."""
        wanted = given(page=page, limit=limit, status=status, plan=plan, q=q, external_id=external_id)
        return (yield from self._tenants(wanted))

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

    def _tenant(self, method: str, tenant_id: str, act: str = "", *, json: Any = None) -> Flow[Tenant]:
        """Each of these comes to the same when it is repeated."""
        reply = yield from self.send(Request(method=method, path=_path(tenant_id) + act, json=json, repeatable=True))
        return reply.parse(Tenant)

    def _tenants(self, params: Params) -> Flow[TenantPage]:
        reply = yield from self.send(Request(method="GET", path=f"{API}/admin/tenants", params=params, repeatable=True))
        return reply.parse(TenantPage)


def _path(tenant_id: str) -> str:
    if not tenant_id:
        raise InvalidArgument("The id of the tenant is empty.")
    return f"{API}/admin/tenants/{segment(tenant_id)}"
