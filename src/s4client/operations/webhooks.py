"""A tenant's webhooks."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from s4client.flow import Batch, Flow, Pages, Request, operation, paged
from s4client.models import Delivery, DeliveryPage, NewWebhook, Webhook, WebhookList
from s4client.operations.common import API, PAGE_LIMIT, ServerOperations, given, segment

_PATH = f"{API}/webhooks"
_ALL = ("*",)


class WebhooksOperations(ServerOperations):
    """Say where events go, see how they went, send them again."""

    @operation
    def list_webhooks(self) -> Flow[WebhookList]:
        """The oldest first."""
        reply = yield from self.send(Request(method="GET", path=_PATH, repeatable=True))
        return reply.parse(WebhookList)

    @operation
    def create_webhook(
        self,
        url: str,
        *,
        events: Sequence[str] = _ALL,
        secret: str | None = None,
        description: str = "",
        active: bool = True,
    ) -> Flow[NewWebhook]:
        """A new webhook. Its secret is in this answer only."""
        body = webhook_body(url, events, description, active) | given(secret=secret)
        reply = yield from self.send(Request(method="POST", path=_PATH, json=body, repeatable=False))
        return reply.parse(NewWebhook)

    @operation
    def get_webhook(self, webhook_id: str) -> Flow[Webhook]:
        """A webhook by its id."""
        reply = yield from self.send(Request(method="GET", path=_path(webhook_id), repeatable=True))
        return reply.parse(Webhook)

    @operation
    def replace_webhook(
        self,
        webhook_id: str,
        url: str,
        *,
        events: Sequence[str] = _ALL,
        description: str = "",
        active: bool = True,
    ) -> Flow[Webhook]:
        """Change all but the secret."""
        body = webhook_body(url, events, description, active)
        reply = yield from self.send(Request(method="PUT", path=_path(webhook_id), json=body, repeatable=True))
        return reply.parse(Webhook)

    @operation
    def delete_webhook(self, webhook_id: str) -> Flow[None]:
        """What waits for it is not sent."""
        yield from self.send(Request(method="DELETE", path=_path(webhook_id), repeatable=False))

    @operation
    def rotate_webhook_secret(
        self, webhook_id: str, *, secret: str | None = None, overlap: timedelta | None = None
    ) -> Flow[NewWebhook]:
        """Another secret. Until `overlap` has passed (a day if None) what is sent is signed with both."""
        body = given(secret=secret, overlap_seconds=int(overlap.total_seconds()) if overlap is not None else None)
        path = f"{_path(webhook_id)}/rotate-secret"
        reply = yield from self.send(Request(method="POST", path=path, json=body, repeatable=False))
        return reply.parse(NewWebhook)

    @operation
    def test_webhook(self, webhook_id: str) -> Flow[Delivery]:
        """Send it a `webhook.ping`. How it went, the deliveries say."""
        reply = yield from self.send(Request(method="POST", path=f"{_path(webhook_id)}/test", repeatable=False))
        return reply.parse(Delivery)

    @operation
    def list_deliveries_page(
        self, webhook_id: str, *, limit: int | None = None, cursor: str | None = None, state: str | None = None
    ) -> Flow[DeliveryPage]:
        """One page of what was sent, the newest first. `state`: pending, delivered or dead."""
        return (yield from self._deliveries(webhook_id, given(limit=limit, cursor=cursor, state=state)))

    @paged
    def iter_deliveries(
        self, webhook_id: str, *, state: str | None = None, page_limit: int = PAGE_LIMIT
    ) -> Pages[Delivery]:
        """Iterate over what was sent, the newest first."""

        def batch(cursor: str | None) -> Flow[Batch[Delivery]]:
            params = given(state=state, limit=page_limit, cursor=cursor)
            found = yield from self._deliveries(webhook_id, params)
            return found.deliveries, found.next_cursor

        return batch

    @operation
    def replay_delivery(self, webhook_id: str, delivery_id: str) -> Flow[Delivery]:
        """Send it again, whatever became of it."""
        path = f"{_path(webhook_id)}/deliveries/{segment(delivery_id)}/replay"
        reply = yield from self.send(Request(method="POST", path=path, repeatable=True))
        return reply.parse(Delivery)

    def _deliveries(self, webhook_id: str, params: dict[str, Any]) -> Flow[DeliveryPage]:
        path = f"{_path(webhook_id)}/deliveries"
        reply = yield from self.send(Request(method="GET", path=path, params=params, repeatable=True))
        return reply.parse(DeliveryPage)


def webhook_body(url: str, events: Sequence[str], description: str, active: bool) -> dict[str, Any]:
    return {"url": url, "events": [*events], "description": description, "active": active}


def _path(webhook_id: str) -> str:
    return f"{_PATH}/{segment(webhook_id)}"
