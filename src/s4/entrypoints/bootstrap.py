"""The only wiring: settings in, running parts out.

`Core` is what every process needs; `WorkerParts` is what only workers need. Both are async context managers that
close what they opened, in reverse order.
"""

import contextlib
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

import structlog

from s4 import __version__
from s4.domains.access import AccessService, AdministratorService, KeyService
from s4.domains.analytics import AnalyticsService
from s4.domains.announcements import Board, Contacts, Mailbox, NoticeService, Teller
from s4.domains.announcements.smtp import MailServer
from s4.domains.audit import AuditService, CallRecorder, Sealer, Verifier
from s4.domains.calls import CallBudget
from s4.domains.documents import Accounts, DocumentChain, DocumentService, Uploads
from s4.domains.documents.metadata import MetadataLimits
from s4.domains.documents.uploads import UploadLimits
from s4.domains.events import EventKind, Events
from s4.domains.indexing import Generation, IndexingService, Publisher
from s4.domains.indexing.model_memory import BucketModelMemory
from s4.domains.indexing.service import IndexingLimits
from s4.domains.maintenance import Departures, Deployment, MaintenanceLimits, MaintenanceService
from s4.domains.maintenance.deployment import is_serving, open_deployment
from s4.domains.plans import PlanService
from s4.domains.search import SearchLimits, SearchService
from s4.domains.service_levels import ServiceLevels
from s4.domains.tenants import CreationMemory, TenantChain, TenantLifecycle, TenantService
from s4.domains.tenants import queries as tenant_queries
from s4.domains.usage import LedgerKeeper, Meter, Prices, UsageService
from s4.domains.webhooks import DeliveryPump, PumpLimits, WebhookService
from s4.engine.embedding.base import Embedder
from s4.engine.embedding.known import ModelMemory
from s4.engine.extraction import ArchiveLimits, ExtractionPool, Limits
from s4.engine.vectors import VectorStore
from s4.entrypoints.admissions import Buckets
from s4.entrypoints.configuration import SCRATCH_DIR
from s4.kernel.clock import SystemClock
from s4.kernel.errors import Conflict, Unavailable
from s4.kernel.ids import RandomBytes, base32
from s4.kernel.keys import Collection
from s4.kernel.settings import EmbeddingProvider, Environment, Settings
from s4.platform import faults
from s4.platform.chains import Chains, ChainTimings, RecordChain, Records
from s4.platform.database import Connection, Database, migrate, open_database
from s4.platform.jobs import JobHandler, Leases, Queue, Scheduler, Worker, WorkerLimits, regular_handlers, regular_tasks
from s4.platform.jobs.heartbeat import Heartbeat
from s4.platform.objects import ObjectStore, open_store
from s4.platform.outbound import Allowance, Outbound, OutboundTimings
from s4.platform.outbound.addresses import parse_networks
from s4.platform.rates import LocalBuckets, open_shared
from s4.platform.security import sealing
from s4.platform.telemetry import logs, metrics

log = structlog.get_logger()

RANDOM: RandomBytes = secrets.token_bytes
_EMBEDDER_FIRST = timedelta(seconds=0.5)  # the embedder's own limit comes before the search's: it counts what hangs


@dataclass(frozen=True, slots=True)
class Core:
    """What API and workers share."""

    settings: Settings
    database: Database
    store: ObjectStore
    queue: Queue
    chains: Chains
    embedder: Embedder
    vectors: VectorStore
    deployment: Deployment
    buckets: Buckets
    calls: CallBudget
    records: dict[Collection, Records]
    events: Events
    plans: PlanService
    meter: Meter
    usage: UsageService
    analytics: AnalyticsService
    service_levels: ServiceLevels
    webhooks: WebhookService
    tenants: TenantService
    lifecycle: TenantLifecycle
    administrators: AdministratorService
    keys: KeyService
    access: AccessService
    documents: DocumentService
    uploads: Uploads
    accounts: Accounts
    search: SearchService
    admin_calls: CallRecorder
    audit: AuditService
    notices: NoticeService
    board: Board
    contacts: Contacts
    mailbox: Mailbox

    def sweeps(self) -> Sequence[Callable[[], Awaitable[None]]]:
        """What a process that answers requests has to do every few seconds."""
        return (self.calls.sweep,)

    @property
    def generation(self) -> Generation:
        """How this deployment indexes. Raises `Unavailable` until the embedder's dimension is known."""
        return _generation(self.settings, self.embedder)


