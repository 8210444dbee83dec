"""What stands between a tenant's proved credential and its request's body: the plan's rate, then the plan's month.

The rate is looked at first, so that a call that came too fast is not debited.
"""

import math
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from starlette.requests import Request

from s4.domains.calls import CallBudget
from s4.kernel.context import TenantContext
from s4.kernel.errors import InvalidRequest, LimitReached
from s4.platform.http.exchange import exchange_of
from s4.platform.http.middleware import Finished
from s4.platform.http.routing import Admission, Credentials
from s4.platform.rates import Decision, Rate
from s4.platform.telemetry import metrics


class Buckets(Protocol):
    """`platform.rates` has two."""

    async def take(self, name: str, rate: Rate, *, wanted: int = 1) -> Decision: ...

    async def aclose(self) -> None: ...


_REFUSALS_MIN = 10  # in a row: below that, a larger plan lets in with the next request
_REMEMBERED_SECONDS = 0.25  # so late a larger plan, or a revoked key, is noticed by who goes on all the same
_REMEMBERED_MAX = 10_000  # keys, of some hundred bytes each


@dataclass(slots=True)
class _Refused:
    """A key that was refused so many `times` in a row; until then by memory."""

    context: TenantContext
    times: int = 0
    until: float = 0.0


class PlanRates:
    """The `RateGate`. `default` is the rate of plans that have none."""

    def __init__(self, buckets: Buckets, default: Rate, clock: Callable[[], float] = time.monotonic) -> None:
        self._buckets = buckets
        self._default = default
        self._clock = clock
        self._refused: OrderedDict[bytes, _Refused] = OrderedDict()

    def recently_refused(self, credentials: Credentials) -> TenantContext | None:
        if not self._refused or credentials.tenant_key is None:
            return None
        refused = self._refused.get(credentials.tenant_key_digest)
        return refused.context if refused is not None and self._clock() < refused.until else None

    async def take(self, context: TenantContext, credentials: Credentials, request: Request) -> None:
        decision = await self._buckets.take(context.tenant_id, _rate_of(context, self._default))
        exchange_of(request).response_headers.update(_headers(decision))
        if decision.allowed:
            self._forget(credentials)
            return
        self._remember(context, credentials)
        metrics.RATE_LIMITED.inc()
        raise LimitReached(
            f"More than the {decision.rate.per_second:g} requests per second of the plan, {decision.rate.burst} "
            "at once: slow down, or move to a larger plan.",
            details={"requests_per_second": decision.rate.per_second, "burst": decision.rate.burst},
            retry_after=timedelta(seconds=decision.seconds_to_next),
        )

    async def take_more(self, context: TenantContext, request: Request, more: int) -> None:
        rate, requests = _rate_of(context, self._default), more + 1
        if requests > rate.burst:
            raise InvalidRequest(
                f"This counts as {requests} requests, and the plan lets pass {rate.burst} at once: ask for less at a "
                "time, or move to a larger plan.",
                details={"requests": requests, "burst": rate.burst},
            )
        decision = await self._buckets.take(context.tenant_id, rate, wanted=more)
        exchange_of(request).response_headers.update(_headers(decision))
        if not decision.allowed:
            metrics.RATE_LIMITED.inc()
            raise LimitReached(
                f"This counts as {requests} requests, and the plan's rate has not so many left: wait, or ask for less.",
                details={"requests": requests, "requests_per_second": rate.per_second, "burst": rate.burst},
                retry_after=timedelta(seconds=decision.seconds_to(requests)),
            )

    def _forget(self, credentials: Credentials) -> None:
        if self._refused and credentials.tenant_key is not None:
            self._refused.pop(credentials.tenant_key_digest, None)

    def _remember(self, context: TenantContext, credentials: Credentials) -> None:
        assert credentials.tenant_key is not None, "a tenant asked"
        now = self._clock()
        refused = self._refused.setdefault(credentials.tenant_key_digest, _Refused(context))
        refused.times += 1
        if refused.times >= _REFUSALS_MIN and now >= refused.until:  # a refusal by memory does not prolong it
            refused.context, refused.until = context, now + _REMEMBERED_SECONDS
        if len(self._refused) > _REMEMBERED_MAX:
            self._refused.popitem(last=False)


def call_admission(budget: CallBudget) -> Admission:
    """Debits from the plan's month what the call counts as, less what is debited already."""

    async def admit(context: TenantContext, request: Request) -> None:
        exchange = exchange_of(request)
        if exchange.counted:
            await budget.admit(context, exchange.calls - exchange.debited_calls)
            exchange.debited, exchange.debited_calls = context, exchange.calls

    return admit


def take_back_refused(budget: CallBudget) -> Callable[[Finished], None]:
    """An observer: what was refused for a quota after all is no call."""

    def observe(finished: Finished) -> None:
        exchange = finished.exchange
        if exchange.debited is not None and not finished.is_call:
            budget.take_back(exchange.debited, exchange.debited_calls)

    return observe


def _rate_of(context: TenantContext, default: Rate) -> Rate:
    per_second = context.plan.requests_per_second
    if per_second is None:
        return default
    return Rate(per_second, context.plan.burst or max(1, math.ceil(per_second)))


def _headers(decision: Decision) -> dict[str, str]:
    """Ours, and those of the IETF's draft `draft-ietf-httpapi-ratelimit-headers`."""
    rate, full = decision.rate, decision.seconds_to_full
    return {
        "X-Rate-Limit-Limit": str(rate.burst),
        "X-Rate-Limit-Remaining": str(decision.remaining),
        "X-Rate-Limit-Reset": str(math.ceil(time.time() + full)),
        "RateLimit-Policy": f'"requests";q={rate.burst};w={max(1, math.ceil(rate.fill_seconds))}',
        "RateLimit": f'"requests";r={decision.remaining};t={math.ceil(full)}',
    }
