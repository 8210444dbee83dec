"""The catalogue of metrics: the one place where a metric is named.

Labels are bounded sets (route templates, operations, stages, outcomes), never tenants, keys or paths. Each
help line says what to do when the figure moves; `docs/reference/metrics.md` is generated from here.
"""

from prometheus_client import Counter, Gauge, Histogram, disable_created_metrics

disable_created_metrics()  # type: ignore[no-untyped-call]  # a series more for each, which nothing here looks at

# OpenTelemetry's buckets for http.server.request.duration, in seconds. The ledger's sketches have the same: other
# bounds need columns of their own there.
HTTP_BUCKETS_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)
_STAGE_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 180.0)
_FRESHNESS_SECONDS = (0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 900.0, 3600.0)

BUILD_INFO = Gauge("s4_build_info", "Constant 1; the running version is the label.", ["version"])
READY = Gauge("s4_ready", "1 while this process takes requests, 0 while it starts or drains.")

# -- requests
HTTP_REQUESTS = Counter(
    "s4_http_requests_total",
    "Answered requests. A rise of 5xx codes: look for the same request ids in the log.",
    ["method", "route", "code"],
)
HTTP_SECONDS = Histogram(
    "s4_http_request_duration_seconds",
    "Time to the last byte of the answer. When it rises, compare with the store's and the stages' durations.",
    ["method", "route", "status_class"],
    buckets=HTTP_BUCKETS_SECONDS,
)
HTTP_IN_FLIGHT = Gauge("s4_http_requests_in_flight", "Requests now in work. Near the limit: add replicas.")
HTTP_BYTES = Counter(
    "s4_http_bytes_total",
    "Body bytes by direction (in, out).",
    ["direction"],
)
AUTH_FAILURES = Counter(
    "s4_auth_failures_total",
    "Refused credentials by reason. A burst of `unknown` is somebody guessing: look at the addresses in the log.",
    ["reason"],
)
AUTH_THROTTLED = Counter(
    "s4_auth_throttled_total",
    "Refused credentials that were answered 429, after too many from their address or with their prefix. While it "
    "grows somebody is guessing, and is slowed: look at the addresses in the log, and close the proxy to them.",
)

PLACES = Gauge(
    "s4_http_places", "Requests that this process serves at once, by load (`S4_SEARCH_CONCURRENCY` …).", ["load"]
)
PLACES_HELD = Gauge(
    "s4_http_places_held", "Places that are taken now. At `s4_http_places` for minutes: add replicas.", ["load"]
)
PLACES_WAITING = Gauge("s4_http_places_waiting", "Requests that wait for a place now.", ["load"])
PLACE_WAIT_SECONDS = Histogram(
    "s4_http_place_wait_seconds",
    "How long those requests waited for a place that found none free, the refused ones too.",
    ["load"],
    buckets=HTTP_BUCKETS_SECONDS,
)
PLACES_REFUSED = Counter(
    "s4_http_places_refused_total",
    "Requests refused because there was no place: `share` (429: a tenant sends more at once than its share), `full`, "
    "`late` (503: the process is saturated; add replicas). The log's `http.no_place` names the tenant.",
    ["load", "reason"],
)

RATE_LIMITED = Counter(
    "s4_rate_limited_total", "Requests refused because their tenant's plan allows fewer per second. Who: see the log."
)
RATE_LIMITS_ALONE = Gauge(
    "s4_rate_limits_alone",
    "1 while Redis does not answer: each process limits by itself, so that a tenant may have its rate in each.",
)
RATE_LIMIT_ERRORS = Counter("s4_rate_limit_errors_total", "Attempts to reach Redis that failed.")
LIFECYCLE_OBJECTS = Counter(
    "s4_lifecycle_objects_total",
    "Documents by what was done with them for their age: `expired` (deleted by retention), `archived` and `restored` "
    "(bytes moved between storage classes). After a rise that nobody expected: `s4 retention show`.",
    ["action"],
)
RETENTION_PURGED_BYTES = Counter(
    "s4_retention_purged_bytes_total", "Bytes of documents that retention deleted. See `s4_lifecycle_objects_total`."
)
CALLS_WRITTEN_OFF = Counter(
    "s4_calls_written_off_total",
    "Calls in blocks of processes that were killed: so many at most were debited from tenants and never made.",
)

