"""What the approximate index finds, measured on live searches: a few are compared with a scan, after their answers.

A comparison costs a scan, some hundred times the search. So there is one at a time, and after each a rest of many times
what it took: however many searches there are and however large the tables, it takes a small part of one processor.
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable

import structlog

from s4.platform.telemetry import metrics

log = structlog.get_logger()

NEAREST = 10
"""Recall is that of so many."""
REST_TIMES = 19
"""Rest after a comparison, in times of its length: a twentieth of the time is spent comparing at most."""

Compare = Callable[[], Awaitable[float | None]]
"""Recall of a search, 0 to 1; None where the search was a scan itself, so there is nothing to compare."""


class RecallSampler:
    """Of one process and event loop."""

    def __init__(
        self, *, share: float, draw: Callable[[], float], monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        """`share` of what is offered is compared; `draw` answers with a number from 0 to 1, 1 excluded."""
        self._share = share
        self._draw = draw
        self._monotonic = monotonic
        self._comparing: asyncio.Task[None] | None = None
        self._rest_until = 0.0

    def offer(self, compare: Compare) -> None:
        """Returns at once; the comparison, if there is one, comes later."""
        if self._draw() >= self._share:
            return
        if self._comparing is not None or self._monotonic() < self._rest_until:
            metrics.INDEX_RECALL_SAMPLES.labels("skipped").inc()
            return
        self._comparing = asyncio.create_task(self._measure(compare))

    async def settled(self) -> None:
        """Returns when nothing is being compared."""
        if self._comparing is not None:
            await asyncio.wait([self._comparing])

    async def aclose(self) -> None:
        """Drops what is being compared."""
        if self._comparing is not None:
            self._comparing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._comparing

    async def _measure(self, compare: Compare) -> None:
        started = self._monotonic()
        try:
            recall = await compare()
        except Exception as error:
            metrics.INDEX_RECALL_SAMPLES.labels("failed").inc()
            log.warning("search.recall_unknown", error=str(error))
        else:
            if recall is not None:
                metrics.INDEX_RECALL.observe(recall)
            metrics.INDEX_RECALL_SAMPLES.labels("exact" if recall is None else "compared").inc()
        finally:
            self._rest_until = self._monotonic() + REST_TIMES * (self._monotonic() - started)
            self._comparing = None
