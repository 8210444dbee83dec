"""A recovery that nobody needs, so that the one that is needed is known to work, and how long it takes.

The latest backup is restored into scratch and verified as in earnest: every byte of it is read and compared, the
catalog is rebuilt, tenants and documents are counted, searches are asked. RTO is the time from nothing to that; RPO is
the age of the backup when it began. A backup that is damaged anywhere, one that cannot be found, one whose successor is
gone, one that is dated into the future, and a target that was missed all make the drill fail.
"""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import structlog

from s4.domains.backup.creator import Progress, silent
from s4.domains.backup.model import LATEST, Erased, Manifest, superseded
from s4.domains.backup.place import Place
from s4.domains.backup.restorer import OpenRestored, Restored, Restorer
from s4.kernel import keys
from s4.kernel.clock import Clock
from s4.kernel.errors import S4Error
from s4.kernel.ids import RandomBytes
from s4.platform.objects import ObjectStore

log = structlog.get_logger()

_CLOCKS_APART_MAX = timedelta(minutes=5)  # the database's, which dates backups, and this machine's

OpenScratch = Callable[[], AbstractAsyncContextManager[tuple[ObjectStore, OpenRestored]]]
"""An empty store, and what opens a deployment on it; gone at the end of the block."""


@dataclass(frozen=True, slots=True)
class Targets:
    """None: no target."""

    rpo: timedelta | None = None
    rto: timedelta | None = None


@dataclass(slots=True)
class Drilled:
    """`problems` are sentences; a drill with any of them has failed."""

    backup_id: str = ""
    rpo_seconds: float | None = None
    rto_seconds: float | None = None
    restored: Restored | None = None
    problems: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return not self.problems


class Drill:
    """Writes nothing but scratch."""

    def __init__(
        self, place: Place, open_scratch: OpenScratch, clock: Clock, random: RandomBytes, targets: Targets
    ) -> None:
        self._place = place
        self._open_scratch = open_scratch
        self._clock = clock
        self._random = random
        self._targets = targets

    async def run(self, progress: Progress = silent, *, newest_made: str | None) -> Drilled:
        """`newest_made`: which backup is the latest by the catalog. Raises nothing that a damaged backup, a store that
        is away or a disk that is full could cause: it is told."""
        drilled = Drilled()
        started = self._clock.now()
        try:
            manifest = await self._place.find(LATEST)
            drilled.backup_id = manifest.backup_id
            drilled.rpo_seconds = round((started - manifest.point).total_seconds(), 3)
            drilled.problems += [said] if (said := superseded(manifest, newest_made)) else []
            drilled.problems += _from_the_future(manifest, started)
            async with self._open_scratch() as (target, open_restored):
                restorer = Restorer(self._place, target, self._clock, self._random)
                # Whoever was erased since is restored into scratch, where nobody serves it, and goes with it: left out,
                # the drill would not read every byte.
                drilled.restored = await restorer.restore(manifest, Erased(), open_restored, progress)
                drilled.rto_seconds = round((self._clock.now() - started).total_seconds(), 3)
            drilled.problems += drilled.restored.problems + drilled.restored.damaged
        except (S4Error, OSError) as error:
            drilled.problems.append(sentence_of(error))
        drilled.problems += self._missed(drilled)
        if not drilled.ok:
            log.error("backup.drill_failed", backup_id=drilled.backup_id, problems=drilled.problems)
        return drilled

    def _missed(self, drilled: Drilled) -> list[str]:
        missed = []
        for what, target, seconds in (
            ("RPO", self._targets.rpo, drilled.rpo_seconds),
            ("RTO", self._targets.rto, drilled.rto_seconds),
        ):
            if target is not None and seconds is not None and seconds > target.total_seconds():
                missed.append(f"{what} was {seconds:.1f} s; the target is {target.total_seconds():.0f} s.")
        return missed


def sentence_of(error: Exception) -> str:
    """For whoever reads what became of a run. Of a defect its name alone: what it says may be anybody's."""
    if isinstance(error, S4Error):
        return error.message
    if isinstance(error, OSError):
        return f"This machine could not do it: {error.strerror or type(error).__name__}."
    return f"This is a defect of S4: {type(error).__name__}. Report it, with the log."


def _from_the_future(manifest: Manifest, now: datetime) -> list[str]:
    """A backup with such a date is the latest, and none is made anew in its place, until that time has come."""
    if manifest.point <= now + _CLOCKS_APART_MAX:
        return []
    return [
        f"Backup {manifest.backup_id} is of a time that is still to come: a clock was wrong when it was made, and what "
        f"was written since is not in it. Move {keys.backup(manifest.backup_id)} away, so that another is the latest."
    ]
