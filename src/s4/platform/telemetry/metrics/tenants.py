"""Tenants: what is counted for them, and what is told to them."""

from prometheus_client import Counter, Gauge

from s4.platform.telemetry.metrics.buckets import Read

# -- tenants
# The only series that name a tenant. In those of every process there are the K busiest at most, and only for who shows
# `S4_METRICS_TOKEN`: without one `/metrics` is for everybody who reaches the port, tenants too.
TENANTS = Read(
    "s4_tenants",
    "Tenants by status (active, suspended, deleting). `suspended` jumps: `s4 tenant list --status suspended` says who.",
    ("status",),
)
TENANTS_SEEN = Read(
    "s4_tenants_seen",
    "Tenants that asked for anything in the last 24 hours (`24h`) and 30 days (`30d`). Falling at once: a large group "
    "of callers does not reach S4, or their keys have expired.",
    ("within",),
)
TOP_CALLS = Read(
    "s4_top_tenant_calls",
    "Calls in the running month of the `S4_METRICS_TENANTS_TOP` tenants with most, and of the rest as `other`. One "
    "that rises alone is the noisy neighbour: `s4 usage` says what it asks.",
    ("tenant_id",),
)
TOP_STORED_BYTES = Read(
    "s4_top_tenant_stored_bytes",
    "Bytes stored for the tenants with most, and for the rest as `other`. One that grows alone: look at its plan.",
    ("tenant_id",),
)
TOP_UTILISATION = Read(
    "s4_top_tenant_utilisation_ratio",
    "How much of its plan a tenant has used, the greater of storage and the month's calls, of those nearest to their "
    "bounds; `other` is the greatest of the rest. At 1 it is refused: offer a larger plan.",
    ("tenant_id",),
)
CATALOG_READ = Read(
    "s4_catalog_figures_timestamp_seconds",
    "When this process last read what it tells of tenants and index tables from the catalog "
    "(`S4_METRICS_CATALOG_SECONDS`). Long ago: the catalog does not answer.",
)

# -- tenant exporter
# What `s4 exporter` answers, a process of its own, for every tenant; no other process has these.
TENANT_INFO = Read(
    "s4_tenant_info",
    "Constant 1; name, plan and status of a tenant are labels, to be joined to the others by `tenant_id`. `suspended`: "
    "everything that the tenant asks is refused; `s4 tenant get` says more.",
    ("tenant_id", "name", "plan_id", "status"),
)
TENANT_CALLS = Read(
    "s4_tenant_calls_total",
    "Calls in the running month; begins anew with the month. Rising beside others' latency: a noisy neighbour, give "
    "its plan a rate.",
    ("tenant_id",),
)
TENANT_REQUESTS = Read(
    "s4_tenant_requests_total",
    "Requests in the running month, those too that are no calls. What `s4_tenant_failures_total` is a share of.",
    ("tenant_id",),
)
TENANT_FAILURES = Read(
    "s4_tenant_failures_total",
    "Of those, the ones that S4 failed (5xx). Rising for one tenant only: look for its id in the log.",
    ("tenant_id",),
)
TENANT_STORED_BYTES = Read(
    "s4_tenant_stored_bytes", "Bytes of its live documents. Near its plan's bound: offer a larger plan.", ("tenant_id",)
)
TENANT_DOCUMENTS = Read(
    "s4_tenant_documents", "Its live documents. Falling at once: `s4 audit` says who deleted them.", ("tenant_id",)
)
TENANT_UTILISATION = Read(
    "s4_tenant_utilisation_ratio",
    "How much of its plan it has used, the greater of storage and the month's calls; 0 where the plan bounds neither. "
    "At 1 it is refused: offer a larger plan.",
    ("tenant_id",),
)
TENANT_LAST_SEEN = Read(
    "s4_tenant_last_activity_timestamp_seconds",
    "When it last asked for anything; 0: never. Weeks ago: ask whether it has left.",
    ("tenant_id",),
)
EXPORTER_READ = Read(
    "s4_exporter_read_timestamp_seconds",
    "When the exporter last read the catalog (`S4_EXPORTER_SECONDS`). Long ago: look at the database; all "
    "other figures are as old.",
)
EXPORTER_SECONDS = Read(
    "s4_exporter_read_duration_seconds",
    "How long that took. Near `S4_EXPORTER_SECONDS`: raise that.",
)

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
SLA_TOLD.labels("breached")  # from 0 on: a series that begins at 1 has not increased

# -- webhooks
WEBHOOK_DELIVERIES = Counter(
    "s4_webhook_deliveries_total",
    "Attempts to deliver an event: `delivered`, `retry` (sent again later), `dead` (given up, can be replayed), `lost` "
    "(took longer than its claim). `dead` rising: tenants' endpoints are away; the log names the webhooks.",
    ["outcome"],
)
WEBHOOK_DELIVERIES.labels("dead")
WEBHOOK_OLDEST_SECONDS = Gauge(
    "s4_webhook_oldest_pending_seconds",
    "Age of the oldest event that is still to be delivered. Hours: an endpoint is away; of all webhooks at once: the "
    "workers reach no network.",
)
