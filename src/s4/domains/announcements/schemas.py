"""HTTP shapes of notices."""

from datetime import datetime, timedelta
from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from s4.domains.announcements.model import (
    Impact,
    Incident,
    IncidentState,
    Mode,
    Window,
    WindowPlan,
    WindowState,
)
from s4.platform.http.strict_json import JSON_NUMBER, NOT_BLANK
from s4.platform.http.times import aware, written_out

_LEAD_SECONDS_MAX = 90 * 86_400  # a quarter: whoever plans further ahead is not helped by a header on every answer
_DAY_SECONDS = 86_400

EMAIL = r"^[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]+@[A-Za-z0-9](?:[A-Za-z0-9.-]*[A-Za-z0-9])?$"
"""As HTML has it, in ASCII: no blank, no comma, no line end can come into a header or an envelope."""
Message = Annotated[str, StringConstraints(strip_whitespace=True, max_length=2000)]
Title = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=200, pattern=NOT_BLANK)]
Time = Annotated[AwareDatetime, BeforeValidator(written_out)]


class WindowIn(BaseModel):
    """When, how, and for whom."""

    model_config = ConfigDict(extra="forbid")

    starts_at: Time
    ends_at: Time
    mode: Mode = Field(Mode.ANNOUNCE, description="`read_only` refuses what tenants write while it runs.")
    message: Message = Field("", description="For tenants, in their events and profile; on the status page for all.")
    tenants: Annotated[list[Annotated[str, Field(max_length=40)]], Field(min_length=1, max_length=1000)] | None = Field(
        None, description="Ids of those concerned; null is everybody."
    )
    lead_seconds: Annotated[int, Field(ge=0, le=_LEAD_SECONDS_MAX), JSON_NUMBER] = Field(
        _DAY_SECONDS, description="How long before its start it is announced."
    )

    def plan(self) -> WindowPlan:
        starts_at, ends_at = aware(self.starts_at), aware(self.ends_at)
        assert starts_at is not None
        assert ends_at is not None
        return WindowPlan(
            starts_at=starts_at,
            ends_at=ends_at,
            mode=self.mode,
            message=self.message,
            tenants=tuple(dict.fromkeys(self.tenants)) if self.tenants is not None else None,
            lead=timedelta(seconds=self.lead_seconds),
        )


class WindowOut(BaseModel):
    id: str
    starts_at: datetime
    ends_at: datetime
    mode: Mode
    message: str
    tenants: list[str] | None
    lead_seconds: int
    state: WindowState

    @classmethod
    def of(cls, window: Window, state: WindowState) -> "WindowOut":
        plan = window.plan
        return cls(
            id=window.id,
            starts_at=plan.starts_at,
            ends_at=plan.ends_at,
            mode=plan.mode,
            message=plan.message,
            tenants=list(plan.tenants) if plan.tenants is not None else None,
            lead_seconds=int(plan.lead.total_seconds()),
            state=state,
        )


class WindowList(BaseModel):
    windows: list[WindowOut]


class IncidentUpdateIn(BaseModel):
    """How it stands now. Without a message a template speaks."""

    model_config = ConfigDict(extra="forbid")

    state: IncidentState
    message: Annotated[Message, Field(min_length=1)] | None = None


class IncidentIn(BaseModel):
    """Something is wrong."""

    model_config = ConfigDict(extra="forbid")

    title: Title
    impact: Impact = Impact.MINOR
    state: IncidentState = IncidentState.INVESTIGATING
    message: Annotated[Message, Field(min_length=1)] | None = None


class IncidentUpdateOut(BaseModel):
    at: datetime
    state: IncidentState
    message: str


class IncidentOut(BaseModel):
    id: str
    title: str
    impact: Impact
    state: IncidentState
    updates: list[IncidentUpdateOut]

    @classmethod
    def of(cls, incident: Incident) -> "IncidentOut":
        return cls.model_validate({"id": incident.id, "state": incident.state, **incident.body()})


class IncidentList(BaseModel):
    incidents: list[IncidentOut]


class MaintenanceNotice(BaseModel):
    id: str
    starts_at: datetime
    ends_at: datetime
    mode: Mode
    message: str
    state: WindowState


class ContactIO(BaseModel):
    """Whom to write to, and of what."""

    model_config = ConfigDict(extra="forbid")

    email: Annotated[str, StringConstraints(max_length=320, pattern=EMAIL)]
    roles: Annotated[list[Literal["maintenance", "incidents", "account"]], Field(min_length=1, max_length=3)] = [
        "maintenance",
        "incidents",
        "account",
    ]


class ContactList(BaseModel):
    model_config = ConfigDict(extra="forbid")

    contacts: Annotated[list[ContactIO], Field(max_length=50)]


class MailOut(BaseModel):
    """A mail, and what became of it; without its text."""

    mail_id: str
    tenant_id: str
    recipient: str
    template: str
    subject: str
    state: Literal["waiting", "sent", "failed"]
    attempts: int
    error: str | None
    created_at: datetime
    ended_at: datetime | None


class MailList(BaseModel):
    mails: list[MailOut]


class StatusOut(BaseModel):
    """What everybody may know."""

    status: str = Field(description="`operational`, `maintenance`, `degraded` or `outage`: the worst that is the case.")
    at: datetime
    maintenance: list[MaintenanceNotice]
    incidents: list[IncidentOut]
