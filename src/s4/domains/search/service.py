"""A search: embed the query, read the table at the catalog's version, let the catalog judge the hits, rank.

The index proposes and the catalog disposes: a hit counts when its document is live, passes the filters, and the hit's
revision is the searchable one, all read in one statement together with the table's version. If that moved since the
table was read, the search is done once more. So a deleted document is gone at once, and a replaced one is found in
exactly one of its revisions.

Filters. When few documents pass (`_PREFILTER_IDS_MAX`), their ids narrow the search inside the index; when many pass,
more candidates are fetched than needed and checked, until the page is full or the index has no more.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from typing import TypeVar

import structlog

from s4.domains.documents.model import missing
from s4.domains.documents.queries import filters as document_filters
from s4.domains.documents.queries import rows, scope
from s4.domains.indexing import Generation, Model, Models, Suspicions
from s4.domains.indexing.queries import held as held_queries
from s4.domains.indexing.queries import tables as index_queries
from s4.domains.indexing.queries.tables import TableState
from s4.domains.search import queries
from s4.domains.search.answers import answer_of
from s4.domains.search.model import Answer, Passage, Query, SearchLimits
from s4.domains.search.queries import Condition, Found
from s4.domains.tenants import queries as tenant_queries
from s4.engine.embedding.base import Vectors
from s4.engine.ranking import Mode
from s4.engine.vectors import Hit, IndexFault, Sums, TableReader, VectorStore, VersionGone, chunk_id
from s4.kernel.context import TenantContext
from s4.kernel.errors import Conflict, InvalidRequest, NotFound, S4Error, Unavailable
from s4.kernel.ids import DocumentId, GenerationId, TenantId
from s4.kernel.permissions import Permission
from s4.platform.database import Database
from s4.platform.telemetry import metrics

log = structlog.get_logger()

T = TypeVar("T")

NoteFound = Callable[[TenantId, Sequence[str]], None]
"""Is told which documents of a tenant a search answered with."""
NoteAsked = Callable[[TenantContext, Query], None]

_PREFILTER_IDS_MAX = 2_000  # measured: narrowing by 1,000 ids costs 20 ms at 100k chunks, by 10,000 some 108 ms
_CANDIDATES_MAX = 6_400  # bound of the widening: then the page may stay short
_WIDEN = 4
_READS_MAX = 4  # of a table whose version keeps moving or vanishing
_REMADE_AGAIN = timedelta(seconds=5)
_NEIGHBOURS_MAX = 2_000  # chunks in one answer that are there for context only
_STEADY_MAX = 4_096  # tenants whose table is remembered
_CHUNKS_COMPARED_MAX = 2_048  # of a document to which similar ones are looked for: its vectors are averaged


@dataclass(frozen=True, slots=True)
class _Truth:
    """Hits that the catalog confirmed, their documents, and the table in which they were found."""

    hits: list[Hit]
    found: dict[str, Found]
    table: TableState | None


@dataclass(frozen=True, slots=True)
class _Where:
    """Whose table of which generation is read."""

    tenant_id: TenantId
    model: Model

    @property
    def generation(self) -> Generation:
        """Raises `Unavailable` while nobody knows it yet: then nothing can have been indexed with it."""
        return self.model.generation


class _Moved(Exception):
    """Since the request came its tenant was moved to `generation`, and has released what it was served from."""

    def __init__(self, generation: GenerationId | None) -> None:
        super().__init__()
        self.generation = generation


class SearchService:
    """Stateless but for the open tables that `vectors` keeps."""

    def __init__(
        self,
        database: Database,
        vectors: VectorStore,
        models: Models,
        suspicions: Suspicions,
        note_found: NoteFound,
        note_asked: NoteAsked,
        limits: SearchLimits,
    ) -> None:
        self._database = database
        self._vectors = vectors
        self._models = models
        self._suspicions = suspicions
        self._note_found = note_found
        self._note_asked = note_asked
        self._limits = limits
        self._steady: OrderedDict[_Where, TableState] = OrderedDict()

    async def search(self, context: TenantContext, query: Query) -> Answer:
        """Raises `InvalidRequest` for filters that make no sense, `Unavailable` when the index or, in semantic mode,
        the embedding provider does not answer, and while the index is made anew: a part of it would pass for all."""
        context.require(Permission.SEARCH)
        started = time.perf_counter()
        conditions = _checked(context, query)  # before a provider is asked, and paid
        answer, degraded = await self._following(context, lambda where: self._search(context, where, query, conditions))
        self._note_found(context.tenant_id, [result.document.document_id for result in answer.results])
        self._note_asked(context, query)
        metrics.SEARCHES.labels(query.mode.value, str(degraded).lower()).inc()
        metrics.SEARCH_SECONDS.labels("total").observe(time.perf_counter() - started)
        return answer

    async def search_in(self, context: TenantContext, query: Query, generation: GenerationId) -> Answer:
        """As `search`, in a generation that the tenant holds, served from it or not; noted nowhere. Raises `NotFound`
        for one that it has released."""
        context.require(Permission.SEARCH)
        where = _Where(context.tenant_id, self._models.serving(generation))
        try:
            answer, _ = await self._search(context, where, query, _checked(context, query))
        except _Moved:
            raise NotFound(f"The tenant holds no generation {generation}.") from None
        return answer

    async def similar(self, context: TenantContext, document_id: DocumentId, query: Query) -> Answer:
        """The documents that are most like one in meaning, it not among them. `query` has no text. Raises as `search`
        does, `NotFound`, and `Conflict` for a document that is not searchable (yet)."""
        context.require(Permission.SEARCH)
        conditions = _checked(context, query)
        answer = await self._following(
            context, lambda where: self._similar(context, where, document_id, query, conditions)
        )
        self._note_found(context.tenant_id, [result.document.document_id for result in answer.results])
        metrics.SEARCHES.labels("similar", "false").inc()
        return answer

    async def _following(self, context: TenantContext, act: Callable[[_Where], Awaitable[T]]) -> T:
        """Does it where the tenant is served, wherever it is moved meanwhile."""
        generation = context.generation
        for _ in range(_READS_MAX):
            try:
                return await act(_Where(context.tenant_id, self._models.serving(generation)))
            except _Moved as moved:
                generation = moved.generation
        raise _replaced()

    async def _require_unmoved(self, where: _Where) -> None:
        """Nothing was found: raises `_Moved` when that is because the tenant is served from elsewhere by now."""
        async with self._database.read() as connection:
            served = await tenant_queries.served_generation(connection, where.tenant_id)
            held = await held_queries.of(connection, where.tenant_id)
        if where.generation.id not in held if held else where.model is not self._models.own:
            raise _Moved(served)

    async def _search(
        self, context: TenantContext, where: _Where, query: Query, conditions: list[Condition]
    ) -> tuple[Answer, bool]:
        vector, degraded = await self._vector(where, query)
        mode = Mode.KEYWORD if degraded else query.mode
        return await self._answer(context, where, query, mode, vector, conditions, degraded=degraded), degraded

    async def _similar(
        self,
        context: TenantContext,
        where: _Where,
        document_id: DocumentId,
        query: Query,
        conditions: list[Condition],
    ) -> Answer:
        for _ in range(_READS_MAX):
            async with self._database.read() as connection:
                if await rows.get(connection, context, document_id) is None:
                    raise missing()
                verdict = await queries.judge(connection, context, where.generation.id, {document_id}, None)
            table, document = _opened(verdict.table), verdict.found.get(document_id)
            if table is None or document is None:
                await self._require_unmoved(where)
                raise Conflict("The document is not searchable: see its status.")
            vector = await self._mean_vector(where, table, document)
            if vector is not None:
                asked = replace(query, mode=Mode.SEMANTIC)
                return await self._answer(context, where, asked, Mode.SEMANTIC, vector, conditions, without=document_id)
        raise _replaced()

    async def _answer(
        self,
        context: TenantContext,
        where: _Where,
        query: Query,
        mode: Mode,
        vector: Vectors | None,
        conditions: list[Condition],
        *,
        degraded: bool = False,
        without: str | None = None,
    ) -> Answer:
        for _ in range(_READS_MAX):
            truth = await self._true_hits(context, where, query, mode, vector, conditions, without)
            if truth.table is None:
                await self._require_unmoved(where)
            answer = answer_of(query, mode, truth.hits, truth.found, degraded=degraded)
            padded = await self._padded(where, truth.table, query, answer)
            if padded is not None:
                return padded
        raise _replaced()

    async def _padded(self, where: _Where, table: TableState | None, query: Query, answer: Answer) -> Answer | None:
        """The answer with the neighbours of its passages, of the same version; None when that is no longer there."""
        if not query.padding or table is None:
            return answer
        wanted: set[str] = set()
        for result in answer.results:
            for passage in result.passages:
                before, after = _around(passage.hit, query.padding)
                wanted |= {*before, *after}
        chunks = await self._reading(where, table, lambda reader: reader.chunks(wanted))
        if chunks is None:
            return None
        known = {chunk.chunk_id: chunk for chunk in chunks}

        def padded(passage: Passage) -> Passage:
            before, after = _around(passage.hit, query.padding)
            return replace(
                passage,
                before=[known[name] for name in before if name in known],
                after=[known[name] for name in after if name in known],
            )

        results = [replace(each, passages=[padded(passage) for passage in each.passages]) for each in answer.results]
        return replace(answer, results=results)

    async def _mean_vector(self, where: _Where, table: TableState, document: Found) -> Vectors | None:
        """None when this version of the table is no longer there."""
        return await self._reading(
            where,
            table,
            lambda reader: reader.mean_vector(
                document.document_id, document.searchable_revision, chunks_max=_CHUNKS_COMPARED_MAX
            ),
        )

    async def _vector(self, where: _Where, query: Query) -> tuple[Vectors | None, bool]:
        """The query's vector, and whether it is missing although the mode wants it."""
        if query.mode is Mode.KEYWORD:
            return None, False
        started = time.perf_counter()
        try:
            async with asyncio.timeout(self._limits.query_timeout.total_seconds()):
                return await where.model.embedder.embed_query(query.text), False
        except (S4Error, TimeoutError) as error:
            log.warning("search.degraded", error=getattr(error, "message", "the provider took too long"))
            if query.mode is Mode.SEMANTIC:
                again = error.retry_after if isinstance(error, Unavailable) else self._limits.query_timeout
                raise Unavailable(
                    "The embedding provider does not answer; keyword mode works.", retry_after=again
                ) from error
            return None, True
        finally:
            metrics.SEARCH_SECONDS.labels("embed").observe(time.perf_counter() - started)

    async def _true_hits(
        self,
        context: TenantContext,
        where: _Where,
        query: Query,
        mode: Mode,
        vector: Vectors | None,
        conditions: list[Condition],
        without: str | None,
    ) -> _Truth:
        """Hits that the catalog confirms, widened until the page is full or nothing more is to be had; none of the
        document `without`."""
        condition = queries.all_of(conditions)
        table, narrowed = (self._likely(where) if condition is None else None), None
        is_guessed = table is not None
        if table is None:
            table, narrowed = await self._prepare(context, where, condition)
        if table is None or narrowed == []:
            return _Truth([], {}, None)
        wanted = query.offset + query.limit
        candidates = max(self._limits.candidates, 2 * wanted)
        reads = 0
        while True:
            try:
                hits = await self._read(where, table, query, mode, vector, candidates, narrowed)
            except IndexFault as error:
                if not is_guessed:
                    await self._suspicions.tell(where.tenant_id, where.generation.id, error)
                    raise
                hits = None  # perhaps the table is another one by now
            is_guessed = False
            reads += 1
            started = time.perf_counter()
            async with self._database.read() as connection:
                verdict = await queries.judge(
                    connection,
                    context,
                    where.generation.id,
                    {hit.document_id for hit in hits or []},
                    condition,
                )
            metrics.SEARCH_SECONDS.labels("verify").observe(time.perf_counter() - started)
            self._note(where, table if verdict.table == table else None)
            present = _opened(verdict.table)
            if hits is None and present is None:
                return _Truth([], {}, None)
            if (hits is None or present != table) and reads < _READS_MAX:
                metrics.INDEX_REREADS.inc()
                table = present or table
                if hits is None or reads == 1 or _outdated(hits, verdict.found):
                    continue
            if hits is None:
                gone = _replaced()
                await self._suspicions.tell(where.tenant_id, where.generation.id, gone)
                raise gone
            true = [
                hit
                for hit in hits
                if (document := verdict.found.get(hit.document_id)) is not None
                and document.searchable_revision == hit.revision
                and hit.document_id != without
            ]
            more = len(hits) >= candidates and candidates < _CANDIDATES_MAX
            if len({hit.document_id for hit in true}) > wanted or not more:
                return _Truth(true, verdict.found, table)
            candidates *= _WIDEN

    def _likely(self, where: _Where) -> TableState | None:
        """What the catalog said last, if the search before found it unchanged. Whether it still is, tells the verdict,
        which every search waits for; so nothing is asked that is as good as known."""
        return self._steady.get(where)

    def _note(self, where: _Where, table: TableState | None) -> None:
        """`table`: None when it moved; then the next search asks before it reads."""
        self._steady.pop(where, None)
        if table is not None:
            self._steady[where] = table
            if len(self._steady) > _STEADY_MAX:
                self._steady.popitem(last=False)

    async def _prepare(
        self, context: TenantContext, where: _Where, condition: Condition | None
    ) -> tuple[TableState | None, list[str] | None]:
        async with self._database.read() as connection:
            try:
                state = await index_queries.table_state(connection, where.tenant_id, where.generation.id)
            except Unavailable:
                # Its provider never answered: nothing is indexed with it, but perhaps by an older release.
                if await index_queries.has_table(connection, context.tenant_id):
                    raise
                state = None
            table = _opened(state)
            narrowed = None
            if table is not None and condition is not None:
                narrowed = await queries.matching_ids(
                    connection, context, where.generation.id, condition, at_most=_PREFILTER_IDS_MAX
                )
        return table, narrowed

    async def _read(
        self,
        where: _Where,
        table: TableState,
        query: Query,
        mode: Mode,
        vector: Vectors | None,
        candidates: int,
        narrowed: list[str] | None,
    ) -> list[Hit] | None:
        """The index's proposal; None when this version of the table is no longer there."""
        return await self._reading(
            where,
            table,
            lambda reader: reader.search(
                query_text=query.text if mode is not Mode.SEMANTIC else None,
                vector=vector,
                limit=candidates,
                document_ids=narrowed,
            ),
        )

    async def _reading(self, where: _Where, table: TableState, read: Callable[[TableReader], Awaitable[T]]) -> T | None:
        """None when this version of the table is no longer there."""
        started = time.perf_counter()
        try:
            prefix = where.generation.prefix(where.tenant_id, table.incarnation)
            recorded = partial(self._recorded, where, table)
            reader = await self._vectors.reader(prefix, table.version, recorded=recorded)
            if reader is None:
                return None
            metrics.SEARCH_SECONDS.labels("open").observe(time.perf_counter() - started)
            started = time.perf_counter()
            return await read(reader)
        except VersionGone:
            return None
        finally:
            metrics.SEARCH_SECONDS.labels("fetch").observe(time.perf_counter() - started)

    async def _recorded(self, where: _Where, table: TableState) -> Sums:
        """What the table's files are, if it is still this one."""
        async with self._database.read() as connection:
            known = await index_queries.table_record(connection, where.tenant_id, where.generation.id)
        return known.sums if known is not None and known.state.incarnation == table.incarnation else {}


