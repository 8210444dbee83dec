"""Seal, commit, settle; and what to do with the tickets of writers that did not come back."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeVar

import sqlalchemy as sa
import structlog

from s4.kernel.errors import DataCorrupt, Unavailable
from s4.kernel.ids import CommitId, RandomBytes, new_commit_id
from s4.platform.chains.head import ABANDONED, ChainKind, Draft, Head, Subject
from s4.platform.chains.models import commit_tickets
from s4.platform.database import Connection, Database, upsert
from s4.platform.faults import failpoint
from s4.platform.objects import CreateOutcome, ObjectStore
from s4.platform.telemetry import metrics

log = structlog.get_logger()
T = TypeVar("T")

Seal = Callable[[Connection, datetime], Awaitable[Draft]]
AndThen = Callable[[Connection], Awaitable[None]]
Settled = Callable[[Connection, Head], Awaitable[T]]


class Fenced(Unavailable):
    """The writer slept through its lease and was given up: its change never happened, and never will."""


@dataclass(frozen=True, slots=True)
class ChainTimings:
    """`lease`: how long a ticket is respected; it must exceed the longest store request. `wait`: how long a second
    writer of the same subject waits for the first."""

    lease: timedelta
    wait: timedelta


@dataclass(frozen=True, slots=True)
class _Ticket:
    subject: Subject
    revision: int
    commit_id: CommitId
    sealed_at: datetime


class Chains:
    """All chains of one deployment: a catalog, a store, and the kinds that live in them."""

    def __init__(
        self,
        database: Database,
        store: ObjectStore,
        random: RandomBytes,
        kinds: Iterable[ChainKind],
        timings: ChainTimings,
    ) -> None:
        self._database = database
        self._store = store
        self._random = random
        self._kinds = {kind.name: kind for kind in kinds}
        self._timings = timings

    async def commit(self, subject: Subject, *, seal: Seal, settled: Settled[T]) -> T:
        """Makes the subject's next revision true.

        `seal` runs in the sealing transaction, after the ticket is taken: it reads the state, refuses, or answers
        with the draft. `settled` runs in the settling transaction, after the catalog has moved. Both may run more
        than once. Raises what `seal` raises; `Unavailable` when the store or a neighbour does not answer in time,
        and then the change may still become true: the caller repeats with an idempotency key, or looks. `Fenced`
        when this writer was too slow: then it never will.
        """
        give_up_at = time.monotonic() + self._timings.wait.total_seconds()
        pause_seconds = 0.005
        while True:
            head, neighbour = await self._seal(subject, seal)
            if head is not None:
                if await self._create(head):
                    return await self._settle(head, settled)
                await self._refuse_if_fenced(head)
                # The bucket knows a newer chain than the catalog did: follow it, then seal anew.
                await self.adopt(subject)
                await self._drop_ticket(head)
            elif neighbour is not None and await self._now() - neighbour.sealed_at > self._timings.lease:
                await self._resolve(neighbour)
            else:
                if time.monotonic() >= give_up_at:
                    raise Unavailable("Another change of the same subject is still being written; try again.")
                await asyncio.sleep(pause_seconds)
                pause_seconds = min(pause_seconds * 2, 0.2)

    async def adopt(self, subject: Subject) -> int:
        """Moves the catalog to the newest head in the bucket, for a subject whose chain it does not know or knows
        in part. Answers with the revision."""
        revisions = await self._revisions(subject)
        if not revisions:
            return 0
        chain = await self.read_back(subject, revisions)
        await self.adopt_all({subject: chain})
        return chain[-1].revision

    async def newest_revision(self, subject: Subject) -> int:
        """In the bucket, whatever it says; 0 for none."""
        return max(await self._revisions(subject), default=0)

    async def read_back(self, subject: Subject, revisions: Iterable[int]) -> list[Head]:
        """Of the revisions that the bucket has, at least one: the newest that happened, and those after it that were
        abandoned, in order. Raises `DataCorrupt`."""
        chain: list[Head] = []
        for revision in sorted(revisions, reverse=True):
            chain.append(await self.read(subject, revision))
            if chain[-1].state != ABANDONED:
                break
        return chain[::-1]

    async def adopt_all(self, chains: Mapping[Subject, Sequence[Head]], *, and_then: AndThen | None = None) -> None:
        """Moves the catalog to what `read_back` found of many subjects, in one transaction, of which `and_then` is a
        part. Their order is that of their keys: two who adopt the same wait for each other, and not in a circle."""
        subjects = sorted(chains, key=lambda subject: subject.ticket_key)

        async def move(connection: Connection) -> None:
            await self._database.exclude(connection, *(subject.ticket_key for subject in subjects))
            new: set[Subject] = set()
            for kind in {subject.kind for subject in subjects}:
                of_kind = [chains[subject] for subject in subjects if subject.kind == kind]
                new |= await self._kinds[kind].apply_new(connection, of_kind)
            known = [subject for subject in subjects if subject not in new]
            for subject in known:
                await self._kinds[subject.kind].revision(connection, subject)  # locks its row
            for subject in known:
                for head in chains[subject]:
                    await self._kinds[subject.kind].apply(connection, head)
            if and_then is not None:
                await and_then(connection)

        await self._database.transact(move)
        failpoint(f"{self._kinds[subjects[0].kind].steps}.adopted")

    async def read(self, subject: Subject, revision: int) -> Head:
        """A head from the bucket. Raises `ObjectMissing`, `DataCorrupt`."""
        data = await self._store.get(self._kinds[subject.kind].head_key(subject, revision))
        head = Head.from_bytes(data, expected=subject)
        if head.revision != revision:
            raise DataCorrupt(f"Head {revision} of {subject.label} says it is {head.revision}.")
        return head

    async def at(self, subject: Subject, moment: datetime, *, known: int) -> Head | None:
        """The head that counted at `moment`, by the database's clock: the newest that happened until then. None when
        there was none. `known`: the revision that the catalog knows, for chains have no gaps. Reads from the newest on.
        Raises `DataCorrupt` when that head may be one that the bucket has lost or damaged."""
        there = set(await self._revisions(subject))
        in_doubt: int | None = None
        for revision in range(max({*there, known}), 0, -1):
            head = await self._sound(subject, revision) if revision in there else None
            if head is None:
                in_doubt = revision
            elif head.state == ABANDONED:
                continue
            elif head.committed_at > moment:
                in_doubt = None  # what came after this one came after the moment
            elif in_doubt is None:
                return head
            else:
                break
        if in_doubt is not None:
            raise DataCorrupt(f"Head {in_doubt} of {subject.label}, which may have counted then, is lost or damaged.")
        return None

    async def has_ticket(self, subject: Subject) -> bool:
        """Whether a writer is between sealing and settling, or died there."""
        async with self._database.read() as connection:
            return await self.is_ticketed(connection, subject)

    async def is_ticketed(self, connection: Connection, subject: Subject) -> bool:
        """The same, as part of the caller's transaction."""
        found = await connection.execute(
            sa.select(commit_tickets.c.subject).where(commit_tickets.c.subject == subject.ticket_key)
        )
        return found.one_or_none() is not None

    async def resolve_stale(self, *, limit: int = 1000) -> int:
        """Settles the tickets of writers that are gone. Answers with their number. What was sealed by a clock that was
        set back since is given a lease from now on."""
        now = await self._now()
        ahead = commit_tickets.c.sealed_at > now + self._timings.lease
        put_right = sa.update(commit_tickets).where(ahead).values(sealed_at=now)
        await self._database.transact(lambda connection: connection.execute(put_right))
        async with self._database.read() as connection:
            rows = await connection.execute(
                sa.select(commit_tickets)
                .where(commit_tickets.c.sealed_at < now - self._timings.lease)
                .order_by(commit_tickets.c.sealed_at)
                .limit(limit)
            )
            stale = [_ticket(row) for row in rows]
        for ticket in stale:
            await self._resolve(ticket)
        return len(stale)

    async def _seal(self, subject: Subject, seal: Seal) -> tuple[Head | None, _Ticket | None]:
        kind = self._kinds[subject.kind]
        commit_id = new_commit_id(self._random)

        async def take(connection: Connection) -> tuple[Head | None, _Ticket | None]:
            now = await self._database.now(connection)
            values: dict[str, Any] = {
                "subject": subject.ticket_key,
                "kind": subject.kind,
                "tenant_id": subject.tenant_id,
                "subject_id": subject.subject_id,
                "revision": 0,
                "commit_id": commit_id,
                "sealed_at": now,
            }
            insert = upsert(connection, commit_tickets, values, conflict=["subject"])
            taken = await connection.execute(insert.returning(commit_tickets.c.subject))
            mine = commit_tickets.c.subject == subject.ticket_key
            if taken.one_or_none() is None:
                row = (await connection.execute(sa.select(commit_tickets).where(mine))).one_or_none()
                return None, _ticket(row) if row is not None else None
            revision = await kind.revision(connection, subject) + 1
            draft = await seal(connection, now)
            await connection.execute(sa.update(commit_tickets).where(mine).values(revision=revision))
            return Head(subject, revision, draft.state, commit_id, now, draft.body), None

        sealed = await self._database.transact(take)
        if sealed[0] is not None:
            failpoint(f"{self._kinds[subject.kind].steps}.sealed")
        return sealed

    async def _create(self, head: Head) -> bool:
        key = self._kinds[head.subject.kind].head_key(head.subject, head.revision)
        outcome = await self._store.create(key, head.to_bytes(), commit_id=head.commit_id)
        failpoint(f"{self._kinds[head.subject.kind].steps}.committed")
        return outcome is CreateOutcome.CREATED

    async def _refuse_if_fenced(self, head: Head) -> None:
        """A writer that slept through its lease was given up, and others may have written since: its change is too
        old to be sealed anew over theirs. Raises `Fenced`."""
        winner = await self.read(head.subject, head.revision)
        if winner.state == ABANDONED and winner.body.get("abandoned_commit_id") == head.commit_id:
            raise Fenced("This change took too long and was given up; look at the current state, then try again.")

    async def _settle(self, head: Head, settled: Settled[T]) -> T:

        async def move(connection: Connection) -> T:
            await self._apply(connection, head)
            result = await settled(connection, head)
            await connection.execute(_own_ticket(head.subject, head.commit_id))
            return result

        result = await self._database.transact(move)
        failpoint(f"{self._kinds[head.subject.kind].steps}.settled")
        return result

    async def _apply(self, connection: Connection, head: Head) -> None:
        """Alone per subject: a row lock cannot keep two adopters of a subject apart that has no row yet."""
        await self._database.exclude(connection, head.subject.ticket_key)
        await self._kinds[head.subject.kind].apply(connection, head)

    async def _drop_ticket(self, head: Head) -> None:
        async def drop(connection: Connection) -> None:
            await connection.execute(_own_ticket(head.subject, head.commit_id))

        await self._database.transact(drop)

    async def _resolve(self, ticket: _Ticket) -> None:
        """Fences the ticket's writer off, or adopts what it had committed."""
        kind = self._kinds[ticket.subject.kind]
        fence = Head(
            ticket.subject,
            ticket.revision,
            ABANDONED,
            new_commit_id(self._random),
            await self._now(),
            {"abandoned_commit_id": ticket.commit_id},
        )
        key = kind.head_key(ticket.subject, ticket.revision)
        outcome = await self._store.create(key, fence.to_bytes(), commit_id=fence.commit_id)
        failpoint(f"{self._kinds[ticket.subject.kind].steps}.fenced")
        created = outcome is CreateOutcome.CREATED
        head = fence if created else await self.read(ticket.subject, ticket.revision)

        async def move(connection: Connection) -> None:
            await self._apply(connection, head)
            await connection.execute(_own_ticket(ticket.subject, ticket.commit_id))

        await self._database.transact(move)
        failpoint(f"{self._kinds[ticket.subject.kind].steps}.resolved")
        metrics.RECONCILED.labels("abandoned" if created else "adopted").inc()
        log.warning(
            "commit.resolved",
            subject=ticket.subject.ticket_key,
            revision=ticket.revision,
            outcome="abandoned" if created else "adopted",
        )

    async def _sound(self, subject: Subject, revision: int) -> Head | None:
        try:
            return await self.read(subject, revision)
        except DataCorrupt:
            return None

    async def _revisions(self, subject: Subject) -> list[int]:
        prefix = self._kinds[subject.kind].heads_prefix(subject)
        names = [info.key.removeprefix(prefix) async for info in self._store.list(prefix)]
        return [int(name.removesuffix(".json")) for name in names if name.removesuffix(".json").isdecimal()]

    async def _now(self) -> datetime:
        async with self._database.read() as connection:
            return await self._database.now(connection)


def _own_ticket(subject: Subject, commit_id: CommitId) -> sa.Delete:
    return sa.delete(commit_tickets).where(
        commit_tickets.c.subject == subject.ticket_key, commit_tickets.c.commit_id == commit_id
    )


def _ticket(row: sa.Row[Any]) -> _Ticket:
    return _Ticket(
        Subject(row.kind, row.tenant_id, row.subject_id), row.revision, CommitId(row.commit_id), row.sealed_at
    )
