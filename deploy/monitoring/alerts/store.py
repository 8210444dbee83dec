"""The object store, where the truth lies; the catalog; and what keeps both from being lost."""

from deploy.monitoring.alerts.conditions import counted, measured, share
from deploy.monitoring.alerts.model import HOUR, MINUTE, Alert, Cause, CloudWatch, Severity
from deploy.monitoring.baseline import API, NOW, WORKER, constant, steady

_COPIED_LATE = '300 + 2 * max(s4_schedule_interval_seconds{task="maintenance.replicate"})'
_BUCKET = {"BucketName": "${Bucket}", "FilterId": "EntireBucket"}

_STORE = (
    Alert(
        name="S4StoreFails",
        area="store",
        summary="The object store fails",
        description="{{ $value | humanizePercentage }} of requests to it are refused, or not answered in time.",
        severity=Severity.PAGE,
        expression="s4:store_errors:ratio_5m > 0.05",
        held=3 * MINUTE,
        cause=Cause(
            series={f's4_store_requests_total{{operation="get",outcome="error",{API}}}': steady(120)}, minutes=15
        ),
        cloudwatch=CloudWatch(
            namespace="AWS/S3",
            metric="5xxErrors",
            dimensions=_BUCKET,
            share_of="AllRequests",
            share_of_dimensions=_BUCKET,
            statistic="Sum",
            threshold=0.05,
        ),
        google=share(
            "s4_store_requests_total",
            "s4_store_requests_total",
            above=0.05,
            labels={"outcome": "error|timeout|denied|full"},
            held=5 * MINUTE,
        )["google"],
    ),
    Alert(
        name="S4StoreDenies",
        area="store",
        summary="The object store denies S4 access",
        description="{{ $value | humanize }} requests within ten minutes: a policy, a key or the credentials changed.",
        severity=Severity.PAGE,
        expression='sum(increase(s4_store_requests_total{outcome="denied"}[10m])) > 5',
        held=2 * MINUTE,
        cause=Cause(
            series={f's4_store_requests_total{{operation="put",outcome="denied",{API}}}': steady(3)}, minutes=20
        ),
        **counted("s4_store_requests_total", more_than=5, within=10 * MINUTE, labels={"outcome": "denied"}),
    ),
    Alert(
        name="S4StoreThrottles",
        area="store",
        summary="The object store throttles S4",
        description="{{ $value | humanizePercentage }} of requests to it are refused for their rate.",
        severity=Severity.TICKET,
        expression="s4:store_throttled:ratio_5m > 0.01",
        held=10 * MINUTE,
        cause=Cause(
            series={f's4_store_requests_total{{operation="get",outcome="throttled",{API}}}': steady(30)}, minutes=30
        ),
        **share(
            "s4_store_requests_total",
            "s4_store_requests_total",
            above=0.01,
            labels={"outcome": "throttled"},
            held=10 * MINUTE,
        ),
    ),
    Alert(
        name="S4StoreSlow",
        area="store",
        summary="The object store is slow to {{ $labels.operation }}",
        description="Nineteen of twenty requests take up to {{ $value | humanizeDuration }}.",
        severity=Severity.TICKET,
        expression='operation:s4_store_request_duration_seconds:p95{operation!="list"} > 1',
        held=10 * MINUTE,
        cause=Cause(
            series={
                f's4_store_request_duration_seconds_bucket{{operation="get",{API},le="1.0"}}': constant(0),
                f's4_store_request_duration_seconds_bucket{{operation="get",{API},le="5.0"}}': steady(600),
            },
            minutes=20,
            labels={"operation": "get"},
        ),
        cloudwatch=CloudWatch(
            namespace="AWS/S3",
            metric="FirstByteLatency",
            dimensions=_BUCKET,
            statistic="p95",
            threshold=1000,
            evaluation_periods=2,
        ),
    ),
    Alert(
        name="S4StoreFailedOver",
        area="store",
        summary="Contents are read from the second bucket",
        description="{{ $value | humanize }} within ten minutes: the first does not send them in time.",
        severity=Severity.PAGE,
        expression="sum(increase(s4_store_failovers_total[10m])) > 5",
        held=2 * MINUTE,
        cause=Cause(series={f"s4_store_failovers_total{{{API}}}": steady(3)}, minutes=20),
        **counted("s4_store_failovers_total", more_than=5, within=10 * MINUTE),
    ),
)

