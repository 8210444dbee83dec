"""Whether requests suffer while a large PDF is indexed: the same requests in idle and in busy times, in turn.

`s4 serve` with its worker and the bundled model; a tenant with some thousand chunks is searched by meaning and keyword
while another tenant's PDF of thousands of pages goes all the way from its upload to `ready`.
"""

import asyncio
import contextlib
import json
import os
import random
import time
from dataclasses import dataclass
from pathlib import Path

from figures import DURATION_COLUMNS, Durations, print_heading, print_table, print_text
from library import Writer, fill
from machine import load
from pacing import Pace, Paced, paced
from processes import Process, family
from served import Server, running_server
from testing import pdf
from wire import Wire

from s4.engine.embedding.deterministic import DeterministicEmbedder
from s4.entrypoints.bootstrap import migrate_database, open_core
from s4.entrypoints.configuration import load_settings

SEED = 1789
LIVE, SEARCH = "GET /health/live", "POST /search, hybrid"
LIVE_P99_MILLISECONDS = 20.0  # the target
SEARCH_P99_RATIO = 2.0  # the target: busy to idle
WORDS_PER_LINE, LINES_PER_PAGE = 9, 6
QUERIES = 200
INDEXING_SECONDS_MAX = 1200.0


@dataclass(frozen=True, slots=True)
class SufferingSizes:
    """`pairs` of an idle and a busy time; the busy one lasts as long as the PDF of `pages` takes."""

    chunks: int
    pages: int
    pairs: int
    idle_seconds: float
    live_per_second: float = 50.0
    searches_per_second: float = 5.0


FULL = SufferingSizes(chunks=5_000, pages=3_000, pairs=3, idle_seconds=60)
QUICK = SufferingSizes(chunks=200, pages=60, pairs=1, idle_seconds=5)


@dataclass(slots=True)
class Pair:
    idle: dict[str, Paced]
    busy: dict[str, Paced]
    indexing_seconds: float
    chunks: int


def suffering(folder: Path, sizes: SufferingSizes) -> None:
    """Fills, serves, measures, prints."""
    data_dir = folder / "data"
    key, queries = asyncio.run(_filled(data_dir, sizes.chunks))
    bodies = tuple(json.dumps({"query": query, "mode": "hybrid", "limit": 10}) for query in queries)
    paces = (
        Pace(LIVE, "/health/live", sizes.live_per_second, connections=8),
        Pace(SEARCH, "/api/v1/search", sizes.searches_per_second, connections=16, bodies=bodies),
    )
    with running_server(data_dir) as server:
        _warm_up(server, key, bodies)
        niceness = _niceness(server.pid)
        pairs = [_pair(server, key, paces, sizes, number) for number in range(sizes.pairs)]
    _report(pairs, sizes, niceness)


async def _filled(data_dir: Path, chunks: int) -> tuple[str, list[str]]:
    """A tenant's key, and queries. Its vectors are hashed words: the model would take minutes, and how long a scan
    takes does not depend on what the vectors say."""
    settings = load_settings(data_dir=data_dir)
    migrate_database(settings)
    writer = Writer(SEED)
    async with open_core(settings) as core:
        quick = DeterministicEmbedder(dimension=core.embedder.dimension)
        shelf = await fill(core, writer, chunks=chunks, embedder=quick)
    return shelf.api_key, [writer.query() for _ in range(QUERIES)]


def _warm_up(server: Server, key: str, bodies: tuple[str, ...]) -> None:
    """Models are loaded, tables open, the first child has started."""
    with Wire(server.url, server.new_tenant("warm")) as wire:
        wire.end_state(wire.upload("warm.pdf", large_pdf(2, -1), content_type="application/pdf")[1])
    with Wire(server.url, key) as wire:
        for body in bodies[:20]:
            wire.send("POST", "/api/v1/search", body.encode())


def large_pdf(pages: int, seed: int) -> bytes:
    """Pages of text that no other seed repeats: nothing is found in the cache of vectors."""
    chosen, writer = random.Random(seed), Writer(SEED)
    words = " ".join(writer.document()).split()

    def line() -> str:
        return " ".join(chosen.choices(words, k=WORDS_PER_LINE))

    return pdf([[f"Chapter {page}", *(line() for _ in range(LINES_PER_PAGE))] for page in range(1, pages + 1)])


