"""Whoever restores into an empty deployment has no catalog in which a pruner would see its hold. So it leaves a note
beside the backups for as long as it reads them, in `backups/readers/`.

The note is made anew all the time; one that has grown old is that of a dead restore. Its age is by the clock of the
store, and by that of the pruner's machine: an hour is more than they are apart.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

from s4.domains.backup.place import Place
from s4.kernel import keys
from s4.kernel.errors import Unavailable
from s4.kernel.ids import RandomBytes, base32
from s4.kernel.keys import ObjectKey
from s4.platform.background import in_background
from s4.platform.objects import StoreUnavailable

COUNTS_FOR = timedelta(hours=1)
_RENEWED_EVERY_SECONDS = 600.0
_NOTE = b"A restore reads these backups. Nothing is removed from here before this note is gone, or an hour old.\n"


@contextlib.asynccontextmanager
async def reading(place: Place, random: RandomBytes) -> AsyncIterator[bool]:
    """From here to the end of the block no pruner removes anything from the place; what is looked up before may go.
    False where nothing can be written: then none knows."""
    key = keys.backup_reader(base32(random(16)))
    try:
        await place.store.put(key, _NOTE)
    except StoreUnavailable as error:
        if not error.refused:
            raise
        yield False
        return
    try:
        async with in_background(_renewed(place, key)):
            yield True
    finally:
        with contextlib.suppress(Unavailable):  # also where nothing may be deleted: then it grows old
            await place.store.delete([key])


async def readers(place: Place, now: datetime) -> dict[ObjectKey, bool]:
    """By their notes; False for those that are old."""
    return {
        info.key: now - info.last_modified.astimezone(UTC) < COUNTS_FOR
        async for info in place.store.list(keys.BACKUP_READERS)
    }


async def _renewed(place: Place, key: ObjectKey) -> None:
    while True:
        await asyncio.sleep(_RENEWED_EVERY_SECONDS)
        with contextlib.suppress(Unavailable):  # as long as that lasts, nobody can remove anything either
            await place.store.put(key, _NOTE)