def _replaced() -> VersionGone:
    return VersionGone("The index is being replaced; try again.")


def _around(hit: Hit, padding: int) -> tuple[list[str], list[str]]:
    """Ids of the chunks before and after; behind the end there may be none of that name."""
    first, last = max(0, hit.ordinal - padding), hit.ordinal + padding
    return (
        [chunk_id(hit.document_id, hit.revision, ordinal) for ordinal in range(first, hit.ordinal)],
        [chunk_id(hit.document_id, hit.revision, ordinal) for ordinal in range(hit.ordinal + 1, last + 1)],
    )


def _opened(state: TableState | None) -> TableState | None:
    """The table to search; None when there is nothing in it. Raises `Unavailable` while it is made anew."""
    if state is not None and not state.is_whole:
        raise Unavailable("The index is being made anew; try again.", retry_after=_REMADE_AGAIN)
    return state if state is not None and state.version > 0 else None


def _outdated(hits: list[Hit], found: dict[str, Found]) -> bool:
    """Whether a newer revision of a hit's document is searchable by now: it may be in the table, but was not read."""
    newest = {document_id: document.searchable_revision for document_id, document in found.items()}
    return any(newest.get(hit.document_id, 0) > hit.revision for hit in hits)


def _checked(context: TenantContext, query: Query) -> list[Condition]:
    """What every statement of the search asks for: the caller's bounds, which also narrow the search inside the index,
    and the query's conditions. Raises `InvalidRequest` for a query that is none."""
    if (neighbours := 2 * query.padding * query.limit * query.chunks_per_document) > _NEIGHBOURS_MAX:
        raise InvalidRequest(
            f"2 × padding × limit × chunks_per_document may be at most {_NEIGHBOURS_MAX}, and is {neighbours}."
        )
    return [*scope.bounds(context.restriction), *_conditions(query)]


def _conditions(query: Query) -> list[Condition]:
    conditions: list[Condition] = []
    if query.categories is not None:
        conditions.append(
            document_filters.compile_filter({"field": "category", "op": "in", "value": list(query.categories)})
        )
    if query.document_ids is not None:
        conditions.append(queries.in_ids(query.document_ids))
    if query.filters is not None:
        conditions.append(document_filters.compile_filter(query.filters))
    return conditions
