"""Who administers."""

from s4.domains.access.administrators import AdministratorService
from s4.domains.access.schemas import (
    AdministratorCreate,
    AdministratorList,
    AdministratorMinted,
    AdministratorOut,
    Overlap,
    overlap_of,
)
from s4.kernel.permissions import Permission
from s4.platform.http.errors import error_responses
from s4.platform.http.routing import CurrentAdmin, DomainRouter


def administrators_router(administrators: AdministratorService) -> DomainRouter:
    """List for all, changes for owners."""
    router = DomainRouter(prefix="/admin/administrators", tags=["administration"])
    manage = Permission.ADMIN_MANAGE
    conflict = error_responses(409)

    @router.get("", permission=Permission.ADMIN_READ, response_model=AdministratorList)
    async def list_administrators(_: CurrentAdmin) -> AdministratorList:
        """The one of the environment first."""
        return AdministratorList(administrators=[AdministratorOut.of(one) for one in await administrators.all()])

    @router.post("", permission=manage, status_code=201, response_model=AdministratorMinted, responses=conflict)
    async def create_administrator(admin: CurrentAdmin, request: AdministratorCreate) -> AdministratorMinted:
        """An administrator with a role, and a key that is shown in this answer only."""
        made = await administrators.create(admin, request.name, request.role, expires_at=request.expires_at)
        return AdministratorMinted.made(made)

    @router.post(
        "/{name}/rotate", permission=manage, status_code=201, response_model=AdministratorMinted, responses=conflict
    )
    async def rotate_administrator(admin: CurrentAdmin, name: str, request: Overlap = None) -> AdministratorMinted:
        """A new key; the old one expires after the overlap."""
        overlap = overlap_of(request)
        return AdministratorMinted.made(await administrators.rotate(admin, name, overlap=overlap))

    @router.delete("/{name}", permission=manage, status_code=204, responses=conflict)
    async def revoke_administrator(admin: CurrentAdmin, name: str) -> None:
        """No replica accepts the key once this is answered."""
        await administrators.revoke(admin, name)

    return router
