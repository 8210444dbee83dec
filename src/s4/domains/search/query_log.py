"""What tenants that wish it have asked, for so many days: two generations of an index are compared by it.

Nobody's queries are kept who has not said so, and for how long. A search writes nothing: its process keeps in memory
what was asked, and notes it now and then; a killed process forgets some seconds.
"""

import asyncio
import hashlib
from collections import Counter
from datetime import timedelta

import structlog

from s4.domains.search import queries
from s4.domains.search.model import Query
from s4.domains.tenants import TenantService, audited
from s4.domains.tenants.model import QUERY_LOG_DAYS, Body
from s4.kernel.context import Actor, TenantContext
from s4.kernel.errors import Unavailable
from s4.kernel.ids import TenantId
from s4.platform.database import Connection, Database
from s4.platform.jobs import RegularJob

log = structlog.get_logger()

PURGE = "search.purge_queries"
_PURGE_EVERY = timedelta(hours=1)
_WAITING_MAX = 10_000  # texts in memory; what is asked beyond them until the next note is not kept
_KEPT_MAX = 5_000  # of one tenant: far more than a comparison asks


class QueryLog:
    """One of a process. `asked` costs an addition to a dictionary."""

    def __init__(self, database: Database, tenants: TenantService, *, every: timedelta) -> None:
        self._database = database
        self._tenants = tenants
        self._every = every
        self._asked: Counter[tuple[TenantId, str]] = Counter()

    def regular_jobs(self) -> list[RegularJob]:
        return [RegularJob(PURGE, _PURGE_EVERY, self.purge)]

    def asked(self, context: TenantContext, query: Query) -> None:
        """Remembers it, if its tenant wishes that. Further pages are the same question."""
        if context.logs_queries and query.offset == 0 and len(self._asked) < _WAITING_MAX:
            self._asked[context.tenant_id, query.text] += 1

    async def keep_noting(self) -> None:
        """Until it is cancelled."""
        while True:
            await asyncio.sleep(self._every.total_seconds())
            await self.note()

    async def note(self) -> None:
        """What was asked since the last time, of tenants that still wish it: one may have said otherwise to another
        process. What the catalog does not take is kept for the next."""
        asked, self._asked = self._asked, Counter()
        if not asked:
            return
        entries = sorted((tenant_id, _hash(text), text, count) for (tenant_id, text), count in asked.items())

        async def write(connection: Connection) -> None:
            settings = await queries.settings_kept_still(connection, {tenant_id for tenant_id, *_ in entries})
            rows = [entry for entry in entries if settings.get(entry[0], {}).get(QUERY_LOG_DAYS)]
            if rows:
                await queries.log_asked(connection, rows, await self._database.now(connection))

        try:
            await self._database.transact(write)
        except Unavailable as error:
            log.warning("search.queries_unnoted", error=error.message)
            self._asked.update(asked)

    async def set_days(self, actor: Actor, tenant_id: TenantId, days: int) -> None:
        """For how many days from now on the tenant's queries are kept; 0: none is, and those that are go at once.
        Raises `NotFound`."""

        async def decide(_: Connection, __: object, body: Body) -> Body | None:
            settings = {name: value for name, value in body["settings"].items() if name != QUERY_LOG_DAYS}
            settings |= {QUERY_LOG_DAYS: days} if days else {}
            return None if settings == body["settings"] else {**body, "settings": settings}

        await self._tenants.change(tenant_id, decide, noted=audited(actor, "tenant.set_query_log", tenant_id))
        await self._purge(tenant_id)

    async def of(self, tenant_id: TenantId, *, limit: int) -> list[str]:
        """What was asked most often, and last."""
        async with self._database.read() as connection:
            return await queries.logged(connection, tenant_id, limit=limit)

    async def purge(self) -> None:
        """Forgets what is older than its tenant wishes, and of who wishes none any more."""
        async with self._database.read() as connection:
            tenant_ids = await queries.tenants_with_log(connection)
        for tenant_id in tenant_ids:
            await self._purge(tenant_id)

    async def _purge(self, tenant_id: TenantId) -> None:
        async def forget(connection: Connection) -> int:
            days = (await queries.settings_of(connection, tenant_id)).get(QUERY_LOG_DAYS, 0)
            before = await self._database.now(connection) - timedelta(days=days)
            return await queries.forget_logged(connection, tenant_id, before=before, keep=_KEPT_MAX if days else 0)

        if count := await self._database.transact(forget):
            log.info("search.queries_purged", tenant_id=tenant_id, count=count)


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
