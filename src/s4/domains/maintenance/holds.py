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
from s4.platform.jobs import Lease, LeaseLost, Leases, any_held

log = structlog.get_logger()

_PREFIX = "keep/"
_LEASE = timedelta(minutes=2)  # of who died: nothing is removed for so long, which costs next to nothing
_RENEW_SECONDS = 20.0
_ALL = timedelta(days=36_500)  # longer than any version is old


class Hold:
    """A hold that stands."""

    def __init__(self, leases: Leases, lease: Lease) -> None:
        self._leases = leases
        self._lease = lease

    async def verify(self, connection: Connection) -> None:
        """Raises `Unavailable` if it has run out meanwhile: what was read may be gone in part."""
        try:
            await self._leases.verify(connection, self._lease)
        except LeaseLost as error:
            raise Unavailable(
                "This took a pause that was too long, and others went on meanwhile; try again."
            ) from error


class Holds:
    """`placed` for who reads; `any_stands` for who removes."""

    def __init__(self, database: Database, random: RandomBytes) -> None:
        self._database = database
        self._random = random

    @contextlib.asynccontextmanager
    async def placed(self, name: str) -> AsyncIterator[Hold]:
        """From here to the end of the block. Raises `Unavailable` while another hold of that name stands:
        also that of who died, until it has run out."""
        leases = Leases(self._database, owner=base32(self._random(16)), duration=_LEASE)
        lease = await leases.acquire(_PREFIX + name)
        if lease is None:
            raise Unavailable(
                f"Another {name} is running; wait for its end, or two minutes if it was killed.", retry_after=_LEASE
            )
        try:
            async with in_background(_renewed(leases, lease)):
                yield Hold(leases, lease)
        finally:
            with contextlib.suppress(Unavailable):  # then it runs out
                await leases.release(lease)


async def any_stands(database: Database, connection: Connection) -> bool:
    """Part of the transaction that decides what is removed."""
    return await any_held(connection, _PREFIX, await database.now(connection))


async def grace_of_versions(database: Database, connection: Connection, usual: timedelta) -> timedelta:
    """How long superseded versions of an index table stay, for whoever is about to compact it under its lease. A hold
    that is placed later reads the version that is in the catalog now, which stays, or a later one."""
    return _ALL if await any_stands(database, connection) else usual


async def _renewed(leases: Leases, lease: Lease) -> None:
    while True:
        await asyncio.sleep(_RENEW_SECONDS)
        try:
            await leases.acquire(lease.name)
        except Unavailable as error:
            log.warning("hold.renewal_deferred", name=lease.name, error=error.message)
