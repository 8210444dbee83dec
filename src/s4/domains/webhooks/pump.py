"""Sends what is due. Beside the worker's jobs, with places of its own: an endpoint that is slow holds up no document.

Places are shared so that no endpoint holds up another: each webhook has few at once, each tenant a quarter, and
webhooks whose last attempt failed one each and half of all together. Who was served longest ago comes first.

A delivery is claimed in the catalog before it is sent and settled after it was answered. A process that dies between
the two leaves a claim that expires: the delivery is sent again, under the same id. So each is sent at least once, or
ends `dead` with the last reason, where it can be replayed.
"""

import asyncio
import contextlib
import json
import logging
import random as dice
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import structlog

from s4 import __version__
from s4.domains.events import DeliveryState
from s4.domains.webhooks import queries
from s4.domains.webhooks.model import Claimed, Due, Webhook
from s4.domains.webhooks.service import WebhookService
from s4.domains.webhooks.signing import sign
from s4.kernel.clock import rfc3339
from s4.kernel.errors import Conflict, DataCorrupt, NotFound, Unavailable
from s4.kernel.ids import RandomBytes, base32
from s4.platform.database import Connection, Database
from s4.platform.faults import failpoint
from s4.platform.outbound import Outbound, Undelivered
from s4.platform.telemetry import metrics

log = structlog.get_logger()

PER_WEBHOOK = 4
"""At once, of one process: a bulk upload's events arrive in seconds, and an endpoint is not flooded."""
RETRY_PAUSE_MAX = timedelta(hours=2)
"""Between two attempts: an endpoint that is back gets what it missed within so long."""
_GONE = 410
_POLL_SECONDS = 0.5  # between looks at what is due, when nothing was: one read of an index
_CLAIM_SLACK = timedelta(seconds=20)  # beyond the longest attempt: a claim must not expire under a busy process
_ERROR_CHARS_MAX = 200


@dataclass(frozen=True, slots=True)
class PumpLimits:
    """`attempt`: the longest that one may take. `retry`: the first pause; each next is twice as long. `patience`: from
    when it was due to when it is given up."""

    places: int
    attempt: timedelta
    retry: timedelta
    patience: timedelta


@dataclass(frozen=True, slots=True)
class _Outcome:
    """`status` None: no answer. `ends`: trying again is of no use."""

    delivered: bool
    status: int | None = None
    error: str | None = None
    ends: bool = False


