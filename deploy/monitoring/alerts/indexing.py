"""From an upload to the first search that finds it: queue, jobs, extraction, embedding, index."""

from deploy.monitoring.alerts.conditions import counted, measured
from deploy.monitoring.alerts.model import HOUR, MINUTE, Alert, Cause, Severity
from deploy.monitoring.baseline import API, WORKER, constant, steady

ALERTS = (
    Alert(
        name="S4QueueOld",
        area="indexing",
        summary="Documents wait for a worker",
        description="The oldest job that could run has been waiting for {{ $value | humanizeDuration }}.",
        severity=Severity.PAGE,
        expression="max(s4_queue_oldest_ready_seconds) > 600",
        held=5 * MINUTE,
        cause=Cause(series={f"s4_queue_oldest_ready_seconds{{{API}}}": steady(60)}, minutes=20),
        **measured("s4_queue_oldest_ready_seconds", above=600, held=5 * MINUTE),
    ),
    Alert(
        name="S4JobsFail",
        area="indexing",
        summary="Jobs of kind {{ $labels.kind }} fail",
        description="{{ $value | humanize }} were given up within an hour: {{ $labels.reason }}.",
        severity=Severity.TICKET,
        # What a tenant's own file is to blame for is no concern of the operator's.
        expression='sum by (kind, reason) (increase(s4_jobs_ended_total{outcome="failed",'
        'reason=~"internal|service_unavailable|.*_unavailable"}[1h])) > 2',
        held=2 * MINUTE,
        cause=Cause(
            series={
                f's4_jobs_ended_total{{kind="usage.rollup",outcome="failed",reason="internal",{WORKER}}}': steady(1)
            },
            minutes=20,
            labels={"kind": "usage.rollup", "reason": "internal"},
        ),
        **counted(
            "s4_jobs_ended_total",
            more_than=2,
            within=HOUR,
            labels={"outcome": "failed", "reason": "internal|service_unavailable|dependency_unavailable"},
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
        cause=Cause(series={f's4_jobs_total{{kind="documents.index",outcome="lost",{WORKER}}}': steady(1)}, minutes=20),
        **counted("s4_jobs_total", more_than=5, within=30 * MINUTE, labels={"outcome": "lost"}),
    ),
    Alert(
        name="S4TaskOverdue",
        area="indexing",
        summary="The regular task {{ $labels.task }} is overdue",
        description="It last succeeded {{ $value | humanizeDuration }} ago, more than twice its interval.",
        severity=Severity.TICKET,
        expression="(time() - max by (task) (s4_schedule_last_success_timestamp_seconds)) "
        "> 120 + 2 * max by (task) (s4_schedule_interval_seconds)",
        held=5 * MINUTE,
        cause=Cause(
            series={f's4_schedule_last_success_timestamp_seconds{{task="usage.rollup",{API}}}': constant(60)},
            minutes=150,
            labels={"task": "usage.rollup"},
        ),
    ),
    Alert(
        name="S4DocumentsFail",
        area="indexing",
        summary="Documents fail: {{ $labels.reason }}",
        description="{{ $value | humanize }} within an hour ended without being indexed, and not for their content.",
        severity=Severity.TICKET,
        expression='sum by (reason) (increase(s4_documents_indexed_total{outcome="failed",'
        'reason=~"dependency_unavailable|internal|data_corrupt"}[1h])) > 5',
        held=5 * MINUTE,
        cause=Cause(
            series={
                f's4_documents_indexed_total{{outcome="failed",reason="dependency_unavailable",{WORKER}}}': steady(2)
            },
            minutes=30,
            labels={"reason": "dependency_unavailable"},
        ),
        **counted(
            "s4_documents_indexed_total",
            more_than=5,
            within=HOUR,
            labels={"outcome": "failed", "reason": "dependency_unavailable|internal|data_corrupt"},
        ),
    ),
    Alert(
        name="S4ExtractionKills",
        area="indexing",
        summary="Many files end their extraction child",
        description="{{ $value | humanize }} within an hour: somebody uploads what takes too much memory or time.",
        severity=Severity.TICKET,
        expression='sum(increase(s4_extraction_children_total{reason=~"timeout|memory|crashed"}[1h])) > 20',
        held=5 * MINUTE,
        cause=Cause(series={f's4_extraction_children_total{{reason="memory",{WORKER}}}': steady(2)}, minutes=30),
        **counted(
            "s4_extraction_children_total", more_than=20, within=HOUR, labels={"reason": "timeout|memory|crashed"}
        ),
    ),
    Alert(
        name="S4EmbeddingAway",
        area="indexing",
        summary="The embedding provider {{ $labels.provider }} is left alone",
        description="{{ $value }} processes have their breaker open: documents wait, searches go by keyword.",
        severity=Severity.PAGE,
        expression="sum by (provider) (s4_embedding_breaker_open) > 0",
        held=10 * MINUTE,
        cause=Cause(
            series={f's4_embedding_breaker_open{{provider="openai",{WORKER}}}': constant(1)},
            minutes=20,
            labels={"provider": "openai"},
        ),
        **measured("s4_embedding_breaker_open", above=0, held=10 * MINUTE),
    ),
    Alert(
        name="S4IndexDamaged",
        area="indexing",
        summary="Files of an index table were deleted or changed",
        description="{{ $value | humanize }} looks within an hour found tables that are not as they were committed.",
        severity=Severity.PAGE,
        expression='sum(increase(s4_index_checks_total{outcome=~"damaged|deferred"}[1h])) > 0.5',
        cause=Cause(series={f's4_index_checks_total{{outcome="damaged",{WORKER}}}': f"0x5 {constant(1)}"}, minutes=20),
        **counted("s4_index_checks_total", more_than=0, within=HOUR, labels={"outcome": "damaged|deferred"}),
    ),
    Alert(
        name="S4IndexFragmented",
        area="indexing",
        summary="An index table is in many pieces",
        description="{{ $value }} data files: it is not compacted, and its searches become slow.",
        severity=Severity.TICKET,
        expression='max(s4_index_fragments{of="most"}) > 500',
        held=HOUR,
        cause=Cause(series={f's4_index_fragments{{of="most",{API}}}': constant(900)}, minutes=70),
        **measured("s4_index_fragments", above=500, labels={"of": "most"}, held=HOUR),
    ),
    Alert(
        name="S4RecallLow",
        area="indexing",
        summary="Searches of large tables miss what is near",
        description="Of the ten nearest chunks they find {{ $value | humanizePercentage }}, against a scan.",
        severity=Severity.TICKET,
        expression="sum(increase(s4_index_recall_ratio_sum[6h])) "
        "/ (sum(increase(s4_index_recall_ratio_count[6h])) > 20) < 0.95",
        held=HOUR,
        cause=Cause(series={f"s4_index_recall_ratio_sum{{{API}}}": "0+0.8x400"}, minutes=180),
    ),
    Alert(
        name="S4RecallUnknown",
        area="indexing",
        summary="Nobody knows what searches of large tables miss",
        description="{{ $value | humanize }} searches were drawn within a day, and none could be compared with a scan.",
        severity=Severity.TICKET,
        expression='sum(increase(s4_index_recall_samples_total{outcome="failed"}[1d])) > 5 unless '
        'sum(increase(s4_index_recall_samples_total{outcome="compared"}[1d])) > 0',
        held=HOUR,
        cause=Cause(
            series={
                f's4_index_recall_samples_total{{outcome="failed",{API}}}': steady(1),
                f's4_index_recall_samples_total{{outcome="compared",{API}}}': constant(0),
                f"s4_index_recall_ratio_sum{{{API}}}": constant(0),
                f"s4_index_recall_ratio_count{{{API}}}": constant(0),
            },
            minutes=120,
        ),
    ),
    Alert(
        name="S4WebhooksStuck",
        area="indexing",
        summary="Events wait for hours",
        description="The oldest has been waiting for {{ $value | humanizeDuration }} to be delivered.",
        severity=Severity.TICKET,
        expression="max(s4_webhook_oldest_pending_seconds) > 6 * 3600",
        held=5 * MINUTE,
        cause=Cause(series={f"s4_webhook_oldest_pending_seconds{{{API}}}": constant(30_000)}, minutes=15),
        **measured("s4_webhook_oldest_pending_seconds", above=6 * 3600, held=5 * MINUTE),
    ),
    Alert(
        name="S4WebhooksGivenUp",
        area="indexing",
        summary="Events were given up",
        description="{{ $value | humanize }} deliveries within an hour; they can be replayed.",
        severity=Severity.TICKET,
        expression='sum(increase(s4_webhook_deliveries_total{outcome="dead"}[1h])) > 10',
        cause=Cause(series={f's4_webhook_deliveries_total{{outcome="dead",{WORKER}}}': steady(1)}, minutes=30),
        **counted("s4_webhook_deliveries_total", more_than=10, within=HOUR, labels={"outcome": "dead"}),
    ),
)
