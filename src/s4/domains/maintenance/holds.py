"""While somebody reads what nobody may need any more (a backup, a restore), nothing is removed from the bucket.

A hold is a lease in the catalog. Whoever removes looks for holds in the transaction that decides what is dead. What it
found dead before a hold was placed, it may still remove: it was dead before whatever the holder reads from then on, and
what is dead stays so. A holder that dies lets go by itself, when its lease runs out.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import timedelta

import structlog

from s4.kernel.errors import Unavailable
from s4.kernel.ids import RandomBytes, base32
from s4.platform.background import in_background
from s4.platform.database import Connection, Database
from s4.platform.jobs import Lease, Leases, any_held

log = structlog.get_logger()

_PREFIX = "keep/"
_LEASE = timedelta(minutes=2)  # of who died: nothing is removed for so long, which costs next to nothing
_RENEW_SECONDS = 20.0
_ALL = timedelta(days=36_500)  # longer than any version is old


class Held(Unavailable):
    """Another holds it."""


class Hold:
    """A hold that stands."""

    def __init__(self, leases: Leases, lease: Lease) -> None:
        self._leases = leases
        self._lease = lease

    async def verify(self) -> None:
        """From here it stands for two minutes, whatever becomes of this process. Raises `Unavailable` if it has run
        out at any time: what was read may be gone in part, and what was not to happen meanwhile may have."""
        if await self._leases.acquire(self._lease.name) != self._lease:
            raise Unavailable("This took a pause that was too long, and others went on meanwhile; try again.")


class Holds:
    """`placed` for who reads; `any_stands` for who removes."""

    def __init__(self, database: Database, random: RandomBytes) -> None:
        self._database = database
        self._random = random

    @contextlib.asynccontextmanager
    async def placed(self, name: str, *, against: str | None = None) -> AsyncIterator[Hold]:
        """From here to the end of the block. `against`: who may have placed another one of that name, if not only
        the likes of the caller. Raises `Held` while it stands: also that of who died, until it has run out.

        One that ran out in the middle is placed again as soon as that can be: whoever reads goes on, and is told of
        what is gone by the sums of what he reads. Whoever must not go on, calls `verify`."""
        leases = Leases(self._database, owner=base32(self._random(16)), duration=_LEASE)
        lease = await leases.acquire(_PREFIX + name)
        if lease is None:
            raise Held(
                f"{against or f'Another {name}'} is running; wait for its end, or two minutes if it was killed.",
                retry_after=_LEASE,
            )
        try:
            async with in_background(_renewed(leases, lease)):
                yield Hold(leases, lease)
        finally:
            with contextlib.suppress(Unavailable):  # then it runs out
                await leases.release_all()  # also what was placed again


async def any_stands(database: Database, connection: Connection) -> bool:
    """Part of the transaction that decides what is removed."""
    return await any_held(connection, _PREFIX, await database.now(connection))


async def grace_of_versions(database: Database, connection: Connection, usual: timedelta) -> timedelta:
    """How long superseded versions of an index table stay, for whoever is about to compact it under its lease. A hold
    that is placed later reads the version that is in the catalog now, which stays, or a later one."""
    return _ALL if await any_stands(database, connection) else usual


async def _renewed(leases: Leases, lease: Lease) -> None:
    held: Lease | None = lease
    while True:
        await asyncio.sleep(_RENEW_SECONDS)
        try:
            renewed = await leases.acquire(lease.name)
        except Unavailable as error:
            log.warning("hold.renewal_deferred", name=lease.name, error=error.message)
            continue
        if held is not None and renewed != held:
            log.warning("hold.ran_out", name=lease.name)
        held = renewed
