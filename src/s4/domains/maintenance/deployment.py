"""Bucket and catalog belong together: both bear the epoch that was drawn when the bucket was first used.

`system/deployment.json` is created once. A new catalog that meets it takes its epoch and begins to rebuild; a catalog
with another epoch is the wrong one, and the process refuses to start instead of collecting "garbage" that is
somebody's data.
"""

import json
from dataclasses import dataclass

from s4.domains.maintenance import queries
from s4.kernel import keys
from s4.kernel.clock import Clock, rfc3339
from s4.kernel.errors import Conflict, DataCorrupt
from s4.kernel.ids import RandomBytes, base32
from s4.platform.database import Connection, Database
from s4.platform.faults import failpoint
from s4.platform.objects import ObjectMissing, ObjectStore

FORMAT = 1
REBUILDING = "rebuilding"
SERVING = "serving"


@dataclass(frozen=True, slots=True)
class Deployment:
    """`state` is `rebuilding` until the catalog has adopted what is in the bucket."""

    epoch: str
    state: str


async def open_deployment(database: Database, store: ObjectStore, *, clock: Clock, random: RandomBytes) -> Deployment:
    """Makes or finds the pair. Raises `Conflict` when catalog and bucket are strangers."""
    async with database.read() as connection:
        known = await queries.read_deployment(connection)
    in_bucket = await _epoch_in_bucket(store)
    fresh_bucket = in_bucket is None
    if in_bucket is None:
        if known is not None:
            raise Conflict(
                "The catalog belongs to another bucket: this one has no system/deployment.json. Check the store's "
                "URL, or start with an empty database."
            )
        in_bucket = await _draw_epoch(store, clock, random)
    if known is not None:
        if known[0] != in_bucket:
            raise Conflict(
                "The catalog belongs to another bucket: their epochs differ. Check the store's and the database's "
                "URLs, or start with an empty database to rebuild it from this bucket."
            )
        return Deployment(*known)
    failpoint("deployment.drawn")
    state = SERVING if fresh_bucket else REBUILDING
    epoch = in_bucket

    async def write(connection: Connection) -> None:
        now = await database.now(connection)
        await queries.write_deployment(connection, epoch=epoch, state=state, now=now)

    await database.transact(write)
    failpoint("deployment.written")
    return Deployment(epoch, state)


async def current_state(database: Database) -> str:
    """`rebuilding` or `serving`, as the catalog has it now."""
    async with database.read() as connection:
        return await _state(connection)


async def is_serving(connection: Connection) -> bool:
    """The same question, as part of a transaction."""
    return await _state(connection) == SERVING


async def _state(connection: Connection) -> str:
    known = await queries.read_deployment(connection)
    return known[1] if known is not None else REBUILDING


async def _epoch_in_bucket(store: ObjectStore) -> str | None:
    try:
        document = json.loads(await store.get(keys.DEPLOYMENT))
    except ObjectMissing:
        return None
    except ValueError as error:
        raise DataCorrupt("system/deployment.json cannot be read.") from error
    if document.get("format") != FORMAT:
        raise Conflict(
            f"The bucket has format {document.get('format')}; this release of S4 reads {FORMAT}. Use a newer one."
        )
    return str(document["epoch"])


async def _draw_epoch(store: ObjectStore, clock: Clock, random: RandomBytes) -> str:
    epoch = base32(random(16))
    document = {"format": FORMAT, "epoch": epoch, "created_at": rfc3339(clock.now())}
    await store.create(keys.DEPLOYMENT, json.dumps(document).encode(), commit_id=epoch)
    drawn = await _epoch_in_bucket(store)  # another process may have been first
    assert drawn is not None, "it was created above"
    return drawn
