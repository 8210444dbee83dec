"""The table's shape, its indices, and the conditions that select rows.

A table has one of two forms, for as long as it lives. Those of earlier releases index `text` as LanceDB cuts it; new
ones have a column `terms`, what `engine.analysis` makes of the passage and its headings, and index that. Readers and
writers go by the table that they find. The column may not be null, so that a process of an earlier release cannot write
rows that no keyword finds: its job fails and is done by another.

`chunk_id` is declared the table's primary key: LanceDB then detects two concurrent merges of the same new
rows, which it otherwise doubles silently. An index on that column would switch the detection off again
(measured with 0.40), so it has none, and merges scan it.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from s4.engine.analysis import index_terms
from s4.engine.vectors.model import ChunkRow
from s4.kernel.keys import INDEX_TABLE

if TYPE_CHECKING:
    import pyarrow as pa
    from lancedb.index import FTS, IvfRq

LanceTable: TypeAlias = Any
"""`lancedb.table.AsyncTable`. Its published types are partly absent, partly wrong (`stats` is a dict)."""
LanceConnection: TypeAlias = Any
"""`lancedb.AsyncConnection`; the same."""

TABLE = INDEX_TABLE
TEXT_INDEX = "text_idx"
"""Of tables of earlier releases."""
TERMS_COLUMN = "terms"
TERMS_INDEX = "terms_idx"
DOCUMENT_INDEX = "document_id_idx"
VECTOR_INDEX = "vector_idx"
VECTOR_INDEX_ROWS_MIN = 10_000
"""Smaller tables are scanned, exactly, in less than 10 ms."""
VECTOR_INDEX_BITS = 4
"""Of a code, for each dimension."""
PARTITION_ROWS = 8_192
"""LanceDB makes one partition for so many."""
PARTITIONS_SEARCHED_MIN = 64
"""All of them up to half a million rows."""
PARTITIONS_SEARCHED_PART = 0.75
"""Of a larger table's: docs/decisions/0054-partitions.md."""

HIT_COLUMNS = ("chunk_id", "text", "page", "char_start", "char_end", "heading")
"""What a search reads of a row. Each column costs: some 0.3 ms for a hundred rows that lie apart."""
ROW_COLUMNS = (*HIT_COLUMNS, "document_id", "revision", "ordinal")
"""Everything but the vector."""


def table_schema(dimension: int, *, with_terms: bool = True) -> "pa.Schema":
    """`with_terms`: false for a table of an earlier release."""
    import pyarrow as pa

    terms = [pa.field(TERMS_COLUMN, pa.utf8(), False)] if with_terms else []
    return pa.schema(
        [
            pa.field("chunk_id", pa.utf8(), False, metadata={"lance-schema:unenforced-primary-key": "true"}),
            pa.field("document_id", pa.utf8(), False),
            pa.field("revision", pa.int64(), False),
            pa.field("ordinal", pa.int32(), False),
            pa.field("text", pa.utf8(), False),
            pa.field("vector", pa.list_(pa.float32(), dimension), False),
            pa.field("page", pa.int32(), True),
            pa.field("char_start", pa.int64(), False),
            pa.field("char_end", pa.int64(), False),
            pa.field("heading", pa.utf8(), True),
            *terms,
        ]
    )


def partitions_searched(rows: int) -> int:
    return max(PARTITIONS_SEARCHED_MIN, math.ceil(PARTITIONS_SEARCHED_PART * rows / PARTITION_ROWS))


def terms_index_config() -> "FTS":
    """The terms are cut already; English ones get their stems here, by Snowball's rules, and those of other languages
    once more, in queries as in rows. With positions, for phrases."""
    from lancedb.index import FTS

    return FTS(
        with_position=True,
        base_tokenizer="whitespace",
        language="English",
        max_token_length=None,
        lower_case=False,
        stem=True,
        remove_stop_words=False,
        ascii_folding=False,
    )


def text_index_config() -> "FTS":
    """Of a table of an earlier release: English stemming and stop words, no positions."""
    from lancedb.index import FTS

    return FTS(
        with_position=False,
        base_tokenizer="simple",
        language="English",
        lower_case=True,
        stem=True,
        remove_stop_words=True,
        ascii_folding=True,
    )


def vector_index_config() -> "IvfRq":
    """RaBitQ's codes in few large partitions: docs/decisions/0035-vector-index.md has the sweep."""
    from lancedb.index import IvfRq

    return IvfRq(distance_type="cosine", num_bits=VECTOR_INDEX_BITS)


def to_arrow(rows: Sequence[ChunkRow], dimension: int, *, with_terms: bool = True) -> "pa.Table":
    """Raises `ValueError` for a vector of another dimension or with a value that is not finite."""
    import pyarrow as pa

    for row in rows:
        if row.vector.shape != (dimension,):
            raise ValueError(f"{row.chunk_id}: vector of shape {row.vector.shape}, the table has {dimension}")
    vectors = np.stack([row.vector for row in rows]).astype(np.float32, copy=False)
    if not np.isfinite(vectors).all():
        raise ValueError("a vector holds a value that is not finite")
    columns: dict[str, Any] = {name: [getattr(row, name) for row in rows] for name in ROW_COLUMNS}
    columns["vector"] = pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), dimension)
    if with_terms:
        columns[TERMS_COLUMN] = [index_terms(row.title, row.heading, row.text) for row in rows]
    return pa.table(columns, schema=table_schema(dimension, with_terms=with_terms))


def quoted(value: str) -> str:
    """A SQL string literal. Our ids need no escape; nothing here depends on that."""
    return "'" + value.replace("'", "''") + "'"


def any_of(document_ids: Iterable[str]) -> str:
    return f"document_id IN ({', '.join(map(quoted, document_ids))})"


def none_of(document_ids: Iterable[str]) -> str:
    return f"document_id NOT IN ({', '.join(map(quoted, document_ids))})"


def named(chunk_ids: Iterable[str]) -> str:
    """Selects rows by their ids. No index serves that: a condition on documents belongs beside it."""
    return f"chunk_id IN ({', '.join(map(quoted, chunk_ids))})"


def older_than(revisions_below: Mapping[str, int]) -> str:
    """Selects rows of each document whose revision is lower than the one given. The mapping is not empty."""
    return _by_revision(revisions_below.items(), "<")


def exactly(pairs: Iterable[tuple[str, int]]) -> str:
    """Selects the rows of these (document, revision) pairs. There is at least one."""
    return _by_revision(pairs, "=")


def _by_revision(pairs: Iterable[tuple[str, int]], comparison: str) -> str:
    """One clause per revision, not per document: most documents share a few revisions, and a chain of
    thousands of ORs would nest as deep in the query planner."""
    documents: dict[int, list[str]] = {}
    for document_id, revision in pairs:
        documents.setdefault(revision, []).append(document_id)
    return " OR ".join(
        f"(revision {comparison} {int(revision)} AND {any_of(ids)})" for revision, ids in documents.items()
    )
