"""Recall of approximate search against the exact scan, and what it saves; by S4's own writer and reader.

    python benchmarks/recall.py                    passages that real_text.py embedded, then a million synthetic ones
    python benchmarks/recall.py --rows 200000      fewer synthetic ones, labelled so

Prints Markdown for RESULTS.md: first a sweep of index types and parameters on LanceDB itself, then `TableReader.search`
as a live search calls it, without filters and narrowed to a part of the documents. Synthetic vectors stand in clusters
of different width; they say what size does, not how good an index is on text.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import real_text
from figures import print_facts, print_heading, print_table
from machine import describe, load
from numpy.typing import NDArray

from s4.engine.vectors import ChunkRow, TableReader, VectorStore, chunk_id
from s4.engine.vectors import schema as tables
from s4.kernel.units import MIB

TOP = 10
CANDIDATES = 100  # S4_SEARCH_CANDIDATES
QUERIES = 200
BATCH_QUERIES = 20
BATCH_ROWS = 20_000  # as the worker commits
PARTS = (0.01, 0.1, 0.5)
ROWS_PER_DOCUMENT = 10
SYNTHETIC_CLUSTERS = 2_000
PREFIX = "indices/ten_bench/gen_bench/first"
REQUIRED = 0.95

Matrix = NDArray[np.float32]


def _unit(rows: Matrix) -> Matrix:
    unit: Matrix = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    return unit


def synthetic(rows: int, dimension: int) -> tuple[Matrix, Matrix]:
    """Vectors around centres, some near to theirs and some far, and questions like them."""
    drawn = np.random.default_rng(54)
    centres = _unit(drawn.standard_normal((SYNTHETIC_CLUSTERS, dimension), dtype=np.float32))
    width = drawn.uniform(0.3, 1.2, SYNTHETIC_CLUSTERS).astype(np.float32)

    def around(count: int) -> Matrix:
        chosen = drawn.integers(SYNTHETIC_CLUSTERS, size=count)
        noise = _unit(drawn.standard_normal((count, dimension), dtype=np.float32))
        return _unit(centres[chosen] + width[chosen, None] * noise)

    return np.concatenate([around(min(BATCH_ROWS, rows - n)) for n in range(0, rows, BATCH_ROWS)]), around(QUERIES)


def nearest(vectors: Matrix, queries: Matrix, among: NDArray[np.int64] | None = None) -> Matrix:
    """The cosine of the tenth nearest of each query: brute force, in batches."""
    chosen = vectors if among is None else vectors[among]
    tenth = [
        np.partition(queries[start : start + BATCH_QUERIES] @ chosen.T, -TOP, axis=1)[:, -TOP]
        for start in range(0, len(queries), BATCH_QUERIES)
    ]
    return np.concatenate(tenth)


def recall(found: Sequence[Sequence[float]], tenth: Matrix) -> float:
    """Of what is as near as the tenth, the part that was found. Equal passages have equal vectors."""
    return float(np.mean([min(TOP, sum(c >= t - 1e-5 for c in cs)) / TOP for cs, t in zip(found, tenth, strict=True)]))


def document(row: int) -> str:
    return f"doc_{row // ROWS_PER_DOCUMENT:07d}"


async def fill(store: VectorStore, vectors: Matrix, texts: Sequence[str] | None) -> tuple[int, float, float]:
    """Version, seconds to write, seconds to compact and index."""
    writer = await store.writer(PREFIX, vectors.shape[1])
    started = time.perf_counter()
    for first in range(0, len(vectors), BATCH_ROWS):
        batch = range(first, min(len(vectors), first + BATCH_ROWS))
        await writer.apply([_row(n, vectors[n], texts[n] if texts is not None else "synthetic") for n in batch])
    written = time.perf_counter() - started
    started = time.perf_counter()
    done = await writer.optimize()
    await writer.close()
    return done.version, written, time.perf_counter() - started


def _row(number: int, vector: Matrix, text: str) -> ChunkRow:
    ordinal = number % ROWS_PER_DOCUMENT
    name = document(number)
    return ChunkRow(chunk_id(name, 1, ordinal), name, 1, ordinal, text, vector, None, 0, len(text), None)


async def sweep(queries: Matrix, tenth: Matrix, configs: dict[str, Any], uri: Path) -> None:
    """Each index is built anew on the same table."""
    import lancedb

    connection = await lancedb.connect_async(str(uri / PREFIX))
    table = await connection.open_table(tables.TABLE)
    lines = []
    for name, config in configs.items():
        started, cpu = time.perf_counter(), time.process_time()
        if config is not None:
            await table.create_index("vector", config=config, name=tables.VECTOR_INDEX, replace=True)
        built = (time.perf_counter() - started, time.process_time() - cpu)
        for probes, refine in SETTINGS[name.split(",")[0]]:
            found, seconds, used = [], [], time.process_time()
            for query in queries:
                asked = time.perf_counter()
                near = table.query().nearest_to(query).distance_type("cosine")
                near = near.bypass_vector_index() if probes == 0 else near.nprobes(probes).refine_factor(refine)
                got = await near.limit(CANDIDATES).select(["chunk_id", "_distance"]).to_arrow()
                seconds.append(time.perf_counter() - asked)
                found.append([1 - distance for distance in got.column("_distance").to_pylist()[:TOP]])
            used = (time.process_time() - used) / len(queries)
            lines.append(
                [name, str(probes) if probes else "all, exact", str(refine), f"{built[0]:.1f}", f"{built[1]:.1f}",
                 f"{recall(found, tenth):.3f}", *_times(seconds), f"{1000 * used:.1f}"]
            )  # fmt: skip
    print_table(
        ["index", "probes", "refined", "build s", "CPU s", f"recall@{TOP}", "p50 ms", "p95 ms", "CPU ms"], lines
    )
    connection.close()  # type: ignore[no-untyped-call]


def _times(seconds: Sequence[float]) -> list[str]:
    return [f"{1000 * float(np.quantile(seconds, part)):.1f}" for part in (0.5, 0.95)]


async def through_s4(reader: TableReader, vectors: Matrix, queries: Matrix) -> float:
    """As a live search reads: without filters by the index, narrowed by an exact scan of the part. The worst recall."""
    drawn = np.random.default_rng(3)
    documents = -(-len(vectors) // ROWS_PER_DOCUMENT)
    lines, worst = [], 1.0
    for part in (1.0, *PARTS):
        chosen = np.sort(drawn.choice(documents, max(1, int(part * documents)), replace=False))
        among = None if part == 1.0 else np.flatnonzero(np.isin(np.arange(len(vectors)) // ROWS_PER_DOCUMENT, chosen))
        names = None if part == 1.0 else [document(int(n) * ROWS_PER_DOCUMENT) for n in chosen]
        asked = queries if part == 1.0 else queries[: QUERIES // 10]
        tenth = nearest(vectors, asked, among)
        found, seconds, used = [], [], time.process_time()
        for query in asked:
            started = time.perf_counter()
            hits = await reader.search(query_text=None, vector=query, limit=CANDIDATES, document_ids=names)
            seconds.append(time.perf_counter() - started)
            found.append(sorted((hit.semantic or 0.0 for hit in hits), reverse=True)[:TOP])
        used = (time.process_time() - used) / len(asked)
        found_part = recall(found, tenth)
        worst = min(worst, found_part)
        lines.append(
            ["none" if part == 1.0 else f"{part:.0%} of documents pass", str(len(asked)), f"{found_part:.3f}",
             *_times(seconds), f"{1000 * used:.1f}"]
        )  # fmt: skip
    print_table(["filter", "queries", f"recall@{TOP}", "p50 ms", "p95 ms", "CPU ms"], lines)
    return worst


SETTINGS: dict[str, list[tuple[int, int]]] = {}
"""Probes and refinement to try, by the first word of an index's name; 0 probes are a scan."""


