"""A tenant's webhooks, and the administrator's look at them.

To look takes `usage:read`. To change takes `keys:manage`: a webhook carries what a tenant has out of S4, on and on, so
that who may make one may do as much as who may make a key.
"""

from datetime import timedelta
from typing import Annotated

from fastapi import Query

from s4.domains.webhooks.model import parse_delivery_id, parse_webhook_id
from s4.domains.webhooks.schemas import (
    DeliveryOut,
    DeliveryPage,
    SecretRotation,
    State,
    WebhookCreate,
    WebhookFields,
    WebhookList,
    WebhookOut,
    WebhookWithSecret,
)
from s4.domains.webhooks.service import WebhookService
from s4.kernel.ids import parse_tenant_id
from s4.kernel.pages import PAGE_LIMIT_DEFAULT, PAGE_LIMIT_MAX, PageRequest
from s4.kernel.permissions import Permission
from s4.platform.http.errors import error_responses
from s4.platform.http.routing import CurrentAdmin, CurrentTenant, DomainRouter

_LOOK = Permission.USAGE_READ
_CHANGE = Permission.KEYS_MANAGE


def webhooks_router(webhooks: WebhookService) -> DomainRouter:
    """Everything on webhooks."""
    router = DomainRouter()
    router.include_router(_registry(webhooks))
    router.include_router(_sending(webhooks))
    router.include_router(_administration(webhooks))
    return router


def _registry(webhooks: WebhookService) -> DomainRouter:
    router = DomainRouter(prefix="/webhooks", tags=["webhooks"])

    @router.get("", permission=_LOOK, response_model=WebhookList)
    async def list_webhooks(context: CurrentTenant) -> WebhookList:
        """The oldest first."""
        return WebhookList(webhooks=[WebhookOut.of(each) for each in await webhooks.all(context)])

    @router.post("", permission=_CHANGE, status_code=201, response_model=WebhookWithSecret)
    async def create_webhook(context: CurrentTenant, request: WebhookCreate) -> WebhookWithSecret:
        """A new webhook and its secret, which is shown in this answer only."""
        return WebhookWithSecret.made(await webhooks.create(context, request.new(request.secret)))

    @router.get("/{webhook_id}", permission=_LOOK, response_model=WebhookOut)
    async def get_webhook(context: CurrentTenant, webhook_id: str) -> WebhookOut:
        """One webhook."""
        return WebhookOut.of(await webhooks.get(context, parse_webhook_id(webhook_id)))

    @router.put("/{webhook_id}", permission=_CHANGE, response_model=WebhookOut)
    async def replace_webhook(context: CurrentTenant, webhook_id: str, request: WebhookFields) -> WebhookOut:
        """Changes all but the secret. What waits for it goes to the new URL."""
        return WebhookOut.of(await webhooks.replace(context, parse_webhook_id(webhook_id), request.new()))

    @router.delete("/{webhook_id}", permission=_CHANGE, status_code=204)
    async def delete_webhook(context: CurrentTenant, webhook_id: str) -> None:
        """What waits for it is not sent."""
        await webhooks.delete(context, parse_webhook_id(webhook_id))

    @router.post("/{webhook_id}/rotate-secret", permission=_CHANGE, response_model=WebhookWithSecret)
    async def rotate_webhook_secret(
        context: CurrentTenant, webhook_id: str, request: SecretRotation
    ) -> WebhookWithSecret:
        """Another secret. Until the overlap has passed, what is sent bears a signature by each."""
        overlap = timedelta(seconds=request.overlap_seconds)
        made = await webhooks.rotate(context, parse_webhook_id(webhook_id), overlap=overlap, secret=request.secret)
        return WebhookWithSecret.made(made)

    return router


def _sending(webhooks: WebhookService) -> DomainRouter:
    router = DomainRouter(prefix="/webhooks", tags=["webhooks"])

    @router.post(
        "/{webhook_id}/test",
        permission=_CHANGE,
        status_code=202,
        response_model=DeliveryOut,
        responses=error_responses(409),
    )
    async def test_webhook(context: CurrentTenant, webhook_id: str) -> DeliveryOut:
        """Sends `webhook.ping`. How it went, the deliveries say."""
        return DeliveryOut.of(await webhooks.ping(context, parse_webhook_id(webhook_id)))

    @router.get("/{webhook_id}/deliveries", permission=_LOOK, response_model=DeliveryPage)
    async def list_deliveries(
        context: CurrentTenant,
        webhook_id: str,
        limit: Annotated[int, Query(ge=1, le=PAGE_LIMIT_MAX)] = PAGE_LIMIT_DEFAULT,
        cursor: str | None = None,
        state: State | None = None,
    ) -> DeliveryPage:
        """What was sent and what became of it, the newest first."""
        request = PageRequest(limit=limit, cursor=cursor)
        found, following = await webhooks.deliveries(context, parse_webhook_id(webhook_id), request, state=state)
        return DeliveryPage(deliveries=[DeliveryOut.of(each) for each in found], next_cursor=following)

    @router.post(
        "/{webhook_id}/deliveries/{delivery_id}/replay",
        permission=_CHANGE,
        status_code=202,
        response_model=DeliveryOut,
        responses=error_responses(409),
    )
    async def replay_delivery(context: CurrentTenant, webhook_id: str, delivery_id: str) -> DeliveryOut:
        """Sends it again, whatever became of it, under the same id."""
        of = parse_webhook_id(webhook_id)
        return DeliveryOut.of(await webhooks.replay(context, of, parse_delivery_id(delivery_id)))

    return router


def _administration(webhooks: WebhookService) -> DomainRouter:
    router = DomainRouter(prefix="/admin/tenants", tags=["administration"])

    @router.get("/{tenant_id}/webhooks", permission=Permission.ADMIN_READ, response_model=WebhookList)
    async def list_tenant_webhooks(admin: CurrentAdmin, tenant_id: str) -> WebhookList:
        """A tenant's webhooks, the oldest first."""
        found = await webhooks.all_of(admin, parse_tenant_id(tenant_id))
        return WebhookList(webhooks=[WebhookOut.of(each) for each in found])

    @router.post(
        "/{tenant_id}/webhooks", permission=Permission.ADMIN_WRITE, status_code=201, response_model=WebhookWithSecret
    )
    async def create_tenant_webhook(admin: CurrentAdmin, tenant_id: str, request: WebhookCreate) -> WebhookWithSecret:
        """A webhook for a tenant, also one whose plan allows no more."""
        made = await webhooks.create_for(admin, parse_tenant_id(tenant_id), request.new(request.secret))
        return WebhookWithSecret.made(made)

    return router
