"""S4 beside what people would take otherwise: the same chunks, vectors and queries, in one run and in turn.

    make bench-peers                                  half an hour on two cores
    python benchmarks/peers.py --chroma PROGRAM --quick

The text is made up (`library.py`), the vectors are hashed words: what is compared is everything but a model. S4 is
asked with words over HTTP, checks a key, a rate and the catalog, and embeds the words by the same function; Chroma and
pgvector are asked over HTTP with the ready vector; LanceDB in this process, on S4's own table, with the ready vector
and nothing around it. Every answer holds ten chunks with their texts.

Every server runs all the time and is asked in turn, a few seconds each, in several rounds: what else the machine does
meets all of them. Compare within a run. Chroma and pgvector are asked as they come, and, where S4 finds more of the
nearest chunks, a second time with as broad a search as it takes to find as many: at equal recall.
"""

import argparse
import asyncio
import contextlib
import json
import os
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import uvloop
from figures import Durations, print_facts, print_heading, print_table, print_text
from library import CHUNKS_PER_DOCUMENT, Shelf, Writer, fill
from machine import describe, load
from pacing import FLAT_OUT, Pace, paced
from peer_servers import LIMIT, Peer, chroma, fill_chroma, fill_pgvector, pgvector, s4_peer
from served import ServerFailed, running_server
from wire import Wire

from s4.engine.embedding.base import Vectors
from s4.engine.embedding.deterministic import DeterministicEmbedder
from s4.engine.vectors.matching import keyword_query
from s4.engine.vectors.schema import TABLE, LanceTable, partitions_searched
from s4.entrypoints.bootstrap import Core, migrate_database, open_core
from s4.entrypoints.configuration import load_settings
from s4.kernel.ids import FIRST_INCARNATION
from s4.kernel.units import MIB

SEED = 1931
SETTINGS: dict[str, Any] = {"embedding_provider": "deterministic"}
ENVIRONMENT = {f"S4_{name.upper()}": value for name, value in SETTINGS.items()}
HYBRID, SEMANTIC = "hybrid", "semantic"
COLUMNS = ("text", "page", "char_start", "char_end", "heading", "document_id")

