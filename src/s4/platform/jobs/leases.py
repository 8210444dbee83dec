"""Named leases: one owner at a time, by the database's clock.

A lease does not fence what happens outside the database. So whoever publishes under a lease calls `verify` in the
publishing transaction: a holder that overslept finds its token outgrown and loses.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa
import structlog

from s4.platform.database import Connection, Database, upsert
from s4.platform.jobs.held import Held
from s4.platform.jobs.models import jobs, leases, schedule

log = structlog.get_logger()

_AHEAD_MAX = 3  # durations: processes may differ in that setting while it is changed


class LeaseLost(Exception):
    """The lease expired and somebody else may hold it: drop the work, the successor does it."""


@dataclass(frozen=True, slots=True)
class Lease:
    """Proof of having held `name` at the time of acquisition."""

    name: str
    owner: str
    token: int


class Leases:
    """Acquire, verify and release leases for one owner (one process)."""

    def __init__(self, database: Database, *, owner: str, duration: timedelta, held: Held | None = None) -> None:
        """`held`: what the owner's heartbeat keeps; None where it has none."""
        self._database = database
        self.owner = owner
        self.duration = duration
        self._held = held or Held()

    async def acquire(self, name: str) -> Lease | None:
        """The lease, renewed if this owner holds it already; None while another's has not expired."""

        async def take(connection: Connection) -> Lease | None:
            now = await self._database.now(connection)
            until = now + self.duration
            await connection.execute(
                upsert(
                    connection,
                    leases,
                    {"name": name, "owner": "", "token": 0, "until": now - timedelta(days=1)},
                    conflict=["name"],
                )
            )
            row = (await connection.execute(sa.select(leases).where(leases.c.name == name).with_for_update())).one()
            if row.until > now + _AHEAD_MAX * self.duration:
                await self._clock_was_set_back(connection, now)
            if row.until > now and row.owner not in ("", self.owner):  # what was released by a clock ahead is nobody's
                return None
            token: int = row.token if row.owner == self.owner and row.until > now else row.token + 1
            await connection.execute(
                sa.update(leases).where(leases.c.name == name).values(owner=self.owner, token=token, until=until)
            )
            return Lease(name, self.owner, token)

        lease = await self._database.transact(take)
        if lease is not None:
            self._held.take_lease(name)
        else:
            self._held.leave_lease(name)
        return lease

    async def _clock_was_set_back(self, connection: Connection, now: datetime) -> None:
        """Nobody takes a lease for so long: it was taken by a clock that was ahead. Whatever was to come at a time of
        that one would come too late, and who died would be waited for. So waiting ends now, and who lives has the
        length of a lease to say so."""
        log.warning("clock.set_back", now=now.isoformat())
        latest = now + self.duration
        for statement in (
            sa.update(leases).where(leases.c.until > latest).values(until=latest),
            sa.update(jobs).where(jobs.c.state == "running", jobs.c.lease_until > latest).values(lease_until=latest),
            sa.update(jobs).where(jobs.c.state == "ready", jobs.c.run_at > now).values(run_at=now),
            sa.update(schedule).where(schedule.c.next_at > now).values(next_at=now),
        ):
            await connection.execute(statement)

    async def verify(self, connection: Connection, lease: Lease) -> None:
        """Raises `LeaseLost` unless `lease` is still the current one; locks it for this transaction."""
        now = await self._database.now(connection)
        row = (
            await connection.execute(sa.select(leases).where(leases.c.name == lease.name).with_for_update())
        ).one_or_none()
        if row is None or row.owner != lease.owner or row.token != lease.token or row.until <= now:
            raise LeaseLost(lease.name)

    async def release(self, lease: Lease) -> None:
        """Lets the next one in at once. Releasing a lost lease does nothing."""
        self._held.leave_lease(lease.name)  # first: what cannot be released now has to run out
        await self._drop(leases.c.name == lease.name, leases.c.owner == lease.owner, leases.c.token == lease.token)

    async def release_all(self) -> None:
        """Whatever this owner still holds: the last act of a process that stops, when nothing of it acquires more."""
        self._held.leave_leases()
        await self._drop(leases.c.owner == self.owner)

    async def _drop(self, *which: sa.ColumnElement[bool]) -> None:
        async def drop(connection: Connection) -> None:
            now = await self._database.now(connection)
            # Nobody's, not only over: a heartbeat that read the clock before would make it last again, unheld.
            await connection.execute(sa.update(leases).where(*which).values(owner="", until=now))

        await self._database.transact(drop)


async def any_held(connection: Connection, prefix: str, now: datetime) -> bool:
    """Whether anybody holds a lease whose name begins so; part of the caller's transaction."""
    held = sa.exists().where(
        leases.c.name.startswith(prefix, autoescape=True), leases.c.owner != "", leases.c.until > now
    )
    return bool((await connection.execute(sa.select(held))).scalar_one())
