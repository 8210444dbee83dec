"""Parts, each made of its settings."""

import contextlib
import secrets
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from urllib.parse import quote

from s4.domains.announcements.smtp import MailServer
from s4.domains.audit import Verifier
from s4.domains.backup import queries as backup_queries
from s4.domains.documents.metadata import MetadataLimits
from s4.domains.events import EventKind, Events
from s4.domains.indexing import Model, Models
from s4.domains.leaving import Elsewhere, Erasures, ErasureTimes, Remaining
from s4.domains.maintenance import Deployment
from s4.domains.maintenance.guarded import guarded_copy
from s4.domains.tenants import queries as tenant_queries
from s4.domains.usage import Meter, Prices
from s4.domains.webhooks import PumpLimits, WebhookService
from s4.engine.embedding.base import Embedder
from s4.engine.embedding.known import ModelMemory
from s4.engine.extraction import ArchiveLimits, ExtractionPool, Limits, OcrLimits, recognition_data
from s4.engine.vectors import CopyLimits, TableCopies, VectorStore
from s4.entrypoints.admissions import Buckets
from s4.kernel.clock import SystemClock
from s4.kernel.ids import RandomBytes, TenantId
from s4.kernel.index_settings import DEFAULT_MODEL
from s4.kernel.settings import EmbeddingProvider, Environment, Settings
from s4.platform.chains import Records
from s4.platform.database import Connection, Database
from s4.platform.http.places import Line, Load, Places, Share
from s4.platform.jobs import Queue
from s4.platform.machine import read_machine
from s4.platform.objects import ObjectStore
from s4.platform.outbound import Allowance, Outbound, OutboundTimings
from s4.platform.outbound.addresses import parse_networks
from s4.platform.rates import LocalBuckets, open_shared
from s4.platform.security import sealing
from s4.platform.security.signing import Signer

RANDOM: RandomBytes = secrets.token_bytes
COPIES_DIR = "copies"
_SEARCHES_PER_CPU = 8  # most of which may wait for the store; of a table that is in memory two keep a processor busy
_UPLOADS_TO_DISK = 2  # of a tenant beside others: an upload to a directory is work for this process most of its time
_UPLOADS_TO_BUCKET = 4  # and to a bucket it waits most of its time
_ALONE_TIMES = 4  # a tenant's share while nobody else asks, to that beside others: two searches keep a CPU busy
_OCR_SHARE = 0.7  # of the time for a file; a page takes some seconds, and the rest of the file wants some, too
_LAST_REQUEST_TIMES = 4  # of a request's bound: who began to write at its lease's end tries so often at most
LONG_POLLS = 256  # looks into the catalog at pauses of a second: some hundred a second in all
EMBEDDER_FIRST = timedelta(seconds=0.5)  # the embedder's own limit comes before the search's: it counts what hangs


def make_meter(settings: Settings, database: Database, events: Events) -> Meter:
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


def make_prices(settings: Settings) -> Prices:
    return Prices(
        currency=settings.price_currency,
        stored_gib_month=settings.price_stored_gib_month,
        store_writes_thousand=settings.price_store_writes_thousand,
        store_reads_thousand=settings.price_store_reads_thousand,
        embedding_million_tokens=settings.price_embedding_million_tokens,
        out_gib=settings.price_out_gib,
    )


def make_mail_server(settings: Settings) -> MailServer | None:
    if settings.smtp_url is None:
        return None
    return MailServer(settings.smtp_url.get_secret_value(), settings.smtp_from)


def make_verifier(settings: Settings, database: Database, store: ObjectStore) -> Verifier:
    return Verifier(database, store, every=timedelta(hours=settings.audit_verify_hours))


def make_models(settings: Settings, memory: ModelMemory | None = None) -> Models:
    """The deployment's own way of indexing, and those that have names. Models that differ in how they cut share an
    embedder. `memory`: where a provider's model is remembered."""
    own = make_own_model(settings, memory)
    named = []
    for name, model in settings.index_models.items():
        said = model.model_dump(exclude_none=True)
        price = said.pop("price_million_tokens", settings.price_embedding_million_tokens)
        cut = {each: said.pop(each) for each in ("chunk_tokens_max", "chunk_overlap_tokens") if each in said}
        changes = cut | {"price_embedding_million_tokens": price}
        changes |= {f"embedding_{each}": value for each, value in said.items()}
        other = settings.model_copy(update=changes)
        named.append(_model(name, other, make_embedder(other, memory) if said else own.embedder))
    return Models(own, named)


