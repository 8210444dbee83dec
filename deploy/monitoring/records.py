"""Recording rules: what alerts and dashboards ask often, computed once.

Named as Prometheus recommends, `level:metric:operation`, where the level says what is left of the labels: `s4` nothing,
`route` method and route, and so on. Ratios are of requests or seconds, from 0 to 1.
"""

from dataclasses import dataclass

from deploy.monitoring.objectives import FRESH_SECONDS, WINDOWS

STORE_FAILED = 'outcome=~"error|timeout|denied|full"'

_FRESH = f's4_freshness_seconds_bucket{{le="{FRESH_SECONDS}"}}'

QUANTILES = {"p50": 0.5, "p95": 0.95, "p99": 0.99}


@dataclass(frozen=True, slots=True)
class Record:
    name: str
    expression: str
    about: str
    """What its value is, with the unit."""


@dataclass(frozen=True, slots=True)
class Group:
    """Computed together, one after the other."""

    name: str
    records: tuple[Record, ...]


def share(part: str, whole: str, *, window: str) -> str:
    """The quotient of two counters' rates, 0 while there is no `part`, and nothing while there is no `whole`."""
    return f"(sum(rate({part}[{window}])) or vector(0)) / (sum(rate({whole}[{window}])) > 0)"


def _burn(window: str) -> Record:
    """Of each promise; 0 while nothing is asked."""
    bad, all_ = (f"sum by (slo) (rate(s4_slo_{what}_total[{window}]))" for what in ("bad_requests", "requests"))
    spent = f"(({bad} or 0 * {all_}) / ({all_} > 0) or 0 * {all_})"
    budget = "(1 - max by (slo) (last_over_time(s4_slo_objective_ratio[10m])))"  # over a scrape that did not come
    return Record(
        f"slo:s4_error_budget:burn_{window}",
        f"{spent} / on (slo) {budget}",
        "times as fast as the month's budget bears",
    )


def _quantiles(level: str, metric: str, by: str, names: tuple[str, ...] = ("p95",)) -> tuple[Record, ...]:
    """Of a histogram's last five minutes, for each value of the labels `by`."""
    return tuple(
        Record(
            f"{level}:{metric}:{name}",
            f"histogram_quantile({quantile}, sum by ({by}, le) (rate({metric}_bucket[5m])))",
            f"seconds, {name}",
        )
        for name in names
        for quantile in (QUANTILES[name],)
    )


_OBJECTIVES = Group(
    "s4-objectives",
    (
        *(_burn(window) for window in WINDOWS),
        Record(
            "s4:http_errors:ratio_5m",
            share('s4_http_requests_total{code=~"5.."}', "s4_http_requests_total", window="5m"),
            "of requests, answered 5xx",
        ),
        Record(
            "s4:found_late:ratio_30m",
            f"1 - {share(_FRESH, 's4_freshness_seconds_count', window='30m')}",
            f"of documents, found later than {FRESH_SECONDS:g} s after their upload",
        ),
        Record(
            "s4:s4_freshness_seconds:p95",
            "histogram_quantile(0.95, sum by (le) (rate(s4_freshness_seconds_bucket[30m])))",
            "seconds from upload to found, p95 of half an hour",
        ),
    ),
)
_REQUESTS = Group(
    "s4-requests",
    (
        Record(
            "route:s4_http_requests:rate5m",
            "sum by (method, route, code) (rate(s4_http_requests_total[5m]))",
            "requests a second",
        ),
        *_quantiles("route", "s4_http_request_duration_seconds", "method, route", tuple(QUANTILES)),
        *_quantiles("stage", "s4_search_stage_duration_seconds", "stage"),
        *_quantiles("load", "s4_http_place_wait_seconds", "load"),
    ),
)
_PARTS = Group(
    "s4-parts",
    (
        Record(
            "operation:s4_store_requests:rate5m",
            "sum by (operation, outcome) (rate(s4_store_requests_total[5m]))",
            "requests a second",
        ),
        *_quantiles("operation", "s4_store_request_duration_seconds", "operation"),
        Record(
            "s4:store_errors:ratio_5m",
            share(f"s4_store_requests_total{{{STORE_FAILED}}}", "s4_store_requests_total", window="5m"),
            "of requests to the store, failed",
        ),
        Record(
            "s4:store_throttled:ratio_5m",
            share('s4_store_requests_total{outcome="throttled"}', "s4_store_requests_total", window="5m"),
            "of requests to the store, refused for their rate",
        ),
        *_quantiles("kind", "s4_database_transaction_duration_seconds", "kind"),
        *_quantiles("operation", "s4_database_statement_duration_seconds", "operation"),
        *_quantiles("stage", "s4_pipeline_stage_duration_seconds", "stage"),
        *_quantiles("kind", "s4_job_duration_seconds", "kind"),
        *_quantiles("provider", "s4_embedding_request_duration_seconds", "provider"),
    ),
)
_MACHINE = Group(
    "s4-machine",
    (
        Record(
            "instance:s4_cpu:ratio_5m",
            "sum by (job, instance) (rate(s4_process_cpu_seconds_total[5m])) "
            "/ max by (job, instance) (s4_cpu_limit_cores)",
            "of the processors that it may use",
        ),
        Record(
            "instance:s4_memory:ratio",
            '(max by (job, instance) (s4_cgroup_memory_bytes{kind="working_set"}) '
            "or sum by (job, instance) (s4_process_resident_memory_bytes)) "
            "/ max by (job, instance) (s4_memory_limit_bytes)",
            "of the memory that it may use",
        ),
        Record(
            "instance:s4_disk_free:ratio",
            "min by (job, instance, folder) (s4_disk_free_bytes / s4_disk_size_bytes)",
            "of the file system, free",
        ),
    ),
)

GROUPS = (_OBJECTIVES, _REQUESTS, _PARTS, _MACHINE)
