"""Rows and vectors as Parquet, for what leaves S4 and for what comes from another.

Written and read a batch at a time, so that a table of any size passes through some megabytes of memory. Two shapes:

    chunks      one row for each chunk that is searchable, with its vector: the columns of the index table
    embeddings  one row for each vector that was paid for, by embedding space and group: `space`, `group_hash`,
                `ordinal` within the group, `vector`. A group's rows follow one another.
"""

import asyncio
import io
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from s4.engine.vectors.model import Vector
from s4.kernel.errors import InvalidRequest
from s4.kernel.units import KIB

if TYPE_CHECKING:
    import pyarrow as pa

    from s4.engine.vectors.reader import TableReader

CONTENT_TYPE = "application/vnd.apache.parquet"
BATCH_ROWS = 1024
"""Of a row group: 6 MB of vectors with 1,536 dimensions."""
_DAMAGED = "s4_damaged_groups"
_GROUP_ROWS_MAX = 128  # as many as `engine/embedding/groups.py` puts into one
_DIMENSION_MAX = 16_384
"""Of a vector that is read: several times the longest that providers have."""
_NAMES_BYTES_MAX = 256 * KIB
"""Of the spaces, or the hashes, of a row group. Of 1,024 rows they take at most a third."""


@dataclass(frozen=True, slots=True, eq=False)
class VectorGroup:
    """Vectors that were embedded together: shape (n, dimension)."""

    space: str
    hash: str
    vectors: Vector


class _Gathered(io.RawIOBase):
    """What the writer has written since it was last emptied."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []
        self._position = 0

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def write(self, data: Any) -> int:
        piece = bytes(data)
        self._pieces.append(piece)
        self._position += len(piece)
        return len(piece)

    def taken(self) -> bytes:
        pieces, self._pieces = self._pieces, []
        return b"".join(pieces)


async def chunk_rows(reader: "TableReader", pairs: Sequence[tuple[str, int]]) -> AsyncIterator[bytes]:
    """A Parquet file with every row of these (document, revision) pairs, in no order. Raises as the reader does; and
    nothing at all comes when there is no such row."""
    async for piece in _written(reader.batches(pairs, rows_max=BATCH_ROWS)):
        yield piece


async def vector_groups(groups: AsyncIterator[VectorGroup | None]) -> AsyncIterator[bytes]:
    """A Parquet file of these groups, in their order. None stands for one that is damaged: it is left out, and the
    file's metadata has how many were. Nothing comes when there are none at all."""
    damaged = 0

    async def batches() -> AsyncIterator["pa.RecordBatch"]:
        nonlocal damaged
        waiting: list[VectorGroup] = []
        rows = 0
        async for group in groups:
            if group is None:
                damaged += 1
                continue
            waiting.append(group)
            rows += len(group.vectors)
            if rows >= BATCH_ROWS:
                yield await asyncio.to_thread(_group_batch, waiting)
                waiting, rows = [], 0
        if waiting or damaged:
            yield await asyncio.to_thread(_group_batch, waiting)

    async for piece in _written(batches(), lambda: {_DAMAGED: str(damaged)} if damaged else {}):
        yield piece


def damaged_groups(path: Path) -> int:
    """How many a file of `vector_groups` lacks, since they were damaged. Not for the event loop."""
    import pyarrow.parquet as pq

    return int((pq.read_metadata(path).metadata or {}).get(_DAMAGED.encode(), 0))


def _nothing() -> dict[str, str]:
    return {}


async def _written(
    batches: AsyncIterator["pa.RecordBatch"], metadata: Callable[[], dict[str, str]] = _nothing
) -> AsyncIterator[bytes]:
    """`metadata`: of the file, asked for at its end."""
    import pyarrow.parquet as pq

    gathered = _Gathered()
    writer: Any = None
    try:
        async for batch in batches:
            if batch.num_rows == 0 and not metadata():
                continue
            if writer is None:
                # Vectors hardly compress; texts do.
                writer = pq.ParquetWriter(gathered, batch.schema, compression="zstd")
            await asyncio.to_thread(writer.write_batch, batch)
            yield gathered.taken()
        if writer is not None:
            writer.add_key_value_metadata(metadata())
            await asyncio.to_thread(writer.close)
            yield gathered.taken()
    finally:
        if writer is not None and writer.is_open:
            writer.close()


