"""Conditions of the clouds for what most alerts look at: one gauge, one counter, or the quotient of two counters."""

from collections.abc import Mapping
from datetime import timedelta
from typing import TypedDict

from deploy.monitoring.alerts.model import HOUR, MINUTE, CloudWatch, Google

_DAY = timedelta(days=1)
_ALIGNMENT_MAX = timedelta(hours=25)  # of Google Cloud
_NONE: Mapping[str, str] = {}
RUN_API = 'resource.type = "cloud_run_revision" AND resource.labels.service_name = "${api_service}"'
RUN_WORKER = 'resource.type = "cloud_run_worker_pool" AND resource.labels.worker_pool_name = "${worker_service}"'
"""Filters of Google Cloud. A worker pool is no service: its instances are a resource of their own."""


class Clouds(TypedDict):
    """For `Alert(…, **measured(…))`."""

    cloudwatch: CloudWatch
    google: Google


def prometheus_metric(name: str, kind: str, labels: Mapping[str, str] = _NONE) -> str:
    """The filter of Google Cloud for a metric of S4's. `kind`: `counter`, `gauge` or `histogram`. A value of a label
    with `|` in it is one of several."""
    parts = ['resource.type = "prometheus_target"', f'metric.type = "prometheus.googleapis.com/{name}/{kind}"']
    for label, value in labels.items():
        compared = f'monitoring.regex.full_match("{value}")' if "|" in value or "." in value else f'"{value}"'
        parts.append(f"metric.labels.{label} = {compared}")
    return " AND ".join(parts)


def measured(metric: str, *, above: float, labels: Mapping[str, str] = _NONE, held: timedelta = timedelta(0)) -> Clouds:
    """The greatest value of a gauge in all processes is above a bound, for so long."""
    return Clouds(
        cloudwatch=CloudWatch(
            metric=metric,
            dimensions=labels,
            statistic="Maximum",
            threshold=above,
            evaluation_periods=max(1, -(-held // (5 * MINUTE))),
        ),
        google=Google(
            filter=prometheus_metric(metric, "gauge", labels),
            aligner="ALIGN_MAX",
            reducer="REDUCE_MAX",
            threshold=above,
            duration=held,
        ),
    )


def fallen(
    metric: str,
    *,
    below: float,
    labels: Mapping[str, str] = _NONE,
    held: timedelta = timedelta(0),
    everywhere: bool = False,
) -> Clouds:
    """The least value of a gauge in all processes is below a bound, for so long; `everywhere`: the greatest, so that
    all is well while one of them is above."""
    of_them = "MAX" if everywhere else "MIN"
    return Clouds(
        cloudwatch=CloudWatch(
            metric=metric,
            dimensions=labels,
            statistic="Maximum" if everywhere else "Minimum",
            threshold=below,
            comparison="LessThanThreshold",
            evaluation_periods=max(1, -(-held // (5 * MINUTE))),
        ),
        google=Google(
            filter=prometheus_metric(metric, "gauge", labels),
            aligner=f"ALIGN_{of_them}",
            reducer=f"REDUCE_{of_them}",
            threshold=below,
            comparison="COMPARISON_LT",
            duration=held,
        ),
    )


def counted(metric: str, *, more_than: float, within: timedelta, labels: Mapping[str, str] = _NONE) -> Clouds:
    """A counter grew by more than so much, in all processes together."""
    assert HOUR / 60 <= within <= min(_DAY, _ALIGNMENT_MAX)
    return Clouds(
        cloudwatch=CloudWatch(metric=metric, dimensions=labels, statistic="Sum", threshold=more_than, period=within),
        google=Google(
            filter=prometheus_metric(metric, "counter", labels),
            aligner="ALIGN_DELTA",
            reducer="REDUCE_SUM",
            threshold=more_than,
            alignment=within,
        ),
    )


def share(
    part: str,
    whole: str,
    *,
    above: float,
    labels: Mapping[str, str] = _NONE,
    of: Mapping[str, str] = _NONE,
    held: timedelta,
    alignment: timedelta = 5 * MINUTE,
) -> Clouds:
    """The quotient of what two counters grew by is above a bound. `labels` of the part, `of` of the whole."""
    return Clouds(
        cloudwatch=CloudWatch(
            metric=part,
            dimensions=labels,
            share_of=whole,
            share_of_dimensions=of,
            statistic="Sum",
            threshold=above,
            period=alignment,
            evaluation_periods=max(1, held // alignment),
        ),
        google=Google(
            filter=prometheus_metric(part, "counter", labels),
            denominator_filter=prometheus_metric(whole, "counter", of),
            aligner="ALIGN_RATE",
            reducer="REDUCE_SUM",
            threshold=above,
            alignment=alignment,
            duration=held,
        ),
    )
