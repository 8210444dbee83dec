"""What every process needs."""

import contextlib
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta

import structlog

from s4 import __version__
from s4.domains.access import AccessService, AdministratorService, KeyService
from s4.domains.analytics import AnalyticsService
from s4.domains.announcements import Board, Contacts, Mailbox, NoticeService
from s4.domains.audit import AuditService, CallRecorder
from s4.domains.calls import CallBudget
from s4.domains.documents import Accounts, DocumentChain, DocumentService, Uploads
from s4.domains.documents.keeping import Archive, ArchivePlace, Holds, Retention
from s4.domains.documents.queries import holds as hold_queries
from s4.domains.documents.reads import Reads
from s4.domains.documents.uploads import UploadLimits
from s4.domains.events import Events
from s4.domains.indexing import Generation, Generations, Models, Moves, Suspicions
from s4.domains.indexing.model_memory import BucketModelMemory
from s4.domains.leaving import Erasures, ExportService, ImportService
from s4.domains.maintenance import Deployment, TermWatch
from s4.domains.maintenance.deployment import is_serving, open_deployment, serving_since
from s4.domains.maintenance.restoring import refuse_while_restoring
from s4.domains.plans import PlanService
from s4.domains.search import QueryLog, RecallSampler, SearchLimits, SearchService
from s4.domains.service_levels import ServiceLevels
from s4.domains.tenants import CreationMemory, TenantChain, TenantLifecycle, TenantService
from s4.domains.tenants import queries as tenant_queries
from s4.domains.usage import Meter, UsageService
from s4.domains.webhooks import WebhookService
from s4.engine.embedding.base import Embedder
from s4.engine.vectors import VectorStore
from s4.entrypoints.admissions import Buckets
from s4.entrypoints.bootstrap.parts import (
    EMBEDDER_FIRST,
    RANDOM,
    database_url,
    make_buckets,
    make_erasures,
    make_mail_server,
    make_meter,
    make_models,
    make_prices,
    make_vectors,
    make_verifier,
    make_webhooks,
    metadata_limits,
)
from s4.kernel.clock import SystemClock
from s4.kernel.errors import Conflict, InvalidRequest, Unavailable
from s4.kernel.ids import base32
from s4.kernel.keys import Collection
from s4.kernel.settings import Settings
from s4.platform import faults
from s4.platform.background import in_background
from s4.platform.chains import Chains, ChainTimings, RecordChain, Records
from s4.platform.database import Database, is_there, migrate, open_database
from s4.platform.jobs import Queue
from s4.platform.objects import NO_CONDITIONS, ObjectStore, open_failing_over, open_replica
from s4.platform.telemetry import logs, metrics, traces
from s4.platform.trust import trusting

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Core:
    """What API and workers share."""

    settings: Settings
    database: Database
    store: ObjectStore
    replica: ObjectStore | None
    terms: TermWatch
    queue: Queue
    chains: Chains
    models: Models
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
    archive: Archive
    holds: Holds
    retention: Retention
    reads: Reads
    uploads: Uploads
    accounts: Accounts
    recall: RecallSampler
    search: SearchService
    suspicions: Suspicions
    query_log: QueryLog
    admin_calls: CallRecorder
    audit: AuditService
    notices: NoticeService
    board: Board
    contacts: Contacts
    mailbox: Mailbox
    generations: Generations
    moves: Moves
    erasures: Erasures
    exports: ExportService
    imports: ImportService

    @property
    def embedder(self) -> Embedder:
        """Of tenants that were not moved to another model."""
        return self.models.own.embedder

    @property
    def generation(self) -> Generation:
        """How this deployment indexes them. Raises `Unavailable` until the embedder's dimension is known."""
        return self.models.own.generation


def configure_process(settings: Settings, *, service: str) -> None:
    """Logs and constant metrics of this process."""
    logs.configure(
        level=settings.log_level,
        log_format=settings.log_format,
        service=service,
        google_project=settings.log_google_project,
        secrets=logs.known_secrets(settings),
    )
    faults.arm(faults.parse(settings.failpoints))
    metrics.BUILD_INFO.labels(__version__).set(1)


