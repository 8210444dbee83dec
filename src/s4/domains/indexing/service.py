"""One document's way into the index, and out of it. The handlers of the jobs that `documents` enqueues."""

import asyncio
import contextlib
import hashlib
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog

from s4.domains import usage
from s4.domains.documents import jobs as document_jobs
from s4.domains.documents import texts
from s4.domains.documents.chain import told_of
from s4.domains.documents.model import Document, DocumentStatus
from s4.domains.documents.queries import rows as document_rows
from s4.domains.events import EventKind, Events
from s4.domains.indexing.generation import Generation
from s4.domains.indexing.publisher import Change, Publisher
from s4.domains.indexing.queries import held, uses
from s4.domains.indexing.queries import tables as queries
from s4.domains.indexing.stages import stage
from s4.domains.indexing.vectors_cache import Tokens, VectorsCache
from s4.domains.tenants import Role
from s4.engine.chunking import Chunk, chunk, real_title
from s4.engine.embedding.base import Embedder, Vectors
from s4.engine.extraction import ExtractedText, ExtractionPool
from s4.engine.vectors import ChunkRow, chunk_id
from s4.kernel import keys
from s4.kernel.errors import DataCorrupt, DocumentRejected, S4Error, Unavailable
from s4.kernel.ids import DocumentId, GenerationId, TenantId
from s4.platform.database import Connection, Database
from s4.platform.faults import failpoint
from s4.platform.jobs import ClaimedJob, JobHandler, JobRun, narrowed
from s4.platform.objects import ObjectMissing, ObjectStore
from s4.platform.telemetry import metrics
from s4.platform.turns import Turns

log = structlog.get_logger()

# A second of computing at worst. Longer texts are cut one at a time, by turns of tenants: threads that compute all want
# the interpreter's lock, and those that wait for it would hold up everything else in this process.
_LONG_TEXT_CHARS = 250_000
_FETCHES_MAX = 2  # of content whose hash is another: what turned on the way is right the second time
_PROGRESS_FROM_CHUNKS = 64  # below, a document is done before anybody could look


MoreOfABuild = Callable[[TenantId, GenerationId], Awaitable[None]]
"""Is told that a document of a tenant was done in a generation, which is perhaps being built."""


@dataclass(frozen=True, slots=True)
class IndexingLimits:
    chunk_tokens_max: int
    chunk_overlap_tokens: int
    chunks_max: int


class _BudgetSpent(Exception):
    """The document is left out of what is being built."""


