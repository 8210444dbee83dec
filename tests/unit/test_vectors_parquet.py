"""Vectors as Parquet: what another deployment wrote is read, and a small file that stands for gigabytes is refused."""

from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from s4.engine.vectors import VectorGroup, read_vector_groups
from s4.engine.vectors.parquet import vector_groups
from s4.kernel.errors import InvalidRequest

SPACE, HASH = "model-4-1", "a" * 64


def written(path: Path, *, space: str = SPACE, name: str = HASH, vectors: Sequence[Any] = ((0.5, 0.5),)) -> Path:
    rows = len(vectors)
    columns = {"space": [space] * rows, "group_hash": [name] * rows, "ordinal": pa.array(range(rows), pa.int32())}
    pq.write_table(pa.table(columns | {"vector": pa.array(vectors, pa.list_(pa.float32()))}), path)
    return path


async def test_what_is_written_is_read(tmp_path: Path) -> None:
    groups = [VectorGroup(SPACE, f"{number:064x}", np.full((number, 3), number, np.float32)) for number in (1, 128, 2)]

    async def each() -> AsyncIterator[VectorGroup | None]:
        for group in groups * 20:
            yield group

    path = tmp_path / "some.parquet"
    path.write_bytes(b"".join([piece async for piece in vector_groups(each())]))
    read = [(group.space, group.hash, group.vectors.tolist()) for group in read_vector_groups(path)]
    assert read == [(group.space, group.hash, group.vectors.tolist()) for group in groups * 20]


def test_the_longest_vectors_are_read(tmp_path: Path) -> None:
    (group,) = read_vector_groups(written(tmp_path / "long.parquet", vectors=[np.zeros(16_384)] * 2))
    assert group.vectors.shape == (2, 16_384)


@pytest.mark.parametrize(
    "of",
    [{"vectors": [np.zeros(1_000_000)]}, {"space": "s" * 300_000}, {"name": "f" * 300_000}],
    ids=["numbers", "space", "hash"],
)
def test_a_small_file_of_huge_values_is_refused_before_they_are_read(tmp_path: Path, of: dict[str, Any]) -> None:
    path = written(tmp_path / "bomb.parquet", **of)
    assert path.stat().st_size < 100_000
    with pytest.raises(InvalidRequest, match=r"more than 16384 numbers|too long"):
        next(read_vector_groups(path))