def traced(settings: Settings, *, service: str) -> contextlib.AbstractAsyncContextManager[None]:
    """Traces of this process are sent within the block, where the settings say whither. Raises `InvalidRequest`."""
    return traces.sent(settings.traces_endpoint, share=settings.traces_share, service=service)


def migrate_database(settings: Settings, *, pre_only: bool = False) -> list[str]:
    """Brings the catalog's schema up to date, or only so far as an older release can live with it. Answers with the
    steps that were run."""
    return migrate.upgrade(database_url(settings), pre_only=pre_only)


def missing_steps(settings: Settings) -> list[str]:
    """Of the catalog's schema."""
    return [step.revision for step in migrate.missing(database_url(settings))]


def find_catalog(settings: Settings) -> None:
    """Of a wrong directory a catalog would be made by opening it. Raises `InvalidRequest`."""
    url = database_url(settings)
    if not is_there(url):
        raise InvalidRequest(
            f"There is no catalog at {url.removeprefix('sqlite:///')}: name the deployment's directory by --data-dir "
            "or --config. A new one is made by `s4 serve`."
        )


@contextlib.asynccontextmanager
async def open_core(settings: Settings, *, standby: bool = False, restoring: bool = False) -> AsyncIterator[Core]:
    """Opens catalog, store and model. Raises `Unavailable`, `Conflict` with what an operator must mend; an embedding
    provider that is down is waited for in the background. `standby`: also of a bucket that is a copy of another;
    `restoring`: also of one that is being restored, on which nobody else may start."""
    async with contextlib.AsyncExitStack() as stack:
        stack.enter_context(trusting(settings.ca_file))
        find_catalog(settings)
        if migrate.pending(database_url(settings)):
            raise Unavailable("The catalog's schema is older than this release: run `s4 migrate` first.")
        database = open_database(
            database_url(settings),
            pool_size=settings.database_pool_size,
            timeout_seconds=settings.database_timeout_seconds,
        )
        stack.push_async_callback(database.aclose)
        await stack.enter_async_context(in_background(database.give_back_idle()))
        replica = open_replica(settings)
        if replica is not None:
            stack.push_async_callback(replica.aclose)
        store = open_failing_over(settings, replica)
        stack.push_async_callback(store.aclose)
        if not (await store.probe()).create_if_absent:
            raise Conflict(NO_CONDITIONS)
        if not restoring:
            await refuse_while_restoring(store)
        deployment = await open_deployment(database, store, clock=SystemClock(), random=RANDOM, standby=standby)
        terms = TermWatch(store, replica, deployment, every=timedelta(seconds=settings.term_watch_seconds))
        if not standby and replica is not None:  # our own bucket was just asked
            await terms.look()
        models = make_models(settings, BucketModelMemory(store))
        for embedder in models.embedders():
            stack.push_async_callback(embedder.aclose)
            try:
                await embedder.prepare()
            except Unavailable as error:
                # Uploads and keyword searches need no provider; the embedder's watch goes on asking.
                log.warning("embedding.unavailable_at_start", error=error.message)
        events = Events(database, RANDOM)
        meter = make_meter(settings, database, events)
        stack.push_async_callback(meter.aclose)
        meter.start()
        store.observer = meter.stored
        vectors = make_vectors(settings, store)
        stack.push_async_callback(vectors.close)
        await vectors.preload()
        core = _core(settings, database, (store, replica, terms), deployment, models, vectors, events, meter)
        stack.push_async_callback(core.recall.aclose)
        stack.push_async_callback(core.buckets.aclose)
        stack.push_async_callback(core.calls.aclose)
        stack.push_async_callback(core.reads.note)
        await stack.enter_async_context(in_background(core.reads.keep_noting()))
        stack.push_async_callback(core.query_log.note)
        await stack.enter_async_context(in_background(core.query_log.keep_noting()))
        yield core


