"""A process with webhooks, in miniature: the test decides when the pump runs."""

import secrets
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import sqlalchemy as sa

from s4.domains.audit.models import audit_entries
from s4.domains.events import EventKind, Events
from s4.domains.events.models import webhook_deliveries
from s4.domains.webhooks import Delivery, DeliveryPump, NewWebhook, PumpLimits, Webhook, WebhookService
from s4.kernel.context import TenantContext
from s4.kernel.keys import Collection
from s4.kernel.pages import PageRequest
from s4.kernel.permissions import TENANT_SCOPES
from s4.kernel.plans import PlanLimits
from s4.platform.chains import Records
from s4.platform.database import Connection, Database
from s4.platform.objects import ObjectStore
from s4.platform.outbound import Allowance, Outbound, OutboundTimings
from s4.platform.outbound.addresses import parse_networks
from s4.platform.security.sealing import Sealer
from tests.factories.process import MiniProcess

LIMITS = PumpLimits(places=8, attempt=timedelta(seconds=60), retry=timedelta(seconds=15), patience=timedelta(hours=24))
ALLOWANCE = Allowance(http=True, networks=parse_networks("127.0.0.0/8"))
SECRET = "whsec_0123456789abcdef"
SECRET_KEY = "a-secret-key-0123456789-abcdefghij"
PROCESSED = EventKind.DOCUMENT_PROCESSED


@dataclass
class Kit:
    """A process with webhooks, over a catalog that outlives it."""

    process: MiniProcess
    webhooks: WebhookService
    events: Events
    outbound: Outbound

    @property
    def database(self) -> Database:
        return self.process.database

    def pump(self, limits: PumpLimits = LIMITS) -> DeliveryPump:
        return DeliveryPump(self.database, self.webhooks, self.outbound, secrets.token_bytes, limits)

    async def tenant(
        self, *, webhooks_max: int | None = None, features: frozenset[str] = frozenset({"webhooks"})
    ) -> Any:
        made = await self.process.tenant()
        return TenantContext(
            made.tenant_id, None, TENANT_SCOPES, PlanLimits("t", webhooks_max=webhooks_max, features=features)
        )

    async def webhook(self, context: TenantContext, url: str, *kinds: str, secret: str = SECRET) -> Webhook:
        made, _ = await self.webhooks.create(context, NewWebhook(url, kinds or ("*",), secret))
        return made

    async def emit(self, context: TenantContext, kind: EventKind = PROCESSED, count: int = 1, **data: Any) -> None:
        async def emit(connection: Connection) -> None:
            for number in range(count):
                await self.events.emit(connection, context.tenant_id, kind, {"number": number, **data})

        await self.database.transact(emit)

    async def deliveries(self, context: TenantContext, webhook: Webhook) -> list[Delivery]:
        found, _ = await self.webhooks.deliveries(context, webhook.webhook_id, PageRequest(limit=1000))
        return found

    async def only(self, context: TenantContext, webhook: Webhook) -> Delivery:
        (delivery,) = await self.deliveries(context, webhook)
        return delivery

    async def let_time_pass(self, passed: timedelta = timedelta()) -> None:
        """Everything that waits is due now; `passed` moves into the past since when it was."""

        async def move(connection: Connection) -> None:
            now = await self.database.now(connection)
            for row in (await connection.execute(sa.select(webhook_deliveries))).all():
                await connection.execute(
                    sa.update(webhook_deliveries)
                    .where(webhook_deliveries.c.delivery_id == row.delivery_id)
                    .values(next_at=now - timedelta(seconds=1), due_since=row.due_since - passed)
                )

        await self.database.transact(move)

    async def audited(self) -> list[Any]:
        async with self.database.read() as connection:
            return list((await connection.execute(sa.select(audit_entries))).all())


def kit_over(catalog: Database, store: ObjectStore) -> Kit:
    process = MiniProcess(catalog, store)
    service = WebhookService(
        process.database,
        Records(Collection.WEBHOOKS, process.database, process.chains),
        Sealer([SECRET_KEY], secrets.token_bytes),
        ALLOWANCE,
        secrets.token_bytes,
        retention=timedelta(days=30),
    )
    timings = OutboundTimings(connect=LIMITS.attempt, total=LIMITS.attempt)
    return Kit(process, service, Events(process.database, secrets.token_bytes), Outbound(ALLOWANCE, timings))
