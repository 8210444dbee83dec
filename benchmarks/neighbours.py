"""Whether a tenant at its limit is felt by another: the other's searches alone, and beside it, in turn.

The noisy one sends twice what its plan allows, so every second request is refused; that is judged. Then it sends ten
times as much. The embedder is stubbed.
"""

import asyncio
import json
import statistics
import time
from dataclasses import dataclass
from pathlib import Path

from figures import DURATION_COLUMNS, Durations, print_heading, print_table, print_text
from library import Writer, admin_of, fill
from machine import load
from pacing import Pace, paced
from searching import SEED, SETTINGS
from served import running_server

from s4.domains.plans import Plan
from s4.domains.tenants import NewTenant
from s4.entrypoints.bootstrap import migrate_database, open_core
from s4.entrypoints.configuration import load_settings

RATIO_MAX = 1.25  # the target: p99 beside the noisy one to p99 alone, median of the pairs
SEARCH, NOISE = "POST /search, hybrid", "GET /documents"
QUERIES = 200
NOISY = Plan("noisy", "Noisy", requests_per_second=10, burst=20, listed=False)
TIMES_TOO_MUCH = (2, 10)  # the first is judged


@dataclass(frozen=True, slots=True)
class NeighbourSizes:
    chunks: int
    pairs: int
    seconds: float
    searches_per_second: float = 20.0


FULL = NeighbourSizes(chunks=10_000, pairs=5, seconds=30)
QUICK = NeighbourSizes(chunks=200, pairs=1, seconds=3)


@dataclass(slots=True)
class Pair:
    alone: Durations
    beside: Durations
    refused: int
    passed: int

    @property
    def ratio(self) -> float:
        return self.beside.quantile(0.99) / self.alone.quantile(0.99)


def neighbours(folder: Path, sizes: NeighbourSizes) -> None:
    """Fills, serves, measures, prints."""
    data_dir = folder / "data"
    victim, noisy, queries = asyncio.run(_filled(data_dir, sizes.chunks))
    bodies = tuple(json.dumps({"query": query, "mode": "hybrid", "limit": 10}) for query in queries)
    search = Pace(SEARCH, "/api/v1/search", sizes.searches_per_second, connections=16, bodies=bodies)
    rate = NOISY.requests_per_second or 0
    settings = {f"S4_{name.upper()}": value for name, value in SETTINGS.items()}
    with running_server(data_dir, "--no-worker", settings=settings) as server:
        with paced(server.url, victim, [search]):  # tables are open, caches warm
            time.sleep(min(5.0, sizes.seconds))
        for times in TIMES_TOO_MUCH:
            noise = Pace(NOISE, "/api/v1/documents", times * rate, connections=16)
            pairs = [_pair(server.url, victim, noisy, search, noise, sizes.seconds) for _ in range(sizes.pairs)]
            _report(pairs, sizes, times)


async def _filled(data_dir: Path, chunks: int) -> tuple[str, str, list[str]]:
    """The keys of both, and queries."""
    settings = load_settings(data_dir=data_dir, **SETTINGS)
    migrate_database(settings)
    writer = Writer(SEED)
    async with open_core(settings) as core:
        shelf = await fill(core, writer, chunks=chunks)
        admin = await admin_of(core)
        await core.plans.create(admin, NOISY)
        _, noisy = await core.tenants.create(admin, NewTenant("Noisy", None, None, NOISY.id))
    return shelf.api_key, noisy, [writer.query() for _ in range(QUERIES)]


def _pair(url: str, victim: str, noisy: str, search: Pace, noise: Pace, seconds: float) -> Pair:
    with paced(url, victim, [search]) as alone:
        time.sleep(seconds)
    with paced(url, noisy, [noise]) as noises, paced(url, victim, [search]) as beside:
        time.sleep(seconds)
    for found in (alone, beside):
        if found[SEARCH].failed:
            raise RuntimeError(f"The quiet tenant was refused: {found[SEARCH].failed[0]}")
    made = noises[NOISE]
    return Pair(alone[SEARCH].times, beside[SEARCH].times, len(made.failed), made.times.count)


def _report(pairs: list[Pair], sizes: NeighbourSizes, times: int) -> None:
    print_heading("Searches beside a tenant beyond its rate, ms")
    print_text(
        f"{sizes.searches_per_second:g} × {SEARCH} a second, {sizes.chunks:,} chunks, open loop, {sizes.pairs} pairs "
        f"of {sizes.seconds:g} s\nin turn: alone, and while another tenant sends {times} times the "
        f"{NOISY.requests_per_second:g} requests a second of its plan\n"
        f"({sum(pair.passed for pair in pairs)} passed, {sum(pair.refused for pair in pairs)} were refused). "
        f"Load {load()}.\n"
    )
    rows = []
    for number, pair in enumerate(pairs, 1):
        for label, found in ((f"{number}, alone", pair.alone), (f"{number}, beside", pair.beside)):
            rows.append([label, str(found.count), *found.milliseconds, *found.ratios(pair.alone)])
    print_table(["pair", *DURATION_COLUMNS, "p50 ratio", "p99 ratio"], rows)
    ratio = statistics.median(pair.ratio for pair in pairs)
    verdict = "target kept" if ratio <= RATIO_MAX else "target MISSED"
    print_text(
        f"\nVerdict: {verdict if times == TIMES_TOO_MUCH[0] else 'not judged'}: p99 {ratio:.2f} times that of being "
        f"alone, median of {len(pairs)} pairs (target at most {RATIO_MAX:g})."
    )
