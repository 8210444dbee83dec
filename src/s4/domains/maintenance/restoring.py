"""A bucket that is being filled from a backup is nobody's to serve until it is known to be sound.

`system/restoring.json` says so. It is created before anything else and removed last, so that a restore which was broken
off leaves a bucket on which no process starts, and which the same restore goes on with.
"""

import json
from typing import Any

from s4.domains.maintenance.deployment import FORMAT, is_unused
from s4.kernel import keys
from s4.kernel.clock import Clock, rfc3339
from s4.kernel.errors import Conflict, DataCorrupt
from s4.kernel.ids import RandomBytes, base32
from s4.platform.objects import CreateOutcome, ObjectMissing, ObjectStore


async def begin_restore(store: ObjectStore, backup_id: str, *, clock: Clock, random: RandomBytes) -> str:
    """Marks an empty bucket, and gives it an epoch of its own, so that whoever served what was backed up does not go on
    here. Answers with it; the same for a restore that was broken off. Raises `Conflict` when there is something in the
    bucket already."""
    mark = await _mark_for(store, backup_id)
    if mark is None:
        epoch = base32(random(16))
        said = {"format": FORMAT, "epoch": epoch, "backup_id": backup_id, "begun_at": rfc3339(clock.now())}
        if await store.create(keys.RESTORING, json.dumps(said).encode(), commit_id=epoch) is CreateOutcome.TAKEN:
            raise Conflict("Another restore into this bucket has just begun.")
        mark = said
    epoch = str(mark["epoch"])
    deployment = {"format": FORMAT, "epoch": epoch, "created_at": mark["begun_at"]}
    await store.create(keys.DEPLOYMENT, json.dumps(deployment).encode(), commit_id=epoch)
    return epoch


async def begun_restore(store: ObjectStore, backup_id: str) -> str | None:
    """The epoch of such a restore that was broken off; None where none has begun. Changes nothing. Raises `Conflict` as
    `begin_restore` would."""
    mark = await _mark_for(store, backup_id)
    return str(mark["epoch"]) if mark is not None else None


async def _mark_for(store: ObjectStore, backup_id: str) -> dict[str, Any] | None:
    mark = await _mark(store)
    if mark is None:
        if not await is_unused(store):
            raise Conflict("The bucket belongs to a deployment: restore into an empty one, or in place.")
    elif mark["backup_id"] != backup_id:
        raise Conflict(
            f"The bucket is being restored to {mark['backup_id']}: repeat that restore, or empty the bucket."
        )
    return mark


async def end_restore(store: ObjectStore) -> None:
    """From here on the bucket is a deployment like any other."""
    await store.delete([keys.RESTORING])


async def refuse_while_restoring(store: ObjectStore) -> None:
    """Raises `Conflict` when the bucket is being restored."""
    mark = await _mark(store)
    if mark is not None:
        raise Conflict(
            f"The bucket is being restored to {mark['backup_id']}: repeat that `s4 restore`, which goes on where it "
            "was, or empty the bucket."
        )


async def _mark(store: ObjectStore) -> dict[str, Any] | None:
    try:
        mark: dict[str, Any] = json.loads(await store.get(keys.RESTORING))
        if mark["format"] != FORMAT or not mark["backup_id"] or not mark["epoch"]:
            raise DataCorrupt("system/restoring.json cannot be read by this release.")
    except ObjectMissing:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise DataCorrupt("system/restoring.json cannot be read.") from error
    return mark