def make_own_model(settings: Settings, memory: ModelMemory | None = None) -> Model:
    return _model(DEFAULT_MODEL, settings, make_embedder(settings, memory))


def _model(name: str, settings: Settings, embedder: Embedder) -> Model:
    return Model(
        name,
        embedder,
        settings.chunk_tokens_max,
        settings.chunk_overlap_tokens,
        settings.price_embedding_million_tokens,
    )


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
        ocr_data_dir=ocr_data_dir(settings),
    )


def ocr_data_dir(settings: Settings) -> Path | None:
    """None when text in images is not read. Raises `InvalidRequest` when the data of a language are not there."""
    if not settings.ocr_languages:
        return None
    if settings.ocr_data_dir is not None:
        return recognition_data.find(settings.ocr_languages, among=[settings.ocr_data_dir])
    return recognition_data.find(settings.ocr_languages)


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
        ocr=OcrLimits(
            settings.ocr_languages,
            pages_max=settings.ocr_pages_max,
            seconds_max=_OCR_SHARE * settings.extraction_seconds_max,
        )
        if settings.ocr_languages
        else None,
    )


def make_webhooks(settings: Settings, database: Database, records: Records) -> WebhookService:
    assert settings.secret_key is not None, "load_settings fills it in or refuses"
    keys = [key.get_secret_value() for key in (settings.secret_key, settings.previous_secret_key) if key is not None]
    return WebhookService(
        database,
        records,
        sealing.Sealer(keys, RANDOM),
        make_allowance(settings),
        RANDOM,
        retention=timedelta(days=settings.webhooks_retention_days),
    )


def make_erasures(
    settings: Settings,
    database: Database,
    stores: tuple[ObjectStore, ObjectStore | None],
    queue: Queue,
    records: Records,
    deployment: Deployment,
) -> Erasures:
    """`stores`: the bucket, and the second one if there is one."""
    store, replica = stores
    assert settings.secret_key is not None, "load_settings fills it in or refuses"
    longest = max(settings.upload_seconds_max, settings.job_lease_seconds, settings.commit_lease_seconds)
    settle_seconds = settings.erasure_settle_seconds
    if settle_seconds is None:
        settle_seconds = longest + _LAST_REQUEST_TIMES * settings.store_timeout_seconds

    async def remains(_: TenantId, erased_at: datetime) -> list[Remaining]:
        found = [
            Remaining("entries of the audit trail that name the tenant", None),
            Remaining(
                "copies of bucket and database made outside of S4, superseded versions of objects among them",
                erased_at + timedelta(days=settings.erasure_backups_days),
            ),
        ]
        async with database.read() as connection:
            places = set(await backup_queries.places(connection))
        looked_after = backup_place_name(settings)
        if settings.backup_every_hours > 0 or settings.backup_url is not None or looked_after in places:
            found.append(Remaining("S4's own backups", _backups_until(settings, erased_at)))
        found += [
            Remaining(f"backups in {place}, made by `s4 backup create --to`: restore them with --erased-in", None)
            for place in sorted(places - {looked_after})
        ]
        if settings.index_copies_bytes and store.local_root is None:
            idle = erased_at + timedelta(hours=settings.index_copies_idle_hours)
            found.append(Remaining("copies of the index on the disks of API machines", idle))
        return found

    return Erasures(
        database,
        store,
        queue,
        records,
        Signer(settings.secret_key.get_secret_value()),
        ErasureTimes(settle=timedelta(seconds=settle_seconds)),
        epoch=deployment.epoch,
        term=deployment.term,
        elsewhere=Elsewhere(
            copy=partial(guarded_copy, replica, deployment) if replica is not None else None,
            backups=partial(_open_place_store, settings) if not backups_beside(settings) else None,
        ),
        remains=[remains],
    )


def backups_beside(settings: Settings) -> bool:
    """Whether backups go into the deployment's own store."""
    return settings.backup_url is None or settings.backup_url == settings.store_url


def backup_place_name(settings: Settings) -> str:
    """By which runs remember where they made backups."""
    return (settings.backup_url or settings.store_url or "").rstrip("/")


@contextlib.asynccontextmanager
async def _open_place_store(settings: Settings) -> AsyncIterator[ObjectStore]:
    from s4.entrypoints.bootstrap.backup import open_place  # which is made of cores, and they of erasures

    async with open_place(settings) as place:
        yield place.store


