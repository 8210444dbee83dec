"""Use cases on webhooks and on the record of what was sent to them."""

import asyncio
import base64
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import structlog

from s4.domains import audit
from s4.domains.events import Event, EventKind
from s4.domains.events import queries as event_queries
from s4.domains.tenants import queries as tenant_queries
from s4.domains.webhooks import queries
from s4.domains.webhooks.model import Delivery, NewWebhook, SealedSecret, SealedUnder, Webhook, missing, public_body
from s4.kernel.context import SYSTEM_ACTOR, Actor, AdminContext, TenantContext
from s4.kernel.errors import Conflict, DataCorrupt, Forbidden, LimitReached, NotFound, Unavailable
from s4.kernel.ids import RandomBytes, TenantId, base32
from s4.kernel.pages import PageRequest
from s4.kernel.permissions import Permission
from s4.platform.chains import Record, Records
from s4.platform.database import Connection, Database
from s4.platform.jobs import Leases, RegularJob
from s4.platform.outbound import Allowance
from s4.platform.security.sealing import Sealer

log = structlog.get_logger()

FEATURE = "webhooks"
PURGE = "webhooks.purge"
_PURGE_EVERY = timedelta(hours=1)
RESEAL = "webhooks.reseal"
_RESEAL_EVERY = timedelta(minutes=10)
_PURGE_ROWS = 1000  # of one transaction
_SECRET_BYTES = 32  # as many as the signature has
_TURN_LEASE = timedelta(seconds=30)  # a creation takes two small requests to the store
_TURN_ATTEMPTS_MAX = 200
_TURN_POLL_SECONDS = 0.05


