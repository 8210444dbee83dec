"""Backups as they are made day by day: by workers when it is time, or at once by an operator; each run remembered."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any

import structlog

from s4.domains import audit
from s4.domains.backup import queries
from s4.domains.backup.creator import Creator, Progress, silent
from s4.domains.backup.drill import Drill, Drilled, OpenScratch, Targets, sentence_of
from s4.domains.backup.model import LATEST, Manifest, Retention
from s4.domains.backup.place import Place
from s4.domains.backup.pruner import Pruned, Pruner
from s4.domains.backup.samples import Finds
from s4.domains.backup.snapshot import require_whole
from s4.domains.backup.verifier import Verification, Verifier
from s4.domains.maintenance.holds import Held, Holds
from s4.kernel.clock import Clock
from s4.kernel.context import SYSTEM_ACTOR, Actor
from s4.kernel.errors import DataCorrupt, NotFound
from s4.kernel.ids import RandomBytes, base32
from s4.platform.database import Connection, Database
from s4.platform.jobs import SYSTEM, JobHandler, JobRequest, Queue, RegularTask, regular_handler
from s4.platform.objects import ObjectStore, StoreFault, StoreUnavailable
from s4.platform.telemetry import metrics

log = structlog.get_logger()

CREATE = "backup.create"
VERIFY = "backup.verify"
DRILL = "backup.drill"

_RUNS_KEPT = timedelta(days=400)  # more than a year of drills, for whoever is asked to show them


@dataclass(frozen=True, slots=True)
class BackupLimits:
    """What is to be done without being asked. None: never."""

    every: timedelta | None
    verify_every: timedelta | None
    drill_every: timedelta | None
    verify_bytes: int
    retention: Retention
    prunes: bool
    targets: Targets = field(default_factory=Targets)


@dataclass(frozen=True, slots=True)
class Means:
    """How to come by what a run needs: stores are opened for it and closed at its end. `source` is the deployment's
    own store."""

    place: Callable[[], AbstractAsyncContextManager[Place]]
    source: Callable[[], AbstractAsyncContextManager[ObjectStore]]
    scratch: OpenScratch
    identity: Callable[[], tuple[str, str]]
    """The deployment's epoch, and which secret key it has."""
    finds: Finds
    """By the search of the deployment itself."""


@dataclass(frozen=True, slots=True)
class Listed:
    """A backup in a list. `problem`: why it cannot be used; its manifest is None then."""

    backup_id: str
    manifest: Manifest | None
    problem: str | None = None


