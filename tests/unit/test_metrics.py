"""The catalogue of metrics: Prometheus's names and units, help that helps, bounded labels, and nothing that is declared
and never fed."""

import ast
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families

import s4
from s4.platform.telemetry import exposition, metrics
from s4.platform.telemetry.metrics.buckets import Read

SOURCE = Path(s4.__file__).parent
CATALOGUE = SOURCE / "platform" / "telemetry" / "metrics"
DECLARED = {name: value for name, value in vars(metrics).items() if hasattr(value, "describe") and name.isupper()}

BASE_UNITS = ("seconds", "bytes", "ratio", "cores")
OTHER_UNITS = {"ms", "milliseconds", "minutes", "hours", "kb", "mb", "kib", "mib", "percent"}
COUNTED = {
    "s4_build_info", "s4_ready", "s4_http_requests_in_flight", "s4_http_places", "s4_http_places_held",
    "s4_http_places_waiting", "s4_rate_limits_alone", "s4_audit_chain_ok", "s4_database_pool_connections",
    "s4_database_pool_in_use", "s4_database_pool_waiting", "s4_queue_depth", "s4_job_attempts",
    "s4_embedding_breaker_open", "s4_superseded", "s4_own_data_rows", "s4_backup_lacking_objects",
    "s4_backup_drill_failed", "s4_backup_drill_searches", "s4_process_threads", "s4_extraction_processes",
    "s4_index_handles_open",
    "s4_index_tables", "s4_index_fragments", "s4_index_commits_since_optimize", "s4_tenants", "s4_tenants_seen",
    "s4_top_tenant_calls", "s4_tenant_info", "s4_tenant_documents",
}  # fmt: skip
"""Gauges and histograms of things that are counted or are so or not, and so have no unit."""
UNBOUNDED = {"key", "path", "user", "document_id", "request_id", "address", "url"}


def described(metric: Any) -> Metric:
    found: Metric = metric.describe()[0]
    return found


def labels_of(metric: Any) -> tuple[str, ...]:
    return metric.labels if isinstance(metric, Read) else tuple(metric._labelnames)


def name_of(metric: Any) -> str:
    """As it is scraped."""
    about = described(metric)
    return about.name + ("_total" if about.type == "counter" else "")


@pytest.mark.parametrize("name", DECLARED)
def test_a_metric_is_named_as_prometheus_names_them(name: str) -> None:
    metric = DECLARED[name]
    scraped, kind = name_of(metric), described(metric).type
    assert re.fullmatch(r"s4_[a-z0-9]+(_[a-z0-9]+)*", scraped)
    assert not OTHER_UNITS & set(scraped.split("_")), "base units: seconds, bytes, ratios from 0 to 1"
    if kind == "counter":
        return
    assert not scraped.endswith(("_total", "_count", "_sum", "_bucket")), "those are other types' names"
    assert scraped.endswith(BASE_UNITS) or scraped in COUNTED, "with its unit at the end, or a count that is listed"


@pytest.mark.parametrize("name", DECLARED)
def test_a_help_line_says_what_to_do_when_the_figure_moves(name: str) -> None:
    said = described(DECLARED[name]).documentation
    assert said.endswith("."), "sentences"
    assert "\n" not in said
    assert re.search(r"[.:;] \S", said), "what it is, and then what to do or where to look"


@pytest.mark.parametrize("name", DECLARED)
def test_labels_are_bounded_and_tenants_are_named_in_one_place(name: str) -> None:
    labels = set(labels_of(DECLARED[name]))
    assert not labels & UNBOUNDED
    assert "process" not in labels, "the exposition's own label"
    if "tenant_id" in labels:
        assert name_of(DECLARED[name]).startswith(("s4_tenant_", "s4_top_tenant_"))


def test_no_name_is_declared_twice() -> None:
    # Not with and without `_total` either: OpenMetrics and its parsers take that for one family.
    names = [described(metric).name for metric in DECLARED.values()]
    assert len(names) == len(set(names))


