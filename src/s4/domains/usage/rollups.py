"""What was used, in the bucket: months and days of each tenant, in `tenants/{tenant}/usage/{month}.json`.

The ledger is the catalog's. Who asked for something in the meantime is rolled up every hour, everybody once a day, and
a month that is over once more. What a lost catalog takes with it is the use of the time since, the hours, and the
figures by endpoint. Everybody's sums are rolled up beside, since tenants that left are in them.

An object is written over: it says more than the one before, and whoever reads an older one errs to the tenant's good.
"""

import json
from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

import structlog

from s4.domains.usage.ledger import EVERYBODY, Grain
from s4.domains.usage.queries import rollups as queries
from s4.kernel import keys
from s4.kernel.clock import parse_moment, parse_rfc3339, rfc3339
from s4.kernel.errors import DataCorrupt
from s4.kernel.ids import TenantId
from s4.kernel.keys import ObjectKey, ObjectPrefix
from s4.platform.database import Connection, Database
from s4.platform.faults import failpoint
from s4.platform.jobs import RegularJob
from s4.platform.objects import ObjectStore

log = structlog.get_logger()

ROLL_UP = "usage.rollup"
FORMAT = 1
_AT_ONCE = 500  # tenants of one look
_LOOKS_MAX = 1000  # of one run: half a million tenants


class RollUps:
    """`run` in workers, `restore` in a rebuild."""

    def __init__(
        self,
        database: Database,
        store: ObjectStore,
        *,
        every: timedelta,
        is_gone: Callable[[TenantId], Awaitable[bool]],
    ) -> None:
        """`is_gone`: of a tenant that was deleted, nothing is written any more: nothing of it may stay."""
        self._database = database
        self._store = store
        self._every = every
        self._is_gone = is_gone

    def regular_jobs(self) -> list[RegularJob]:
        return [RegularJob(ROLL_UP, self._every, self._run)]

    async def _run(self) -> None:
        if count := await self.run():
            log.info("usage.rolled_up", months=count)

    async def run(self) -> int:
        """Writes what is behind. Answers with the number of objects."""
        count = 0
        months: set[datetime] = set()
        for _ in range(_LOOKS_MAX):
            async with self._database.read() as connection:
                due = await queries.due(connection, await self._database.now(connection), limit=_AT_ONCE)
            for owner, month in due:
                await self._write(owner, month)
            months |= {month for _, month in due}
            count += len(due)
            if len(due) < _AT_ONCE:
                break
        for month in sorted(months):
            await self._write(EVERYBODY, month)
        return count + len(months)

    async def _write(self, owner: str, month: datetime) -> None:
        async with self._database.read() as connection:
            # Before the rows are read: what is added meanwhile is rolled up the next time.
            now = await self._database.now(connection)
            rows = await queries.rows_of(connection, owner, month)
            mark = await queries.mark_of(connection, owner)
            sampled = await queries.last_sample(connection)
        said = {
            "format": FORMAT,
            "owner": owner,
            "month": _named(month),
            "as_of": rfc3339(now),
            "rows": [_plain(row) for row in rows],
            "mark": _plain(mark) if mark is not None else None,
            "sampled": rfc3339(sampled) if sampled is not None and owner == EVERYBODY else None,
        }
        if owner == EVERYBODY or not await self._is_gone(TenantId(owner)):
            await self._store.put(rollup_key(owner, month), json.dumps(said, separators=(",", ":")).encode())
        failpoint("rollup.written")
        await self._database.transact(lambda c: queries.note(c, owner, month, rolled_at=now))

    # -- bringing back

    async def restore(self, tenant_ids: Iterable[TenantId]) -> int:
        """Brings back what the bucket has and this catalog has not, or may have in part: this month and the last are
        read each time. Answers with the number of objects."""
        async with self._database.read() as connection:
            now = await self._database.now(connection)
            known = await queries.noted(connection)
        month = Grain.MONTH.floor(now)
        recent = {month, Grain.MONTH.floor(month - timedelta(days=1))}
        count = 0
        for owner, prefix in [
            *((each, keys.usage_rollups(each)) for each in tenant_ids),
            (EVERYBODY, keys.SYSTEM_USAGE),
        ]:
            for found in await self._months(prefix):
                if (owner, found) in known and found not in recent:
                    continue
                await self._restore(owner, found)
                count += 1
        return count

    async def _months(self, prefix: ObjectPrefix) -> list[datetime]:
        names = [info.key.removeprefix(prefix).removesuffix(".json") async for info in self._store.list(prefix)]
        return [parse_rfc3339(f"{name}-01T00:00:00Z") for name in names]

    async def _restore(self, owner: str, month: datetime) -> None:
        key = rollup_key(owner, month)
        try:
            said = json.loads(await self._store.get(key))
            if said["format"] != FORMAT or said["owner"] != owner:
                raise DataCorrupt(f"{key} has format {said['format']}; this release reads {FORMAT}.")
            rows = [_timed(row, "start") for row in said["rows"]]
            mark = _timed(said["mark"], "month", "last_activity_at") if said["mark"] is not None else None
            as_of, sampled = parse_rfc3339(said["as_of"]), parse_moment(said["sampled"])
        except (ValueError, KeyError, TypeError, DataCorrupt) as error:
            log.error("usage.rollup_unreadable", object_key=key, error=str(error))
            return

        async def bring_back(connection: Connection) -> None:
            await queries.restore(connection, rows)
            if mark is not None:
                await queries.restore_mark(connection, mark)
            if sampled is not None:
                await queries.restore_sample(connection, sampled)
            await queries.note(connection, owner, month, rolled_at=as_of)

        await self._database.transact(bring_back)


def rollup_key(owner: str, month: datetime) -> ObjectKey:
    """Where a month of a tenant lies, or of everybody."""
    name = _named(month)
    return keys.system_usage_rollup(name) if owner == EVERYBODY else keys.usage_rollup(TenantId(owner), name)


def _named(month: datetime) -> str:
    return f"{month:%Y-%m}"


def _plain(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: rfc3339(value) if isinstance(value, datetime) else value for name, value in row.items()}


def _timed(row: Mapping[str, Any], *moments: str) -> dict[str, Any]:
    return {**row, **{name: parse_moment(row.get(name)) for name in moments}}
