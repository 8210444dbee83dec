"""A new catalog takes over the index tables that lie in the bucket, instead of writing them anew.

What a table holds, its rows say: `(document, revision)`. A document's rows come with one commit, all or none, and are
never changed; so whatever a sound version holds of a document's living revision is its index, whoever wrote it. `find`
takes a table into the catalog, under its lease; `publish` makes searchable what it holds, in the very transaction that
brings the documents back, so that no worker ever sees a job for them.

Sound is a version whose manifest can be read and whose files are all there. That their bytes are what was committed
nobody can tell any more: the sums of each commit were the catalog's. From here on they are known.
"""

import asyncio
import json
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import structlog

from s4.domains.documents import jobs as document_jobs
from s4.domains.documents.queries import rows as document_rows
from s4.domains.indexing.generation import Generation
from s4.domains.indexing.publisher import COMMITS_BEFORE_OPTIMIZE, Publisher
from s4.domains.indexing.queries import attaching
from s4.domains.indexing.queries import held as held_queries
from s4.domains.indexing.queries import tables as queries
from s4.domains.tenants import queries as tenant_queries
from s4.engine.vectors import IndexFault, Sums, VectorStore, inspect, manifest_name, versions_in
from s4.kernel import keys
from s4.kernel.ids import DocumentId, GenerationId, Incarnation, TenantId
from s4.platform.database import Connection, Database
from s4.platform.faults import failpoint
from s4.platform.jobs import Queue
from s4.platform.objects import ObjectMissing, ObjectStore

log = structlog.get_logger()

_VERSIONS_TRIED = 5  # of one incarnation, newest first: what is damaged further back was damaged as a whole
_LOOKS = 2  # at what seems damaged, before a manifest is removed: it may have been the store

Pair = tuple[str, int]
"""A document and its revision."""


