"""The part of the settings that says how much an API process does at once (`platform/http/places.py`)."""

from pydantic import BaseModel, Field


class RequestSettings(BaseModel):
    """A part of `Settings`."""

    # -- requests at once
    search_concurrency: int = Field(
        0,
        ge=0,
        description="Searches that an API process serves at once; 0: eight per usable CPU. More: more tenants wait for "
        "the store side by side, and each search takes longer.",
    )
    search_concurrency_per_tenant: int = Field(
        0,
        ge=0,
        description="Of these, of one tenant while others ask, too; four times as many while it is alone. 0: one for "
        "two usable CPUs. More: it is served faster, and its neighbours feel it more when it searches flat out.",
    )
    upload_concurrency: int = Field(
        16,
        ge=1,
        description="Uploads that an API process receives at once. Each may hold three parts of `store_part_bytes` in "
        "memory: 384 MiB in all, as it comes.",
    )
    upload_concurrency_per_tenant: int = Field(
        0,
        ge=0,
        description="Of these, of one tenant while others ask, too; four times as many while it is alone. 0: two to a "
        "directory, four to a bucket. More: many files are uploaded faster, and neighbours' searches feel it more.",
    )
    download_concurrency: int = Field(
        64,
        ge=1,
        description="Downloads that an API process sends at once, of one tenant a quarter while others ask, too. Each "
        "holds a buffer for as long as its reader takes.",
    )
    request_concurrency: int = Field(
        32,
        ge=1,
        description="Other requests of tenants that an API process serves at once, of one tenant a quarter while "
        "others ask, too: several times `database_pool_size`, for whose connections they wait.",
    )
    waiting_requests_max: int = Field(
        256,
        ge=0,
        description="Requests that wait for a place, of each kind of load; what is beyond gets 503 at once. More: "
        "longer peaks are served, later.",
    )
    waiting_requests_per_tenant_max: int = Field(
        64, ge=0, description="Of these, of one tenant; what is beyond is refused with 429 at once."
    )
    waiting_seconds_max: float = Field(
        30.0,
        gt=0,
        description="Longest wait for a place, then 429 or 503: as long as a request to the store may take. Longer "
        "than callers' own patience: what they no longer wait for is done for nothing.",
    )