@dataclass(frozen=True, slots=True)
class WorkerParts:
    """What runs jobs."""

    worker: Worker
    scheduler: Scheduler
    heartbeat: Heartbeat
    indexing: IndexingService
    pump: DeliveryPump
    maintenance: MaintenanceService


def configure_process(settings: Settings, *, service: str) -> None:
    """Logs and constant metrics of this process."""
    logs.configure(level=settings.log_level, log_format=settings.log_format, service=service)
    faults.arm(faults.parse(settings.failpoints))
    metrics.BUILD_INFO.labels(__version__).set(1)


def migrate_database(settings: Settings) -> list[str]:
    """Brings the catalog's schema up to date. Answers with the steps that were run."""
    return migrate.upgrade(_database_url(settings))


@contextlib.asynccontextmanager
async def open_core(settings: Settings) -> AsyncIterator[Core]:
    """Opens catalog, store and model. Raises `Unavailable`, `Conflict` with what an operator must mend; an embedding
    provider that is down is waited for in the background."""
    async with contextlib.AsyncExitStack() as stack:
        if migrate.pending(_database_url(settings)):
            raise Unavailable("The catalog's schema is older than this release: run `s4 migrate` first.")
        database = open_database(
            _database_url(settings),
            pool_size=settings.database_pool_size,
            timeout_seconds=settings.database_timeout_seconds,
        )
        stack.push_async_callback(database.aclose)
        store = open_store(settings)
        stack.push_async_callback(store.aclose)
        if not (await store.probe()).create_if_absent:
            raise Conflict(
                "The object store ignores If-None-Match: two writers would overwrite each other's heads. "
                "Use a store that honours it."
            )
        deployment = await open_deployment(database, store, clock=SystemClock(), random=RANDOM)
        embedder = make_embedder(settings, BucketModelMemory(store))
        stack.push_async_callback(embedder.aclose)
        try:
            await embedder.prepare()
        except Unavailable as error:
            # Uploads and keyword searches need no provider; the embedder's watch goes on asking.
            log.warning("embedding.unavailable_at_start", error=error.message)
        events = Events(database, RANDOM)
        meter = _meter(settings, database, events)
        stack.push_async_callback(meter.aclose)
        meter.start()
        store.observer = meter.stored
        vectors = _vectors(settings, store)
        stack.push_async_callback(vectors.close)
        await vectors.preload()
        core = _core(settings, database, store, deployment, embedder, vectors, events, meter)
        stack.push_async_callback(core.buckets.aclose)
        stack.push_async_callback(core.calls.aclose)
        yield core


