"""Every setting: name, type, default, unit, and the trade-off behind the default.

`entrypoints/configuration.py` fills this from flags, the environment (`S4_<NAME>`) and a TOML file (`<name>`);
everything else receives the value it needs as an argument. `docs/reference/settings.md` is generated from here.
"""

import functools
from pathlib import Path
from typing import get_args

from pydantic import ConfigDict, Field, SecretStr, field_validator, model_validator

from s4.kernel.backup_settings import BackupSettings
from s4.kernel.extraction_settings import ExtractionSettings
from s4.kernel.index_settings import IndexSettings
from s4.kernel.keeping_settings import KeepingSettings
from s4.kernel.leaving_settings import LeavingSettings
from s4.kernel.log_settings import LogFormat, LogSettings
from s4.kernel.price_settings import PriceSettings
from s4.kernel.replica_settings import ReplicaSettings
from s4.kernel.request_settings import RequestSettings
from s4.kernel.setting_values import (
    EmbeddingProvider,
    Environment,
    ForwardedHeader,
    Secret,
    Size,
    hard_to_guess,
    names_a_database,
    names_a_mail_server,
    names_networks,
    refuse_contradictions,
)
from s4.kernel.store_settings import StoreSettings
from s4.kernel.telemetry_settings import TelemetrySettings
from s4.kernel.units import GIB, KIB, MIB

__all__ = ["EmbeddingProvider", "Environment", "LogFormat", "Secret", "Settings", "secret_settings"]