class WebhookService:
    """Every method takes the caller's context first and never leaves its tenant."""

    def __init__(
        self,
        database: Database,
        records: Records,
        sealer: Sealer,
        allowance: Allowance,
        random: RandomBytes,
        *,
        retention: timedelta,
    ) -> None:
        self._database = database
        self._records = records
        self._sealer = sealer
        self._allowance = allowance
        self._random = random
        self._retention = retention

    # -- read

    async def all(self, context: TenantContext) -> list[Webhook]:
        """The oldest first."""
        context.require(Permission.USAGE_READ)
        return await self._all(context.tenant_id)

    async def all_of(self, context: AdminContext, tenant_id: TenantId) -> list[Webhook]:
        """Raises `NotFound` for a tenant that is not there."""
        context.require(Permission.ADMIN_READ)
        await self._require_tenant(tenant_id)
        return await self._all(tenant_id)

    async def get(self, context: TenantContext, webhook_id: str) -> Webhook:
        """Raises `NotFound`."""
        context.require(Permission.USAGE_READ)
        return await self._get(context.tenant_id, webhook_id)

    async def deliveries(
        self, context: TenantContext, webhook_id: str, request: PageRequest, *, state: str | None = None
    ) -> tuple[list[Delivery], str | None]:
        """Newest first, and the cursor of the next page. Raises `NotFound`."""
        context.require(Permission.USAGE_READ)
        await self._get(context.tenant_id, webhook_id)
        async with self._database.read() as connection:
            return await queries.page(connection, context.tenant_id, webhook_id, request, state=state)

    # -- change

    async def create(self, context: TenantContext, new: NewWebhook) -> tuple[Webhook, str]:
        """The webhook and its secret, not shown again. Raises `InvalidRequest`, `Forbidden`, `LimitReached`."""
        context.require(Permission.KEYS_MANAGE)
        _require_feature(context)
        return await self._create(context.actor, context.tenant_id, new, at_most=context.plan.webhooks_max)

    async def create_for(self, context: AdminContext, tenant_id: TenantId, new: NewWebhook) -> tuple[Webhook, str]:
        """On the operator's behalf: the plan binds tenants, not the operator. Raises `NotFound`."""
        context.require(Permission.ADMIN_WRITE)
        await self._require_tenant(tenant_id)
        return await self._create(context.actor, tenant_id, new, at_most=None)

    async def replace(self, context: TenantContext, webhook_id: str, new: NewWebhook) -> Webhook:
        """Everything but the secret. What waits for it goes to the new URL. Raises `NotFound`, `InvalidRequest`."""
        context.require(Permission.KEYS_MANAGE)
        _require_feature(context)
        url = self._allowance.check_url(new.url)

        def changed(current: Webhook, _: datetime) -> Webhook:
            reason = None if new.active else current.disabled_reason
            return replace(
                current, url=url, events=new.events, description=new.description, active=new.active,
                disabled_reason=reason,
            )  # fmt: skip

        return await self._change(context, webhook_id, "webhook.update", changed)

    async def rotate(
        self, context: TenantContext, webhook_id: str, *, overlap: timedelta, secret: str | None
    ) -> tuple[Webhook, str]:
        """Another secret; for `overlap` what is sent is signed with both. One that was being replaced already ends."""
        context.require(Permission.KEYS_MANAGE)
        plaintext = secret or self._new_secret()
        sealed = SealedSecret(self._sealer.seal(plaintext, belongs_to=_subject(webhook_id)))

        def changed(current: Webhook, now: datetime) -> Webhook:
            before = replace(current.secrets[0], valid_until=now + overlap)
            return replace(current, secrets=(sealed, before) if overlap else (sealed,))

        return await self._change(context, webhook_id, "webhook.rotate_secret", changed), plaintext

    async def delete(self, context: TenantContext, webhook_id: str) -> None:
        """What waits for it is not sent. Raises `NotFound`."""
        context.require(Permission.KEYS_MANAGE)
        await self._get(context.tenant_id, webhook_id)

        async def decide(_c: Connection, _n: datetime, current: Record | None) -> None:
            _found(current, context.tenant_id)

        await self._commit(context.actor, context.tenant_id, webhook_id, "webhook.delete", decide)

    async def ping(self, context: TenantContext, webhook_id: str) -> Delivery:
        """Sends it an event of no meaning. Raises `NotFound`, `Conflict` while it is switched off."""
        context.require(Permission.KEYS_MANAGE)
        webhook = await self._get(context.tenant_id, webhook_id)
        _require_active(webhook)
        event_id = "evt_" + base32(self._random(16))

        async def emit(connection: Connection) -> Delivery | None:
            now = await self._database.now(connection)
            data = {"webhook_id": webhook_id}
            event = Event(event_id, context.tenant_id, EventKind.WEBHOOK_PING, data, now)
            await event_queries.add(connection, event, [webhook_id])
            delivery_id = event_queries.delivery_id(webhook_id, event_id)
            return await queries.get(connection, context.tenant_id, webhook_id, delivery_id)

        return _known(await self._database.transact(emit))

    async def replay(self, context: TenantContext, webhook_id: str, delivery_id: str) -> Delivery:
        """Sends it again, whatever became of it. Raises `NotFound`, `Conflict` while the webhook is switched off."""
        context.require(Permission.KEYS_MANAGE)
        webhook = await self._get(context.tenant_id, webhook_id)
        _require_active(webhook)

        async def again(connection: Connection) -> Delivery | None:
            now = await self._database.now(connection)
            await queries.replay(connection, context.tenant_id, webhook_id, delivery_id, now)
            return await queries.get(connection, context.tenant_id, webhook_id, delivery_id)

        return _known(await self._database.transact(again))

    # -- on S4's own behalf

    async def target(self, connection: Connection, tenant_id: str, webhook_id: str) -> Webhook | None:
        """Where a delivery goes, or None when the webhook or its tenant is gone."""
        record = await self._records.get(connection, webhook_id)
        if record is None or record.tenant_id != tenant_id:
            return None
        if await tenant_queries.state(connection, TenantId(tenant_id)) != "live":
            return None
        return Webhook.of(record)

    def signing_secrets(self, webhook: Webhook, now: datetime) -> list[str]:
        """Those that are valid. Raises `DataCorrupt` when another `S4_SECRET_KEY` sealed them."""
        return [
            self._sealer.open(each.sealed, belongs_to=_subject(webhook.webhook_id))
            for each in webhook.secrets
            if each.valid_until is None or each.valid_until > now
        ]

    async def switch_off(self, webhook: Webhook, reason: str) -> None:
        """Because its endpoint said that it is gone. Raises `NotFound`, `Conflict` when it changed meanwhile."""

        async def decide(_c: Connection, _n: datetime, current: Record | None) -> dict[str, Any]:
            now_is = _found(current, webhook.tenant_id)
            if now_is.url != webhook.url:
                raise Conflict("The webhook moved meanwhile: what was said concerns the old place.")
            return replace(now_is, active=False, disabled_reason=reason).body()

        await self._commit(SYSTEM_ACTOR, webhook.tenant_id, webhook.webhook_id, "webhook.switch_off", decide)

    def regular_jobs(self) -> list[RegularJob]:
        return [RegularJob(PURGE, _PURGE_EVERY, self.purge), RegularJob(RESEAL, _RESEAL_EVERY, self.reseal)]

    async def reseal(self) -> None:
        """Encrypts anew, under the current key, what another one encrypts. A secret that no key opens is told, and left
        for the one that does."""
        for webhook in await self._all_tenants():
            if self._is_current(webhook):
                continue

            async def decide(
                _c: Connection, _n: datetime, current: Record | None, tenant_id: str = webhook.tenant_id
            ) -> dict[str, Any]:
                found = _found(current, tenant_id)
                return replace(found, secrets=self._resealed(found)).body()

            try:
                await self._commit(SYSTEM_ACTOR, webhook.tenant_id, webhook.webhook_id, "webhook.reseal", decide)
            except NotFound:
                continue  # deleted meanwhile
            except DataCorrupt as error:
                log.error("secrets.unreadable", webhook_id=webhook.webhook_id, error=error.message)

    async def sealed_under(self) -> SealedUnder:
        """By which keys the secrets of all tenants are encrypted. Opens every one."""
        count = Counter[str]()
        for webhook in await self._all_tenants():
            try:
                self._resealed(webhook)
            except DataCorrupt:
                count["unreadable"] += 1
                continue
            count["current" if self._is_current(webhook) else "previous"] += 1
        return SealedUnder(count["current"], count["previous"], count["unreadable"])

    def _is_current(self, webhook: Webhook) -> bool:
        return all(self._sealer.is_current(each.sealed) for each in webhook.secrets)

    def _resealed(self, webhook: Webhook) -> tuple[SealedSecret, ...]:
        belongs_to = _subject(webhook.webhook_id)
        opened = [self._sealer.open(each.sealed, belongs_to=belongs_to) for each in webhook.secrets]
        return tuple(
            replace(each, sealed=self._sealer.seal(plaintext, belongs_to=belongs_to))
            for each, plaintext in zip(webhook.secrets, opened, strict=True)
        )

    async def _all_tenants(self) -> list[Webhook]:
        async with self._database.read() as connection:
            return [Webhook.of(record) for record in await self._records.all(connection)]

    async def purge(self) -> None:
        """Forgets deliveries and events that are older than the retention."""
        async with self._database.read() as connection:
            before = await self._database.now(connection) - self._retention
        gone = _PURGE_ROWS
        while gone >= _PURGE_ROWS:  # ends: nothing is added before that moment
            gone = await self._database.transact(lambda c: queries.purge(c, before, limit=_PURGE_ROWS))

    # -- inside

    async def _all(self, tenant_id: str) -> list[Webhook]:
        async with self._database.read() as connection:
            found = [Webhook.of(record) for record in await self._records.all(connection, tenant_id=tenant_id)]
        return sorted(found, key=lambda webhook: (webhook.created_at, webhook.webhook_id))

    async def _get(self, tenant_id: str, webhook_id: str) -> Webhook:
        async with self._database.read() as connection:
            return _found(await self._records.get(connection, webhook_id), tenant_id)

    async def _require_tenant(self, tenant_id: TenantId) -> None:
        async with self._database.read() as connection:
            if await tenant_queries.state(connection, tenant_id) != "live":
                raise NotFound("No such tenant.")

    async def _create(
        self, actor: Actor, tenant_id: TenantId, new: NewWebhook, *, at_most: int | None
    ) -> tuple[Webhook, str]:
        url = self._allowance.check_url(new.url)
        webhook_id = "whk_" + base32(self._random(16))
        plaintext = new.secret or self._new_secret()
        sealed = SealedSecret(self._sealer.seal(plaintext, belongs_to=_subject(webhook_id)))

        async def decide(connection: Connection, now: datetime, _: Record | None) -> dict[str, Any]:
            held = len(await self._records.all(connection, tenant_id=tenant_id))
            if at_most is not None and held >= at_most:
                raise LimitReached(
                    f"Your plan allows {at_most} webhooks; delete one, or ask the operator for another plan.",
                    code="quota_exceeded",
                    status=403,
                    details={"webhooks_limit": at_most, "webhooks": held},
                )
            webhook = Webhook(
                webhook_id, tenant_id, url, new.events, new.active, new.description, None, (sealed,), now, now
            )
            return webhook.body()

        async with self._turn(tenant_id):
            record = await self._commit(actor, tenant_id, webhook_id, "webhook.create", decide)
        return _found(record, tenant_id), plaintext

    @asynccontextmanager
    async def _turn(self, tenant_id: str) -> AsyncIterator[None]:
        """One creation at a time: between the count and the moment when the new one is counted lies a request to the
        store. Raises `Unavailable` when the others take too long."""
        leases = Leases(self._database, owner=base32(self._random(16)), duration=_TURN_LEASE)
        for _ in range(_TURN_ATTEMPTS_MAX):
            lease = await leases.acquire(f"webhooks/{tenant_id}")
            if lease is not None:
                break
            await asyncio.sleep(_TURN_POLL_SECONDS)
        else:
            raise Unavailable("Another webhook is being created; try again.")
        try:
            yield
        finally:
            await leases.release(lease)

    async def _change(
        self, context: TenantContext, webhook_id: str, action: str, changed: Callable[[Webhook, datetime], Webhook]
    ) -> Webhook:
        await self._get(context.tenant_id, webhook_id)  # before anything is locked: another's must not be felt

        async def decide(_: Connection, now: datetime, current: Record | None) -> dict[str, Any]:
            return changed(_found(current, context.tenant_id), now).body()

        record = await self._commit(context.actor, context.tenant_id, webhook_id, action, decide)
        return _found(record, context.tenant_id)

    async def _commit(
        self,
        actor: Actor,
        tenant_id: str,
        webhook_id: str,
        action: str,
        decide: Callable[[Connection, datetime, Record | None], Awaitable[dict[str, Any] | None]],
    ) -> Record | None:
        async def noted(connection: Connection, before: Record | None, after: Record | None) -> None:
            await audit.record(
                connection, actor, action, _subject(webhook_id), tenant_id=tenant_id,
                before=public_body(before), after=public_body(after),
            )  # fmt: skip

        return await self._records.change(webhook_id, decide, noted=noted, tenant_id=tenant_id)

    def _new_secret(self) -> str:
        return "whsec_" + base64.urlsafe_b64encode(self._random(_SECRET_BYTES)).decode("ascii").rstrip("=")


def _subject(webhook_id: str) -> str:
    return f"webhook/{webhook_id}"


def _found(record: Record | None, tenant_id: str) -> Webhook:
    if record is None or record.tenant_id != tenant_id:
        raise missing()
    return Webhook.of(record)


def _known(delivery: Delivery | None) -> Delivery:
    if delivery is None:
        raise NotFound("No such delivery.")
    return delivery


def _require_feature(context: TenantContext) -> None:
    if FEATURE not in context.plan.features:
        raise Forbidden(
            "Your plan has no webhooks; ask the operator for one that has.",
            code="quota_exceeded",
            details={"feature": FEATURE},
        )


def _require_active(webhook: Webhook) -> None:
    if not webhook.active:
        why = f" ({webhook.disabled_reason})" if webhook.disabled_reason else ""
        raise Conflict(f"This webhook is switched off{why}; switch it on first, with PUT.")
