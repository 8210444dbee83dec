"""Removing backups whose time is over, and what belongs to none.

Data objects are counted over the manifests of all backups that stay: what one of them names, stays. A backup that
is damaged keeps everything, for nobody knows what it needs; one whose key is not configured keeps all data, and goes
itself when its time is over, for its manifest is in plain. A manifest goes first and its data last, so that
whoever is cut off leaves leftovers and never a backup that lacks something. It excludes `Creator` by the same hold, and
whoever goes back to a backup by that of a restore, or by its note beside the backups (`readers`): as long as one
stands, all backups stay. Before each request that deletes, both are looked at: who overslept deletes nothing more. What
another deployment writes into the same place is safe by its age.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import structlog

from s4.domains.backup.model import Manifest, Retention, backup_id
from s4.domains.backup.place import Place
from s4.domains.backup.readers import COUNTS_FOR, readers
from s4.domains.maintenance.holds import Held, Hold, Holds
from s4.kernel import keys
from s4.kernel.clock import Clock
from s4.kernel.errors import DataCorrupt, NotFound
from s4.kernel.keys import ObjectKey
from s4.platform.faults import failpoint

log = structlog.get_logger()

_LEFTOVER_AGE = timedelta(days=1)  # longer than any run writes between two of its lists
_DELETED_TOGETHER = 1000  # keys: one request of S3's, whose deadline is shorter than a hold


@dataclass(slots=True)
class Pruned:
    """What went, or would."""

    backups: list[str] = field(default_factory=list)
    unfinished: list[str] = field(default_factory=list)
    data_objects: int = 0
    data_bytes: int = 0
    kept: int = 0
    unopened: list[str] = field(default_factory=list)
    """Encrypted under a key that is not configured: as long as there is one, no data goes."""


class Pruner:
    """Needs the permission to delete in the place; nothing else of S4's does."""

    def __init__(self, place: Place, holds: Holds, clock: Clock) -> None:
        self._place = place
        self._holds = holds
        self._clock = clock

    async def prune(self, retention: Retention, *, dry_run: bool = False) -> Pruned:
        """Raises `DataCorrupt` when any backup is damaged, `Held` while another is made or removed, or somebody goes
        back to one, `Unavailable` after a pause that was too long: then nothing goes, or nothing more."""
        async with self._holds.placed("backup") as hold:
            now = self._clock.now()
            pruned = Pruned()
            whole, unfinished = await self._look()
            expired = set(retention.expired([manifest.point for manifest in whole], now))
            staying = [manifest for manifest in whole if manifest.point not in expired]
            pruned.kept = len(staying)
            pruned.unopened = [manifest.backup_id for manifest in whole if not self._place.opens(manifest)]
            pruned.backups = [manifest.backup_id for manifest in whole if manifest.point in expired]
            pruned.unfinished = [each for each in unfinished if each < backup_id(now - _LEFTOVER_AGE)]
            doomed: list[ObjectKey] = []
            if pruned.unopened:
                log.warning("backup.data_kept", unopened=pruned.unopened)
            else:
                needed = await self._needed(staying, [each for each in unfinished if each not in pruned.unfinished])
                doomed = await self._unneeded(needed, now, pruned)
            if not dry_run and (pruned.backups or pruned.unfinished or doomed):
                async with self._holds.placed("restore", against="A restore") as no_restore:
                    await self._remove([*pruned.backups, *pruned.unfinished], doomed, (hold, no_restore))
            return pruned

    async def _look(self) -> tuple[list[Manifest], list[str]]:
        whole, unfinished = [], []
        for identifier in await self._place.ids():
            try:
                manifest = await self._place.manifest(identifier)
            except NotFound:
                unfinished.append(identifier)
            except DataCorrupt as error:
                raise DataCorrupt(
                    f"Backup {identifier} cannot be read, so nobody knows what it needs: nothing is removed. Look at "
                    f"`s4 backup verify {identifier}`."
                ) from error
            else:
                whole.append(manifest)
        return whole, unfinished

    async def _needed(self, staying: Iterable[Manifest], unfinished: Iterable[str]) -> set[str]:
        """Names of data objects."""
        needed: set[str] = set()
        for manifest in staying:
            needed |= {entry.data async for entry in self._place.entries(manifest)}
        for identifier in unfinished:
            needed |= {entry.data async for entry in self._place.unfinished_entries(identifier)}
        return needed

    async def _unneeded(self, needed: set[str], now: datetime, pruned: Pruned) -> list[ObjectKey]:
        doomed = []
        async for info in self._place.store.list(keys.BACKUP_DATA):
            name = info.key.rsplit("/", 1)[-1]
            if name not in needed and now - info.last_modified.astimezone(UTC) > _LEFTOVER_AGE:
                doomed.append(info.key)
                pruned.data_bytes += info.size
        pruned.data_objects = len(doomed)
        return doomed

    async def _remove(self, backups: Sequence[str], data: Sequence[ObjectKey], holds: Sequence[Hold]) -> None:
        for identifier in backups:
            await self._delete([keys.backup_manifest(identifier)], holds)
            failpoint("backup.prune_begun")
            await self._delete([info.key async for info in self._place.store.list(keys.backup(identifier))], holds)
            log.info("backup.removed", backup_id=identifier)
        dead = [key for key, is_alive in (await readers(self._place, self._clock.now())).items() if not is_alive]
        await self._delete([*data, *dead], holds)
        failpoint("backup.pruned")

    async def _delete(self, doomed: Sequence[ObjectKey], holds: Sequence[Hold]) -> None:
        for start in range(0, len(doomed), _DELETED_TOGETHER):
            for hold in holds:
                await hold.verify()
            if any((await readers(self._place, self._clock.now())).values()):
                raise Held(
                    "Another deployment is being restored from these backups; wait for its end, or an hour if it was "
                    "killed.",
                    retry_after=COUNTS_FOR,
                )
            await self._place.store.delete(doomed[start : start + _DELETED_TOGETHER])
