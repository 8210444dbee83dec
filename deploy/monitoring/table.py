"""`docs/reference/alerts.md`: what the operations guide wants watched, in three stacks, and every alert with its
conditions.
"""

from dataclasses import dataclass
from pathlib import Path

from deploy.monitoring.alerts import ALERTS, Alert, CloudWatch, Google
from deploy.monitoring.dashboards import BOARDS
from deploy.monitoring.rules import duration

PATH = "../../docs/reference/alerts.md"
INDEX_PATH = "../../docs/runbooks/README.md"
"""From this folder."""

_RUNBOOKS = Path(__file__).parents[2] / "docs" / "runbooks"

OWN = "`S4`: the same name"
_MANAGED = "`prometheus.googleapis.com/…`: the same name"


@dataclass(frozen=True, slots=True)
class Watched:
    """A line of the guide's list of key metrics."""

    subject: str
    metrics: tuple[str, ...]
    panel: tuple[str, str]
    """A board's uid and a panel's title."""
    alerts: tuple[str, ...]
    cloudwatch: str = OWN
    google: str = _MANAGED


WATCHED = (
    Watched(
        "Request latency (p50, p95, p99)",
        ("s4_http_request_duration_seconds",),
        ("s4-api", "Latency of all requests"),
        ("S4SearchesSlow", "S4SearchesSlowly"),
        "`AWS/ApplicationELB` TargetResponseTime",
        "the histogram, by `REDUCE_PERCENTILE_…`",
    ),
    Watched(
        "Request count, throughput",
        ("s4_http_requests_total",),
        ("s4-system", "Requests"),
        ("S4Saturated", "S4RequestsWaitForPlaces"),
        "`AWS/ApplicationELB` RequestCount",
    ),
    Watched(
        "Error rates (4xx, 5xx)",
        ("s4_http_requests_total", "s4_http_errors_total", "s4_slo_bad_requests_total"),
        ("s4-api", "Errors by code"),
        ("S4ErrorsBurnBudgetFast", "S4ErrorsBurnBudgetSlowly"),
        "`AWS/ApplicationELB` HTTPCode_Target_4XX_Count, …5XX_Count",
    ),
    Watched(
        "Endpoint usage patterns",
        ("s4_http_requests_total",),
        ("s4-api", "Routes of the last hour"),
        (),
        "by code only, each route is billed: `s4 usage endpoints`",
    ),
    Watched(
        "CPU usage",
        ("s4_process_cpu_seconds_total", "s4_cgroup_cpu_seconds_total", "s4_cpu_limit_cores"),
        ("s4-system", "Processor"),
        ("S4CpuHigh", "S4CpuThrottled"),
        "`AWS/ECS` CPUUtilization",
        "`run.googleapis.com/container/cpu/utilizations`",
    ),
    Watched(
        "Memory usage",
        ("s4_cgroup_memory_bytes", "s4_process_resident_memory_bytes", "s4_memory_limit_bytes"),
        ("s4-system", "Memory"),
        ("S4MemoryHigh", "S4KilledForMemory"),
        "`AWS/ECS` MemoryUtilization",
        "`run.googleapis.com/container/memory/utilizations`",
    ),
    Watched(
        "Disk space",
        ("s4_disk_free_bytes", "s4_disk_size_bytes"),
        ("s4-system", "Disk free"),
        ("S4DiskLow", "S4DiskFull"),
    ),
    Watched(
        "Network I/O",
        ("s4_network_bytes_total",),
        ("s4-system", "Network traffic"),
        (),
        "`ECS/ContainerInsights` NetworkRxBytes, NetworkTxBytes",
        "`run.googleapis.com/container/network/sent_bytes_count`, …received_bytes_count",
    ),
    Watched(
        "Storage consumption (per tenant)",
        ("s4_tenant_stored_bytes", "s4_top_tenant_stored_bytes"),
        ("s4-tenants", "Stored"),
        ("S4StorageDrift", "S4QuotaDrift"),
        "`AWS/S3` BucketSizeBytes; per tenant `s4_top_tenant_stored_bytes`",
        "`storage.googleapis.com/storage/v2/total_bytes`; per tenant as beside",
    ),
    Watched(
        "Store: request count and latency",
        ("s4_store_requests_total", "s4_store_request_duration_seconds"),
        ("s4-store", "Latency by operation, p95"),
        ("S4StoreSlow", "S4StoreThrottles"),
        "`AWS/S3` AllRequests, FirstByteLatency",
        "`storage.googleapis.com/api/request_count`",
    ),
    Watched(
        "Store: error rates",
        ("s4_store_requests_total", "s4_store_errors_total"),
        ("s4-store", "Errors by code"),
        ("S4StoreFails", "S4StoreDenies"),
        "`AWS/S3` 4xxErrors, 5xxErrors",
    ),
    Watched(
        "Number of active tenants",
        ("s4_tenants", "s4_tenants_seen"),
        ("s4-tenants", "By status"),
        (),
    ),
    Watched(
        "API calls per tenant",
        ("s4_tenant_calls_total", "s4_top_tenant_calls"),
        ("s4-tenants", "Calls this month"),
        ("S4TenantNoisy", "S4TenantFails"),
        "`S4`: `s4_top_tenant_calls`",
        "`prometheus.googleapis.com/s4_top_tenant_calls/gauge`",
    ),
    Watched(
        "File count and storage used per tenant",
        ("s4_tenant_documents", "s4_tenant_stored_bytes"),
        ("s4-tenants", "Documents over time"),
        (),
        "`S4`: `s4_top_tenant_stored_bytes`; documents: `s4 usage tenant`",
        "`prometheus.googleapis.com/s4_top_tenant_stored_bytes/gauge`; documents: `s4 usage tenant`",
    ),
    Watched(
        "Tenant plan utilization percentage",
        ("s4_tenant_utilisation_ratio", "s4_top_tenant_utilisation_ratio"),
        ("s4-tenants", "Nearest to their bounds"),
        ("S4TenantFull",),
        "`S4`: `s4_top_tenant_utilisation_ratio`",
        "`prometheus.googleapis.com/s4_top_tenant_utilisation_ratio/gauge`",
    ),
)


