"""From an upload to the first search that finds it."""

from deploy.monitoring.dashboards.model import RATE, Board, Row, figure, graph, listing, or_zero, rate
from deploy.monitoring.objectives import FRESH_SECONDS

_FRESH = Row(
    "Freshness and queue",
    (
        graph(
            "From upload to found",
            "The promise to tenants. Compare with the queue's age and the stages.",
            {"p95 of half an hour": "s4:s4_freshness_seconds:p95 >= 0"},
            unit="s",
        ),
        graph(
            "Found late",
            f"Share of documents that were found later than {FRESH_SECONDS:g} s after their upload.",
            {"late": "s4:found_late:ratio_30m"},
            unit="percentunit",
        ),
        graph(
            "Oldest job that could run",
            "Minutes: add workers.",
            {"age": "max(s4_queue_oldest_ready_seconds)"},
            unit="s",
        ),
        graph(
            "Jobs by state",
            "`ready` grows: add workers.",
            {"{{kind}} {{state}}": or_zero("max by (kind, state) (s4_queue_depth)")},
        ),
        graph(
            "Attempts by outcome",
            "`lost`: workers die. `deferred`: the provider is down.",
            {"{{outcome}}": rate("s4_jobs_total", "outcome")},
        ),
        graph(
            "Jobs ended",
            "By reason of failure; `internal` is a defect.",
            {"{{kind}} {{outcome}} {{reason}}": rate("s4_jobs_ended_total", "kind, outcome, reason")},
        ),
        graph(
            "Duration of jobs, p95",
            "By kind. When documents.index rises, look at its stages.",
            {"{{kind}}": "kind:s4_job_duration_seconds:p95 >= 0"},
            unit="s",
        ),
        graph(
            "Attempts a job takes",
            "On average; more than one often: the log's `job.retried` says why.",
            {
                "attempts": f"sum(rate(s4_job_attempts_sum[{RATE}])) / (sum(rate(s4_job_attempts_count[{RATE}])) > 0) "
                "or on () vector(0)"
            },
        ),
        listing(
            "Regular tasks",
            "Seconds since the last success, in all processes. More than twice the interval: overdue.",
            "time() - max by (task) (s4_schedule_last_success_timestamp_seconds > 0)",
            unit="s",
            span=8,
        ),
    ),
)
_PIPELINE = Row(
    "Extraction and embedding",
    (
        graph(
            "Documents",
            "`failed` by reason: `corrupt` is the tenant's file, the rest may be ours.",
            {"{{outcome}} {{reason}}": rate("s4_documents_indexed_total", "outcome, reason")},
        ),
        graph(
            "Stages, p95",
            "The one that grew is the one to look at.",
            {"{{stage}}": "stage:s4_pipeline_stage_duration_seconds:p95 >= 0"},
            unit="s",
        ),
        graph("Chunks", "The throughput of workers.", {"chunks": rate("s4_chunks_total")}),
        graph(
            "Ends of extraction children",
            "Many by timeout, memory or crash: somebody uploads bombs.",
            {"{{reason}}": rate("s4_extraction_children_total", "reason")},
        ),
        graph(
            "Slow files",
            "`restarted` rises: raise S4_EXTRACTION_SLOW_PROCESSES.",
            {"{{how}}": rate("s4_extraction_slow_total", "how")},
        ),
        graph(
            "Provider: latency, p95",
            "When it rises, searches and indexing do.",
            {"{{provider}}": "provider:s4_embedding_request_duration_seconds:p95 >= 0"},
            unit="s",
        ),
        graph(
            "Provider: requests",
            "`throttled`: lower S4_WORKER_CONCURRENCY, or buy more.",
            {"{{provider}} {{outcome}}": rate("s4_embedding_requests_total", "provider, outcome")},
            unit="reqps",
        ),
        graph(
            "Provider: texts and tokens",
            "Tokens are what it bills.",
            {
                "{{use}}": rate("s4_embedding_texts_total", "use"),
                "tokens": rate("s4_embedding_tokens_total"),
            },
        ),
        graph(
            "Provider: cost",
            "A day, at the rate of now; by S4_PRICE_EMBEDDING_MILLION_TOKENS.",
            {"{{currency}}": or_zero(f"sum by (currency) (rate(s4_embedding_cost_total[{RATE}])) * 86400")},
        ),
        graph(
            "Provider: left alone",
            "Processes whose breaker is open.",
            {"{{provider}}": or_zero("sum by (provider) (s4_embedding_breaker_open)")},
        ),
        graph(
            "Embedding cache",
            "Chunks whose vector was there, of all.",
            {
                "hits": or_zero(
                    f'sum(rate(s4_embedding_cache_chunks_total{{outcome="hit"}}[{RATE}])) '
                    f"/ (sum(rate(s4_embedding_cache_chunks_total[{RATE}])) > 0)"
                )
            },
            unit="percentunit",
        ),
        graph(
            "Recall of large tables",
            "Of the ten nearest chunks, the part that sampled searches found; below 0.95: see the runbook.",
            {
                "recall": "sum(increase(s4_index_recall_ratio_sum[6h])) "
                "/ (sum(increase(s4_index_recall_ratio_count[6h])) > 0) or on () vector(1)"
            },
            unit="percentunit",
        ),
        graph(
            "Processor of the local model",
            "Most of what a worker has: add workers, or use a provider.",
            {"{{instance}}": or_zero(f"sum by (instance) (rate(s4_embedding_cpu_seconds_total[{RATE}]))")},
        ),
    ),
)
_INDEX = Row(
    "Index",
    (
        figure("Tables", "One for each tenant with documents and each generation.", "max(s4_index_tables)"),
        figure("Bytes", "Of all tables, in the store.", "max(s4_index_bytes)", unit="bytes"),
        figure(
            "Pieces of the worst table",
            "Beyond some hundreds: it is not compacted.",
            'max(s4_index_fragments{of="most"})',
        ),
        figure(
            "Commits since compaction",
            "Of the table with most.",
            'max(s4_index_commits_since_optimize{of="most"})',
        ),
        figure("Local copies", "At most S4_INDEX_COPIES_BYTES.", "sum(s4_index_copies_bytes)", unit="bytes"),
        figure("Cache in memory", "Of all processes.", "sum(s4_index_cache_bytes)", unit="bytes"),
        graph(
            "Commits",
            "Conflicts: two deployments write to one bucket.",
            {"{{outcome}}": rate("s4_index_commits_total", "outcome")},
        ),
        graph(
            "Looks at tables",
            "Anything but `sound`: who deletes or changes objects below indices/?",
            {"{{outcome}}": rate("s4_index_checks_total", "outcome")},
        ),
        graph(
            "Where searches found their table",
            "`store` and `evicted` rising together: raise S4_INDEX_COPIES_BYTES.",
            {"{{outcome}}": rate("s4_index_copies_total", "outcome")},
        ),
        graph(
            "Open tables",
            "`evicted` beside `miss`: raise S4_INDEX_HANDLES_MAX.",
            {"{{outcome}}": rate("s4_index_handles_total", "outcome")},
        ),
        graph("Fetched to local disk", "As above.", {"bytes": rate("s4_index_copied_bytes_total")}, unit="Bps"),
        graph(
            "Webhooks",
            "`dead`: endpoints are away; `s4 webhook deliveries` says which.",
            {
                "{{outcome}}": rate("s4_webhook_deliveries_total", "outcome"),
                "oldest waits, seconds": "max(s4_webhook_oldest_pending_seconds)",
            },
        ),
    ),
)

BOARD = Board(
    "s4-indexing",
    "S4: indexing",
    "From an upload to the first search that finds it: queue, extraction, embedding, index.",
    (_FRESH, _PIPELINE, _INDEX),
)