_CATALOG = (
    Alert(
        name="S4DatabaseAway",
        area="store",
        summary="The database does not answer",
        description="{{ $value | humanize }} transactions a second end because the catalog does not answer.",
        severity=Severity.PAGE,
        expression='sum(rate(s4_database_errors_total{reason="unavailable"}[2m])) > 0.1',
        held=MINUTE,
        cause=Cause(series={f's4_database_errors_total{{reason="unavailable",{API}}}': steady(60)}, minutes=10),
        **counted("s4_database_errors_total", more_than=10, within=5 * MINUTE, labels={"reason": "unavailable"}),
    ),
    Alert(
        name="S4DatabasePoolShort",
        area="store",
        summary="Transactions of {{ $labels.instance }} wait for connections",
        description="On average {{ $value | humanize }} have been waiting for ten minutes.",
        severity=Severity.TICKET,
        expression="max by (job, instance) (avg_over_time(s4_database_pool_waiting[5m])) > 1",
        held=10 * MINUTE,
        cause=Cause(
            series={f's4_database_pool_waiting{{pool="both",{API}}}': constant(4)},
            minutes=20,
            labels={"job": "s4-api", "instance": "api-1:8000"},
        ),
        **measured("s4_database_pool_waiting", above=1, held=15 * MINUTE),
    ),
    Alert(
        name="S4DatabaseSlow",
        area="store",
        summary="Catalog transactions ({{ $labels.kind }}) are slow",
        description="Nineteen of twenty take up to {{ $value | humanizeDuration }}.",
        severity=Severity.TICKET,
        expression="kind:s4_database_transaction_duration_seconds:p95 > 0.5",
        held=10 * MINUTE,
        cause=Cause(
            series={
                f's4_database_transaction_duration_seconds_bucket{{kind="write",{API},le="0.5"}}': constant(0),
                f's4_database_transaction_duration_seconds_bucket{{kind="write",{API},le="1.0"}}': steady(300),
            },
            minutes=20,
            labels={"kind": "write"},
        ),
        cloudwatch=CloudWatch(
            namespace="AWS/RDS",
            metric="WriteLatency",
            dimensions={"DBInstanceIdentifier": "${Database}"},
            statistic="p95",
            threshold=0.1,
            evaluation_periods=2,
        ),
    ),
    Alert(
        name="S4DatabaseRetries",
        area="store",
        summary="Transactions hinder each other",
        description="{{ $value | humanize }} a second are begun anew for locks or serialization failures.",
        severity=Severity.TICKET,
        expression="sum(rate(s4_database_retries_total[10m])) > 1",
        held=15 * MINUTE,
        cause=Cause(series={f's4_database_retries_total{{reason="serialization",{API}}}': steady(180)}, minutes=40),
        **counted("s4_database_retries_total", more_than=600, within=10 * MINUTE),
    ),
)

