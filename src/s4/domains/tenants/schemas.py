"""HTTP shapes of the administrator's tenant routes."""

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from s4.platform.http.strict_json import NOT_BLANK

Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200, pattern=NOT_BLANK)]
Email = Annotated[str, StringConstraints(strip_whitespace=True, max_length=320, pattern=r"^[^@\s]+@[^@\s]+$")]


class TenantCreate(BaseModel):
    """What an administrator says of a new tenant."""

    model_config = ConfigDict(extra="forbid")

    name: Name
    email: Email | None = None
    company: Name | None = None
    plan_id: Annotated[str, StringConstraints(max_length=40)] = "local"


class TenantOut(BaseModel):
    """A tenant as the administrator sees it; never with a key."""

    id: str
    name: str
    email: str | None
    company: str | None
    plan_id: str
    status: str
    created_at: datetime
    storage_used: int = Field(description="Bytes of live documents.")
    document_count: int


class TenantCreated(TenantOut):
    """The only answer that ever holds the key."""

    api_key: str
    api_calls_count: int = 0


class TenantPage(BaseModel):
    tenants: list[TenantOut]
    total: int
    page: int
    limit: int
