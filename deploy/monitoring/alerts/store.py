"""The object store: the truth lies there, and nothing is written without it."""

from deploy.monitoring.alerts.model import MINUTE, Alert, Cause, CloudWatch, Google, Severity, prometheus_metric

_API = 'process="api",job="s4-api",instance="api-1:8000"'

ALERTS = (
    Alert(
        name="S4StoreFails",
        area="store",
        summary="The object store fails",
        description="{{ $value | humanizePercentage }} of requests to the store end in errors or are not answered.",
        severity=Severity.PAGE,
        expression="s4:store_errors:ratio_5m > 0.05",
        held=3 * MINUTE,
        cause=Cause(
            series={f's4_store_requests_total{{operation="get",outcome="error",{_API}}}': "0+120x30"}, minutes=15
        ),
        cloudwatch=CloudWatch(
            namespace="AWS/S3",
            metric="5xxErrors",
            share_of="AllRequests",
            dimensions={"BucketName": "${Bucket}", "FilterId": "EntireBucket"},
            statistic="Sum",
            threshold=0.05,
        ),
        google=Google(
            filter=prometheus_metric(
                "s4_store_requests_total",
                "counter",
                labels='metric.labels.outcome = monitoring.regex.full_match("error|timeout|denied|full")',
            ),
            denominator_filter=prometheus_metric("s4_store_requests_total", "counter"),
            aligner="ALIGN_RATE",
            reducer="REDUCE_SUM",
            threshold=0.05,
            duration=5 * MINUTE,
        ),
    ),
    Alert(
        name="S4StoreThrottles",
        area="store",
        summary="The object store throttles S4",
        description="{{ $value | humanizePercentage }} of requests to the store are refused for their rate.",
        severity=Severity.TICKET,
        expression="s4:store_throttled:ratio_5m > 0.01",
        held=10 * MINUTE,
        cause=Cause(
            series={f's4_store_requests_total{{operation="get",outcome="throttled",{_API}}}': "0+30x40"}, minutes=30
        ),
        cloudwatch=CloudWatch(
            metric="s4_store_requests_total",
            dimensions={"outcome": "throttled"},
            statistic="Sum",
            threshold=100,
            evaluation_periods=2,
        ),
        google=Google(
            filter=prometheus_metric(
                "s4_store_requests_total", "counter", labels='metric.labels.outcome = "throttled"'
            ),
            denominator_filter=prometheus_metric("s4_store_requests_total", "counter"),
            aligner="ALIGN_RATE",
            reducer="REDUCE_SUM",
            threshold=0.01,
            duration=10 * MINUTE,
        ),
    ),
)
