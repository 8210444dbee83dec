"""What Cloud Monitoring is given: alert policies, channels and a dashboard.

S4's own metrics come by Managed Service for Prometheus, with all their labels and their histograms. What its collectors
are told lies beside what they collect from: `deploy/kubernetes/overlays/gke`, `deploy/google/cloud-run`.

`${…}` stands for what only the operator knows; `deploy/google/apply.sh` fills it in. A policy's folder says whom it
tells.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

from deploy.monitoring import google_dashboard, rules
from deploy.monitoring.alerts import ALERTS, Alert, Google, Severity
from deploy.monitoring.events import EVENTS, LoggedEvent
from deploy.monitoring.names import kebab, plain

SEVERITIES = {Severity.PAGE: "CRITICAL", Severity.TICKET: "WARNING"}
GUIDE_SERVICE = "s4-service"
"""The guide's name of what runs on Cloud Run."""
GUIDE_THRESHOLD = 0.8
_AUTO_CLOSE = timedelta(minutes=30)
_LOGGED_PERIOD = timedelta(minutes=5)


def files(runbooks: str = rules.RUNBOOKS) -> dict[str, Any]:
    """What is written, by its path below `deploy/`."""
    here = "google/monitoring"
    watched = {alert.name: alert for alert in ALERTS if alert.google is not None}
    return {
        **{f"{here}/channels/{severity.value}.json": channel(severity) for severity in Severity},
        **{
            f"{here}/policies/{alert.severity.value}/{kebab(name)}.json": policy(alert, runbooks)
            for name, alert in watched.items()
        },
        **{f"{here}/policies/{event.severity.value}/{event.name}-logged.json": logged(event) for event in EVENTS},
        f"{here}/policy.yaml": _guides(watched["S4MemoryHigh"], runbooks),
        f"{here}/dashboard.json": google_dashboard.dashboard(),
    }


# -- policies


def policy(alert: Alert, runbooks: str = rules.RUNBOOKS) -> dict[str, Any]:
    """The alert's policy, as `google.monitoring.v3.AlertPolicy` in JSON."""
    condition = alert.google
    assert condition is not None
    summary = plain(alert.summary)
    # Of a process that is gone nothing is measured; that is what these alerts are about.
    counts_missing = alert.cloudwatch is not None and alert.cloudwatch.treat_missing == "breaching"
    threshold = _threshold(condition, counts_missing=counts_missing)
    return {
        **_policy(kebab(alert.name), summary, f"{summary}. {runbooks}/{alert.runbook}", alert.severity, alert.area),
        "conditions": [{"displayName": summary, "conditionThreshold": threshold}],
        "alertStrategy": {"autoClose": _seconds(_AUTO_CLOSE)},
    }


def logged(event: LoggedEvent) -> dict[str, Any]:
    """A policy that is opened by a line of the log."""
    title = f"{event.event_type} in the log"
    return {
        **_policy(f"{event.name}-logged", title, event.about, event.severity, "logs"),
        "conditions": [
            {
                "displayName": title,
                "conditionMatchedLog": {"filter": f'jsonPayload.event_type = "{event.event_type}"'},
            }
        ],
        "alertStrategy": {
            "autoClose": _seconds(_AUTO_CLOSE),
            "notificationRateLimit": {"period": _seconds(_LOGGED_PERIOD)},
        },
    }


def _policy(name: str, title: str, about: str, severity: Severity, area: str) -> dict[str, Any]:
    return {
        "displayName": f"S4: {title}",
        "documentation": {"content": about, "mimeType": "text/markdown"},
        # By the first of these apply.sh finds what it made before.
        "userLabels": {"s4_alert": name, "severity": severity.value, "area": area},
        "severity": SEVERITIES[severity],
        "enabled": True,
        "combiner": "OR",
    }


def _threshold(condition: Google, *, counts_missing: bool) -> dict[str, Any]:
    aggregation = google_dashboard.aggregation(
        condition.aligner, condition.reducer, condition.group_by, condition.alignment
    )
    denominator = {
        "denominatorFilter": condition.denominator_filter,
        "denominatorAggregations": [aggregation],
    }
    missing = {"evaluationMissingData": "EVALUATION_MISSING_DATA_ACTIVE"}
    return {
        "filter": condition.filter,
        "aggregations": [aggregation],
        **(denominator if condition.denominator_filter else {}),
        "comparison": condition.comparison,
        "thresholdValue": condition.threshold,
        "duration": _seconds(condition.duration),
        **(missing if counts_missing else {}),
        "trigger": {"count": 1},
    }


def _seconds(span: timedelta) -> str:
    return f"{int(span.total_seconds())}s"


def _guides(memory: Alert, runbooks: str) -> dict[str, Any]:
    """The guide's example, with its service and its threshold."""
    assert memory.google is not None
    theirs = replace(memory, google=replace(memory.google, threshold=GUIDE_THRESHOLD))
    filled: dict[str, Any] = _filled(policy(theirs, runbooks), {"api_service": GUIDE_SERVICE})
    return filled


def _filled(value: Any, names: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: _filled(each, names) for key, each in value.items()}
    if isinstance(value, list):
        return [_filled(each, names) for each in value]
    if isinstance(value, str):
        for name, meaning in names.items():
            value = value.replace(f"${{{name}}}", meaning)
    return value


# -- channels


def channel(severity: Severity) -> dict[str, Any]:
    """Whom to tell, as `google.monitoring.v3.NotificationChannel` in JSON."""
    return {
        "type": "email",
        "displayName": f"S4: {severity.value}s",
        "labels": {"email_address": f"${{{severity.value}_email}}"},
        "userLabels": {"s4_channel": severity.value},
        "enabled": True,
    }
