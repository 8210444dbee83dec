"""Parts of backups, each made of its settings."""

import asyncio
import contextlib
import secrets
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from urllib.parse import unquote, urlsplit

from pydantic import SecretStr

from s4.domains.backup import BackupService, Place, Retention, Rewinder
from s4.domains.backup.drill import Targets
from s4.domains.backup.model import Counts, Sample
from s4.domains.backup.queries import live_counts, newest_made
from s4.domains.backup.restorer import OpenRestored
from s4.domains.backup.service import BackupLimits, Means
from s4.domains.maintenance.holds import Holds
from s4.domains.maintenance.queries import read_deployment
from s4.domains.search.model import Query
from s4.engine.ranking import Mode
from s4.entrypoints.bootstrap.core import Core, migrate_database, open_core
from s4.entrypoints.bootstrap.parts import RANDOM, backup_place_name, backups_beside, database_url
from s4.entrypoints.bootstrap.worker import WorkerParts, open_worker
from s4.kernel.clock import SystemClock
from s4.kernel.errors import Conflict, NotFound, S4Error, Unavailable
from s4.kernel.settings import Settings
from s4.platform.database import is_there, migrate, open_database
from s4.platform.objects import ObjectStore, open_store
from s4.platform.security import sealing
from s4.platform.security.vault import Vault

_REBUILD_ATTEMPTS_MAX = 5
_REBUILD_PAUSE_SECONDS = 2.0
_INDEXED_WITHIN = timedelta(minutes=5)  # the next document, once it has a turn; then nobody is at work


def place_settings(settings: Settings) -> Settings:
    """The settings of the store that backups go to: the deployment's own, but for what is said of backups."""
    if settings.backup_url is None:
        return settings
    changes: dict[str, object] = {"store_url": settings.backup_url}
    if settings.backup_endpoint is not None:
        changes["store_endpoint"] = settings.backup_endpoint
    if settings.backup_region is not None:
        changes["store_region"] = settings.backup_region
    if settings.backup_access_key_id is not None:
        changes["store_access_key_id"] = settings.backup_access_key_id
        changes["store_secret_access_key"] = settings.backup_secret_access_key
    is_google = urlsplit(settings.backup_url).scheme == "gs"
    if is_google != (urlsplit(settings.store_url or "").scheme == "gs"):
        changes["store_endpoint"] = settings.backup_endpoint  # the other kind's address means nothing here
    return settings.model_copy(update=changes)


@contextlib.asynccontextmanager
async def open_place(settings: Settings) -> AsyncIterator[Place]:
    """Where backups lie. Writes nothing there yet."""
    store = open_store(place_settings(settings))
    key = settings.backup_encryption_key
    vault = Vault(key.get_secret_value(), RANDOM) if key is not None else None
    try:
        yield Place(store, vault, is_shared=backups_beside(settings), name=backup_place_name(settings))
    finally:
        await store.aclose()


async def newest_backup_made(settings: Settings) -> str | None:
    """Which is the latest of this place by the catalog. None where there is none to ask, or it does not answer: backups
    are looked at without one, too."""
    url = database_url(settings)
    if not await asyncio.to_thread(is_there, url):
        return None
    database = open_database(url, pool_size=1, timeout_seconds=settings.database_timeout_seconds)
    try:
        if await asyncio.to_thread(migrate.pending, url):
            return None
        async with database.read() as connection:
            return await newest_made(connection, backup_place_name(settings), now=await database.now(connection))
    except S4Error:
        return None
    finally:
        await database.aclose()


@contextlib.asynccontextmanager
async def open_own_store(settings: Settings) -> AsyncIterator[ObjectStore]:
    """The deployment's store once more, so that what is read for a backup is metered as nobody's use."""
    store = open_store(settings)
    try:
        yield store
    finally:
        await store.aclose()


@dataclass(frozen=True, slots=True)
class _Opened:
    """An `Opened` of the backup domain."""

    core: Core
    parts: WorkerParts

    async def rebuild(self) -> list[str]:
        problems: list[str] = []
        for attempt in range(1, _REBUILD_ATTEMPTS_MAX + 1):
            try:
                problems = (await self.parts.maintenance.rebuild()).problems
                break
            except Unavailable:  # a catalog that is busy; it goes on where it was
                if attempt == _REBUILD_ATTEMPTS_MAX:
                    raise
            await asyncio.sleep(_REBUILD_PAUSE_SECONDS)
        await self.parts.worker.run_until_idle()
        return problems

    async def counts(self) -> Counts:
        async with self.core.database.read() as connection:
            return await live_counts(connection)

    async def finds(self, sample: Sample) -> bool:
        return await _finds(self.core, sample)


