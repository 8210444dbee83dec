"""A tenant's keys, for the tenant and for the administrator."""

from datetime import timedelta
from typing import Annotated

from fastapi import Query

from s4.domains.access.keys import KeyService, Manager
from s4.domains.access.schemas import ChildCreate, KeyCreate, KeyList, KeyMinted, KeyOut, Overlap, overlap_of
from s4.kernel.context import AdminContext
from s4.kernel.ids import parse_tenant_id
from s4.kernel.permissions import Permission
from s4.platform.http.errors import error_responses
from s4.platform.http.routing import CurrentAdmin, CurrentTenant, DomainRouter

Force = Annotated[bool, Query(description="Also the last key that can make keys.")]
_CONFLICT = error_responses(409)


def keys_router(keys: KeyService) -> DomainRouter:
    """What a key with the scope `keys:manage` does."""
    router = DomainRouter(tags=["keys"])
    manage = Permission.KEYS_MANAGE

    @router.get("/keys", permission=manage, response_model=KeyList)
    async def list_keys(context: CurrentTenant) -> KeyList:
        """Oldest first, those too that ended lately; child keys are not listed."""
        return KeyList(keys=[KeyOut.of(key) for key in await keys.all(context.tenant_id)])

    @router.post("/keys", permission=manage, status_code=201, response_model=KeyMinted, responses=_CONFLICT)
    async def create_key(context: CurrentTenant, request: KeyCreate) -> KeyMinted:
        """A key that is shown in this answer only, with no more scopes than the one that asks."""
        return KeyMinted.made(await keys.create(Manager.of_tenant(context), request.new))

    @router.post(
        "/keys/{prefix}/rotate", permission=manage, status_code=201, response_model=KeyMinted, responses=_CONFLICT
    )
    async def rotate_key(context: CurrentTenant, prefix: str, request: Overlap = None) -> KeyMinted:
        """A successor with the same name, scopes and bounds; the old key expires after the overlap."""
        overlap = overlap_of(request)
        return KeyMinted.made(await keys.rotate(Manager.of_tenant(context), prefix, overlap=overlap))

    @router.delete("/keys/{prefix}", permission=manage, status_code=204, responses=_CONFLICT)
    async def revoke_key(context: CurrentTenant, prefix: str, force: Force = False) -> None:
        """No replica accepts the key, nor its children, once this is answered. What it had begun may end."""
        await keys.revoke(Manager.of_tenant(context), prefix, force=force)

    return router


def child_keys_router(keys: KeyService) -> DomainRouter:
    """Apart from the others, because bound keys mint children too."""
    router = DomainRouter(tags=["keys"], serves_bound_keys=True)

    @router.post(
        "/keys/child", permission=Permission.KEYS_MANAGE, status_code=201, response_model=KeyMinted, responses=_CONFLICT
    )
    async def create_child_key(context: CurrentTenant, request: ChildCreate) -> KeyMinted:
        """A key for an hour at most, for a browser, say. It has no more scopes and sees no more documents than the one
        that asks, and dies with it."""
        life = timedelta(seconds=request.ttl_seconds)
        scopes = frozenset(Permission(scope) for scope in request.scopes)
        return KeyMinted.made(await keys.mint_child(context, scopes, life=life, within=request.restriction))

    return router


def tenant_keys_router(keys: KeyService) -> DomainRouter:
    """What the administrator does with a tenant's keys."""
    router = DomainRouter(prefix="/admin/tenants/{tenant_id}", tags=["administration"])
    write = Permission.ADMIN_WRITE

    def manager(admin: AdminContext, tenant_id: str) -> Manager:
        return Manager.of_admin(admin, parse_tenant_id(tenant_id))

    @router.get("/keys", permission=Permission.ADMIN_READ, response_model=KeyList)
    async def list_tenant_keys(_: CurrentAdmin, tenant_id: str) -> KeyList:
        """Oldest first, those too that ended lately."""
        return KeyList(keys=[KeyOut.of(key) for key in await keys.all(parse_tenant_id(tenant_id))])

    @router.post("/keys", permission=write, status_code=201, response_model=KeyMinted, responses=_CONFLICT)
    async def create_tenant_key(admin: CurrentAdmin, tenant_id: str, request: KeyCreate) -> KeyMinted:
        """A key that is shown in this answer only."""
        return KeyMinted.made(await keys.create(manager(admin, tenant_id), request.new))

    @router.post(
        "/keys/{prefix}/rotate", permission=write, status_code=201, response_model=KeyMinted, responses=_CONFLICT
    )
    async def rotate_tenant_key(admin: CurrentAdmin, tenant_id: str, prefix: str, request: Overlap = None) -> KeyMinted:
        """A successor with the same name, scopes and bounds; the old key expires after the overlap."""
        overlap = overlap_of(request)
        return KeyMinted.made(await keys.rotate(manager(admin, tenant_id), prefix, overlap=overlap))

    @router.delete("/keys/{prefix}", permission=write, status_code=204)
    async def revoke_tenant_key(admin: CurrentAdmin, tenant_id: str, prefix: str) -> None:
        """No replica accepts the key, nor its children, once this is answered. What it had begun may end."""
        await keys.revoke(manager(admin, tenant_id), prefix)

    @router.post("/regenerate-key", permission=write, status_code=201, response_model=KeyMinted, responses=_CONFLICT)
    async def regenerate_key(admin: CurrentAdmin, tenant_id: str, request: Overlap = None) -> KeyMinted:
        """A new key with all scopes; every other key of the tenant expires after the overlap."""
        overlap = overlap_of(request)
        return KeyMinted.made(await keys.regenerate(manager(admin, tenant_id), overlap=overlap))

    return router
