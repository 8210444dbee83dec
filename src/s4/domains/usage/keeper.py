"""What keeps the ledger: an hourly sample of what everybody stores, and an end for hours that are old."""

from datetime import timedelta

import structlog

from s4.domains.usage.ledger import Grain
from s4.domains.usage.queries import writing
from s4.platform.database import Connection, Database
from s4.platform.jobs import RegularJob

log = structlog.get_logger()

SAMPLE = "usage.sample"
_EVERY = timedelta(minutes=5)  # so that each hour is sampled near its beginning; the first look of the hour does it
_FORGOTTEN_MAX = 20_000  # rows of a table in one transaction: a second on SQLite, and twelve such in an hour
_METERS_KEPT = timedelta(days=2)  # a batch that waited so long waits for a catalog that is not this one


class LedgerKeeper:
    """Runs in workers."""

    def __init__(self, database: Database, *, hours_kept: timedelta) -> None:
        self._database = database
        self._hours_kept = hours_kept

    def regular_jobs(self) -> list[RegularJob]:
        return [RegularJob(SAMPLE, _EVERY, self._run)]

    async def sample(self) -> bool:
        """Notes what is stored in this hour, once. An hour in which no worker ran is not charged."""

        async def write(connection: Connection) -> bool:
            now = await self._database.now(connection)
            return await writing.sample_balances(connection, Grain.HOUR.floor(now))

        return await self._database.transact(write)

    async def forget(self) -> int:
        """Removes a part of what is older than it is kept; what is left has its turn the next time."""

        async def remove(connection: Connection) -> int:
            now = await self._database.now(connection)
            return await writing.forget(
                connection,
                hours_before=now - self._hours_kept,
                meters_before=now - _METERS_KEPT,
                limit=_FORGOTTEN_MAX,
            )

        return await self._database.transact(remove)

    async def _run(self) -> None:
        sampled, forgotten = await self.sample(), await self.forget()
        if sampled or forgotten:
            log.info("usage.sampled", sampled=sampled, forgotten=forgotten)
