"""HTTP shapes of use."""

from dataclasses import asdict
from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field

from s4.domains.usage.ledger import CLASSES, Grain
from s4.domains.usage.service import Series, Use

_COUNTED = (
    "calls", "requests", "failures", "bytes_in", "bytes_out", "documents", "documents_uploaded", "documents_deleted",
    "chunks", "embedding_tokens_paid", "embedding_tokens_cached", "store_reads", "store_writes", "store_bytes_read",
    "store_bytes_written",
)  # fmt: skip


class CostOut(BaseModel):
    """An estimate by the operator's prices, not an invoice."""

    currency: str
    storage: float
    store_requests: float
    embedding: float
    traffic: float = Field(description="Bytes that were sent to callers.")
    total: float


class UseOut(BaseModel):
    calls: int = Field(description="API calls that count against the plan.")
    calls_by_class: dict[str, int]
    searches: int
    requests: int = Field(description="All requests with an accepted key, those too that do not count as calls.")
    failures: int = Field(description="Answers 5xx, those of a stopping process excepted.")
    bytes_in: int
    bytes_out: int
    bytes_stored: int = Field(description="At the end: live documents' bytes, by the last hourly sample.")
    stored_byte_hours: int = Field(description="Sum of the hourly samples: what storage is charged by.")
    documents: int = Field(description="At the end.")
    documents_uploaded: int
    documents_deleted: int
    chunks: int
    embedding_tokens: int
    embedding_tokens_paid: int
    embedding_tokens_cached: int
    store_reads: int
    store_writes: int
    store_bytes_read: int
    store_bytes_written: int
    search_p95_ms: float | None = Field(description="95 of 100 searches were answered in less; null without searches.")
    cost_estimate: CostOut

    @classmethod
    def of(cls, use: Use) -> "UseOut":
        return cls.model_validate(_fields(use))


class UseAtOut(UseOut):
    start: datetime = Field(description="Of the hour, day or month, in UTC.")

    @classmethod
    def of(cls, use: Use) -> "UseAtOut":
        return cls.model_validate({"start": use.start, **_fields(use)})


class UsageOut(BaseModel):
    model_config = ConfigDict(populate_by_name=True)

    tenant_id: str
    granularity: Grain
    since: datetime = Field(alias="from")
    until: datetime = Field(alias="to", description="Not included.")
    series: list[UseAtOut]
    totals: UseOut

    @classmethod
    def of(cls, series: Series) -> "UsageOut":
        return cls(
            tenant_id=series.tenant_id,
            granularity=series.span.grain,
            since=series.span.start,
            until=series.span.end,
            series=[UseAtOut.of(use) for use in series.uses],
            totals=UseOut.of(series.total),
        )

    def rows(self) -> list[dict[str, object]]:
        """As a table: one row for each of the series."""
        return [_flat(use) for use in self.series]


def _fields(use: Use) -> dict[str, object]:
    amounts, p95_seconds = use.amounts, use.search_p95_seconds
    return {
        **{name: amounts[name] for name in (*_COUNTED, "stored_byte_hours")},
        "calls_by_class": {name: amounts[f"calls_{name}"] for name in CLASSES},
        "searches": amounts["calls_search"],
        "bytes_stored": amounts["stored_bytes"],
        "embedding_tokens": amounts["embedding_tokens_paid"] + amounts["embedding_tokens_cached"],
        "search_p95_ms": round(p95_seconds * 1000, 1) if p95_seconds is not None else None,
        "cost_estimate": asdict(use.cost),
    }


def _flat(use: UseAtOut) -> dict[str, object]:
    said = use.model_dump(mode="json")
    classes, cost = said.pop("calls_by_class"), said.pop("cost_estimate")
    start = said.pop("start")
    return {
        "start": start,
        **said,
        **{f"calls_{name}": count for name, count in classes.items()},
        **{f"cost_{name}": part for name, part in cost.items()},
    }
