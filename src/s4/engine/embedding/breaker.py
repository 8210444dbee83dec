"""While a provider is not well, it is left alone but for one short question at a time.

One breaker stands in each process before its provider. Closed: requests go out, and failures in a row are counted.
Open: whoever asks is refused at once, so a search degrades without waiting and a job goes back to its queue having
lost nothing. Half-open is no business of callers: a watch of our own asks a harmless sentence, at the time that the
provider named in `Retry-After` or at growing pauses, and closes the breaker when that is answered well.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from typing import Any

import structlog

from s4.kernel.errors import S4Error, Unavailable
from s4.platform.telemetry.metrics import EMBEDDING_BREAKER_OPEN

log = structlog.get_logger()

_FAILURES_MAX = 5  # in a row, of all requests of this process: one dropped connection says nothing yet
_FIRST_PAUSE_SECONDS = 1.0  # doubles up to the bound that the operator set
_PROBING_SECONDS = 1.0  # what a caller is told while the answer to the watch's question is under way


class NotWell(Exception):
    """An attempt failed in a way that is the provider's, not the text's.

    `retry_after` is the provider's own wish. `definite`: asking again now cannot help (a revoked key, no credit).
    `paid`: it did answer, so it bills. `message` is a sentence for the operator.
    """

    def __init__(
        self,
        reason: str,
        *,
        retry_after: timedelta | None = None,
        definite: bool = False,
        paid: bool = False,
        message: str | None = None,
        details: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.retry_after = retry_after
        self.definite = definite
        self.paid = paid
        self.message = message or f"The embedding provider does not answer well: {reason}."
        self.details = {"reason": reason, **(details or {})}


class Breaker:
    """`probe` asks the provider once, within a bound of its own; it raises `NotWell` or an `S4Error`."""

    def __init__(self, probe: Callable[[], Awaitable[None]], *, provider: str, pause_max: timedelta) -> None:
        self._probe = probe
        self._gauge = EMBEDDING_BREAKER_OPEN.labels(provider)
        self._gauge.set(0)
        self._pause_max_seconds = pause_max.total_seconds()
        self._failures = 0
        self._probe_at = 0.0  # on the monotonic clock
        self._watch: asyncio.Task[None] | None = None
        self.reason: str | None = None
        """Why it is open; None while it is closed."""

    def check(self) -> None:
        """Raises `Unavailable` while it is open: nothing was tried, and `retry_after` is when it is worth asking."""
        if self.reason is not None:
            left = max(self._probe_at - time.monotonic(), _PROBING_SECONDS)
            raise Unavailable(
                f"The embedding provider is not well ({self.reason}); it is asked again by itself.",
                details={"reason": self.reason},
                retry_after=timedelta(seconds=left),
                untried=True,
            )

    def succeeded(self) -> None:
        self._failures = 0

    def failed(self, reason: str, *, retry_after: timedelta | None = None) -> None:
        """Counts, and opens when it is enough."""
        self._failures += 1
        if self._failures >= _FAILURES_MAX:
            self.open(reason, retry_after=retry_after)

    def open(self, reason: str, *, retry_after: timedelta | None = None) -> None:
        """From now on nobody but the watch asks."""
        pause_seconds = max(self._pause(0), (retry_after or timedelta()).total_seconds())
        self._probe_at = max(self._probe_at, time.monotonic() + pause_seconds)
        if self.reason is not None:
            return
        self.reason = reason
        self._gauge.set(1)
        log.warning("embedding.breaker_opened", reason=reason, probe_in_seconds=round(pause_seconds, 1))
        self._watch = asyncio.create_task(self._watched())

    async def aclose(self) -> None:
        """Ends the watch."""
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.gather(self._watch, return_exceptions=True)

    async def _watched(self) -> None:
        opened_at = time.monotonic()
        asked = 0
        while True:
            while (left := self._probe_at - time.monotonic()) > 0:  # noqa: ASYNC110 (a time, which others may put off)
                await asyncio.sleep(left)
            asked += 1
            try:
                await self._probe()
                break
            except (NotWell, S4Error) as error:
                self.reason = error.reason if isinstance(error, NotWell) else error.code
                wish = error.retry_after if isinstance(error, NotWell) else None
                pause_seconds = max(self._pause(asked), (wish or timedelta()).total_seconds())
                self._probe_at = time.monotonic() + pause_seconds
                log.warning(
                    "embedding.provider_not_well",
                    reason=self.reason,
                    error=error.message,
                    probe_in_seconds=round(pause_seconds, 1),
                )
        self._failures = 0
        self.reason = None
        self._gauge.set(0)
        log.info("embedding.breaker_closed", open_seconds=round(time.monotonic() - opened_at, 1), asked=asked)

    def _pause(self, asked: int) -> float:
        """Up to a quarter less at random: processes do not ask in step."""
        pause_seconds = min(_FIRST_PAUSE_SECONDS * 2 ** min(asked, 16), self._pause_max_seconds)
        return float(pause_seconds * random.uniform(0.75, 1.0))  # noqa: S311 (no secret)
