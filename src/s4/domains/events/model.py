"""The events of the HTTP contract."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any


class EventKind(StrEnum):
    DOCUMENT_PROCESSED = "document.processed"
    DOCUMENT_FAILED = "document.failed"
    DOCUMENT_DELETED = "document.deleted"
    STORAGE_LIMIT_APPROACHING = "storage.limit_approaching"
    API_CALLS_LIMIT_APPROACHING = "api_calls.limit_approaching"
    TENANT_SUSPENDED = "tenant.suspended"
    MAINTENANCE_SCHEDULED = "maintenance.scheduled"
    SLA_AT_RISK = "sla.at_risk"
    SLA_BREACHED = "sla.breached"
    WEBHOOK_PING = "webhook.ping"
    """Sent when asked for, to one webhook."""

    @property
    def is_frequent(self) -> bool:
        """Comes with documents, so that the outbox keeps it only where somebody listens."""
        return self.value.startswith("document.")


ALL_KINDS = "*"
"""What a webhook listens to that wants every kind, those of later releases too."""


class DeliveryState(StrEnum):
    """`pending` ends in one of the others within `S4_WEBHOOKS_PATIENCE_HOURS`."""

    PENDING = "pending"
    DELIVERED = "delivered"
    DEAD = "dead"


@dataclass(frozen=True, slots=True)
class Event:
    """One that was committed."""

    event_id: str
    tenant_id: str
    kind: EventKind
    data: Mapping[str, Any]
    at: datetime
