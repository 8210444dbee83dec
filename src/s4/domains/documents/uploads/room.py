"""Room for the bytes of an upload, so that no tenant ever holds more than its plan allows, whatever runs at once.

Promised when the upload opens: the declared length; of a form, at most its own length; a first step where nothing was
declared. What grows beyond the promise asks for the next step before its bytes go to the store, each twice as large as
the one before. When the document is sealed, the promise becomes exactly what it adds: the whole of a new document, the
difference of a replacement that grows, nothing of one that shrinks. From there only the settlement or the release of a
given up upload moves it.

`upload_reservations` and the balance move in the same transaction, the reservation first and the balance last, so that
their sums are equal at every commit and no two transactions wait for each other.
"""

from datetime import datetime, timedelta

from s4.domains import usage
from s4.domains.documents.model import Document
from s4.domains.documents.queries import idempotency, reservations
from s4.domains.documents.uploads.model import Opened, UploadRequest
from s4.domains.usage import Room
from s4.kernel.context import TenantContext
from s4.kernel.errors import LimitReached, Unavailable
from s4.kernel.ids import TenantId, VersionId
from s4.kernel.units import KIB, MIB
from s4.platform.database import Connection, Database
from s4.platform.faults import failpoint

_FIRST_STEP_BYTES = 64 * KIB  # the most that comes off a connection at once
_STEP_BYTES_MAX = 8 * MIB  # a transaction for so many bytes weighs nothing beside sending them to the store


class UploadRooms:
    """Promises room to uploads, and takes it back."""

    def __init__(self, database: Database, *, duration_max: timedelta, idempotency: timedelta) -> None:
        self._database = database
        self._duration_max = duration_max
        self._idempotency = idempotency

    async def open(
        self,
        connection: Connection,
        now: datetime,
        context: TenantContext,
        request: UploadRequest,
        opened: Opened,
        current: Document | None,
    ) -> None:
        """Reserves what the request needs beyond what `current` frees. Raises `LimitReached`."""
        replaced_bytes = current.size_bytes if current is not None else 0
        at_least, at_most = request.bytes_at_least, request.bytes_at_most
        if request.declared_bytes is not None:
            at_least = at_most = request.declared_bytes
        elif at_most is None:
            at_most = _FIRST_STEP_BYTES
        promised = await self._reserve(
            connection,
            context,
            request,
            opened,
            at_least=Room(max(0, at_least - replaced_bytes), 0 if current is not None else 1),
            bytes_at_most=max(0, at_most - replaced_bytes),
        )
        await reservations.add(
            connection,
            context.tenant_id,
            opened.document_id,
            opened.version_id,
            room=promised,
            key_hash=request.idempotency_hash,
            now=now,
            expires_at=now + self._duration_max,
        )
        opened.promised_bytes = replaced_bytes + promised.size_bytes

    async def grow(
        self, context: TenantContext, request: UploadRequest, opened: Opened, received_bytes: int, *, bytes_max: int
    ) -> None:
        """Reserves the next step of an upload that has received more than it was promised. Raises `LimitReached`."""
        missing = received_bytes - opened.promised_bytes
        step = min(max(_FIRST_STEP_BYTES, opened.promised_bytes), _STEP_BYTES_MAX, bytes_max - opened.promised_bytes)

        async def reserve(connection: Connection) -> int:
            held = await self._alive(connection, opened)
            more = await self._reserve(
                connection, context, request, opened, at_least=Room(missing), bytes_at_most=max(missing, step)
            )
            reserved = Room(held.size_bytes + more.size_bytes, held.documents)
            await reservations.change(connection, opened.version_id, reserved)
            return more.size_bytes

        opened.promised_bytes += await self._database.transact(reserve)
        failpoint("upload.grown")

    async def make_exact(
        self,
        connection: Connection,
        context: TenantContext,
        request: UploadRequest,
        opened: Opened,
        current: Document | None,
        size_bytes: int,
    ) -> None:
        """Reserves what the settlement will take, no more and no less: `current` may be another than it was when the
        upload opened. Raises `LimitReached`."""
        held = await self._alive(connection, opened)
        replaced_bytes = current.size_bytes if current is not None else 0
        needed = Room(max(0, size_bytes - replaced_bytes), 0 if current is not None else 1)
        if needed == held:
            return
        await reservations.change(connection, opened.version_id, needed)
        await usage.release(
            connection,
            context.tenant_id,
            Room(max(0, held.size_bytes - needed.size_bytes), max(0, held.documents - needed.documents)),
        )
        missing = Room(max(0, needed.size_bytes - held.size_bytes), max(0, needed.documents - held.documents))
        if missing != Room(0):
            await self._reserve(
                connection, context, request, opened, at_least=missing, bytes_at_most=missing.size_bytes
            )

    async def give_back(self, tenant_id: TenantId, version_id: VersionId) -> None:
        """Ends the reservation, if there still is one."""

        async def release(connection: Connection) -> None:
            await usage.release(connection, tenant_id, await reservations.drop(connection, version_id))

        await self._database.transact(release)

    async def _alive(self, connection: Connection, opened: Opened) -> Room:
        held = await reservations.lock(connection, opened.version_id)
        if held is None:
            raise Unavailable("The upload took too long and was given up; send it again.")
        return held

    async def _reserve(
        self,
        connection: Connection,
        context: TenantContext,
        request: UploadRequest,
        opened: Opened,
        *,
        at_least: Room,
        bytes_at_most: int,
    ) -> Room:
        try:
            return await usage.reserve(
                connection, context.tenant_id, context.plan, at_least=at_least, bytes_at_most=bytes_at_most
            )
        except LimitReached as refusal:
            if await self._was_sent_before(connection, context.tenant_id, request, opened):
                raise Unavailable(
                    "The first request with this Idempotency-Key is not answered yet; ask again."
                ) from refusal
            raise

    async def _was_sent_before(
        self, connection: Connection, tenant_id: TenantId, request: UploadRequest, opened: Opened
    ) -> bool:
        """Whether the room is missing because the same request holds it already, or has just been settled: then it is
        for that one to say whether there is room. In this order, for the one follows the other."""
        if request.idempotency_hash is None:
            return False
        if await reservations.is_under_way(
            connection, tenant_id, request.idempotency_hash, other_than=opened.version_id
        ):
            return True
        remembered = await idempotency.find(connection, tenant_id, request.idempotency_hash)
        return remembered is not None and (
            await self._database.now(connection) - remembered.created_at < self._idempotency
        )
