"""What happens beyond what S4 can do, and whether one tenant's load is felt by another.

*Overload.* Several tenants search: first as fast as they are answered, over more and more connections, which finds the
peak; then at one, two and three times that, in an open loop that does not wait for answers. Good throughput counts
answers 200; the rest must be told to come back.

*Isolation.* A tenant searches at a slow, steady pace: alone, beside one that searches flat out, and beside one that
uploads small files flat out, which a worker indexes meanwhile; in turn.

The bundled model, default settings. What sends the requests takes its part of the same processors.
"""

import asyncio
import json
import re
import statistics
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from figures import DURATION_COLUMNS, Durations, print_heading, print_table, print_text
from library import Writer, fill
from machine import load
from pacing import FLAT_OUT, Pace, Paced, paced
from processes import Process
from served import Server, running_server

from s4.engine.embedding.deterministic import DeterministicEmbedder
from s4.entrypoints.bootstrap import migrate_database, open_core
from s4.entrypoints.configuration import load_settings

SEED = 1848
GOOD_MIN = 0.8  # the target: good throughput at three times the peak, to the peak
GROWTH_MAX = 1.1  # the target: most memory at three times the peak, to that at the peak
RATIO_MAX = 1.5  # the target: p99 beside a busy tenant to p99 alone, median of the rounds
TIMES = (1, 2, 3)
QUERIES = 200
SEARCH_PATH = "/api/v1/search"
UPLOAD_PATH = "/api/v1/documents/by-key/{number}.txt"
NOISES = ("searches flat out", "uploads flat out")
MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class PressureSizes:
    tenants: int
    chunks: int
    """Of each tenant."""
    peak_connections: tuple[int, ...]
    """Of each tenant, in the closed loop."""
    seconds: float
    """Of each measurement."""
    rounds: int
    """Of alone and beside."""
    connections: int = 100
    """Of each tenant in the open loop: more than may wait, so that the server refuses and not this program."""
    searches_per_second: float = 20.0
    noisy_connections: int = 32


FULL = PressureSizes(tenants=4, chunks=2_500, peak_connections=(1, 2, 4, 8), seconds=20, rounds=5)
QUICK = PressureSizes(tenants=2, chunks=200, peak_connections=(2, 4), seconds=2, rounds=1)


@dataclass(slots=True)
class Burst:
    """What came of one load."""

    label: str
    asked_per_second: float | None
    good: Durations
    refused: Counter[str]
    seconds: float
    memory_bytes_most: int

    @property
    def good_per_second(self) -> float:
        return self.good.count / self.seconds


def pressure(folder: Path, sizes: PressureSizes) -> None:
    """Fills, serves, measures, prints."""
    data_dir = folder / "data"
    keys, queries = asyncio.run(_filled(data_dir, sizes))
    bodies = tuple(json.dumps({"query": query, "mode": "hybrid", "limit": 10}) for query in queries)
    with running_server(data_dir, "--no-worker") as server:
        _burst(server, keys, bodies, "warming", FLAT_OUT, 2, min(5.0, sizes.seconds))
        closed = [_peak(server, keys, bodies, number, sizes) for number in sizes.peak_connections]
        peak = max(closed, key=lambda burst: burst.good_per_second)
        open_loop = [_open(server, keys, bodies, times, peak.good_per_second, sizes) for times in TIMES]
    _report_overload(closed, peak, open_loop, sizes)
    with running_server(data_dir) as server:
        rounds = [_round(server, keys, bodies, sizes, number) for number in range(-1, sizes.rounds)][1:]
    _report_isolation(rounds, sizes)


async def _filled(data_dir: Path, sizes: PressureSizes) -> tuple[list[str], list[str]]:
    """The tenants' keys, and queries. As in `suffering`: hashed words are as quick to search as the model's vectors."""
    settings = load_settings(data_dir=data_dir)
    migrate_database(settings)
    writer = Writer(SEED)
    async with open_core(settings) as core:
        quick = DeterministicEmbedder(dimension=core.embedder.dimension)
        shelves = [await fill(core, writer, chunks=sizes.chunks, embedder=quick) for _ in range(sizes.tenants)]
    return [shelf.api_key for shelf in shelves], [writer.query() for _ in range(QUERIES)]


# -- overload


def _peak(server: Server, keys: list[str], bodies: tuple[str, ...], connections: int, sizes: PressureSizes) -> Burst:
    label = f"{connections * len(keys)} connections, closed loop"
    return _burst(server, keys, bodies, label, FLAT_OUT, connections, sizes.seconds)


def _open(
    server: Server, keys: list[str], bodies: tuple[str, ...], times: int, peak: float, sizes: PressureSizes
) -> Burst:
    return _burst(server, keys, bodies, f"{times} x the peak", times * peak, sizes.connections, sizes.seconds)


def _burst(
    server: Server,
    keys: list[str],
    bodies: tuple[str, ...],
    label: str,
    per_second: float,
    connections: int,
    seconds: float,
) -> Burst:
    """All tenants together send `per_second`, each over so many connections."""
    paces = [
        Pace(str(number), SEARCH_PATH, per_second / len(keys), connections, bodies, key=key)
        for number, key in enumerate(keys)
    ]
    process = Process(server.pid)
    process.forget_most()
    started = time.perf_counter()
    with paced(server.url, keys[0], paces) as found:
        time.sleep(seconds)
        lasted = time.perf_counter() - started
    good = Durations([each for one in found.values() for each in one.times.seconds])
    refused = Counter(_status(said) for one in found.values() for said in one.failed)
    return Burst(label, per_second or None, good, refused, lasted, process.memory.resident_most)


