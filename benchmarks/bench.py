"""Speed, as distributions and as ratios to what the same machine does without S4.

    python benchmarks/bench.py            about forty minutes on two cores
    python benchmarks/bench.py --quick    under a minute; shows that it works, the figures mean little
    python benchmarks/bench.py search     one part only, of those that --help lists

Prints Markdown, ready for RESULTS.md. Milliseconds of one machine say little about another; ratios within one run say
more. Nothing else should run beside it.
"""

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import crowd
import machines
import memory
import neighbours
import operations
import overhead
import pressure
import replicas
import rolling
import scaling
import searching
import suffering
import telling
import uploading
import uvloop
from figures import print_facts, print_heading, print_text
from machine import describe, load
from served import ServerFailed, clean_environment

S = TypeVar("S")
Run = Callable[[Path, bool], None]
"""In a directory of its own; quick or in full."""


def _part(measure: Callable[[Path, S], None], full: S, quick: S) -> Run:
    return lambda folder, is_quick: measure(folder, quick if is_quick else full)


def _on_our_loop(measure: Callable[[Path, S], Awaitable[None]]) -> Callable[[Path, S], None]:
    """As S4 itself runs."""

    async def measured(folder: Path, sizes: S) -> None:
        await measure(folder, sizes)

    def run(folder: Path, sizes: S) -> None:
        uvloop.run(measured(folder, sizes))

    return run


PARTS: dict[str, Run] = {
    "uploads": _part(uploading.acknowledgements, uploading.FULL, uploading.QUICK),
    "pipeline": _part(uploading.pipeline, uploading.FULL, uploading.QUICK),
    "search": _part(_on_our_loop(searching.searches), searching.FULL, searching.QUICK),
    "overhead": _part(_on_our_loop(overhead.overhead), overhead.FULL, overhead.QUICK),
    "telling": _part(_on_our_loop(telling.telling), telling.FULL, telling.QUICK),
    "neighbours": _part(neighbours.neighbours, neighbours.FULL, neighbours.QUICK),
    "suffering": _part(suffering.suffering, suffering.FULL, suffering.QUICK),
    "pressure": _part(pressure.pressure, pressure.FULL, pressure.QUICK),
    "memory": _part(memory.memory, memory.FULL, memory.QUICK),
    "scale": _part(scaling.scale, scaling.FULL, scaling.QUICK),
    "operations": _part(operations.operations, operations.FULL, operations.QUICK),
    "replicas": _part(replicas.replicas, replicas.FULL, replicas.QUICK),
    "crowd": _part(crowd.crowd, crowd.FULL, crowd.QUICK),
    "machines": _part(machines.machines, machines.FULL, machines.QUICK),
}
ON_REQUEST: dict[str, Run] = {"rolling": _part(rolling.rolling, rolling.FULL, rolling.QUICK)}
"""Needs a program of Debian's."""


def main() -> int:
    options = _options()
    # What runs in this process must not meet somebody's store or database either.
    for name in set(os.environ) - set(clean_environment()):
        del os.environ[name]
    os.environ.setdefault("LANCEDB_LOG", "error")
    started = time.monotonic()
    try:
        with tempfile.TemporaryDirectory(prefix="s4-bench-", dir=options.directory) as folder:
            print_heading("Machine" + (" (quick run: the figures mean little)" if options.quick else ""))
            print_facts(describe(Path(folder)))
            for name, run in (PARTS | ON_REQUEST).items():
                if name in options.parts:
                    run(_folder(folder, name), options.quick)
    except (ServerFailed, RuntimeError) as error:
        print(f"The benchmark failed: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    print_text(f"\nTook {time.monotonic() - started:.0f} s; load afterwards {load()}.")
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Speed of S4 on this machine.")
    parser.add_argument(
        "parts",
        nargs="*",
        metavar="PART",
        help=f"of: {', '.join(PARTS)}; default: all of them. And {', '.join(ON_REQUEST)}, which needs haproxy",
    )
    parser.add_argument("--quick", action="store_true", help="few and small: shows that it works")
    parser.add_argument("--directory", help="where to put the data; its file system is measured with it")
    options = parser.parse_args()
    options.parts = options.parts or list(PARTS)
    if unknown := set(options.parts) - {*PARTS, *ON_REQUEST}:
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    return options


def _folder(folder: str, name: str) -> Path:
    path = Path(folder, name)
    path.mkdir()
    return path


if __name__ == "__main__":
    sys.exit(main())
