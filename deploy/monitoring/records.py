"""Recording rules: what alerts and dashboards ask often, computed once.

Named as Prometheus recommends, `level:metric:operation`, where the level says what is left of the labels: `s4` nothing,
`route` method and route, and so on. Ratios are of requests or seconds, from 0 to 1.
"""

from dataclasses import dataclass

from deploy.monitoring.objectives import FRESH_SECONDS, SEARCH_SECONDS, WINDOWS

API = 'route=~"/api/.+"'
"""What tenants and administrators ask for: no probes, scrapes or paths that there are not."""

SEARCH = 'route="/api/v1/search",status_class="2xx"'
STORE_FAILED = 'outcome=~"error|timeout|denied|full"'

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
    interval: str = "30s"


def share(part: str, whole: str, *, window: str) -> str:
    """The quotient of two counters' rates, 0 while there is no `part`, and nothing while there is no `whole`."""
    return f"(sum(rate({part}[{window}])) or vector(0)) / (sum(rate({whole}[{window}])) > 0)"


def _objectives() -> Group:
    found = []
    for window in WINDOWS:
        requests = f"s4_http_requests_total{{{API}}}"
        failed = f's4_http_requests_total{{{API},code=~"5.."}}'
        searches = f"s4_http_request_duration_seconds_count{{{SEARCH}}}"
        quick = f's4_http_request_duration_seconds_bucket{{{SEARCH},le="{SEARCH_SECONDS}"}}'
        fresh = f's4_freshness_seconds_bucket{{le="{FRESH_SECONDS}"}}'
        found += [
            Record(
                f"s4:http_errors:ratio_{window}",
                share(failed, requests, window=window),
                "of requests, answered 5xx",
            ),
            Record(
                f"s4:slow_searches:ratio_{window}",
                f"1 - {share(quick, searches, window=window)}",
                f"of searches, slower than {SEARCH_SECONDS:g} s",
            ),
            Record(
                f"s4:stale_uploads:ratio_{window}",
                f"1 - {share(fresh, 's4_freshness_seconds_count', window=window)}",
                f"of documents, found later than {FRESH_SECONDS:g} s after their upload",
            ),
        ]
    return Group("s4-objectives", tuple(found))


def _quantiles(level: str, metric: str, by: str, *, window: str = "5m", selector: str = "") -> tuple[Record, ...]:
    """Of a histogram, for each value of the labels `by`."""
    return tuple(
        Record(
            f"{level}:{metric}:{name}",
            f"histogram_quantile({quantile}, sum by ({by}, le) (rate({metric}_bucket{selector}[{window}])))",
            f"seconds, {name}",
        )
        for name, quantile in QUANTILES.items()
    )


_REQUESTS = Group(
    "s4-requests",
    (
        Record(
            "route:s4_http_requests:rate5m",
            "sum by (method, route, code) (rate(s4_http_requests_total[5m]))",
            "requests a second",
        ),
        *_quantiles("route", "s4_http_request_duration_seconds", "method, route"),
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
        *_quantiles("stage", "s4_pipeline_stage_duration_seconds", "stage"),
        *_quantiles("stage", "s4_search_stage_duration_seconds", "stage"),
        *_quantiles("kind", "s4_job_duration_seconds", "kind"),
        *_quantiles("provider", "s4_embedding_request_duration_seconds", "provider"),
        Record(
            "s4:s4_freshness_seconds:p95",
            "histogram_quantile(0.95, sum by (le) (rate(s4_freshness_seconds_bucket[30m])))",
            "seconds from upload to found, p95 of half an hour",
        ),
    ),
)

GROUPS = (_objectives(), _REQUESTS, _PARTS)