def _status(said: str) -> str:
    """Of an answer that was no success; else what went wrong."""
    match = re.match(r"\w+ \S+: (\d{3}) ", said)
    return match[1] if match else said.partition(":")[0]


def _report_overload(closed: list[Burst], peak: Burst, open_loop: list[Burst], sizes: PressureSizes) -> None:
    print_heading("Searches beyond the peak, ms")
    print_text(
        f"{sizes.tenants} tenants with {sizes.chunks:,} chunks each, hybrid, bundled model, default settings, "
        f"{sizes.seconds:g} s each.\nIn the open loop times count from the moment when a request was due. "
        f"Load {load()}.\n"
    )
    rows = []
    for burst in (*closed, *open_loop):
        asked = f"{burst.asked_per_second:.0f}" if burst.asked_per_second else ""
        refused = ", ".join(f"{count} x {status}" for status, count in sorted(burst.refused.items())) or "0"
        memory = f"{burst.memory_bytes_most / MIB:.0f}"
        figures = burst.good.milliseconds
        rows.append([burst.label, asked, f"{burst.good_per_second:.0f}", *figures, refused, memory])
    print_table(["", "asked/s", "good/s", *DURATION_COLUMNS[1:], "not served", "most MiB"], rows)
    good = open_loop[-1].good_per_second / peak.good_per_second
    growth = open_loop[-1].memory_bytes_most / max(burst.memory_bytes_most for burst in closed)
    told = set().union(*(burst.refused for burst in open_loop))
    kept = good >= GOOD_MIN and growth <= GROWTH_MAX and told <= {"429", "503"}
    print_text(
        f"\nVerdict: targets {'kept' if kept else 'MISSED'}: at {TIMES[-1]} times the peak {good:.2f} of its "
        f"throughput is good (target at least {GOOD_MIN:g}), memory is {growth:.2f} times that of the closed loop "
        f"(at most {GROWTH_MAX:g}); the others were told {', '.join(sorted(told)) or 'nothing'}."
    )


# -- isolation


def _round(
    server: Server, keys: list[str], bodies: tuple[str, ...], sizes: PressureSizes, number: int
) -> dict[str, Paced]:
    """The quiet tenant's searches, alone and beside each noise; `number` below 0 warms up."""
    seconds = sizes.seconds if number >= 0 else min(5.0, sizes.seconds)
    quiet, noisy = keys[:2]
    pace = Pace("quiet", SEARCH_PATH, sizes.searches_per_second, 16, bodies)
    text = " ".join(json.loads(body)["query"] for body in bodies[:10])
    files = tuple(f"{text} {number} {each}" for each in range(QUERIES))
    path = UPLOAD_PATH.replace("by-key/", f"by-key/{number}-")
    noises = {
        NOISES[0]: Pace(NOISES[0], SEARCH_PATH, FLAT_OUT, sizes.noisy_connections, bodies),
        NOISES[1]: Pace(NOISES[1], path, FLAT_OUT, sizes.noisy_connections, files, method="PUT"),
    }
    with paced(server.url, quiet, [pace]) as alone:
        time.sleep(seconds)
    found = {"alone": alone["quiet"]}
    for name, noise in noises.items():
        with paced(server.url, noisy, [noise]) as made, paced(server.url, quiet, [pace]) as beside:
            time.sleep(seconds)
        found[f"beside {name}"] = beside["quiet"]
        found[name] = made[name]
    for label in ("alone", *(f"beside {name}" for name in NOISES)):
        if found[label].failed:
            raise RuntimeError(f"The quiet tenant was refused: {found[label].failed[0]}")
    return found


def _report_isolation(rounds: Sequence[dict[str, Paced]], sizes: PressureSizes) -> None:
    print_heading("Searches beside a busy tenant, ms")
    print_text(
        f"{sizes.searches_per_second:g} searches a second of one tenant with {sizes.chunks:,} chunks, open loop, "
        f"{len(rounds)} rounds of {sizes.seconds:g} s each in turn:\nalone, beside another that searches, and beside "
        f"another that uploads small files, both over {sizes.noisy_connections}\nconnections as fast as they are "
        f"answered, the files being indexed meanwhile. Bundled model, default settings. Load {load()}.\n"
    )
    rows, ratios = [], {}
    for label in ("alone", *(f"beside {name}" for name in NOISES)):
        every = Durations([each for found in rounds for each in found[label].times.seconds])
        alone = Durations([each for found in rounds for each in found["alone"].times.seconds])
        rows.append([label, str(every.count), *every.milliseconds, *every.ratios(alone)])
        ratios[label] = [_p99(found[label]) / _p99(found["alone"]) for found in rounds]
    print_table(["", *DURATION_COLUMNS, "p50 ratio", "p99 ratio"], rows)
    for name in NOISES:
        served = sum(found[name].times.count for found in rounds)
        refused = sum(len(found[name].failed) for found in rounds)
        print_text(
            f"The other {name}: {served / len(rounds) / sizes.seconds:.0f} a second were served, {refused} in all "
            f"refused; p99 ratios by round {', '.join(f'{each:.2f}' for each in ratios[f'beside {name}'])}."
        )
    worst = max(statistics.median(ratios[f"beside {name}"]) for name in NOISES)
    print_text(
        f"\nVerdict: target {'kept' if worst <= RATIO_MAX else 'MISSED'}: p99 at most {worst:.2f} times that of being "
        f"alone, median of {len(rounds)} rounds (target at most {RATIO_MAX:g})."
    )


def _p99(found: Paced) -> float:
    return found.times.quantile(0.99)
