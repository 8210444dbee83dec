"""Sealing: what is not in the chain yet is hashed, written to the bucket, then marked.

    read unsealed rows -> chain them in memory -> create batch n+1 if absent -> mark the rows, note the batch
                                                         |                            |
                                               crash: nothing happened        crash: the next sealer finds batch n+1
                                                                              in the bucket and marks its rows

Only one sealer works at a time, since a job has a lease; one that overslept it can do no harm, for a batch is created
only if absent, and marking what is marked does nothing. So the chain cannot fork. A new catalog adopts the trail in the
same way: every batch that it does not know is followed before anything new is sealed.
"""

from datetime import timedelta

import structlog

from s4.domains.audit import queries
from s4.domains.audit.model import BATCH_ENTRIES_MAX, Batch, ChainHead, chained
from s4.kernel import keys
from s4.kernel.errors import DataCorrupt
from s4.kernel.ids import RandomBytes, base32
from s4.platform.database import Database
from s4.platform.faults import failpoint
from s4.platform.jobs import RegularJob
from s4.platform.objects import CreateOutcome, ObjectMissing, ObjectStore

log = structlog.get_logger()

SEAL = "audit.seal"


class Sealer:
    """Runs in workers, called by the scheduler."""

    def __init__(self, database: Database, store: ObjectStore, random: RandomBytes, *, every: timedelta) -> None:
        self._database = database
        self._store = store
        self._random = random
        self._every = every

    def regular_jobs(self) -> list[RegularJob]:
        return [RegularJob(SEAL, self._every, self._run)]

    async def _run(self) -> None:
        sealed = await self.seal()
        if sealed:
            log.info("audit.sealed", entries=sealed)

    async def seal(self) -> int:
        """Seals all that was committed before. Answers with the number of entries that this call put into the
        chain, or found there. Raises `DataCorrupt` when the bucket's chain is not the catalog's."""
        entries = 0
        while True:
            head = await self._head()
            batch = await self._in_bucket(head)
            if batch is None:
                batch = await self._next(head)
            if batch is None:
                return entries
            await self._settle(batch)
            entries += len(batch.entries)

    async def adopt(self) -> int:
        """Follows what the bucket has, and seals nothing. Answers with the number of entries."""
        entries = 0
        while (batch := await self._in_bucket(await self._head())) is not None:
            await self._settle(batch)
            entries += len(batch.entries)
        return entries

    async def _head(self) -> ChainHead:
        async with self._database.read() as connection:
            return await queries.head(connection)

    async def _in_bucket(self, head: ChainHead) -> Batch | None:
        """The batch after `head`, if somebody has written it."""
        try:
            batch = Batch.from_bytes(await self._store.get(keys.audit_batch(head.sequence + 1)))
        except ObjectMissing:
            return None
        if batch.previous != head.digest or chained(head, [each.entry for each in batch.entries]) != batch.entries:
            raise DataCorrupt(
                f"Audit batch {head.sequence + 1} in the bucket does not continue the catalog's chain: run "
                "`s4 audit verify`."
            )
        return batch

    async def _next(self, head: ChainHead) -> Batch | None:
        """Writes the batch after `head`, or finds that another did. None: there is nothing to seal."""
        async with self._database.read() as connection:
            entries = await queries.unsealed(connection, limit=BATCH_ENTRIES_MAX)
            now = await self._database.now(connection)
        if not entries:
            return None
        seal_id = base32(self._random(16))
        batch = Batch(head.sequence + 1, head.digest, now, seal_id, chained(head, entries))
        outcome = await self._store.create(keys.audit_batch(batch.sequence), batch.to_bytes(), commit_id=None)
        failpoint("audit.written")
        return batch if outcome is CreateOutcome.CREATED else await self._in_bucket(head)

    async def _settle(self, batch: Batch) -> None:
        await self._database.transact(lambda connection: queries.settle(connection, batch))
        failpoint("audit.settled")
