"""Everything that a tenant has, for whoever takes it away."""

import hashlib
import json
from collections.abc import AsyncIterator, Mapping
from datetime import datetime
from typing import Any

from s4.domains import audit
from s4.domains.documents import texts
from s4.domains.leaving.model import EmbeddingSpace, ExportedDocument, TenantExport
from s4.domains.leaving.queries import exports as queries
from s4.domains.tenants import TenantService
from s4.engine.embedding.groups import decode_group
from s4.engine.vectors import VectorGroup, VectorStore, chunk_rows, vector_groups
from s4.kernel import keys
from s4.kernel.clock import rfc3339
from s4.kernel.context import AdminContext
from s4.kernel.errors import Conflict, DataCorrupt, InvalidRequest, NotFound
from s4.kernel.ids import DocumentId, GenerationId, TenantId, VersionId
from s4.kernel.permissions import Permission
from s4.platform.database import Connection, Database
from s4.platform.objects import ObjectMissing, ObjectStore

_RECORDS = 1000  # rows of one look
_KINDS = tuple(queries.RECORDS)


class ExportService:
    """Every method answers about one live tenant, for an administrator who may change it: a tenant's bytes are more
    than one who only looks may see. Raises `NotFound` for a tenant that is not there."""

    def __init__(self, database: Database, store: ObjectStore, vectors: VectorStore, tenants: TenantService) -> None:
        self._database = database
        self._store = store
        self._vectors = vectors
        self._tenants = tenants

    async def begin(self, context: AdminContext, tenant_id: TenantId) -> TenantExport:
        """As `describe`, and the audit trail knows that it was asked for."""
        found = await self.describe(context, tenant_id)

        async def note(connection: Connection) -> None:
            said = {"documents": found.documents, "stored_bytes": found.stored_bytes}
            await audit.record(
                connection, context.actor, "tenant.export", f"tenant/{tenant_id}", tenant_id=tenant_id, after=said
            )

        await self._database.transact(note)
        return found

    async def describe(self, context: AdminContext, tenant_id: TenantId) -> TenantExport:
        context.require(Permission.ADMIN_WRITE)
        tenant = await self._tenants.get(tenant_id)
        async with self._database.read() as connection:
            documents, processing, stored_bytes = await queries.counts(connection, tenant_id)
            settings = await queries.settings_of(connection, tenant_id)
            generations = await queries.tables(connection, tenant_id)
            now = await self._database.now(connection)
        return TenantExport(
            tenant=tenant,
            settings=settings,
            generations=[await self._described(tenant_id, generation) for generation in sorted(generations)],
            embeddings=[space async for space in self._spaces(tenant_id)],
            documents=documents,
            processing=processing,
            stored_bytes=stored_bytes,
            at=now,
        )

    async def page(
        self, context: AdminContext, tenant_id: TenantId, *, after: str, limit: int
    ) -> tuple[list[ExportedDocument], str | None]:
        """Documents in the order of their ids, after one of them; and after which to ask on, None at the end."""
        await self._require(context, tenant_id)
        async with self._database.read() as connection:
            found = await queries.page(connection, tenant_id, after=after, limit=limit)
            searchable = await queries.searchable(connection, tenant_id, [each.document_id for each in found])
        told = [ExportedDocument(each, searchable.get(each.document_id, {})) for each in found]
        return told, found[-1].document_id if len(found) == limit else None

    async def content(
        self, context: AdminContext, tenant_id: TenantId, document_id: DocumentId, version_id: VersionId
    ) -> tuple[int, str]:
        """Size and ETag of a version, also of one that was replaced a moment ago. Raises `NotFound`."""
        await self._require(context, tenant_id)
        info = await self._store.head(keys.content(tenant_id, document_id, version_id))
        # Content is immutable, so its name is as good as what the store says of it.
        return info.size, hashlib.sha256(info.key.encode()).hexdigest()[:32]

    def bytes_of(
        self, tenant_id: TenantId, document_id: DocumentId, version_id: VersionId, *, start: int, end: int
    ) -> AsyncIterator[bytes]:
        """Of what `content` has described."""
        return self._store.stream(keys.content(tenant_id, document_id, version_id), start=start, end=end)

    async def text(
        self,
        context: AdminContext,
        tenant_id: TenantId,
        document_id: DocumentId,
        version_id: VersionId,
        *,
        content_revision: int,
    ) -> bytes:
        """The text that was extracted of a version at a revision, in the form that it is kept in; also of one that was
        replaced a moment ago. Raises `NotFound` when there is none, or none that can be read."""
        await self._require(context, tenant_id)
        key = keys.text(tenant_id, document_id, version_id, content_revision)
        text = await texts.load_at(self._store, key, document_id)
        if text is None:
            raise NotFound("There is no text of this document.")
        return text.to_json_bytes()

    async def chunks(
        self,
        context: AdminContext,
        tenant_id: TenantId,
        generation: GenerationId,
        revisions: Mapping[DocumentId, int],
    ) -> AsyncIterator[bytes]:
        """The rows of these documents at these revisions, as Parquet. Raises `NotFound` when there are none, and
        `Conflict` that names those of which another revision is searchable by now."""
        await self._require(context, tenant_id)
        async with self._database.read() as connection:
            # The lines were read before, so what they name was in the table by now; what is still searchable in the
            # next moment has not left it.
            table = (await queries.tables(connection, tenant_id)).get(generation)
            known = await queries.searchable(connection, tenant_id, sorted(revisions))
        pairs = sorted(revisions.items())
        moved = [name for name, revision in pairs if known.get(name, {}).get(generation) != revision]
        if moved:
            raise Conflict(
                "Of these documents another revision is searchable by now: read their lines again.",
                details={"documents": moved},
            )
        if table is None or not pairs:
            raise NotFound("There are no chunks of these documents.")
        reader = await self._vectors.reader(keys.generation(tenant_id, generation, table.incarnation), table.version)
        if reader is None:
            raise NotFound("There are no chunks of these documents.")
        return chunk_rows(reader, pairs)

    async def embeddings(
        self, context: AdminContext, tenant_id: TenantId, space: str, part: str
    ) -> AsyncIterator[bytes]:
        """Vectors that were paid for, as Parquet. Raises `NotFound`."""
        await self._require(context, tenant_id)
        try:
            prefix = keys.embedding_part(tenant_id, space, part)
        except ValueError as error:
            raise NotFound("There are no such embeddings.") from error

        async def groups() -> AsyncIterator[VectorGroup | None]:
            async for info in self._store.list(prefix):
                try:
                    vectors = decode_group(await self._store.get(info.key))
                except ObjectMissing:  # deleted since it was listed
                    continue
                except DataCorrupt:
                    yield None
                    continue
                yield VectorGroup(space, info.key.rpartition("/")[2], vectors)

        return vector_groups(groups())

    async def records(self, context: AdminContext, tenant_id: TenantId, kind: str) -> AsyncIterator[bytes]:
        """Rows of the ledger (`usage`, `endpoints`) or of the trail (`audit`) that concern the tenant, as JSON lines.
        Raises `NotFound` for another kind."""
        if kind not in _KINDS:
            raise InvalidRequest(f"There is no {kind!r} to export; there is: {', '.join(_KINDS)}.")
        await self._require(context, tenant_id)

        async def lines() -> AsyncIterator[bytes]:
            after = None
            while True:
                async with self._database.read() as connection:
                    found = await queries.records(connection, kind, tenant_id, after=after, limit=_RECORDS)
                if found:
                    yield b"".join(map(_line, found))
                if len(found) < _RECORDS:
                    return
                after = queries.place_of(kind, found[-1])

        return lines()

    async def _require(self, context: AdminContext, tenant_id: TenantId) -> None:
        context.require(Permission.ADMIN_WRITE)
        await self._tenants.get(tenant_id)

    async def _described(self, tenant_id: TenantId, generation: GenerationId) -> dict[str, Any]:
        try:
            said = json.loads(await self._store.get(keys.generation_manifest(tenant_id, generation)))
        except (ObjectMissing, ValueError):
            said = {}
        return {**said, "generation": generation}

    async def _spaces(self, tenant_id: TenantId) -> AsyncIterator[EmbeddingSpace]:
        for child in await self._store.list_children(keys.embeddings(tenant_id)):
            parts = [each.rstrip("/").rpartition("/")[2] for each in await self._store.list_children(child)]
            yield EmbeddingSpace(child.rstrip("/").rpartition("/")[2], sorted(parts))


def _line(row: dict[str, Any]) -> bytes:
    said = {name: rfc3339(value) if isinstance(value, datetime) else value for name, value in row.items()}
    return json.dumps(said, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