@dataclass(frozen=True, slots=True)
class Attached:
    """A table that the catalog names. `serves`: the tenant's searches read it. `rows` says how many it holds of each
    document and revision."""

    generation: GenerationId
    serves: bool
    rows: Mapping[Pair, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Described:
    """What the text of a document's revision says of it."""

    pages: int | None
    detected_type: str | None
    extracted_at: datetime


@dataclass(frozen=True, slots=True)
class Living:
    """A document as its newest head has it. `described` is None where the text is not there: then it is read anew."""

    document_id: DocumentId
    content_revision: int
    described: Described | None


@dataclass(frozen=True, slots=True)
class _Sound:
    incarnation: Incarnation
    version: int
    sums: Sums
    committed_at: datetime
    damaged_since: tuple[int, ...]
    """Versions after it, none of which is sound."""


async def lying_in(store: ObjectStore, tenant_id: TenantId) -> dict[GenerationId, list[Incarnation]]:
    """The tenant's tables in the bucket, whoever made them."""
    found: dict[GenerationId, list[Incarnation]] = {}
    for child in await store.list_children(keys.indices(tenant_id)):
        if (parsed := keys.parse_generation(child)) is not None:
            found.setdefault(parsed[1], []).append(parsed[2])
    return found


async def description_of(store: ObjectStore, tenant_id: TenantId, generation: GenerationId) -> Mapping[str, Any] | None:
    """What `Generation.describe` wrote of it; None where nothing says what the table was made with."""
    try:
        described: Mapping[str, Any] = json.loads(await store.get(keys.generation_manifest(tenant_id, generation)))
    except (ObjectMissing, ValueError):
        return None
    return described


class Attachments:
    """Stateless."""

    def __init__(
        self,
        database: Database,
        store: ObjectStore,
        vectors: VectorStore,
        queue: Queue,
        publisher: Publisher,
        generation: Generation,
    ) -> None:
        self._database = database
        self._store = store
        self._vectors = vectors
        self._queue = queue
        self._publisher = publisher
        self._generation = generation

    async def find(self, tenant_id: TenantId, *, newest: bool, writes: bool) -> list[Attached]:
        """Every generation's table of the tenant that the catalog names, or names from now on; of a tenant that was
        moved, of those that it holds. A table that cannot be taken over is left: its documents are indexed anew. Raises
        `Unavailable` when the store fails.

        `newest`: a catalog that does not serve yet follows what was written into the bucket since. Without `writes`
        the bucket is somebody else's copy, and left as it is.
        """
        lying = await lying_in(self._store, tenant_id)
        async with self._database.read() as connection:
            if moved := await held_queries.of(connection, tenant_id):
                lying = {generation: each for generation, each in lying.items() if generation in moved}
            served = await tenant_queries.served_generation(connection, tenant_id) or self._generation.id
        found = [
            await self._attach(tenant_id, generation, lying[generation], newest=newest, writes=writes)
            for generation in sorted(lying)
        ]
        return [
            Attached(generation, generation == served, rows)
            for generation, rows in zip(sorted(lying), found, strict=True)
            if rows is not None
        ]

    def holds(self, held: Sequence[Attached], document_id: str, revision: int) -> bool:
        """Whether the tenant's searches find these rows."""
        return any((document_id, revision) in each.rows for each in held if each.serves)

    async def publish(
        self,
        connection: Connection,
        tenant_id: TenantId,
        held: Sequence[Attached],
        living: Collection[Living],
        dead: Collection[DocumentId],
    ) -> int:
        """Part of the transaction that adopts these documents: makes searchable what `held` has of them. Answers with
        how many need no job. Of the `dead`, those without rows need none either."""
        own = {pair: rows for each in held if each.serves for pair, rows in each.rows.items()}
        ready = await document_rows.make_ready(
            connection,
            tenant_id,
            [
                document_rows.Ready(
                    document.document_id,
                    document.content_revision,
                    own[document.document_id, document.content_revision],
                    document.described.pages,
                    document.described.detected_type,
                    document.described.extracted_at,
                )
                for document in living
                if document.described is not None and (document.document_id, document.content_revision) in own
            ],
        )
        for each in held:  # after the documents' rows, which publications lock first as well
            await attaching.publish_all(connection, tenant_id, each.generation, _rows_of(each, living))
        await self._queue.withdraw(connection, document_jobs.INDEX, tenant_id, ready)
        rowed = {document_id for each in held for document_id, _ in each.rows}
        await self._queue.withdraw(connection, document_jobs.UNINDEX, tenant_id, sorted(set(dead) - rowed))
        return len(ready)

    # -- inside

    async def _attach(
        self,
        tenant_id: TenantId,
        generation: GenerationId,
        incarnations: Sequence[Incarnation],
        *,
        newest: bool,
        writes: bool,
    ) -> Mapping[Pair, int] | None:
        """The rows of the table that the catalog names then; None when there is none."""
        async with self._publisher.exclusive(tenant_id, generation) as lease:
            async with self._database.read() as connection:
                known = await queries.table_state(connection, tenant_id, generation)
            if known is not None and not newest:
                return await self._rows(tenant_id, generation, known.incarnation, known.version) or {}
            for sound in await self._sound(tenant_id, generation, incarnations):
                rows = await self._rows(tenant_id, generation, sound.incarnation, sound.version)
                if rows is None:
                    continue
                if known is not None and (known.incarnation, known.version) == (sound.incarnation, sound.version):
                    return rows
                if writes:
                    await self._leave_out(tenant_id, generation, sound)

                async def note(connection: Connection, sound: _Sound = sound) -> None:
                    await self._publisher.verify(connection, lease)
                    now = await self._database.now(connection)
                    await attaching.attach(
                        connection,
                        tenant_id,
                        generation,
                        sound.incarnation,
                        version=sound.version,
                        sums=sound.sums,
                        commits=COMMITS_BEFORE_OPTIMIZE // 2,  # it may hold rows of documents that are gone
                        now=now,
                    )

                await self._database.transact(note)
                failpoint("attach.noted")
                log.info("index.attached", tenant_id=tenant_id, generation=generation, version=sound.version,
                         incarnation=sound.incarnation, count=len({name for name, _ in rows}))  # fmt: skip
                return rows
        return None

    async def _rows(
        self, tenant_id: TenantId, generation: GenerationId, incarnation: Incarnation, version: int
    ) -> Mapping[Pair, int] | None:
        """None when it cannot be read."""
        if version == 0:
            return {}
        try:
            reader = await self._vectors.reader(keys.generation(tenant_id, generation, incarnation), version)
            return await reader.all_pairs() if reader is not None else None
        except IndexFault as error:
            await self._store.ping()  # raises if it is the store
            log.warning("index.not_attached", tenant_id=tenant_id, generation=generation, error=error.message)
            return None

    async def _sound(
        self, tenant_id: TenantId, generation: GenerationId, incarnations: Sequence[Incarnation]
    ) -> list[_Sound]:
        """One version of each incarnation that has one, the incarnation that was written last first."""
        found = [await self._newest_sound(keys.generation(tenant_id, generation, each), each) for each in incarnations]
        return sorted(filter(None, found), key=lambda sound: sound.committed_at, reverse=True)

    async def _newest_sound(self, prefix: str, incarnation: Incarnation) -> _Sound | None:
        versions = await versions_in(self._store, prefix)
        damaged: list[int] = []
        for version in sorted(versions, reverse=True)[:_VERSIONS_TRIED]:
            if (sums := await self._inspected(prefix, version)) is not None:
                return _Sound(incarnation, version, sums, versions[version], tuple(damaged))
            damaged.append(version)
        return None

    async def _inspected(self, prefix: str, version: int) -> Sums | None:
        for look in range(_LOOKS):
            with suppress(ObjectMissing):
                found = await inspect(self._store, prefix, version, {})
                if not found.damaged:
                    return found.sums
            if look == 0:
                await asyncio.sleep(0)
        return None

    async def _leave_out(self, tenant_id: TenantId, generation: GenerationId, sound: _Sound) -> None:
        """The next writer goes on from the newest manifest, which must not be one whose files are gone."""
        if not sound.damaged_since:
            return
        prefix = keys.generation(tenant_id, generation, sound.incarnation)
        log.error("index.versions_damaged", tenant_id=tenant_id, generation=generation, versions=sound.damaged_since)
        await self._store.delete(keys.index_file(prefix, manifest_name(version)) for version in sound.damaged_since)
        await self._vectors.forget(prefix)


def _rows_of(attached: Attached, living: Collection[Living]) -> list[tuple[DocumentId, int, int]]:
    """Document, revision and number of rows, in the order in which rows are locked everywhere."""
    found = [
        (document.document_id, document.content_revision, chunks)
        for document in living
        if (chunks := attached.rows.get((document.document_id, document.content_revision), 0))
    ]
    return sorted(found)
