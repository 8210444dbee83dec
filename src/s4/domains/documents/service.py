"""What a caller does with documents, uploading apart: read, list, patch, reprocess, delete, download."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from s4.domains.documents import texts
from s4.domains.documents.chain import live_body, reprocessed_body, subject
from s4.domains.documents.metadata import MetadataLimits, merge_patch, validate
from s4.domains.documents.model import (
    Document,
    ListFilter,
    missing,
)
from s4.domains.documents.queries import holds, listing, rows, scope
from s4.engine.extraction.model import ExtractedText
from s4.kernel import keys
from s4.kernel.context import TenantContext
from s4.kernel.errors import Conflict, DataCorrupt, NotFound, S4Error
from s4.kernel.ids import DocumentId, TenantId, document_id_for_key
from s4.kernel.pages import PageRequest
from s4.kernel.permissions import Permission
from s4.platform.chains import Chains, Draft, Head
from s4.platform.database import Connection, Database
from s4.platform.http.preconditions import NO_PRECONDITIONS, Preconditions
from s4.platform.objects import ObjectMissing, ObjectStore

_WAIT_POLL_SECONDS = 0.03  # first look again after so long, then after a tenth of the time waited, up to the next bound
_WAIT_POLL_SECONDS_MAX = 0.5
_BULK_PARALLEL = 8  # deletions in flight: each costs one small PUT


class DocumentService:
    """Every method takes the caller's context first and never leaves its tenant, nor the part of it that
    the caller's key is bound to."""

    def __init__(self, database: Database, store: ObjectStore, chains: Chains, metadata_limits: MetadataLimits) -> None:
        self._database = database
        self._store = store
        self._chains = chains
        self._metadata_limits = metadata_limits

    # -- read

    async def get(self, context: TenantContext, document_id: DocumentId) -> Document:
        """Raises `NotFound`."""
        context.require(Permission.DOCUMENTS_READ)
        async with self._database.read() as connection:
            document = await rows.get(connection, context, document_id)
        if document is None:
            raise missing()
        return document

    async def wait(
        self,
        context: TenantContext,
        document_id: DocumentId,
        *,
        at_most: timedelta,
        leaving: Callable[[], bool] = lambda: False,
    ) -> Document:
        """The document as soon as it is in an end state; as it is after `at_most`, or when the process is `leaving`."""
        started = time.monotonic()
        while True:
            document = await self.get(context, document_id)
            waited_seconds = time.monotonic() - started
            left_seconds = at_most.total_seconds() - waited_seconds
            if not document.status.is_pending or left_seconds <= 0 or leaving():
                return document
            pause_seconds = min(max(waited_seconds / 10, _WAIT_POLL_SECONDS), _WAIT_POLL_SECONDS_MAX)
            await asyncio.sleep(min(pause_seconds, left_seconds))

    def id_for_key(self, context: TenantContext, key: str) -> DocumentId:
        return document_id_for_key(context.tenant_id, key)

    async def page(
        self, context: TenantContext, wanted: ListFilter, request: PageRequest
    ) -> tuple[list[Document], int, str | None]:
        """Newest first; the number of all that match; the cursor of the next page or None."""
        context.require(Permission.DOCUMENTS_READ)
        async with self._database.read() as connection:
            return await listing.page(connection, context, wanted, request)

    async def text(self, context: TenantContext, document_id: DocumentId) -> tuple[Document, ExtractedText]:
        """The extracted text. Raises `NotFound`, `Conflict` while there is none."""
        document = await self.get(context, document_id)
        text = await texts.load(self._store, document)
        if text is not None:
            return document, text
        if document.status.is_pending:
            raise Conflict("The text is not extracted yet; ask again with the document's wait parameter.")
        raise NotFound("There is no text of this document.", details={"status": document.status.value})

    async def note_access(self, document: Document) -> None:
        """Remembers that the document was read."""
        async with self._database.read() as connection:
            now = await self._database.now(connection)
        if document.last_accessed_at is None or now - document.last_accessed_at > rows.ACCESS_NOTED_EVERY:
            await self._database.transact(lambda c: rows.touch(c, document.tenant_id, [document.document_id], now))

    async def opened_content(self, document: Document, *, start: int, end: int) -> AsyncIterator[bytes]:
        """As `content`, with the first bytes in hand: what cannot be read raises here, before anything is answered."""
        parts = self.content(document, start=start, end=end)
        try:
            first = await anext(parts)
        except ObjectMissing as error:
            raise DataCorrupt(f"The bytes of {document.document_id} are missing in the store.") from error

        async def all_parts() -> AsyncIterator[bytes]:
            yield first
            async for part in parts:
                yield part

        return all_parts()

    def content(self, document: Document, *, start: int = 0, end: int | None = None) -> AsyncIterator[bytes]:
        """The bytes from `start` up to, not including, `end`. Raises `Unavailable` when the store breaks off."""
        key = keys.content(document.tenant_id, document.document_id, document.version_id)
        return self._store.stream(key, start=start, end=end)

    # -- change

    async def patch_metadata(
        self,
        context: TenantContext,
        document_id: DocumentId,
        patch: Mapping[str, Any],
        *,
        preconditions: Preconditions = NO_PRECONDITIONS,
    ) -> Document:
        """RFC 7396 merge patch. Touches no index row and computes no embedding."""

        def draft(current: Document) -> Draft:
            metadata = validate(merge_patch(current.metadata, patch), self._metadata_limits)
            scope.require_within(context.restriction, current.key, metadata)
            return Draft("live", live_body(current) | {"metadata": metadata})

        return await self._change(context, document_id, draft, preconditions)

    async def reprocess(self, context: TenantContext, document_id: DocumentId) -> Document:
        """Extracts and indexes anew. Legal in every state; the old text stays searchable until the new one is. What is
        archived comes out of the archive by it."""

        def draft(current: Document) -> Draft:
            return Draft("live", reprocessed_body(current))

        return await self._change(context, document_id, draft, NO_PRECONDITIONS)

    async def delete(
        self,
        context: TenantContext,
        document_id: DocumentId,
        *,
        preconditions: Preconditions = NO_PRECONDITIONS,
    ) -> None:
        """Gone from every read and search when this returns. Legal in every state. Raises `NotFound`, and `Conflict`
        under a legal hold."""
        context.require(Permission.DOCUMENTS_WRITE)

        async def seal(connection: Connection, _: datetime) -> Draft:
            current = await rows.get(connection, context, document_id)
            if current is None:
                raise missing()
            preconditions.check_write(current.revision)
            await holds.require_free(connection, current)
            return Draft("tombstone", {"key": current.key})

        async def settled(_connection: Connection, _head: Head) -> None:
            return None

        await self._chains.commit(subject(context.tenant_id, document_id), seal=seal, settled=settled)

    async def bulk_delete(
        self, context: TenantContext, document_ids: Sequence[DocumentId]
    ) -> tuple[list[DocumentId], list[DocumentId]]:
        """(deleted, held), in the order asked; the others there are not."""
        context.require(Permission.DOCUMENTS_WRITE)
        gate = asyncio.Semaphore(_BULK_PARALLEL)
        unique = list(dict.fromkeys(document_ids))

        async def one(document_id: DocumentId) -> type[S4Error] | None:
            async with gate:
                try:
                    await self.delete(context, document_id)
                except (NotFound, Conflict) as error:
                    return type(error)
                return None

        outcomes = await asyncio.gather(*(one(document_id) for document_id in unique))
        deleted = [d for d, refused in zip(unique, outcomes, strict=True) if refused is None]
        return deleted, [d for d, refused in zip(unique, outcomes, strict=True) if refused is Conflict]

    async def adopt(self, tenant_id: TenantId, document_id: DocumentId) -> int:
        """For reconcilers and rebuild: follows the document's chain in the bucket. Answers with the revision."""
        return await self._chains.adopt(subject(tenant_id, document_id))

    async def _change(
        self,
        context: TenantContext,
        document_id: DocumentId,
        draft: Callable[[Document], Draft],
        preconditions: Preconditions,
    ) -> Document:
        context.require(Permission.DOCUMENTS_WRITE)

        async def seal(connection: Connection, _: datetime) -> Draft:
            current = await rows.get(connection, context, document_id)
            if current is None:
                raise missing()
            preconditions.check_write(current.revision)
            return draft(current)

        async def settled(connection: Connection, _: Head) -> Document:
            document = await rows.get(connection, context, document_id)
            if document is None:
                raise missing()
            return document

        target = subject(context.tenant_id, document_id)
        return await self._chains.commit(target, seal=seal, settled=settled)
