"""Webhooks, what was sent to them, and what they receive."""

from datetime import datetime
from typing import Any

from pydantic import Field

from s4client.models.base import Model


class Webhook(Model):
    """Where a tenant has events sent. `events` holds kinds, or `*` for all."""

    id: str
    url: str
    events: tuple[str, ...]
    active: bool = True
    description: str = ""
    disabled_reason: str | None = None
    created_at: datetime
    updated_at: datetime


class NewWebhook(Webhook):
    """As `Webhook`, with its secret, which is shown once."""

    secret: str = Field(repr=False)


class WebhookList(Model):
    webhooks: tuple[Webhook, ...]


class Delivery(Model):
    """One event on its way to one webhook: `pending`, `delivered` or `dead`."""

    id: str
    event: str
    event_id: str
    state: str
    attempts: int
    created_at: datetime
    last_attempt_at: datetime | None = None
    last_status: int | None = None
    last_error: str | None = None
    next_attempt_at: datetime | None = None


class DeliveryPage(Model):
    deliveries: tuple[Delivery, ...]
    next_cursor: str | None = None


class WebhookEvent(Model):
    """What a receiver gets."""

    event: str
    tenant_id: str
    timestamp: datetime
    data: dict[str, Any]
