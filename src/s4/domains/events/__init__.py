"""What happened that a tenant may want to hear of: the outbox. Webhooks, higher up, deliver it."""

from s4.domains.events.model import Event, EventKind
from s4.domains.events.service import Events

__all__ = ["Event", "EventKind", "Events"]
