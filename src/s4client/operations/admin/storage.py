"""What tenants hold."""

from s4client.flow import Flow, Request, operation
from s4client.models import Recount, Storage, TenantStorage
from s4client.operations.common import API, ServerOperations, segment


class StorageOperations(ServerOperations):
    """Look at storage, count it anew."""

    @operation
    def storage(self) -> Flow[Storage]:
        """The bucket by class, and the sum of all balances."""
        reply = yield from self.send(Request(method="GET", path=f"{API}/admin/storage", repeatable=True))
        return reply.parse(Storage)

    @operation
    def tenant_storage(self, tenant_id: str) -> Flow[TenantStorage]:
        """The same of one tenant."""
        path = f"{API}/admin/tenants/{segment(tenant_id)}/storage"
        reply = yield from self.send(Request(method="GET", path=path, repeatable=True))
        return reply.parse(TenantStorage)

    @operation
    def recount_tenant(self, tenant_id: str) -> Flow[Recount]:
        """Count a tenant's documents anew and put its balance right."""
        path = f"{API}/admin/tenants/{segment(tenant_id)}/recount"
        reply = yield from self.send(Request(method="POST", path=path, repeatable=True))
        return reply.parse(Recount)
