"""Unit tests of the alerts for `promtool test rules`: one file for each alert, made of its causes.

Each starts from a healthy S4 and lets one thing go wrong. At the time that the cause names, exactly the alert and those
that the cause names beside it must be firing: with all files together, each alert fires on its cause and is silent on
the others'.
"""

from collections.abc import Mapping
from typing import Any

from deploy.monitoring.alerts import ALERTS, Alert, Cause
from deploy.monitoring.baseline import EXPORTER, HEALTHY, MINUTES, steady
from deploy.monitoring.rules import alert_labels

_ALONE = {
    f's4_tenant_requests_total{{tenant_id="ten_one",{EXPORTER}}}': steady(6000),
    f's4_tenant_requests_total{{tenant_id="ten_two",{EXPORTER}}}': "",
}


def _inputs(causes: Mapping[str, str], *, minutes: int) -> list[dict[str, str]]:
    """No longer than needed: promtool takes its time for every sample."""
    series = HEALTHY | dict(causes)
    return [
        {"series": name, "values": values.replace(f"x{MINUTES}", f"x{minutes}")}
        for name, values in series.items()
        if values
    ]


def _every(minutes: int) -> str:
    """How often rules are evaluated: rarely where it goes on for long, for the same reason."""
    return "1m" if minutes <= 30 else "5m"


def _firing(names: set[str]) -> dict[str, Any]:
    return {
        "expr": 'max by (alertname) (ALERTS{alertstate="firing"})',
        "exp_samples": [{"labels": f'{{alertname="{name}"}}', "value": 1} for name in sorted(names)],
    }


def _instance(alert: Alert, cause: Cause) -> dict[str, Any]:
    """The one that comes of the cause, with all its labels. Not by `alert_rule_test`, which wants its texts, too."""
    labels = {"alertname": alert.name, "alertstate": "firing", **alert_labels(alert), **cause.labels}
    named = ", ".join(f'{name}="{value}"' for name, value in labels.items())
    return {
        "expr": f'ALERTS{{alertname="{alert.name}",alertstate="firing"}}',
        "exp_samples": [{"labels": f"ALERTS{{{named}}}", "value": 1}],
    }


def _test(alert: Alert, cause: Cause) -> dict[str, Any]:
    at = f"{cause.minutes}m"
    return {
        "name": f"{alert.name} fires on {cause.about or 'its cause'}, and nothing else does",
        "interval": "1m",
        "input_series": _inputs(cause.series, minutes=cause.minutes),
        "promql_expr_test": [
            _firing({alert.name, *cause.also}) | {"eval_time": at},
            _instance(alert, cause) | {"eval_time": at},
        ],
    }


def of_alert(alert: Alert) -> dict[str, Any]:
    """The file of one alert."""
    return {
        "rule_files": ["../rules.yml", "../alerts.yml"],
        "evaluation_interval": _every(max(cause.minutes for cause in alert.causes)),
        "tests": [_test(alert, cause) for cause in alert.causes],
    }


def of_health() -> dict[str, Any]:
    """The file of the healthy S4: no alert fires, from its first hour on, however many tenants it has."""
    times = ("5m", "30m", "60m", "150m")
    return {
        "rule_files": ["../rules.yml", "../alerts.yml"],
        "evaluation_interval": _every(150),
        "tests": [
            {
                "name": "nothing fires while S4 is well",
                "interval": "1m",
                "input_series": _inputs({}, minutes=150),
                "promql_expr_test": [_firing(set()) | {"eval_time": at} for at in times],
            },
            {
                "name": "a tenant that asks for much, and is alone, disturbs nobody",
                "interval": "1m",
                "input_series": _inputs(_ALONE, minutes=70),
                "promql_expr_test": [_firing(set()) | {"eval_time": "70m"}],
            },
        ],
    }


def files() -> dict[str, dict[str, Any]]:
    """Every file by its name without ending."""
    return {"healthy": of_health()} | {alert.runbook: of_alert(alert) for alert in ALERTS}
