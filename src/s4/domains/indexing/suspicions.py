"""Asks for a look at a table that could not be read or written, so that it is repaired if it is damaged."""

import time

import structlog

from s4.domains.indexing import jobs
from s4.kernel.errors import Unavailable
from s4.kernel.ids import GenerationId, TenantId
from s4.platform.database import Database
from s4.platform.jobs import Queue

log = structlog.get_logger()

_CAUSE_CHARS_MAX = 200
_PAUSE_SECONDS = 5.0  # of one process: a crowd that searches a damaged table asks once


class Suspicions:
    """One per process."""

    def __init__(self, database: Database, queue: Queue) -> None:
        self._database = database
        self._queue = queue
        self._told: dict[tuple[TenantId, GenerationId], float] = {}

    async def tell(self, tenant_id: TenantId, generation: GenerationId, error: Exception) -> None:
        """`error` is what the table did. Raises nothing: whoever meets the table next tells it again."""
        now = time.monotonic()
        self._told = {each: at for each, at in self._told.items() if now - at < _PAUSE_SECONDS}
        if (tenant_id, generation) in self._told:
            return
        self._told[tenant_id, generation] = now
        cause = str(error.__cause__ or "")[:_CAUSE_CHARS_MAX]
        log.warning("index.suspected", tenant_id=tenant_id, error=str(error), cause=cause)
        check = jobs.check(tenant_id, generation, is_suspected=True)
        try:
            await self._database.transact(lambda c: self._queue.enqueue(c, check))
        except Unavailable as failure:
            log.warning("index.suspicion_lost", tenant_id=tenant_id, error=failure.message)