# -- audit
AUDIT_CHAIN_OK = Gauge(
    "s4_audit_chain_ok",
    "1 while the last verification found the audit trail as it was sealed. 0: somebody changed it; run "
    "`s4 audit verify`, which names the first bad entry.",
)
AUDIT_UNSEALED_SECONDS = Gauge(
    "s4_audit_unsealed_seconds",
    "Age of the oldest entry that is not sealed yet. Well above `S4_AUDIT_SEAL_SECONDS`: no worker runs, or the bucket "
    "does not take the batch; look for `audit.seal` among the failed jobs.",
)
AUDIT_OVERFLOW = Counter(
    "s4_audit_overflow_total",
    "Calls that the audit trail had no room for, because the catalog was away too long; the trail says how many.",
)

# -- object store
STORE_REQUESTS = Counter(
    "s4_store_requests_total",
    "Requests to the object store. `throttled` or `error` rising: the store is the bottleneck.",
    ["operation", "outcome"],
)
STORE_SECONDS = Histogram(
    "s4_store_request_duration_seconds",
    "Duration of a request to the object store, the client's own repeats included.",
    ["operation"],
    buckets=_STAGE_SECONDS,
)
STORE_BYTES = Counter(
    "s4_store_bytes_total", "Body bytes exchanged with the object store (read, written).", ["direction"]
)
COMMITS = Counter(
    "s4_commits_total",
    "Attempts to create a head: `own`, `lost_answer` (own after reading back), `taken` (another was first), `unknown`.",
    ["outcome"],
)

# -- catalog
DATABASE_SECONDS = Histogram(
    "s4_database_transaction_duration_seconds",
    "Duration of a catalog transaction by kind (read, write), the wait for a connection included.",
    ["kind"],
    buckets=_STAGE_SECONDS,
)
DATABASE_STATEMENTS = Counter(
    "s4_database_statements_total",
    "Statements sent to the catalog. Divided by requests or jobs it says what one costs, which should not grow.",
)
DATABASE_RETRIES = Counter(
    "s4_database_retries_total", "Transactions begun anew after a lock or serialization failure.", ["reason"]
)

# -- queue
JOBS = Counter(
    "s4_jobs_total",
    "Jobs that ended an attempt: `ok`, `retry`, `failed`, `released` (handed back), `deferred` (waits for a provider "
    "that is down), `lost` (lease expired). "
    "`lost` rising: workers are killed, look at their memory.",
    ["kind", "outcome"],
)
JOB_SECONDS = Histogram("s4_job_duration_seconds", "Duration of one attempt.", ["kind"], buckets=_STAGE_SECONDS)
QUEUE_DEPTH = Gauge("s4_queue_depth", "Jobs by state. `ready` growing: add workers.", ["kind", "state"])
QUEUE_OLDEST_SECONDS = Gauge(
    "s4_queue_oldest_ready_seconds",
    "Age of the oldest job that could run. Above the freshness target: add workers.",
)
SCHEDULE_LAST_SUCCESS = Gauge(
    "s4_schedule_last_success_timestamp_seconds",
    "When a regular task last succeeded, as Unix time; of one that never has, since when it is regular. `time() -` it "
    "beyond twice `s4_schedule_interval_seconds`, take the greatest of all processes: `s4 schedule list` says why.",
    ["task"],
)
SCHEDULE_INTERVAL = Gauge(
    "s4_schedule_interval_seconds",
    "How often a regular task is to run; beside `s4_schedule_last_success_timestamp_seconds` it says what is overdue.",
    ["task"],
)

# -- pipeline
STAGE_SECONDS = Histogram(
    "s4_pipeline_stage_duration_seconds",
    "Duration of a stage of indexing one document (read, extract, chunk, embed, write, publish).",
    ["stage"],
    buckets=_STAGE_SECONDS,
)
DOCUMENTS_INDEXED = Counter(
    "s4_documents_indexed_total",
    "Documents that reached an end state. `failed` by reason: `corrupt` is the tenant's file, the rest may be ours.",
    ["outcome", "reason"],
)
FRESHNESS_SECONDS = Histogram(
    "s4_freshness_seconds",
    "From the acknowledged upload to searchable. The promise to tenants: compare with queue age and stages.",
    buckets=_FRESHNESS_SECONDS,
)
EXTRACTION_CHILDREN = Counter(
    "s4_extraction_children_total",
    "Ends of extraction children by reason (recycled, timeout, memory, crashed). Many kills: somebody uploads bombs.",
    ["reason"],
)
EXTRACTION_SLOW = Counter(
    "s4_extraction_slow_total",
    "Files that needed the slow lane: `moved` there with their child, or `restarted` there because others waited. "
    "`restarted` rising: raise `S4_EXTRACTION_SLOW_PROCESSES`, or look who uploads what.",
    ["how"],
)
CHUNKS = Counter("s4_chunks_total", "Chunks made.")

