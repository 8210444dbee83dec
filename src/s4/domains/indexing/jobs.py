"""Kinds of background work that indexing asks for. `maintenance` does the work."""

from s4.platform.jobs import JobRequest

OPTIMIZE = "indexing.optimize"
"""Compact a tenant's table and take new rows into its indices."""


def optimize(tenant_id: str) -> JobRequest:
    return JobRequest(OPTIMIZE, tenant_id, "table", {})
