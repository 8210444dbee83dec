"""The archive: documents whose bytes are kept and that nothing else is kept of.

Archiving is a head with `archived_at`. From that moment no search finds the document and no download is answered; its
rows leave the index behind it, and its bytes go into a colder storage class, where the store has one and the operator
named it. Restoring is a head without it that asks for the document to be indexed anew: the document is `restoring`,
its bytes can be read at once, and it is found again when it is `ready`.

A replacement, a reprocessing and a deletion are later heads than either, and what they say counts.
"""

from datetime import datetime
from typing import NoReturn

import structlog

from s4.domains import audit
from s4.domains.documents import jobs
from s4.domains.documents.chain import live_body, reprocessed_body
from s4.domains.documents.keeping.changes import Decide, Find, Noted, change
from s4.domains.documents.model import Document, DocumentStatus, missing
from s4.domains.documents.queries import rows
from s4.kernel import keys
from s4.kernel.clock import rfc3339
from s4.kernel.context import SYSTEM_ACTOR, Actor, TenantContext
from s4.kernel.errors import Conflict, DataCorrupt
from s4.kernel.ids import DocumentId, TenantId
from s4.kernel.permissions import Permission
from s4.platform.chains import Chains, Draft, Head
from s4.platform.database import Connection, Database
from s4.platform.jobs import JobHandler, JobRun
from s4.platform.objects import ObjectMissing, ObjectStore
from s4.platform.telemetry import metrics

log = structlog.get_logger()

RESTORE_SECONDS = 2  # after which it is worth asking again: by then a small document is back


class ArchivePlace:
    """Where bytes of archived documents lie. `storage_class` None: where all others do."""

    def __init__(self, store: ObjectStore, storage_class: str | None) -> None:
        self._store = store
        self._storage_class = storage_class

    async def bring(self, document: Document) -> None:
        """Moves the bytes into the class that the document's state asks for. Raises `DataCorrupt` when they are not
        those that were uploaded; then they stay where they were."""
        if self._storage_class is None:
            return
        key = keys.content(document.tenant_id, document.document_id, document.version_id)
        is_archived = document.status is DocumentStatus.ARCHIVED
        wanted = self._storage_class if is_archived else None
        moved = await self._store.move_class(key, wanted, sha256=document.sha256)
        if moved:
            metrics.LIFECYCLE_OBJECTS.labels("archived" if is_archived else "restored").inc()


class Archive:
    """Archives and restores, for a caller or by the calendar."""

    def __init__(self, database: Database, chains: Chains, place: ArchivePlace, *, restore_on_access: bool) -> None:
        self._database = database
        self._chains = chains
        self._place = place
        self._restore_on_access = restore_on_access

    def handlers(self) -> dict[str, JobHandler]:
        return {jobs.MOVE: JobHandler(self.move)}

    async def archive(self, context: TenantContext, document_id: DocumentId) -> Document:
        """Legal in every state; what is archived stays as it is. Raises `NotFound`."""
        context.require(Permission.DOCUMENTS_WRITE)

        async def decide(_: Connection, now: datetime, current: Document) -> Draft | None:
            return archived(current, now)

        return await self._change(context, document_id, decide, _noted(context.actor, "document.archive"))

    async def restore(self, context: TenantContext, document_id: DocumentId) -> Document:
        """Raises `NotFound`, `Conflict` for a document that is not archived; one that is being restored stays so."""
        context.require(Permission.DOCUMENTS_WRITE)

        async def decide(_c: Connection, _n: datetime, current: Document) -> Draft | None:
            if current.status is DocumentStatus.RESTORING:
                return None
            if current.archived_at is None:
                raise Conflict("This document is not archived.", details={"status": current.status.value})
            return Draft("live", reprocessed_body(current))

        return await self._change(context, document_id, decide, _noted(context.actor, "document.restore"))

    async def refuse_if_archived(self, context: TenantContext, document: Document) -> None:
        """For who is about to read a document's bytes or text: raises `Conflict` for an archived one, and has it
        brought back, where the operator wants that."""
        if document.archived_at is None:
            return
        if self._restore_on_access:
            document = await self._restore_for_reader(context, document)
        _refuse(document)

    async def archive_unread(self, document: Document, *, still_due: Decide) -> bool:
        """By the calendar. `still_due` answers None when it is not any more. Whether it was archived."""

        async def find(connection: Connection) -> Document | None:
            return await rows.live(connection, document.tenant_id, document.document_id)

        _, done = await change(
            self._database,
            self._chains,
            document.tenant_id,
            document.document_id,
            find=find,
            decide=still_due,
            noted=_noted(SYSTEM_ACTOR, "document.archive"),
        )
        return done

    async def move(self, run: JobRun) -> bool:
        """The job that an archived or restored document leaves behind. Looks at what it is by now."""
        tenant_id, document_id = TenantId(run.job.tenant_id), DocumentId(run.job.subject)
        async with self._database.read() as connection:
            document = await rows.live(connection, tenant_id, document_id)
        if document is None:
            return False
        try:
            await self._place.bring(document)
        except ObjectMissing as error:
            raise DataCorrupt(f"The bytes of {document_id} are missing in the store.") from error
        return False

    async def _restore_for_reader(self, context: TenantContext, document: Document) -> Document:
        """The reader's key may be one that writes nothing: it is the operator who wants this."""

        async def decide(_c: Connection, _n: datetime, current: Document) -> Draft | None:
            return Draft("live", reprocessed_body(current)) if current.archived_at is not None else None

        noted = _noted(context.actor, "document.restore_on_access")
        return await self._change(context, document.document_id, decide, noted)

    async def _change(self, context: TenantContext, document_id: DocumentId, decide: Decide, noted: Noted) -> Document:
        async def find(connection: Connection) -> Document | None:
            return await rows.get(connection, context, document_id)

        changing: Find = find
        document, _ = await change(
            self._database, self._chains, context.tenant_id, document_id, find=changing, decide=decide, noted=noted
        )
        if document is None:
            raise missing()  # deleted between the two
        return document


def archived(current: Document, now: datetime) -> Draft | None:
    """The head that archives; None for what is archived."""
    if current.archived_at is not None:
        return None
    return Draft("live", live_body(current) | {"archived_at": rfc3339(now)})


def _refuse(document: Document) -> NoReturn:
    said = "it is being brought back; ask again soon" if document.status.is_pending else "POST …/restore brings it back"
    raise Conflict(
        f"This document is archived: {said}.",
        details={
            "status": document.status.value,
            "restore": f"/api/v1/documents/{document.document_id}/restore",
            "retry_after_seconds": RESTORE_SECONDS if document.status.is_pending else None,
        },
    )


def _noted(actor: Actor, action: str) -> Noted:
    async def noted(connection: Connection, before: Document, _: Head) -> None:
        await audit.record(
            connection,
            actor,
            action,
            f"document/{before.document_id}",
            tenant_id=before.tenant_id,
            before={"status": before.status.value, "revision": before.revision},
        )

    return noted