# -- embedding
EMBEDDING_REQUESTS = Counter(
    "s4_embedding_requests_total",
    "Requests to the embedding provider. `throttled`: lower the concurrency or buy more.",
    ["provider", "outcome"],
)
EMBEDDING_SECONDS = Histogram(
    "s4_embedding_request_duration_seconds",
    "Duration of a request to the provider.",
    ["provider"],
    buckets=_STAGE_SECONDS,
)
EMBEDDING_TOKENS = Counter("s4_embedding_tokens_total", "Tokens sent to the provider: what it bills.", ["provider"])
EMBEDDING_BREAKER_OPEN = Gauge(
    "s4_embedding_breaker_open",
    "1 while the provider is left alone because it is not well: documents wait, searches answer from keywords. The "
    "log's `embedding.provider_not_well` says why.",
    ["provider"],
)
EMBEDDING_CACHE = Counter(
    "s4_embedding_cache_chunks_total",
    "Chunks whose vector was found (`hit`) or had to be made (`miss`).",
    ["outcome"],
)

# -- search and index
SEARCHES = Counter(
    "s4_searches_total", "Searches by mode and whether they were degraded to keywords.", ["mode", "degraded"]
)
SEARCH_SECONDS = Histogram(
    "s4_search_stage_duration_seconds",
    "Duration of a stage of a search (embed, open, fetch, verify, total). The stage that grew is the one to look at.",
    ["stage"],
    buckets=HTTP_BUCKETS_SECONDS,
)
INDEX_COMMITS = Counter(
    "s4_index_commits_total", "Writes to index tables by outcome (ok, conflict, lost_lease).", ["outcome"]
)
INDEX_CHECKS = Counter(
    "s4_index_checks_total",
    "Looks at index tables by what was found: `sound`, `damaged` (files are gone or changed in the bucket; the table "
    "is made anew), `deferred` (damaged again a short while after that; it waits). Anything but `sound`: find out who "
    "deletes or changes objects below `indices/`, or whether the store loses them.",
    ["outcome"],
)
INDEX_REREADS = Counter("s4_search_rereads_total", "Searches repeated because the table's version moved meanwhile.")

INDEX_COPIES = Counter(
    "s4_index_copies_total",
    "Searches by where their table was (`hit`: on local disk; `store`: in the bucket), and what became of copies "
    "(`filled`, `evicted`, `idle`, `distrusted`, `failed`, `damaged`). `store` and `evicted` rising together: raise "
    "`S4_INDEX_COPIES_BYTES`. `distrusted`: the local disk is damaged, or was cleaned by somebody else. `damaged`: "
    "what the bucket gave is not what was committed; see `s4_index_checks_total`.",
    ["outcome"],
)
INDEX_COPIED_BYTES = Counter("s4_index_copied_bytes_total", "Bytes of index tables fetched to local disk.")
INDEX_COPIES_BYTES = Gauge("s4_index_copies_bytes", "Bytes of index tables on local disk.")

# -- metering
USAGE_FLUSHES = Counter(
    "s4_usage_flushes_total",
    "Batches of a meter by outcome: `ok`, `deferred` (the catalog was away; the batch waits in memory), `failed`. "
    "Anything but `ok` growing: a kill of this process now would lose what waits.",
    ["outcome"],
)

SLA_TOLD = Counter(
    "s4_sla_told_total",
    "Tenants that were told that their month is `at_risk` or `breached`: `s4 sla` says whose, `s4 sla report` why.",
    ["state"],
)

# -- webhooks
WEBHOOK_DELIVERIES = Counter(
    "s4_webhook_deliveries_total",
    "Attempts to deliver an event: `delivered`, `retry` (sent again later), `dead` (given up, can be replayed), `lost` "
    "(took longer than its claim). `dead` rising: tenants' endpoints are away; the log names the webhooks.",
    ["outcome"],
)
WEBHOOK_OLDEST_SECONDS = Gauge(
    "s4_webhook_oldest_pending_seconds",
    "Age of the oldest event that is still to be delivered. Hours: an endpoint is away; of all webhooks at once: the "
    "workers reach no network.",
)