def _pair(server: Server, key: str, paces: tuple[Pace, ...], sizes: SufferingSizes, number: int) -> Pair:
    content = large_pdf(sizes.pages, number)
    with paced(server.url, key, paces) as idle:
        time.sleep(sizes.idle_seconds)
    with Wire(server.url, server.new_tenant(f"owner of PDF {number}")) as wire, paced(server.url, key, paces) as busy:
        started = time.perf_counter()
        document_id = wire.upload("large.pdf", content, content_type="application/pdf")[1]
        document = _indexed(wire, document_id)
        seconds = time.perf_counter() - started
    print_text(f"pair {number + 1}: {document['chunks']} chunks in {seconds:.0f} s; load {load()}")
    return Pair(idle, busy, seconds, int(document["chunks"]))


def _indexed(wire: Wire, document_id: str) -> dict[str, int]:
    give_up_at = time.monotonic() + INDEXING_SECONDS_MAX
    while time.monotonic() < give_up_at:
        document = json.loads(wire.send("GET", f"/api/v1/documents/{document_id}?wait=60")[1])
        if document["status"] == "ready":
            return dict(document)
        if document["status"] == "failed":
            raise RuntimeError(f"The large PDF could not be indexed: {document['error']}")
    raise RuntimeError(f"The large PDF is not indexed after {INDEXING_SECONDS_MAX:.0f} s.")


def _niceness(pid: int) -> dict[str, int]:
    """Of the API, the worker and what reads files."""
    found: dict[str, int] = {}
    for process in family(pid):
        with contextlib.suppress(ProcessLookupError):
            found[Process(process).role] = os.getpriority(os.PRIO_PROCESS, process)
    return found


def _report(pairs: list[Pair], sizes: SufferingSizes, niceness: dict[str, int]) -> None:
    print_heading("Requests while a large PDF is indexed, ms")
    print_text(
        f"{sizes.live_per_second:g} × {LIVE} and {sizes.searches_per_second:g} × {SEARCH} a second, open loop, timed\n"
        f"from the moment when each was due; a tenant of {sizes.chunks:,} chunks, bundled model, default settings,\n"
        f"{len(pairs)} pairs in turn: idle for {sizes.idle_seconds:g} s, then while a PDF of {sizes.pages:,} pages\n"
        f"({pairs[0].chunks:,} chunks) of another tenant is indexed, from its upload to `ready`\n"
        f"(in {', '.join(f'{pair.indexing_seconds:.0f}' for pair in pairs)} s). “late”: how long after its moment the\n"
        "client sent, contained in the times. Niceness: "
        f"{', '.join(f'{role} {value}' for role, value in sorted(niceness.items()))}.\n"
    )
    rows, ratios = [], {}
    for name in (LIVE, SEARCH):
        idle, busy = _all([pair.idle[name] for pair in pairs]), _all([pair.busy[name] for pair in pairs])
        for label, found, floor in ((f"{name}, idle", idle, idle), ("… busy", busy, idle)):
            ratio = found.times.ratios(floor.times)
            late = f"{1000 * found.late.quantile(0.99):.2f}"
            counts = [str(found.times.count), *found.times.milliseconds, late, str(len(found.failed))]
            rows.append([label, *counts, *ratio])
        ratios[name] = [_ratio(pair.busy[name].times, pair.idle[name].times) for pair in pairs]
    columns = ["", *DURATION_COLUMNS, "late p99", "failed", "p50 ratio", "p99 ratio"]
    print_table(columns, rows)
    print_text(
        "p99 busy to idle by pair: "
        + "; ".join(f"{name} {', '.join(f'{ratio:.2f}' for ratio in found)}" for name, found in ratios.items())
        + "."
    )
    _verdict(pairs)


def _verdict(pairs: list[Pair]) -> None:
    live = 1000 * _all([pair.busy[LIVE] for pair in pairs]).times.quantile(0.99)
    search = _ratio(
        _all([pair.busy[SEARCH] for pair in pairs]).times, _all([pair.idle[SEARCH] for pair in pairs]).times
    )
    kept = live < LIVE_P99_MILLISECONDS and search <= SEARCH_P99_RATIO
    print_text(
        f"\nVerdict: targets {'kept' if kept else 'MISSED'}: /health/live p99 {live:.1f} ms busy "
        f"(target below {LIVE_P99_MILLISECONDS:g}), search p99 {search:.2f} times its idle value "
        f"(target at most {SEARCH_P99_RATIO:g})."
    )


def _all(parts: list[Paced]) -> Paced:
    whole = Paced()
    for part in parts:
        whole.extend(part)
    return whole


def _ratio(busy: Durations, idle: Durations) -> float:
    return busy.quantile(0.99) / idle.quantile(0.99)
