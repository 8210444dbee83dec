"""The shape of an alert.

Invariants, held by `tests/unit/test_monitoring.py`: an expression names declared metrics and their labels only; each
alert has a page in `docs/runbooks`; each has causes, on which it fires and on which no alert fires that the cause does
not name.

In the conditions of the clouds, `${Name}` stands for what only the operator knows. In those of CloudWatch it is a
parameter of the template: `${Cluster}`, `${ApiService}`, `${WorkerService}`, `${LoadBalancer}`, `${TargetGroup}`,
`${Database}`, `${Bucket}`. Those of Google are `${api_service}`, `${worker_service}` (a worker pool),
`${database}` and `${bucket}`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum

MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)


class Severity(StrEnum):
    """What somebody does about it."""

    PAGE = "page"
    """Tenants suffer now, or soon will; wake somebody."""
    TICKET = "ticket"
    """It can wait for the morning, and not for the week after."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CloudWatch:
    """A condition of a CloudWatch alarm. Names as in `AWS::CloudWatch::Alarm`.

    S4's own metrics are in the namespace `S4`, under their Prometheus names and by the dimensions that
    `deploy/aws` publishes; counters arrive as what was added since the last time.
    """

    metric: str
    statistic: str
    """`Sum`, `Average`, `Maximum`, `Minimum`, `SampleCount`, or a percentile as `p99`."""
    threshold: float
    comparison: str = "GreaterThanThreshold"
    namespace: str = "S4"
    dimensions: Mapping[str, str] = field(default_factory=dict)
    share_of: str | None = None
    """Another metric of the same namespace and statistic: the threshold is for the quotient of both."""
    share_of_dimensions: Mapping[str, str] = field(default_factory=dict)
    period: timedelta = 5 * MINUTE
    evaluation_periods: int = 1
    treat_missing: str = "notBreaching"
    """`breaching`, `notBreaching`, `ignore` or `missing`: what an interval without data counts as."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Google:
    """A condition of an alert policy of Google Cloud. Names as in `google.monitoring.v3.AlertPolicy`.

    S4's own metrics arrive by Managed Service for Prometheus: `prometheus.googleapis.com/NAME/KIND`, of the resource
    `prometheus_target`.
    """

    filter: str
    aligner: str
    """`ALIGN_RATE`, `ALIGN_MAX` …: without one the service takes no threshold on most kinds of metrics."""
    threshold: float
    reducer: str = "REDUCE_NONE"
    group_by: tuple[str, ...] = ()
    comparison: str = "COMPARISON_GT"
    denominator_filter: str | None = None
    """With it the threshold is for the quotient; aligned and reduced alike."""
    alignment: timedelta = 5 * MINUTE
    duration: timedelta = timedelta(0)
    """How long it must hold; whole minutes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cause:
    """What makes an alert fire, for `promtool test rules`."""

    series: Mapping[str, str]
    """By series, samples a minute apart in promtool's notation (`0+60x30`), over those of a healthy S4. `""`: the
    series of the healthy one is not there."""
    minutes: int
    """When the alert must be firing."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """Those of the alert that comes of it, beside `severity` and `area`."""
    also: frozenset[str] = frozenset()
    """Other alerts that rightly fire on it."""
    about: str = ""
    """What goes wrong, of one of several."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Alert:
    """One thing that somebody wants to be told."""

    name: str
    """`S4` and what is so, in capitals of words."""
    area: str
    """The dashboard that shows it: a uid of `dashboards`, without `s4-`."""
    summary: str
    """One line, for the subject of a message."""
    description: str
    """What is so, with figures; Prometheus' templates (`{{ $value }}`) are allowed."""
    severity: Severity
    expression: str
    """PromQL; fires where it has results."""
    held: timedelta = timedelta(0)
    """How long it must be true before the alert fires (`for`)."""
    cause: Cause
    other_causes: tuple[Cause, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    """Of the alert, beside `severity` and `area`."""
    cloudwatch: CloudWatch | None = None
    google: Google | None = None

    @property
    def causes(self) -> tuple[Cause, ...]:
        return self.cause, *self.other_causes

    @property
    def runbook(self) -> str:
        """The name of its page in `docs/runbooks`, without `.md`: `api-absent` for `S4ApiAbsent`."""
        return re.sub(r"(?<!^)(?=[A-Z])", "-", self.name.removeprefix("S4")).lower()
