"""A plan, and the five that come with S4."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from s4.kernel.plans import PlanLimits
from s4.kernel.units import GIB, MIB


@dataclass(frozen=True, slots=True)
class ServiceLevel:
    """What the plan promises of a month: `availability` is the share of requests that S4 does not fail (0..1),
    `latency_p95_ms` the time under which 95 of 100 searches are answered."""

    availability: float
    latency_p95_ms: float


@dataclass(frozen=True, slots=True)
class Plan:
    """Names as in the HTTP contract. Sizes in bytes, calls and tokens per calendar month in UTC; None is unlimited."""

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
    """Stands in the public list."""

    @property
    def limits(self) -> PlanLimits:
        return PlanLimits(
            plan_id=self.id,
            storage_bytes_max=self.storage_limit,
            file_bytes_max=self.max_file_size,
            documents_max=self.documents_limit,
            calls_per_month_max=self.api_calls_limit,
            requests_per_second=self.requests_per_second,
            burst=self.burst,
            embedding_tokens_per_month_max=self.embedding_tokens_limit,
            webhooks_max=self.webhooks_limit,
            features=frozenset(self.features),
        )


_FIELDS = {field.name for field in fields(Plan)} - {"id"}


def plan_body(plan: Plan) -> dict[str, Any]:
    """As a record keeps it. What was added later is written only where it is set: the first releases refuse a plan with
    a field that they do not know."""
    said = {name: value for name, value in asdict(plan).items() if name != "id"}
    return {name: value for name, value in said.items() if value is not None or name not in _ADDED_LATER}


_ADDED_LATER = ("archive_after_days", "old_versions_days")


def plan_from(plan_id: str, body: Mapping[str, Any]) -> Plan:
    """The plan that a record's body describes. Fields that an older release did not write have their defaults; those
    that only a newer one knows are passed over, so that the way back to this one is open."""
    said = {name: value for name, value in body.items() if name in _FIELDS}
    slo = said.pop("slo", None)
    features = said.pop("features", ())
    return Plan(plan_id, **said, features=tuple(features), slo=ServiceLevel(**slo) if slo is not None else None)


_SEARCH = ("keyword_search", "semantic_search")
_WEBHOOKS = (*_SEARCH, "webhooks")

DEFAULT_PLANS = (
    Plan("free", "Free", 1 * GIB, 100, 10 * MIB, _SEARCH, 0, 0, requests_per_second=2, burst=10, webhooks_limit=0,
         slo=ServiceLevel(0.99, 2000)),
    Plan("basic", "Basic", 10 * GIB, 1_000, 50 * MIB, _WEBHOOKS, 29, 299, requests_per_second=5, burst=20,
         webhooks_limit=2, slo=ServiceLevel(0.995, 1500)),
    Plan("premium", "Premium", 50 * GIB, 10_000, 200 * MIB, _WEBHOOKS, 99, 999, requests_per_second=20, burst=60,
         webhooks_limit=10, slo=ServiceLevel(0.999, 1000)),
    Plan("enterprise", "Enterprise", 500 * GIB, 100_000, 1000 * MIB, _WEBHOOKS, 499, 4999, requests_per_second=100,
         burst=300, webhooks_limit=50, slo=ServiceLevel(0.9995, 500)),
    Plan("local", "Local", features=_WEBHOOKS, listed=False),
)  # fmt: skip
"""The migration that made the table copied them; a release that changes them changes no deployment."""
