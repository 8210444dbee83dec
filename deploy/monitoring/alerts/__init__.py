"""Every alert of S4, in the order of its page in the guide."""

from deploy.monitoring.alerts import processes, queue, requests, store
from deploy.monitoring.alerts.model import Alert, Cause, CloudWatch, Google, Severity

__all__ = ["ALERTS", "Alert", "Cause", "CloudWatch", "Google", "Severity"]

ALERTS: tuple[Alert, ...] = (*requests.ALERTS, *processes.ALERTS, *store.ALERTS, *queue.ALERTS)
