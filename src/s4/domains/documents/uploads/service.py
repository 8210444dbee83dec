"""The write protocol for bytes: open, stream, seal, commit, settle.

Open reserves room in one transaction, and every refusal that can be known falls there, before a byte is read. The
content goes under a version of its own while it is hashed. Then the document's next head names the version, and that
is the moment it becomes true (see `platform/chains`). A caller that repeats with the same Idempotency-Key gets the
first answer again: the key's hash travels in the head, and without a document key the document's id is derived from it,
so that two racing repeats meet at one chain.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime
from typing import Any

from s4.domains import usage
from s4.domains.documents.chain import subject
from s4.domains.documents.model import Document, missing
from s4.domains.documents.queries import holds, idempotency, rows, scope
from s4.domains.documents.queries.idempotency import RememberedAnswer
from s4.domains.documents.uploads.model import (
    FinishRequest,
    Opened,
    StoredContent,
    UploadLimits,
    UploadRequest,
    UploadResult,
    document_from,
    fingerprint,
)
from s4.domains.documents.uploads.room import UploadRooms
from s4.kernel import keys
from s4.kernel.clock import rfc3339
from s4.kernel.context import TenantContext
from s4.kernel.errors import Conflict, PayloadTooLarge, Unavailable
from s4.kernel.ids import (
    DocumentId,
    RandomBytes,
    TenantId,
    document_id_for_key,
    new_document_id,
    new_version_id,
)
from s4.kernel.permissions import Permission
from s4.kernel.units import human_size
from s4.platform.chains import Chains, Draft, Fenced, Head
from s4.platform.database import Connection, Database
from s4.platform.faults import failpoint
from s4.platform.objects import ObjectStore

_DISCARD_WAIT_SECONDS = 1.0
_IDEMPOTENT_IDS_MAX = 1000  # documents that one Idempotency-Key may have named over the years


Noted = Callable[[Connection, Head], Awaitable[None]]


class _Replayed(Exception):
    """Another request with the same Idempotency-Key was first."""

    def __init__(self, answer: RememberedAnswer) -> None:
        self.answer = answer


class Uploads:
    """Receives documents."""

    def __init__(
        self,
        database: Database,
        store: ObjectStore,
        chains: Chains,
        random: RandomBytes,
        limits: UploadLimits,
    ) -> None:
        self._database = database
        self._store = store
        self._chains = chains
        self._random = random
        self._limits = limits
        self._rooms = UploadRooms(database, duration_max=limits.duration_max, idempotency=limits.idempotency)
        self._discarding: set[asyncio.Task[None]] = set()

    async def receive(
        self,
        context: TenantContext,
        request: UploadRequest,
        *,
        content: AsyncIterator[bytes],
        finish: FinishRequest | None = None,
        noted: Noted | None = None,
    ) -> UploadResult:
        """Stores `content` as a document. When this returns, the document is acknowledged: in the bucket, in the
        catalog, and on its way into the index. `noted` runs in the transaction that makes it visible.

        Raises `PayloadTooLarge`, `LimitReached`, `Conflict`, `PreconditionFailed`, `Unavailable`, and what reading
        `content` raises; then nothing of it is visible.
        """
        context.require(Permission.DOCUMENTS_WRITE)
        opened = await self._database.transact(lambda c: self._open_within(c, context, request, finish))
        failpoint("upload.opened")
        if opened.remembered is not None:
            replayed = await self._replay(context.tenant_id, request, opened.remembered, content, finish)
            scope.require_within(context.restriction, replayed.document.key, replayed.document.metadata)
            return replayed
        sealed = False
        try:
            stored, complete = await self._stream(context, opened, request, content, finish)
            failpoint("upload.streamed")
            scope.require_within(context.restriction, request.key, complete.metadata or {})

            async def seal(connection: Connection, now: datetime) -> Draft:
                nonlocal sealed
                sealed = False
                await _require_visible(connection, context, opened.document_id)
                draft = await self._seal(connection, now, context, opened, complete, stored)
                sealed = True
                return draft

            async def settled(connection: Connection, head: Head) -> UploadResult:
                if noted is not None:
                    await noted(connection, head)
                document = await rows.live(connection, context.tenant_id, opened.document_id)
                made = document_from(context.tenant_id, opened.document_id, head.revision, head.body)
                return UploadResult(
                    document if document is not None and document.revision == head.revision else made,
                    created=head.body["created"],
                )

            target = subject(context.tenant_id, opened.document_id)
            return await self._chains.commit(target, seal=seal, settled=settled)
        except _Replayed as replayed:
            await self._discard(context.tenant_id, opened)
            return self._answer(context.tenant_id, complete, stored, replayed.answer)
        except BaseException as error:
            # Once sealed, the head may be there although no answer came: then content and reservation stay until
            # the ticket is resolved. Only a fenced writer knows that it never will be.
            if not sealed or isinstance(error, Fenced):
                await self._discard_soon(context.tenant_id, opened)
            raise

    # -- open

    async def _open_within(
        self, connection: Connection, context: TenantContext, request: UploadRequest, finish: FinishRequest | None
    ) -> Opened:
        """`_open`, where the caller's bounds allow it. What follows the bytes is judged after them."""
        if finish is None:
            scope.require_within(context.restriction, request.key, request.metadata or {})
        else:
            scope.require_key_within(context.restriction, request.key)
        if request.key is not None:
            await _require_visible(connection, context, document_id_for_key(context.tenant_id, request.key))
        return await self._open(connection, context, request)

    async def _open(self, connection: Connection, context: TenantContext, request: UploadRequest) -> Opened:
        now = await self._database.now(connection)
        version_id = new_version_id(self._random)
        remembered, document_id = await self._identity(connection, now, context.tenant_id, request)
        opened = Opened(document_id, version_id, remembered=remembered)
        if remembered is not None:
            return opened  # what was done was allowed then, whatever the plan says now
        if max(request.declared_bytes or 0, request.bytes_at_least) > self._file_bytes_max(context):
            raise self.too_large(context)
        current = await self._check_current(connection, context.tenant_id, document_id, request)
        await usage.require_tokens(connection, context.tenant_id, context.plan, now)
        await self._rooms.open(connection, now, context, request, opened, current)
        return opened

    async def _identity(
        self, connection: Connection, now: datetime, tenant_id: TenantId, request: UploadRequest
    ) -> tuple[RememberedAnswer | None, DocumentId]:
        remembered = None
        if request.idempotency_hash is not None:
            remembered = await idempotency.find(connection, tenant_id, request.idempotency_hash)
            if remembered is not None and now - remembered.created_at < self._limits.idempotency:
                return remembered, remembered.document_id
        if request.key is not None:
            return None, document_id_for_key(tenant_id, request.key)
        if request.document_id is not None:
            return None, request.document_id
        if request.idempotency_key is None:
            return None, new_document_id(self._random)
        # The n-th document that this Idempotency-Key makes: an earlier one was made longer ago than it is remembered.
        for turn in range(_IDEMPOTENT_IDS_MAX):
            derived = document_id_for_key(tenant_id, f"\x00idempotency\x00{turn}\x00{request.idempotency_key}")
            row = await rows.lock(connection, tenant_id, derived)
            if row is None or now - row.updated_at < self._limits.idempotency:
                return None, derived
        raise Conflict("This Idempotency-Key has been used too often; choose another.")

    async def _check_current(
        self, connection: Connection, tenant_id: TenantId, document_id: DocumentId, request: UploadRequest
    ) -> Document | None:
        current = await rows.live(connection, tenant_id, document_id)
        if request.create_only and current is not None:
            raise Conflict("A document with this key exists; PUT replaces it.", details={"document_id": document_id})
        request.preconditions.check_write(current.revision if current is not None else None)
        if current is not None:
            await holds.require_free(connection, current)
        return current

    # -- stream

    async def _stream(
        self,
        context: TenantContext,
        opened: Opened,
        request: UploadRequest,
        content: AsyncIterator[bytes],
        finish: FinishRequest | None,
    ) -> tuple[StoredContent, UploadRequest]:
        digest = hashlib.sha256()
        size_bytes = 0
        bytes_max = self._file_bytes_max(context)
        key = keys.content(context.tenant_id, opened.document_id, opened.version_id)
        async with self._store.upload(key) as upload:
            async for chunk in content:
                size_bytes += len(chunk)
                if size_bytes > bytes_max:
                    raise self.too_large(context)
                if size_bytes > opened.promised_bytes:
                    await self._rooms.grow(context, request, opened, size_bytes, bytes_max=bytes_max)
                digest.update(chunk)
                await upload.write(chunk)
            complete = await finish(request) if finish is not None else request
            failpoint("upload.received")
            await upload.commit()
        return StoredContent(size_bytes, digest.hexdigest()), complete

    def too_large(self, context: TenantContext) -> PayloadTooLarge:
        """The refusal of a document that is larger than the plan, or this deployment, takes."""
        bytes_max = self._file_bytes_max(context)
        return PayloadTooLarge(
            f"The document is larger than {human_size(bytes_max)}.", details={"max_file_size": bytes_max}
        )

    def _file_bytes_max(self, context: TenantContext) -> int:
        of_plan = context.plan.file_bytes_max
        return min(self._limits.bytes_max, of_plan) if of_plan is not None else self._limits.bytes_max

    # -- seal

    async def _seal(
        self,
        connection: Connection,
        now: datetime,
        context: TenantContext,
        opened: Opened,
        request: UploadRequest,
        stored: StoredContent,
    ) -> Draft:
        tenant_id = context.tenant_id
        said: dict[str, Any] = {}
        if (key_hash := request.idempotency_hash) is not None:
            remembered = await idempotency.find(connection, tenant_id, key_hash)
            if remembered is not None and now - remembered.created_at < self._limits.idempotency:
                raise _Replayed(remembered)
            said = {"key_hash": key_hash, "fingerprint": fingerprint(request, stored)}
        current = await self._check_current(connection, tenant_id, opened.document_id, request)
        await self._rooms.make_exact(connection, context, request, opened, current, stored.size_bytes)
        row = await rows.lock(connection, tenant_id, opened.document_id)
        revision = (row.revision if row is not None else 0) + 1
        created = current is None
        body: dict[str, Any] = {
            "key": request.key,
            "version_id": opened.version_id,
            "content_revision": revision,
            "filename": request.filename,
            "content_type": request.content_type,
            "size": stored.size_bytes,
            "sha256": stored.sha256,
            "metadata": dict(request.metadata or {}),
            "uploaded_at": rfc3339(request.uploaded_at or now),
            "created": created,
        }
        if request.archived_at is not None:
            body["archived_at"] = rfc3339(request.archived_at)
        if request.holds:
            await holds.require_staying(connection, tenant_id)
            placed_at = rfc3339(now)
            body["holds"] = {who: {"reason": why, "placed_at": placed_at} for who, why in request.holds.items()}
        if said:
            body["idempotency"] = said | {"created": created}
        return Draft("live", body)

    # -- repeat and refuse

    async def _replay(
        self,
        tenant_id: TenantId,
        request: UploadRequest,
        answer: RememberedAnswer,
        content: AsyncIterator[bytes],
        finish: FinishRequest | None,
    ) -> UploadResult:
        """Reads the body only to compare it with the first one."""
        digest = hashlib.sha256()
        size_bytes = 0
        async for chunk in content:
            size_bytes += len(chunk)
            digest.update(chunk)
        complete = await finish(request) if finish is not None else request
        return self._answer(tenant_id, complete, StoredContent(size_bytes, digest.hexdigest()), answer)

    def _answer(
        self, tenant_id: TenantId, request: UploadRequest, stored: StoredContent, answer: RememberedAnswer
    ) -> UploadResult:
        if answer.fingerprint != fingerprint(request, stored):
            raise Conflict("This Idempotency-Key was used for another request; choose a new one.")
        document = document_from(tenant_id, answer.document_id, answer.revision, answer.body)
        return UploadResult(document, created=answer.body["created"], replayed=True)

    async def _discard_soon(self, tenant_id: TenantId, opened: Opened) -> None:
        """A refused caller waits for the clean-up only while it is quick; a store that hangs does not hold it."""
        task = asyncio.create_task(self._discard(tenant_id, opened))
        self._discarding.add(task)
        task.add_done_callback(self._discarding.discard)
        await asyncio.wait([task], timeout=_DISCARD_WAIT_SECONDS)

    async def _discard(self, tenant_id: TenantId, opened: Opened) -> None:
        """Gives the room back and removes the bytes. What fails here is left to the reconcilers."""
        try:
            await self._rooms.give_back(tenant_id, opened.version_id)
            failpoint("upload.released")
            await self._store.delete([keys.content(tenant_id, opened.document_id, opened.version_id)])
        except Unavailable:
            return


async def _require_visible(connection: Connection, context: TenantContext, document_id: DocumentId) -> None:
    """What stands where a bound key writes is its own to replace, or nothing. Raises `NotFound`."""
    if not context.restriction.binds or await rows.live(connection, context.tenant_id, document_id) is None:
        return
    if await rows.get(connection, context, document_id) is None:
        raise missing()
