"""A healthy S4 as Prometheus sees it: what the unit tests of the alerts start from.

Two API processes, a worker, the tenant exporter; 600 requests a minute, of which 60 are searches. Samples a minute
apart in promtool's notation, for as long as any alert's cause takes.
"""

API = 'process="api",job="s4-api",instance="api-1:8000"'
API_TWO = 'process="api",job="s4-api",instance="api-2:8000"'
WORKER = 'process="worker",job="s4-worker",instance="worker-1:9464"'
EXPORTER = 'process="exporter",job="s4-exporter",instance="exporter-1:9465"'
MINUTES = 400
"""Longer than any `Cause.minutes`."""


def steady(per_minute: float) -> str:
    """A counter that grows by so much."""
    return f"0+{per_minute:.15g}x{MINUTES}"


def constant(value: float) -> str:
    """A gauge that stays."""
    return f"{value:.15g}x{MINUTES}"


NOW = f"0+60x{MINUTES}"
"""A moment that is always now: the tests' time begins at 0."""

HEALTHY = {
    f"up{{{API}}}": constant(1),
    f"up{{{API_TWO}}}": constant(1),
    f"up{{{WORKER}}}": constant(1),
    f"up{{{EXPORTER}}}": constant(1),
    f"scrape_samples_scraped{{{API}}}": constant(1500),
    # -- processes
    f"s4_ready{{{API}}}": constant(1),
    f"s4_ready{{{API_TWO}}}": constant(1),
    f"s4_ready{{{WORKER}}}": constant(1),
    f's4_build_info{{version="1.0.0",{API}}}': constant(1),
    f's4_build_info{{version="1.0.0",{WORKER}}}': constant(1),
    f's4_process_cpu_seconds_total{{part="self",{API}}}': steady(30),
    f"s4_cpu_limit_cores{{{API}}}": constant(2),
    f"s4_cgroup_cpu_throttled_seconds_total{{{API}}}": steady(1),
    f's4_cgroup_memory_bytes{{kind="working_set",{API}}}': constant(1e9),
    f"s4_memory_limit_bytes{{{API}}}": constant(4e9),
    f"s4_cgroup_oom_kills_total{{{WORKER}}}": constant(0),
    f's4_disk_free_bytes{{folder="data",{API}}}': constant(80e9),
    f's4_disk_size_bytes{{folder="data",{API}}}': constant(100e9),
    f"s4_tls_certificate_expiry_timestamp_seconds{{{API}}}": constant(60 * 86400),
    # -- requests
    f's4_slo_requests_total{{slo="availability",{API}}}': steady(600),
    f's4_slo_requests_total{{slo="latency",{API}}}': steady(60),
    f's4_slo_bad_requests_total{{slo="availability",{API}}}': constant(0),
    f's4_slo_bad_requests_total{{slo="latency",{API}}}': constant(0),
    f's4_slo_objective_ratio{{slo="availability",{API}}}': constant(0.999),
    f's4_slo_objective_ratio{{slo="latency",{API}}}': constant(0.95),
    f's4_http_requests_total{{method="GET",route="/api/v1/documents",code="200",{API}}}': steady(600),
    f's4_http_places_refused_total{{load="search",reason="full",{API}}}': constant(0),
    f's4_http_places_waiting{{load="search",{API}}}': constant(0),
    f"s4_rate_limits_alone{{{API}}}": constant(0),
    f's4_usage_flushes_total{{outcome="ok",{API}}}': steady(6),
    f's4_usage_flushes_total{{outcome="deferred",{API}}}': constant(0),
    f's4_auth_failures_total{{reason="unknown",{API}}}': steady(2),
    f's4_auth_failures_total{{reason="expired",{API}}}': constant(0),
    f"s4_admin_new_addresses_total{{{API}}}": constant(0),
    # -- store and catalog
    f's4_store_requests_total{{operation="get",outcome="ok",{API}}}': steady(600),
    f's4_store_requests_total{{operation="put",outcome="denied",{API}}}': constant(0),
    f's4_store_request_duration_seconds_bucket{{operation="get",{API},le="1.0"}}': steady(600),
    f's4_store_request_duration_seconds_bucket{{operation="get",{API},le="+Inf"}}': steady(600),
    f"s4_store_failovers_total{{{API}}}": constant(0),
    f's4_database_errors_total{{reason="unavailable",{API}}}': constant(0),
    f's4_database_pool_waiting{{pool="both",{API}}}': constant(0),
    f's4_database_transaction_duration_seconds_bucket{{kind="write",{API},le="0.5"}}': steady(300),
    f's4_database_transaction_duration_seconds_bucket{{kind="write",{API},le="+Inf"}}': steady(300),
    f's4_database_retries_total{{reason="serialization",{API}}}': steady(1),
    # -- safety
    f"s4_storage_drift_bytes{{{API}}}": constant(0),
    f"s4_usage_drift_bytes{{{API}}}": constant(0),
    f's4_reconciled_total{{action="adopted",{WORKER}}}': constant(0),
    f"s4_backup_overdue_seconds{{{API}}}": constant(0),
    f's4_backup_runs_total{{kind="backup",outcome="failed",{WORKER}}}': constant(0),
    f"s4_backup_lacking_objects{{{API}}}": constant(0),
    f"s4_backup_drill_failed{{{API}}}": constant(0),
    f"s4_replication_as_of_timestamp_seconds{{{WORKER}}}": NOW,
    f"s4_replication_lag_seconds{{{API}}}": constant(30),
    f's4_schedule_interval_seconds{{task="maintenance.replicate",{API}}}': constant(60),
    f"s4_superseded{{{API}}}": constant(0),
    f"s4_audit_chain_ok{{{API}}}": constant(1),
    f"s4_audit_unsealed_seconds{{{API}}}": constant(20),
    f"s4_audit_overflow_total{{{API}}}": constant(0),
    # -- from upload to search
    f"s4_queue_oldest_ready_seconds{{{API}}}": constant(1),
    f's4_jobs_total{{kind="documents.index",outcome="ok",{WORKER}}}': steady(30),
    f's4_jobs_total{{kind="documents.index",outcome="lost",{WORKER}}}': constant(0),
    f's4_schedule_interval_seconds{{task="usage.rollup",{API}}}': constant(3600),
    f's4_schedule_last_success_timestamp_seconds{{task="usage.rollup",{API}}}': NOW,
    f's4_freshness_seconds_bucket{{{WORKER},le="60.0"}}': steady(30),
    f"s4_freshness_seconds_count{{{WORKER}}}": steady(30),
    f's4_documents_indexed_total{{outcome="ready",reason="",{WORKER}}}': steady(30),
    f's4_extraction_children_total{{reason="memory",{WORKER}}}': constant(0),
    f's4_embedding_breaker_open{{provider="openai",{WORKER}}}': constant(0),
    f's4_index_checks_total{{outcome="sound",{WORKER}}}': steady(1),
    f's4_index_checks_total{{outcome="damaged",{WORKER}}}': constant(0),
    f's4_index_fragments{{of="most",{API}}}': constant(20),
    f"s4_index_recall_ratio_sum{{{API}}}": steady(1),
    f"s4_index_recall_ratio_count{{{API}}}": steady(1),
    f's4_index_recall_samples_total{{outcome="compared",{API}}}': steady(1),
    f's4_index_recall_samples_total{{outcome="failed",{API}}}': constant(0),
    f"s4_webhook_oldest_pending_seconds{{{API}}}": constant(0),
    f's4_webhook_deliveries_total{{outcome="dead",{WORKER}}}': constant(0),
    # -- tenants
    f's4_sla_told_total{{state="breached",{WORKER}}}': constant(0),
    f"s4_exporter_read_timestamp_seconds{{{EXPORTER}}}": NOW,
    f's4_tenant_requests_total{{tenant_id="ten_one",{EXPORTER}}}': steady(30),
    f's4_tenant_requests_total{{tenant_id="ten_two",{EXPORTER}}}': steady(30),
    f's4_tenant_failures_total{{tenant_id="ten_one",{EXPORTER}}}': constant(0),
    f's4_top_tenant_utilisation_ratio{{tenant_id="ten_one",{API}}}': constant(0.4),
}
