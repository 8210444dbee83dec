"""Reading the trail."""

from datetime import timedelta

from s4.domains.audit import queries
from s4.domains.audit.queries import Listed, Wanted
from s4.domains.audit.verifier import Verification, Verifier
from s4.kernel.context import AdminContext
from s4.kernel.pages import PageRequest
from s4.kernel.permissions import Permission
from s4.platform.database import Connection, Database
from s4.platform.telemetry import metrics


class AuditService:
    """Use cases of whoever may look."""

    def __init__(self, database: Database, verifier: Verifier) -> None:
        self._database = database
        self._verifier = verifier

    async def page(
        self, context: AdminContext, wanted: Wanted, request: PageRequest
    ) -> tuple[list[Listed], str | None]:
        """Newest first, and the cursor of what follows."""
        context.require(Permission.ADMIN_READ)
        async with self._database.read() as connection:
            return await queries.page(connection, wanted, request)

    async def verify(self, context: AdminContext, *, after: int, limit: int) -> Verification:
        """Raises `NotFound` when there is no batch `after`."""
        context.require(Permission.ADMIN_READ)
        return await self._verifier.verify(after=after, limit=limit)


async def refresh_gauges(database: Database, connection: Connection) -> None:
    """What the metrics say of the trail."""
    check = await queries.last_check(connection)
    oldest = await queries.oldest_unsealed(connection)
    now = await database.now(connection)
    metrics.AUDIT_CHAIN_OK.set(check is None or check.problem is None)
    age = now - oldest if oldest is not None else timedelta()
    metrics.AUDIT_UNSEALED_SECONDS.set(max(0.0, age.total_seconds()))
