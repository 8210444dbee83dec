"""What the calendar does with documents: deletes what was kept for as long as was said, archives what nobody reads.

How long is said by the tenant, else by its plan, else by nobody, and then for ever. Nothing goes before its date: the
date is looked at again, with the policy and the holds of that moment, in the transaction that seals the change. The
clock is the database's. What was read is told by the catalog alone; so one that was rebuilt counts from its own first
day on, and archives nothing earlier.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial

import structlog

from s4.domains import audit
from s4.domains.documents.keeping.archive import Archive, archived
from s4.domains.documents.keeping.changes import change
from s4.domains.documents.model import Document
from s4.domains.documents.queries import holds, rows
from s4.domains.documents.queries import keeping as queries
from s4.domains.documents.queries.keeping import Tally
from s4.domains.tenants import Keeping
from s4.domains.tenants import queries as tenant_queries
from s4.domains.tenants.queries import KeepingRow
from s4.kernel.clock import rfc3339
from s4.kernel.context import SYSTEM_ACTOR, Actor, AdminContext
from s4.kernel.errors import Conflict, DataCorrupt, NotFound
from s4.kernel.ids import DocumentId, TenantId
from s4.kernel.permissions import Permission
from s4.platform.chains import Chains, Draft, Head
from s4.platform.database import Connection, Database
from s4.platform.jobs import RegularJob
from s4.platform.telemetry import metrics

log = structlog.get_logger()

RETENTION = "documents.retention"
_AT_ONCE = 500  # documents of a tenant between two looks at what is due
_PARALLEL = 8  # each costs one small PUT
_DOCUMENTS_MAX = 10_000  # of one run and tenant; the next run goes on

ServingSince = Callable[[Connection], Awaitable[datetime | None]]
"""Since when this catalog is the bucket's; None while it is being rebuilt."""


@dataclass(frozen=True, slots=True)
class Due:
    """Of one tenant: what goes now. `held`: what would go, but for a legal hold."""

    tenant_id: TenantId
    policy: Keeping
    expired: Tally
    held: Tally
    unread: Tally
    next_expiring: tuple[Document, ...] = ()


@dataclass(slots=True)
class Done:
    """What a run did."""

    deleted: int = 0
    deleted_bytes: int = 0
    archived: int = 0
    held: int = 0
    tenants: set[TenantId] = field(default_factory=set)


