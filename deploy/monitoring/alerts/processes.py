"""Processes: who should be there, and what they may take of their machine."""

from deploy.monitoring.alerts.model import MINUTE, Alert, Cause, CloudWatch, Google, Severity

ALERTS = (
    Alert(
        name="S4ApiAbsent",
        area="system",
        summary="No API process answers",
        description="Prometheus reaches no process of job s4-api: S4 is down, or cannot be seen.",
        severity=Severity.PAGE,
        expression='absent(up{job="s4-api"} == 1)',
        held=2 * MINUTE,
        cause=Cause(
            series={'up{job="s4-api",instance="api-1:8000"}': "0x20", 'up{job="s4-api",instance="api-2:8000"}': "0x20"},
            minutes=15,
            also=frozenset({"S4TargetDown"}),
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
    ),
    Alert(
        name="S4WorkerAbsent",
        area="system",
        summary="No worker runs",
        description="No worker answers Prometheus: uploads are taken, and are not found.",
        severity=Severity.PAGE,
        expression='absent(s4_ready{process="worker"} == 1)',
        held=5 * MINUTE,
        cause=Cause(
            series={
                's4_ready{process="worker",job="s4-worker",instance="worker-1:9100"}': "0x20",
            },
            minutes=15,
        ),
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
            filter='resource.type = "cloud_run_revision" AND resource.labels.service_name = "${worker_service}" AND '
            'metric.type = "run.googleapis.com/container/instance_count"',
            aligner="ALIGN_MAX",
            reducer="REDUCE_SUM",
            threshold=1,
            comparison="COMPARISON_LT",
            duration=5 * MINUTE,
        ),
    ),
    Alert(
        name="S4TargetDown",
        area="system",
        summary="{{ $labels.job }} {{ $labels.instance }} does not answer Prometheus",
        description="For ten minutes. If it is gone for good, take it out of Prometheus' targets.",
        severity=Severity.TICKET,
        expression='up{job=~"s4-.+"} == 0',
        held=10 * MINUTE,
        cause=Cause(
            series={'up{job="s4-api",instance="api-2:8000"}': "0x20"},
            minutes=15,
            labels={"job": "s4-api", "instance": "api-2:8000"},
        ),
    ),
    Alert(
        name="S4CpuHigh",
        area="system",
        summary="{{ $labels.job }} {{ $labels.instance }} has used its processors up",
        description="It used {{ $value | humanize }} processors' time a second for fifteen minutes.",
        severity=Severity.TICKET,
        expression='sum by (job, instance) (rate(process_cpu_seconds_total{job=~"s4-.+"}[5m])) > 3.2',
        held=15 * MINUTE,
        cause=Cause(
            series={'process_cpu_seconds_total{process="api",job="s4-api",instance="api-1:8000"}': "0+230x40"},
            minutes=30,
            labels={"job": "s4-api", "instance": "api-1:8000"},
        ),
        # The guide's own example, under its own name there: s4-high-cpu.
        cloudwatch=CloudWatch(
            namespace="AWS/ECS",
            metric="CPUUtilization",
            dimensions={"ServiceName": "${ApiService}", "ClusterName": "${Cluster}"},
            statistic="Average",
            threshold=80,
            evaluation_periods=2,
        ),
        google=Google(
            filter='resource.type = "cloud_run_revision" AND resource.labels.service_name = "${api_service}" AND '
            'metric.type = "run.googleapis.com/container/cpu/utilizations"',
            aligner="ALIGN_PERCENTILE_99",
            reducer="REDUCE_MAX",
            threshold=0.8,
            duration=10 * MINUTE,
        ),
    ),
)
