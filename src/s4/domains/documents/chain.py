"""How a document's head moves the catalog: the only code that changes what a document is.

A head's body, by state:

- `live`: key, version_id, content_revision, filename, content_type, size, sha256, metadata, uploaded_at, and after an
  upload with an Idempotency-Key: idempotency {key_hash, fingerprint, created}. Of an archived document: archived_at.
  Where it came out of the archive: restores. Under a legal hold: holds, {tenant|operator: {reason, placed_at}}.
- `tombstone`: the key only, and expired {after_days} where its retention was over. Whoever reads the chain learns that
  the document was deleted.
- `abandoned`: nothing happened.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from s4.domains import usage
from s4.domains.documents import jobs
from s4.domains.documents.metadata import flatten
from s4.domains.documents.model import Document
from s4.domains.documents.queries import idempotency, reservations, rows
from s4.domains.events import EventKind, Events
from s4.domains.plans.model import plan_from
from s4.domains.tenants import queries as tenant_queries
from s4.domains.usage import Room
from s4.kernel import keys
from s4.kernel.clock import parse_moment, parse_rfc3339, rfc3339
from s4.kernel.ids import DocumentId, TenantId, VersionId
from s4.kernel.keys import ObjectKey, ObjectPrefix
from s4.platform.chains import ABANDONED, Head, Subject
from s4.platform.database import Connection
from s4.platform.jobs import Queue

KIND = "document"
LIVE = "live"
TOMBSTONE = "tombstone"


def subject(tenant_id: TenantId, document_id: DocumentId) -> Subject:
    return Subject(KIND, tenant_id, document_id)


def live_body(document: Document) -> dict[str, Any]:
    """What a head says of a document that stays as it is."""
    said: dict[str, Any] = {
        "key": document.key,
        "version_id": document.version_id,
        "content_revision": document.content_revision,
        "filename": document.filename,
        "content_type": document.content_type,
        "size": document.size_bytes,
        "sha256": document.sha256,
        "metadata": dict(document.metadata),
        "uploaded_at": rfc3339(document.uploaded_at),
    }
    if document.archived_at is not None:
        said["archived_at"] = rfc3339(document.archived_at)
    if document.holds:
        said["holds"] = dict(document.holds)
    return said


def reprocessed_body(document: Document) -> dict[str, Any]:
    """What the next head says of one that is indexed anew; out of the archive, where it was there."""
    said = live_body(document) | {"content_revision": document.revision + 1}
    if said.pop("archived_at", None) is not None:
        said["restores"] = True
    return said


IsNews = Callable[[Connection], Awaitable[bool]]
"""Whether what moves the catalog happened now. A catalog that is being rebuilt moves, and nothing has happened."""


def told_of(row: Any) -> dict[str, Any]:
    """What every event of a document says of it; `row` is the catalog's."""
    return {"document_id": row.document_id, "key": row.key, "filename": row.filename, "version": row.revision}