def _backups_until(settings: Settings, moment: datetime) -> datetime | None:
    """When the last backup that holds what was there at `moment` has expired; None where nobody makes or removes them
    by the clock."""
    if settings.backup_every_hours == 0 or not settings.backup_prune:
        return None
    by_count = timedelta(hours=settings.backup_every_hours * (settings.backup_keep_count + 1))
    return moment + max(timedelta(days=settings.backup_keep_days), by_count)


def make_outbound(settings: Settings) -> Outbound:
    """What sends to addresses that tenants named."""
    timings = OutboundTimings(
        connect=timedelta(seconds=settings.webhooks_connect_timeout_seconds),
        total=timedelta(seconds=settings.webhooks_timeout_seconds),
    )
    return Outbound(make_allowance(settings), timings)


def make_allowance(settings: Settings) -> Allowance:
    embedded = settings.environment is Environment.EMBEDDED
    return Allowance(settings.webhooks_allow_http or embedded, parse_networks(settings.webhooks_allowed_networks))


def make_pump_limits(settings: Settings) -> PumpLimits:
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


def make_places(settings: Settings) -> Places:
    """How many requests an API process serves side by side."""
    cpus = settings.processors or read_machine().threads
    on_disk = (settings.store_url or "file:").startswith(("file:", "memory:"))

    def share(places: int, per_tenant: int = 0) -> Share:
        per_tenant = per_tenant or -(-places // _ALONE_TIMES)
        return Share(places, per_tenant, min(places, _ALONE_TIMES * per_tenant))

    shares = {
        Load.SEARCH: share(
            settings.search_concurrency or _SEARCHES_PER_CPU * cpus,
            settings.search_concurrency_per_tenant or max(1, cpus // 2),
        ),
        Load.UPLOAD: share(
            settings.upload_concurrency,
            settings.upload_concurrency_per_tenant or (_UPLOADS_TO_DISK if on_disk else _UPLOADS_TO_BUCKET),
        ),
        Load.DOWNLOAD: share(settings.download_concurrency),
        Load.LONG_POLL: share(LONG_POLLS),
        Load.OTHER: share(settings.request_concurrency),
    }
    line = Line(
        settings.waiting_requests_max,
        settings.waiting_requests_per_tenant_max,
        timedelta(seconds=settings.waiting_seconds_max),
    )
    return Places(shares, line)


def make_buckets(settings: Settings, deployment: Deployment) -> Buckets:
    if settings.redis_url is None:
        return LocalBuckets()
    return open_shared(
        settings.redis_url.get_secret_value(),
        prefix=f"s4:{deployment.epoch}:rate:",
        timeout=timedelta(seconds=settings.redis_timeout_seconds),
    )


def make_vectors(settings: Settings, store: ObjectStore) -> VectorStore:
    place = store.lance_uri()
    uri, options = place if place is not None else (str(settings.data_dir / "index"), {})
    is_far = place is not None and store.local_root is None
    return VectorStore(
        uri,
        storage_options=options,
        index_cache_bytes=settings.index_cache_bytes,
        metadata_cache_bytes=settings.index_cache_bytes // 2,
        handles_max=settings.index_handles_max,
        read_timeout=timedelta(seconds=settings.store_timeout_seconds),
        copies=_make_copies(settings, store) if is_far else None,
        threads=settings.processors,
    )


def _make_copies(settings: Settings, store: ObjectStore) -> Callable[[Callable[[str], None]], TableCopies] | None:
    """None where they are turned off."""
    if settings.index_copies_bytes == 0:
        return None
    limits = CopyLimits(
        bytes_max=settings.index_copies_bytes,
        copy_first_bytes_max=settings.index_copy_first_bytes,
        idle_max=timedelta(hours=settings.index_copies_idle_hours),
    )
    return lambda on_removal: TableCopies(
        store, (settings.data_dir / COPIES_DIR).absolute(), limits, on_removal=on_removal
    )


def database_url(settings: Settings) -> str:
    """With the operator's own authority, where the URL names none: its library looks nowhere else."""
    assert settings.database_url is not None, "load_settings fills it in"
    url = settings.database_url.get_secret_value()
    if settings.ca_file is None or not url.startswith("postgresql:") or "sslrootcert=" in url:
        return url
    return f"{url}{'&' if '?' in url else '?'}sslrootcert={quote(str(settings.ca_file))}"