def _core(
    settings: Settings,
    database: Database,
    stores: tuple[ObjectStore, ObjectStore | None, TermWatch],
    deployment: Deployment,
    models: Models,
    vectors: VectorStore,
    events: Events,
    meter: Meter,
) -> Core:
    store, replica, terms = stores
    queue = Queue(database, RANDOM)
    suspicions = Suspicions(database, queue)
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
    usage = UsageService(database, make_prices(settings))
    administrators = AdministratorService(database, records[Collection.ADMINS], RANDOM)
    contacts = Contacts(database, records[Collection.NOTICES])
    assert settings.admin_api_key is not None, "load_settings fills it in or refuses"
    admin_key = settings.admin_api_key.get_secret_value()
    memory = CreationMemory(remembered=timedelta(hours=settings.idempotency_hours), secret=admin_key)
    tenants = TenantService(database, chains, plans, RANDOM, memory)
    archive = Archive(
        database,
        chains,
        ArchivePlace(store, settings.archive_storage_class),
        restore_on_access=settings.archive_restore_on_access,
    )
    reads = Reads(database, every=timedelta(seconds=settings.reads_flush_seconds))
    query_log = QueryLog(database, tenants, every=timedelta(seconds=settings.reads_flush_seconds))
    access = AccessService(
        database, administrators, admin_api_key=admin_key, failures_per_minute=settings.auth_failures_per_minute
    )
    uploads = Uploads(
        database,
        store,
        chains,
        RANDOM,
        UploadLimits(
            bytes_max=settings.upload_bytes_max,
            duration_max=timedelta(seconds=settings.upload_seconds_max),
            idempotency=timedelta(hours=settings.idempotency_hours),
        ),
    )
    erasures = make_erasures(settings, database, (store, replica), queue, records[Collection.ERASURES], deployment)
    recall = RecallSampler(share=settings.search_recall_share, draw=random.random)
    return Core(
        settings=settings,
        database=database,
        store=store,
        replica=replica,
        terms=terms,
        queue=queue,
        chains=chains,
        models=models,
        vectors=vectors,
        deployment=deployment,
        buckets=make_buckets(settings, deployment),
        calls=CallBudget(database, SystemClock(), owner=base32(RANDOM(16))),
        records=records,
        events=events,
        plans=plans,
        tenants=tenants,
        lifecycle=TenantLifecycle(
            database,
            tenants,
            plans,
            events,
            hold_queries.require_none,
            grace=timedelta(days=settings.tenant_delete_grace_days),
            buried=erasures.begin,
        ),
        administrators=administrators,
        keys=KeyService(database, tenants, RANDOM),
        access=access,
        meter=meter,
        usage=usage,
        analytics=AnalyticsService(database, tenants, usage),
        service_levels=ServiceLevels(database, plans, events),
        webhooks=make_webhooks(settings, database, records[Collection.WEBHOOKS]),
        documents=DocumentService(
            database,
            store,
            chains,
            metadata_limits(settings),
        ),
        archive=archive,
        holds=Holds(database, chains),
        retention=Retention(
            database, chains, archive, serving_since, every=timedelta(seconds=settings.retention_every_seconds)
        ),
        reads=reads,
        uploads=uploads,
        accounts=Accounts(database),
        recall=recall,
        search=SearchService(
            database,
            vectors,
            models,
            suspicions,
            reads.found,
            query_log.asked,
            recall,
            SearchLimits(
                candidates=settings.search_candidates,
                query_timeout=timedelta(seconds=settings.embedding_query_timeout_seconds) + EMBEDDER_FIRST,
            ),
        ),
        suspicions=suspicions,
        query_log=query_log,
        admin_calls=CallRecorder(database, RANDOM),
        audit=AuditService(database, make_verifier(settings, database, store)),
        notices=NoticeService(database, records[Collection.NOTICES], queue, RANDOM),
        board=Board(database, records[Collection.NOTICES]),
        contacts=contacts,
        mailbox=Mailbox(database, queue, contacts, RANDOM, make_mail_server(settings)),
        generations=Generations(database, queue, models, process=base32(RANDOM(16))),
        moves=Moves(database, queue, tenants, models),
        erasures=erasures,
        exports=ExportService(database, store, vectors, tenants),
        imports=ImportService(database, store, tenants, uploads, access),
    )