InProcess = Callable[[str, Vectors], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class Sizes:
    """Chunks of each comparison, queries, callers side by side, rounds of so many seconds, documents that S4 is sent
    for its rate of ingestion."""

    chunks: tuple[int, ...]
    queries: int
    callers: tuple[int, ...]
    rounds: int
    seconds: float
    uploads: int


FULL = Sizes(chunks=(10_000, 100_000), queries=200, callers=(1, 8, 32), rounds=3, seconds=4, uploads=100)
QUICK = Sizes(chunks=(1_000,), queries=20, callers=(1, 4), rounds=1, seconds=1, uploads=3)


@dataclass(frozen=True, slots=True)
class Corpus:
    """Texts and vectors of all chunks and queries, and for each query the texts of the chunks that are nearest."""

    texts: list[str]
    vectors: Vectors
    queries: list[str]
    query_vectors: Vectors
    nearest: list[set[str]]


@dataclass(slots=True)
class Measured:
    """Of one system with so many callers: times of all rounds, and how many were answered in each second."""

    times: Durations = field(default_factory=Durations)
    per_second: list[float] = field(default_factory=list)

    def add(self, seconds: Sequence[float], lasted: float) -> None:
        self.times.seconds += seconds
        self.per_second.append(len(seconds) / lasted)

    def row(self, floor: "Measured") -> list[str]:
        """Answers a second (median of the rounds), p50, p99, and p50 by that of `floor`."""
        milliseconds = [f"{1000 * self.times.quantile(part):.2f}" for part in (0.5, 0.99)]
        ratio = self.times.quantile(0.5) / floor.times.quantile(0.5)
        return [f"{float(np.median(self.per_second)):.0f}", *milliseconds, f"{ratio:.2f}"]


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one server. `ingest`: chunks a second; None for one that serves what another took in."""

    ingest: float | None
    recall: float
    memory_bytes: int
    disk_bytes: int


async def compared(folder: Path, program: Path, chunks: int, sizes: Sizes) -> None:
    """One size, from the filling to the tables."""
    data_dir = folder / "data"
    shelf, place = await filled_shelf(data_dir, chunks)
    corpus = await corpus_of(chunks, sizes.queries)
    alone = await _alone_on(place)
    with (
        running_server(data_dir, "--no-worker", settings=ENVIRONMENT) as server,
        chroma(program, folder / "chroma") as of_chroma,
        pgvector() as of_postgres,
    ):
        peers = [
            *(s4_peer(server, shelf.api_key, mode, Path(place.removeprefix("file://"))) for mode in alone),
            of_chroma,
            of_postgres,
        ]
        ingested = {
            peers[0].name: _ingested_by_s4(folder / "ingest", sizes.uploads),
            of_chroma.name: _rate(lambda: fill_chroma(of_chroma, corpus.texts, corpus.vectors), chunks),
            of_postgres.name: _rate(lambda: fill_pgvector(of_postgres, corpus.texts, corpus.vectors), chunks),
        }
        print_text(f"{chunks:,} chunks are everywhere; load {load()}")
        as_they_come, of_s4 = [peers[0], of_chroma, of_postgres], _recall(peers[0], corpus)
        with contextlib.ExitStack() as stack:
            widened = [
                stack.enter_context(_at_equal_recall(peer, of_s4, corpus))
                for peer in (of_chroma, of_postgres)
                if _recall(peer, corpus) < of_s4
            ]
            measured = await _in_turn([*peers, *widened], alone, corpus, sizes)
            costs = {
                peer.name: Cost(ingested.get(peer.name), _recall(peer, corpus), peer.memory_bytes, peer.disk_bytes())
                for peer in (*as_they_come, *widened)
            }
        recall_alone = await _recall_alone(alone[SEMANTIC], corpus)
    _report(chunks, measured, costs, recall_alone)


async def filled_shelf(data_dir: Path, chunks: int) -> tuple[Shelf, str]:
    """A tenant with so many chunks, and where S4 keeps its table. S4 may start when this is done: two would wait for
    each other's database."""
    settings = load_settings(data_dir=data_dir, **SETTINGS)
    migrate_database(settings)
    async with open_core(settings) as core:
        shelf = await fill(core, Writer(SEED), chunks=chunks)
        return shelf, _place(core, shelf)


async def corpus_of(chunks: int, queries: int) -> Corpus:
    """What `fill` wrote, by the same seed, and questions about it."""
    writer, embedder = Writer(SEED), DeterministicEmbedder()
    texts = [text for _ in range(chunks // CHUNKS_PER_DOCUMENT) for text in writer.document()]
    asked = [writer.query() for _ in range(queries)]
    vectors, query_vectors = await embedder.embed_documents(texts), await embedder.embed_queries(asked)
    best = np.argsort(-(query_vectors @ vectors.T), axis=1)[:, :LIMIT]
    return Corpus(texts, vectors, asked, query_vectors, [{texts[place] for place in row} for row in best])


def _place(core: Core, shelf: Shelf) -> str:
    """Where S4 keeps the tenant's table."""
    uri, _ = core.store.lance_uri() or (str(core.settings.data_dir / "index"), {})
    return f"{uri.rstrip('/')}/{core.generation.prefix(shelf.tenant_id, FIRST_INCARNATION).strip('/')}"


async def _alone_on(place: str) -> dict[str, InProcess]:
    """LanceDB's own searches of it, by mode."""
    import lancedb  # after its log is told to be quiet

    table = await (await lancedb.connect_async(place)).open_table(TABLE)
    partitions = partitions_searched(await table.count_rows())
    return {SEMANTIC: _nearest_of(table, partitions), HYBRID: _both_of(table, partitions)}


def _nearest_of(table: LanceTable, partitions: int) -> InProcess:
    async def nearest(_: str, vector: Vectors) -> list[dict[str, object]]:
        query = table.query().nearest_to(vector).distance_type("cosine").nprobes(partitions).refine_factor(1)
        return await _rows(query, "_distance")

    return nearest


def _both_of(table: LanceTable, partitions: int) -> InProcess:
    nearest = _nearest_of(table, partitions)

    async def matching(text: str) -> list[dict[str, object]]:
        query = table.query().nearest_to_text(await keyword_query(table, text))
        return await _rows(query, "_score")

    async def both(text: str, vector: Vectors) -> object:
        return await asyncio.gather(nearest(text, vector), matching(text))

    return both


async def _rows(query: Any, score: str) -> list[dict[str, object]]:
    found: list[dict[str, object]] = (await query.limit(LIMIT).select([*COLUMNS, score]).to_arrow()).to_pylist()
    return found


def _rate(work: Callable[[], None], chunks: int) -> float:
    started = time.perf_counter()
    work()
    return chunks / (time.perf_counter() - started)


def _ingested_by_s4(data_dir: Path, documents: int) -> float:
    """Files over HTTP until the last is searchable: stored, read in a child, cut, embedded, indexed."""
    writer = Writer(SEED + 1)
    files = ["\n\n".join(writer.document()).encode() for _ in range(documents)]
    with running_server(data_dir, settings=ENVIRONMENT) as server, Wire(server.url, server.new_tenant("A")) as wire:
        wire.end_state(
            wire.upload("warm.txt", b"A first one, so that the worker is there.", content_type="text/plain")[1]
        )
        started = time.perf_counter()
        ids = [wire.upload(f"{n}.txt", file, content_type="text/plain")[1] for n, file in enumerate(files)]
        made = sum(wire.end_state(document_id)["chunks"] for document_id in ids)
        return float(made / (time.perf_counter() - started))


async def _in_turn(
    peers: Sequence[Peer], alone: dict[str, InProcess], corpus: Corpus, sizes: Sizes
) -> dict[tuple[str, int], Measured]:
    """By system and number of callers. A round before the first warms up."""
    found: dict[tuple[str, int], Measured] = {}
    questions = list(zip(corpus.queries, corpus.query_vectors, strict=True))
    bodies = {peer.name: tuple(json.dumps(peer.body(*question)) for question in questions) for peer in peers}
    for number in range(-1, sizes.rounds):
        for callers in sizes.callers:
            for peer in peers:
                times, lasted = await asyncio.to_thread(
                    answered_over_http, peer, bodies[peer.name], callers, sizes.seconds
                )
                if number >= 0:
                    found.setdefault((peer.name, callers), Measured()).add(times, lasted)
            for mode, ask in alone.items():
                times, lasted = await _asked_alone(ask, questions, callers, sizes.seconds)
                if number >= 0:
                    found.setdefault((_alone(mode), callers), Measured()).add(times, lasted)
    return found


def answered_over_http(peer: Peer, bodies: tuple[str, ...], callers: int, seconds: float) -> tuple[list[float], float]:
    pace = Pace(peer.name, peer.path, FLAT_OUT, callers, bodies)
    started = time.perf_counter()
    with paced(peer.url, peer.key, [pace]) as results:
        time.sleep(seconds)
        lasted = time.perf_counter() - started
    done = results[peer.name]
    if done.failed:
        raise RuntimeError(f"{peer.name} failed {len(done.failed)} requests of {done.times.count}: {done.failed[0]}")
    return done.times.seconds, lasted


async def _asked_alone(
    ask: InProcess, questions: Sequence[tuple[str, Vectors]], callers: int, seconds: float
) -> tuple[list[float], float]:
    times: list[float] = []
    numbers, started = count(), time.perf_counter()

    async def caller() -> None:
        while time.perf_counter() - started < seconds:
            before = time.perf_counter()
            await ask(*questions[next(numbers) % len(questions)])
            times.append(time.perf_counter() - before)

    await asyncio.gather(*(caller() for _ in range(callers)))
    return times, time.perf_counter() - started


def _recall(peer: Peer, corpus: Corpus) -> float:
    with httpx.Client(timeout=60) as client:
        answers = [peer.ask(client, *question) for question in zip(corpus.queries, corpus.query_vectors, strict=True)]
    return _share(answers, corpus)


@contextlib.contextmanager
def _at_equal_recall(peer: Peer, recall: float, corpus: Corpus) -> Iterator[Peer]:
    """The same with the least breadth that finds as much; the greatest if none does, which its recall tells."""
    assert peer.widened is not None
    for breadth in peer.breadths:
        with peer.widened(breadth) as wider:
            reached = _recall(wider, corpus)
            if reached >= recall or breadth == peer.breadths[-1]:
                print_text(f"{peer.name}: recall@{LIMIT} {reached:.3f} with ef_search {breadth}; S4 {recall:.3f}")
                yield replace(wider, name=f"{peer.name}, at equal recall")
                return


async def _recall_alone(ask: InProcess, corpus: Corpus) -> float:
    answers = [await ask(*question) for question in zip(corpus.queries, corpus.query_vectors, strict=True)]
    return _share([[row["text"] for row in answer] for answer in answers], corpus)  # type: ignore[attr-defined]


def _share(answers: Sequence[Sequence[str]], corpus: Corpus) -> float:
    """Of the nearest chunks that there are, how many an answer holds."""
    found = sum(len(true & set(answer)) for true, answer in zip(corpus.nearest, answers, strict=True))
    return found / (LIMIT * len(answers))


def _alone(mode: str) -> str:
    return f"LanceDB in process, {mode}"


def _report(
    chunks: int, measured: dict[tuple[str, int], Measured], costs: dict[str, Cost], recall_alone: float
) -> None:
    print_heading(f"{chunks:,} chunks, by callers side by side")
    rows = []
    for (name, callers), figures in measured.items():
        floor = measured[_alone(HYBRID if HYBRID in name else SEMANTIC), callers]
        rows.append([name, str(callers), *figures.row(floor)])
    columns = ["", "callers", "answers/s", "p50 ms", "p99 ms", "p50 / LanceDB in process"]
    print_table(columns, sorted(rows, key=lambda row: int(row[1])))
    print_table(
        ["", "chunks/s taken in", f"recall@{LIMIT}", "memory MiB", "disk MiB"],
        [
            *(
                [
                    name,
                    "" if cost.ingest is None else f"{cost.ingest:.0f}",
                    f"{cost.recall:.3f}",
                    *_mebibytes(cost.memory_bytes, cost.disk_bytes),
                ]
                for name, cost in costs.items()
            ),
            [_alone(SEMANTIC), "", f"{recall_alone:.3f}", "", ""],
        ],
    )


def _mebibytes(*sizes: int) -> Iterator[str]:
    for size in sizes:
        yield f"{size / MIB:.0f}"


def main() -> int:
    parser = argparse.ArgumentParser(description="S4 beside Chroma, pgvector and LanceDB.")
    parser.add_argument("--chroma", type=Path, required=True, help="Chroma's program, of requirements/peers.lock")
    parser.add_argument("--quick", action="store_true", help="few and small: shows that it works")
    parser.add_argument("--chunks", type=int, action="append", help="instead of the sizes that it takes by itself")
    options = parser.parse_args()
    sizes = QUICK if options.quick else FULL
    os.environ.setdefault("LANCEDB_LOG", "off")
    try:
        with tempfile.TemporaryDirectory(prefix="s4-peers-") as folder:
            print_heading("Machine" + (" (quick run: the figures mean little)" if options.quick else ""))
            print_facts(describe(Path(folder)))
            for chunks in options.chunks or sizes.chunks:
                place = Path(folder, str(chunks))
                place.mkdir()
                uvloop.run(compared(place, options.chroma, chunks, sizes))
                print_text(f"load {load()}")
    except (ServerFailed, RuntimeError, httpx.HTTPError) as error:
        print(f"The benchmark failed: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError):
        sys.exit(main())
