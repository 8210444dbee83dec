"""A search: embed the query, read the table at the catalog's version, let the catalog judge the hits, rank. Several
that are asked together are embedded together, then made one after the other: they hold one place.

The index proposes and the catalog disposes: a hit counts when its document is live, passes the filters, and the hit's
revision is the searchable one, all read in one statement together with the table's version. If that moved since the
table was read, the search is done once more. So a deleted document is gone at once, and a replaced one is found in
exactly one of its revisions.

Filters. When few documents pass (`_PREFILTER_IDS_MAX`), their ids narrow the search inside the index; when many pass,
more candidates are fetched than needed and checked. Where that does not soon fill the page, because what passes is not
what is near, their ids narrow the search after all, however many. A page that passages of few documents keep short is
filled by searching on without these. So a page is full whenever so many documents are to be had.
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
from s4.domains.indexing import Generation, Suspicions
from s4.domains.indexing.queries import tables as index_queries
from s4.domains.indexing.queries.tables import TableState
from s4.domains.search import queries
from s4.domains.search.answers import answer_of
from s4.domains.search.model import Answer, Passage, Query, SearchLimits
from s4.domains.search.queries import Condition, Found
from s4.domains.search.query_vectors import QueryVectors
from s4.domains.search.recall import NEAREST, RecallSampler
from s4.domains.search.widening import Pursuit
from s4.engine.embedding.base import Embedder, Vectors
from s4.engine.ranking import Mode
from s4.engine.vectors import Hit, IndexFault, Sums, TableReader, VectorStore, VersionGone, chunk_id
from s4.kernel.context import TenantContext
from s4.kernel.errors import Conflict, InvalidRequest, S4Error, Unavailable
from s4.kernel.ids import DocumentId, TenantId
from s4.kernel.permissions import Permission
from s4.platform.database import Database
from s4.platform.telemetry import metrics

log = structlog.get_logger()

T = TypeVar("T")

NoteFound = Callable[[TenantId, Sequence[str]], None]
"""Is told which documents of a tenant a search answered with."""

_PREFILTER_IDS_MAX = 2_000  # measured: narrowing by 1,000 ids costs 20 ms at 100k chunks, by 10,000 some 108 ms
_READS_MAX = 4  # of a table whose version keeps moving or vanishing
_REMADE_AGAIN = timedelta(seconds=5)
_NEIGHBOURS_MAX = 2_000  # chunks in one answer that are there for context only
_PASSAGES_MAX = 5_000  # in the answers to queries that are asked together: what one alone may ask for
_STEADY_MAX = 4_096  # tenants whose table is remembered
_CHUNKS_COMPARED_MAX = 2_048  # of a document to which similar ones are looked for: its vectors are averaged


@dataclass(frozen=True, slots=True)
class _Truth:
    """Hits that the catalog confirmed, their documents, and the table in which they were found."""

    hits: list[Hit]
    found: dict[str, Found]
    table: TableState | None
    is_narrowed: bool = False


class SearchService:
    """Stateless but for what is remembered: open tables, their versions, vectors of queries."""

    def __init__(
        self,
        database: Database,
        vectors: VectorStore,
        embedder: Embedder,
        generation: Callable[[], Generation],
        suspicions: Suspicions,
        note_found: NoteFound,
        recall: RecallSampler,
        limits: SearchLimits,
    ) -> None:
        """`generation` raises `Unavailable` while nobody knows it yet: then nothing can have been indexed with it."""
        self._database = database
        self._vectors = vectors
        self._embedder = embedder
        self._query_vectors = QueryVectors()
        self._known_generation = generation
        self._suspicions = suspicions
        self._note_found = note_found
        self._recall = recall
        self._limits = limits
        self._steady: OrderedDict[TenantId, TableState] = OrderedDict()

    @property
    def _generation(self) -> Generation:
        return self._known_generation()

    async def search(self, context: TenantContext, query: Query) -> Answer:
        """Raises `InvalidRequest` for filters that make no sense, `Unavailable` when the index or, in semantic mode,
        the embedding provider does not answer, and while the index is made anew: a part of it would pass for all."""
        context.require(Permission.SEARCH)
        conditions = _checked(context, query)  # before a provider is asked, and paid
        (answer,) = await self._searched(context, [query], [conditions])
        return answer

    async def search_together(
        self, context: TenantContext, queries: Sequence[Query], *, charge: Callable[[int], Awaitable[None]]
    ) -> list[Answer]:
        """An answer for each query, in order. `charge` is told their number once all make sense, and may refuse. Raises
        as `search`; `InvalidRequest` names the query that makes no sense."""
        context.require(Permission.SEARCH)
        conditions = _all_checked(context, queries)
        await charge(len(queries))
        return await self._searched(context, queries, conditions)

    async def _searched(
        self, context: TenantContext, queries: Sequence[Query], conditions: Sequence[list[Condition]]
    ) -> list[Answer]:
        started = time.perf_counter()
        vectors = await self._vectors_of(context.tenant_id, queries)
        embedding_share = (time.perf_counter() - started) / len(queries)
        answers: list[Answer] = []
        for query, vector, of_query in zip(queries, vectors, conditions, strict=True):
            started = time.perf_counter()
            degraded = vector is None and query.mode is not Mode.KEYWORD
            mode = Mode.KEYWORD if degraded else query.mode
            answer = await self._answer(context, query, mode, vector, of_query, degraded=degraded)
            metrics.SEARCHES.labels(query.mode.value, str(degraded).lower()).inc()
            seconds = embedding_share + time.perf_counter() - started
            metrics.SEARCH_SECONDS.labels("total").observe(seconds)
            answers.append(replace(answer, seconds=seconds))
        return answers

    async def similar(self, context: TenantContext, document_id: DocumentId, query: Query) -> Answer:
        """The documents that are most like one in meaning, it not among them. `query` has no text. Raises as `search`
        does, `NotFound`, and `Conflict` for a document that is not searchable (yet)."""
        context.require(Permission.SEARCH)
        started = time.perf_counter()
        conditions = _checked(context, query)
        for _ in range(_READS_MAX):
            async with self._database.read() as connection:
                if await rows.get(connection, context, document_id) is None:
                    raise missing()
                verdict = await queries.judge(connection, context, self._generation.id, {document_id}, None)
            table, document = _opened(verdict.table), verdict.found.get(document_id)
            if table is None or document is None:
                raise Conflict("The document is not searchable: see its status.")
            vector = await self._mean_vector(context.tenant_id, table, document)
            if vector is not None:
                asked = replace(query, mode=Mode.SEMANTIC)
                answer = await self._answer(context, asked, Mode.SEMANTIC, vector, conditions, without=document_id)
                metrics.SEARCHES.labels("similar", "false").inc()
                return replace(answer, seconds=time.perf_counter() - started)
        raise _replaced()

    async def _answer(
        self,
        context: TenantContext,
        query: Query,
        mode: Mode,
        vector: Vectors | None,
        conditions: list[Condition],
        *,
        degraded: bool = False,
        without: str | None = None,
    ) -> Answer:
        for _ in range(_READS_MAX):
            truth = await self._true_hits(context, query, mode, vector, conditions, without)
            answer = answer_of(query, mode, truth.hits, truth.found, degraded=degraded)
            padded = await self._padded(context.tenant_id, truth.table, query, answer)
            if padded is not None:
                if vector is not None and truth.table is not None and not truth.is_narrowed:
                    self._recall.offer(partial(self._recalled, context.tenant_id, truth.table, vector))
                self._note_found(context.tenant_id, [result.document.document_id for result in padded.results])
                return padded
        raise _replaced()

    async def _padded(
        self, tenant_id: TenantId, table: TableState | None, query: Query, answer: Answer
    ) -> Answer | None:
        """The answer with the neighbours of its passages, of the same version; None when that is no longer there."""
        if not query.padding or table is None:
            return answer
        wanted: set[str] = set()
        for result in answer.results:
            for passage in result.passages:
                before, after = _around(passage.hit, query.padding)
                wanted |= {*before, *after}
        chunks = await self._reading(tenant_id, table, lambda reader: reader.chunks(wanted))
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

    async def _mean_vector(self, tenant_id: TenantId, table: TableState, document: Found) -> Vectors | None:
        """None when this version of the table is no longer there."""
        return await self._reading(
            tenant_id,
            table,
            lambda reader: reader.mean_vector(
                document.document_id, document.searchable_revision, chunks_max=_CHUNKS_COMPARED_MAX
            ),
        )

    async def _vectors_of(self, tenant_id: TenantId, queries: Sequence[Query]) -> list[Vectors | None]:
        """Each query's vector; None in keyword mode, and in hybrid mode where it is not to be had."""
        texts = [query.text for query in queries if query.mode is not Mode.KEYWORD]
        if not texts:
            return [None] * len(queries)
        started = time.perf_counter()
        try:
            async with asyncio.timeout(self._limits.query_timeout.total_seconds()):
                vectors = iter(await self._query_vectors.of(tenant_id, self._embedder, texts))
        except (S4Error, TimeoutError) as error:
            log.warning("search.degraded", error=getattr(error, "message", "the provider took too long"))
            if any(query.mode is Mode.SEMANTIC for query in queries):
                again = error.retry_after if isinstance(error, Unavailable) else self._limits.query_timeout
                raise Unavailable(
                    "The embedding provider does not answer; keyword mode works.", retry_after=again
                ) from error
            return [None] * len(queries)
        finally:
            metrics.SEARCH_SECONDS.labels("embed").observe(time.perf_counter() - started)
        return [None if query.mode is Mode.KEYWORD else next(vectors) for query in queries]

    async def _true_hits(
        self,
        context: TenantContext,
        query: Query,
        mode: Mode,
        vector: Vectors | None,
        conditions: list[Condition],
        without: str | None,
    ) -> _Truth:
        """Hits that the catalog confirms, widened until the page is full or nothing more is to be had; none of the
        document `without`."""
        condition = queries.all_of(conditions)
        table, narrowed = (self._likely(context.tenant_id) if condition is None else None), None
        is_guessed = table is not None
        if table is None:
            table, narrowed = await self._prepare(context, condition)
        if table is None or narrowed == []:
            return _Truth([], {}, None)
        found: dict[str, Found] = {}
        pursuit = Pursuit(
            query.offset + query.limit, self._limits.candidates, narrowed, is_filtered=condition is not None
        )
        reads = 0
        while True:
            try:
                hits = await self._read(context.tenant_id, table, query, mode, vector, pursuit)
            except IndexFault as error:
                if not is_guessed:
                    await self._suspicions.tell(context.tenant_id, error)
                    raise
                hits = None  # perhaps the table is another one by now
            is_guessed = False
            reads += 1
            started = time.perf_counter()
            async with self._database.read() as connection:
                verdict = await queries.judge(
                    connection,
                    context,
                    self._generation.id,
                    {hit.document_id for hit in hits or []},
                    condition,
                )
            metrics.SEARCH_SECONDS.labels("verify").observe(time.perf_counter() - started)
            self._note(context.tenant_id, table if verdict.table == table else None)
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
                await self._suspicions.tell(context.tenant_id, gone)
                raise gone
            true = [
                hit
                for hit in hits
                if (document := verdict.found.get(hit.document_id)) is not None
                and document.searchable_revision == hit.revision
                and hit.document_id != without
            ]
            found |= verdict.found
            if pursuit.ends_with(hits, true):
                return _Truth(pursuit.kept, found, table, pursuit.is_narrowed)
            if (at_most := pursuit.widen()) is not None and condition is not None:
                pursuit.narrow(await self._matching(context, condition, at_most=at_most))

    def _likely(self, tenant_id: TenantId) -> TableState | None:
        """What the catalog said last, if the search before found it unchanged. Whether it still is, tells the verdict,
        which every search waits for; so nothing is asked that is as good as known."""
        return self._steady.get(tenant_id)

    def _note(self, tenant_id: TenantId, table: TableState | None) -> None:
        """`table`: None when it moved; then the next search asks before it reads."""
        self._steady.pop(tenant_id, None)
        if table is not None:
            self._steady[tenant_id] = table
            if len(self._steady) > _STEADY_MAX:
                self._steady.popitem(last=False)

    async def _prepare(
        self, context: TenantContext, condition: Condition | None
    ) -> tuple[TableState | None, list[str] | None]:
        async with self._database.read() as connection:
            try:
                state = await index_queries.table_state(connection, context.tenant_id, self._generation.id)
            except Unavailable:
                # Its provider never answered: nothing is indexed with it, but perhaps by an older release.
                if await index_queries.has_table(connection, context.tenant_id):
                    raise
                state = None
            table = _opened(state)
        if table is None or condition is None:
            return table, None
        return table, await self._matching(context, condition, at_most=_PREFILTER_IDS_MAX)

    async def _matching(self, context: TenantContext, condition: Condition, *, at_most: int) -> list[str] | None:
        async with self._database.read() as connection:
            return await queries.matching_ids(connection, context, self._generation.id, condition, at_most=at_most)

    async def _read(
        self,
        tenant_id: TenantId,
        table: TableState,
        query: Query,
        mode: Mode,
        vector: Vectors | None,
        pursuit: Pursuit,
    ) -> list[Hit] | None:
        """The index's proposal; None when this version of the table is no longer there."""
        return await self._reading(
            tenant_id,
            table,
            lambda reader: reader.search(
                query_text=query.text if mode is not Mode.SEMANTIC else None,
                vector=vector,
                limit=pursuit.candidates,
                document_ids=pursuit.among,
                without=pursuit.without,
            ),
        )

    async def _recalled(self, tenant_id: TenantId, table: TableState, vector: Vectors) -> float | None:
        reader = await self._reader(tenant_id, table)
        if reader is None:
            return None
        return await reader.recall(vector, at=NEAREST, candidates=self._limits.candidates)

    async def _reading(
        self, tenant_id: TenantId, table: TableState, read: Callable[[TableReader], Awaitable[T]]
    ) -> T | None:
        """None when this version of the table is no longer there."""
        started = time.perf_counter()
        try:
            reader = await self._reader(tenant_id, table)
            if reader is None:
                return None
            metrics.SEARCH_SECONDS.labels("open").observe(time.perf_counter() - started)
            started = time.perf_counter()
            return await read(reader)
        except VersionGone:
            return None
        finally:
            metrics.SEARCH_SECONDS.labels("fetch").observe(time.perf_counter() - started)

    async def _reader(self, tenant_id: TenantId, table: TableState) -> TableReader | None:
        prefix = self._generation.prefix(tenant_id, table.incarnation)
        return await self._vectors.reader(prefix, table.version, recorded=partial(self._recorded, tenant_id, table))

    async def _recorded(self, tenant_id: TenantId, table: TableState) -> Sums:
        """What the table's files are, if it is still this one."""
        async with self._database.read() as connection:
            known = await index_queries.table_record(connection, tenant_id, self._generation.id)
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


def _all_checked(context: TenantContext, queries: Sequence[Query]) -> list[list[Condition]]:
    """`_checked` for each. Together they may ask for as much as one may, which bounds the answer in memory."""
    found: list[list[Condition]] = []
    for number, query in enumerate(queries):
        try:
            found.append(_checked(context, query))
        except InvalidRequest as error:
            details = error.details | {"query": number}
            raise InvalidRequest(f"queries[{number}]: {error.message}", details=details) from error
    passages = sum(query.limit * query.chunks_per_document for query in queries if query.with_passages)
    neighbours = sum(2 * query.padding * query.limit * query.chunks_per_document for query in queries)
    if passages > _PASSAGES_MAX or neighbours > _NEIGHBOURS_MAX:
        raise InvalidRequest(
            f"limit × chunks_per_document may be at most {_PASSAGES_MAX} over all queries, and is {passages}; "
            f"2 × padding × that at most {_NEIGHBOURS_MAX}, and is {neighbours}."
        )
    return found


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
