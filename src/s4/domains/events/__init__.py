"""What happened that a tenant may want to hear of: the outbox. Webhooks, higher up, deliver it.

An event and one delivery for each webhook that listens are written in the transaction that makes the event true, so
that neither can be without the other. What happens with every document is written only where somebody listens.
"""

from s4.domains.events.model import ALL_KINDS, DeliveryState, Event, EventKind
from s4.domains.events.service import Events

__all__ = ["ALL_KINDS", "DeliveryState", "Event", "EventKind", "Events"]