class DocumentChain:
    """A `ChainKind`. The balance is moved last: everybody else who changes documents of this tenant waits for it."""

    name = KIND
    steps = KIND

    def __init__(self, queue: Queue, events: Events, is_news: IsNews) -> None:
        self._queue = queue
        self._events = events
        self._is_news = is_news

    def head_key(self, subject: Subject, revision: int) -> ObjectKey:
        return keys.document_head(TenantId(subject.tenant_id), DocumentId(subject.subject_id), revision)

    def heads_prefix(self, subject: Subject) -> ObjectPrefix:
        return keys.document_heads(TenantId(subject.tenant_id), DocumentId(subject.subject_id))

    async def revision(self, connection: Connection, subject: Subject) -> int:
        row = await rows.lock(connection, subject.tenant_id, subject.subject_id)
        return row.revision if row is not None else 0

    async def apply(self, connection: Connection, head: Head) -> None:
        tenant_id, document_id = TenantId(head.subject.tenant_id), DocumentId(head.subject.subject_id)
        row = await rows.lock(connection, tenant_id, document_id)
        if row is not None and row.revision >= head.revision:
            return
        if head.state == ABANDONED:
            if row is None:
                await rows.put(connection, rows.void_row(head))
            else:
                await rows.update(connection, tenant_id, document_id, revision=head.revision)
        elif head.state == TOMBSTONE:
            await self._bury(connection, head, row)
        else:
            await self._set(connection, head, row)

    async def apply_new(self, connection: Connection, chains: Sequence[Sequence[Head]]) -> set[Subject]:
        """For documents that are live, and not archived."""
        of_tenant: dict[TenantId, list[Sequence[Head]]] = {}
        for chain in chains:
            of_tenant.setdefault(TenantId(chain[0].subject.tenant_id), []).append(chain)
        done: set[Subject] = set()
        for tenant_id, of in of_tenant.items():
            known = await rows.lock_all(connection, tenant_id, [chain[0].subject.subject_id for chain in of])
            heads = [chain[0] for chain in of if len(chain) == 1 and _is_plain(chain[0], known)]
            if heads:
                await self._add(connection, tenant_id, heads)
            done.update(head.subject for head in heads)
        return done

    async def _add(self, connection: Connection, tenant_id: TenantId, heads: Sequence[Head]) -> None:
        """What `_set` does where there is no row, for many documents in as many statements as for one."""
        fields = {head.subject.subject_id: list(flatten(head.body["metadata"])) for head in heads}
        await rows.add_all(connection, [_row(head) | {"searchable_floor": 0} for head in heads], fields)
        released = await reservations.drop(connection, *(VersionId(head.body["version_id"]) for head in heads))
        await idempotency.remember(connection, *filter(_has_an_answer, heads))
        await self._queue.enqueue(
            connection, *(jobs.index(tenant_id, DocumentId(head.subject.subject_id)) for head in heads)
        )
        if await self._is_news(connection):
            for head in heads:
                await usage.add(connection, tenant_id, head.committed_at, {"documents_uploaded": 1})
        await self._move_balance(
            connection, heads[-1], Room(sum(head.body["size"] for head in heads), len(heads)), released
        )

    async def _set(self, connection: Connection, head: Head, row: Any) -> None:
        tenant_id, document_id = TenantId(head.subject.tenant_id), DocumentId(head.subject.subject_id)
        body = head.body
        was_live = row is not None and row.state == LIVE
        values = _row(head) | {"searchable_floor": row.searchable_floor if row is not None else 0}
        content_changed = not was_live or row.content_revision != body["content_revision"]
        archived_at = parse_moment(body.get("archived_at"))
        if archived_at is not None:
            values |= rows.ARCHIVED | {"archived_at": archived_at, "searchable_floor": head.revision}
        elif content_changed:
            values |= rows.PROCESSING | {"restoring": bool(body.get("restores"))}
        await rows.put(connection, values)
        await rows.replace_fields(connection, tenant_id, document_id, list(flatten(body["metadata"])))
        released = await reservations.drop(connection, VersionId(body["version_id"]))
        if _has_an_answer(head):
            await idempotency.remember(connection, head)
        was_archived = was_live and row.archived_at is not None
        if archived_at is not None:
            if not was_archived:
                await self._leave_the_index(connection, head)
        elif content_changed:
            await self._queue.enqueue(connection, jobs.index(tenant_id, document_id))
            if not body.get("restores"):
                await self._count(connection, head, "documents_uploaded")
        if was_archived != (archived_at is not None) or (was_archived and row.version_id != body["version_id"]):
            await self._queue.enqueue(connection, jobs.move(tenant_id, document_id))
        replaced = Room(row.size_bytes, 1) if was_live else Room(0)
        await self._move_balance(
            connection, head, Room(body["size"] - replaced.size_bytes, 1 - replaced.documents), released
        )

    async def _bury(self, connection: Connection, head: Head, row: Any) -> None:
        tenant_id, document_id = TenantId(head.subject.tenant_id), DocumentId(head.subject.subject_id)
        await rows.put(
            connection,
            rows.void_row(head) | {"state": TOMBSTONE, "key": head.body["key"], "searchable_floor": head.revision},
        )
        await rows.replace_fields(connection, tenant_id, document_id, [])
        if row is not None and row.state == LIVE:
            await self._events.emit(
                connection,
                tenant_id,
                EventKind.DOCUMENT_DELETED,
                told_of(row) | {"version": head.revision},
                once=f"{document_id}/{head.revision}",
            )
        await self._leave_the_index(connection, head)
        if row is not None and row.state == LIVE:
            await self._move_balance(connection, head, Room(-row.size_bytes, -1), Room(0))
            await self._count(connection, head, "documents_deleted")

    async def _count(self, connection: Connection, head: Head, what: str) -> None:
        """What happened before this catalog was made is in the roll-ups of use."""
        if await self._is_news(connection):
            await usage.add(connection, head.subject.tenant_id, head.committed_at, {what: 1})

    async def _leave_the_index(self, connection: Connection, head: Head) -> None:
        tenant_id, document_id = head.subject.tenant_id, head.subject.subject_id
        await self._queue.forget(connection, jobs.index(tenant_id, document_id))
        await self._queue.enqueue(connection, jobs.unindex(tenant_id, document_id, revision=head.revision))

    async def _move_balance(self, connection: Connection, head: Head, stored: Room, released: Room) -> None:
        tenant_id = TenantId(head.subject.tenant_id)
        row = await tenant_queries.with_plan(connection, tenant_id, head.committed_at)
        limit_bytes = plan_from(row.plan_id, row.plan_body).limits.storage_bytes_max if row is not None else None
        crossings = await usage.settle(connection, tenant_id, stored=stored, released=released, limit_bytes=limit_bytes)
        if not crossings or not await self._is_news(connection):
            return
        for crossing in crossings:
            said = {
                "threshold_percent": crossing.threshold_percent,
                "storage_used": crossing.stored_bytes,
                "storage_limit": crossing.limit_bytes,
                "storage_used_percent": round(100 * crossing.stored_bytes / crossing.limit_bytes, 2),
            }
            await self._events.emit(connection, tenant_id, EventKind.STORAGE_LIMIT_APPROACHING, said)


def _row(head: Head) -> dict[str, Any]:
    """What the head of a live document says, as columns."""
    body = head.body
    return {
        "tenant_id": head.subject.tenant_id,
        "document_id": head.subject.subject_id,
        "revision": head.revision,
        "state": LIVE,
        "key": body["key"],
        "version_id": body["version_id"],
        "content_revision": body["content_revision"],
        "filename": body["filename"],
        "content_type": body["content_type"],
        "size_bytes": body["size"],
        "sha256": body["sha256"],
        "metadata": body["metadata"],
        "uploaded_at": parse_rfc3339(body["uploaded_at"]),
        "updated_at": head.committed_at,
        "held": bool(body.get("holds")),
        "holds": body.get("holds"),
    }


def _is_plain(head: Head, known: set[str]) -> bool:
    return (
        head.subject.subject_id not in known
        and head.state == LIVE
        and not {"archived_at", "restores"} & head.body.keys()
    )


def _has_an_answer(head: Head) -> bool:
    """Whether it came with an Idempotency-Key, and no other revision since."""
    return "idempotency" in head.body and head.body["content_revision"] == head.revision
