"""The administrator's view of storage: by class in the bucket, and as balances."""

from s4.domains.documents.account_schemas import (
    BalanceOut,
    HoldingOut,
    QuotaOut,
    RecountOut,
    StorageOut,
    TenantStorageOut,
)
from s4.domains.documents.accounts import Accounts, Storage
from s4.kernel.ids import parse_tenant_id
from s4.kernel.permissions import Permission
from s4.platform.http.routing import CurrentAdmin, DomainRouter


def accounts_router(accounts: Accounts) -> DomainRouter:
    """Storage of all, storage of one, recount."""
    router = DomainRouter(prefix="/admin", tags=["administration"])

    @router.get("/storage", permission=Permission.ADMIN_READ, response_model=StorageOut)
    async def get_storage(admin: CurrentAdmin) -> StorageOut:
        """Bytes in the bucket by class, from its last whole listing, and the sum of all balances."""
        storage, balance = await accounts.storage(admin)
        return StorageOut(**_of(storage), quota=BalanceOut.of(balance))

    @router.get("/tenants/{tenant_id}/storage", permission=Permission.ADMIN_READ, response_model=TenantStorageOut)
    async def get_tenant_storage(admin: CurrentAdmin, tenant_id: str) -> TenantStorageOut:
        """The same of one tenant, with what its plan allows."""
        account = await accounts.storage_of(admin, parse_tenant_id(tenant_id))
        quota = QuotaOut(
            **BalanceOut.of(account.balance).model_dump(),
            storage_limit=account.plan.storage_bytes_max,
            documents_limit=account.plan.documents_max,
        )
        return TenantStorageOut(tenant_id=account.tenant_id, **_of(account.storage), quota=quota)

    @router.post("/tenants/{tenant_id}/recount", permission=Permission.ADMIN_WRITE, response_model=RecountOut)
    async def recount_tenant(admin: CurrentAdmin, tenant_id: str) -> RecountOut:
        """Counts documents and reservations anew and puts the balance right where it differs."""
        count = await accounts.recount(admin, parse_tenant_id(tenant_id))
        return RecountOut(
            tenant_id=count.tenant_id,
            noted=BalanceOut.of(count.noted),
            counted=BalanceOut.of(count.counted),
            repaired=count.noted != count.counted,
        )

    return router


def _of(storage: Storage) -> dict[str, object]:
    return {
        "total_bytes": storage.total.size_bytes,
        "objects": storage.total.objects,
        "classes": {name.value: HoldingOut.of(holding) for name, holding in storage.classes.items()},
        "listed_at": storage.listed_at,
    }
