"""HTTP shapes of plans."""

from dataclasses import asdict
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StringConstraints

from s4.domains.plans.model import Plan, ServiceLevel
from s4.kernel.keys import SYSTEM_NAME
from s4.platform.http.strict_json import JSON_NUMBER, NOT_BLANK

_COUNT_MAX = 2**53  # beyond it JSON numbers lose their last digit in many a client

Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200, pattern=NOT_BLANK)]
Feature = Annotated[str, StringConstraints(pattern=r"^[a-z0-9_]{1,40}$")]
Count = Annotated[int, Field(ge=0, le=_COUNT_MAX), JSON_NUMBER]
Days = Annotated[int, Field(ge=1, le=36_500), JSON_NUMBER]
Price = Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False), JSON_NUMBER]


class Slo(BaseModel):
    """What the plan promises of a calendar month."""

    model_config = ConfigDict(extra="forbid")

    availability: Annotated[
        float, Field(gt=0, lt=1, description="Share of requests that S4 does not fail."), JSON_NUMBER
    ]
    latency_p95_ms: Annotated[
        float, Field(gt=0, le=600_000, description="95 of 100 searches are answered in less."), JSON_NUMBER
    ]


class PlanFields(BaseModel):
    """A plan but for its id. Sizes in bytes; calls and tokens by calendar month in UTC; null is without limit."""

    model_config = ConfigDict(extra="forbid")

    name: Name
    storage_limit: Count | None = None
    api_calls_limit: Count | None = None
    max_file_size: Count | None = None
    features: Annotated[list[Feature], Field(max_length=100)] = []
    price_monthly: Price = 0.0
    price_yearly: Price = 0.0
    requests_per_second: Annotated[float, Field(gt=0, le=1e6, allow_inf_nan=False), JSON_NUMBER] | None = None
    burst: Annotated[int, Field(ge=1, le=1_000_000), JSON_NUMBER] | None = Field(
        None, description="Requests at once, above the rate; null is as many as fit in one second of it."
    )
    documents_limit: Count | None = None
    embedding_tokens_limit: Count | None = None
    webhooks_limit: Count | None = None
    retention_days: Days | None = Field(
        None, description="After so many days since its upload a document is deleted, but under a legal hold."
    )
    archive_after_days: Days | None = Field(
        None, description="After so many days without a download or a search that found it, a document is archived."
    )
    old_versions_days: Days | None = Field(
        None, description="How long the bucket, where it has versions, keeps what S4 deleted; see `s4 lifecycle`."
    )
    slo: Slo | None = None
    listed: StrictBool = Field(True, description="Whether the plan stands in the public list.")

    def plan(self, plan_id: str) -> Plan:
        said = self.model_dump(exclude={"id", "slo", "features"})
        slo = ServiceLevel(**self.slo.model_dump()) if self.slo is not None else None
        return Plan(plan_id, **said, features=tuple(self.features), slo=slo)


class PlanReplace(PlanFields):
    """As `GET` answers, so that a plan can be sent back with a change."""

    id: str | None = Field(None, description="If given, that of the path.")


class PlanCreate(PlanFields):
    id: Annotated[str, StringConstraints(pattern=f"^{SYSTEM_NAME}$")]


class PlanOut(PlanFields):
    id: str

    @classmethod
    def of(cls, plan: Plan) -> "PlanOut":
        return cls.model_validate(asdict(plan))


class PlanList(BaseModel):
    plans: list[PlanOut]
