"""A request that does the work of several counts as so many: for the plan's rate, its month and the ledger.

How many, its body says, and a body is read after the request was let in. So it is let in as one call, and the rest is
asked for by the endpoint, all or nothing, once it is known that the body makes sense and before the work begins.
"""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Annotated

from fastapi import Depends
from starlette.requests import Request

from s4.kernel.errors import LimitReached, Unavailable
from s4.platform.http.exchange import exchange_of
from s4.platform.http.routing import CurrentTenant, RateGate

Charge = Callable[[int], Awaitable[None]]
"""Makes the request count as so many calls. Raises `LimitReached` when rate or month have not so many, `InvalidRequest`
when they are more than the rate ever lets pass at once; then it counts as one call, or as none."""


async def _charging(context: CurrentTenant, request: Request) -> Charge:
    return partial(_charge, context, request)


async def _charge(context: CurrentTenant, request: Request, calls: int) -> None:
    exchange, more = exchange_of(request), calls - 1
    gate: RateGate | None = request.app.state.s4_rate_gate
    if gate is not None and more:
        await gate.take_more(context, request, more)
    exchange.calls = calls
    try:
        for admission in request.app.state.s4_admissions:
            await admission(context, request)
    except (LimitReached, Unavailable):
        exchange.calls = 1
        raise


CurrentCharge = Annotated[Charge, Depends(_charging)]