class Retention:
    """Call `run` regularly; twice does no harm."""

    def __init__(
        self, database: Database, chains: Chains, archive: Archive, serving_since: ServingSince, *, every: timedelta
    ) -> None:
        self._database = database
        self._chains = chains
        self._archive = archive
        self._serving_since = serving_since
        self._every = every

    def regular_jobs(self) -> list[RegularJob]:
        return [RegularJob(RETENTION, self._every, self._sweep)]

    async def due(
        self, context: AdminContext, *, tenant_id: TenantId | None = None, ahead: timedelta = timedelta(0)
    ) -> tuple[datetime, list[Due]]:
        """The dry run: what would go at the moment that is answered, `ahead` of now; of tenants where anything
        would."""
        context.require(Permission.ADMIN_READ)
        async with self._database.read() as connection:
            now = await self._database.now(connection) + ahead
            since = await self._serving_since(connection)
        found = []
        async for row in self._tenants(now, tenant_id):
            async with self._database.read() as connection:
                due = await self._due_of(connection, row, now, since)
            if due.expired.documents or due.held.documents or due.unread.documents:
                found.append(due)
        return now, found

    async def run(self, context: AdminContext, *, tenant_id: TenantId | None = None) -> Done:
        """At once, for an administrator, what the worker does regularly."""
        context.require(Permission.ADMIN_WRITE)
        return await self._run(context.actor, tenant_id)

    async def _sweep(self) -> None:
        done = await self._run(SYSTEM_ACTOR, None)
        if done.deleted or done.archived:
            log.info("retention.applied", deleted=done.deleted, archived=done.archived, held=done.held)

    async def _run(self, actor: Actor, tenant_id: TenantId | None) -> Done:
        done = Done()
        async with self._database.read() as connection:
            now = await self._database.now(connection)
            since = await self._serving_since(connection)
        if since is None:
            return done
        async for row in self._tenants(now, tenant_id):
            policy = policy_of(row)
            if policy.retention_days is not None:
                await self._expire_of(actor, row, now, policy.retention_days, done)
            if policy.archive_after_days is not None:
                await self._archive_of(row, now, since, policy.archive_after_days, done)
        return done

    async def _tenants(self, now: datetime, only: TenantId | None) -> AsyncIterator[KeepingRow]:
        """Those that have anything to do with days. Raises `NotFound` for one that there is not."""
        after = ""
        while True:
            async with self._database.read() as connection:
                found = await tenant_queries.keeping(connection, now, after=after, only=only)
            if only is not None and not found:
                raise NotFound("No such tenant.")
            for row in found:
                if policy_of(row) != Keeping():
                    yield row
            if only is not None or not found:
                return
            after = found[-1].tenant_id

    async def _due_of(self, connection: Connection, row: KeepingRow, now: datetime, since: datetime | None) -> Due:
        policy = policy_of(row)
        expired = held = unread = Tally(0, 0)
        soon: tuple[Document, ...] = ()
        if policy.retention_days is not None:
            by = now - timedelta(days=policy.retention_days)
            expired, held = await queries.tally_uploaded(connection, row.tenant_id, by)
            if row.is_held:
                both = Tally(expired.documents + held.documents, expired.size_bytes + held.size_bytes)
                expired, held = Tally(0, 0), both
            else:
                soon = tuple(await queries.uploaded_by(connection, row.tenant_id, by, limit=10))
        if policy.archive_after_days is not None:
            by = now - timedelta(days=policy.archive_after_days)
            if since is not None and since <= by:
                unread = await queries.tally_unread(connection, row.tenant_id, by)
        return Due(row.tenant_id, policy, expired, held, unread, soon)

    async def _expire_of(self, actor: Actor, row: KeepingRow, now: datetime, days: int, done: Done) -> None:
        by = now - timedelta(days=days)
        async with self._database.read() as connection:
            _, held = await queries.tally_uploaded(connection, row.tenant_id, by)
        done.held += held.documents
        if row.is_held:
            return
        gone = await self._each(row, by, queries.uploaded_by, partial(self._expire, actor), done)
        done.deleted += len(gone)
        done.deleted_bytes += sum(document.size_bytes for document in gone)

    async def _expire(self, actor: Actor, document: Document) -> bool:
        tenant_id, document_id = document.tenant_id, document.document_id

        async def find(connection: Connection) -> Document | None:
            return await rows.live(connection, tenant_id, document_id)

        async def decide(connection: Connection, now: datetime, current: Document) -> Draft | None:
            policy = await self._policy(connection, tenant_id, now)
            days = policy.retention_days
            if days is None or current.uploaded_at > now - timedelta(days=days):
                return None  # replaced, or kept longer, since we looked
            await holds.require_free(connection, current)
            return Draft("tombstone", {"key": current.key, "expired": {"after_days": days}})

        async def noted(connection: Connection, before: Document, head: Head) -> None:
            await audit.record(
                connection,
                actor,
                "document.expired",
                f"document/{document_id}",
                tenant_id=tenant_id,
                before={"revision": before.revision, "sha256": before.sha256, "size": before.size_bytes,
                        "uploaded_at": rfc3339(before.uploaded_at)},
                after=head.body["expired"],
            )  # fmt: skip

        try:
            _, gone = await change(
                self._database, self._chains, tenant_id, document_id, find=find, decide=decide, noted=noted
            )
        except (NotFound, Conflict):  # another was faster, or a hold was
            return False
        if gone:
            metrics.LIFECYCLE_OBJECTS.labels("expired").inc()
            metrics.RETENTION_PURGED_BYTES.inc(document.size_bytes)
        return gone

    async def _archive_of(self, row: KeepingRow, now: datetime, since: datetime, days: int, done: Done) -> None:
        by = now - timedelta(days=days)
        if since > by:
            return

        async def still_due(connection: Connection, now: datetime, current: Document) -> Draft | None:
            policy = await self._policy(connection, current.tenant_id, now)
            days = policy.archive_after_days
            read_at = max(filter(None, (current.uploaded_at, current.last_accessed_at)))
            if days is None or read_at > now - timedelta(days=days):
                return None
            return archived(current, now)

        archive = partial(self._archive_one, still_due=still_due)
        done.archived += len(await self._each(row, by, queries.unread_since, archive, done))

    async def _archive_one(
        self, document: Document, *, still_due: Callable[[Connection, datetime, Document], Awaitable[Draft | None]]
    ) -> bool:
        try:
            return await self._archive.archive_unread(document, still_due=still_due)
        except NotFound:
            return False

    async def _each(
        self,
        row: KeepingRow,
        by: datetime,
        find: Callable[..., Awaitable[list[Document]]],
        act: Callable[[Document], Awaitable[bool]],
        done: Done,
    ) -> list[Document]:
        """`act` on what `find` finds. Answers with those that it was done to. A document of which nobody can read what
        it is stays as it is, and keeps no other back."""
        gone: list[Document] = []
        in_doubt: set[DocumentId] = set()
        gate = asyncio.Semaphore(_PARALLEL)

        async def one(document: Document) -> bool:
            async with gate:
                try:
                    return await act(document)
                except DataCorrupt as error:
                    log.error("retention.document_in_doubt", document_id=document.document_id, error=error.message)
                    in_doubt.add(document.document_id)
                    return False

        for _ in range(_DOCUMENTS_MAX // _AT_ONCE):
            async with self._database.read() as connection:
                found = await find(connection, row.tenant_id, by, limit=_AT_ONCE + len(in_doubt))
            due = [document for document in found if document.document_id not in in_doubt]
            acted = await asyncio.gather(*map(one, due))
            gone += [document for document, is_done in zip(due, acted, strict=True) if is_done]
            ended = acted.count(True) + sum(document.document_id in in_doubt for document in due)
            if ended < _AT_ONCE:  # the last ones, or some that were held or replaced meanwhile: the next run's
                break
        if gone:
            done.tenants.add(row.tenant_id)
        return gone

    async def _policy(self, connection: Connection, tenant_id: TenantId, now: datetime) -> Keeping:
        """That of the moment."""
        found = await tenant_queries.keeping(connection, now, only=tenant_id)
        return policy_of(found[0]) if found else Keeping()


def policy_of(row: KeepingRow) -> Keeping:
    """In which None is never."""
    return Keeping(
        _days(row.own.retention_days, row.plan_body.get("retention_days")),
        _days(row.own.archive_after_days, row.plan_body.get("archive_after_days")),
    )


def _days(own: int | None, of_plan: int | None) -> int | None:
    return (of_plan if own is None else own) or None
