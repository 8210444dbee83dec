"""Backups of the whole deployment."""

from s4client.flow import Flow, Request, operation
from s4client.models import BackupList
from s4client.operations.common import API, ServerOperations


class BackupsOperations(ServerOperations):
    """Look at backups, ask for one."""

    @operation
    def list_backups(self) -> Flow[BackupList]:
        """Every backup, oldest first; those too that are damaged."""
        reply = yield from self.send(Request(method="GET", path=f"{API}/admin/backups", repeatable=True))
        return reply.parse(BackupList)

    @operation
    def request_backup(self) -> Flow[None]:
        """Have a worker make a backup. Asked again before that, it is one."""
        yield from self.send(Request(method="POST", path=f"{API}/admin/backups", repeatable=True))
