"""`/admin/backups`: looking at backups, and asking for one. Restoring is a command's work, beside the deployment."""

from s4.domains.backup.schemas import BackupOut, BackupRequestedOut, BackupsOut
from s4.domains.backup.service import BackupService
from s4.kernel.permissions import Permission
from s4.platform.http.routing import CurrentAdmin, DomainRouter


def backups_router(backups: BackupService) -> DomainRouter:
    """For administrators."""
    router = DomainRouter(prefix="/admin", tags=["backups"])

    @router.get("/backups", permission=Permission.ADMIN_READ, response_model=BackupsOut)
    async def list_backups(_: CurrentAdmin) -> BackupsOut:
        """Every backup, oldest first; those too that are damaged."""
        return BackupsOut(backups=[BackupOut.of(each) for each in await backups.all()])

    @router.post("/backups", permission=Permission.ADMIN_WRITE, response_model=BackupRequestedOut, status_code=202)
    async def request_backup(admin: CurrentAdmin) -> BackupRequestedOut:
        """Has a worker make a backup. Asked again before that, it is one."""
        await backups.request(admin.actor)
        return BackupRequestedOut()

    return router
