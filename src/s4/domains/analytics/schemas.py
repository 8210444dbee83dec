"""HTTP shapes of the operator's questions."""

from datetime import date, datetime, timedelta

from pydantic import BaseModel, Field

from s4.domains.analytics.service import Endpoint, Share, SystemUse, TopTenants
from s4.domains.usage.periods import Period, Span


class HourOut(BaseModel):
    hour: datetime
    api_calls: int
    document_uploads: int


class SystemOut(BaseModel):
    period: Period
    start_date: date
    end_date: date = Field(description="The last day, included.")
    total_api_calls: int
    total_storage_used: int = Field(description="Bytes of live documents at the end of the last day, or now.")
    total_documents: int
    active_tenants: int = Field(description="Tenants that asked for anything.")
    new_tenants: int
    hourly_breakdown: list[HourOut]

    @classmethod
    def of(cls, period: Period, use: SystemUse) -> "SystemOut":
        return cls(
            period=period,
            start_date=use.span.start.date(),
            end_date=last_day(use.span),
            total_api_calls=use.api_calls,
            total_storage_used=use.stored_bytes,
            total_documents=use.documents,
            active_tenants=use.active_tenants,
            new_tenants=use.new_tenants,
            hourly_breakdown=[
                HourOut(hour=each.hour, api_calls=each.api_calls, document_uploads=each.document_uploads)
                for each in use.hours
            ],
        )

    def rows(self) -> list[dict[str, object]]:
        return [hour.model_dump(mode="json") for hour in self.hourly_breakdown]


class CallsShareOut(BaseModel):
    tenant_id: str
    name: str
    api_calls: int
    percent_of_total: float

    @classmethod
    def of(cls, share: Share) -> "CallsShareOut":
        return cls(
            tenant_id=share.tenant_id,
            name=share.name,
            api_calls=share.amount,
            percent_of_total=share.percent_of_total,
        )


class StorageShareOut(BaseModel):
    tenant_id: str
    name: str
    storage_used: int
    percent_of_total: float

    @classmethod
    def of(cls, share: Share) -> "StorageShareOut":
        return cls(
            tenant_id=share.tenant_id,
            name=share.name,
            storage_used=share.amount,
            percent_of_total=share.percent_of_total,
        )


class TopTenantsOut(BaseModel):
    period: Period
    start_date: date
    end_date: date
    top_tenants_by_api_calls: list[CallsShareOut]
    top_tenants_by_storage: list[StorageShareOut] = Field(description="By what they store now.")

    @classmethod
    def of(cls, period: Period, top: TopTenants) -> "TopTenantsOut":
        return cls(
            period=period,
            start_date=top.span.start.date(),
            end_date=last_day(top.span),
            top_tenants_by_api_calls=[CallsShareOut.of(share) for share in top.by_calls],
            top_tenants_by_storage=[StorageShareOut.of(share) for share in top.by_storage],
        )


class EndpointHourOut(BaseModel):
    hour: datetime
    requests: int


class EndpointOut(BaseModel):
    method: str
    route: str = Field(description="The template, without the prefix of the version.")
    requests: int
    refusals: int = Field(description="Answers 4xx.")
    failures: int = Field(description="Answers 5xx, those of a stopping process excepted.")
    average_ms: float
    bytes_in: int
    bytes_out: int
    percent_of_total: float
    hourly_breakdown: list[EndpointHourOut]

    @classmethod
    def of(cls, endpoint: Endpoint, total: int) -> "EndpointOut":
        return cls(
            method=endpoint.method,
            route=endpoint.route,
            requests=endpoint.requests,
            refusals=endpoint.refusals,
            failures=endpoint.failures,
            average_ms=round(endpoint.microseconds / 1000 / endpoint.requests, 2),
            bytes_in=endpoint.bytes_in,
            bytes_out=endpoint.bytes_out,
            percent_of_total=round(100 * endpoint.requests / total, 2),
            hourly_breakdown=[
                EndpointHourOut(hour=hour, requests=count) for hour, count in sorted(endpoint.hours.items())
            ],
        )


class EndpointsOut(BaseModel):
    period: Period
    start_date: date
    end_date: date
    tenant_id: str | None
    endpoints: list[EndpointOut]

    def rows(self) -> list[dict[str, object]]:
        """One for each endpoint and hour."""
        return [
            {"hour": hour.hour.isoformat(), "method": each.method, "route": each.route, "requests": hour.requests}
            for each in self.endpoints
            for hour in each.hourly_breakdown
        ]


def last_day(span: Span) -> date:
    return (span.end - timedelta(days=1)).date()
