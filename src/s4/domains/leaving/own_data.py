"""S4's own data ends, too: each kind has a time after which it goes, and a metric that says how much there is.

jobs that were given up                 S4_JOBS_FAILED_DAYS          here
mails, notes of who was told what       S4_MAILS_DAYS                here
entries of the audit trail              S4_AUDIT_DAYS                here: the rows; sealed batches stay in the bucket
events and deliveries                   S4_WEBHOOKS_RETENTION_DAYS   domains/webhooks
hours and endpoints of the ledger       S4_USAGE_HOURS_DAYS          domains/usage
idempotency keys                        S4_IDEMPOTENCY_HOURS         domains/maintenance
queries that a tenant lets be kept      its own query_log_days       domains/search
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

import structlog

from s4.domains.leaving.queries import own_data as queries
from s4.platform.database import Connection, Database
from s4.platform.jobs import RegularJob
from s4.platform.telemetry import metrics

log = structlog.get_logger()

PURGE = "leaving.purge"
_EVERY = timedelta(hours=1)
_ROWS = 1000  # of one transaction and table
_STEPS_MAX = 1000  # of one run and kind: a million rows, or half a million entries; the next run goes on


@dataclass(frozen=True, slots=True)
class Kept:
    """How long each is."""

    failed_jobs: timedelta
    mails: timedelta
    audit: timedelta


class OwnData:
    """Runs in workers."""

    def __init__(self, database: Database, kept: Kept) -> None:
        self._database = database
        self._kept = kept

    def regular_jobs(self) -> list[RegularJob]:
        return [RegularJob(PURGE, _EVERY, self.run)]

    async def run(self) -> None:
        """Forgets what is old, then counts what is left."""
        now = await self._now()
        kept = self._kept
        forgotten = {
            "jobs": await self._all(partial(queries.forget_failed_jobs, before=now - kept.failed_jobs, limit=_ROWS)),
            "mails": await self._all(partial(queries.forget_mails, before=now - kept.mails, limit=_ROWS)),
            "audit": await self._all(partial(queries.prune_audit, before=now - kept.audit, now=now)),
        }
        if any(forgotten.values()):
            log.info("retention.purged", counts={name: count for name, count in forgotten.items() if count})
        async with self._database.read() as connection:
            counts = await queries.row_counts(connection)
        for name, count in counts.items():
            metrics.OWN_ROWS.labels(name).set(count)

    async def _all(self, forget: Callable[[Connection], Awaitable[int]]) -> int:
        total = 0
        for _ in range(_STEPS_MAX):
            count = await self._database.transact(forget)
            if count == 0:
                break
            total += count
        return total

    async def _now(self) -> datetime:
        async with self._database.read() as connection:
            return await self._database.now(connection)
