"""Requests: which, how many, how quick, which fail, who waits."""

from deploy.monitoring.dashboards.model import RATE, Board, Row, graph, listing, or_zero, rate

_REQUESTS = Row(
    "Requests",
    (
        graph(
            "Requests by class",
            "5xx: look for their request ids in the log.",
            {
                "{{class}}": f"sum by (class) (label_replace(rate(s4_http_requests_total[{RATE}]), "
                '"class", "${1}xx", "code", "(.).."))'
            },
            unit="reqps",
        ),
        graph(
            "Requests by route",
            "The ten busiest.",
            {"{{method}} {{route}}": "topk(10, sum by (method, route) (route:s4_http_requests:rate5m))"},
            unit="reqps",
        ),
        graph(
            "Errors by code",
            "S4's own codes: see the reference of errors. `client_disconnected`: the caller's timeout is shorter than "
            "ours.",
            {"{{code}}": rate("s4_http_errors_total", "code")},
            unit="reqps",
        ),
        graph(
            "In work",
            "Requests that have not been answered yet, by process.",
            {"{{instance}}": 'sum by (instance) (s4_http_requests_in_flight{process="api"})'},
        ),
        graph(
            "Bodies",
            "Much more `out` than usual: `s4 usage endpoints` says whose downloads.",
            {"{{direction}}": rate("s4_http_bytes_total", "direction")},
            unit="Bps",
        ),
        listing(
            "Routes of the last hour",
            "Endpoint usage; by tenant in `s4 usage endpoints`.",
            "topk(25, sum by (method, route) (increase(s4_http_requests_total[1h])))",
            span=8,
        ),
    ),
)
_LATENCY = Row(
    "Latency",
    (
        graph(
            "Latency of all requests",
            "To the last byte; refusals (4xx) excepted.",
            {
                name: f"histogram_quantile({quantile}, sum by (le) "
                f"(rate(s4_http_request_duration_seconds_bucket[{RATE}])))"
                for name, quantile in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))
            },
            unit="s",
        ),
        graph(
            "Latency by route, p95",
            "The ten slowest. Compare with the stages of a search, the store and the catalog.",
            {"{{method}} {{route}}": "topk(10, route:s4_http_request_duration_seconds:p95 >= 0)"},
            unit="s",
        ),
        graph(
            "Latency by route, p99",
            "The ten slowest.",
            {"{{method}} {{route}}": "topk(10, route:s4_http_request_duration_seconds:p99 >= 0)"},
            unit="s",
        ),
        graph(
            "Stages of a search, p95",
            "The one that grew is the one to look at: `embed` the provider, `open` and `fetch` the index, `verify` the "
            "catalog.",
            {"{{stage}}": "stage:s4_search_stage_duration_seconds:p95 >= 0"},
            unit="s",
        ),
        graph(
            "Searches",
            "`degraded`: by keyword only, because the embedding provider does not answer.",
            {"{{mode}}, degraded: {{degraded}}": rate("s4_searches_total", "mode, degraded")},
            unit="reqps",
        ),
        graph(
            "Searches repeated",
            "Because the table's version moved meanwhile. Most of them: raise S4_INDEX_GRACE_SECONDS.",
            {"repeated": rate("s4_search_rereads_total")},
            unit="reqps",
        ),
    ),
)
_PLACES = Row(
    "Places and rates",
    (
        graph(
            "Places held",
            "Of those that there are, by load. At 100 % for minutes: add processes.",
            {"{{load}}": "sum by (load) (s4_http_places_held) / sum by (load) (s4_http_places)"},
            unit="percentunit",
        ),
        graph(
            "Waiting for a place",
            "Above 0 for minutes: add processes.",
            {"{{load}}": "sum by (load) (s4_http_places_waiting)"},
        ),
        graph(
            "Refused for lack of a place",
            "`share`: one tenant sends more at once than its share. `full`, `late`: add processes.",
            {"{{load}} {{reason}}": rate("s4_http_places_refused_total", "load, reason")},
            unit="reqps",
        ),
        graph(
            "Wait for a place, p95",
            "Of those that waited.",
            {"{{load}}": or_zero("load:s4_http_place_wait_seconds:p95 >= 0")},
            unit="s",
        ),
        graph(
            "Refused for their plan's rate",
            "The log's `http.rate_limited` names the tenants.",
            {"refused": rate("s4_rate_limited_total")},
            unit="reqps",
        ),
        graph(
            "Redis",
            "Processes that limit by themselves, and attempts that failed.",
            {
                "alone": "sum(s4_rate_limits_alone)",
                "errors a second": rate("s4_rate_limit_errors_total"),
            },
        ),
        graph(
            "Metering",
            "Anything but `ok` growing: a kill of the process would lose what waits.",
            {"{{outcome}}": rate("s4_usage_flushes_total", "outcome")},
        ),
        graph(
            "Calls written off",
            "Of processes that were killed. Rising: look at their memory.",
            {"calls": rate("s4_calls_written_off_total")},
        ),
    ),
)

BOARD = Board(
    "s4-api",
    "S4: API",
    "Requests: which, how many, how quick, which fail, and who waits.",
    (_REQUESTS, _LATENCY, _PLACES),
)