def _core(
    settings: Settings,
    database: Database,
    store: ObjectStore,
    deployment: Deployment,
    embedder: Embedder,
    vectors: VectorStore,
    events: Events,
    meter: Meter,
) -> Core:
    queue = Queue(database, RANDOM)
    chains = Chains(
        database,
        store,
        RANDOM,
        [TenantChain(), DocumentChain(queue, events, is_serving), *map(RecordChain, Collection)],
        ChainTimings(
            lease=timedelta(seconds=settings.commit_lease_seconds),
            wait=timedelta(seconds=settings.commit_wait_seconds),
        ),
    )
    records = {collection: Records(collection, database, chains) for collection in Collection}
    plans = PlanService(database, records[Collection.PLANS], tenant_queries.count_on_plan)
    usage = UsageService(database, _prices(settings))
    administrators = AdministratorService(database, records[Collection.ADMINS], RANDOM)
    contacts = Contacts(database, records[Collection.NOTICES])
    assert settings.admin_api_key is not None, "load_settings fills it in or refuses"
    admin_key = settings.admin_api_key.get_secret_value()
    memory = CreationMemory(remembered=timedelta(hours=settings.idempotency_hours), secret=admin_key)
    tenants = TenantService(database, chains, plans, RANDOM, memory)
    return Core(
        settings=settings,
        database=database,
        store=store,
        queue=queue,
        chains=chains,
        embedder=embedder,
        vectors=vectors,
        deployment=deployment,
        buckets=_buckets(settings, deployment),
        calls=CallBudget(database, SystemClock(), owner=base32(RANDOM(16))),
        records=records,
        events=events,
        plans=plans,
        tenants=tenants,
        lifecycle=TenantLifecycle(
            database, tenants, plans, events, grace=timedelta(days=settings.tenant_delete_grace_days)
        ),
        administrators=administrators,
        keys=KeyService(database, tenants, RANDOM),
        access=AccessService(
            database,
            administrators,
            admin_api_key=admin_key,
            failures_per_minute=settings.auth_failures_per_minute,
        ),
        meter=meter,
        usage=usage,
        analytics=AnalyticsService(database, tenants, usage),
        service_levels=ServiceLevels(database, plans, events),
        webhooks=_webhooks(settings, database, records[Collection.WEBHOOKS]),
        documents=DocumentService(
            database,
            store,
            chains,
            metadata_limits(settings),
        ),
        uploads=Uploads(
            database,
            store,
            chains,
            RANDOM,
            UploadLimits(
                bytes_max=settings.upload_bytes_max,
                duration_max=timedelta(seconds=settings.upload_seconds_max),
                idempotency=timedelta(hours=settings.idempotency_hours),
            ),
        ),
        accounts=Accounts(database),
        search=SearchService(
            database,
            vectors,
            embedder,
            partial(_generation, settings, embedder),
            SearchLimits(
                candidates=settings.search_candidates,
                query_timeout=timedelta(seconds=settings.embedding_query_timeout_seconds) + _EMBEDDER_FIRST,
            ),
        ),
        admin_calls=CallRecorder(database, RANDOM),
        audit=AuditService(database, _verifier(settings, database, store)),
        notices=NoticeService(database, records[Collection.NOTICES], queue, RANDOM),
        board=Board(database, records[Collection.NOTICES]),
        contacts=contacts,
        mailbox=Mailbox(database, queue, contacts, RANDOM, _mail_server(settings)),
    )


def _meter(settings: Settings, database: Database, events: Events) -> Meter:
    async def approaching(connection: Connection, tenant_id: str, data: Mapping[str, object]) -> None:
        await events.emit(connection, tenant_id, EventKind.API_CALLS_LIMIT_APPROACHING, data)

    async def limits(connection: Connection, tenant_ids: Sequence[str]) -> Mapping[str, int]:
        return await tenant_queries.call_limits(connection, tenant_ids, await database.now(connection))

    return Meter(
        database,
        SystemClock(),
        RANDOM,
        limits=limits,
        approaching=approaching,
        every=timedelta(seconds=settings.usage_flush_seconds),
    )


def _prices(settings: Settings) -> Prices:
    return Prices(
        currency=settings.price_currency,
        stored_gib_month=settings.price_stored_gib_month,
        store_writes_thousand=settings.price_store_writes_thousand,
        store_reads_thousand=settings.price_store_reads_thousand,
        embedding_million_tokens=settings.price_embedding_million_tokens,
        out_gib=settings.price_out_gib,
    )


def _mail_server(settings: Settings) -> MailServer | None:
    if settings.smtp_url is None:
        return None
    return MailServer(settings.smtp_url.get_secret_value(), settings.smtp_from)


def _verifier(settings: Settings, database: Database, store: ObjectStore) -> Verifier:
    return Verifier(database, store, every=timedelta(hours=settings.audit_verify_hours))


def _generation(settings: Settings, embedder: Embedder) -> Generation:
    return Generation(embedder.space, embedder.dimension, settings.chunk_tokens_max, settings.chunk_overlap_tokens)


