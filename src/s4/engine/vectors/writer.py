"""Writing one table: idempotent, monotone, and cheap on large tables.

`apply` makes up to two commits: new rows are merged in, then rows of lower revisions are deleted. LanceDB can
do both in one, but that took 100–270 ms at 100,000 rows where the two steps take about 25. One commit is not
needed: readers see only the version that the catalog names, which is the last of the two, and a crash in
between leaves rows that the catalog ignores and the repeated call removes.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from itertools import islice
from typing import Any, TypeVar

import structlog

from s4.engine.vectors.errors import is_conflict, is_missing_table, is_table_exists, writing
from s4.engine.vectors.manifest import Fragment
from s4.engine.vectors.model import ChunkRow, OptimizeReport, TableStats
from s4.engine.vectors.schema import (
    DOCUMENT_INDEX,
    TABLE,
    TERMS_COLUMN,
    TERMS_INDEX,
    TEXT_INDEX,
    VECTOR_INDEX,
    VECTOR_INDEX_ROWS_MIN,
    LanceConnection,
    LanceTable,
    exactly,
    older_than,
    table_schema,
    terms_index_config,
    text_index_config,
    to_arrow,
    vector_index_config,
)
from s4.engine.vectors.tiers import WHOLE, plan
from s4.kernel.errors import DataCorrupt, Unavailable

log = structlog.get_logger()
T = TypeVar("T")

CONFLICT_ATTEMPTS_MAX = 8
"""LanceDB repeats most lost commits by itself; compactions come through (2–11 of 15 under load)."""
CONFLICT_PAUSE_SECONDS = 0.05
"""First pause, doubled each time and shortened at random, so that two losers do not meet again."""
PRUNE_PAIRS_MAX = 1000
"""(document, revision) pairs in one delete: bounds the length of its condition."""
NO_CLEANUP = timedelta(days=36_500)
"""LanceDB's compaction always cleans up as well, by the births of versions, so that it would remove the very version
that readers hold when a table has rested: it is told to find nothing."""
FRAGMENT_SHIFT = 32
"""The address of a row is its fragment's id, and its position there in the lower bits."""


