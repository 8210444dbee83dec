"""Processes, and what they may take of their machines."""

from deploy.monitoring.alerts.conditions import RUN_API, RUN_WORKER, counted, fallen
from deploy.monitoring.alerts.model import HOUR, MINUTE, Alert, Cause, CloudWatch, Google, Severity
from deploy.monitoring.baseline import API, API_TWO, EXPORTER, WORKER, constant, steady

_ONE = {"job": "s4-api", "instance": "api-1:8000"}
_TWO = {"job": "s4-api", "instance": "api-2:8000"}
_API_SERVICE = {"ClusterName": "${Cluster}", "ServiceName": "${ApiService}"}

_PRESENCE = (
    Alert(
        name="S4ApiAbsent",
        area="system",
        summary="No API process answers",
        description="Prometheus reaches no process of job s4-api: S4 is down, or cannot be seen.",
        severity=Severity.PAGE,
        expression='absent(up{job="s4-api"} == 1)',
        held=2 * MINUTE,
        cause=Cause(
            series={f"up{{{API}}}": "", f"up{{{API_TWO}}}": ""},
            minutes=15,
        ),
        cloudwatch=CloudWatch(
            namespace="AWS/ApplicationELB",
            metric="HealthyHostCount",
            dimensions={"LoadBalancer": "${LoadBalancer}", "TargetGroup": "${TargetGroup}"},
            statistic="Maximum",
            threshold=1,
            comparison="LessThanThreshold",
            period=MINUTE,
            evaluation_periods=2,
            treat_missing="breaching",
        ),
        google=Google(
            filter=f'{RUN_API} AND metric.type = "run.googleapis.com/container/instance_count"',
            aligner="ALIGN_MAX",
            reducer="REDUCE_SUM",
            threshold=1,
            comparison="COMPARISON_LT",
            alignment=MINUTE,
            duration=2 * MINUTE,
        ),
    ),
    Alert(
        name="S4NoneReady",
        area="system",
        summary="No API process takes requests",
        description="All of them answer that they are not ready: the database is away, disks are full, or all start.",
        severity=Severity.PAGE,
        expression='max(s4_ready{process="api"}) == 0',
        held=2 * MINUTE,
        cause=Cause(
            series={f"s4_ready{{{API}}}": constant(0), f"s4_ready{{{API_TWO}}}": constant(0)},
            minutes=15,
            also=frozenset({"S4NotReady"}),
        ),
        **fallen("s4_ready", below=1, labels={"process": "api"}, held=5 * MINUTE, everywhere=True),
    ),
    Alert(
        name="S4NotReady",
        area="system",
        summary="{{ $labels.process }} of {{ $labels.instance }} is not ready",
        description="For ten minutes it has been starting, draining, without the database, or without room on a disk.",
        severity=Severity.TICKET,
        expression="max by (job, instance, process) (s4_ready) == 0",
        held=10 * MINUTE,
        cause=Cause(series={f"s4_ready{{{API_TWO}}}": constant(0)}, minutes=15, labels={**_TWO, "process": "api"}),
    ),
    Alert(
        name="S4WorkerAbsent",
        area="system",
        summary="No worker runs",
        description="No worker is ready: uploads are taken, and are not found.",
        severity=Severity.PAGE,
        expression='absent(s4_ready{process="worker"} == 1)',
        held=5 * MINUTE,
        cause=Cause(series={f"s4_ready{{{WORKER}}}": ""}, minutes=15),
        cloudwatch=CloudWatch(
            namespace="ECS/ContainerInsights",
            metric="RunningTaskCount",
            dimensions={"ClusterName": "${Cluster}", "ServiceName": "${WorkerService}"},
            statistic="Maximum",
            threshold=1,
            comparison="LessThanThreshold",
            period=MINUTE,
            evaluation_periods=5,
            treat_missing="breaching",
        ),
        google=Google(
            filter=f'{RUN_WORKER} AND metric.type = "run.googleapis.com/container/instance_count"',
            aligner="ALIGN_MAX",
            reducer="REDUCE_SUM",
            threshold=1,
            comparison="COMPARISON_LT",
            alignment=MINUTE,
            duration=5 * MINUTE,
        ),
    ),
    Alert(
        name="S4TargetDown",
        area="system",
        summary="{{ $labels.instance }} of {{ $labels.job }} does not answer Prometheus",
        description="For ten minutes. If it is gone for good, take it out of Prometheus' targets.",
        severity=Severity.TICKET,
        expression='max by (job, instance) (up{job=~"s4-.+"}) == 0',
        held=10 * MINUTE,
        cause=Cause(series={f"up{{{API_TWO}}}": constant(0)}, minutes=15, labels=_TWO),
    ),
    Alert(
        name="S4VersionsMixed",
        area="system",
        summary="Two releases of S4 run side by side",
        description="{{ $value }} versions have been running for two hours: a rolling upgrade was not finished.",
        severity=Severity.TICKET,
        expression="count(count by (version) (s4_build_info)) > 1",
        held=2 * HOUR,
        cause=Cause(series={f's4_build_info{{version="0.9.0",{WORKER}}}': constant(1)}, minutes=130),
    ),
    Alert(
        name="S4SeriesMany",
        area="system",
        summary="{{ $labels.instance }} exposes too many series",
        description="{{ $value }} samples in one scrape, where a process should have at most 2,000 at any number of "
        "tenants.",
        severity=Severity.TICKET,
        expression='max by (job, instance) (scrape_samples_scraped{job=~"s4-(api|worker)"}) > 4000',
        held=10 * MINUTE,
        cause=Cause(
            series={f"scrape_samples_scraped{{{API}}}": constant(9000)},
            minutes=20,
            labels=_ONE,
        ),
    ),
)

