"""Kinds of background work that indexing asks for. `maintenance` does the work."""

from s4.kernel.ids import GenerationId
from s4.platform.jobs import JobRequest, narrowed

OPTIMIZE = "indexing.optimize"
"""Compact a tenant's table and take new rows into its indices."""


def optimize(tenant_id: str, generation: GenerationId) -> JobRequest:
    return JobRequest(narrowed(OPTIMIZE, generation), tenant_id, "table", {})
