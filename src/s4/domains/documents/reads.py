"""Which documents searches found, for the archive: what is found is read, and is not archived for want of readers.

A search writes nothing. Its process keeps in memory what was found, and notes it now and then, of tenants that archive
what nobody reads, and once an hour per document. What a killed process forgets is a minute of days.
"""

import asyncio
from collections.abc import Iterable
from datetime import timedelta

import structlog

from s4.domains.documents.keeping.retention import policy_of
from s4.domains.documents.queries import rows
from s4.domains.tenants import queries as tenant_queries
from s4.kernel.errors import Unavailable
from s4.kernel.ids import TenantId
from s4.platform.database import Connection, Database

log = structlog.get_logger()

_KEPT_MAX = 50_000  # pairs in memory, some 10 MB; what is found beyond them waits for the next time
_IDS_AT_ONCE = 500  # in one statement: SQLite's oldest bound for parameters is 999


class Reads:
    """One of a process. `found` costs a few additions to a set."""

    def __init__(self, database: Database, *, every: timedelta) -> None:
        self._database = database
        self._every = every
        self._found: set[tuple[TenantId, str]] = set()

    def found(self, tenant_id: TenantId, document_ids: Iterable[str]) -> None:
        """Remembers that a search answered with these."""
        if len(self._found) < _KEPT_MAX:
            self._found.update((tenant_id, document_id) for document_id in document_ids)

    async def keep_noting(self) -> None:
        """Until it is cancelled."""
        while True:
            await asyncio.sleep(self._every.total_seconds())
            await self.note()

    async def note(self) -> None:
        """What was found since the last time. What the catalog does not take is kept for the next."""
        found, self._found = self._found, set()
        by_tenant: dict[TenantId, list[str]] = {}
        for tenant_id, document_id in sorted(found):
            by_tenant.setdefault(tenant_id, []).append(document_id)
        try:
            for tenant_id, ids in by_tenant.items():
                await self._note(tenant_id, ids)
        except Unavailable as error:
            log.warning("documents.reads_unnoted", error=error.message)
            self._found |= found

    async def _note(self, tenant_id: TenantId, ids: list[str]) -> None:
        async with self._database.read() as connection:
            now = await self._database.now(connection)
            policies = await tenant_queries.keeping(connection, now, only=tenant_id)
        if not policies or policy_of(policies[0]).archive_after_days is None:
            return

        async def touch(connection: Connection) -> None:
            for start in range(0, len(ids), _IDS_AT_ONCE):
                await rows.touch(connection, tenant_id, ids[start : start + _IDS_AT_ONCE], now)

        await self._database.transact(touch)
