"""The queue and its jobs: between an upload and the first search that finds it."""

from deploy.monitoring.alerts.model import MINUTE, Alert, Cause, CloudWatch, Google, Severity, prometheus_metric

_API = 'process="api",job="s4-api",instance="api-1:8000"'
_WORKER = 'process="worker",job="s4-worker",instance="worker-1:9100"'

ALERTS = (
    Alert(
        name="S4QueueOld",
        area="indexing",
        summary="Documents wait for a worker",
        description="The oldest job that could run waits since {{ $value | humanizeDuration }}.",
        severity=Severity.PAGE,
        expression="max(s4_queue_oldest_ready_seconds) > 600",
        held=5 * MINUTE,
        cause=Cause(series={f"s4_queue_oldest_ready_seconds{{{_API}}}": "0+60x30"}, minutes=20),
        cloudwatch=CloudWatch(metric="s4_queue_oldest_ready_seconds", statistic="Maximum", threshold=600),
        google=Google(
            filter=prometheus_metric("s4_queue_oldest_ready_seconds", "gauge"),
            aligner="ALIGN_MAX",
            reducer="REDUCE_MAX",
            threshold=600,
            duration=5 * MINUTE,
        ),
    ),
    Alert(
        name="S4JobsFail",
        area="indexing",
        summary="Jobs of kind {{ $labels.kind }} fail",
        description="{{ $value | humanize }} ended without success within an hour, after all their attempts.",
        severity=Severity.TICKET,
        expression='sum by (kind) (increase(s4_jobs_total{outcome="failed"}[1h])) > 3',
        held=5 * MINUTE,
        cause=Cause(
            series={f's4_jobs_total{{kind="usage.rollup",outcome="failed",{_WORKER}}}': "0+1x30"},
            minutes=20,
            labels={"kind": "usage.rollup"},
        ),
        cloudwatch=CloudWatch(
            metric="s4_jobs_total", dimensions={"outcome": "failed"}, statistic="Sum", threshold=3, period=60 * MINUTE
        ),
        google=Google(
            filter=prometheus_metric("s4_jobs_total", "counter", labels='metric.labels.outcome = "failed"'),
            aligner="ALIGN_DELTA",
            reducer="REDUCE_SUM",
            group_by=("metric.labels.kind",),
            threshold=3,
            alignment=60 * MINUTE,
        ),
    ),
    Alert(
        name="S4JobsLost",
        area="indexing",
        summary="Workers die over their jobs",
        description="{{ $value | humanize }} jobs lost their worker within half an hour.",
        severity=Severity.TICKET,
        expression='sum(increase(s4_jobs_total{outcome="lost"}[30m])) > 5',
        held=5 * MINUTE,
        cause=Cause(series={f's4_jobs_total{{kind="documents.index",outcome="lost",{_WORKER}}}': "0+1x30"}, minutes=20),
        cloudwatch=CloudWatch(
            metric="s4_jobs_total", dimensions={"outcome": "lost"}, statistic="Sum", threshold=5, period=30 * MINUTE
        ),
        google=Google(
            filter=prometheus_metric("s4_jobs_total", "counter", labels='metric.labels.outcome = "lost"'),
            aligner="ALIGN_DELTA",
            reducer="REDUCE_SUM",
            threshold=5,
            alignment=30 * MINUTE,
        ),
    ),
)
