"""What burn rates are made of: requests that a promise is about, and those of them that broke it."""

from prometheus_client import Counter

from s4.platform.http.middleware import Finished
from s4.platform.telemetry import metrics

_AVAILABILITY, _LATENCY = "availability", "latency"
_SEARCH = "/api/v1/search"


class Promises:
    """Counts for a process. Both series of each promise are there from the start: a ratio of what is absent is no
    alert."""

    def __init__(self, *, availability: float, latency: float, search_seconds: float) -> None:
        """Objectives as shares of requests; a search that takes longer than `search_seconds` is a bad one."""
        self._search_seconds = search_seconds
        for promise, objective in ((_AVAILABILITY, availability), (_LATENCY, latency)):
            metrics.SLO_OBJECTIVE.labels(promise).set(objective)
        self._asked, self._failed = _counters(_AVAILABILITY)
        self._searched, self._slow = _counters(_LATENCY)

    def observe(self, finished: Finished, *, excused: bool = False) -> None:
        """As the ledger counts: tenants' requests, and those that failed before it was known who asked. `excused`: a
        503 that was announced."""
        exchange = finished.exchange
        failed = finished.status >= 500 and not excused
        if exchange.tenant_id is None and (not failed or exchange.administrator is not None):
            return
        self._asked.inc()
        if failed:
            self._failed.inc()
        if finished.route == _SEARCH and finished.status < 400:
            self._searched.inc()
            if finished.seconds > self._search_seconds:
                self._slow.inc()


def _counters(promise: str) -> tuple[Counter, Counter]:
    return metrics.SLO_REQUESTS.labels(promise), metrics.SLO_BAD.labels(promise)
