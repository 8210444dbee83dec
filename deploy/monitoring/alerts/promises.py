"""What was promised: availability, how quickly searches are answered, how soon a document is found."""

from collections.abc import Sequence

from deploy.monitoring.alerts.conditions import prometheus_metric, share
from deploy.monitoring.alerts.model import HOUR, MINUTE, Alert, Cause, CloudWatch, Google, Severity
from deploy.monitoring.baseline import API, WORKER, constant, steady
from deploy.monitoring.objectives import FAST, FRESH_SECONDS, SLOW, Burn

_ALL = "s4_slo_requests_total"
_BAD = "s4_slo_bad_requests_total"
_BALANCER = {"LoadBalancer": "${LoadBalancer}"}


def burning(slo: str, burns: Sequence[Burn]) -> str:
    """True while the budget of a promise goes too fast in both windows of any of `burns`."""
    return " or ".join(
        f'(slo:s4_error_budget:burn_{burn.long}{{slo="{slo}"}} > {burn.factor:g} and '
        f'slo:s4_error_budget:burn_{burn.short}{{slo="{slo}"}} > {burn.factor:g})'
        for burn in burns
    )


ALERTS = (
    Alert(
        name="S4ErrorsBurnBudgetFast",
        area="slo",
        summary="S4 answers too many requests with 5xx",
        description='The budget of errors goes {{ $value | printf "%.1f" }} times as fast as a month bears.',
        severity=Severity.PAGE,
        expression=burning("availability", FAST),
        held=2 * MINUTE,
        cause=Cause(
            series={f'{_BAD}{{slo="availability",{API}}}': steady(60)},  # a tenth of all
            minutes=60,
            labels={"slo": "availability"},
            also=frozenset({"S4ErrorsBurnBudgetSlowly"}),
        ),
        cloudwatch=CloudWatch(
            namespace="AWS/ApplicationELB",
            metric="HTTPCode_Target_5XX_Count",
            dimensions=_BALANCER,
            share_of="RequestCount",
            share_of_dimensions=_BALANCER,
            statistic="Sum",
            threshold=0.0144,
            evaluation_periods=3,
        ),
        google=share(
            _BAD,
            _ALL,
            above=0.0144,
            labels={"slo": "availability"},
            of={"slo": "availability"},
            held=15 * MINUTE,
        )["google"],
    ),
    Alert(
        name="S4ErrorsBurnBudgetSlowly",
        area="slo",
        summary="S4 fails more requests than it may in the long run",
        description='For hours the budget of errors goes {{ $value | printf "%.1f" }} times as fast as a month bears.',
        severity=Severity.TICKET,
        expression=burning("availability", SLOW),
        held=15 * MINUTE,
        cause=Cause(
            series={f'{_BAD}{{slo="availability",{API}}}': steady(2)},  # 1 in 300
            minutes=60,
            labels={"slo": "availability"},
        ),
        cloudwatch=CloudWatch(
            namespace="AWS/ApplicationELB",
            metric="HTTPCode_Target_5XX_Count",
            dimensions=_BALANCER,
            share_of="RequestCount",
            share_of_dimensions=_BALANCER,
            statistic="Sum",
            threshold=0.003,
            period=HOUR,
            evaluation_periods=6,
        ),
        google=share(
            _BAD,
            _ALL,
            above=0.003,
            labels={"slo": "availability"},
            of={"slo": "availability"},
            held=6 * HOUR,
            alignment=HOUR,
        )["google"],
    ),
    Alert(
        name="S4SearchesSlow",
        area="slo",
        summary="Searches take longer than promised",
        description='The budget of slow searches goes {{ $value | printf "%.1f" }} times as fast as a month bears.',
        severity=Severity.PAGE,
        expression=burning("latency", FAST),
        held=5 * MINUTE,
        cause=Cause(
            series={f'{_BAD}{{slo="latency",{API}}}': steady(30)},  # every second one
            minutes=60,
            labels={"slo": "latency"},
            also=frozenset({"S4SearchesSlowly"}),
        ),
        cloudwatch=share(
            _BAD,
            _ALL,
            above=0.3,  # 6 times 1 in 20, the slower of both rates
            labels={"slo": "latency"},
            of={"slo": "latency"},
            held=30 * MINUTE,
        )["cloudwatch"],
        google=Google(
            filter=prometheus_metric(
                "s4_http_request_duration_seconds", "histogram", {"route": "/api/v1/search", "method": "POST"}
            ),
            aligner="ALIGN_DELTA",
            reducer="REDUCE_PERCENTILE_99",
            threshold=2.5,
            duration=15 * MINUTE,
        ),
    ),
    Alert(
        name="S4SearchesSlowly",
        area="slo",
        summary="Searches are slower than they may be in the long run",
        description='For hours the budget of slow searches goes {{ $value | printf "%.1f" }} times as fast as it may.',
        severity=Severity.TICKET,
        expression=burning("latency", SLOW),
        held=15 * MINUTE,
        cause=Cause(
            series={f'{_BAD}{{slo="latency",{API}}}': steady(6)},  # 1 in 10, where 1 in 20 may
            minutes=60,
            labels={"slo": "latency"},
        ),
        **share(
            _BAD,
            _ALL,
            above=0.1,
            labels={"slo": "latency"},
            of={"slo": "latency"},
            held=6 * HOUR,
            alignment=HOUR,
        ),
    ),
    Alert(
        name="S4DocumentsFoundLate",
        area="slo",
        summary="Documents are found late",
        description="{{ $value | humanizePercentage }} of what was uploaded in the last half hour was not found "
        f"{FRESH_SECONDS:g} seconds later.",
        severity=Severity.TICKET,
        expression="s4:found_late:ratio_30m > 0.25",
        held=15 * MINUTE,
        cause=Cause(series={f's4_freshness_seconds_bucket{{{WORKER},le="60.0"}}': steady(10)}, minutes=45),
        google=Google(
            filter=prometheus_metric("s4_freshness_seconds", "histogram"),
            aligner="ALIGN_DELTA",
            reducer="REDUCE_PERCENTILE_50",
            threshold=FRESH_SECONDS,
            alignment=30 * MINUTE,
            duration=30 * MINUTE,
        ),
    ),
    Alert(
        name="S4TenantsPromiseBroken",
        area="tenants",
        summary="A tenant's service level is broken this month",
        description="{{ $value | humanize }} tenants were told within an hour that their month is lost.",
        severity=Severity.TICKET,
        expression='sum(increase(s4_sla_told_total{state="breached"}[1h])) > 0.5',
        cause=Cause(
            series={f's4_sla_told_total{{state="breached",{WORKER}}}': f"0x5 {constant(1)}"},
            minutes=20,
        ),
    ),
)
