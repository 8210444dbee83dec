"""A process looks whether another region was promoted, and stops if one was.

What it accepts until it looks is lost to the deployment: `s4 stranded` lists it. The mark is looked for in both
buckets, for of two regions that cannot see each other one at least sees its own.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from datetime import timedelta

import structlog

from s4.domains.maintenance.deployment import Superseded, newest_term
from s4.domains.maintenance.model import Deployment
from s4.kernel.errors import Unavailable
from s4.platform.background import in_background
from s4.platform.objects import ObjectStore
from s4.platform.telemetry import metrics

log = structlog.get_logger()

_LOOK_SECONDS_MAX = 5.0  # at a bucket that may be away: it is asked again soon


class TermWatch:
    """One per process."""

    def __init__(
        self, store: ObjectStore, replica: ObjectStore | None, deployment: Deployment, *, every: timedelta
    ) -> None:
        self._store = store
        self._replica = replica
        self._deployment = deployment
        self._every = every
        self._superseded: Superseded | None = None

    async def look(self) -> None:
        """Raises `Superseded`. A bucket that does not answer says nothing."""
        for store in filter(None, (self._store, self._replica)):
            with contextlib.suppress(Unavailable, TimeoutError):
                async with asyncio.timeout(_LOOK_SECONDS_MAX):
                    newest = await newest_term(store, self._deployment.epoch, since=self._deployment.term)
                if newest > self._deployment.term:
                    raise Superseded(self._deployment.term, newest)

    @contextlib.asynccontextmanager
    async def running(self, stop: Callable[[], None]) -> AsyncIterator[None]:
        """Looks from here to the end of the block. Whoever is superseded writes nothing any more, and is told to
        `stop`; then the end of the block raises `Superseded`."""
        async with in_background(self._keep_looking(stop)):
            yield
        if self._superseded is not None:
            raise self._superseded

    async def _keep_looking(self, stop: Callable[[], None]) -> None:
        while self._superseded is None:
            await asyncio.sleep(self._every.total_seconds())
            try:
                await self.look()
            except Superseded as superseded:
                self._superseded = superseded
                self._store.close_for_writing(Unavailable("Another region serves now; ask there."))
                metrics.SUPERSEDED.set(1)
                log.error("deployment.superseded", error=superseded.message)
                stop()