class IndexingService:
    """Runs in workers. One per process and generation."""

    def __init__(
        self,
        database: Database,
        store: ObjectStore,
        extraction: ExtractionPool,
        embedder: Embedder,
        publisher: Publisher,
        events: Events,
        generation: Generation,
        limits: IndexingLimits,
        more: MoreOfABuild,
        *,
        scratch_dir: Path,
    ) -> None:
        self._database = database
        self._store = store
        self._extraction = extraction
        self._embedder = embedder
        self._vectors = VectorsCache(store, embedder)
        self._publisher = publisher
        self._events = events
        self._generation = generation
        self._limits = limits
        self._more = more
        self._scratch_dir = scratch_dir
        self._long_texts = Turns(1)

    def handlers(self) -> dict[str, JobHandler]:
        """Of jobs for this generation. `Dispatch` has those that name none."""
        return {
            narrowed(document_jobs.INDEX, self._generation.id): JobHandler(self._index_here, self.on_failed),
            narrowed(document_jobs.UNINDEX, self._generation.id): JobHandler(self.unindex),
        }

    @property
    def generation_id(self) -> GenerationId:
        return self._generation.id

    async def _index_here(self, run: JobRun) -> bool:
        is_finished = await self.index(run)
        await self._more(TenantId(run.job.tenant_id), self._generation.id)
        return is_finished

    async def index(self, run: JobRun) -> bool:
        """Makes the document's current content searchable."""
        tenant_id, document_id = TenantId(run.job.tenant_id), DocumentId(run.job.subject)
        if run.job.kind == document_jobs.INDEX and await self._left_to_the_served(run):
            return True
        document = await self._current(tenant_id, document_id)
        if document is None:
            return False
        failpoint("index.claimed")
        text = await self._text(document)
        chunks = await self._chunks(text)
        tokens = Tokens()
        try:
            booked = await self._book(run.job, chunks)
        except _BudgetSpent:
            return False
        try:
            vectors = await self._embed(document, chunks, tokens)
            failpoint("index.embedded")
            rows = await asyncio.to_thread(_rows, document, real_title(text.title), chunks, vectors)
            await self._publisher.publish(
                Change(
                    tenant_id,
                    document_id,
                    document.content_revision,
                    run.job,
                    document=document,
                    rows=rows,
                    pages=len(text.pages) or None,
                    detected_type=text.content_type,
                    use={
                        "chunks": len(rows),
                        "embedding_tokens_paid": tokens.paid,
                        "embedding_tokens_cached": tokens.cached,
                    },
                )
            )
        except Exception:
            await self._meter_paid(tenant_id, tokens)
            raise
        finally:
            if booked is not None:
                await self._settle(tenant_id, tokens.paid - booked)
        log.info("documents.indexed", document_id=document_id, chunks=len(rows))
        return True

    async def _left_to_the_served(self, run: JobRun) -> bool:
        """While this generation is being filled, new documents go first to one that is served: tenants wait for that,
        and not for a model that is perhaps slow, or never answers."""

        async def leave(connection: Connection) -> bool:
            if await held.of(connection, TenantId(run.job.tenant_id)):
                return False  # it came to where the tenant is served
            used = await uses.at_work_everywhere(connection, await self._database.now(connection))
            served = [generation for generation, complete in used.items() if complete]
            if not served or self._generation.id in served:
                return False
            request = document_jobs.index(run.job.tenant_id, run.job.subject, into=served[0])
            await run.queue.enqueue(connection, request)
            await run.finish(connection)
            return True

        return await self._database.transact(leave)

    async def _book(self, job: ClaimedJob, chunks: list[Chunk]) -> int | None:
        """Tokens that are about to be paid for a tenant whose index is being built, booked on its budget; None for one
        whose is not. Raises `_BudgetSpent`, and the build has stopped, when there are not so many left."""
        tenant_id, generation = TenantId(job.tenant_id), self._generation.id
        if job.kind == document_jobs.INDEX:
            return None
        async with self._database.read() as connection:
            mine = (await held.of(connection, tenant_id)).get(generation)
        if mine is None or mine.holding.role is not Role.BUILDING:
            return None
        wanted = await self._vectors.unpaid_tokens(tenant_id, [piece.embed_text for piece in chunks])
        if not await self._database.transact(lambda c: held.spend(c, tenant_id, generation, wanted)):
            log.warning("generation.budget_spent", tenant_id=tenant_id, generation=generation, tokens=wanted)
            raise _BudgetSpent
        return wanted

    async def _settle(self, tenant_id: TenantId, tokens: int) -> None:
        """What was paid beyond what was booked, or less. A worker that dies leaves what it booked: too much at most."""
        try:
            await self._database.transact(lambda c: held.correct(c, tenant_id, self._generation.id, tokens))
        except Unavailable as error:
            log.warning("usage.tokens_lost", tenant_id=tenant_id, tokens=tokens, error=error.message)

    async def _meter_paid(self, tenant_id: TenantId, tokens: Tokens) -> None:
        """What an attempt paid for that came to nothing: the next one finds the vectors, and pays for the rest."""
        if not tokens.paid:
            return

        async def add(connection: Connection) -> None:
            now = await self._database.now(connection)
            await usage.add(connection, tenant_id, now, {"embedding_tokens_paid": tokens.paid})

        try:
            await self._database.transact(add)
        except Unavailable as error:
            log.warning("usage.tokens_lost", tenant_id=tenant_id, tokens=tokens.paid, error=error.message)

    async def unindex(self, run: JobRun) -> bool:
        """Removes a deleted document's rows."""
        tenant_id, document_id = TenantId(run.job.tenant_id), DocumentId(run.job.subject)
        revision = int(run.job.payload["revision"])
        async with self._database.read() as connection:
            table = await queries.table_state(connection, tenant_id, self._generation.id)
        if table is None or table.version == 0:
            await self._publisher.elsewhere.ask_to_remove(run.job)
            return False
        failpoint("unindex.claimed")
        await self._publisher.publish(Change(tenant_id, document_id, revision, run.job))
        return True

    async def on_failed(self, connection: Connection, job: ClaimedJob, error: S4Error) -> None:
        """The document ends `failed`, with a reason. What was searchable of it before stays. In a generation that is
        being filled it is missed, and goes on being served from where it is."""
        await queries.hold_remade(connection, TenantId(job.tenant_id))
        row = await document_rows.lock(connection, job.tenant_id, job.subject)
        if row is None or row.state != "live":
            return
        await self._end(connection, job, row, error)
        await queries.note_whole(connection, TenantId(job.tenant_id), failing=job.job_id)

    async def _end(self, connection: Connection, job: ClaimedJob, row: Any, error: S4Error) -> None:
        """`row` is the document's, locked."""
        is_narrow = job.kind != document_jobs.INDEX
        if is_narrow and await queries.awaits_anybody(connection, job.tenant_id, job.subject):
            return  # replaced meanwhile; the newer content has its own turn
        if row.status == DocumentStatus.PROCESSING:
            counts = not is_narrow or await self._is_awaited(connection, TenantId(job.tenant_id))
        else:
            counts = await self._is_lost(connection, row, error)
        if not counts:
            return
        code, message = _explain(error)
        await document_rows.update(
            connection,
            job.tenant_id,
            job.subject,
            status=DocumentStatus.FAILED.value,
            stage=None,
            error_code=code,
            error_message=message,
            detected_type=error.details.get("detected_type"),
        )
        await self._events.emit(
            connection,
            job.tenant_id,
            EventKind.DOCUMENT_FAILED,
            told_of(row) | {"status": DocumentStatus.FAILED.value, "error": {"code": code, "message": message}},
            once=f"{job.subject}/{row.content_revision}",
        )
        metrics.DOCUMENTS_INDEXED.labels("failed", code).inc()

    async def _is_awaited(self, connection: Connection, tenant_id: TenantId) -> bool:
        """Whether no document of the tenant is ready before it is here."""
        if every := await held.of(connection, tenant_id):
            return self._generation.id in every and every[self._generation.id].is_awaited
        return await queries.is_complete(connection, self._generation.id)

    async def _is_lost(self, connection: Connection, row: Any, error: S4Error) -> bool:
        """Whether a document is called ready and can never be found again: an index was made anew without it, and no
        other has it that is in use, or may be again."""
        if row.status != DocumentStatus.READY or not isinstance(error, DataCorrupt | DocumentRejected):
            return False
        used = await uses.remembered(connection, await self._database.now(connection))
        known = await queries.newest_searchable(connection, row.tenant_id, row.document_id, used)
        return known < int(row.content_revision)

    async def _current(self, tenant_id: TenantId, document_id: DocumentId) -> Document | None:
        """The document, unless it is gone or its content is searchable already."""
        async with self._database.read() as connection:
            document = await document_rows.live(connection, tenant_id, document_id)
            if document is None:
                return None
            known = await queries.searchable_revision(connection, tenant_id, self._generation.id, document_id)
        if document.status is DocumentStatus.ARCHIVED:
            return None
        done = known >= document.content_revision and not document.status.is_pending
        return None if done else document

    async def _text(self, document: Document) -> ExtractedText:
        damaged = False
        with stage("read"):
            try:
                kept = await texts.load(self._store, document)
            except DataCorrupt as error:  # it can be made again
                log.warning("texts.damaged", document_id=document.document_id, error=error.message)
                kept, damaged = None, True
        if kept is not None:
            return kept
        with tempfile.TemporaryDirectory(dir=self._scratch_dir) as folder:
            path = Path(folder, "content")
            with stage("read"):
                await self._fetch(document, path)
            with stage("extract"):
                text = await self._extraction.extract(
                    path, filename=document.filename, content_type=document.content_type
                )
        failpoint("index.extracted")
        saved = await texts.save(self._store, document, text, over_damage=damaged)
        failpoint("index.text_saved")
        return saved

    async def _fetch(self, document: Document, path: Path) -> None:
        """The content as a file, verified. Raises `DataCorrupt`, `DocumentRejected`."""
        if document.size_bytes == 0:
            raise DocumentRejected("The file is empty.", code="empty")
        for attempt in range(1, _FETCHES_MAX + 1):
            if await self._copied(document, path) == document.sha256:
                return
            log.warning("documents.bytes_differ", document_id=document.document_id, attempt=attempt)
        raise DataCorrupt("The stored bytes of this document are damaged.")

    async def _copied(self, document: Document, path: Path) -> str:
        """The SHA-256 of what came."""
        key = keys.content(document.tenant_id, document.document_id, document.version_id)
        digest = hashlib.sha256()
        try:
            with path.open("wb") as file:
                async for part in self._store.stream(key):
                    digest.update(part)
                    await asyncio.to_thread(file.write, part)
        except ObjectMissing as error:
            raise DataCorrupt("The stored bytes of this document are missing.") from error
        return digest.hexdigest()

    async def _chunks(self, text: ExtractedText) -> list[Chunk]:
        await self._embedder.prepare()
        is_long = len(text.text) > _LONG_TEXT_CHARS
        async with self._long_texts.place() if is_long else contextlib.nullcontext():
            with stage("chunk"):
                chunks = await asyncio.to_thread(cut, text, self._embedder, self._limits)
        if not chunks:
            raise DocumentRejected("No text was found in this file.", code="empty")
        metrics.CHUNKS.inc(len(chunks))
        return chunks

    async def _embed(self, document: Document, chunks: list[Chunk], tokens: Tokens) -> Vectors:
        if len(chunks) >= _PROGRESS_FROM_CHUNKS:
            await self._database.transact(
                lambda c: document_rows.update(
                    c, document.tenant_id, document.document_id, stage="embedding", chunks=len(chunks)
                )
            )
        with stage("embed"):
            return await self._vectors.embed(document.tenant_id, [piece.embed_text for piece in chunks], tokens)


