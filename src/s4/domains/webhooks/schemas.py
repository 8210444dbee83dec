"""HTTP shapes of webhooks."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, Strict, StringConstraints

from s4.domains.events import ALL_KINDS, DeliveryState
from s4.domains.webhooks.model import SUBSCRIBABLE, Delivery, NewWebhook, Webhook
from s4.platform.http.strict_json import JSON_NUMBER
from s4.platform.outbound.addresses import URL_CHARS_MAX

OVERLAP_SECONDS_MAX = 7 * 86_400
_OVERLAP_SECONDS = 86_400  # a day: time to change a receiver at work, not to forget it
_KINDS_MAX = 50  # more than there are
_KNOWN = [ALL_KINDS, *sorted(kind.value for kind in SUBSCRIBABLE)]

Url = Annotated[str, StringConstraints(min_length=1, max_length=URL_CHARS_MAX)]
Secret = Annotated[str, StringConstraints(min_length=16, max_length=200, pattern="^[!-~]+$")]


def _known(kind: str) -> str:
    if kind not in _KNOWN:
        raise ValueError(f"there is no such event; there are {', '.join(_KNOWN)}")
    return kind


Kind = Annotated[str, AfterValidator(_known), Field(json_schema_extra={"enum": _KNOWN})]
Kinds = Annotated[
    list[Kind],
    Field(min_length=1, max_length=_KINDS_MAX, description="Kinds of events, or `*` for all, later ones too."),
]
Description = Annotated[str, StringConstraints(strip_whitespace=True, max_length=200)]


class WebhookFields(BaseModel):
    """Where to send what."""

    model_config = ConfigDict(extra="forbid")

    url: Url
    events: Kinds
    description: Description = ""
    active: Annotated[bool, Strict()] = True

    def new(self, secret: str | None = None) -> NewWebhook:
        return NewWebhook(self.url, tuple(sorted(set(self.events))), secret, self.description, self.active)


class WebhookCreate(WebhookFields):
    secret: Secret | None = Field(None, description="What signatures are made with; one is minted if absent.")


class SecretRotation(BaseModel):
    model_config = ConfigDict(extra="forbid")

    secret: Secret | None = None
    overlap_seconds: Annotated[int, Field(ge=0, le=OVERLAP_SECONDS_MAX), JSON_NUMBER] = Field(
        _OVERLAP_SECONDS, description="For so long what is sent is signed with both."
    )


class WebhookOut(BaseModel):
    id: str
    url: str
    events: list[str]
    active: bool
    description: str
    disabled_reason: str | None = Field(description="Why S4 switched it off.")
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, webhook: Webhook) -> "WebhookOut":
        return cls(**_fields(webhook))


class WebhookWithSecret(WebhookOut):
    secret: str = Field(description="Shown in this answer only.")

    @classmethod
    def made(cls, made: tuple[Webhook, str]) -> "WebhookWithSecret":
        webhook, secret = made
        return cls(**_fields(webhook), secret=secret)


class WebhookList(BaseModel):
    webhooks: list[WebhookOut]


class DeliveryOut(BaseModel):
    id: str
    event: str
    event_id: str
    state: DeliveryState
    attempts: int
    created_at: datetime
    last_attempt_at: datetime | None
    last_status: int | None = Field(description="What the endpoint answered; null when there was no answer.")
    last_error: str | None
    next_attempt_at: datetime | None = Field(description="While it is pending.")

    @classmethod
    def of(cls, delivery: Delivery) -> "DeliveryOut":
        return cls(
            id=delivery.delivery_id,
            event=delivery.kind,
            event_id=delivery.event_id,
            state=delivery.state,
            attempts=delivery.attempts,
            created_at=delivery.created_at,
            last_attempt_at=delivery.last_at,
            last_status=delivery.last_status,
            last_error=delivery.last_error,
            next_attempt_at=delivery.next_at if delivery.state is DeliveryState.PENDING else None,
        )


class DeliveryPage(BaseModel):
    deliveries: list[DeliveryOut]
    next_cursor: str | None


State = Literal["pending", "delivered", "dead"]


def _fields(webhook: Webhook) -> dict[str, object]:
    return {
        "id": webhook.webhook_id,
        "url": webhook.url,
        "events": list(webhook.events),
        "active": webhook.active,
        "description": webhook.description,
        "disabled_reason": webhook.disabled_reason,
        "created_at": webhook.created_at,
        "updated_at": webhook.updated_at,
    }