@contextlib.asynccontextmanager
async def open_worker(core: Core) -> AsyncIterator[WorkerParts]:
    """Everything that runs jobs, on top of `core`. Raises `Unavailable` until its generation is known."""
    settings = core.settings
    generation = core.generation
    owner = base32(RANDOM(16))
    lease = timedelta(seconds=settings.job_lease_seconds)
    scratch_dir = settings.data_dir / SCRATCH_DIR
    scratch_dir.mkdir(parents=True, exist_ok=True)
    extraction = make_extraction(settings)
    leases = Leases(core.database, owner=owner, duration=lease)
    publisher = Publisher(core.database, core.store, core.vectors, core.queue, leases, core.events, generation)
    indexing = IndexingService(
        core.database,
        core.store,
        extraction,
        core.embedder,
        publisher,
        core.events,
        generation,
        IndexingLimits(settings.chunk_tokens_max, settings.chunk_overlap_tokens, settings.chunks_max),
        scratch_dir=scratch_dir,
    )
    maintenance = MaintenanceService(
        core.database,
        core.store,
        core.vectors,
        core.queue,
        core.chains,
        core.tenants,
        Departures(core.database, core.lifecycle),
        core.documents,
        publisher,
        generation,
        core.deployment,
        core.accounts,
        list(core.records.values()),
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
    sealer = Sealer(core.database, core.store, RANDOM, every=timedelta(seconds=settings.audit_seal_seconds))
    verifier = _verifier(settings, core.database, core.store)
    teller = Teller(core.database, core.records[Collection.NOTICES], core.events, core.mailbox)
    regular = [*sealer.regular_jobs(), *verifier.regular_jobs(), *teller.regular_jobs()]
    handlers: dict[str, JobHandler] = (
        indexing.handlers()
        | core.webhooks.handlers()
        | maintenance.handlers()
        | keeper.handlers()
        | core.service_levels.handlers()
        | core.mailbox.handlers()
        | regular_handlers(core.database, regular)
    )
    worker = Worker(core.database, core.queue, handlers, owner=owner, limits=_worker_limits(settings))
    heartbeat = Heartbeat(core.database.url, owner=owner, lease=lease)
    tasks = [
        *maintenance.regular_tasks(),
        *keeper.regular_tasks(),
        *core.webhooks.regular_tasks(),
        *core.service_levels.regular_tasks(),
        *regular_tasks(regular),
    ]
    scheduler = Scheduler(core.database, core.queue, leases, tasks)
    outbound = make_outbound(settings)
    pump = DeliveryPump(core.database, core.webhooks, outbound, RANDOM, _pump_limits(settings))
    try:
        yield WorkerParts(worker, scheduler, heartbeat, indexing, pump, maintenance)
    finally:
        await outbound.aclose()
        await extraction.aclose()


def make_extraction(settings: Settings) -> ExtractionPool:
    """The pool that reads files; starts nothing yet."""
    return ExtractionPool(
        processes=settings.extraction_processes,
        slow_processes=settings.extraction_slow_processes,
        fast_seconds=settings.extraction_fast_seconds,
        memory_bytes=settings.extraction_memory_bytes,
        seconds_max=settings.extraction_seconds_max,
        scratch_bytes_max=settings.extraction_scratch_bytes_max,
        files_per_child=settings.extraction_files_per_child,
        limits=reading_limits(settings),
    )


def metadata_limits(settings: Settings) -> MetadataLimits:
    """How much metadata a document may have."""
    return MetadataLimits(settings.metadata_bytes_max, settings.metadata_depth_max, settings.metadata_values_max)


def reading_limits(settings: Settings) -> Limits:
    """How much of a file is read."""
    return Limits(
        text_chars_max=settings.extraction_text_chars_max,
        pages_max=settings.extraction_pages_max,
        unpacked_bytes_max=settings.extraction_unpacked_bytes_max,
        markup_bytes_max=settings.extraction_markup_bytes_max,
        archives=ArchiveLimits(
            depth_max=settings.extraction_archive_depth_max,
            members_max=settings.extraction_archive_members_max,
            bytes_max=settings.extraction_archive_bytes_max,
            member_bytes_max=settings.extraction_archive_member_bytes_max,
        ),
    )


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


def _webhooks(settings: Settings, database: Database, records: Records) -> WebhookService:
    assert settings.secret_key is not None, "load_settings fills it in or refuses"
    return WebhookService(
        database,
        records,
        sealing.Sealer([settings.secret_key.get_secret_value()], RANDOM),
        _allowance(settings),
        RANDOM,
        retention=timedelta(days=settings.webhooks_retention_days),
    )


def make_outbound(settings: Settings) -> Outbound:
    """What sends to addresses that tenants named."""
    timings = OutboundTimings(
        connect=timedelta(seconds=settings.webhooks_connect_timeout_seconds),
        total=timedelta(seconds=settings.webhooks_timeout_seconds),
    )
    return Outbound(_allowance(settings), timings)


def _allowance(settings: Settings) -> Allowance:
    embedded = settings.environment is Environment.EMBEDDED
    return Allowance(settings.webhooks_allow_http or embedded, parse_networks(settings.webhooks_allowed_networks))


def _pump_limits(settings: Settings) -> PumpLimits:
    return PumpLimits(
        places=settings.webhooks_concurrency,
        attempt=timedelta(seconds=settings.webhooks_timeout_seconds),
        retry=timedelta(seconds=settings.webhooks_retry_seconds),
        patience=timedelta(hours=settings.webhooks_patience_hours),
    )


def make_embedder(settings: Settings, memory: ModelMemory | None = None) -> Embedder:
    """The configured embedder. Imports only that one's libraries. `memory`: where a provider's model is remembered."""
    provider = settings.embedding_provider
    if provider is EmbeddingProvider.LOCAL:
        from s4.engine.embedding.local import LocalEmbedder

        return LocalEmbedder(threads=settings.embedding_threads)
    if provider is EmbeddingProvider.DETERMINISTIC:
        from s4.engine.embedding.deterministic import DeterministicEmbedder

        return DeterministicEmbedder(dimension=settings.embedding_dimension or 384)
    from s4.engine.embedding.openai_compatible import OpenAICompatibleEmbedder

    key = settings.embedding_api_key
    return OpenAICompatibleEmbedder(
        model=settings.embedding_model,
        api_key=key.get_secret_value() if key is not None else None,
        base_url=settings.embedding_base_url,
        dimension=settings.embedding_dimension,
        batch_tokens=settings.embedding_batch_tokens,
        batch_items=settings.embedding_batch_items,
        timeout=timedelta(seconds=settings.embedding_timeout_seconds),
        query_timeout=timedelta(seconds=settings.embedding_query_timeout_seconds),
        retries_max=settings.embedding_retries_max,
        probe_pause_max=timedelta(seconds=settings.embedding_probe_seconds_max),
        memory=memory,
    )


def _buckets(settings: Settings, deployment: Deployment) -> Buckets:
    if settings.redis_url is None:
        return LocalBuckets()
    return open_shared(
        settings.redis_url.get_secret_value(),
        prefix=f"s4:{deployment.epoch}:rate:",
        timeout=timedelta(seconds=settings.redis_timeout_seconds),
    )


def _vectors(settings: Settings, store: ObjectStore) -> VectorStore:
    place = store.lance_uri()
    uri, options = place if place is not None else (str(settings.data_dir / "index"), {})
    return VectorStore(
        uri,
        storage_options=options,
        index_cache_bytes=settings.index_cache_bytes,
        metadata_cache_bytes=settings.index_cache_bytes // 2,
        handles_max=settings.index_handles_max,
        read_timeout=timedelta(seconds=settings.store_timeout_seconds),
    )


def _database_url(settings: Settings) -> str:
    assert settings.database_url is not None, "load_settings fills it in"
    return settings.database_url.get_secret_value()
