"""Every alert of S4, in the order of the guide's page."""

from deploy.monitoring.alerts import indexing, processes, promises, requests, security, store
from deploy.monitoring.alerts.model import Alert, Cause, CloudWatch, Google, Severity

__all__ = ["ALERTS", "Alert", "Cause", "CloudWatch", "Google", "Severity"]

ALERTS: tuple[Alert, ...] = (
    *promises.ALERTS,
    *processes.ALERTS,
    *requests.ALERTS,
    *store.ALERTS,
    *indexing.ALERTS,
    *security.ALERTS,
)
