"""Taking in what another deployment has exported.

A document arrives as an upload does, within the plan of its tenant, and is indexed as every other: its text is taken
from its bytes again. What is not done again is what costs: its vectors came before it, under the names by which
indexing looks for them (`indexing/vectors_cache.py`), so that where the embedding space is the same and the text is
cut the same, nobody is asked for a vector.

Legal holds and the archive come with the document, in the head that makes it: at no moment is it here without them.
What its tenant has changed or deleted here stays as it is, unless whoever brings it says otherwise.
"""

import asyncio
import hashlib
import re
from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import datetime
from pathlib import Path

from s4.domains import audit
from s4.domains.access import AccessService
from s4.domains.documents import Document, UploadRequest, Uploads
from s4.domains.documents.queries import rows
from s4.domains.leaving.model import Arrival, Presence
from s4.domains.leaving.queries import exports as queries
from s4.domains.tenants import TenantService
from s4.engine.embedding.groups import encode_vectors
from s4.engine.vectors import VectorGroup, read_vector_groups
from s4.kernel import keys
from s4.kernel.clock import rfc3339
from s4.kernel.context import AdminContext
from s4.kernel.errors import Conflict, InvalidRequest
from s4.kernel.ids import DocumentId, TenantId, document_id_for_key
from s4.kernel.permissions import Permission
from s4.platform.chains import Head
from s4.platform.database import Connection, Database
from s4.platform.objects import ObjectStore

_PUTS_PARALLEL = 8  # small objects on their way to the store
_HASH = re.compile(r"[0-9a-f]{64}")


