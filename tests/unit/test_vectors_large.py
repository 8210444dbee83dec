"""Tables that are too large to be scanned: an index of vectors proposes, and what it proposes is compared exactly."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from s4.engine.vectors import ChunkRow, Hit, VectorStore, chunk_id
from s4.engine.vectors import writer as writing
from s4.engine.vectors.schema import VECTOR_INDEX, VECTOR_INDEX_ROWS_MIN

PREFIX = "indices/ten_a/gen_a"
DIMENSION = 64
CLUSTERS = 100
TOP = 10


@dataclass
class Large:
    store: VectorStore
    version: int
    vectors: np.ndarray
    """By ordinal; documents are `doc_{ordinal}`."""
    random: np.random.Generator

    def near(self, ordinal: int) -> np.ndarray:
        """A question whose best answer is that row, most likely."""
        noise = self.random.normal(size=DIMENSION).astype(np.float32)
        return _unit(self.vectors[ordinal] + 0.1 * _unit(noise))

    def nearest(self, question: np.ndarray, among: range | None = None) -> list[str]:
        among = among or range(len(self.vectors))
        order = np.argsort(-(self.vectors[list(among)] @ question))[:TOP]
        return [f"doc_{among[int(position)]}" for position in order]

    async def found(self, question: np.ndarray, *, limit: int = 100, among: range | None = None) -> list[Hit]:
        reader = await self.store.reader(PREFIX, self.version)
        assert reader is not None
        ids = [f"doc_{ordinal}" for ordinal in among] if among is not None else None
        hits = await reader.search(query_text=None, vector=question, limit=limit, document_ids=ids)
        return sorted(hits, key=lambda hit: -(hit.semantic or 0.0))


def _unit(vector: np.ndarray) -> np.ndarray:
    return (vector / np.linalg.norm(vector, axis=-1, keepdims=True)).astype(np.float32)


def _row(ordinal: int, vector: np.ndarray) -> ChunkRow:
    document_id = f"doc_{ordinal}"
    return ChunkRow(chunk_id(document_id, 1, 0), document_id, 1, 0, "valve", vector, None, 0, 5, None)


def open_store(folder: Path) -> VectorStore:
    return VectorStore(
        str(folder),
        storage_options={},
        index_cache_bytes=64 << 20,
        metadata_cache_bytes=32 << 20,
        handles_max=2,
        read_timeout=timedelta(seconds=30),
    )


@pytest.fixture(scope="module")
async def large(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Large]:
    random = np.random.default_rng(11)
    centres = random.normal(size=(CLUSTERS, DIMENSION))
    rows = VECTOR_INDEX_ROWS_MIN
    vectors = _unit(centres[random.integers(CLUSTERS, size=rows)] + 0.5 * random.normal(size=(rows, DIMENSION)))
    store = open_store(tmp_path_factory.mktemp("large"))
    writer = await store.writer(PREFIX, DIMENSION)
    await writer.apply([_row(ordinal, vector) for ordinal, vector in enumerate(vectors)])
    done = await writer.optimize()
    await writer.close()
    yield Large(store, done.version, vectors, random)
    await store.close()


async def test_compaction_makes_the_index_once_a_table_is_large(large: Large) -> None:
    async with (await large.store.reader(PREFIX, large.version))._table("test") as table:  # type: ignore[union-attr]
        assert VECTOR_INDEX in {index.name for index in await table.list_indices()}


async def test_the_best_are_found_with_their_exact_cosines(large: Large) -> None:
    recalled = 0
    for ordinal in range(0, len(large.vectors), 500):
        question = large.near(ordinal)
        hits = (await large.found(question))[:TOP]
        recalled += len({hit.document_id for hit in hits} & set(large.nearest(question)))
        for hit in hits:
            exact = float(large.vectors[int(hit.document_id.removeprefix("doc_"))] @ question)
            assert hit.semantic == pytest.approx(exact, abs=1e-5)
    assert recalled >= 0.95 * TOP * len(range(0, len(large.vectors), 500))


async def test_who_narrows_the_search_or_asks_for_much_gets_exactly_the_nearest(large: Large) -> None:
    among = range(3, len(large.vectors), 97)
    question = large.near(4711)

    assert [hit.document_id for hit in (await large.found(question, among=among))[:TOP]] == large.nearest(
        question, among
    )
    many = await large.found(question, limit=2_000)
    assert [hit.document_id for hit in many[:TOP]] == large.nearest(question)
    assert len(many) == 2_000


async def test_what_comes_and_goes_after_the_index_was_made_is_seen_at_once(large: Large) -> None:
    question = _unit(large.random.normal(size=DIMENSION))
    writer = await large.store.writer(PREFIX, DIMENSION)
    large.version = await writer.apply([_row(len(large.vectors), question)])
    assert (await large.found(question))[0].document_id == f"doc_{len(large.vectors)}"

    large.version = await writer.apply([], removals={f"doc_{len(large.vectors)}": 2})
    await writer.close()
    assert f"doc_{len(large.vectors)}" not in [hit.document_id for hit in await large.found(question)]


@pytest.mark.parametrize(("dimension", "size"), [(12, 1.0), (DIMENSION, 0.0)])
async def test_a_table_whose_vectors_cannot_be_indexed_is_compacted_and_scanned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dimension: int, size: float
) -> None:
    """Of a dimension that eight does not divide, or nothing but zeros."""
    monkeypatch.setattr(writing, "VECTOR_INDEX_ROWS_MIN", 5)
    store = open_store(tmp_path)
    writer = await store.writer(PREFIX, dimension)
    for ordinal in range(6):
        vector = np.zeros(dimension, np.float32)
        vector[ordinal] = size
        await writer.apply([_row(ordinal, vector)])

    done = await writer.optimize()

    await writer.close()
    assert (done.rows, done.fragments_after) == (6, 1)
    question = np.zeros(dimension, np.float32)
    question[3] = 1.0
    reader = await store.reader(PREFIX, done.version)
    assert reader is not None
    hits = await reader.search(query_text="valve", vector=question, limit=10)
    assert len(hits) == 6
    await store.close()


async def test_recall_is_told_of_a_table_with_an_index_and_only_of_such(large: Large, tmp_path: Path) -> None:
    reader = await large.store.reader(PREFIX, large.version)
    assert reader is not None
    recalls = [await reader.recall(large.near(ordinal), at=TOP, candidates=100) for ordinal in (3, 4711, 9_000)]
    assert all(recall is not None and recall >= 0.9 for recall in recalls)
    few = await reader.recall(large.near(3), at=TOP, candidates=4)
    assert few is not None
    assert few <= 0.4, "who looks at four finds four of ten"

    store = open_store(tmp_path)
    writer = await store.writer(PREFIX, DIMENSION)
    version = await writer.apply([_row(0, large.vectors[0])])
    await writer.close()
    scanned = await store.reader(PREFIX, version)
    assert scanned is not None
    assert await scanned.recall(large.vectors[0], at=TOP, candidates=100) is None
    await store.close()
