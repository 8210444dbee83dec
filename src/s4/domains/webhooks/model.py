"""The vocabulary of webhooks."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from s4.domains.events import DeliveryState, EventKind
from s4.kernel.clock import parse_rfc3339, rfc3339
from s4.kernel.errors import NotFound
from s4.platform.chains import Record

SUBSCRIBABLE = frozenset(EventKind) - {EventKind.WEBHOOK_PING}

_WEBHOOK = re.compile("whk_[a-z2-7]{26}")
_DELIVERY = re.compile("dlv_[a-z2-7]{26}")


@dataclass(frozen=True, slots=True)
class NewWebhook:
    """`events` holds kinds, or `*` for all. `secret` None has one minted."""

    url: str
    events: tuple[str, ...]
    secret: str | None = field(default=None, repr=False)
    description: str = ""
    active: bool = True


@dataclass(frozen=True, slots=True)
class SealedSecret:
    """`valid_until` is set when another has followed it."""

    sealed: str = field(repr=False)
    valid_until: datetime | None = None


@dataclass(frozen=True, slots=True)
class SealedUnder:
    """Webhooks by the key that encrypts their secrets: the current one, the previous one, none that is known."""

    current: int
    previous: int
    unreadable: int


@dataclass(frozen=True, slots=True)
class Webhook:
    webhook_id: str
    tenant_id: str
    url: str
    events: tuple[str, ...]
    active: bool
    description: str
    disabled_reason: str | None
    """Why S4 switched it off."""
    secrets: tuple[SealedSecret, ...]
    """The newest first."""
    created_at: datetime
    updated_at: datetime

    @classmethod
    def of(cls, record: Record) -> "Webhook":
        body = record.body
        return cls(
            webhook_id=record.name,
            tenant_id=record.tenant_id,
            url=body["url"],
            events=tuple(body["events"]),
            active=body["active"],
            description=body["description"],
            disabled_reason=body["disabled_reason"],
            secrets=tuple(
                SealedSecret(each["sealed"], parse_rfc3339(until) if (until := each["valid_until"]) else None)
                for each in body["secrets"]
            ),
            created_at=parse_rfc3339(body["created_at"]),
            updated_at=record.updated_at,
        )

    def body(self) -> dict[str, Any]:
        """As the record holds it."""
        secrets = [
            {"sealed": each.sealed, "valid_until": rfc3339(each.valid_until) if each.valid_until else None}
            for each in self.secrets
        ]
        return {
            "url": self.url,
            "events": list(self.events),
            "active": self.active,
            "description": self.description,
            "disabled_reason": self.disabled_reason,
            "secrets": secrets,
            "created_at": rfc3339(self.created_at),
        }


@dataclass(frozen=True, slots=True)
class Delivery:
    """One event on its way to one webhook."""

    delivery_id: str
    tenant_id: str
    webhook_id: str
    event_id: str
    kind: str
    state: DeliveryState
    attempts: int
    created_at: datetime
    due_since: datetime
    next_at: datetime
    last_at: datetime | None
    last_status: int | None
    last_error: str | None


@dataclass(frozen=True, slots=True)
class Claimed:
    """A delivery in this process's hands, until `claim` is outgrown."""

    delivery: Delivery
    claim: str


@dataclass(frozen=True, slots=True)
class Due:
    """A webhook with deliveries that are due."""

    webhook_id: str
    tenant_id: str


def public_body(record: Record | None) -> Mapping[str, Any] | None:
    """As the audit trail may keep it: without secrets, and without the URL's path, which often is one."""
    if record is None:
        return None
    url = urlsplit(record.body["url"])
    shown = {name: value for name, value in record.body.items() if name not in ("secrets", "url")}
    return shown | {"url": f"{url.scheme}://{url.netloc}/…", "secrets": len(record.body["secrets"])}


def parse_webhook_id(text: str) -> str:
    """A malformed id answers like an unknown one."""
    if _WEBHOOK.fullmatch(text) is None:
        raise missing()
    return text


def parse_delivery_id(text: str) -> str:
    if _DELIVERY.fullmatch(text) is None:
        raise NotFound("No such delivery.")
    return text


def missing() -> NotFound:
    return NotFound("No such webhook.")
