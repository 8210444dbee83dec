"""Recording and alert rules as Prometheus reads them."""

from datetime import timedelta
from typing import Any

from deploy.monitoring.alerts import ALERTS, Alert
from deploy.monitoring.records import GROUPS

RUNBOOKS = "https://docs.example.com/s4/runbooks"
"""Where `docs/runbooks` is served; `make monitoring RUNBOOKS=…` says another address."""


def duration(span: timedelta) -> str:
    """In Prometheus' form: `90s`, `15m`."""
    seconds = int(span.total_seconds())
    return f"{seconds // 60}m" if seconds % 60 == 0 else f"{seconds}s"


def alert_labels(alert: Alert) -> dict[str, str]:
    """Those that every instance of the alert has."""
    return {"severity": alert.severity.value, "area": alert.area, **alert.labels}


def recording_rules() -> dict[str, Any]:
    return {
        "groups": [
            {
                "name": group.name,
                "rules": [{"record": record.name, "expr": record.expression} for record in group.records],
            }
            for group in GROUPS
        ]
    }


def alert_rules(runbooks: str = RUNBOOKS) -> dict[str, Any]:
    """One group for each area. `runbooks`: an address without a slash at its end."""
    areas = dict.fromkeys(alert.area for alert in ALERTS)
    return {
        "groups": [
            {"name": f"s4-{area}", "rules": [_rule(alert, runbooks) for alert in ALERTS if alert.area == area]}
            for area in areas
        ]
    }


def _rule(alert: Alert, runbooks: str) -> dict[str, Any]:
    held = {"for": duration(alert.held)} if alert.held else {}
    return {
        "alert": alert.name,
        "expr": alert.expression,
        **held,
        "labels": alert_labels(alert),
        "annotations": {
            "summary": alert.summary,
            "description": alert.description,
            "runbook_url": f"{runbooks}/{alert.runbook}",
            "dashboard": f"/d/s4-{alert.area}",
        },
    }
