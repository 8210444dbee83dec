"""Jobs, and the way of a document from its upload to its vectors."""

from prometheus_client import Counter, Gauge, Histogram

from s4.platform.telemetry.metrics.buckets import FRESHNESS_BUCKETS_SECONDS, STAGE_BUCKETS_SECONDS, Read

# -- queue
JOBS = Counter(
    "s4_jobs_total",
    "Jobs that ended an attempt: `ok`, `retry`, `failed`, `released` (handed back), `deferred` (waits for a provider "
    "that is down), `lost` (lease expired). "
    "`lost` rising: workers are killed, look at their memory.",
    ["kind", "outcome"],
)
JOB_SECONDS = Histogram(
    "s4_job_duration_seconds",
    "Duration of one attempt. When that of `documents.index` rises, look at the pipeline's stages.",
    ["kind"],
    buckets=STAGE_BUCKETS_SECONDS,
)
JOBS_ENDED = Counter(
    "s4_jobs_ended_total",
    "Jobs that are over: `ok`, or `failed` with the reason: a code of an error, `internal` (a defect of S4's: report "
    "it with the log's `job.failed`). `service_unavailable`: a dependency was away for `S4_JOB_PATIENCE_HOURS`.",
    ["kind", "outcome", "reason"],
)
JOB_ATTEMPTS = Histogram(
    "s4_job_attempts",
    "Attempts that a job took until it was over. More than one often: `s4_jobs_total` and the log's `job.retried` say "
    "why.",
    ["outcome"],
    buckets=(1, 2, 3, 5, 10),
)
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
    "Duration of a stage of indexing one document (read, extract, chunk, embed, write, publish). The stage that grew "
    "is the one to look at.",
    ["stage"],
    buckets=STAGE_BUCKETS_SECONDS,
)
DOCUMENTS_INDEXED = Counter(
    "s4_documents_indexed_total",
    "Documents that reached an end state. `failed` by reason: `corrupt` is the tenant's file; the rest may be ours, "
    "see the log.",
    ["outcome", "reason"],
)
FRESHNESS_SECONDS = Histogram(
    "s4_freshness_seconds",
    "From the acknowledged upload or reprocess to searchable, each counted once. The promise to tenants: compare with "
    "queue age and stages.",
    buckets=FRESHNESS_BUCKETS_SECONDS,
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
CHUNKS = Counter(
    "s4_chunks_total",
    "Chunks made. Its rate is the throughput of workers: flat while `s4_queue_depth` grows, add workers.",
)

# -- embedding
EMBEDDING_REQUESTS = Counter(
    "s4_embedding_requests_total",
    "Requests to the embedding provider. `throttled`: lower the concurrency or buy more.",
    ["provider", "outcome"],
)
EMBEDDING_SECONDS = Histogram(
    "s4_embedding_request_duration_seconds",
    "Duration of a request to the provider, or of a batch of the local model. When it rises, searches and indexing "
    "do: look at the provider, or add processors.",
    ["provider"],
    buckets=STAGE_BUCKETS_SECONDS,
)
EMBEDDING_TOKENS = Counter("s4_embedding_tokens_total", "Tokens sent to the provider: what it bills.", ["provider"])
EMBEDDING_TEXTS = Counter(
    "s4_embedding_texts_total",
    "Texts that were embedded: `documents` (chunks), `queries`. The rate is the throughput; flat while jobs wait: the "
    "provider is the bottleneck.",
    ["provider", "use"],
)
EMBEDDING_COST = Read(
    "s4_embedding_cost_total",
    "Estimated cost of those tokens by `S4_PRICE_EMBEDDING_MILLION_TOKENS`; 0 for the local model. Rising faster than "
    "`s4_documents_indexed_total`: something is embedded again and again, look at the cache.",
    ("provider", "currency"),
)
EMBEDDING_BREAKER_OPEN = Gauge(
    "s4_embedding_breaker_open",
    "1 while the provider is left alone because it is not well: documents wait, searches answer from keywords. The "
    "log's `embedding.provider_not_well` says why.",
    ["provider"],
)
EMBEDDING_CACHE = Counter(
    "s4_embedding_cache_chunks_total",
    "Chunks whose vector was found in the bucket (`hit`) or had to be made (`miss`). `miss` where nothing is new: "
    "look whether the embedder or the chunking was changed.",
    ["outcome"],
)
EMBEDDING_CACHE_BYTES = Counter(
    "s4_embedding_cache_bytes_total",
    "Bytes of vectors `read` from, `written` to and `removed` from that cache. Much `removed` and then "
    "`miss` rising: texts come back that were kept no more; raise `S4_EMBEDDING_CACHE_DAYS`.",
    ["direction"],
)
