"""CloudWatch's dashboard: what the guide asks to watch, a row for each part of S4.

`read` says which of S4's own metrics it shows, by which labels: the agent publishes those.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

NAMESPACE = "S4"
DEPLOYMENT = "Deployment"
"""The template's parameter."""

_WIDTH, _PANEL_HEIGHT, _HEAD_HEIGHT, _ALARMS_HEIGHT = 24, 6, 1, 4
_PERIOD_SECONDS = 300
_DAY_SECONDS = 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One metric, or with `by` one line for each value of those labels."""

    metric: str
    statistic: str
    namespace: str = NAMESPACE
    dimensions: dict[str, str] = field(default_factory=dict)
    by: tuple[str, ...] = ()
    """Of S4's own metrics; sorted."""
    period_seconds: int = _PERIOD_SECONDS


@dataclass(frozen=True, slots=True)
class Panel:
    title: str
    lines: tuple[Line, ...]


def _own(metric: str, statistic: str = "Sum", by: tuple[str, ...] = ()) -> Line:
    return Line(metric=metric, statistic=statistic, by=by)


def _top(what: str) -> Line:
    """Of ten tenants or so: see S4_METRICS_TENANTS_TOP."""
    return _own(f"s4_top_tenant_{what}", "Maximum", by=("tenant_id",))


def _balancer(metric: str, statistic: str = "Sum") -> Line:
    return Line(
        namespace="AWS/ApplicationELB",
        metric=metric,
        statistic=statistic,
        dimensions={"LoadBalancer": "${LoadBalancer}"},
    )


def _services(metric: str, statistic: str = "Average", namespace: str = "AWS/ECS") -> tuple[Line, ...]:
    return tuple(
        Line(
            namespace=namespace,
            metric=metric,
            statistic=statistic,
            dimensions={"ClusterName": "${Cluster}", "ServiceName": service},
        )
        for service in ("${ApiService}", "${WorkerService}")
    )


def _bucket(metric: str, statistic: str = "Sum") -> Line:
    return Line(
        namespace="AWS/S3",
        metric=metric,
        statistic=statistic,
        dimensions={"BucketName": "${Bucket}", "FilterId": "EntireBucket"},
    )


def _stored(metric: str, storage: str) -> Line:
    return Line(
        namespace="AWS/S3",
        metric=metric,
        statistic="Average",
        dimensions={"BucketName": "${Bucket}", "StorageType": storage},
        period_seconds=_DAY_SECONDS,  # once a day is how often Amazon counts
    )


def _database(metric: str, statistic: str = "Average") -> Line:
    return Line(
        namespace="AWS/RDS",
        metric=metric,
        statistic=statistic,
        dimensions={"DBInstanceIdentifier": "${Database}"},
    )


_INSIGHTS = "ECS/ContainerInsights"

ROWS: tuple[tuple[str, tuple[Panel, ...]], ...] = (
    (
        "Requests",
        (
            Panel(
                "Requests, and those that failed",
                tuple(
                    _balancer(metric)
                    for metric in ("RequestCount", "HTTPCode_Target_4XX_Count", "HTTPCode_Target_5XX_Count")
                ),
            ),
            Panel(
                "Seconds to the first byte: p50, p95, p99",
                tuple(_balancer("TargetResponseTime", each) for each in ("p50", "p95", "p99")),
            ),
            Panel("Answers by code", (_own("s4_http_requests_total", by=("code",)),)),
            Panel(
                "Refused: no place, rate, credentials",
                (
                    _own("s4_http_places_refused_total", by=("reason",)),
                    _own("s4_rate_limited_total"),
                    _own("s4_auth_failures_total", by=("reason",)),
                ),
            ),
        ),
    ),
    (
        "Processes",
        (
            Panel("Processor, per cent of what is reserved", _services("CPUUtilization")),
            Panel("Memory, per cent of what is reserved", _services("MemoryUtilization")),
            Panel(
                "Network, bytes a second",
                (
                    *_services("NetworkRxBytes", namespace=_INSIGHTS),
                    *_services("NetworkTxBytes", namespace=_INSIGHTS),
                ),
            ),
            Panel("Bytes free on disk", (_own("s4_disk_free_bytes", "Minimum", by=("folder",)),)),
        ),
    ),
    (
        "Object store",
        (
            Panel(
                "Requests, and those that failed",
                (_bucket("AllRequests"), _bucket("4xxErrors"), _bucket("5xxErrors")),
            ),
            Panel(
                "Milliseconds of a request: p50, p99",
                (
                    _bucket("FirstByteLatency", "p50"),
                    _bucket("FirstByteLatency", "p99"),
                    _bucket("TotalRequestLatency", "p99"),
                ),
            ),
            Panel("S4's requests by outcome", (_own("s4_store_requests_total", by=("outcome",)),)),
            Panel(
                "Bytes stored",
                tuple(_stored("BucketSizeBytes", each) for each in ("StandardStorage", "StandardIAStorage")),
            ),
        ),
    ),
    (
        "From upload to found",
        (
            Panel("Age of the oldest job that could run", (_own("s4_queue_oldest_ready_seconds", "Maximum"),)),
            Panel("Jobs by outcome", (_own("s4_jobs_total", by=("outcome",)),)),
            Panel("Documents by outcome", (_own("s4_documents_indexed_total", by=("outcome",)),)),
            Panel(
                "Embedding: tokens, and whether the provider is left alone",
                (_own("s4_embedding_tokens_total"), _own("s4_embedding_breaker_open", "Maximum")),
            ),
        ),
    ),
    (
        "Tenants",
        (
            Panel("By status", (_own("s4_tenants", "Maximum", by=("status",)),)),
            Panel("Calls in the running month, of those with most", (_top("calls"),)),
            Panel("Bytes stored, of those with most", (_top("stored_bytes"),)),
            Panel("Share of the plan that is used, of those with most", (_top("utilisation_ratio"),)),
        ),
    ),
    (
        "Searches, catalog, backups",
        (
            Panel("Searches, by whether they were degraded", (_own("s4_searches_total", by=("degraded",)),)),
            Panel(
                "PostgreSQL: processor, connections",
                (_database("CPUUtilization"), _database("DatabaseConnections", "Maximum")),
            ),
            Panel("PostgreSQL: bytes free", (_database("FreeStorageSpace", "Minimum"),)),
            Panel("The last good backup's moment", (_own("s4_backup_last_point_timestamp_seconds", "Maximum"),)),
        ),
    ),
)


