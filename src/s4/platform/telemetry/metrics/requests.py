"""Requests over HTTP, and the trail of what they did."""

from prometheus_client import Counter, Gauge, Histogram

from s4.platform.telemetry.metrics.buckets import HTTP_BUCKETS_SECONDS

# -- requests
HTTP_REQUESTS = Counter(
    "s4_http_requests_total",
    "Answered requests. A rise of 5xx codes: look for the same request ids in the log.",
    ["method", "route", "code"],
)
HTTP_SECONDS = Histogram(
    "s4_http_request_duration_seconds",
    "Time to the last byte of an answer, refusals (4xx) excepted: they are quick, and would hide the rest. "
    "Administrators' routes are one. When it rises, compare with the store's and the stages' durations.",
    ["method", "route"],
    buckets=HTTP_BUCKETS_SECONDS,
)
HTTP_IN_FLIGHT = Gauge("s4_http_requests_in_flight", "Requests now in work. Near the limit: add replicas.")
HTTP_ERRORS = Counter(
    "s4_http_errors_total",
    "Requests that ended in an error, by S4's code (see the reference of errors), which tells 429s apart "
    "(`rate_limited`, `quota_exceeded`) as statuses do not. `client_disconnected`: the caller went away before the "
    "answer; rising with latency, its timeout is shorter than ours.",
    ["code"],
)
HTTP_BYTES = Counter(
    "s4_http_bytes_total",
    "Body bytes by direction (in, out). Much more `out` than usual: `s4 usage` says whose downloads.",
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

ADMIN_NEW_ADDRESSES = Counter(
    "s4_admin_new_addresses_total",
    "Times that an administrator's key was used from an address where its holder never was, as the audit trail has it. "
    "Ask the holder; if it was somebody else, `s4 admin revoke`. The log's `access.admin_from_new_address` names both.",
)
CERTIFICATE_EXPIRES = Gauge(
    "s4_tls_certificate_expiry_timestamp_seconds",
    "When the listener's certificate expires, as Unix time; 0: this process speaks no TLS itself. Days from now: renew "
    "it, then restart one process after the other.",
)

SLO_REQUESTS = Counter(
    "s4_slo_requests_total",
    "Requests that a promise is about: `availability` (of tenants, and those that failed before it was known whose), "
    "`latency` (searches that were answered). What it is counted for: see `s4_slo_bad_requests_total`.",
    ["slo"],
)
SLO_BAD = Counter(
    "s4_slo_bad_requests_total",
    "Those that broke it: `availability` (answered 5xx, announced maintenance excepted), `latency` (a search that took "
    "longer than `S4_SLO_SEARCH_SECONDS`). Its share of all, divided by 1 - `s4_slo_objective_ratio`, is the burn "
    "rate: above 1 the month's budget will not last; the alerts' runbooks say where to look.",
    ["slo"],
)
SLO_OBJECTIVE = Gauge(
    "s4_slo_objective_ratio",
    "The share of requests that is promised to be good: `S4_SLO_AVAILABILITY`, `S4_SLO_LATENCY`. It moves when "
    "somebody changes the promise.",
    ["slo"],
)

PLACES = Gauge(
    "s4_http_places",
    "Requests that this process serves at once, by load (`S4_SEARCH_CONCURRENCY` …): the limit of "
    "`s4_http_places_held`.",
    ["load"],
)
PLACES_HELD = Gauge(
    "s4_http_places_held", "Places that are taken now. At `s4_http_places` for minutes: add replicas.", ["load"]
)
PLACES_WAITING = Gauge(
    "s4_http_places_waiting", "Requests that wait for a place now. Above 0 for minutes: add replicas.", ["load"]
)
PLACE_WAIT_SECONDS = Histogram(
    "s4_http_place_wait_seconds",
    "How long those requests waited for a place that found none free, the refused ones too. Seconds: add replicas.",
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
    "1 while Redis does not answer: each process limits by itself, so that a tenant may have its rate in each. "
    "Bring Redis back.",
)
RATE_LIMIT_ERRORS = Counter(
    "s4_rate_limit_errors_total", "Attempts to reach Redis that failed. Rising: look at Redis and the way to it."
)
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
    "Calls in blocks of processes that were killed: so many at most were debited from tenants and never made. "
    "Rising: processes are killed, look at their memory.",
)

# -- audit
AUDIT_CHAIN_OK = Gauge(
    "s4_audit_chain_ok",
    "1 while the last verification found the audit trail as it was sealed, or none was seen. 0: somebody changed it; "
    "run `s4 audit verify`, which names the first bad entry.",
)
AUDIT_CHAIN_OK.set(1)  # until the catalog says otherwise: a process that could not look yet wakes nobody
AUDIT_UNSEALED_SECONDS = Gauge(
    "s4_audit_unsealed_seconds",
    "Age of the oldest entry that is not sealed yet. Well above `S4_AUDIT_SEAL_SECONDS`: no worker runs, or the bucket "
    "does not take the batch; look for `audit.seal` among the failed jobs.",
)
AUDIT_OVERFLOW = Counter(
    "s4_audit_overflow_total",
    "Calls that the audit trail had no room for, because the catalog was away too long; the trail says how many. "
    "Above 0: bring the catalog back, and note the gap.",
)
