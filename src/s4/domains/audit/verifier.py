"""Verifying: is every entry what it was when it was sealed, and in its place?

The batches in the bucket are checked with themselves (each hash from the one before and the entry), then the rows of
the catalog with them. The first entry that does not agree is named: `changed`, `removed`, `inserted`, `reordered`, or
`truncated` when it and all after it are gone. Entries that left the catalog because of their age are missed by nobody:
their batches in the bucket are checked as ever.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

import structlog

from s4.domains.audit import queries
from s4.domains.audit.model import Batch, ChainHead, Sealed, chained
from s4.domains.audit.queries import Listed
from s4.kernel import keys
from s4.kernel.errors import DataCorrupt, NotFound
from s4.platform.database import Connection, Database
from s4.platform.jobs import RegularJob
from s4.platform.objects import ObjectMissing, ObjectStore

log = structlog.get_logger()

VERIFY = "audit.verify"
_STEP = 100  # batches of one look: what a regular verification holds of its place between two


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong, where (`catalog`, `bucket`), and with which entry; without one the batch as a whole is."""

    kind: str
    place: str
    batch: int
    position: int | None = None
    entry_id: str | None = None

    def __str__(self) -> str:
        entry = f", entry {self.position} ({self.entry_id})" if self.entry_id is not None else ""
        return f"{self.kind} in the {self.place}: batch {self.batch}{entry}"


@dataclass(frozen=True, slots=True)
class Verification:
    """`head` is the end of what was found to hold. `complete`: there is nothing after it."""

    head: ChainHead
    batches: int
    entries: int
    complete: bool
    problem: Problem | None


class Verifier:
    """Reads only. Also a regular task, whose finding the metrics tell."""

    def __init__(self, database: Database, store: ObjectStore, *, every: timedelta) -> None:
        self._database = database
        self._store = store
        self._every = every

    def regular_jobs(self) -> list[RegularJob]:
        return [RegularJob(VERIFY, self._every, self.check)]

    async def check(self) -> None:
        """Verifies everything, and notes what was found."""
        batches, after = 0, 0
        while True:
            found = await self.verify(after=after, limit=_STEP)
            batches, after = batches + found.batches, found.head.sequence
            if found.complete or found.problem is not None:
                break
        problem = str(found.problem) if found.problem is not None else None
        if problem is not None:
            log.error("audit.chain_broken", problem=problem)

        async def note(connection: Connection) -> None:
            now = await self._database.now(connection)
            await queries.note_check(connection, at=now, batches=batches, problem=problem)

        await self._database.transact(note)

    async def verify(self, *, after: int = 0, limit: int = _STEP) -> Verification:
        """At most `limit` batches after batch `after`, whose own last hash is taken as it is. Raises `NotFound` when
        there is no such batch."""
        head = await self._start(after)
        entries = 0
        for batches in range(limit):
            step = await self._step(head)
            if not isinstance(step, Batch):
                problem = step if step is not None else await self._beyond(head)
                return Verification(head, batches, entries, problem is None, problem)
            head, entries = step.head, entries + len(step.entries)
        return Verification(head, limit, entries, False, None)

    async def _start(self, after: int) -> ChainHead:
        if after == 0:
            return ChainHead()
        try:
            return Batch.from_bytes(await self._store.get(keys.audit_batch(after))).head
        except ObjectMissing as error:
            raise NotFound(f"The bucket has no audit batch {after}.") from error

    async def _step(self, head: ChainHead) -> Batch | Problem | None:
        """The batch after `head` if all of it holds, or what is wrong with it. None: there is none, and neither side
        knows of one."""
        sequence = head.sequence + 1
        async with self._database.read() as connection:
            known = await queries.digest_of(connection, sequence)
        try:
            batch = Batch.from_bytes(await self._store.get(keys.audit_batch(sequence)))
        except ObjectMissing:
            return Problem("removed", "bucket", sequence) if known is not None else None
        except DataCorrupt:
            return Problem("changed", "bucket", sequence)
        async with self._database.read() as connection:
            pruned = await queries.is_pruned(connection, sequence)
            rows = await queries.rows_of(connection, batch)
            newest = (await queries.head(connection)).sequence
        problem = await asyncio.to_thread(_in_bucket, head, batch)
        if problem is None and not pruned:
            problem = await asyncio.to_thread(
                _in_catalog, batch, rows, is_pending=known is None, is_last=newest <= sequence
            )
        if problem is None and known not in (None, batch.head.digest):
            problem = Problem("changed", "catalog", sequence)
        return problem if problem is not None else batch

    async def _beyond(self, head: ChainHead) -> Problem | None:
        """What either side claims to have after the last batch. A sealer may just have added one."""
        following = keys.audit_batch(head.sequence + 1)
        async for info in self._store.list(keys.AUDIT):
            if info.key > following:
                return Problem("removed", "bucket", head.sequence + 1)
        async with self._database.read() as connection:
            newest = (await queries.head(connection)).sequence
            stray = await queries.stray(connection, beyond=max(newest, head.sequence))
        if stray is not None:
            return Problem("inserted", "catalog", stray.batch or 0, stray.position, stray.entry.entry_id)
        return None


def _in_bucket(head: ChainHead, batch: Batch) -> Problem | None:
    """Whether a batch continues the chain, and each entry the one before."""
    sequence = head.sequence + 1
    if batch.sequence != sequence or batch.previous != head.digest or not batch.entries:
        return Problem("changed", "bucket", sequence)
    for said, computed in zip(batch.entries, chained(head, [each.entry for each in batch.entries]), strict=True):
        if said != computed:
            return _problem("changed", "bucket", sequence, said)
    return None


def _in_catalog(batch: Batch, rows: list[Listed], *, is_pending: bool, is_last: bool) -> Problem | None:
    """The first entry that the catalog has otherwise than the batch, or has beyond it."""
    by_id: Mapping[str, Listed] = {row.entry.entry_id: row for row in rows}
    for index, sealed in enumerate(batch.entries):
        row = by_id.get(sealed.entry.entry_id)
        if row is None:
            rest_is_gone = not any(each.entry.entry_id in by_id for each in batch.entries[index:])
            return _problem("truncated" if rest_is_gone and is_last else "removed", "catalog", batch.sequence, sealed)
        if row.entry.canonical() != sealed.entry.canonical():
            return _problem("changed", "catalog", batch.sequence, sealed)
        if row.batch is None and is_pending:
            continue  # its sealer is between bucket and catalog, or died there
        if (row.batch, row.position) != (batch.sequence, sealed.position):
            return _problem("reordered", "catalog", batch.sequence, sealed)
        if row.digest != sealed.digest:
            return _problem("changed", "catalog", batch.sequence, sealed)
    known = {sealed.entry.entry_id for sealed in batch.entries}
    for row in rows:
        if row.entry.entry_id not in known:
            return Problem("inserted", "catalog", batch.sequence, row.position, row.entry.entry_id)
    return None


def _problem(kind: str, place: str, sequence: int, sealed: Sealed) -> Problem:
    return Problem(kind, place, sequence, sealed.position, sealed.entry.entry_id)