def read() -> Iterator[tuple[str, tuple[str, ...]]]:
    """S4's own metrics that are shown, each with the labels (sorted) by which it is."""
    for _, panels in ROWS:
        for panel in panels:
            for line in panel.lines:
                if line.namespace == NAMESPACE:
                    yield line.metric, tuple(sorted((*line.dimensions, *line.by)))


def body(alarms: list[str]) -> dict[str, Any]:
    """The dashboard's body, in which `${…}` stands for parameters. `alarms`: their names."""
    arn = "arn:${AWS::Partition}:cloudwatch:${AWS::Region}:${AWS::AccountId}:alarm:"
    widgets: list[dict[str, Any]] = [
        {
            "type": "alarm",
            **_box(0, 0, _WIDTH, _ALARMS_HEIGHT),
            "properties": {"title": "Alarms", "alarms": [arn + name for name in alarms]},
        }
    ]
    top = _ALARMS_HEIGHT
    for title, panels in ROWS:
        widgets.append(
            {"type": "text", **_box(0, top, _WIDTH, _HEAD_HEIGHT), "properties": {"markdown": f"## {title}"}}
        )
        width = _WIDTH // len(panels)
        for place, panel in enumerate(panels):
            widgets.append(_widget(panel, _box(place * width, top + _HEAD_HEIGHT, width, _PANEL_HEIGHT)))
        top += _HEAD_HEIGHT + _PANEL_HEIGHT
    return {"widgets": widgets}


def _box(x: int, y: int, width: int, height: int) -> dict[str, int]:
    return {"x": x, "y": y, "width": width, "height": height}


def _widget(panel: Panel, box: dict[str, int]) -> dict[str, Any]:
    return {
        "type": "metric",
        **box,
        "properties": {
            "title": panel.title,
            "region": "${AWS::Region}",
            "view": "timeSeries",
            "stacked": False,
            "period": max(line.period_seconds for line in panel.lines),
            "metrics": [_line(line, f"e{number}") for number, line in enumerate(panel.lines)],
        },
    }


def _line(line: Line, identifier: str) -> list[Any]:
    dimensions = dict(line.dimensions)
    if line.namespace == NAMESPACE:
        dimensions = {"deployment": f"${{{DEPLOYMENT}}}", **dimensions}
    if not line.by:
        named = [text for pair in dimensions.items() for text in pair]
        return [line.namespace, line.metric, *named, {"stat": line.statistic, "period": line.period_seconds}]
    schema = ",".join([line.namespace, *dimensions, *line.by])
    terms = " ".join([f'MetricName="{line.metric}"', *(f'{key}="{value}"' for key, value in dimensions.items())])
    search = f"SEARCH('{{{schema}}} {terms}', '{line.statistic}', {line.period_seconds})"
    label = " ".join(f"${{PROP('Dim.{name}')}}" for name in line.by)
    return [{"expression": search, "id": identifier, "label": _literal(label)}]


def _literal(text: str) -> str:
    """For `Fn::Sub`, which else takes CloudWatch's own `${…}` for the template's."""
    return re.sub(r"\$\{(?=PROP)", "${!", text)
