"""One process's blocks."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import structlog

from s4.domains.calls import queries
from s4.domains.calls.model import Month, MonthlyCalls
from s4.kernel.clock import Clock, rfc3339
from s4.kernel.context import TenantContext
from s4.kernel.errors import LimitReached, Unavailable
from s4.platform.background import in_background
from s4.platform.database import Connection, Database

log = structlog.get_logger()

BLOCK_CALLS_MAX = 100  # a write per hundred calls; what a killed process loses at most
_SHARE = 20  # a block is at most a twentieth of what is left: the last twenty calls go one by one
IDLE = timedelta(seconds=5)  # a block that nobody draws on is another replica's room: it goes back
_SWEEP_SECONDS = 1.0  # between looks at what lies idle
HELD_MAX = timedelta(seconds=60)  # so does the rest of one that is drawn on slowly
WRITTEN_OFF_AFTER = 10 * HELD_MAX  # no living process keeps a block so long, a frozen one apart


@dataclass(slots=True)
class _Block:
    """`left` calls of `month`, under the `limit` that was in force when it was taken."""

    month: Month
    limit: int
    left: int
    taken_at: datetime
    drawn_at: datetime


@dataclass(slots=True)
class _Tenant:
    block: _Block | None = None
    taking: asyncio.Lock = field(default_factory=asyncio.Lock)


class CallBudget:
    """Belongs to one event loop. `running` gives back what lies idle."""

    def __init__(self, database: Database, clock: Clock, *, owner: str) -> None:
        self._database = database
        self._clock = clock
        self._owner = owner
        self._tenants: dict[str, _Tenant] = {}

    async def admit(self, context: TenantContext, calls: int = 1) -> None:
        """Debits so many calls, or none. Raises `LimitReached` (403 `quota_exceeded`) when the month has not so many
        left."""
        limit = context.plan.calls_per_month_max
        if limit is None:
            return
        tenant = self._tenants.setdefault(context.tenant_id, _Tenant())
        if self._draw(tenant, limit, calls):
            return
        async with tenant.taking:
            if self._draw(tenant, limit, calls):  # while this one waited, another took a block
                return
            await self._take(context.tenant_id, tenant, limit, calls)
            if not self._draw(tenant, limit, calls):
                raise _exhausted(limit, Month.of(self._clock.now()), calls)

    def take_back(self, context: TenantContext, calls: int = 1) -> None:
        """The calls that were admitted do not count after all."""
        tenant = self._tenants.get(context.tenant_id)
        if tenant is not None and tenant.block is not None:
            tenant.block.left += calls

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Sweeps from here to the end of the block."""
        async with in_background(self._keep_sweeping()):
            yield

    async def _keep_sweeping(self) -> None:
        while True:
            await asyncio.sleep(_SWEEP_SECONDS)
            try:
                await self.sweep()
            except Unavailable as error:
                log.warning("calls.sweep_deferred", error=error.message)

    async def sweep(self) -> None:
        """Gives back blocks that lie idle, are old, or of a month that has ended."""
        now = self._clock.now()
        for tenant_id, tenant in list(self._tenants.items()):
            block = tenant.block
            if block is None:
                if not tenant.taking.locked():
                    del self._tenants[tenant_id]
            elif now - block.drawn_at > IDLE or now - block.taken_at > HELD_MAX:
                async with tenant.taking:
                    await self._return(tenant_id, tenant)

    async def aclose(self) -> None:
        """Gives everything back. What cannot be is written off later."""
        for tenant_id, tenant in list(self._tenants.items()):
            try:
                async with tenant.taking:
                    await self._return(tenant_id, tenant)
            except Unavailable as error:
                log.warning("calls.block_not_returned", error=error.message, tenant_id=tenant_id)

    async def write_off(self) -> int:
        """The reconciler: blocks of processes that were killed. Answers with the number of calls that may be lost."""

        async def write_off(connection: Connection) -> int:
            now = await self._database.now(connection)
            return await queries.write_off(connection, before=now - WRITTEN_OFF_AFTER)

        return await self._database.transact(write_off)

    async def restore(self, made: Mapping[str, int], month: Month) -> None:
        """Calls that tenants made in a month before this catalog was made anew: their plans do not begin anew."""

        async def restore(connection: Connection) -> None:
            for tenant_id in sorted(made):
                await queries.at_least(connection, tenant_id, month, made[tenant_id])

        await self._database.transact(restore)

    async def state(self, tenant_id: str) -> MonthlyCalls:
        """What was handed out this month."""
        async with self._database.read() as connection:
            month = Month.of(await self._database.now(connection))
            return await queries.state(connection, tenant_id, month)

    def _draw(self, tenant: _Tenant, limit: int, calls: int) -> bool:
        block = tenant.block
        now = self._clock.now()
        # A plan that was lowered, or a month that has ended, makes the block worthless at once.
        if block is None or block.left < calls or block.limit != limit or block.month != Month.of(now):
            return False
        block.left -= calls
        block.drawn_at = now
        return True

    async def _take(self, tenant_id: str, tenant: _Tenant, limit: int, calls: int) -> None:
        # From here on nobody draws on the old block: what is given back must not be spent meanwhile.
        old, tenant.block = tenant.block, None
        # Who is refused so many has been let in as one, which is taken back into what is left, be it nothing.
        is_more = calls > 1

        async def take(connection: Connection) -> tuple[Month, int]:
            if old is not None:
                await queries.give_back(connection, self._owner, tenant_id, old.month, old.left)
            now = await self._database.now(connection)
            month = Month.of(now)

            async def debit(block_min: int) -> int:
                return await queries.debit(
                    connection,
                    tenant_id,
                    month,
                    limit=limit,
                    block_min=block_min,
                    block_max=BLOCK_CALLS_MAX,
                    share=_SHARE,
                )

            size = await debit(calls)
            if not size and is_more:
                size = await debit(1)
            if size or is_more:
                await queries.note_block(connection, self._owner, tenant_id, month, size, now)
            return month, size

        month, size = await self._database.transact(take)
        now = self._clock.now()
        tenant.block = _Block(month, limit, size, now, now) if size or is_more else None

    async def _return(self, tenant_id: str, tenant: _Tenant) -> None:
        block, tenant.block = tenant.block, None
        if block is not None:
            await self._database.transact(
                lambda c: queries.give_back(c, self._owner, tenant_id, block.month, block.left)
            )


def _exhausted(limit: int, month: Month, calls: int) -> LimitReached:
    details = {"api_calls_limit": limit, "resets_at": rfc3339(month.ends)}
    if calls > 1:
        return LimitReached(
            f"The plan's {limit} calls of this month have fewer than {calls} left: ask for less at a time, or move to "
            "a larger plan.",
            code="quota_exceeded",
            status=403,
            details=details,
        )
    return LimitReached(
        f"The plan's {limit} calls of this month are used up: wait for the next month or move to a larger plan.",
        code="quota_exceeded",
        status=403,
        details=details,
    )
