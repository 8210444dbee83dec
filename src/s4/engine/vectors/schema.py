"""The table's shape, its indices, and the conditions that select rows.

`chunk_id` is declared the table's primary key: LanceDB then detects two concurrent merges of the same new
rows, which it otherwise doubles silently. An index on that column would switch the detection off again
(measured with 0.40), so it has none, and merges scan it.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

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


def table_schema(dimension: int) -> "pa.Schema":
    import pyarrow as pa

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
        ]
    )


def partitions_searched(rows: int) -> int:
    return max(PARTITIONS_SEARCHED_MIN, math.ceil(PARTITIONS_SEARCHED_PART * rows / PARTITION_ROWS))


def text_index_config() -> "FTS":
    """English stemming and stop words: nDCG@10 on Cranfield 0.375 (unstemmed 0.362, with stop words 0.367).

    The ICU tokenizer would also cut Chinese and Japanese into words and scores the same (0.376), but takes
    nine times as long per text, which a search pays for every row that is not indexed yet, and it loses the
    tail of dotted names (`a@b.com`, `v1.2.3`). No positions: phrase queries are not offered, and the index
    is smaller without.
    """
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


def to_arrow(rows: Sequence[ChunkRow], dimension: int) -> "pa.Table":
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
    return pa.table(columns, schema=table_schema(dimension))


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
