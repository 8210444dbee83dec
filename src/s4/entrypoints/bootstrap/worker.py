"""What only workers need."""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta

from s4.domains.announcements import Teller
from s4.domains.backup import BackupService
from s4.domains.indexing import Dispatch, Generation, IndexingService, Model, Publisher
from s4.domains.indexing.service import IndexingLimits
from s4.domains.leaving import Kept, OwnData
from s4.domains.maintenance import (
    Departures,
    MaintenanceLimits,
    MaintenanceService,
    Releases,
    Repairs,
    Tidying,
    Trimming,
)
from s4.domains.usage import LedgerKeeper
from s4.domains.webhooks import DeliveryPump
from s4.engine.extraction import ExtractionPool
from s4.entrypoints.bootstrap.core import Core
from s4.entrypoints.bootstrap.parts import (
    RANDOM,
    make_extraction,
    make_outbound,
    make_pump_limits,
    make_verifier,
)
from s4.entrypoints.bootstrap.rebuilding import make_publisher, make_rebuild, make_rollups, make_sealer
from s4.entrypoints.bootstrap.region import make_replicator
from s4.entrypoints.configuration import SCRATCH_DIR
from s4.kernel.errors import Unavailable
from s4.kernel.ids import base32
from s4.kernel.keys import Collection
from s4.kernel.settings import Settings
from s4.platform.jobs import Held, JobHandler, Leases, Scheduler, Worker, WorkerLimits, regular_handlers, regular_tasks
from s4.platform.jobs.heartbeat import Heartbeat


@dataclass(frozen=True, slots=True)
class WorkerParts:
    """What runs jobs."""

    worker: Worker
    scheduler: Scheduler
    heartbeat: Heartbeat
    extraction: ExtractionPool
    indexing: IndexingService
    pump: DeliveryPump
    maintenance: MaintenanceService


