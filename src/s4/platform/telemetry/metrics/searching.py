"""Searches, and the tables that they read."""

from prometheus_client import Counter, Gauge, Histogram

from s4.platform.telemetry.metrics.buckets import HTTP_BUCKETS_SECONDS, Read

# -- search and index
SEARCHES = Counter(
    "s4_searches_total",
    "Searches by mode and whether they were degraded to keywords. Degraded: see `s4_embedding_breaker_open`.",
    ["mode", "degraded"],
)
SEARCH_SECONDS = Histogram(
    "s4_search_stage_duration_seconds",
    "Duration of a stage of a search (embed, open, fetch, verify, total). The stage that grew is the one to look at.",
    ["stage"],
    buckets=HTTP_BUCKETS_SECONDS,
)
QUERY_VECTORS = Counter(
    "s4_query_vectors_total",
    "Queries whose vector this process remembered of the same tenant (`hit`) or had to ask for (`miss`). `hit` falling "
    "where people ask the same as before: more replicas share the same questions, or tenants push out their own.",
    ["outcome"],
)
INDEX_COMMITS = Counter(
    "s4_index_commits_total",
    "Writes to index tables by outcome (ok, conflict, lost_lease). Many conflicts: two "
    "deployments write to one bucket; lost leases: workers stall, look at their processors.",
    ["outcome"],
)
INDEX_CHECKS = Counter(
    "s4_index_checks_total",
    "Looks at index tables by what was found: `sound`, `damaged` (files are gone or changed in the bucket; the table "
    "is made anew), `deferred` (damaged again a short while after that; it waits). Anything but `sound`: find out who "
    "deletes or changes objects below `indices/`, or whether the store loses them.",
    ["outcome"],
)
for _outcome in ("damaged", "deferred"):
    INDEX_CHECKS.labels(_outcome)  # from 0 on: a series that begins at 1 has not increased
INDEX_REREADS = Counter(
    "s4_search_rereads_total",
    "Reads of a table that were repeated because its version moved or documents were replaced meanwhile. Most "
    "searches: raise `S4_INDEX_GRACE_SECONDS`.",
)

INDEX_RECALL = Histogram(
    "s4_index_recall_ratio",
    "Of live searches drawn by `S4_SEARCH_RECALL_SHARE` from tables that have an index of vectors: the part of the ten "
    "nearest chunks that the search found, against a scan. Below 0.95 on average: see the runbook of `S4RecallLow`.",
    buckets=(0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 1.0),
)
INDEX_RECALL_SAMPLES = Counter(
    "s4_index_recall_samples_total",
    "Searches drawn to have their recall measured, by what became of it: `compared`; `exact` (a small table: scanned "
    "anyway); `skipped` (another was being measured, or had been just now); `failed`, whose `search.recall_unknown` in "
    "the log says why. Only `skipped` and `failed`: nobody knows the recall.",
    ["outcome"],
)
for _outcome in ("compared", "exact", "skipped", "failed"):
    INDEX_RECALL_SAMPLES.labels(_outcome)

INDEX_COPIES = Counter(
    "s4_index_copies_total",
    "Searches by where their table was (`hit`: on local disk; `store`: in the bucket), and what became of copies "
    "(`filled`, `evicted`, `idle`, `distrusted`, `failed`, `damaged`). `store` and `evicted` rising together: raise "
    "`S4_INDEX_COPIES_BYTES`. `distrusted`: the local disk is damaged, or was cleaned by somebody else. `damaged`: "
    "what the bucket gave is not what was committed; see `s4_index_checks_total`.",
    ["outcome"],
)
INDEX_COPIED_BYTES = Counter(
    "s4_index_copied_bytes_total",
    "Bytes of index tables fetched to local disk. Rising all the time: raise `S4_INDEX_COPIES_BYTES`.",
)
INDEX_COPIES_BYTES = Gauge(
    "s4_index_copies_bytes", "Bytes of index tables on local disk. Its limit is `S4_INDEX_COPIES_BYTES`."
)
INDEX_CACHE_BYTES = Read(
    "s4_index_cache_bytes",
    "Memory that LanceDB counts for pages and metadata of tables. Its limit is half more than `S4_INDEX_CACHE_BYTES`; "
    "at it with slow searches (`fetch`): raise that.",
)
INDEX_HANDLES = Read(
    "s4_index_handles_open",
    "Tables that this process holds open, at most `S4_INDEX_HANDLES_MAX`. At it: see `s4_index_handles_total`.",
)
INDEX_HANDLES_ASKED = Counter(
    "s4_index_handles_total",
    "Tables that were asked for: open already (`hit`), opened (`miss`); and closed to make room (`evicted`). `evicted` "
    "beside `miss` rising: raise `S4_INDEX_HANDLES_MAX`.",
    ["outcome"],
)
INDEX_TABLES = Read(
    "s4_index_tables",
    "Index tables, one for each tenant with documents and each generation. Twice the tenants: a change of the embedder "
    "is under way, see `s4 index status`.",
)
INDEX_GENERATION_DONE = Read(
    "s4_index_generation_done_ratio",
    "Of the ready documents that a generation is to hold (one in use, or one that is built for tenants), the share "
    "that it holds. Below 1 and not rising: look at `s4 index status`, among the failed jobs, and for "
    "`generation.budget_spent` in the log.",
    ("generation",),
)
INDEX_BYTES = Read(
    "s4_index_bytes",
    "Bytes of all index tables in the store, as of their last commits. More than `S4_INDEX_COPIES_BYTES` can hold of "
    "the busy ones: raise that.",
)
INDEX_FRAGMENTS = Read(
    "s4_index_fragments",
    "Data files of index tables: of `all`, and of the table with most (`most`). `most` beyond a few hundred: "
    "`maintenance.optimize` does not run or fails; look among the failed jobs.",
    ("of",),
)
INDEX_UNOPTIMIZED = Read(
    "s4_index_commits_since_optimize",
    "Commits of index tables since they were compacted: of `all`, and of the table with most (`most`). Growing: see "
    "`s4_index_fragments`.",
    ("of",),
)