_SAFETY = (
    Alert(
        name="S4StorageDrift",
        area="store",
        summary="Documents lack their bytes in the bucket",
        description="{{ $value | humanize1024 }}B of live documents were not found by the last listing.",
        severity=Severity.PAGE,
        expression="max(s4_storage_drift_bytes) > 0",
        cause=Cause(series={f"s4_storage_drift_bytes{{{API}}}": constant(4096)}, minutes=15),
        **measured("s4_storage_drift_bytes", above=0),
    ),
    Alert(
        name="S4QuotaDrift",
        area="store",
        summary="Balances of quotas were wrong",
        description="{{ $value | humanize1024 }}B; the recount put them right. It should not happen.",
        severity=Severity.TICKET,
        expression="max(s4_usage_drift_bytes) > 0",
        cause=Cause(series={f"s4_usage_drift_bytes{{{API}}}": constant(4096)}, minutes=15),
        **measured("s4_usage_drift_bytes", above=0),
    ),
    Alert(
        name="S4MendsMuch",
        area="store",
        summary="Reconcilers mend much",
        description="{{ $value | humanize }} commits, reservations or jobs within an hour: something crashes.",
        severity=Severity.TICKET,
        expression='sum(increase(s4_reconciled_total{action=~"adopted|abandoned|released|requeued"}[1h])) > 100',
        held=5 * MINUTE,
        cause=Cause(series={f's4_reconciled_total{{action="adopted",{WORKER}}}': steady(10)}, minutes=40),
        **counted(
            "s4_reconciled_total", more_than=100, within=HOUR, labels={"action": "adopted|abandoned|released|requeued"}
        ),
    ),
    Alert(
        name="S4BackupOld",
        area="store",
        summary="The last good backup is too old",
        description="By {{ $value | humanizeDuration }}.",
        severity=Severity.PAGE,
        expression="max(s4_backup_overdue_seconds) > 0",
        held=5 * MINUTE,
        cause=Cause(series={f"s4_backup_overdue_seconds{{{API}}}": constant(600)}, minutes=15),
        **measured("s4_backup_overdue_seconds", above=0, held=5 * MINUTE),
    ),
    Alert(
        name="S4BackupFails",
        area="store",
        summary="Backups fail: {{ $labels.kind }}",
        description="{{ $value | humanize }} within six hours.",
        severity=Severity.TICKET,
        expression='sum by (kind) (increase(s4_backup_runs_total{outcome="failed"}[6h])) > 0.5',
        cause=Cause(
            series={f's4_backup_runs_total{{kind="backup",outcome="failed",{WORKER}}}': f"0x5 {constant(1)}"},
            minutes=20,
            labels={"kind": "backup"},
        ),
        **counted("s4_backup_runs_total", more_than=0, within=6 * HOUR, labels={"outcome": "failed"}),
    ),
    Alert(
        name="S4BackupLacks",
        area="store",
        summary="The last backup lacks objects",
        description="{{ $value }} objects that the catalog names were not in the bucket: they are lost there.",
        severity=Severity.PAGE,
        expression="max(s4_backup_lacking_objects) > 0",
        cause=Cause(series={f"s4_backup_lacking_objects{{{API}}}": constant(2)}, minutes=15),
        **measured("s4_backup_lacking_objects", above=0),
    ),
    Alert(
        name="S4DrillFailed",
        area="store",
        summary="The last restore drill failed",
        description="It did not restore a sound deployment within the targets for recovery.",
        severity=Severity.TICKET,
        expression="max(s4_backup_drill_failed) > 0",
        cause=Cause(series={f"s4_backup_drill_failed{{{API}}}": constant(1)}, minutes=15),
        **measured("s4_backup_drill_failed", above=0),
    ),
    Alert(
        name="S4ReplicationLags",
        area="store",
        summary="The second region is behind",
        description="What was acknowledged in the last {{ $value | humanizeDuration }} would be lost with the first.",
        severity=Severity.TICKET,
        # What the worker knows: as of when the copy is whole. What the catalog knows, also while no worker runs or none
        # has reached the second store: when a copying last came to its end.
        expression="(time() - max(s4_replication_as_of_timestamp_seconds > 0)) > "
        f"{_COPIED_LATE} or max(s4_replication_lag_seconds) > {_COPIED_LATE}",
        held=5 * MINUTE,
        cause=Cause(
            series={f"s4_replication_as_of_timestamp_seconds{{{WORKER}}}": constant(60)},
            minutes=30,
        ),
        other_causes=(
            Cause(
                about="no worker copies",
                series={
                    f"s4_replication_as_of_timestamp_seconds{{{WORKER}}}": "",
                    f"s4_replication_lag_seconds{{{API}}}": NOW,
                },
                minutes=30,
            ),
            Cause(
                about="a worker that was started anew has not reached the second store",
                series={
                    f"s4_replication_as_of_timestamp_seconds{{{WORKER}}}": constant(0),
                    f"s4_replication_lag_seconds{{{API}}}": NOW,
                },
                minutes=30,
            ),
        ),
        **measured("s4_replication_lag_seconds", above=900, held=5 * MINUTE),
    ),
    Alert(
        name="S4Superseded",
        area="store",
        summary="Another region was promoted",
        description="Processes of this region stop: what they accept is not in the other one.",
        severity=Severity.PAGE,
        expression="max(s4_superseded) > 0",
        cause=Cause(series={f"s4_superseded{{{API}}}": constant(1)}, minutes=15),
        **measured("s4_superseded", above=0),
    ),
)

ALERTS = (*_STORE, *_CATALOG, *_SAFETY)
