"""What a plan allows, as every tenant operation needs to know it. None is without limit."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class PlanLimits:
    """Travels in the tenant's context, read anew with every request: a change of plan applies at once."""

    plan_id: str
    storage_bytes_max: int | None = None
    file_bytes_max: int | None = None
    documents_max: int | None = None
    calls_per_month_max: int | None = None
    requests_per_second: float | None = None
    burst: int | None = None
    """Requests at once, above the rate; None is as many as fit in one second of it."""
    embedding_tokens_per_month_max: int | None = None
    webhooks_max: int | None = None
    features: frozenset[str] = field(default_factory=frozenset)


UNLIMITED = PlanLimits("local")
"""Embedded mode's default, and what work on S4's own behalf goes by."""
