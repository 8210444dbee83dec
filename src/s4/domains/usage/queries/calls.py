"""Statements on calls."""

from datetime import datetime

from s4.kernel.ids import TenantId
from s4.platform.database import Connection


async def calls_this_month(connection: Connection, tenant_id: TenantId) -> int:  # noqa: ARG001 (the meter's, to come)
    """API calls that count, of this calendar month in UTC, since the last `restart_calls` in it."""
    return 0


async def last_activity(connection: Connection, tenant_id: TenantId) -> datetime | None:  # noqa: ARG001 (the meter's)
    """When the tenant last called; None for never."""
    return None


async def restart_calls(connection: Connection, tenant_id: TenantId, at: datetime) -> None:
    """This month's count begins anew at `at`. The ledger keeps what was."""