class DeliveryPump:
    """One per worker process."""

    def __init__(
        self, database: Database, webhooks: WebhookService, outbound: Outbound, random: RandomBytes, limits: PumpLimits
    ) -> None:
        self._database = database
        self._webhooks = webhooks
        self._outbound = outbound
        self._random = random
        self._limits = limits
        self._stopping = asyncio.Event()
        self._running: dict[asyncio.Task[None], Due] = {}
        self._failing: set[str] = set()
        self._served: dict[str, int] = {}
        """Webhook to the number of the claim that served it last, of those that wait."""
        self._claims = 0

    async def run(self) -> None:
        """Until `stop`."""
        while not self._stopping.is_set():
            try:
                claimed = await self._fill()
            except Unavailable as error:
                log.warning("webhooks.catalog_unavailable", error=error.message)
                claimed = 0
            if not claimed:
                await self._pause()

    async def stop(self, *, within: timedelta) -> None:
        """Sends nothing new; what is under way may end within that time. What does not is handed back, and the next
        process sends it again at once."""
        self._stopping.set()
        if self._running:
            await asyncio.wait(list(self._running), timeout=within.total_seconds())
        for task in list(self._running):
            task.cancel()
        if self._running:
            await asyncio.wait(list(self._running))

    async def run_until_idle(self) -> None:
        """For tests and tools: sends what is due now, then returns."""
        while await self._fill() or self._running:
            if self._running:
                await asyncio.wait(list(self._running), return_when=asyncio.FIRST_COMPLETED)

    async def _pause(self) -> None:
        """Until something ends, if anything runs, or for the length of a poll."""
        stopping = asyncio.create_task(self._stopping.wait())
        await asyncio.wait({stopping, *self._running}, timeout=_POLL_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()

    async def _fill(self) -> int:
        """Claims what there is room for, and begins it. Answers with how many."""
        if self._stopping.is_set() or len(self._running) >= self._limits.places:
            return 0
        async with self._database.read() as connection:
            due = await queries.due(connection, await self._database.now(connection))
        self._served = {each.webhook_id: self._served.get(each.webhook_id, 0) for each in due}
        begun = 0
        for each in sorted(due, key=lambda each: self._served[each.webhook_id]):
            room = self._room(each)
            if room <= 0:
                continue
            claimed = await self._claim(each, room)
            if self._stopping.is_set():  # meanwhile: `stop` waits for nothing that begins now
                for one in claimed:
                    await self._hand_back(one)
                break
            self._claims += 1
            self._served[each.webhook_id] = self._claims
            for one in claimed:
                task = asyncio.create_task(self._attempt(one))
                self._running[task] = each
                task.add_done_callback(self._running.pop)
            begun += len(claimed)
        return begun

    def _room(self, wanted: Due) -> int:
        by_webhook = Counter(each.webhook_id for each in self._running.values())
        by_tenant = Counter(each.tenant_id for each in self._running.values())
        room = min(
            self._limits.places - len(self._running),
            max(1, self._limits.places // 4) - by_tenant[wanted.tenant_id],
            PER_WEBHOOK - by_webhook[wanted.webhook_id],
        )
        if wanted.webhook_id in self._failing:
            failing = sum(each.webhook_id in self._failing for each in self._running.values())
            room = min(room, 1 - by_webhook[wanted.webhook_id], max(1, self._limits.places // 2) - failing)
        return room

    async def _claim(self, due: Due, room: int) -> list[Claimed]:
        token = base32(self._random(16))

        async def claim(connection: Connection) -> list[Claimed]:
            now = await self._database.now(connection)
            lease = self._limits.attempt + _CLAIM_SLACK
            return await queries.claim(connection, due.webhook_id, now, limit=room, lease=lease, token=token)

        return await self._database.transact(claim)

    async def _attempt(self, claimed: Claimed) -> None:
        delivery = claimed.delivery
        try:
            failpoint("webhook.claimed")
            outcome = await self._send(claimed)
            failpoint("webhook.answered")
            await self._settle(claimed, outcome)
        except asyncio.CancelledError:
            with contextlib.suppress(Unavailable):  # then the claim expires
                await self._hand_back(claimed)
        except Unavailable as error:
            # The catalog went away: the claim expires, and the delivery is sent again.
            log.warning("webhooks.catalog_unavailable", delivery_id=delivery.delivery_id, error=error.message)
        except Exception:
            log.exception("webhooks.attempt_broke", delivery_id=delivery.delivery_id)

    async def _hand_back(self, claimed: Claimed) -> None:
        """As if it had not been claimed."""

        async def settle(connection: Connection) -> None:
            now = await self._database.now(connection)
            await queries.settle(connection, claimed, next_at=now, attempts=claimed.delivery.attempts)

        await self._database.transact(settle)

    async def _send(self, claimed: Claimed) -> _Outcome:
        delivery = claimed.delivery
        async with self._database.read() as connection:
            webhook = await self._webhooks.target(connection, delivery.tenant_id, delivery.webhook_id)
            event = await queries.event(connection, delivery.event_id)
            now = await self._database.now(connection)
        if webhook is None or event is None:
            return _Outcome(False, error="The webhook was deleted.", ends=True)
        if not webhook.active:
            return _Outcome(False, error="The webhook is switched off.", ends=True)
        body = _body(event.kind, delivery.tenant_id, event.at, event.data)
        try:
            headers = self._headers(webhook, claimed, body, now)
            answer = await self._outbound.post(webhook.url, body, headers)
        except DataCorrupt as error:
            log.error("webhooks.secret_unreadable", webhook_id=webhook.webhook_id, error=error.message)
            return _Outcome(False, error="S4 cannot read this webhook's secret; the operator has been told.")
        except Undelivered as error:
            return _Outcome(False, error=error.reason)
        if answer.status == _GONE:
            await self._switch_off(webhook)
            return _Outcome(False, answer.status, "The endpoint answered 410: it is gone.", ends=True)
        if 200 <= answer.status < 300:
            return _Outcome(True, answer.status)
        redirect = "; redirects are not followed" if 300 <= answer.status < 400 else ""
        return _Outcome(False, answer.status, f"The endpoint answered {answer.status}{redirect}.")

    def _headers(self, webhook: Webhook, claimed: Claimed, body: bytes, now: datetime) -> dict[str, str]:
        secrets = self._webhooks.signing_secrets(webhook, now)
        return {
            "Content-Type": "application/json",
            "User-Agent": f"S4/{__version__}",
            "X-S4-Event": claimed.delivery.kind,
            "X-S4-Delivery": claimed.delivery.delivery_id,
            "X-S4-Signature": sign(body, secrets=secrets, epoch=int(now.timestamp())),
        }

    async def _switch_off(self, webhook: Webhook) -> None:
        with contextlib.suppress(NotFound, Conflict):  # it is gone or elsewhere: nothing is to be switched off
            await self._webhooks.switch_off(webhook, "The endpoint answered 410: it is gone.")
            log.warning("webhooks.switched_off", webhook_id=webhook.webhook_id, tenant_id=webhook.tenant_id)

    async def _settle(self, claimed: Claimed, outcome: _Outcome) -> None:
        delivery = claimed.delivery
        if outcome.delivered:
            self._failing.discard(delivery.webhook_id)
        else:
            self._failing.add(delivery.webhook_id)
        pause = retry_pause(delivery.attempts + 1, self._limits.retry)

        async def settle(connection: Connection) -> DeliveryState | None:
            now = await self._database.now(connection)
            values: dict[str, Any] = {"last_status": outcome.status, "last_error": None}
            state = DeliveryState.DELIVERED
            if not outcome.delivered:
                ends = outcome.ends or now + pause > delivery.due_since + self._limits.patience
                state = DeliveryState.DEAD if ends else DeliveryState.PENDING
                values["last_error"] = (outcome.error or "")[:_ERROR_CHARS_MAX]
            next_at = now + pause if state is DeliveryState.PENDING else now
            done = await queries.settle(connection, claimed, state=state.value, next_at=next_at, **values)
            return state if done else None

        state = await self._database.transact(settle)
        metrics.WEBHOOK_DELIVERIES.labels(_OUTCOMES.get(state, "lost")).inc()
        if state is not DeliveryState.DELIVERED:
            log.log(
                logging.WARNING if state is DeliveryState.DEAD else logging.INFO,
                "webhooks.delivery_dead" if state is DeliveryState.DEAD else "webhooks.delivery_failed",
                webhook_id=delivery.webhook_id, delivery_id=delivery.delivery_id, tenant_id=delivery.tenant_id,
                attempts=delivery.attempts + 1, status=outcome.status, error=outcome.error,
            )  # fmt: skip


_OUTCOMES: Mapping[DeliveryState | None, str] = {
    DeliveryState.DELIVERED: "delivered",
    DeliveryState.PENDING: "retry",
    DeliveryState.DEAD: "dead",
}


def retry_pause(attempts: int, first: timedelta) -> timedelta:
    """After that many attempts: doubling, at most `RETRY_PAUSE_MAX`, a fifth more or less."""
    pause: timedelta = min(first * 2 ** min(attempts - 1, 16), RETRY_PAUSE_MAX)  # 16: no number grows without end
    return pause * dice.uniform(0.8, 1.2)  # noqa: S311 (spreads those that failed together)


def _body(kind: str, tenant_id: str, at: datetime, data: Mapping[str, Any]) -> bytes:
    """The same bytes for every attempt."""
    said = {"event": kind, "tenant_id": tenant_id, "timestamp": rfc3339(at), "data": dict(data)}
    return json.dumps(said, ensure_ascii=False, separators=(",", ":")).encode()