def page() -> str:
    """In Markdown."""
    lines = [
        "<!-- Written by deploy/monitoring/generate.py. Change the code there, then run `make monitoring`. -->",
        "",
        "# Alerts",
        "",
        "Prometheus, CloudWatch and Google Cloud are given the same alerts, from one definition (`deploy/monitoring`).",
        "How to use them: [monitoring](../guide/monitoring.md).",
        "",
        "## What the operations guide wants watched",
        "",
        *_row("the guide's metric", "Prometheus", "panel", "alerts", "CloudWatch", "Google Cloud"),
        *_row(*["---"] * 6),
    ]
    titles = {board.uid: board.title for board in BOARDS}
    for each in WATCHED:
        alerts = ", ".join(_link(alert) for name in each.alerts for alert in ALERTS if alert.name == name)
        names = ", ".join(f"`{name}`" for name in each.metrics)
        panel = f"{titles[each.panel[0]]}, *{each.panel[1]}*"
        lines += _row(each.subject, names, panel, alerts or "none", each.cloudwatch, each.google)
    lines += ["", "By tenant exactly, and by route and hour: `s4 usage tenant`, `s4 usage endpoints`.", ""]
    for area in dict.fromkeys(alert.area for alert in ALERTS):
        lines += [f"## {titles[f's4-{area}'].removeprefix('S4: ').capitalize()}", ""]
        lines += _row("alert", "for whom", "fires when", "CloudWatch", "Google Cloud")
        lines += _row(*["---"] * 5)
        for alert in (each for each in ALERTS if each.area == area):
            when = f"`{alert.expression}`" + (f" for {duration(alert.held)}" if alert.held else "")
            lines += _row(
                _link(alert), alert.severity.value, when, _cloudwatch(alert.cloudwatch), _google(alert.google)
            )
        lines.append("")
    return "\n".join(lines)


def index() -> str:
    """The list of runbooks, in Markdown."""
    lines = [
        "<!-- Written by deploy/monitoring/generate.py. Change the code there, then run `make monitoring`. -->",
        "",
        "# Runbooks",
        "",
        "One page for each alert: what it means, who is affected, where to look, what to do, how to prevent it.",
        "Commands are run where the server's settings are (its environment or `--config`), or with `--url` and",
        "`--admin-key`; `s4.log` stands for wherever the log of S4 goes, words in capitals for what you know.",
    ]
    for severity, meaning in (("page", "tenants suffer now, or soon will"), ("ticket", "it can wait for the morning")):
        lines += ["", f"## {severity.capitalize()}: {meaning}", "", *_row("alert", "what is so"), *_row("---", "---")]
        for alert in (each for each in ALERTS if each.severity == severity):
            title = (_RUNBOOKS / f"{alert.runbook}.md").read_text(encoding="utf-8").partition("\n")[0]
            lines += _row(f"[`{alert.name}`]({alert.runbook}.md)", title.removeprefix("# "))
    return "\n".join(lines) + "\n"


def _link(alert: Alert) -> str:
    return f"[`{alert.name}`](../runbooks/{alert.runbook}.md)"


def _row(*cells: str) -> list[str]:
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"]


def _cloudwatch(condition: CloudWatch | None) -> str:
    if condition is None:
        return "no"
    sign = "<" if condition.comparison.startswith("Less") else ">"
    whole = f" / {condition.share_of}" if condition.share_of is not None else ""
    times = f"{condition.evaluation_periods} x {duration(condition.period)}"
    bound = f"{condition.statistic} {sign} {condition.threshold:g}"
    return f"{condition.namespace} {condition.metric}{whole}, {bound}, {times}"


def _google(condition: Google | None) -> str:
    if condition is None:
        return "no"
    sign = "<" if condition.comparison == "COMPARISON_LT" else ">"
    metric = condition.filter.partition('metric.type = "')[2].partition('"')[0]
    whole = ", of all" if condition.denominator_filter is not None else ""
    held = f" for {duration(condition.duration)}" if condition.duration else ""
    return f"{metric}{whole}, {condition.aligner}, {condition.reducer} {sign} {condition.threshold:g}{held}"
