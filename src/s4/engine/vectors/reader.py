"""Reading one table at one version: by meaning and by keyword, side by side."""

import asyncio
import heapq
import math
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import numpy as np

from s4.engine.vectors.errors import IndexFault, VersionGone, reading
from s4.engine.vectors.handles import HandlePool
from s4.engine.vectors.matching import keyword_query
from s4.engine.vectors.model import ChunkRow, Hit, Vector, parse_chunk_id
from s4.engine.vectors.schema import (
    HIT_COLUMNS,
    ROW_COLUMNS,
    VECTOR_INDEX,
    LanceTable,
    any_of,
    exactly,
    named,
    none_of,
    partitions_searched,
)
from s4.kernel.errors import Unavailable

if TYPE_CHECKING:
    import pyarrow as pa


class TableReader:
    """A light value: the open table behind it is borrowed from the pool for the length of each call.

    Every method raises `VersionGone` when the version was cleaned up, `IndexFault` when it cannot be read,
    `Unavailable` when the store does not answer within the store's read timeout.
    """

    def __init__(
        self,
        pool: HandlePool,
        place: str,
        version: int,
        *,
        read_timeout: timedelta,
        on_damage: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        """`place` is a directory or a URI. `on_damage` gets rid of it when it is a copy: then whatever is wrong with
        its files is `VersionGone`, for there is another place to read from."""
        self._pool = pool
        self._place = place
        self._read_timeout = read_timeout
        self._on_damage = on_damage
        self.version = version

    async def search(
        self,
        *,
        query_text: str | None,
        vector: Vector | None,
        limit: int,
        document_ids: Sequence[str] | None = None,
        without: Collection[str] = (),
    ) -> list[Hit]:
        """Up to `limit` nearest chunks and up to `limit` best keyword matches, each chunk once, in no order.

        Any text is safe: it is taken as words, never parsed as a query language. `document_ids` narrows both
        searches before they rank, an empty one finds nothing; `without` names documents that are left out.
        """
        nearest: list[Hit] = []
        matching: list[Hit] = []
        for where in _conditions(document_ids, without):
            async with self._table("search") as table:
                near, match = await asyncio.gather(
                    _nearest(table, vector, limit, where, keyword=None if query_text is None else 0.0),
                    _matching(table, query_text, limit, where, vector),
                )
            nearest = heapq.nlargest(limit, [*nearest, *near], key=lambda hit: hit.semantic or 0.0)
            matching = heapq.nlargest(limit, [*matching, *match], key=lambda hit: hit.keyword or 0.0)
        return list({hit.chunk_id: hit for hit in (*nearest, *matching)}.values())

    async def recall(self, vector: Vector, *, at: int, candidates: int) -> float | None:
        """Which part of the `at` nearest chunks a search finds that asks for `candidates`, against a scan of the same
        version. What is as near as the last of them is as good. None: nothing is approximate here, or nothing is there.
        """
        async with self._table("recall") as table:
            if VECTOR_INDEX not in {index.name for index in await table.list_indices()}:
                return None
            proposed = await _distances(await _near(table, vector, is_exact=False), candidates)
            exact = await _distances(await _near(table, vector, is_exact=True), at)
        if not len(exact):
            return None
        return float(np.count_nonzero(proposed[: len(exact)] <= exact[-1] + DISTANCE_ROUNDING)) / len(exact)

    async def chunks(self, chunk_ids: Collection[str]) -> list[Hit]:
        """The chunks of these ids that there are, in no order, without scores."""
        if not chunk_ids:
            return []
        where = f"{any_of({parse_chunk_id(name)[0] for name in chunk_ids})} AND {named(chunk_ids)}"
        async with self._table("chunks") as table:
            found = await table.query().where(where).select([*HIT_COLUMNS]).to_arrow()
        nothing = [None] * found.num_rows
        return _hits(found, semantic=nothing, keyword=nothing)

    async def mean_vector(self, document_id: str, revision: int, *, chunks_max: int) -> Vector:
        """The mean of the directions of a document's chunks, of at most so many; zero where it has none."""
        async with self._table("document") as table:
            query = table.query().where(exactly([(document_id, revision)])).limit(chunks_max).select(["vector"])
            found = await query.to_arrow()
            if not found.num_rows:
                dimension = (await table.schema()).field("vector").type.list_size
                return np.zeros(dimension, np.float32)
        stored = _matrix(found)
        norms = np.linalg.norm(stored, axis=1, keepdims=True)
        mean: Vector = (stored / np.where(norms > 0, norms, 1)).mean(axis=0, dtype=np.float32)
        return mean

    async def document_rows(self, document_id: str) -> list[ChunkRow]:
        """Every row of a document, all its revisions, by revision and ordinal. For checks and repair."""
        async with self._table("document") as table:
            query = table.query().where(any_of([document_id])).select([*ROW_COLUMNS, "vector"])
            found = await query.to_arrow()
        rows = [ChunkRow(**row | {"vector": np.asarray(row["vector"], np.float32)}) for row in found.to_pylist()]
        return sorted(rows, key=lambda row: (row.revision, row.ordinal))

    async def all_pairs(self) -> dict[tuple[str, int], int]:
        """Rows by (document, revision), read in batches: what a sweep compares with the catalog."""
        import pyarrow as pa

        pairs: Counter[tuple[str, int]] = Counter()
        async with self._table("sweep", bounded=False) as table:
            async for batch in await table.query().select(["document_id", "revision"]).to_batches():
                grouped = pa.Table.from_batches([batch]).group_by(["document_id", "revision"])
                for row in grouped.aggregate([([], "count_all")]).to_pylist():
                    pairs[row["document_id"], row["revision"]] += row["count_all"]
        return dict(pairs)

    async def batches(self, pairs: Sequence[tuple[str, int]], *, rows_max: int) -> AsyncIterator["pa.RecordBatch"]:
        """Every row of these (document, revision) pairs, all columns, at most `rows_max` at a time, in no order."""
        if not pairs:
            return
        async with self._table("export", bounded=False) as table:
            query = table.query().where(exactly(pairs)).select([*ROW_COLUMNS, "vector"])
            async for batch in await query.to_batches(max_batch_length=rows_max):
                yield batch

    async def exists(self) -> bool:
        """Whether the table was ever written. Opens it, so that the first search finds it open."""
        async with self._leased("open") as table:
            if table is None and self._on_damage is not None:
                raise VersionGone("The copy of this index was removed (open).")
            return table is not None

    @asynccontextmanager
    async def _table(self, what: str, *, bounded: bool = True) -> AsyncIterator[LanceTable]:
        async with self._leased(what, bounded=bounded) as table:
            if table is None:
                raise VersionGone(f"This index no longer exists ({what}).")
            yield table

    @asynccontextmanager
    async def _leased(self, what: str, *, bounded: bool = True) -> AsyncIterator[LanceTable | None]:
        timeout_seconds = self._read_timeout.total_seconds() if bounded else None
        try:
            with reading(what):
                async with (
                    asyncio.timeout(timeout_seconds),
                    self._pool.lease(self._place, self.version) as table,
                ):
                    yield table
        except VersionGone:
            self._pool.forget(self._place)  # its files are gone, or the table was made anew under this name
            await self._get_rid_of_copy()
            raise
        except (Unavailable, ValueError) as error:
            if self._on_damage is None and isinstance(error, ValueError):
                raise IndexFault(f"The index could not be read ({what}).") from error  # our queries are sound
            if self._on_damage is None or isinstance(error.__cause__, TimeoutError):
                raise
            self._pool.forget(self._place)
            await self._get_rid_of_copy()
            raise VersionGone(f"The copy of this index is damaged ({what}).") from error

    async def _get_rid_of_copy(self) -> None:
        if self._on_damage is not None:
            await self._on_damage()


def _conditions(document_ids: Sequence[str] | None, without: Collection[str]) -> Iterator[str | None]:
    """Each selects a part of what is wanted, no row twice."""
    others = none_of(without) if without else None
    if document_ids is None:
        yield others
        return
    for start in range(0, len(document_ids), NARROWED_IDS_MAX):
        part = any_of(document_ids[start : start + NARROWED_IDS_MAX])
        yield part if others is None else f"{part} AND {others}"


NARROWED_IDS_MAX = 10_000
"""Documents that one query of the table is narrowed to: some 0.1 s and a condition of 300 KB."""
APPROXIMATE_MAX = 400
"""Nearest chunks that are looked up in the vector index; who wants more gets them from a scan."""
DISTANCE_ROUNDING = 1e-6
"""Of a cosine that was reckoned in another order."""
SCORED_MATCHES_MIN = 1000
"""Matches whose score under a filter is exactly that without it. Two columns each: cheap beside the search."""


async def _nearest(
    table: LanceTable, vector: Vector | None, limit: int, where: str | None, *, keyword: float | None
) -> list[Hit]:
    if vector is None or not np.any(vector):
        return []  # the zero vector has no direction, hence no neighbours
    query = await _near(table, vector, is_exact=where is not None or limit > APPROXIMATE_MAX)
    # Feedback is for searches both ways: a search by meaning alone reads no vectors.
    found = await _run(query, limit, where, ["_distance"] if keyword is None else ["_distance", "vector"])
    cosines = [_finite(1.0 - distance) for distance in found.column("_distance").to_pylist()]
    return _hits(found, semantic=cosines, keyword=[keyword] * found.num_rows)


async def _near(table: LanceTable, vector: Vector, *, is_exact: bool) -> Any:
    query = table.query().nearest_to(np.ascontiguousarray(vector, np.float32)).distance_type("cosine")
    if is_exact:
        return query.bypass_vector_index()
    # Of no effect where there is no vector index. Refined: the cosines of what it finds are exact.
    return query.nprobes(partitions_searched(await table.count_rows())).refine_factor(1)


async def _distances(query: Any, limit: int) -> Vector:
    """Ascending."""
    found = await query.limit(limit).select(["_distance"]).to_arrow()
    return np.sort(found.column("_distance").to_numpy())


async def _matching(
    table: LanceTable, text: str | None, limit: int, where: str | None, vector: Vector | None
) -> list[Hit]:
    match = await keyword_query(table, text or "")
    if match is None:
        return []
    extra = ["_score"] if vector is None else ["_score", "vector"]
    found = await _run(table.query().nearest_to_text(match), limit, where, extra)
    scores = found.column("_score").to_pylist()
    if where is not None and found.num_rows:
        wide = await _table_wide_scores(table, match, found.num_rows)
        lowest = min(wide.values(), default=math.inf)
        ids = found.column("chunk_id").to_pylist()
        scores = [wide.get(name, min(score, lowest)) for name, score in zip(ids, scores, strict=True)]
    return _hits(found, semantic=_cosines(found, vector), keyword=scores)


async def _table_wide_scores(table: LanceTable, match: Any, matches: int) -> dict[str, float]:
    """BM25 of the table's best matches, whoever may see them.

    LanceDB takes the frequency of words over the rows that a filter leaves, so the same chunk would score
    otherwise under every filter. These scores replace the narrowed ones; what is not among them scores at most as
    the least of them.
    """
    query = table.query().nearest_to_text(match).limit(max(SCORED_MATCHES_MIN, matches))
    found = await query.select(["chunk_id", "_score"]).to_arrow()
    return {row["chunk_id"]: row["_score"] for row in found.to_pylist()}


async def _run(query: Any, limit: int, where: str | None, extra: list[str]) -> "pa.Table":
    if where is not None:
        query = query.where(where)
    return await query.limit(limit).select([*HIT_COLUMNS, *extra]).to_arrow()


def _cosines(found: "pa.Table", vector: Vector | None) -> Sequence[float | None]:
    if vector is None or not found.num_rows:
        return [None] * found.num_rows
    stored = _matrix(found)
    norms = np.linalg.norm(stored, axis=1) * np.linalg.norm(vector)
    with np.errstate(divide="ignore", invalid="ignore"):
        return [_finite(value) for value in stored @ vector / norms]


def _matrix(found: "pa.Table") -> Vector:
    """The column of vectors, a row each. `found` has a row at least."""
    matrix: Vector = found.column("vector").combine_chunks().flatten().to_numpy().reshape(found.num_rows, -1)
    return matrix


def _finite(value: float) -> float:
    """A stored zero vector has no cosine; it counts as unrelated."""
    return min(1.0, max(-1.0, float(value))) if math.isfinite(value) else 0.0


def _hits(found: "pa.Table", *, semantic: Sequence[float | None], keyword: Sequence[float | None]) -> list[Hit]:
    columns = (found.column(name).to_pylist() for name in HIT_COLUMNS)
    has_vectors = "vector" in found.column_names and found.num_rows
    vectors = _matrix(found) if has_vectors else [None] * found.num_rows
    hits = []
    for name, text, page, start, end, heading, near, match, vector in zip(
        *columns, semantic, keyword, vectors, strict=True
    ):
        document_id, revision, ordinal = parse_chunk_id(name)
        hits.append(Hit(name, document_id, revision, ordinal, text, page, start, end, heading, near, match, vector))
    return hits