class BackupService:
    """One per process; every run opens the stores anew, so that a place that is away harms nobody else."""

    def __init__(
        self,
        database: Database,
        queue: Queue,
        holds: Holds,
        means: Means,
        clock: Clock,
        random: RandomBytes,
        limits: BackupLimits,
    ) -> None:
        self._database = database
        self._queue = queue
        self._holds = holds
        self._means = means
        self._clock = clock
        self._random = random
        self._limits = limits

    # -- what workers do

    def handlers(self) -> dict[str, JobHandler]:
        work: dict[str, Callable[[], Awaitable[None]]] = {
            CREATE: self._create_and_prune,
            VERIFY: self._verify_a_part,
            DRILL: self._drill,
        }
        return {kind: regular_handler(self._database, kind, run) for kind, run in work.items()}

    def regular_tasks(self) -> list[RegularTask]:
        due = {CREATE: self._limits.every, VERIFY: self._limits.verify_every, DRILL: self._limits.drill_every}
        return [RegularTask(kind, every) for kind, every in due.items() if every is not None]

    async def request(self, actor: Actor) -> None:
        """Has a worker make a backup as soon as one is free."""

        async def enqueue(connection: Connection) -> None:
            await self._queue.enqueue(connection, JobRequest(CREATE, SYSTEM, CREATE, {}))
            await audit.record(connection, actor, "backup.request", "backups")

        await self._database.transact(enqueue)

    async def _create_and_prune(self) -> None:
        async with self._database.read() as connection:
            await require_whole(connection)  # before anything is noted as a run: it is put off, and nothing has failed
        await self.create()
        if not self._limits.prunes:
            return
        try:
            pruned = await self.prune()
        except Held as error:  # the next backup's turn: made again, this one would be one too many
            log.info("backup.prune_deferred", error=error.message)
        except StoreUnavailable as error:
            if error.fault is not StoreFault.DENIED:
                raise
            log.warning("backup.prune_denied", error=error.message)
        else:
            log.info("backup.pruned", backups=len(pruned.backups), data_bytes=pruned.data_bytes)

    async def _verify_a_part(self) -> None:
        found = await self.verify(LATEST, bytes_max=self._limits.verify_bytes)
        if not found.ok:
            raise DataCorrupt(f"Backup {found.backup_id} is damaged: {found.problems[0]}")

    async def _drill(self) -> None:
        drilled = await self.drill()
        if not drilled.ok:
            raise DataCorrupt(f"The drill failed: {drilled.problems[0]}")

    # -- the acts

    async def create(self, progress: Progress = silent, *, anew: bool = False, actor: Actor = SYSTEM_ACTOR) -> Manifest:
        """As `Creator.create`."""
        async with self._run("backup", actor) as run, self._means.place() as place, self._means.source() as source:
            epoch, secret_key_id = self._means.identity()
            creator = Creator(
                self._database,
                source,
                place,
                self._holds,
                self._clock,
                self._means.finds,
                epoch=epoch,
                secret_key_id=secret_key_id,
            )
            manifest = await creator.create(progress, anew=anew)
            run.backup_id, run.point = manifest.backup_id, manifest.point
            run.said = asdict(manifest.work) | asdict(manifest.counts) | {"lacking": len(manifest.lacking)}
            run.said["place"] = place.name
            run.ok = True
            return manifest

    async def all(self) -> list[Listed]:
        """As `all_in`."""
        async with self._means.place() as place:
            return await all_in(place)

    async def verify(
        self,
        wanted: str,
        *,
        bytes_max: int | None = None,
        progress: Progress = silent,
        actor: Actor = SYSTEM_ACTOR,
    ) -> Verification:
        """As `Verifier.verify`."""
        async with self._run("verify", actor) as run, self._means.place() as place:
            newest = await self._newest_made(place)
            _, found = await Verifier(place).verify(wanted, newest_made=newest, bytes_max=bytes_max, progress=progress)
            run.backup_id = found.backup_id
            run.said, run.ok = asdict(found), found.ok
            return found

    async def prune(self, *, dry_run: bool = False) -> Pruned:
        """As `Pruner.prune`."""
        async with self._means.place() as place:
            return await Pruner(place, self._holds, self._clock).prune(self._limits.retention, dry_run=dry_run)

    async def drill(self, progress: Progress = silent, *, actor: Actor = SYSTEM_ACTOR) -> Drilled:
        """As `Drill.run`; the outcome is in the audit trail and the metrics."""
        async with self._run("drill", actor) as run, self._means.place() as place:
            drill = Drill(place, self._means.scratch, self._clock, self._random, self._limits.targets)
            async with self._holds.placed("drill"):
                drilled = await drill.run(progress, newest_made=await self._newest_made(place))
            run.backup_id, run.ok = drilled.backup_id, drilled.ok
            run.said = {
                "rpo_seconds": drilled.rpo_seconds,
                "rto_seconds": drilled.rto_seconds,
                "problems": drilled.problems,
                "bytes": drilled.restored.bytes_written if drilled.restored is not None else 0,
                "requests": drilled.restored.requests if drilled.restored is not None else 0,
                "searches": drilled.restored.samples if drilled.restored is not None else None,
            }
            return drilled

    # -- inside

    async def _newest_made(self, place: Place) -> str | None:
        async with self._database.read() as connection:
            now = await self._database.now(connection)
            return await queries.newest_made(connection, place.name, now=now)

    @asynccontextmanager
    async def _run(self, kind: str, actor: Actor) -> AsyncIterator["_Run"]:
        """Remembers how the block ended: as a run, in the audit trail, in the metrics."""
        run = _Run(kind, await self._now())
        try:
            yield run
        except Exception as error:  # whatever it was: the run before must not pass for the last one
            run.ok, run.said = False, {"error": sentence_of(error)}
            log.error(
                "backup.failed" if kind == "backup"
                else "backup.drill_failed" if kind == "drill" else "backup.verify_failed",
                error=run.said["error"],
            )  # fmt: skip
            raise
        finally:
            if run.ok is not None:
                await self._note(run, actor)

    async def _note(self, run: "_Run", actor: Actor) -> None:
        outcome = "ok" if run.ok else "failed"
        metrics.BACKUP_RUNS.labels(run.kind, outcome).inc()

        async def note(connection: Connection) -> None:
            now = await self._database.now(connection)
            await queries.note_run(
                connection,
                {
                    "run_id": "run_" + base32(self._random(16)),
                    "kind": run.kind,
                    "backup_id": run.backup_id,
                    "outcome": outcome,
                    "started_at": run.started_at,
                    "ended_at": now,
                    "point": run.point,
                    "said": run.said,
                },
            )
            await queries.forget_runs(connection, before=now - _RUNS_KEPT)
            told = {"outcome": outcome, **run.said}
            subject = f"backup/{run.backup_id or '-'}"
            await audit.record(connection, actor, f"backup.{_ACTS[run.kind]}", subject, after=told)

        await self._database.transact(note)

    async def _now(self) -> datetime:
        async with self._database.read() as connection:
            return await self._database.now(connection)


