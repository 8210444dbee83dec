"""What S4 adds to a search: its whole answer over HTTP, against the same LanceDB calls in this process.

Both read the same table at the same version, each from its own caches, in turn within one run. The calls in process
are `TableReader.search` with the candidates that S4 asks for, on a vector made beforehand. What comes on top over HTTP
is the connection, authentication, the query's embedding, the catalog's judgement, ranking, highlights and JSON.
"""

import json
import random
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from figures import DURATION_COLUMNS, Durations, print_heading, print_table, print_text
from library import Shelf, Writer, fill
from scrape import Spent, between, stages
from served import running_server
from wire import Wire

from s4.engine.vectors import TableReader
from s4.entrypoints.bootstrap import Core, migrate_database, open_core
from s4.entrypoints.configuration import load_settings
from s4.kernel.ids import FIRST_INCARNATION

SEED = 1957
LIMIT = 10  # documents on a page of results
STAGES = ("embed", "open", "fetch", "verify", "total")
# A model's time would hide everything else; see the pipeline.
SETTINGS: dict[str, Any] = {"embedding_provider": "deterministic"}


@dataclass(frozen=True, slots=True)
class SearchSizes:
    """Chunks of each tenant, queries of each mode, queries before that to warm up."""

    chunks: tuple[int, ...]
    queries: int
    warming: int


FULL = SearchSizes(chunks=(1_000, 10_000, 100_000), queries=300, warming=30)
QUICK = SearchSizes(chunks=(200, 1_000), queries=20, warming=3)


@dataclass(slots=True)
class Compared:
    """One mode on one shelf."""

    over_http: Durations = field(default_factory=Durations)
    in_process: Durations = field(default_factory=Durations)


async def searches(folder: Path, sizes: SearchSizes) -> None:
    """Fills a deployment, serves it, compares."""
    data_dir = folder / "data"
    settings = load_settings(data_dir=data_dir, **SETTINGS)
    migrate_database(settings)
    async with open_core(settings) as core:
        shelves = [await _fill(core, chunks) for chunks in sizes.chunks]
        environment = {f"S4_{name.upper()}": value for name, value in SETTINGS.items()}
        with running_server(data_dir, "--no-worker", settings=environment) as server, Wire(server.url) as wire:
            found = {shelf.chunks: await _compare(core, server.url, shelf, writer, sizes) for shelf, writer in shelves}
            transport = _transport(wire, sizes.queries)
    _report(found, transport)


async def _fill(core: Core, chunks: int) -> tuple[Shelf, Writer]:
    started = time.perf_counter()
    writer = Writer(SEED)
    shelf = await fill(core, writer, chunks=chunks)
    seconds = time.perf_counter() - started
    print_text(f"filled: {shelf.chunks} chunks, {shelf.size_bytes / 2**20:.0f} MiB of index, in {seconds:.0f} s")
    return shelf, writer


@dataclass(frozen=True, slots=True)
class Found:
    """Of one shelf."""

    modes: dict[str, Compared]
    spent: dict[str, Spent]


async def _compare(core: Core, url: str, shelf: Shelf, writer: Writer, sizes: SearchSizes) -> Found:
    reader = await core.vectors.reader(core.generation.prefix(shelf.tenant_id, FIRST_INCARNATION), shelf.version)
    assert reader is not None, "it was just written"
    modes = {mode: Compared() for mode in ("hybrid", "semantic", "keyword")}
    shuffled = random.Random(SEED)
    with Wire(url, shelf.api_key) as wire:
        before: dict[str, Spent] = {}
        for number in range(-sizes.warming, sizes.queries):
            if number == 0:
                before = stages(wire, "s4_search_stage_duration_seconds")
            query = writer.query()
            turns = [(mode, way) for mode in modes for way in ("http", "process")]
            shuffled.shuffle(turns)
            for mode, way in turns:
                if way == "http":
                    seconds = _over_http(wire, query, mode)
                else:
                    seconds = await _in_process(core, reader, query, mode)
                if number >= 0:
                    (modes[mode].over_http if way == "http" else modes[mode].in_process).add(seconds)
        after = stages(wire, "s4_search_stage_duration_seconds")
    return Found(modes, between(before, after))


def _over_http(wire: Wire, query: str, mode: str) -> float:
    body = json.dumps({"query": query, "mode": mode, "limit": LIMIT}).encode()
    seconds, answer = wire.send("POST", "/api/v1/search", body)
    found: dict[str, Any] = json.loads(answer)
    if not found["results"] or found["degraded"]:
        raise RuntimeError(f"A {mode} search for {query!r} should have found something: {answer[:300]!r}")
    return seconds


async def _in_process(core: Core, reader: TableReader, query: str, mode: str) -> float:
    vector = await core.embedder.embed_query(query) if mode != "keyword" else None
    started = time.perf_counter()
    hits = await reader.search(
        query_text=query if mode != "semantic" else None, vector=vector, limit=core.settings.search_candidates
    )
    seconds = time.perf_counter() - started
    assert hits, "every query has a common word and a direction"
    return seconds


async def timed_search(client: httpx.AsyncClient, query: str) -> float:
    """A hybrid search by an application in this process. Raises `RuntimeError` unless something is found."""
    body = {"query": query, "mode": "hybrid", "limit": LIMIT}
    started = time.perf_counter()
    answer = await client.post("/api/v1/search", json=body)
    seconds = time.perf_counter() - started
    if answer.status_code != 200 or not answer.json()["results"]:
        raise RuntimeError(f"A search for {query!r} should have found something: {answer.text[:300]}")
    return seconds


def _transport(wire: Wire, count: int) -> Durations:
    """What an answer without work costs: the floor of everything over HTTP."""
    times = Durations()
    for _ in range(count):
        times.add(wire.send("GET", "/health/live")[0])
    return times


def _report(found: dict[int, Found], transport: Durations) -> None:
    print_heading("Search, ms")
    print_text(
        f"One client, one connection, {LIMIT} documents an answer with passages; hashed words as vectors, table\n"
        "compacted, no vector index (exact scan). “in process” is LanceDB alone, on the same table and\n"
        "version, in turn with HTTP.\n"
    )
    rows = []
    for chunks, of_shelf in found.items():
        for mode, times in of_shelf.modes.items():
            label = f"{chunks:,} chunks, {mode}"
            over_http, in_process = times.over_http, times.in_process
            rows.append([label, str(over_http.count), *over_http.milliseconds, *over_http.ratios(in_process)])
            rows.append(["… in process", str(in_process.count), *in_process.milliseconds, "1.0", "1.0"])
    rows.append(["GET /health/live", str(transport.count), *transport.milliseconds, "", ""])
    print_table(["", *DURATION_COLUMNS, "p50 ratio", "p99 ratio"], rows)
    print_heading("Stages of a search inside S4, mean ms over the three modes")
    print_table(
        ["chunks", *STAGES],
        [
            [f"{chunks:,}", *(f"{of_shelf.spent.get(stage, Spent()).mean_milliseconds:.2f}" for stage in STAGES)]
            for chunks, of_shelf in found.items()
        ],
    )
