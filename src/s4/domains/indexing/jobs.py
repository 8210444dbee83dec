"""Kinds of background work that indexing asks for. `maintenance` does the work."""

from s4.platform.jobs import SYSTEM, JobRequest

OPTIMIZE = "indexing.optimize"
"""Compact a tenant's table and take new rows into its indices."""


CHECK = "indexing.check"
"""Hold a tenant's table against what was recorded of its files, and make it anew if it is damaged."""


def check(tenant_id: str, *, is_suspected: bool) -> JobRequest:
    """Of a suspected table every byte is read. It takes no turn of the tenant, whose own jobs fail until then."""
    return JobRequest(CHECK, SYSTEM, tenant_id, {"is_suspected": is_suspected})


def optimize(tenant_id: str) -> JobRequest:
    return JobRequest(OPTIMIZE, tenant_id, "table", {})
