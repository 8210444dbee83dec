"""Kinds of background work that indexing asks for. `maintenance` does the work."""

from s4.kernel.ids import GenerationId
from s4.platform.jobs import SYSTEM, JobRequest, narrowed

OPTIMIZE = "indexing.optimize"
"""Compact a tenant's table and take new rows into its indices."""


CHECK = "indexing.check"
"""Hold a tenant's table against what was recorded of its files, and make it anew if it is damaged."""


def check(tenant_id: str, generation: GenerationId, *, is_suspected: bool) -> JobRequest:
    """Of a suspected table every byte is read. It takes no turn of the tenant, whose own jobs fail until then."""
    return JobRequest(narrowed(CHECK, generation), SYSTEM, tenant_id, {"is_suspected": is_suspected})


CLEAN = "indexing.clean"
"""Remove versions of a tenant's table that no reader needs any more."""


def clean(tenant_id: str, generation: GenerationId) -> JobRequest:
    return JobRequest(narrowed(CLEAN, generation), tenant_id, "table", {})


def optimize(tenant_id: str, generation: GenerationId) -> JobRequest:
    return JobRequest(narrowed(OPTIMIZE, generation), tenant_id, "table", {})


DISCARD = "indexing.discard"
"""Remove from the bucket what a tenant has released of its index."""


def discard(tenant_id: str, generation: GenerationId) -> JobRequest:
    return JobRequest(DISCARD, tenant_id, generation, {})


TRIM = "indexing.trim"
"""Remove old vectors of a tenant that keeps too many."""


def trim(tenant_id: str) -> JobRequest:
    return JobRequest(TRIM, tenant_id, "vectors", {})
