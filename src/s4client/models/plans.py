"""Plans."""

from s4client.models.base import Model


class ServiceLevel(Model):
    """What a plan promises of a calendar month."""

    availability: float
    latency_p95_ms: float


class Plan(Model):
    """What a tenant may use. A limit that is None does not bind. Sizes in bytes, calls and tokens by calendar month."""

    id: str
    name: str
    storage_limit: int | None = None
    api_calls_limit: int | None = None
    max_file_size: int | None = None
    features: tuple[str, ...] = ()
    price_monthly: float = 0.0
    price_yearly: float = 0.0
    requests_per_second: float | None = None
    burst: int | None = None
    documents_limit: int | None = None
    embedding_tokens_limit: int | None = None
    webhooks_limit: int | None = None
    retention_days: int | None = None
    archive_after_days: int | None = None
    old_versions_days: int | None = None
    slo: ServiceLevel | None = None
    listed: bool = True


class PlanList(Model):
    """Plans, from the cheapest to the dearest."""

    plans: tuple[Plan, ...]