def cut(text: ExtractedText, embedder: Embedder, limits: IndexingLimits) -> list[Chunk]:
    """The chunks that are embedded. A second of computing at worst. Raises `DocumentRejected` for too many."""
    return chunk(
        text,
        token_offsets=embedder.token_offsets,
        tokens_max=min(limits.chunk_tokens_max, embedder.tokens_max),
        overlap_tokens=limits.chunk_overlap_tokens,
        chunks_max=limits.chunks_max,
        title=real_title(text.title),
    )


def _rows(document: Document, title: str | None, chunks: list[Chunk], vectors: Vectors) -> list[ChunkRow]:
    return [
        ChunkRow(
            chunk_id=chunk_id(document.document_id, document.content_revision, piece.ordinal),
            document_id=document.document_id,
            revision=document.content_revision,
            ordinal=piece.ordinal,
            text=piece.text,
            vector=vector,
            page=piece.page,
            char_start=piece.char_start,
            char_end=piece.char_end,
            heading=piece.heading,
            title=title,
        )
        for piece, vector in zip(chunks, vectors, strict=True)
    ]


def _explain(error: S4Error) -> tuple[str, str]:
    """Code and sentence for the tenant."""
    if isinstance(error, DocumentRejected):
        return error.code, error.message
    if isinstance(error, DataCorrupt):
        return "data_corrupt", f"{error.message} Upload it again."
    if isinstance(error, Unavailable):
        return (
            "dependency_unavailable",
            "A service that S4 needs was down for too long; reprocess the document.",
        )
    return "internal", "Processing failed for an internal reason; the operator has been told."
