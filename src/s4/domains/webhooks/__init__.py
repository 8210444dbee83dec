"""Webhooks: where a tenant wants events sent, and the sending. What is to be sent stands in the outbox (`events`)."""

from s4.domains.webhooks.model import Delivery, NewWebhook, Webhook
from s4.domains.webhooks.pump import DeliveryPump, PumpLimits
from s4.domains.webhooks.service import WebhookService

__all__ = ["Delivery", "DeliveryPump", "NewWebhook", "PumpLimits", "Webhook", "WebhookService"]