@contextlib.asynccontextmanager
async def open_worker(core: Core, *, backups: BackupService | None = None) -> AsyncIterator[WorkerParts]:
    """Everything that runs jobs, on top of `core`; backups too, unless it is itself a restored one that is being
    verified. Raises `Unavailable` until its generation is known."""
    settings = core.settings
    generation = core.generation
    owner = base32(RANDOM(16))
    lease = timedelta(seconds=settings.job_lease_seconds)
    scratch_dir = settings.data_dir / SCRATCH_DIR
    scratch_dir.mkdir(parents=True, exist_ok=True)
    extraction = make_extraction(settings)
    held = Held()
    leases = Leases(core.database, owner=owner, duration=lease, held=held)
    publisher = make_publisher(core, leases)
    others = {model.generation.id: model for model in core.models.others()}
    publishers = {each: make_publisher(core, leases, model.generation) for each, model in others.items()}

    def make_indexing(model: Model, publisher: Publisher) -> IndexingService:
        return IndexingService(
            core.database,
            core.store,
            extraction,
            model.embedder,
            publisher,
            core.events,
            model.generation,
            IndexingLimits(model.chunk_tokens_max, model.chunk_overlap_tokens, settings.chunks_max),
            core.generations.build,
            scratch_dir=scratch_dir,
        )

    def make_repairs(generation: Generation, publisher: Publisher) -> Repairs:
        return Repairs(core.database, core.store, core.vectors, core.queue, publisher, generation, RANDOM)

    def make_tidying(generation: Generation, publisher: Publisher, repairs: Repairs) -> Tidying:
        return Tidying(
            core.database,
            core.store,
            core.vectors,
            core.queue,
            publisher,
            repairs,
            generation,
            index_grace=timedelta(seconds=settings.index_grace_seconds),
        )

    indexing = make_indexing(core.models.own, publisher)
    dispatch = Dispatch(
        core.database, indexing, {each: make_indexing(model, publishers[each]) for each, model in others.items()}
    )
    rollups = make_rollups(core)
    sealer = make_sealer(core)
    rebuild = make_rebuild(core, publisher)
    own_repairs = make_repairs(generation, publisher)
    maintenance = MaintenanceService(
        core.database,
        core.store,
        core.queue,
        core.chains,
        core.tenants,
        Departures(core.lifecycle, core.erasures),
        core.documents,
        make_tidying(generation, publisher, own_repairs),
        own_repairs,
        Releases(core.database, core.store, core.vectors, core.queue, publisher),
        Trimming(core.database, core.store, core.queue, kept_for=timedelta(days=settings.embedding_cache_days)),
        core.generations,
        core.accounts,
        rebuild,
        core.calls,
        MaintenanceLimits(
            upload_duration_max=timedelta(seconds=settings.upload_seconds_max),
            garbage_grace=timedelta(seconds=settings.garbage_grace_seconds),
            index_grace=timedelta(seconds=settings.index_grace_seconds),
            idempotency=timedelta(hours=settings.idempotency_hours),
            sweep_every=timedelta(seconds=settings.sweep_seconds),
            commit_lease=timedelta(seconds=settings.commit_lease_seconds),
        ),
    )
    keeper = LedgerKeeper(core.database, hours_kept=timedelta(days=settings.usage_hours_days))
    verifier = make_verifier(settings, core.database, core.store)
    teller = Teller(core.database, core.records[Collection.NOTICES], core.events, core.mailbox)
    own_data = OwnData(
        core.database,
        Kept(
            failed_jobs=timedelta(days=settings.jobs_failed_days),
            mails=timedelta(days=settings.mails_days),
            audit=timedelta(days=settings.audit_days),
        ),
    )
    comes_round = (
        make_replicator(core),
        core.generations,
        keeper,
        rollups,
        core.webhooks,
        core.service_levels,
        sealer,
        verifier,
        teller,
        own_data,
        core.retention,
        core.query_log,
    )
    regular = [job for part in comes_round for job in part.regular_jobs()]
    handlers: dict[str, JobHandler] = (
        dispatch.handlers()
        | maintenance.handlers()
        | core.mailbox.handlers()
        | core.archive.handlers()
        | core.erasures.handlers()
        | regular_handlers(core.database, regular)
        | (backups.handlers() if backups is not None else {})
    )
    for each, model in others.items():
        repairs = make_repairs(model.generation, publishers[each])
        handlers |= maintenance.handlers_beside(make_tidying(model.generation, publishers[each], repairs), repairs)
    worker = Worker(core.database, core.queue, handlers, owner=owner, limits=_worker_limits(settings), held=held)
    heartbeat = Heartbeat(core.database.url, owner=owner, lease=lease, held=held)
    tasks = [*maintenance.regular_tasks(), *regular_tasks(regular)]
    tasks += backups.regular_tasks() if backups is not None else []
    scheduler = Scheduler(core.database, core.queue, leases, tasks)
    outbound = make_outbound(settings)
    pump = DeliveryPump(core.database, core.webhooks, outbound, RANDOM, make_pump_limits(settings))
    try:
        async with core.generations.in_use(works=True):
            yield WorkerParts(worker, scheduler, heartbeat, extraction, indexing, pump, maintenance)
    finally:
        for each_publisher in (publisher, *publishers.values()):
            await each_publisher.aclose()
        with contextlib.suppress(Unavailable):  # then they expire
            await leases.release_all()
        await outbound.aclose()
        await extraction.aclose()


def _worker_limits(settings: Settings) -> WorkerLimits:
    return WorkerLimits(
        concurrency=settings.worker_concurrency,
        reserved=min(settings.worker_reserved_slots, settings.worker_concurrency // 2),
        lease=timedelta(seconds=settings.job_lease_seconds),
        poll=timedelta(seconds=settings.job_poll_seconds),
        attempts_max=settings.job_attempts_max,
        backoff=timedelta(seconds=settings.job_backoff_seconds),
        backoff_max=timedelta(seconds=settings.job_backoff_max_seconds),
        patience=timedelta(hours=settings.job_patience_hours),
    )
