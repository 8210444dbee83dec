"""Requests: places, shares, Redis."""

from deploy.monitoring.alerts.conditions import counted, measured
from deploy.monitoring.alerts.model import MINUTE, Alert, Cause, Severity
from deploy.monitoring.baseline import API, constant, steady

ALERTS = (
    Alert(
        name="S4Saturated",
        area="api",
        summary="S4 refuses {{ $labels.load }} requests for lack of places",
        description="{{ $value | humanize }} a second are answered 503 because the processes serve what they can.",
        severity=Severity.PAGE,
        expression='sum by (load) (rate(s4_http_places_refused_total{reason=~"full|late"}[5m])) > 0.2',
        held=5 * MINUTE,
        cause=Cause(
            series={f's4_http_places_refused_total{{load="search",reason="full",{API}}}': steady(60)},
            minutes=20,
            labels={"load": "search"},
        ),
        **counted("s4_http_places_refused_total", more_than=60, within=5 * MINUTE, labels={"reason": "full|late"}),
    ),
    Alert(
        name="S4RequestsWaitForPlaces",
        area="api",
        summary="{{ $labels.load }} requests wait for a place",
        description="On average {{ $value | humanize }} have been waiting for ten minutes: more processes are needed.",
        severity=Severity.TICKET,
        expression="sum by (load) (avg_over_time(s4_http_places_waiting[5m])) > 2",
        held=10 * MINUTE,
        cause=Cause(
            series={f's4_http_places_waiting{{load="search",{API}}}': constant(10)},
            minutes=30,
            labels={"load": "search"},
        ),
        **measured("s4_http_places_waiting", above=2, held=15 * MINUTE),
    ),
    Alert(
        name="S4RatesNotShared",
        area="api",
        summary="Redis does not answer: rates are not shared",
        description="{{ $value }} processes limit tenants each by itself: a tenant may have its rate in each.",
        severity=Severity.TICKET,
        expression="sum(s4_rate_limits_alone) > 0",
        held=5 * MINUTE,
        cause=Cause(series={f"s4_rate_limits_alone{{{API}}}": constant(1)}, minutes=15),
        **measured("s4_rate_limits_alone", above=0, held=5 * MINUTE),
    ),
    Alert(
        name="S4MeteringBehind",
        area="api",
        summary="Use is not written down",
        description="{{ $value | humanize }} batches of metering were not written within half an hour; a kill of the "
        "process would lose them.",
        severity=Severity.TICKET,
        expression='sum(increase(s4_usage_flushes_total{outcome=~"deferred|failed"}[30m])) > 5',
        cause=Cause(series={f's4_usage_flushes_total{{outcome="deferred",{API}}}': steady(1)}, minutes=30),
        **counted("s4_usage_flushes_total", more_than=5, within=30 * MINUTE, labels={"outcome": "deferred|failed"}),
    ),
)