class Settings(
    LogSettings,
    ExtractionSettings,
    RequestSettings,
    ReplicaSettings,
    LeavingSettings,
    StoreSettings,
    KeepingSettings,
    TelemetrySettings,
    BackupSettings,
    PriceSettings,
    IndexSettings,
):
    """One value object for a whole process."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    # -- process
    environment: Environment = Environment.EMBEDDED
    host: str = Field("127.0.0.1", description="Address that the API listens on. Loopback unless said otherwise.")
    port: int = Field(8000, ge=0, le=65535, description="Port of the API; 0 takes a free one.")
    tls_cert: Path | None = Field(
        None, description="PEM file with the listener's certificate and those between it and its authority: `https://`."
    )
    tls_key: Path | None = Field(
        None, description="PEM file with its private key, not encrypted; readable by S4 alone."
    )
    ca_file: Path | None = Field(
        None,
        description="PEM file with certificates of authorities of your own, trusted beside the system's by everything "
        "that S4 connects to. Certificates are always verified; PostgreSQL's where its URL asks for TLS.",
    )
    trusted_proxies: str = Field(
        "",
        description="Networks of your own proxies: `10.0.0.0/8, fd00::/8`. Only what they say about a caller's address "
        "is believed. Without it the address is that of the connection.",
    )
    forwarded_header: ForwardedHeader = Field(
        ForwardedHeader.X_FORWARDED_FOR,
        description="Which header those proxies write; the other one, which a caller may have sent, is not looked at.",
    )
    data_dir: Path = Field(Path("s4-data"), description="Database, objects and caches of the embedded mode.")
    admin_api_key: SecretStr | None = Field(
        None,
        description="The administrator's key, at least 32 characters. Embedded mode mints and saves one.",
    )
    auth_failures_per_minute: int = Field(
        30,
        ge=1,
        description="Attempts with unknown keys, from one address or with one key's prefix, that are answered 401; "
        "further ones are answered 429 and cost the catalog nothing. Valid keys always pass. Counted by each process.",
    )
    secret_key: SecretStr | None = Field(
        None,
        description="At least 32 random characters, under which secrets that S4 must read again (those of webhooks) "
        "are encrypted. Keep it as you keep the bucket: without it they are lost. Embedded mode mints and saves one.",
    )
    previous_secret_key: SecretStr | None = Field(
        None,
        description="Another key that opens what is encrypted, while one replaces the other: workers encrypt all of it "
        "anew under `secret_key`, and `s4 secrets status` says when this one is needed no more.",
    )
    shutdown_seconds: float = Field(
        25.0,
        gt=0,
        description="How long a stopping process lets requests and jobs finish. Below 30 s, the "
        "grace that most orchestrators give.",
    )
    failpoints: str = Field(
        "",
        description="For tests: `name=exit,…` ends the process at these steps, `=raise` fails there, `=stop` stops it "
        "once.",
    )
    drain_seconds: float = Field(
        0.0,
        ge=0,
        description="How long readiness answers 503 before the listener closes. Behind a balancer: "
        "longer than its health check's interval.",
    )

    # -- machine
    processors: int = Field(
        0,
        ge=0,
        description="Processors that S4 reckons with: threads of the local model, of LanceDB and of Arrow. 0: as many "
        "as the control group and the affinity mask leave.",
    )
    memory_bytes: Size = Field(
        0,
        description="Memory that API, worker and its children may take together; what follows from it stands in the "
        "guide to operations. 0: the control group's limit, else the machine's. Say less where others live there, too.",
    )

    # -- catalog
    database_url: SecretStr | None = Field(
        None, description="`postgresql://user:password@host/name`. Default: SQLite in the data directory."
    )
    database_pool_size: int = Field(
        5, ge=1, description="Connections per process. Processes x this must stay below the server's limit."
    )
    database_timeout_seconds: float = Field(10.0, gt=0, description="Longest wait for a connection or a lock.")

    # -- uploads
    upload_bytes_max: Size = Field(5 * GIB, description="Largest document that any plan may allow.")
    upload_seconds_max: float = Field(
        3600.0,
        gt=0,
        description="An upload that takes longer is cut off; its reservation and its bytes are then "
        "garbage. Also the age from which unnamed content may be collected.",
    )
    upload_idle_seconds_max: float = Field(60.0, gt=0, description="Longest silence within a body.")
    request_body_bytes_max: Size = Field(2 * MIB, description="Largest JSON body.")
    metadata_bytes_max: Size = Field(64 * KIB, description="Largest metadata object of a document, as JSON.")
    metadata_depth_max: int = Field(8, ge=1, description="Levels of a metadata object.")
    metadata_values_max: int = Field(
        1000,
        ge=1,
        description="Values in a metadata object, those in lists counted; each is a row that filters search.",
    )
    redis_url: SecretStr | None = Field(
        None,
        description="`redis://host:6379/0`, `rediss://` for TLS. Rate limits are shared through it by all replicas; "
        "without it each process counts by itself.",
    )
    redis_timeout_seconds: float = Field(
        0.1, gt=0, description="A request waits so long for Redis, then goes by its own process's count."
    )
    rate_limit_requests_per_second: float = Field(
        1000.0, gt=0, description="Of each tenant whose plan states none. Above what one process answers."
    )
    rate_limit_burst: int = Field(2000, ge=1, description="Requests at once of each tenant whose plan states none.")
    idempotency_hours: float = Field(24.0, gt=0, description="How long an Idempotency-Key is remembered.")
    commit_lease_seconds: float = Field(
        45.0,
        gt=0,
        description="How long a writer may stay between sealing a revision and settling it before "
        "another fences it off. Longer than `store_timeout_seconds`.",
    )
    commit_wait_seconds: float = Field(10.0, gt=0, description="How long a second writer of a document waits.")

    # -- pipeline
    worker_concurrency: int = Field(
        8,
        ge=1,
        description="Documents in work at once in a worker: those that are done together share an index commit. Each "
        "holds its text and chunks in memory.",
    )
    worker_reserved_slots: int = Field(
        2,
        ge=0,
        description="Of `worker_concurrency`, the last ones, for tenants that hold none in this worker: no tenant's "
        "files take all. At most half of the slots. More: further tenants begin at once, the busiest gets less.",
    )
    worker_niceness: int = Field(
        10,
        ge=0,
        le=19,
        description="How far a worker steps back, as `nice` does, so that requests come first where both share the "
        "processors. 0: worker and API are equals. What reads files steps back a little further.",
    )
    chunk_tokens_max: int = Field(
        256, ge=16, description="Token budget of a chunk, its heading included: what the bundled model reads."
    )
    chunk_overlap_tokens: int = Field(
        32,
        ge=0,
        description="Tokens that neighbouring chunks share, so that a sentence at the seam is whole in one of them.",
    )
    chunks_max: int = Field(
        50_000,
        ge=1,
        description="Most chunks of one document. Each is embedded: two cores need half an hour for 50,000.",
    )

    # -- embedding
    embedding_provider: EmbeddingProvider = EmbeddingProvider.LOCAL
    embedding_model: str = Field("text-embedding-3-small", description="For `openai`.")
    embedding_dimension: int | None = Field(None, description="For `openai`: learned from the first answer if unset.")
    embedding_base_url: str | None = Field(None, description="For `openai`: another endpoint.")
    embedding_api_key: SecretStr | None = None
    embedding_batch_tokens: int = Field(
        16_384,
        ge=1,
        description="Tokens in one request to a provider: large enough to amortise the round trip.",
    )
    embedding_batch_items: int = Field(128, ge=1, description="Texts in one request to a provider.")
    embedding_timeout_seconds: float = Field(60.0, gt=0)
    embedding_query_timeout_seconds: float = Field(
        5.0, gt=0, description="A search waits this long for its query's vector, then answers from keywords."
    )
    embedding_retries_max: int = Field(5, ge=0)
    embedding_probe_seconds_max: float = Field(
        30.0,
        gt=0,
        description="A provider that is down is asked one short sentence at growing pauses, at most so far apart: what "
        "waits goes on at most so long after it is back.",
    )
    embedding_threads: int = Field(0, ge=0, description="Threads of the local model; 0: one per usable CPU.")

    # -- jobs
    job_lease_seconds: float = Field(
        30.0,
        gt=0,
        description="A worker silent for so long has lost its jobs. Short: quick recovery; long: a "
        "stalled machine is not robbed.",
    )
    job_poll_seconds: float = Field(0.2, gt=0, description="How often an idle worker looks for work.")
    job_attempts_max: int = Field(5, ge=1)
    job_backoff_seconds: float = Field(2.0, gt=0, description="First pause before a repeat; doubles each time.")
    job_backoff_max_seconds: float = Field(300.0, gt=0)
    job_patience_hours: float = Field(
        24.0,
        gt=0,
        description="How long a document waits for a dependency that is down before it ends `failed`.",
    )

    # -- search
    search_candidates: int = Field(
        100,
        ge=1,
        description="Chunks taken from each of the two searches before fusion. More: better recall, more work.",
    )
    search_recall_share: float = Field(
        0.001,
        ge=0,
        le=1,
        description="Part of approximate searches that is compared with a scan afterwards: `s4_index_recall_ratio`.",
    )
    index_cache_bytes: Size = Field(
        256 * MIB,
        description="Index pages kept for searches, shared by all tenants; half of it again for metadata, and an "
        "eighth of both for a worker's writes. LanceDB counts what it keeps of table versions too low: where tables "
        "are written all the time, a full cache takes two to three times this.",
    )
    index_handles_max: int = Field(200, ge=1, description="Open tables; about 43 KB each.")
    index_copies_bytes: Size = Field(
        4 * GIB,
        description="Index tables kept on the API's disk, `copies/` in the data directory, where the store is a "
        "bucket: the least recently used go. Shared by processes that share the directory. 0: none, all is read there.",
    )
    index_copy_first_bytes: Size = Field(
        256 * MIB,
        description="A table, or what is new of it, up to this size is copied before its first search, which waits; of "
        "a larger one searches read the bucket meanwhile. Some 130,000 chunks of 384 dimensions.",
    )
    index_copies_idle_hours: float = Field(
        24.0, gt=0, description="A copy that no search used for so long is removed, also that of a tenant that left."
    )

    # -- tenants
    tenant_delete_grace_days: float = Field(
        7.0,
        ge=0,
        le=3650,
        description="How long a tenant that is being deleted is shut out but can be brought back. Then it is gone.",
    )
    # -- metering
    usage_flush_seconds: float = Field(
        1.0,
        gt=0,
        description="How long a process keeps what it metered in memory: one transaction each time, and what a "
        "`kill -9` loses.",
    )
    usage_hours_days: int = Field(
        400,
        ge=33,
        description="How many days the ledger keeps hours and endpoints; days and months stay. Ten thousand busy "
        "tenants write some 100 MB of hours a day.",
    )
    usage_rollup_seconds: float = Field(
        3600.0,
        gt=0,
        description="How often the use of tenants that asked for something is rolled up into the bucket: what was used "
        "since is lost with a lost catalog. Each time costs a write per such tenant.",
    )
    price_currency: str = Field("USD", description="What the prices are in: a word that stands beside every estimate.")
    price_stored_gib_month: float = Field(
        0.023,
        ge=0,
        description="Of a GiB stored for a month of 730 hours. The defaults are list prices of S3 and of "
        "a small embedding model; estimates are as good as what is set here.",
    )
    price_store_writes_thousand: float = Field(
        0.005, ge=0, description="Of 1,000 requests to the store that write or list (S3's class PUT)."
    )
    price_store_reads_thousand: float = Field(
        0.0004, ge=0, description="Of 1,000 requests to the store that read (S3's class GET)."
    )
    price_embedding_million_tokens: float = Field(
        0.02,
        ge=0,
        description="Of a million tokens that were embedded; those from the cache cost nothing. 0 for a "
        "model of one's own.",
    )
    price_out_gib: float = Field(0.09, ge=0, description="Of a GiB that was sent to callers.")

    # -- audit
    audit_seal_seconds: float = Field(
        60.0,
        gt=0,
        description="How often the audit trail is sealed: hashed into the chain and written to the bucket. Until then "
        "whoever can write to the database could change an entry unseen; shorter: more small objects.",
    )
    audit_verify_hours: float = Field(
        24.0,
        gt=0,
        description="How often a worker compares the whole trail with its sealed batches (`s4_audit_chain_ok`). One "
        "request to the store per batch.",
    )

    # -- mail
    smtp_url: SecretStr | None = Field(
        None,
        description="Mail server for tenants' contacts: `smtp://user:password@host:25`, `smtp+starttls://…`, "
        "`smtps://…`. Unset: no mail is written.",
    )
    smtp_from: str = Field(
        "S4 <s4@localhost>",
        pattern=r"^[^\r\n]*@[^\r\n]+$",
        description="Sender of mails. Most servers refuse the default: name an address of your own domain.",
    )

    # -- webhooks
    webhooks_allow_http: bool = Field(
        False,
        description="Webhooks may begin with `http://`: what is sent can be read on the way. Embedded mode allows it.",
    )
    webhooks_allowed_networks: str = Field(
        "",
        description="Networks of your own that webhooks may reach: `10.1.0.0/16, fd00:1::/32`. Without it only public "
        "addresses: tenants could otherwise ask your machines through S4.",
    )
    webhooks_concurrency: int = Field(
        32,
        ge=1,
        description="Deliveries at once in a worker, beside its documents; a tenant takes a quarter at most. Each is "
        "an open connection.",
    )
    webhooks_connect_timeout_seconds: float = Field(3.0, gt=0, description="To resolve an endpoint's name and connect.")
    webhooks_timeout_seconds: float = Field(
        10.0, gt=0, description="For the whole delivery. Longer: slow endpoints succeed, and hold their place longer."
    )
    webhooks_retry_seconds: float = Field(
        15.0, gt=0, description="First pause before a repeat; doubles each time, up to two hours."
    )
    webhooks_patience_hours: float = Field(
        24.0, gt=0, description="How long a delivery is repeated before it is `dead`. It can be replayed then."
    )
    webhooks_retention_days: float = Field(
        30.0, gt=0, description="How long events and deliveries are kept to be looked at and replayed."
    )

    # -- maintenance
    sweep_seconds: float = Field(900.0, gt=0, description="How often reconcilers look for what was left behind.")
    garbage_grace_seconds: float = Field(
        86_400.0, ge=0, description="How long the bytes of deleted or replaced versions are kept."
    )
    index_grace_seconds: float = Field(
        900.0,
        ge=0,
        description="How long superseded versions of an index table stay for readers. Longer than any search.",
    )

    embedding_cache_days: float = Field(
        30.0,
        ge=0,
        description="How long vectors stay in any case that were paid for. Older ones of a tenant that has more than "
        "twice as many as its documents have go, the oldest first. Fewer: less space, more paid again when texts "
        "come back.",
    )

    _smtp_url = field_validator("smtp_url")(names_a_mail_server)
    _secret_key = field_validator("secret_key", "previous_secret_key")(hard_to_guess)
    _networks = field_validator("trusted_proxies", "webhooks_allowed_networks")(names_networks)
    _database_url = field_validator("database_url")(names_a_database)

    @model_validator(mode="after")
    def _consistent(self) -> "Settings":
        refuse_contradictions(self)
        return self


@functools.cache
def secret_settings() -> frozenset[str]:
    """Names of the settings that are never shown, and that may be given as a file's path: `<name>_file`."""
    return frozenset(
        name
        for name, field in Settings.model_fields.items()
        if SecretStr in (field.annotation, *get_args(field.annotation))
        or any(isinstance(each, Secret) for each in field.metadata)
    )