class TableWriter:
    """Holds the table open across calls. One at a time per table, by a lease that the caller holds.

    The lease spares conflicts; correctness does not rest on it. Every method may be repeated. All raise
    `Unavailable` when the store fails or the commit was lost too often.
    """

    def __init__(self, connection: LanceConnection, dimension: int) -> None:
        self._connection = connection
        self._dimension = dimension
        self._table: LanceTable | None = None
        self._complete = False
        self._has_terms = True
        """Of the open table; see `schema`."""

    async def apply(
        self, rows: Sequence[ChunkRow], *, removals: Mapping[str, int] | None = None, keep_older: bool = False
    ) -> int:
        """Adds `rows`, takes away what they replace, and returns the version that shows the result.

        A document's rows replace all rows of its lower revisions, unless `keep_older`: then the caller names them
        in `removals` of a later call, when nobody searches them any more. `removals` maps documents to the revision
        below which their rows go. Rows that are there already stay as they are.
        """
        below = dict(removals or {})
        for row in rows if not keep_older else ():
            below[row.document_id] = max(row.revision, below.get(row.document_id, 0))
        fresh = {row.chunk_id: row for row in rows}
        # Revisions count from 1, so a first revision has nothing below it: most uploads make one commit.
        replaced = {document_id: revision for document_id, revision in below.items() if revision > 1}
        with writing("apply"):
            table = await self._open_or_create()
            version = await self._merge(table, list(fresh.values())) if fresh else None
            if replaced:
                version = await self._delete(table, older_than(replaced)) or version
            return version if version is not None else await self._latest(table)

    async def latest(self) -> int:
        """The table's latest version; 0 when there is no table."""
        with writing("open"):
            table = await self._open()
            return 0 if table is None else int(await table.version())

    async def prune(self, pairs: Iterable[tuple[str, int]]) -> int:
        """Deletes the rows of these (document, revision) pairs, which the caller knows to be superseded.

        Returns the version without them; 0 when there is no table.
        """
        with writing("prune"):
            table = await self._open()
            if table is None:
                return 0
            remaining = iter(pairs)
            while batch := list(islice(remaining, PRUNE_PAIRS_MAX)):
                await self._delete(table, exactly(batch))
            return await self._latest(table)

    async def optimize(self, fragments: Sequence[Fragment] | None = None) -> OptimizeReport:
        """Merges small pieces and takes new rows into the indices: what is due of it by `tiers`, when `fragments` are
        those of the latest version, or everything. Removes no version: see `superseded`."""
        with writing("optimize"):
            table = await self._open()
            if table is None:
                return OptimizeReport(0, 0, 0, 0, 0)
            before = await self._stats(table)
            due = WHOLE if fragments is None else plan(fragments, before.unindexed_rows)
            if due.gather_from is not None:
                await self._gather(table, due.gather_from)
            if due.index:
                await self._compact(table)
                await self._index_vectors(table, before.rows)
            if due.whole:  # before, what was in the indices and what was not could not become one piece
                await self._compact(table)
            after = await self._stats(table)
            return OptimizeReport(
                version=after.version,
                rows=after.rows,
                unindexed_rows=after.unindexed_rows,
                fragments_before=before.fragments,
                fragments_after=after.fragments,
            )

    async def stats(self, *, count_versions: bool = False) -> TableStats:
        """Of the latest version. Counting versions reads each one's manifest, so only on demand."""
        with writing("stats"):
            table = await self._open()
            if table is None:
                return TableStats(0, 0, 0, 0, 0, 0 if count_versions else None)
            stats = await self._stats(table)
            if not count_versions:
                return stats
            return replace(stats, versions=len(await table.list_versions()))

    async def close(self) -> None:
        if self._table is not None:
            self._table.close()
            self._table = None
            self._complete = False
        self._connection.close()

    async def _merge(self, table: LanceTable, rows: list[ChunkRow]) -> int:
        # Without the index: with it, LanceDB does not notice that another writer inserts the same new ids.
        data = await asyncio.to_thread(to_arrow, rows, self._dimension, with_terms=self._has_terms)  # takes its time
        merge = table.merge_insert("chunk_id").when_not_matched_insert_all().use_index(False)
        return int((await self._repeat(table, lambda: merge.execute(data))).version)

    async def _compact(self, table: LanceTable) -> None:
        """Of pieces with less than a million rows, those that are in the same indices become one; then all rows are in
        the indices."""
        await self._repeat(table, lambda: table.optimize(cleanup_older_than=NO_CLEANUP))

    async def _gather(self, table: LanceTable, fragment_id: int) -> None:
        """Makes one piece of this one and all later ones, in no index. LanceDB's compaction cannot be told which
        pieces to merge; a change of rows that changes nothing writes exactly them anew, in one commit."""
        later = f"_rowaddr >= {fragment_id << FRAGMENT_SHIFT}"
        await self._repeat(table, lambda: table.update(where=later, updates_sql={"ordinal": "ordinal"}))

    async def _delete(self, table: LanceTable, condition: str) -> int | None:
        """None when there was nothing to delete: a look is cheaper than a commit."""
        await table.checkout_latest()
        if not await table.count_rows(condition):
            return None
        return int((await self._repeat(table, lambda: table.delete(condition))).version)

    async def _latest(self, table: LanceTable) -> int:
        await table.checkout_latest()
        return int(await table.version())

    async def _stats(self, table: LanceTable) -> TableStats:
        version = await self._latest(table)
        stats = await table.stats()
        index = await table.index_stats(self._keyword_index)
        return TableStats(
            version=version,
            rows=stats["num_rows"],
            unindexed_rows=index.num_unindexed_rows if index else stats["num_rows"],
            fragments=stats["fragment_stats"]["num_fragments"],
            size_bytes=stats["total_bytes"],
            versions=None,
        )

    async def _open(self) -> LanceTable | None:
        if self._table is None:
            try:
                table = await self._connection.open_table(TABLE)
            except ValueError as error:
                if is_missing_table(error):
                    return None
                raise
            await self._keep(table)
        return self._table

    async def _keep(self, table: LanceTable) -> None:
        self._has_terms = TERMS_COLUMN in (await table.schema()).names
        self._table = table

    @property
    def _keyword_index(self) -> str:
        return TERMS_INDEX if self._has_terms else TEXT_INDEX

    async def _open_or_create(self) -> LanceTable:
        table = await self._open()
        if table is None:
            try:
                table = await self._connection.create_table(TABLE, schema=table_schema(self._dimension))
            except (ValueError, RuntimeError) as error:
                if not (is_table_exists(error) or is_conflict(error)):
                    raise
                table = await self._connection.open_table(TABLE)
            await self._keep(table)
        if not self._complete:  # also mends what a crash left half made
            await self._check_dimension(table)
            await self._create_missing_indices(table)
            self._complete = True
        return table

    async def _check_dimension(self, table: LanceTable) -> None:
        stored = (await table.schema()).field("vector").type.list_size
        if stored != self._dimension:
            raise DataCorrupt(f"The index holds vectors of {stored} dimensions, not of {self._dimension}.")

    async def _create_missing_indices(self, table: LanceTable) -> None:
        """Made on the empty table, so that they are there from the first row; `optimize` fills them."""
        from lancedb.index import BTree

        there = {index.name for index in await table.list_indices()}
        if self._keyword_index not in there:
            column, config = (TERMS_COLUMN, terms_index_config()) if self._has_terms else ("text", text_index_config())
            await self._create_index(table, self._keyword_index, column, config)
        if DOCUMENT_INDEX not in there:
            await self._create_index(table, DOCUMENT_INDEX, "document_id", BTree())

    async def _index_vectors(self, table: LanceTable, rows: int) -> None:
        """Made once the table is large; from then on `optimize` takes new rows in. Some vectors cannot be indexed (of a
        dimension that eight does not divide, or nothing but zeros): they go on being scanned."""
        if rows < VECTOR_INDEX_ROWS_MIN or VECTOR_INDEX in {index.name for index in await table.list_indices()}:
            return
        try:
            await self._create_index(table, VECTOR_INDEX, "vector", vector_index_config())
        except (ValueError, RuntimeError) as error:
            log.warning("index.vectors_not_indexed", rows=rows, error=str(error))

    async def _create_index(self, table: LanceTable, name: str, column: str, config: Any) -> None:
        await self._repeat(table, lambda: table.create_index(column, config=config, name=name))

    async def _repeat(self, table: LanceTable, commit: Callable[[], Awaitable[T]]) -> T:
        """Runs a commit until it wins, on the latest version each time."""
        for attempt in range(CONFLICT_ATTEMPTS_MAX):
            try:
                return await commit()
            except RuntimeError as error:
                if not is_conflict(error):
                    raise
                lost = error
            await asyncio.sleep(CONFLICT_PAUSE_SECONDS * 2**attempt * random.random())  # noqa: S311 - jitter
            await table.checkout_latest()
        raise Unavailable("The index is being written by others; the commit was lost each time.") from lost