_MACHINE = (
    Alert(
        name="S4CpuHigh",
        area="system",
        summary="{{ $labels.instance }} of {{ $labels.job }} has used its processors up",
        description="{{ $value | humanizePercentage }} of what it may use, for fifteen minutes.",
        severity=Severity.TICKET,
        expression='instance:s4_cpu:ratio_5m{job="s4-api"} > 0.8',
        held=15 * MINUTE,
        cause=Cause(
            series={f's4_process_cpu_seconds_total{{part="self",{API}}}': steady(115)},  # of 120 of two processors
            minutes=30,
            labels=_ONE,
        ),
        # The guide's own example, corrected: missing data are no alarm, since tasks come and go.
        cloudwatch=CloudWatch(
            namespace="AWS/ECS",
            metric="CPUUtilization",
            dimensions=_API_SERVICE,
            statistic="Average",
            threshold=80,
            evaluation_periods=2,
        ),
        google=Google(
            filter=f'{RUN_API} AND metric.type = "run.googleapis.com/container/cpu/utilizations"',
            aligner="ALIGN_PERCENTILE_99",
            reducer="REDUCE_MAX",
            threshold=0.8,
            duration=10 * MINUTE,
        ),
    ),
    Alert(
        name="S4CpuThrottled",
        area="system",
        summary="The kernel stops {{ $labels.instance }} for its CPU limit",
        description="{{ $value | humanizePercentage }} of the time its control group had used its quota up.",
        severity=Severity.TICKET,
        expression="max by (job, instance) (rate(s4_cgroup_cpu_throttled_seconds_total[5m])) > 0.25",
        held=15 * MINUTE,
        cause=Cause(series={f"s4_cgroup_cpu_throttled_seconds_total{{{API}}}": steady(30)}, minutes=30, labels=_ONE),
    ),
    Alert(
        name="S4MemoryHigh",
        area="system",
        summary="{{ $labels.instance }} of {{ $labels.job }} is near its memory limit",
        description="{{ $value | humanizePercentage }} of what it may use; the kernel kills at the limit.",
        severity=Severity.PAGE,
        expression="instance:s4_memory:ratio > 0.9",
        held=5 * MINUTE,
        cause=Cause(
            series={f's4_cgroup_memory_bytes{{kind="working_set",{API}}}': constant(3.9e9)}, minutes=15, labels=_ONE
        ),
        cloudwatch=CloudWatch(
            namespace="AWS/ECS",
            metric="MemoryUtilization",
            dimensions=_API_SERVICE,
            statistic="Maximum",
            threshold=90,
        ),
        # The guide's own example, corrected: utilizations are distributions and need an aligner.
        google=Google(
            filter=f'{RUN_API} AND metric.type = "run.googleapis.com/container/memory/utilizations"',
            aligner="ALIGN_PERCENTILE_99",
            reducer="REDUCE_MAX",
            threshold=0.9,
            duration=5 * MINUTE,
        ),
    ),
    Alert(
        name="S4KilledForMemory",
        area="system",
        summary="The kernel killed a process of {{ $labels.instance }} for its memory",
        description="{{ $value | humanize }} within an hour.",
        severity=Severity.TICKET,
        expression="max by (job, instance) (increase(s4_cgroup_oom_kills_total[1h])) > 0.5",
        cause=Cause(
            series={f"s4_cgroup_oom_kills_total{{{WORKER}}}": f"0x5 {constant(1)}"},
            minutes=20,
            labels={"job": "s4-worker", "instance": "worker-1:9464"},
        ),
        **counted("s4_cgroup_oom_kills_total", more_than=0, within=HOUR),
    ),
    Alert(
        name="S4DiskLow",
        area="system",
        summary="The disk of {{ $labels.instance }} fills up",
        description="{{ $value | humanizePercentage }} of the file system with `{{ $labels.folder }}` is free.",
        severity=Severity.TICKET,
        expression="instance:s4_disk_free:ratio < 0.15",
        held=10 * MINUTE,
        cause=Cause(
            series={f's4_disk_free_bytes{{folder="data",{API}}}': constant(10e9)},
            minutes=20,
            labels={**_ONE, "folder": "data"},
        ),
    ),
    Alert(
        name="S4DiskFull",
        area="system",
        summary="The disk of {{ $labels.instance }} is full",
        description="{{ $value | humanizePercentage }} of the file system with `{{ $labels.folder }}` is free: uploads "
        "and indexing fail next.",
        severity=Severity.PAGE,
        expression="instance:s4_disk_free:ratio < 0.05",
        held=2 * MINUTE,
        cause=Cause(
            series={f's4_disk_free_bytes{{folder="data",{API}}}': constant(2e9)},
            minutes=20,
            labels={**_ONE, "folder": "data"},
            also=frozenset({"S4DiskLow"}),
        ),
        **fallen("s4_disk_free_bytes", below=2e9, labels={"folder": "data"}),
    ),
    Alert(
        name="S4CertificateExpires",
        area="security",
        summary="The TLS certificate of {{ $labels.instance }} expires soon",
        description="In {{ $value | humanizeDuration }}. A renewed one is taken by a rolling restart.",
        severity=Severity.TICKET,
        expression="min by (job, instance) (s4_tls_certificate_expiry_timestamp_seconds > 0) - time() < 14 * 86400",
        cause=Cause(
            series={f"s4_tls_certificate_expiry_timestamp_seconds{{{API}}}": constant(86400)}, minutes=20, labels=_ONE
        ),
    ),
    Alert(
        name="S4FiguresOld",
        area="tenants",
        summary="The figures of tenants are old",
        description="The exporter has not read the catalog for {{ $value | humanizeDuration }}: what it says of "
        "tenants is as old.",
        severity=Severity.TICKET,
        expression="time() - max(s4_exporter_read_timestamp_seconds) > 1800",
        held=5 * MINUTE,
        cause=Cause(series={f"s4_exporter_read_timestamp_seconds{{{EXPORTER}}}": constant(60)}, minutes=45),
    ),
)

ALERTS = (*_PRESENCE, *_MACHINE)
