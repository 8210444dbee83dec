"""A search: embed the query, read the table at the catalog's version, let the catalog judge the hits, rank. Several
that are asked together are embedded together, then made one after the other: they hold one place.

The index proposes and the catalog disposes: a hit counts when its document is live, passes the filters, and the hit's
revision is the searchable one, all read in one statement together with the table's version. If that moved since a
search guessed it, the search is done once more; what is replaced while it goes on counts as it was (`snapshot.py`). So
a deleted document is gone at once, and a replaced one is found in exactly one of its revisions.

Filters. When few documents pass (`_PREFILTER_IDS_MAX`), their ids narrow the search inside the index; when many pass,
more candidates are fetched than needed and checked. Where that does not soon fill the page, because what passes is not
what is near, their ids narrow the search after all, however many. A page that passages of few documents keep short is
filled by searching on without these. So a page is full whenever so many documents are to be had.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

import structlog

from s4.domains.documents.model import missing
from s4.domains.documents.queries import rows
from s4.domains.indexing import Models, Suspicions
from s4.domains.indexing.queries import held as held_queries
from s4.domains.indexing.queries import tables as index_queries
from s4.domains.indexing.queries.tables import TableState
from s4.domains.search import queries
from s4.domains.search.answers import answer_of
from s4.domains.search.bar import Bar
from s4.domains.search.checking import all_checked, checked
from s4.domains.search.model import Answer, Passage, Query, SearchLimits
from s4.domains.search.queries import Condition, Found
from s4.domains.search.query_vectors import QueryVectors
from s4.domains.search.recall import NEAREST, RecallSampler
from s4.domains.search.snapshot import Snapshot
from s4.domains.search.stages import stage
from s4.domains.search.tables import TenantTables, Where, opened, replaced
from s4.domains.search.widening import Pursuit
from s4.domains.tenants import queries as tenant_queries
from s4.engine.embedding.base import Vectors
from s4.engine.ranking import Mode
from s4.engine.vectors import Hit, IndexFault, VectorStore, chunk_id
from s4.kernel.context import TenantContext
from s4.kernel.errors import Conflict, NotFound, S4Error, Unavailable
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
_READS_MAX = 4  # of a table whose version keeps moving or vanishing, beside those that look farther
_CHUNKS_COMPARED_MAX = 2_048  # of a document to which similar ones are looked for: its vectors are averaged


@dataclass(frozen=True, slots=True)
class _Truth:
    """Hits that the catalog confirmed, round by round, their documents, and the table in which they were found."""

    rounds: list[list[Hit]]
    found: dict[str, Found]
    table: TableState | None
    is_narrowed: bool = False


class _Moved(Exception):
    """Since the request came its tenant was moved to `generation`, and has released what it was served from."""

    def __init__(self, generation: GenerationId | None) -> None:
        super().__init__()
        self.generation = generation


class SearchService:
    """Stateless but for what is remembered: open tables, their versions, vectors of queries."""

    def __init__(
        self,
        database: Database,
        vectors: VectorStore,
        models: Models,
        suspicions: Suspicions,
        note_found: NoteFound,
        note_asked: NoteAsked,
        recall: RecallSampler,
        limits: SearchLimits,
    ) -> None:
        self._database = database
        self._models = models
        self._query_vectors = QueryVectors()
        self._suspicions = suspicions
        self._note_found = note_found
        self._note_asked = note_asked
        self._recall = recall
        self._limits = limits
        self._tables = TenantTables(database, vectors)

    async def search(self, context: TenantContext, query: Query) -> Answer:
        """Raises `InvalidRequest` for filters that make no sense, `Unavailable` when the index or, in semantic mode,
        the embedding provider does not answer, and while the index is made anew: a part of it would pass for all."""
        context.require(Permission.SEARCH)
        conditions = checked(context, query)  # before a provider is asked, and paid
        (answer,) = await self._asked(context, [query], [conditions])
        return answer

    async def search_together(
        self, context: TenantContext, queries: Sequence[Query], *, charge: Callable[[int], Awaitable[None]]
    ) -> list[Answer]:
        """An answer for each query, in order. `charge` is told their number once all make sense, and may refuse. Raises
        as `search`; `InvalidRequest` names the query that makes no sense."""
        context.require(Permission.SEARCH)
        conditions = all_checked(context, queries)
        await charge(len(queries))
        return await self._asked(context, queries, conditions)

    async def search_in(self, context: TenantContext, query: Query, generation: GenerationId) -> Answer:
        """As `search`, in a generation that the tenant holds, served from it or not; noted nowhere. Raises `NotFound`
        for one that it has released."""
        context.require(Permission.SEARCH)
        where = Where(context.tenant_id, self._models.serving(generation))
        try:
            (answer,) = await self._searched(context, where, [query], [checked(context, query)])
        except _Moved:
            raise NotFound(f"The tenant holds no generation {generation}.") from None
        return answer

    async def _asked(
        self, context: TenantContext, queries: Sequence[Query], conditions: Sequence[list[Condition]]
    ) -> list[Answer]:
        answers = await self._following(context, lambda where: self._searched(context, where, queries, conditions))
        for query, answer in zip(queries, answers, strict=True):
            self._note_found(context.tenant_id, [result.document.document_id for result in answer.results])
            self._note_asked(context, query)
            metrics.SEARCHES.labels(query.mode.value, str(answer.degraded).lower()).inc()
            metrics.SEARCH_SECONDS.labels("total").observe(answer.seconds)
        return answers

    async def similar(self, context: TenantContext, document_id: DocumentId, query: Query) -> Answer:
        """The documents that are most like one in meaning, it not among them. `query` has no text. Raises as `search`
        does, `NotFound`, and `Conflict` for a document that is not searchable (yet)."""
        context.require(Permission.SEARCH)
        started = time.perf_counter()
        conditions = checked(context, query)
        answer = await self._following(
            context, lambda where: self._similar(context, where, document_id, query, conditions)
        )
        self._note_found(context.tenant_id, [result.document.document_id for result in answer.results])
        metrics.SEARCHES.labels("similar", "false").inc()
        return replace(answer, seconds=time.perf_counter() - started)

    async def _following(self, context: TenantContext, act: Callable[[Where], Awaitable[T]]) -> T:
        """Does it where the tenant is served, wherever it is moved meanwhile."""
        generation = context.generation
        for _ in range(_READS_MAX):
            try:
                return await act(Where(context.tenant_id, self._models.serving(generation)))
            except _Moved as moved:
                generation = moved.generation
        raise replaced()

    async def _require_unmoved(self, where: Where) -> None:
        """Nothing was found: raises `_Moved` when that is because the tenant is served from elsewhere by now."""
        async with self._database.read() as connection:
            served = await tenant_queries.served_generation(connection, where.tenant_id)
            held = await held_queries.of(connection, where.tenant_id)
        if where.generation.id not in held if held else where.model is not self._models.own:
            raise _Moved(served)

    async def _similar(
        self,
        context: TenantContext,
        where: Where,
        document_id: DocumentId,
        query: Query,
        conditions: list[Condition],
    ) -> Answer:
        for _ in range(_READS_MAX):
            async with self._database.read() as connection:
                if await rows.get(connection, context, document_id) is None:
                    raise missing()
                verdict = await queries.judge(connection, context, where.generation.id, {document_id}, None)
            table, document = opened(verdict.table), verdict.found.get(document_id)
            if table is None or document is None:
                await self._require_unmoved(where)
                raise Conflict("The document is not searchable: see its status.")
            vector = await self._mean_vector(where, table, document)
            if vector is not None:
                asked = replace(query, mode=Mode.SEMANTIC)
                return await self._answer(context, where, asked, Mode.SEMANTIC, vector, conditions, without=document_id)
        raise replaced()

    async def _answer(
        self,
        context: TenantContext,
        where: Where,
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
            answer = answer_of(query, mode, truth.rounds, truth.found, degraded=degraded)
            padded = await self._padded(where, truth.table, query, answer)
            if padded is not None:
                if vector is not None and truth.table is not None and not truth.is_narrowed:
                    self._recall.offer(partial(self._recalled, where, truth.table, vector))
                return padded
        raise replaced()

    async def _padded(self, where: Where, table: TableState | None, query: Query, answer: Answer) -> Answer | None:
        """The answer with the neighbours of its passages, of the same version; None when that is no longer there."""
        if not query.padding or table is None:
            return answer
        wanted: set[str] = set()
        for result in answer.results:
            for passage in result.passages:
                before, after = _around(passage.hit, query.padding)
                wanted |= {*before, *after}
        chunks = await self._tables.read(where, table, lambda reader: reader.chunks(wanted))
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

    async def _mean_vector(self, where: Where, table: TableState, document: Found) -> Vectors | None:
        """None when this version of the table is no longer there."""
        return await self._tables.read(
            where,
            table,
            lambda reader: reader.mean_vector(
                document.document_id, document.searchable_revision, chunks_max=_CHUNKS_COMPARED_MAX
            ),
        )

    async def _searched(
        self, context: TenantContext, where: Where, queries: Sequence[Query], conditions: Sequence[list[Condition]]
    ) -> list[Answer]:
        started = time.perf_counter()
        vectors = await self._vectors_of(where, queries)
        embedding_share = (time.perf_counter() - started) / len(queries)
        answers: list[Answer] = []
        for query, vector, of_query in zip(queries, vectors, conditions, strict=True):
            started = time.perf_counter()
            degraded = vector is None and query.mode is not Mode.KEYWORD
            mode = Mode.KEYWORD if degraded else query.mode
            answer = await self._answer(context, where, query, mode, vector, of_query, degraded=degraded)
            answers.append(replace(answer, seconds=embedding_share + time.perf_counter() - started))
        return answers

    async def _vectors_of(self, where: Where, queries: Sequence[Query]) -> list[Vectors | None]:
        """Each query's vector; None in keyword mode, and in hybrid mode where it is not to be had."""
        texts = [query.text for query in queries if query.mode is not Mode.KEYWORD]
        if not texts:
            return [None] * len(queries)
        try:
            with stage("embed"):
                async with asyncio.timeout(self._limits.query_timeout.total_seconds()):
                    vectors = iter(await self._query_vectors.of(where.tenant_id, where.model.embedder, texts))
        except (S4Error, TimeoutError) as error:
            log.warning("search.degraded", error=getattr(error, "message", "the provider took too long"))
            if any(query.mode is Mode.SEMANTIC for query in queries):
                again = error.retry_after if isinstance(error, Unavailable) else self._limits.query_timeout
                raise Unavailable(
                    "The embedding provider does not answer; keyword mode works.", retry_after=again
                ) from error
            return [None] * len(queries)
        return [None if query.mode is Mode.KEYWORD else next(vectors) for query in queries]

    async def _true_hits(
        self,
        context: TenantContext,
        where: Where,
        query: Query,
        mode: Mode,
        vector: Vectors | None,
        conditions: list[Condition],
        without: str | None,
    ) -> _Truth:
        """Hits that the catalog confirms, widened until the page is full or nothing more is to be had; none of the
        document `without`."""
        condition = queries.all_of(conditions)
        table, narrowed = (self._tables.likely(where) if condition is None else None), None
        is_guessed = table is not None
        if table is None:
            table, narrowed = await self._prepare(context, where, condition)
        if table is None or narrowed == []:
            return _Truth([], {}, None)

        def begun() -> Pursuit:
            wanted = query.offset + query.limit
            bar = Bar(query, mode) if query.min_score else None
            return Pursuit(wanted, self._limits.candidates, narrowed, is_filtered=condition is not None, bar=bar)

        snapshot, pursuit = Snapshot(table), begun()
        rereads_left = _READS_MAX - 1
        while True:
            try:
                hits = await self._read(where, snapshot.table, query, mode, vector, pursuit)
            except IndexFault as error:
                if not is_guessed:
                    await self._suspicions.tell(where.tenant_id, where.generation.id, error)
                    raise
                hits = None  # perhaps the table is another one by now
            with stage("verify"):
                async with self._database.read() as connection:
                    verdict = await queries.judge(
                        connection,
                        context,
                        where.generation.id,
                        {hit.document_id for hit in hits or []},
                        condition,
                    )
            has_moved = verdict.table != snapshot.table
            self._tables.note(where, None if has_moved else snapshot.table)
            present = opened(verdict.table)
            if present is None:
                return _Truth([], {}, None)
            snapshot.judge(hits or [], verdict)
            overtaken = snapshot.overtaken(hits or [])
            if rereads_left and (hits is None or overtaken or (is_guessed and has_moved)):
                rereads_left -= 1
                metrics.INDEX_REREADS.inc()
                snapshot, pursuit, is_guessed = Snapshot(present, verdict), begun(), False
                continue
            if hits is None:
                gone = replaced()
                await self._suspicions.tell(where.tenant_id, where.generation.id, gone)
                raise gone
            is_guessed = False
            snapshot.settle(overtaken)
            if pursuit.ends_with(hits, snapshot.confirmed(hits, without)):
                rounds = [snapshot.confirmed(each, without) for each in pursuit.rounds]  # as they are by now
                return _Truth(rounds, snapshot.found, snapshot.table, pursuit.is_narrowed)
            if (at_most := pursuit.widen()) is not None and condition is not None:
                async with self._database.read() as connection:
                    pursuit.narrow(
                        await queries.matching_ids(connection, context, where.generation.id, condition, at_most=at_most)
                    )

    async def _prepare(
        self, context: TenantContext, where: Where, condition: Condition | None
    ) -> tuple[TableState | None, list[str] | None]:
        async with self._database.read() as connection:
            try:
                state = await index_queries.table_state(connection, where.tenant_id, where.generation.id)
            except Unavailable:
                # Its provider never answered: nothing is indexed with it, but perhaps by an older release.
                if await index_queries.has_table(connection, context.tenant_id):
                    raise
                state = None
            table = opened(state)
            narrowed = None
            if table is not None and condition is not None:
                narrowed = await queries.matching_ids(
                    connection, context, where.generation.id, condition, at_most=_PREFILTER_IDS_MAX
                )
        return table, narrowed

    async def _read(
        self,
        where: Where,
        table: TableState,
        query: Query,
        mode: Mode,
        vector: Vectors | None,
        pursuit: Pursuit,
    ) -> list[Hit] | None:
        """The index's proposal; None when this version of the table is no longer there."""
        return await self._tables.read(
            where,
            table,
            lambda reader: reader.search(
                query_text=query.text if mode is not Mode.SEMANTIC else None,
                vector=vector,
                limit=pursuit.candidates,
                document_ids=pursuit.among,
                without=pursuit.without,
            ),
        )

    async def _recalled(self, where: Where, table: TableState, vector: Vectors) -> float | None:
        reader = await self._tables.reader(where, table)
        if reader is None:
            return None
        return await reader.recall(vector, at=NEAREST, candidates=self._limits.candidates)


def _around(hit: Hit, padding: int) -> tuple[list[str], list[str]]:
    """Ids of the chunks before and after; behind the end there may be none of that name."""
    first, last = max(0, hit.ordinal - padding), hit.ordinal + padding
    return (
        [chunk_id(hit.document_id, hit.revision, ordinal) for ordinal in range(first, hit.ordinal)],
        [chunk_id(hit.document_id, hit.revision, ordinal) for ordinal in range(hit.ordinal + 1, last + 1)],
    )