async def _finds(core: Core, sample: Sample) -> bool:
    try:
        context = await core.access.for_job(sample.tenant_id)
    except NotFound:
        return False
    query = Query(sample.text, mode=Mode.KEYWORD, limit=1, document_ids=[sample.document_id])
    return bool((await core.search.search(context, query)).results)


@contextlib.asynccontextmanager
async def open_restored(settings: Settings) -> AsyncIterator[_Opened]:
    """A deployment that is being restored, on the catalog of `settings`, which is made if it is not there."""
    await asyncio.to_thread(migrate_database, settings)
    async with open_core(settings, restoring=True) as core, open_worker(core) as parts:
        yield _Opened(core, parts)


async def require_catalog(settings: Settings, epoch: str | None) -> None:
    """Before a restore begins: raises `Conflict` unless the catalog of `settings` is empty, or that of the restore with
    this epoch."""
    url = database_url(settings)
    if not await asyncio.to_thread(is_there, url):
        return
    if len(await asyncio.to_thread(migrate.missing, url)) == len(migrate.steps()):
        return
    database = open_database(url, pool_size=1, timeout_seconds=settings.database_timeout_seconds)
    try:
        async with database.read() as connection:
            known = await read_deployment(connection)
    finally:
        await database.aclose()
    if known is not None and known.epoch != epoch:
        raise Conflict("The catalog belongs to another bucket: restore with an empty database.")


def looked_at(settings: Settings) -> Settings:
    """For who only looks: a directory that is not there is an empty store, and is not made."""
    changes = {
        name: "memory://"
        for name, url in (("store_url", settings.store_url), ("backup_url", settings.backup_url))
        if url is not None and (parts := urlsplit(url)).scheme == "file" and not Path(unquote(parts.path)).exists()
    }
    return settings.model_copy(update=changes)


@contextlib.asynccontextmanager
async def open_scratch(settings: Settings) -> AsyncIterator[tuple[ObjectStore, OpenRestored]]:
    """An empty directory with a catalog of its own, removed at the end; what a drill that was killed left, too."""
    drills = settings.data_dir / "drill"
    folder = drills / secrets.token_hex(8)
    await asyncio.to_thread(_emptied, drills, folder)
    scratch = settings.model_copy(
        update={
            "data_dir": folder,
            "store_url": (folder / "objects").absolute().as_uri(),
            "database_url": SecretStr(f"sqlite:///{(folder / 'catalog.sqlite').absolute()}"),
            "redis_url": None,
            "smtp_url": None,
        }
    )
    store = open_store(scratch)
    try:
        yield store, partial(open_restored, scratch)
    finally:
        await store.aclose()
        await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)


def _emptied(drills: Path, folder: Path) -> None:
    """Drills of one directory take turns by their hold, so what is there is nobody's."""
    shutil.rmtree(drills, ignore_errors=True)
    folder.mkdir(parents=True)


def make_backups(core: Core) -> BackupService:
    """Backups of this deployment."""
    settings = core.settings

    def hours(value: float) -> timedelta | None:
        return timedelta(hours=value) if value > 0 else None

    def seconds(value: float) -> timedelta | None:
        return timedelta(seconds=value) if value > 0 else None

    return BackupService(
        core.database,
        core.queue,
        Holds(core.database, RANDOM),
        Means(
            partial(open_place, settings),
            partial(open_own_store, settings),
            partial(open_scratch, settings),
            lambda: (core.deployment.epoch, secret_key_id(settings)),
            partial(_finds, core),
        ),
        SystemClock(),
        RANDOM,
        BackupLimits(
            every=hours(settings.backup_every_hours),
            verify_every=hours(settings.backup_verify_hours),
            drill_every=hours(settings.backup_drill_hours),
            verify_bytes=settings.backup_verify_bytes,
            retention=Retention(timedelta(days=settings.backup_keep_days), settings.backup_keep_count),
            prunes=settings.backup_prune,
            targets=Targets(seconds(settings.rpo_target_seconds), seconds(settings.rto_target_seconds)),
        ),
    )


def make_rewinder(core: Core, *, patience: timedelta = _INDEXED_WITHIN) -> Rewinder:
    return Rewinder(
        core.database,
        core.store,
        core.chains,
        core.tenants,
        Holds(core.database, RANDOM),
        RANDOM,
        partial(_finds, core),
        patience,
    )


def secret_key_id(settings: Settings) -> str:
    """Which `S4_SECRET_KEY` this is."""
    assert settings.secret_key is not None, "load_settings fills it in or refuses"
    return sealing.key_id(settings.secret_key.get_secret_value())