def _group_batch(groups: Sequence[VectorGroup]) -> "pa.RecordBatch":
    import pyarrow as pa

    vectors = [row for group in groups for row in np.asarray(group.vectors, np.float32)]
    offsets = np.cumsum([0, *map(len, vectors)], dtype=np.int32)
    flat = np.concatenate(vectors) if vectors else np.empty(0, np.float32)
    columns = [
        pa.array([group.space for group in groups for _ in range(len(group.vectors))], pa.utf8()),
        pa.array([group.hash for group in groups for _ in range(len(group.vectors))], pa.utf8()),
        pa.array([ordinal for group in groups for ordinal in range(len(group.vectors))], pa.int32()),
        pa.ListArray.from_arrays(pa.array(offsets), pa.array(flat)),
    ]
    return pa.RecordBatch.from_arrays(columns, names=["space", "group_hash", "ordinal", "vector"])


def read_vector_groups(path: Path) -> Iterator[VectorGroup]:
    """The groups of a file that `vector_groups` wrote. Reads as it goes; not for the event loop. Raises
    `InvalidRequest` for a file that is no such thing."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    space, name, rows = "", "", list[np.ndarray[Any, Any]]()

    def whole() -> VectorGroup:
        if len({row.shape for row in rows}) != 1 or not np.isfinite(rows).all():
            raise InvalidRequest(f"The vectors of the group {name} do not fit together.")
        return VectorGroup(space, name, np.stack(rows).astype(np.float32, copy=False))

    try:
        with pq.ParquetFile(path) as file:
            _require_bounded(file.metadata)
            for batch in file.iter_batches(BATCH_ROWS, columns=["space", "group_hash", "ordinal", "vector"]):
                for row_space, row_name, ordinal, vector in _rows(batch):
                    if (row_space, row_name) != (space, name):
                        if rows:
                            yield whole()
                        space, name, rows = row_space, row_name, []
                    if ordinal != len(rows) or ordinal >= _GROUP_ROWS_MAX:
                        raise InvalidRequest(f"The rows of the group {row_name} are not in their order.")
                    rows.append(vector)
    except (pa.ArrowException, OSError, KeyError, AttributeError, TypeError, ValueError) as error:  # of other columns
        raise InvalidRequest("This is no Parquet file of vectors as an export has them.") from error
    if rows:
        yield whole()


def _require_bounded(metadata: Any) -> None:
    """A kilobyte of Parquet may stand for gigabytes: a zero, or a text, that is said often takes no room in it. Raises
    `InvalidRequest`."""
    for group in map(metadata.row_group, range(metadata.num_row_groups)):
        for column in map(group.column, range(group.num_columns)):
            name = column.path_in_schema.partition(".")[0]
            if name == "vector" and column.num_values > group.num_rows * _DIMENSION_MAX:
                raise InvalidRequest(f"The file has vectors of more than {_DIMENSION_MAX} numbers.")
            if name in ("space", "group_hash") and column.total_uncompressed_size > _NAMES_BYTES_MAX:
                raise InvalidRequest("The names of spaces and groups are too long, or a row group has too many rows.")


def _rows(batch: "pa.RecordBatch") -> Iterator[tuple[str, str, int, "np.ndarray[Any, Any]"]]:
    spaces, names, ordinals = (batch.column(name).to_pylist() for name in ("space", "group_hash", "ordinal"))
    vectors = batch.column("vector")
    for index, (space, name, ordinal) in enumerate(zip(spaces, names, ordinals, strict=True)):
        if not (isinstance(space, str) and isinstance(name, str) and isinstance(ordinal, int)):
            raise InvalidRequest("A row of the vectors lacks its space, group or ordinal.")
        yield space, name, ordinal, np.asarray(vectors[index].values.to_numpy(zero_copy_only=False), np.float32)
