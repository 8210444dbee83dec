"""What looks after the data: the second region, reconcilers, backups."""

from prometheus_client import Counter, Gauge

# -- second region
STORE_FAILOVERS = Counter(
    "s4_store_failovers_total",
    "Contents and texts that were read from the second bucket, because the first did not send them in time. Rising: "
    "the first store is away; nothing can be written.",
)
REPLICATION_LAG = Gauge(
    "s4_replication_lag_seconds",
    "How long ago a copying into the second bucket last came to its end, as the catalog has it; 0: none is regular. "
    "The API tells it; take the greatest of all processes. More than twice `S4_REPLICATE_SECONDS`: the second store is "
    "away or too slow for what is written.",
)
REPLICATION_AS_OF = Gauge(
    "s4_replication_as_of_timestamp_seconds",
    "Everything that was acknowledged before then is in the second bucket; `time()` less this is what would be lost "
    "now. 0: this process has copied nothing yet. Standing still while objects are copied: the log's "
    "`replication.differs` names what is otherwise there.",
)
REPLICATION_OBJECTS = Counter(
    "s4_replication_objects_total",
    "Objects copied into the second bucket, and deleted there. Flat while `s4_replication_lag_seconds` "
    "grows: look for `maintenance.replicate` among the failed jobs.",
    ["what"],
)
REPLICATION_BYTES = Counter(
    "s4_replication_bytes_total", "Bytes copied into the second bucket: traffic between regions, which is billed."
)
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
for _action in ("adopted", "abandoned", "released", "requeued"):
    RECONCILED.labels(_action)  # from 0 on: a series that begins at 1 has not increased
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
    "the log's `usage.drifted`. 0 again after a recount that finds nothing. The API tells it; take the greatest of all "
    "processes.",
)
STORAGE_DRIFT_BYTES = Gauge(
    "s4_storage_drift_bytes",
    "Bytes of live documents that the last listing of the bucket did not find. Above 0: somebody deletes behind S4's "
    "back; the log's `maintenance.content_differs` names the documents. 0 again after a listing that finds them all. "
    "The API tells it; take the greatest of all processes.",
)

# -- backups
BACKUP_LAST_POINT = Gauge(
    "s4_backup_last_point_timestamp_seconds",
    "The moment that the last good backup holds, as Unix time; 0: there is none. `time() -` this is what a lost bucket "
    "would cost now: beyond twice `S4_BACKUP_EVERY_HOURS` look for `backup.failed` in the workers' logs. The API tells "
    "it; take the greatest of all processes.",
)
BACKUP_OVERDUE = Gauge(
    "s4_backup_overdue_seconds",
    "By how much the last good backup is older than it may be (`S4_RPO_TARGET_SECONDS`, else twice "
    "`S4_BACKUP_EVERY_HOURS`; where there is none, the deployment itself); 0: it is not, or neither is set. The API "
    "tells it; take the greatest of all processes. Above 0: look for `backup.failed` in the workers' logs.",
)
BACKUP_SECONDS = Gauge(
    "s4_backup_duration_seconds",
    "How long the last good backup took. It must stay well below `S4_BACKUP_EVERY_HOURS`.",
)
BACKUP_BYTES = Gauge(
    "s4_backup_copied_bytes",
    "What the last good backup had to copy: what was new since the one before. All of it each time: pruning is too "
    "eager.",
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
for _kind in ("backup", "verify", "drill"):
    BACKUP_RUNS.labels(_kind, "failed")
DRILL_LAST = Gauge(
    "s4_backup_drill_timestamp_seconds",
    "When the last drill ended, as Unix time, however it ended; 0: there was none. Months ago: run `s4 backup drill`.",
)
DRILL_FAILED = Gauge(
    "s4_backup_drill_failed",
    "1 if the last drill did not restore a sound deployment within its targets: the log's `backup.drill_failed` says "
    "why. Do not wait for the day on which you need it.",
)
DRILL_RTO = Gauge(
    "s4_backup_drill_rto_seconds",
    "How long the last drill that came so far took from nothing to a verified deployment. Beyond its target "
    "`s4_backup_drill_failed` is 1: see there.",
)
DRILL_SEARCHES = Gauge(
    "s4_backup_drill_searches",
    "How many searches the last drill asked of what it had restored. 0: none, so that only counts and sums speak for "
    "it. Of no document that was drawn for the backup was there a text that a search finds: look whether documents are "
    "ready and found, then make another backup.",
)
DRILL_RPO = Gauge(
    "s4_backup_drill_rpo_seconds",
    "How old the backup was when the last drill that found one began to restore it. Beyond its target: see "
    "`S4_BACKUP_EVERY_HOURS`.",
)
