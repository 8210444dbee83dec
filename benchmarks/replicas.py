"""What a search costs on one, two and three replicas of the API that share catalog and bucket: statements, requests to
the store, processor time. Two cores cannot show that more replicas answer more; that each search costs the same, they
can.
"""

import asyncio
import json
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from figures import Durations, print_heading, print_table, print_text
from library import Shelf, Writer, fill
from machine import load
from operations import STATEMENTS, far_servers, far_settings
from processes import Process
from scrape import total
from searching import LIMIT, SEED
from served import Server, running_server
from testing import FaultProxy, flags
from wire import Wire

from s4.entrypoints.bootstrap import migrate_database, open_core
from s4.entrypoints.configuration import load_settings

CALLERS = 4


@dataclass(frozen=True, slots=True)
class ReplicaSizes:
    chunks: int
    searches: int
    replicas: tuple[int, ...] = (1, 2, 3)


FULL = ReplicaSizes(chunks=10_000, searches=1_200)
QUICK = ReplicaSizes(chunks=400, searches=24)


def replicas(folder: Path, sizes: ReplicaSizes) -> None:
    with far_servers() as (s3, database, far):
        settings = far_settings(s3, database, far.endpoint)
        shelf, writer = asyncio.run(_filled(folder / "filling", settings, sizes.chunks))
        rows = []
        for count in sizes.replicas:
            with ExitStack() as running:
                # Each has a directory of its own, as on a machine of its own.
                servers = [
                    running.enter_context(running_server(folder / f"{count}-{n}", "--no-worker", settings=settings))
                    for n in range(count)
                ]
                rows.append([str(count), *_measured(servers, shelf, writer, far, sizes)])
    print_heading("A search on several replicas")
    print_text(
        f"POST /search, hybrid, {LIMIT} documents an answer, {sizes.chunks:,} chunks, from local copies; {CALLERS} "
        f"callers,\neach asks the replicas in turn; PostgreSQL and SeaweedFS on the same cores. Load {load()}.\n"
    )
    columns = ["replicas", "n", "SQL each", "store requests each", "API CPU ms each", "searches/s", "p50 ms", "p99 ms"]
    print_table(columns, rows)


async def _filled(place: Path, settings: dict[str, str], chunks: int) -> tuple[Shelf, Writer]:
    loaded = load_settings(data_dir=place, **flags(settings))
    migrate_database(loaded)
    writer = Writer(SEED)
    async with open_core(loaded) as core:
        return await fill(core, writer, chunks=chunks), writer


def _measured(
    servers: Sequence[Server], shelf: Shelf, writer: Writer, far: FaultProxy, sizes: ReplicaSizes
) -> list[str]:
    queries = [writer.query() for _ in range(sizes.searches)]
    for server in servers:
        with Wire(server.url, shelf.api_key) as wire:  # copies the table, opens it
            for query in queries[:CALLERS]:
                _search(wire, query)
    times, lock = Durations(), threading.Lock()

    def call(number: int) -> None:
        with ExitStack() as open_wires:
            wires = [open_wires.enter_context(Wire(server.url, shelf.api_key)) for server in servers]
            for turn, query in enumerate(queries[number::CALLERS]):
                seconds = _search(wires[turn % len(wires)], query)
                with lock:
                    times.add(seconds)

    before, seen, started = _spent(servers), len(far.requests), time.perf_counter()
    with ThreadPoolExecutor(CALLERS) as callers:
        list(callers.map(call, range(CALLERS)))
    elapsed, after = time.perf_counter() - started, _spent(servers)
    p50, _, p99, _ = times.milliseconds
    return [
        str(times.count),
        f"{(after[0] - before[0]) / times.count:.2f}",
        f"{(len(far.requests) - seen) / times.count:.2f}",
        f"{1000 * (after[1] - before[1]) / times.count:.1f}",
        f"{times.count / elapsed:.0f}",
        p50,
        p99,
    ]


def _spent(servers: Sequence[Server]) -> tuple[float, float]:
    """Statements, and seconds of processor time."""
    statements = 0.0
    for server in servers:
        with Wire(server.url) as wire:
            statements += total(wire, STATEMENTS)
    return statements, sum(Process(server.pid).cpu_seconds for server in servers)


def _search(wire: Wire, query: str) -> float:
    body = json.dumps({"query": query, "mode": "hybrid", "limit": LIMIT}).encode()
    seconds, answer = wire.send("POST", "/api/v1/search", body)
    if not json.loads(answer)["results"]:
        raise RuntimeError("A search should have found something.")
    return seconds
