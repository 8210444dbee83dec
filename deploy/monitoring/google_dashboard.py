"""Cloud Monitoring's dashboard: what the guide asks to watch, a row for each part of S4."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from deploy.monitoring.alerts.conditions import RUN_API, RUN_WORKER, prometheus_metric
from deploy.monitoring.alerts.model import MINUTE

COLUMNS = 48
_WIDTH, _HEIGHT = 16, 14
_HEAD_HEIGHT = 2


@dataclass(frozen=True, slots=True)
class Line:
    """One metric, aligned and reduced; with `by` one line for each value of those labels."""

    filter: str
    aligner: str
    reducer: str
    by: tuple[str, ...] = ()
    legend: str = ""


@dataclass(frozen=True, slots=True)
class Panel:
    title: str
    lines: tuple[Line, ...]


def aggregation(aligner: str, reducer: str, by: tuple[str, ...], period: timedelta) -> dict[str, Any]:
    """As `google.monitoring.v3.Aggregation` in JSON; the same in policies and dashboards."""
    return {
        "alignmentPeriod": f"{int(period.total_seconds())}s",
        "perSeriesAligner": aligner,
        "crossSeriesReducer": reducer,
        **({"groupByFields": list(by)} if by else {}),
    }


def _counter(name: str, *labels: str) -> Line:
    by = tuple(f"metric.labels.{label}" for label in labels)
    return Line(prometheus_metric(name, "counter"), "ALIGN_RATE", "REDUCE_SUM", by)


def _gauge(name: str, *labels: str, reducer: str = "REDUCE_MAX") -> Line:
    by = tuple(f"metric.labels.{label}" for label in labels)
    return Line(prometheus_metric(name, "gauge"), "ALIGN_MEAN", reducer, by)


def _quantiles(name: str, *quantiles: int) -> tuple[Line, ...]:
    """A histogram is cumulative: first what was added, then the quantile over all processes."""
    return tuple(
        Line(
            prometheus_metric(name, "histogram"),
            "ALIGN_DELTA",
            f"REDUCE_PERCENTILE_{each:02}",
            legend=f"p{each}",
        )
        for each in quantiles
    )


def _run(metric: str, aligner: str, reducer: str) -> tuple[Line, ...]:
    """Of the service and the worker pool on Cloud Run."""
    return tuple(
        Line(f'{those} AND metric.type = "run.googleapis.com/{metric}"', aligner, reducer, legend=legend)
        for those, legend in ((RUN_API, "API"), (RUN_WORKER, "workers"))
    )


def _bucket(metric: str, aligner: str, by: str) -> Line:
    return Line(
        'resource.type = "gcs_bucket" AND resource.labels.bucket_name = "${bucket}" AND '
        f'metric.type = "storage.googleapis.com/{metric}"',
        aligner,
        "REDUCE_SUM",
        (by,),
    )


def _database(metric: str) -> Line:
    return Line(
        'resource.type = "cloudsql_database" AND resource.labels.database_id = "${database}" AND '
        f'metric.type = "cloudsql.googleapis.com/database/{metric}"',
        "ALIGN_MEAN",
        "REDUCE_SUM",
    )


ROWS: tuple[tuple[str, tuple[Panel, ...]], ...] = (
    (
        "Requests",
        (
            Panel("Requests a second, by code", (_counter("s4_http_requests_total", "code"),)),
            Panel(
                "Seconds to the last byte: p50, p95, p99", _quantiles("s4_http_request_duration_seconds", 50, 95, 99)
            ),
            Panel("Requests a second, by route", (_counter("s4_http_requests_total", "method", "route"),)),
            Panel(
                "Refused a second: no place, rate, credentials",
                (
                    _counter("s4_http_places_refused_total", "reason"),
                    _counter("s4_rate_limited_total"),
                    _counter("s4_auth_failures_total", "reason"),
                ),
            ),
        ),
    ),
    (
        "Processes",
        (
            Panel(
                "Processor, share of the limit: p99",
                _run("container/cpu/utilizations", "ALIGN_PERCENTILE_99", "REDUCE_MAX"),
            ),
            Panel(
                "Memory, share of the limit: p99",
                _run("container/memory/utilizations", "ALIGN_PERCENTILE_99", "REDUCE_MAX"),
            ),
            Panel("Bytes free on disk", (_gauge("s4_disk_free_bytes", "folder", reducer="REDUCE_MIN"),)),
            Panel("Instances", _run("container/instance_count", "ALIGN_MAX", "REDUCE_SUM")),
            Panel(
                "Network, bytes a second",
                (
                    *_run("container/network/sent_bytes_count", "ALIGN_RATE", "REDUCE_SUM"),
                    *_run("container/network/received_bytes_count", "ALIGN_RATE", "REDUCE_SUM"),
                ),
            ),
        ),
    ),
    (
        "Object store",
        (
            Panel("S4's requests a second, by outcome", (_counter("s4_store_requests_total", "outcome"),)),
            Panel("Seconds of a request: p50, p99", _quantiles("s4_store_request_duration_seconds", 50, 99)),
            Panel(
                "Google's count of requests a second",
                (_bucket("api/request_count", "ALIGN_RATE", "metric.labels.response_code"),),
            ),
            Panel("Bytes stored", (_bucket("storage/v2/total_bytes", "ALIGN_MEAN", "metric.labels.type"),)),
        ),
    ),
    (
        "From upload to found",
        (
            Panel("Seconds from upload to found: p50, p95", _quantiles("s4_freshness_seconds", 50, 95)),
            Panel("Age of the oldest job that could run, seconds", (_gauge("s4_queue_oldest_ready_seconds"),)),
            Panel("Jobs a second, by outcome", (_counter("s4_jobs_total", "outcome"),)),
            Panel("Documents a second, by outcome", (_counter("s4_documents_indexed_total", "outcome"),)),
            Panel(
                "Embedding: tokens a second, and whether the provider is left alone",
                (_counter("s4_embedding_tokens_total"), _gauge("s4_embedding_breaker_open", "provider")),
            ),
        ),
    ),
    (
        "Tenants",
        (
            Panel("By status", (_gauge("s4_tenants", "status"),)),
            Panel("Calls in the running month, of those with most", (_gauge("s4_top_tenant_calls", "tenant_id"),)),
            Panel("Bytes stored, of those with most", (_gauge("s4_top_tenant_stored_bytes", "tenant_id"),)),
            Panel(
                "Share of the plan that is used, of those with most",
                (_gauge("s4_top_tenant_utilisation_ratio", "tenant_id"),),
            ),
        ),
    ),
    (
        "Searches, catalog, backups",
        (
            Panel("Searches a second, by whether they were degraded", (_counter("s4_searches_total", "degraded"),)),
            Panel("PostgreSQL: processor, share", (_database("cpu/utilization"),)),
            Panel("PostgreSQL: connections", (_database("postgresql/num_backends"),)),
            Panel("PostgreSQL: disk, share", (_database("disk/utilization"),)),
            Panel("The last good backup's moment", (_gauge("s4_backup_last_point_timestamp_seconds"),)),
        ),
    ),
)


def dashboard() -> dict[str, Any]:
    """As `google.monitoring.dashboard.v1.Dashboard` in JSON."""
    tiles: list[dict[str, Any]] = []
    top = 0
    for title, panels in ROWS:
        tiles.append(_tile(0, top, COLUMNS, _HEAD_HEIGHT, {"title": title, "text": {"content": "", "format": "RAW"}}))
        top += _HEAD_HEIGHT
        for place, panel in enumerate(panels):
            row, column = divmod(place, COLUMNS // _WIDTH)
            tiles.append(_tile(column * _WIDTH, top + row * _HEIGHT, _WIDTH, _HEIGHT, _chart(panel)))
        top += _HEIGHT * -(-len(panels) // (COLUMNS // _WIDTH))
    return {"displayName": "S4", "labels": {"s4": ""}, "mosaicLayout": {"columns": COLUMNS, "tiles": tiles}}


def _tile(x: int, y: int, width: int, height: int, widget: dict[str, Any]) -> dict[str, Any]:
    return {"xPos": x, "yPos": y, "width": width, "height": height, "widget": widget}


def _chart(panel: Panel) -> dict[str, Any]:
    return {
        "title": panel.title,
        "xyChart": {
            "dataSets": [
                {
                    "plotType": "LINE",
                    "targetAxis": "Y1",
                    **({"legendTemplate": line.legend} if line.legend else {}),
                    "timeSeriesQuery": {
                        "timeSeriesFilter": {
                            "filter": line.filter,
                            "aggregation": aggregation(line.aligner, line.reducer, line.by, MINUTE),
                        }
                    },
                }
                for line in panel.lines
            ],
            "yAxis": {"scale": "LINEAR"},
        },
    }
