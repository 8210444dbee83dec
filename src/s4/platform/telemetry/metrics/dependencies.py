"""The object store and the catalog, as S4 finds them."""

from prometheus_client import Counter, Gauge, Histogram

from s4.platform.telemetry.metrics.buckets import STAGE_BUCKETS_SECONDS, STATEMENT_BUCKETS_SECONDS

# -- object store
STORE_REQUESTS = Counter(
    "s4_store_requests_total",
    "Requests to the object store. `throttled` or `error` rising: the store is the bottleneck.",
    ["operation", "outcome"],
)
STORE_SECONDS = Histogram(
    "s4_store_request_duration_seconds",
    "Duration of a request to the object store, the client's own repeats included. Seconds: the "
    "store or the way to it is slow; `s4 doctor store` measures both.",
    ["operation"],
    buckets=STAGE_BUCKETS_SECONDS,
)
STORE_BYTES = Counter(
    "s4_store_bytes_total",
    "Body bytes exchanged with the object store (read, written). It is what the store bills.",
    ["direction"],
)
STORE_ERRORS = Counter(
    "s4_store_errors_total",
    "Requests to the object store that failed in the end, by the store's own code (`SlowDown`, `AccessDenied`, `500` "
    "…; `none`: it did not answer; `other`: one that S4 does not know). `AccessDenied`: run `s4 doctor store`.",
    ["operation", "code"],
)
STORE_RETRIES = Counter(
    "s4_store_retries_total",
    "Times that S4 asked the store again: a creation whose answer was lost (`create`), a download that broke off "
    "(`get`). The client's own repeats of one request are not in it. Rising: the store or the network is not well.",
    ["operation"],
)
COMMITS = Counter(
    "s4_commits_total",
    "Attempts to create a head: `own`, `lost_answer` (own after reading back), `taken` (another was first), `unknown`. "
    "Much `lost_answer` or `unknown`: the store or the network is not well.",
    ["outcome"],
)

# -- catalog
DATABASE_SECONDS = Histogram(
    "s4_database_transaction_duration_seconds",
    "Duration of a catalog transaction by kind (read, write), the wait for a connection included. When it rises, "
    "compare with `s4_database_statement_duration_seconds`: what is not in there is waiting for connections or locks.",
    ["kind"],
    buckets=STAGE_BUCKETS_SECONDS,
)
DATABASE_STATEMENTS = Counter(
    "s4_database_statements_total",
    "Statements sent to the catalog. Divided by requests or jobs it says what one costs, which should not grow.",
)
DATABASE_RETRIES = Counter(
    "s4_database_retries_total",
    "Transactions begun anew after a lock or serialization failure. Rising: many write at "
    "the same rows; few tenants do most of it, or an import runs.",
    ["reason"],
)
DATABASE_STATEMENT_SECONDS = Histogram(
    "s4_database_statement_duration_seconds",
    "Duration of a statement by what it does (select, insert, update, delete, other). When it rises, the database is "
    "slow: look at its processor, its disk, its locks.",
    ["operation"],
    buckets=STATEMENT_BUCKETS_SECONDS,
)
DATABASE_POOL_SIZE = Gauge(
    "s4_database_pool_connections",
    "Connections that this process may open to the catalog (`S4_DATABASE_POOL_SIZE`), by pool: SQLite has one to "
    "`read` and one to `write`, PostgreSQL one for `both`. The limit of `s4_database_pool_in_use`.",
    ["pool"],
)
DATABASE_POOL_IN_USE = Gauge(
    "s4_database_pool_in_use",
    "Connections to the catalog that transactions hold now. At `s4_database_pool_connections` for minutes: raise "
    "`S4_DATABASE_POOL_SIZE`, within what the server bears.",
    ["pool"],
)
DATABASE_POOL_WAITING = Gauge(
    "s4_database_pool_waiting",
    "Transactions that wait for a connection now. Above 0 for minutes: as `s4_database_pool_in_use`.",
    ["pool"],
)
DATABASE_ERRORS = Counter(
    "s4_database_errors_total",
    "Transactions that the catalog did not do: `busy` (no connection or no lock in time), `unavailable` (it does not "
    "answer). `busy`: raise `S4_DATABASE_POOL_SIZE`; `unavailable`: look at the database.",
    ["reason"],
)
