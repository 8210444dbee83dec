"""The part of the settings that says what machines cost, for the cost review."""

from pydantic import BaseModel, Field


class PriceSettings(BaseModel):
    """A part of `Settings`."""

    # -- prices of what runs
    price_api_month: float = Field(
        0.0,
        ge=0,
        description="Of a month of the machines that answer requests. `s4 report cost` divides it among tenants by "
        "their requests.",
    )
    price_workers_month: float = Field(
        0.0, ge=0, description="Of a month of the machines that index, divided by the tokens that were embedded."
    )
    price_database_month: float = Field(
        0.0, ge=0, description="Of a month of PostgreSQL and Redis, divided by the documents that tenants have."
    )
    price_archived_gib_month: float = Field(
        0.004,
        ge=0,
        description="Of a GiB for a month in the storage class of archived documents: what archiving would save is "
        "reckoned by it. The default is a list price of S3's `GLACIER_IR`.",
    )
