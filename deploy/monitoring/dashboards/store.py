"""What S4 stands on: the object store and the catalog, and what keeps both from being lost."""

from deploy.monitoring.dashboards.model import Board, Row, figure, graph, or_zero, rate

_STORE = Row(
    "Object store",
    (
        graph(
            "Requests by operation",
            "What the store bills.",
            {"{{operation}}": "sum by (operation) (operation:s4_store_requests:rate5m)"},
            unit="reqps",
        ),
        graph(
            "Requests by outcome",
            "`throttled`, `error`, `timeout`: the store is the bottleneck. `denied`: `s4 doctor store`.",
            {"{{outcome}}": "sum by (outcome) (operation:s4_store_requests:rate5m)"},
            unit="reqps",
        ),
        graph(
            "Latency by operation, p95",
            "The client's own repeats included.",
            {"{{operation}}": "operation:s4_store_request_duration_seconds:p95 >= 0"},
            unit="s",
        ),
        graph(
            "Errors by code",
            "The store's own codes.",
            {"{{operation}} {{code}}": rate("s4_store_errors_total", "operation, code")},
            unit="reqps",
        ),
        graph(
            "Retries",
            "Lost answers, broken downloads.",
            {"{{operation}}": rate("s4_store_retries_total", "operation")},
            unit="reqps",
        ),
        graph("Bytes", "Bodies.", {"{{direction}}": rate("s4_store_bytes_total", "direction")}, unit="Bps"),
        graph(
            "Commits",
            "`lost_answer`, `unknown`: the store or the network is not well.",
            {"{{outcome}}": rate("s4_commits_total", "outcome")},
        ),
        graph(
            "Failed shares",
            "Of all requests to the store.",
            {"failed": "s4:store_errors:ratio_5m", "throttled": "s4:store_throttled:ratio_5m"},
            unit="percentunit",
        ),
        graph(
            "Read from the second bucket",
            "Because the first did not send in time.",
            {"reads": rate("s4_store_failovers_total")},
            unit="reqps",
        ),
    ),
)
_CATALOG = Row(
    "Catalog",
    (
        graph(
            "Transactions, p95",
            "The wait for a connection included.",
            {"{{kind}}": "kind:s4_database_transaction_duration_seconds:p95 >= 0"},
            unit="s",
        ),
        graph(
            "Statements, p95",
            "The database alone. Much less than transactions: it is connections or locks that are waited for.",
            {"{{operation}}": "operation:s4_database_statement_duration_seconds:p95 >= 0"},
            unit="s",
        ),
        graph(
            "Statements",
            "Divided by requests or jobs: should not grow.",
            {"statements": rate("s4_database_statements_total")},
        ),
        graph(
            "Connections held",
            "Of S4_DATABASE_POOL_SIZE.",
            {
                "{{instance}} {{process}} {{pool}}": "s4_database_pool_in_use / s4_database_pool_connections",
            },
            unit="percentunit",
        ),
        graph(
            "Waiting for a connection",
            "Above 0 for minutes: raise S4_DATABASE_POOL_SIZE.",
            {"{{instance}} {{process}} {{pool}}": "s4_database_pool_waiting"},
        ),
        graph(
            "Errors and retries",
            "`busy`: the pool; `unavailable`: the database. Retries: many write at the same rows.",
            {
                "error: {{reason}}": rate("s4_database_errors_total", "reason"),
                "retry: {{reason}}": rate("s4_database_retries_total", "reason"),
            },
        ),
    ),
)
_SAFETY = Row(
    "Backups, second region, reconcilers",
    (
        figure(
            "Last good backup",
            "How long ago the state was that it holds; what a lost bucket would cost now.",
            "time() - max(s4_backup_last_point_timestamp_seconds)",
            unit="s",
        ),
        figure("Backup took", "Well below its interval.", "max(s4_backup_duration_seconds)", unit="s"),
        figure("Backup copied", "What was new since the one before.", "max(s4_backup_copied_bytes)", unit="bytes"),
        figure("Backup lacks", "Objects; above 0 something is lost.", "max(s4_backup_lacking_objects)"),
        figure("Drill: recovery time", "Of the last drill.", "max(s4_backup_drill_rto_seconds)", unit="s"),
        figure(
            "Drill: searches",
            "Asked of what the last drill restored; 0: only counts and sums speak for it.",
            "max(s4_backup_drill_searches)",
        ),
        figure("Drill failed", "1: the last one did.", "max(s4_backup_drill_failed)"),
        graph(
            "Backups, verifications, drills",
            "Of the last day, by outcome.",
            {"{{kind}} {{outcome}}": or_zero("sum by (kind, outcome) (increase(s4_backup_runs_total[1d]))")},
        ),
        graph(
            "Second region: behind",
            "What would be lost with the first, and when a copying last ended, which is told without a worker, too.",
            {
                "would be lost": or_zero("time() - max(s4_replication_as_of_timestamp_seconds > 0)"),
                "last copying": "max(s4_replication_lag_seconds)",
            },
            unit="s",
        ),
        graph(
            "Second region: copied",
            "Flat while it is behind: look for maintenance.replicate among the failed jobs.",
            {"{{what}}": rate("s4_replication_objects_total", "what"), "bytes": rate("s4_replication_bytes_total")},
        ),
        graph(
            "Mended by reconcilers",
            "More than a trickle: something crashes. `recounted` at all: a defect.",
            {"{{action}}": rate("s4_reconciled_total", "action")},
        ),
        graph(
            "Drift",
            "Bytes of balances that a recount put right, and of documents that a listing did not find. 0 always.",
            {"balances": "max(s4_usage_drift_bytes)", "documents": "max(s4_storage_drift_bytes)"},
            unit="bytes",
        ),
        graph(
            "Rows of S4's own",
            "As the last purge counted them. Growing without end: it does not run.",
            {"{{kind}}": or_zero("max by (kind) (s4_own_data_rows)")},
        ),
        graph(
            "Retention and archive",
            "Documents by what was done with them for their age.",
            {"{{action}}": rate("s4_lifecycle_objects_total", "action")},
        ),
    ),
)

BOARD = Board(
    "s4-store",
    "S4: store and catalog",
    "What S4 stands on, and what keeps it from being lost.",
    (_STORE, _CATALOG, _SAFETY),
)
