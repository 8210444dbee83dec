"""Tenants' webhooks, as the administrator sees and makes them."""

from collections.abc import Sequence

from s4client.flow import Flow, Request, operation
from s4client.models import NewWebhook, WebhookList
from s4client.operations.common import API, ServerOperations, given, segment
from s4client.operations.webhooks import webhook_body

_ALL = ("*",)


class TenantWebhooksOperations(ServerOperations):
    """List them, make one."""

    @operation
    def list_tenant_webhooks(self, tenant_id: str) -> Flow[WebhookList]:
        """A tenant's webhooks, the oldest first."""
        reply = yield from self.send(Request(method="GET", path=_path(tenant_id), repeatable=True))
        return reply.parse(WebhookList)

    @operation
    def create_tenant_webhook(
        self,
        tenant_id: str,
        url: str,
        *,
        events: Sequence[str] = _ALL,
        secret: str | None = None,
        description: str = "",
        active: bool = True,
    ) -> Flow[NewWebhook]:
        """A webhook for a tenant. Its secret is in this answer only."""
        body = webhook_body(url, events, description, active) | given(secret=secret)
        reply = yield from self.send(Request(method="POST", path=_path(tenant_id), json=body, repeatable=False))
        return reply.parse(NewWebhook)


def _path(tenant_id: str) -> str:
    return f"{API}/admin/tenants/{segment(tenant_id)}/webhooks"