def test_every_declared_metric_is_fed_somewhere() -> None:
    fed = {name for path in SOURCE.rglob("*.py") if CATALOGUE not in path.parents for name in used_in(path)}
    assert sorted(set(DECLARED) - fed) == []


def used_in(path: Path) -> set[str]:
    """Names of metrics that a module does something with: `metrics.NAME.…`, `NAME.…`, or handing it on. An import alone
    is no use."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "metrics":
            found.add(node.attr)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            found.add(node.id)
    return found


def test_metrics_are_declared_in_the_catalogue_only() -> None:
    elsewhere = [
        f"{path.relative_to(SOURCE)}:{node.lineno}"
        for path in SOURCE.rglob("*.py")
        if CATALOGUE not in path.parents
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and node.args
        and isinstance(node.args[0], ast.Constant)
        and str(node.args[0].value).startswith("s4_")
        and getattr(node.func, "id", getattr(node.func, "attr", "")) in ("Counter", "Gauge", "Histogram", "Read")
    ]
    assert elsewhere == []


# -- exposition


def families(text: bytes) -> dict[str, Metric]:
    found = list(text_string_to_metric_families(text.decode()))
    assert len(found) == len({family.name for family in found}), "one family each"
    return {family.name: family for family in found}


def test_processes_are_told_apart_by_a_label_and_share_their_families() -> None:
    api = b"# HELP s4_x_total Some. Look.\n# TYPE s4_x_total counter\ns4_x_total 1.0\n"
    worker = (
        b"# HELP s4_x_total Some. Look.\n# TYPE s4_x_total counter\ns4_x_total 2.0\n"
        b'# HELP s4_y Others. Look.\n# TYPE s4_y gauge\ns4_y{of="a {b} \\"c\\" d"} 3.0\n'
    )
    found = families(exposition.combined({"api": api, "worker": worker}))
    assert [(sample.labels, sample.value) for sample in found["s4_x"].samples] == [
        ({"process": "api"}, 1.0),
        ({"process": "worker"}, 2.0),
    ]
    (sample,) = found["s4_y"].samples
    assert (sample.labels, sample.value) == ({"process": "worker", "of": 'a {b} "c" d'}, 3.0)


def test_what_is_read_at_a_scrape_stands_beside_what_is_counted() -> None:
    limit = metrics.CPU_LIMIT_CORES
    found = families(exposition.combined({"api": exposition.own([lambda: [limit.of(1.5)]])}))
    assert found[limit.name].samples[0].value == 1.5
    assert "s4_http_requests" in found


def test_a_metric_that_is_read_takes_values_by_each_of_its_labels() -> None:
    disk = metrics.PROCESS_DISK_BYTES.of([(("self", "read"), 7)])
    assert (disk.type, disk.samples[0].name) == ("counter", "s4_process_disk_bytes_total")
    assert disk.samples[0].labels == {"part": "self", "direction": "read"}
    with pytest.raises(ValueError, match="zip"):
        metrics.PROCESS_DISK_BYTES.of({"self": 1})


RARE = (
    's4_index_checks_total{outcome="damaged"}',
    's4_backup_runs_total{kind="drill",outcome="failed"}',
    's4_sla_told_total{state="breached"}',
    's4_webhook_deliveries_total{outcome="dead"}',
    's4_reconciled_total{action="adopted"}',
)


@pytest.fixture(scope="module")
def begun() -> str:
    """What a process exposes before anything has happened."""
    program = (
        "from s4.platform.telemetry import metrics; from prometheus_client import generate_latest;"
        "print(generate_latest().decode())"
    )
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout


def test_what_an_alert_waits_for_is_there_before_it_first_happens(begun: str) -> None:
    """A series that begins at 1 has not increased, for Prometheus."""
    assert [f"{name} 0.0" in begun for name in RARE] == [True] * len(RARE)


def test_who_has_not_looked_at_the_audit_trail_does_not_call_it_changed(begun: str) -> None:
    assert "s4_audit_chain_ok 1.0" in begun