_ACTS = {"backup": "create", "verify": "verify", "drill": "drill"}


@dataclass(slots=True)
class _Run:
    """`ok` is None for a run that was cancelled: nothing is known of it, and it is repeated."""

    kind: str
    started_at: datetime
    backup_id: str = ""
    point: datetime | None = None
    said: dict[str, Any] = field(default_factory=dict)
    ok: bool | None = None


_MEASURED = (
    (metrics.DRILL_RTO, "rto_seconds"),
    (metrics.DRILL_RPO, "rpo_seconds"),
    (metrics.DRILL_SEARCHES, "searches"),
)


async def refresh_gauges(connection: Connection, now: datetime, *, made_at: datetime, age_max: timedelta) -> None:
    """What the metrics say of backups, as the catalog remembers it. `made_at`: of the deployment. `age_max`: how old
    the last good one may be; 0: as old as it likes."""
    point = made_at
    for good in await queries.last_runs(connection, "backup", outcome="ok", limit=1):
        point = good.point
        metrics.BACKUP_LAST_POINT.set(good.point.timestamp())
        metrics.BACKUP_SECONDS.set(good.said.get("seconds", 0))
        metrics.BACKUP_BYTES.set(good.said.get("bytes_copied", 0))
        metrics.BACKUP_LACKING.set(good.said.get("lacking", 0))
    overdue = now - point - age_max if age_max else timedelta()
    metrics.BACKUP_OVERDUE.set(max(0.0, overdue.total_seconds()))
    drills = await queries.last_runs(connection, "drill", limit=1)
    metrics.DRILL_FAILED.set(any(drill.outcome != "ok" for drill in drills))
    for drill in drills:
        metrics.DRILL_LAST.set(drill.ended_at.timestamp())
        for gauge, what in _MEASURED:
            if drill.said.get(what) is not None:  # else it was not measured: one that was stays
                gauge.set(drill.said[what])


async def all_in(place: Place) -> list[Listed]:
    """Oldest first; those that were never finished are not among them, those that are damaged are."""
    found = []
    for identifier in await place.ids():
        try:
            found.append(Listed(identifier, await place.manifest(identifier)))
        except NotFound:
            continue
        except DataCorrupt as error:
            found.append(Listed(identifier, None, error.message))
    return found
