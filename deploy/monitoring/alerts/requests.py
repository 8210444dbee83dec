"""Requests: what tenants feel."""

from collections.abc import Sequence

from deploy.monitoring.alerts.model import MINUTE, Alert, Cause, CloudWatch, Google, Severity, prometheus_metric
from deploy.monitoring.objectives import AVAILABILITY, FAST, SEARCH_SECONDS, SEARCH_SHARE, SLOW, Burn

_SEARCH = 'method="POST",route="/api/v1/search",status_class="2xx",process="api",job="s4-api",instance="api-1:8000"'
_ERRORS = 's4_http_requests_total{method="GET",route="/api/v1/documents",code="503",job="s4-api",instance="api-1:8000"}'
_BALANCER = {"LoadBalancer": "${LoadBalancer}"}


def burning(record: str, objective: float, burns: Sequence[Burn]) -> str:
    """True while the budget of an objective goes too fast in both windows of any of `burns`."""
    budget = round(1 - objective, 6)
    return " or ".join(
        f"(s4:{record}:ratio_{burn.long} > {burn.factor} * {budget} and "
        f"s4:{record}:ratio_{burn.short} > {burn.factor} * {budget})"
        for burn in burns
    )


ALERTS = (
    Alert(
        name="S4ErrorBudgetBurnsFast",
        area="slo",
        summary="S4 answers too many requests with 5xx",
        description="{{ $value | humanizePercentage }} of requests failed, while 0.1 % may in a month: at this rate "
        "the month's budget is gone within days.",
        severity=Severity.PAGE,
        expression=burning("http_errors", AVAILABILITY, FAST),
        held=2 * MINUTE,
        cause=Cause(
            series={_ERRORS: "0+60x70"},  # 60 of 660 a minute
            minutes=60,
            also=frozenset({"S4ErrorBudgetBurnsSlowly"}),
        ),
        cloudwatch=CloudWatch(
            namespace="AWS/ApplicationELB",
            metric="HTTPCode_Target_5XX_Count",
            share_of="RequestCount",
            dimensions=_BALANCER,
            statistic="Sum",
            threshold=0.0144,
            evaluation_periods=3,
        ),
        google=Google(
            filter=prometheus_metric(
                "s4_http_requests_total", "counter", labels='metric.labels.code = monitoring.regex.full_match("5..")'
            ),
            denominator_filter=prometheus_metric("s4_http_requests_total", "counter"),
            aligner="ALIGN_RATE",
            reducer="REDUCE_SUM",
            threshold=0.0144,
            duration=15 * MINUTE,
        ),
    ),
    Alert(
        name="S4ErrorBudgetBurnsSlowly",
        area="slo",
        summary="S4 fails more requests than its objective allows",
        description="{{ $value | humanizePercentage }} of requests failed, for hours or days: the month's budget of "
        "0.1 % will not last.",
        severity=Severity.TICKET,
        expression=burning("http_errors", AVAILABILITY, SLOW),
        held=15 * MINUTE,
        cause=Cause(series={_ERRORS: "0+3x70"}, minutes=60),  # 3 of 603 a minute: 0.5 %
        cloudwatch=CloudWatch(
            namespace="AWS/ApplicationELB",
            metric="HTTPCode_Target_5XX_Count",
            share_of="RequestCount",
            dimensions=_BALANCER,
            statistic="Sum",
            threshold=0.003,
            period=60 * MINUTE,
            evaluation_periods=6,
        ),
        google=Google(
            filter=prometheus_metric(
                "s4_http_requests_total", "counter", labels='metric.labels.code = monitoring.regex.full_match("5..")'
            ),
            denominator_filter=prometheus_metric("s4_http_requests_total", "counter"),
            aligner="ALIGN_RATE",
            reducer="REDUCE_SUM",
            threshold=0.003,
            alignment=60 * MINUTE,
            duration=360 * MINUTE,
        ),
    ),
    Alert(
        name="S4SearchesSlow",
        area="slo",
        summary="Searches take too long",
        description="{{ $value | humanizePercentage }} of searches took longer than a second, while 1 % may.",
        severity=Severity.PAGE,
        expression=burning("slow_searches", SEARCH_SHARE, FAST),
        held=5 * MINUTE,
        cause=Cause(
            series={
                f's4_http_request_duration_seconds_bucket{{{_SEARCH},le="{SEARCH_SECONDS}"}}': "0+30x70",
            },
            minutes=60,
        ),
        cloudwatch=CloudWatch(
            namespace="AWS/ApplicationELB",
            metric="TargetResponseTime",
            dimensions=_BALANCER,
            statistic="p99",
            threshold=2.5,
            evaluation_periods=3,
        ),
        google=Google(
            filter=prometheus_metric(
                "s4_http_request_duration_seconds", "histogram", labels='metric.labels.route = "/api/v1/search"'
            ),
            aligner="ALIGN_DELTA",
            reducer="REDUCE_PERCENTILE_99",
            threshold=1.0,
            duration=15 * MINUTE,
        ),
    ),
)
