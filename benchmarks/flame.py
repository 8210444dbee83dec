"""Where the time of a search goes: flame graphs of S4's process under one caller, as files to look at.

    make bench-flame                                  benchmarks/flames/*.svg, anew: two minutes
    python benchmarks/flame.py --py-spy PROGRAM --chunks 1000 --folder /tmp/flames

The library, vectors and questions of `peers.py`. Each mode is asked flat out by one caller; then again while py-spy
looks at what Python does. LanceDB's own threads it cannot see: how much of the processor each kind of thread takes for
a search is printed beside.
"""

import argparse
import asyncio
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import uvloop
from figures import print_facts, print_heading, print_table
from machine import describe, load
from peer_servers import Peer, s4_peer
from peers import ENVIRONMENT, HYBRID, SEMANTIC, answered_over_http, corpus_of, filled_shelf
from processes import thread_seconds
from served import ServerFailed, running_server

SECONDS = 15
QUERIES = 200
HERE = Path(__file__).with_name("flames")


async def drawn(program: Path, chunks: int, folder: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="s4-flame-") as made:
        data_dir = Path(made, "data")
        shelf, place = await filled_shelf(data_dir, chunks)
        corpus = await corpus_of(chunks, QUERIES)
        questions = list(zip(corpus.queries, corpus.query_vectors, strict=True))
        with running_server(data_dir, "--no-worker", settings=ENVIRONMENT) as server:
            for mode in (SEMANTIC, HYBRID):
                peer = s4_peer(server, shelf.api_key, mode, Path(place.removeprefix("file://")))
                bodies = tuple(json.dumps(peer.body(*question)) for question in questions)
                await asyncio.to_thread(answered_over_http, peer, bodies, 1, 3)  # warms up
                await asyncio.to_thread(_undisturbed, mode, server.pid, peer, bodies)
                await asyncio.to_thread(_watched, program, server.pid, peer, bodies, folder / f"search-{mode}.svg")


def _undisturbed(mode: str, pid: int, peer: Peer, bodies: tuple[str, ...]) -> None:
    """py-spy sees no threads but Python's, and stops them to look: what each takes is asked of the system."""
    before = thread_seconds(pid)
    times, _ = answered_over_http(peer, bodies, 1, SECONDS)
    used = {name: seconds - before.get(name, 0.0) for name, seconds in thread_seconds(pid).items()}
    print_heading(f"{mode}: {len(times)} searches, load {load()}")
    milliseconds = {name: 1000 * seconds / len(times) for name, seconds in used.items() if seconds > 0}
    dearest = sorted(milliseconds.items(), key=lambda one: -one[1])
    print_table(
        ["threads", "processor, ms a search"],
        [
            *([name, f"{each:.2f}"] for name, each in dearest if each > 0.005),
            ["all", f"{sum(milliseconds.values()):.2f}"],
            ["by the clock, p50", f"{1000 * statistics.median(times):.2f}"],
        ],
    )


def _watched(program: Path, pid: int, peer: Peer, bodies: tuple[str, ...], into: Path) -> None:
    options = ["--pid", str(pid), "--duration", str(SECONDS), "--rate", "250", "--output", into.name]
    spy = subprocess.Popen(
        ["py-spy", "record", *options],  # it writes its command into the graph: no path of this machine
        executable=program.absolute(),
        cwd=into.parent,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    answered_over_http(peer, bodies, 1, SECONDS)
    _, said = spy.communicate()
    if spy.returncode:
        raise RuntimeError(f"py-spy: {said.decode(errors='replace').strip()}")


def main() -> int:
    parser = argparse.ArgumentParser(description="Flame graphs of searches.")
    parser.add_argument("--py-spy", type=Path, required=True, help="its program, of requirements/peers.lock")
    parser.add_argument("--chunks", type=int, default=10_000)
    parser.add_argument("--folder", type=Path, default=HERE)
    options = parser.parse_args()
    os.environ.setdefault("LANCEDB_LOG", "off")
    options.folder.mkdir(parents=True, exist_ok=True)
    print_heading("Machine")
    print_facts(describe(options.folder))
    try:
        uvloop.run(drawn(options.py_spy, options.chunks, options.folder))
    except (ServerFailed, RuntimeError) as error:
        print(f"The benchmark failed: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError):
        sys.exit(main())