class ImportService:
    """For an administrator who may change the tenant. Each act can be repeated: what is there is not written again."""

    def __init__(
        self,
        database: Database,
        store: ObjectStore,
        tenants: TenantService,
        uploads: Uploads,
        access: AccessService,
    ) -> None:
        self._database = database
        self._store = store
        self._tenants = tenants
        self._uploads = uploads
        self._access = access

    async def begin(self, context: AdminContext, tenant_id: TenantId, *, source: str) -> None:
        """The audit trail knows where what comes is from."""
        await self._require(context, tenant_id)

        async def note(connection: Connection) -> None:
            await audit.record(
                connection, context.actor, "tenant.import", f"tenant/{tenant_id}", tenant_id=tenant_id,
                after={"source_tenant_id": source},
            )  # fmt: skip

        await self._database.transact(note)

    async def missing(
        self, context: AdminContext, tenant_id: TenantId, arrivals: Sequence[Arrival]
    ) -> dict[DocumentId, tuple[DocumentId, Presence]]:
        """By their ids there: their ids here, and what there is of them."""
        await self._require(context, tenant_id)
        here = {each.document_id: id_here(tenant_id, each) for each in arrivals}
        async with self._database.read() as connection:
            known = await queries.live_among(connection, tenant_id, sorted(set(here.values())))
            deleted = await queries.deleted_among(connection, tenant_id, sorted(set(here.values())))

        def presence(arrival: Arrival, identity: DocumentId) -> Presence:
            if identity in known:
                return Presence.HERE if _is_here(known[identity], arrival) else Presence.CHANGED
            return Presence.DELETED if identity in deleted else Presence.MISSING

        return {there: (here[there], presence(each, here[there])) for each in arrivals for there in [each.document_id]}

    async def receive(
        self,
        context: AdminContext,
        tenant_id: TenantId,
        arrival: Arrival,
        content: AsyncIterator[bytes],
        *,
        replace: bool = False,
    ) -> Document:
        """Stores the document under the time of its upload there, held and archived as it was. Raises as
        `Uploads.receive`; `Conflict` when another document is in its place, unless it may `replace` it; and
        `InvalidRequest` when the bytes are not those that the export names: then nothing of it is visible."""
        await self._require(context, tenant_id)
        request = UploadRequest(
            filename=arrival.filename,
            content_type=arrival.content_type,
            key=arrival.key,
            metadata=arrival.metadata,
            declared_bytes=arrival.size_bytes,
            document_id=id_here(tenant_id, arrival),
            uploaded_at=arrival.uploaded_at,
            archived_at=arrival.archived_at,
            holds={holder: hold.reason for holder, hold in arrival.holds.items()},
            create_only=not replace,
        )
        tenant = await self._access.for_job(tenant_id)

        async def noted(connection: Connection, head: Head) -> None:
            await self._note(connection, context, arrival, head)

        try:
            done = await self._uploads.receive(tenant, request, content=_as_announced(content, arrival), noted=noted)
        except Conflict:  # which an answer that was lost on the way makes of its repeat, too
            async with self._database.read() as connection:
                here = await rows.live(connection, tenant_id, id_here(tenant_id, arrival))
            if here is None or not _is_here(here, arrival):
                raise
            async for _ in content:
                pass  # whoever sends it is answered at its end
            return here
        return done.document

    async def _note(self, connection: Connection, context: AdminContext, arrival: Arrival, head: Head) -> None:
        """Its holds in the audit trail, and its coming as if somebody had read it: an export does not say who read it
        when, and it must not be archived for that."""
        tenant_id, document_id = TenantId(head.subject.tenant_id), DocumentId(head.subject.subject_id)
        await rows.touch(connection, tenant_id, [document_id], head.committed_at)
        if arrival.holds:
            there = {holder: rfc3339(hold.placed_at) for holder, hold in arrival.holds.items()}
            await audit.record(
                connection, context.actor, "document.hold", f"document/{document_id}", tenant_id=tenant_id,
                before={"holds": {}}, after={"holds": head.body["holds"], "placed_there_at": there},
            )  # fmt: skip

    async def embeddings(self, context: AdminContext, tenant_id: TenantId, path: Path) -> int:
        """Keeps the vectors of a Parquet file of an export. Answers with the number of groups. Raises
        `InvalidRequest`, and then some may be kept; they harm nobody."""
        await self._require(context, tenant_id)
        groups = read_vector_groups(path)
        count = 0
        while batch := await asyncio.to_thread(_some, groups, _PUTS_PARALLEL):
            await asyncio.gather(*(self._keep(tenant_id, group) for group in batch))
            count += len(batch)
        return count

    async def _keep(self, tenant_id: TenantId, group: VectorGroup) -> None:
        if not _HASH.fullmatch(group.hash):
            raise InvalidRequest("A group of vectors has no SHA-256 for a name.")
        try:
            keys.embedding_part(tenant_id, group.space, group.hash[:2])
        except ValueError as error:
            raise InvalidRequest("A group of vectors names no embedding space.") from error
        await self._store.put(keys.embedding_group(tenant_id, group.space, group.hash), encode_vectors(group.vectors))

    async def _require(self, context: AdminContext, tenant_id: TenantId) -> None:
        context.require(Permission.ADMIN_WRITE)
        await self._tenants.get(tenant_id)


def id_here(tenant_id: TenantId, arrival: Arrival) -> DocumentId:
    """By its key, as ever; without one it follows from the id there, so that a repeat finds it."""
    if arrival.key is not None:
        return document_id_for_key(tenant_id, arrival.key)
    return document_id_for_key(tenant_id, f"\x00import\x00{arrival.document_id}")


def _is_here(known: Document, arrival: Arrival) -> bool:
    return (
        (known.sha256, known.size_bytes) == (arrival.sha256, arrival.size_bytes)
        and dict(known.metadata) == dict(arrival.metadata)
        and _same_moment(known.uploaded_at, arrival.uploaded_at)
        and arrival.holds.keys() <= known.holds.keys()
    )


def _same_moment(one: datetime, other: datetime) -> bool:
    return abs((one - other).total_seconds()) < 1.0  # exports write as many digits as the catalog keeps, or fewer


async def _as_announced(content: AsyncIterator[bytes], arrival: Arrival) -> AsyncIterator[bytes]:
    digest, size_bytes = hashlib.sha256(), 0
    async for piece in content:
        digest.update(piece)
        size_bytes += len(piece)
        yield piece
    if (size_bytes, digest.hexdigest()) != (arrival.size_bytes, arrival.sha256):
        raise InvalidRequest("These are not the bytes that the export names: their SHA-256 is another.")


def _some(groups: Iterator[VectorGroup], count: int) -> list[VectorGroup]:
    return [group for _, group in zip(range(count), groups, strict=False)]
