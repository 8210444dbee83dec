"""What stands between a tenant's proved credential and its request's body: the plan's rate, then the plan's month.

The rate is looked at first, so that a call that came too fast is not debited.
"""

import math
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Protocol

from starlette.requests import Request

from s4.domains.calls import CallBudget
from s4.kernel.context import TenantContext
from s4.kernel.errors import LimitReached
from s4.platform.http.exchange import exchange_of
from s4.platform.http.middleware import Finished
from s4.platform.rates import Decision, Rate
from s4.platform.telemetry import metrics


class Buckets(Protocol):
    """`platform.rates` has two."""

    async def take(self, name: str, rate: Rate) -> Decision: ...

    async def aclose(self) -> None: ...


Admission = Callable[[TenantContext, Request], Awaitable[None]]


def rate_admission(buckets: Buckets, default: Rate) -> Admission:
    """`default` is the rate of plans that have none."""

    async def admit(context: TenantContext, request: Request) -> None:
        decision = await buckets.take(context.tenant_id, _rate_of(context, default))
        exchange_of(request).response_headers.update(_headers(decision))
        if not decision.allowed:
            metrics.RATE_LIMITED.inc()
            raise LimitReached(
                f"More than the {decision.rate.per_second:g} requests per second of the plan, {decision.rate.burst} "
                "at once: slow down, or move to a larger plan.",
                details={"requests_per_second": decision.rate.per_second, "burst": decision.rate.burst},
                retry_after=timedelta(seconds=decision.seconds_to_next),
            )

    return admit


def call_admission(budget: CallBudget) -> Admission:
    """Debits a call from the plan's month, and takes it back when it was refused for a quota after all."""

    async def admit(context: TenantContext, request: Request) -> None:
        exchange = exchange_of(request)
        if exchange.counted:
            await budget.admit(context)
            exchange.debited = context

    return admit


def take_back_refused(budget: CallBudget) -> Callable[[Finished], None]:
    """An observer."""

    def observe(finished: Finished) -> None:
        if finished.exchange.debited is not None and not finished.is_call:
            budget.take_back(finished.exchange.debited)

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
