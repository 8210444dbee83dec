"""What was promised, and how much of the month's budget is left."""

from deploy.monitoring.dashboards.model import Board, Row, figure, graph, or_zero


def _left(slo: str) -> str:
    """The share of 30 days' budget that is left."""
    bad, every = (f'sum(increase(s4_slo_{what}_total{{slo="{slo}"}}[30d]))' for what in ("bad_requests", "requests"))
    return f'1 - ({bad} or vector(0)) / ({every} > 0) / (1 - max(s4_slo_objective_ratio{{slo="{slo}"}}))'


BOARD = Board(
    "s4-slo",
    "S4: service levels",
    "What S4 promises as a whole (S4_SLO_…), and how fast the month's budget goes. Of one tenant: `s4 sla report`.",
    (
        Row(
            "Budgets",
            (
                figure(
                    "Budget of errors left",
                    "Of 30 days, or as many as Prometheus keeps. Below 0: the promise is broken.",
                    _left("availability"),
                    unit="percentunit",
                    span=6,
                ),
                figure(
                    "Budget of slow searches left",
                    "As beside.",
                    _left("latency"),
                    unit="percentunit",
                    span=6,
                ),
                figure(
                    "Promised availability",
                    "S4_SLO_AVAILABILITY.",
                    'max(s4_slo_objective_ratio{slo="availability"})',
                    unit="percentunit",
                    span=6,
                ),
                figure(
                    "Promised share of quick searches",
                    "S4_SLO_LATENCY, within S4_SLO_SEARCH_SECONDS.",
                    'max(s4_slo_objective_ratio{slo="latency"})',
                    unit="percentunit",
                    span=6,
                ),
            ),
        ),
        Row(
            "Burn rates",
            (
                graph(
                    "Errors: burn rate",
                    "1: just what a month bears. 14.4 for an hour pages.",
                    {
                        window: f'slo:s4_error_budget:burn_{window}{{slo="availability"}}'
                        for window in ("5m", "1h", "6h", "3d")
                    },
                    span=12,
                ),
                graph(
                    "Slow searches: burn rate",
                    "As beside.",
                    {
                        window: f'slo:s4_error_budget:burn_{window}{{slo="latency"}}'
                        for window in ("5m", "1h", "6h", "3d")
                    },
                    span=12,
                ),
            ),
        ),
        Row(
            "What tenants feel",
            (
                graph(
                    "Failed requests",
                    "Answered 5xx, of all.",
                    {"failed": "s4:http_errors:ratio_5m"},
                    unit="percentunit",
                ),
                graph(
                    "Searches",
                    "To the last byte.",
                    {
                        name: f'route:s4_http_request_duration_seconds:{name}{{route="/api/v1/search",method="POST"}}'
                        for name in ("p50", "p95", "p99")
                    },
                    unit="s",
                ),
                graph(
                    "From upload to found",
                    "p95 of half an hour.",
                    {"p95": "s4:s4_freshness_seconds:p95 >= 0"},
                    unit="s",
                ),
                graph(
                    "Tenants told",
                    "Whose month is `at_risk` or `breached`, in a day.",
                    {"{{state}}": or_zero("sum by (state) (increase(s4_sla_told_total[1d]))")},
                ),
            ),
        ),
    ),
)