def _configs(*, is_large: bool) -> dict[str, Any]:
    from lancedb.index import HnswSq, IvfPq, IvfRq, IvfSq

    probes = [16, 32, 64, 96, 128] if is_large else [8, 16, 64]
    SETTINGS.update(none=[(0, 1)], RQ=[*((p, 1) for p in probes), (probes[-1], 2)])
    SETTINGS.update({name: [(probes[-1], 1), (probes[-1], 2)] for name in ("SQ", "HNSW", "PQ")})
    widths = [4] if is_large else [1, 2, 4]
    configs = {"none": None} | {f"RQ, {bits} bits": IvfRq(distance_type="cosine", num_bits=bits) for bits in widths}
    if is_large:
        return configs
    return configs | {
        "SQ": IvfSq(distance_type="cosine"),
        "HNSW, SQ": HnswSq(distance_type="cosine"),
        "PQ, 96 parts": IvfPq(distance_type="cosine", num_sub_vectors=96),
    }


async def measured(
    title: str, vectors: Matrix, queries: Matrix, texts: Sequence[str] | None, *, is_large: bool
) -> None:
    print_heading(title)
    with tempfile.TemporaryDirectory(prefix="s4-recall-") as folder:
        store = VectorStore(
            folder,
            storage_options={},
            index_cache_bytes=256 * MIB,
            metadata_cache_bytes=128 * MIB,
            handles_max=4,
            read_timeout=timedelta(minutes=5),
        )
        version, written, indexed = await fill(store, vectors, texts)
        print_facts(
            {"rows": f"{len(vectors):,}", "written": f"{written:.0f} s", "compacted and indexed": f"{indexed:.0f} s",
             "load": load()}
        )  # fmt: skip
        reader = await store.reader(PREFIX, version)
        assert reader is not None
        worst = await through_s4(reader, vectors, queries)
        await sweep(queries, nearest(vectors, queries), _configs(is_large=is_large), Path(folder))
        await store.close()
    if worst < REQUIRED:
        raise SystemExit(f"recall@{TOP} is {worst:.3f}, below {REQUIRED}.")


async def run(options: argparse.Namespace) -> None:
    print_facts(describe(Path(tempfile.gettempdir())))
    if not options.only_synthetic:
        real = real_text.load(passages_max=options.passages)
        await measured(
            f"Real: {len(real.vectors):,} passages of Debian's documentation", real.vectors,
            real.query_vectors[:QUERIES], real.passages, is_large=False,
        )  # fmt: skip
    if options.rows:
        vectors, queries = synthetic(options.rows, 384)
        await measured(
            f"Synthetic: {len(vectors):,} vectors around {SYNTHETIC_CLUSTERS:,} centres", vectors, queries, None,
            is_large=True,
        )  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description="Recall of S4's approximate search.")
    parser.add_argument("--passages", type=int, default=100_000)
    parser.add_argument("--rows", type=int, default=1_000_000, help="synthetic ones; 0: none")
    parser.add_argument("--only-synthetic", action="store_true")
    options = parser.parse_args()
    asyncio.run(run(options))
    return 0


if __name__ == "__main__":
    sys.exit(main())
