"""A healthy S4 as Prometheus sees it: what the unit tests of the alerts start from.

Two API processes, a worker, the tenant exporter; 600 requests a minute, of which 60 are searches. Samples a minute
apart in promtool's notation, for as long as any alert's cause takes.
"""

API = 'process="api",job="s4-api",instance="api-1:8000"'
API_TWO = 'process="api",job="s4-api",instance="api-2:8000"'
WORKER = 'process="worker",job="s4-worker",instance="worker-1:9100"'
MINUTES = 400
"""Longer than any `Cause.minutes`."""


def steady(per_minute: float) -> str:
    """A counter that grows by so much."""
    return f"0+{per_minute:g}x{MINUTES}"


def constant(value: float) -> str:
    """A gauge that stays."""
    return f"{value:g}x{MINUTES}"


_SEARCHES = f'method="POST",route="/api/v1/search",status_class="2xx",{API}'

HEALTHY = {
    'up{job="s4-api",instance="api-1:8000"}': constant(1),
    'up{job="s4-api",instance="api-2:8000"}': constant(1),
    'up{job="s4-worker",instance="worker-1:9100"}': constant(1),
    f"s4_ready{{{API}}}": constant(1),
    f"s4_ready{{{API_TWO}}}": constant(1),
    f"s4_ready{{{WORKER}}}": constant(1),
    'process_cpu_seconds_total{job="s4-api",instance="api-1:8000",process="api"}': steady(10),
    f's4_http_requests_total{{method="GET",route="/api/v1/documents",code="200",{API}}}': steady(600),
    f's4_http_requests_total{{method="GET",route="/api/v1/documents",code="503",{API}}}': constant(0),
    f's4_http_request_duration_seconds_bucket{{{_SEARCHES},le="1.0"}}': steady(60),
    f's4_http_request_duration_seconds_bucket{{{_SEARCHES},le="+Inf"}}': steady(60),
    f"s4_http_request_duration_seconds_count{{{_SEARCHES}}}": steady(60),
    f's4_store_requests_total{{operation="get",outcome="ok",{API}}}': steady(600),
    f"s4_queue_oldest_ready_seconds{{{API}}}": constant(1),
    f's4_jobs_total{{kind="documents.index",outcome="ok",{WORKER}}}': steady(30),
    f's4_jobs_total{{kind="documents.index",outcome="lost",{WORKER}}}': constant(0),
}
