"""Speed, as distributions and as ratios to what the same machine does without S4.

    python benchmarks/bench.py            about forty minutes on two cores
    python benchmarks/bench.py --quick    under a minute; shows that it works, the figures mean little
    python benchmarks/bench.py search     one part only, of those that --help lists

Prints Markdown, ready for RESULTS.md. Milliseconds of one machine say little about another; ratios within one run say
more. Nothing else should run beside it.
"""

import argparse
import asyncio
import os
import sys
import tempfile
import time
from pathlib import Path

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
import uploading
import uvloop
from figures import print_facts, print_heading, print_text
from machine import describe, load
from served import ServerFailed, clean_environment

PARTS = (
    "uploads",
    "pipeline",
    "search",
    "overhead",
    "neighbours",
    "suffering",
    "pressure",
    "memory",
    "scale",
    "operations",
    "replicas",
    "crowd",
    "machines",
)
ON_REQUEST = ("rolling",)
"""Needs a program of Debian's."""


def main() -> int:
    options = _options()
    # What runs in this process must not meet somebody's store or database either.
    for name in set(os.environ) - set(clean_environment()):
        del os.environ[name]
    os.environ.setdefault("LANCEDB_LOG", "error")
    started = time.monotonic()
    upload_sizes = uploading.QUICK if options.quick else uploading.FULL
    search_sizes = searching.QUICK if options.quick else searching.FULL
    try:
        with tempfile.TemporaryDirectory(prefix="s4-bench-", dir=options.directory) as folder:
            print_heading("Machine" + (" (quick run: the figures mean little)" if options.quick else ""))
            print_facts(describe(Path(folder)))
            if "uploads" in options.parts:
                uploading.acknowledgements(_part(folder, "uploads"), upload_sizes)
            if "pipeline" in options.parts:
                uploading.pipeline(_part(folder, "pipeline"), upload_sizes)
            if "search" in options.parts:
                with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:  # as S4 itself
                    runner.run(searching.searches(_part(folder, "search"), search_sizes))
            if "overhead" in options.parts:
                with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                    sizes = overhead.QUICK if options.quick else overhead.FULL
                    runner.run(overhead.overhead(_part(folder, "overhead"), sizes))
            if "neighbours" in options.parts:
                neighbours.neighbours(
                    _part(folder, "neighbours"), neighbours.QUICK if options.quick else neighbours.FULL
                )
            if "suffering" in options.parts:
                suffering.suffering(_part(folder, "suffering"), suffering.QUICK if options.quick else suffering.FULL)
            if "pressure" in options.parts:
                pressure.pressure(_part(folder, "pressure"), pressure.QUICK if options.quick else pressure.FULL)
            if "memory" in options.parts:
                memory.memory(_part(folder, "memory"), memory.QUICK if options.quick else memory.FULL)
            if "scale" in options.parts:
                scaling.scale(_part(folder, "scale"), scaling.QUICK if options.quick else scaling.FULL)
            if "operations" in options.parts:
                operations.operations(
                    _part(folder, "operations"), operations.QUICK if options.quick else operations.FULL
                )
            if "replicas" in options.parts:
                replicas.replicas(_part(folder, "replicas"), replicas.QUICK if options.quick else replicas.FULL)
            if "crowd" in options.parts:
                crowd.crowd(_part(folder, "crowd"), crowd.QUICK if options.quick else crowd.FULL)
            if "machines" in options.parts:
                machines.machines(_part(folder, "machines"), machines.QUICK if options.quick else machines.FULL)
            if "rolling" in options.parts:
                rolling.rolling(_part(folder, "rolling"), rolling.QUICK if options.quick else rolling.FULL)
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
    options.parts = options.parts or PARTS
    if unknown := set(options.parts) - {*PARTS, *ON_REQUEST}:
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    return options


def _part(folder: str, name: str) -> Path:
    path = Path(folder, name)
    path.mkdir()
    return path


if __name__ == "__main__":
    sys.exit(main())
