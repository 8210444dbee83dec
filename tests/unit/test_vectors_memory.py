"""What the chunk index keeps in memory while tables are written for weeks."""

import os
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest

from s4.engine.vectors import ChunkRow, VectorStore, chunk_id
from s4.engine.vectors.store import WRITERS_SHARE

PREFIX = "indices/ten_a/gen_a/"
DIMENSION = 8
CACHE_BYTES = 2 << 20
COMMITS = 60
OVERSHOOT = 1.1  # LanceDB evicts after it has added


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[VectorStore]:
    store = VectorStore(
        str(tmp_path),
        storage_options={},
        index_cache_bytes=CACHE_BYTES // 2,
        metadata_cache_bytes=CACHE_BYTES // 2,
        handles_max=10,
        read_timeout=timedelta(seconds=30),
    )
    yield store
    await store.close()


async def commit(store: VectorStore, number: int) -> int:
    """As the publisher does: a writer for a batch, closed after it."""
    document = f"doc_{number}"
    vector = np.ones(DIMENSION, np.float32)
    writer = await store.writer(PREFIX, DIMENSION)
    version = await writer.apply([ChunkRow(chunk_id(document, 1, 0), document, 1, 0, "valve", vector, 1, 0, 5, None)])
    await writer.close()
    return version


async def test_versions_that_were_written_fill_no_more_than_the_writers_share(store: VectorStore) -> None:
    for number in range(COMMITS):
        await commit(store, number)
    assert 0 < store.cached_bytes <= CACHE_BYTES / WRITERS_SHARE * OVERSHOOT


async def test_versions_that_were_searched_fill_no_more_than_the_caches(store: VectorStore) -> None:
    for number in range(COMMITS):
        reader = await store.reader(PREFIX, await commit(store, number))
        assert reader is not None
        await reader.search(query_text="valve", vector=np.ones(DIMENSION, np.float32), limit=5)
    assert CACHE_BYTES / 2 < store.cached_bytes <= CACHE_BYTES * (1 + 1 / WRITERS_SHARE) * OVERSHOOT


def test_rows_lie_in_the_memory_of_the_c_library() -> None:
    """In a process of its own, for Arrow chooses once. Its own choice kept 73 MiB of a worker after fifteen minutes."""
    code = """
import asyncio, datetime
from s4.engine.vectors import VectorStore
store = VectorStore("/nowhere", storage_options={}, index_cache_bytes=1, metadata_cache_bytes=1, handles_max=1,
                    read_timeout=datetime.timedelta(seconds=1))
asyncio.run(store.preload())
import pyarrow
print(pyarrow.default_memory_pool().backend_name)
"""
    environment = {name: value for name, value in os.environ.items() if name != "ARROW_DEFAULT_MEMORY_POOL"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "system"