# -- second region
STORE_FAILOVERS = Counter(
    "s4_store_failovers_total",
    "Contents and texts that were read from the second bucket, because the first did not send them in time. Rising: "
    "the first store is away; nothing can be written.",
)
REPLICATION_LAG = Gauge(
    "s4_replication_lag_seconds",
    "How long ago that was which the second bucket has completely, as of the end of the last copying by this process. "
    "More than twice S4_REPLICATE_SECONDS: the second store is away or too slow for what is written.",
)
REPLICATION_AS_OF = Gauge(
    "s4_replication_as_of_timestamp_seconds",
    "Everything that was acknowledged before then is in the second bucket; `time()` less this is what would be lost "
    "now. 0: this process has copied nothing yet.",
)
REPLICATION_OBJECTS = Counter(
    "s4_replication_objects_total", "Objects copied into the second bucket, and deleted there.", ["what"]
)
REPLICATION_BYTES = Counter("s4_replication_bytes_total", "Bytes copied into the second bucket.")
SUPERSEDED = Gauge(
    "s4_superseded",
    "1: another region was promoted, and this process stops. What it accepted meanwhile lists `s4 stranded`.",
)

# -- reconcilers
RECONCILED = Counter(
    "s4_reconciled_total",
    "What reconcilers mended (adopted, abandoned, released, requeued, collected, pruned, recounted). More than a "
    "trickle means crashes; `recounted` at all means a bug.",
    ["action"],
)
OWN_ROWS = Gauge(
    "s4_own_data_rows",
    "Rows that S4 keeps of its own, by kind (jobs, events, deliveries, mails, ledger, endpoints, errors, idempotency, "
    "creations, audit), as the last hourly purge counted them. Growing without end: the purge does not run, see "
    "`s4_schedule_last_success_timestamp_seconds`, or its days are more than the database bears.",
    ["kind"],
)
USAGE_DRIFT_BYTES = Gauge(
    "s4_usage_drift_bytes",
    "Bytes by which tenants' balances differed from the last recount, which put them right. Above 0: report it, with "
    "the log's `usage.drifted`.",
)
STORAGE_DRIFT_BYTES = Gauge(
    "s4_storage_drift_bytes",
    "Bytes of live documents that the last listing of the bucket did not find. Above 0: somebody deletes behind S4's "
    "back; the log's `maintenance.content_differs` names the documents.",
)

# -- backups
BACKUP_LAST_POINT = Gauge(
    "s4_backup_last_point_timestamp_seconds",
    "The moment that the last good backup holds, as Unix time; 0: there is none. `time() -` this is what a lost bucket "
    "would cost now: beyond twice `S4_BACKUP_EVERY_HOURS` look for `backup.failed` in the workers' logs. The API tells "
    "it; take the greatest of all processes.",
)
BACKUP_SECONDS = Gauge(
    "s4_backup_duration_seconds",
    "How long the last good backup took. It must stay well below `S4_BACKUP_EVERY_HOURS`.",
)
BACKUP_BYTES = Gauge(
    "s4_backup_copied_bytes", "What the last good backup had to copy: what was new since the one before."
)
BACKUP_LACKING = Gauge(
    "s4_backup_lacking_objects",
    "Objects that the catalog named and the bucket did not have when the last good backup was made. Above 0 something "
    "was lost: `backup.object_lacking` in the log names it; an older backup may have it.",
)
BACKUP_RUNS = Counter(
    "s4_backup_runs_total",
    "Backups, verifications and drills that ended in this process, by kind and outcome. Any `failed`: read its error "
    "in the log.",
    ["kind", "outcome"],
)
DRILL_LAST = Gauge(
    "s4_backup_drill_timestamp_seconds", "When the last drill ended, as Unix time, however it ended; 0: there was none."
)
DRILL_FAILED = Gauge(
    "s4_backup_drill_failed",
    "1 if the last drill did not restore a sound deployment within its targets: the log's `backup.drill_failed` says "
    "why. Do not wait for the day on which you need it.",
)
DRILL_RTO = Gauge("s4_backup_drill_rto_seconds", "How long the last drill took from nothing to a verified deployment.")
DRILL_RPO = Gauge("s4_backup_drill_rpo_seconds", "How old the backup was when the last drill began to restore it.")
