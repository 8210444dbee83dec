"""Mixed load for a while, and whether anything grows that should not.

    python benchmarks/soak.py --minutes 30

A real `s4 serve` with its worker and the bundled model; several tenants upload, replace, delete, search, download, list
and err on a bounded set of documents, with short graces, so that growth means a leak. Memory, descriptors and threads
of every process, rows, files and series are looked at every few seconds. After warming up, each figure's slope is
fitted (see `trends`). Prints Markdown; ends with 1 when something grows, a call went wrong, or a worker died.
"""

import argparse
import contextlib
import os
import shutil
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from figures import print_facts, print_heading, print_table, print_text
from machine import describe, load
from mixture import Mixture
from served import Server, ServerFailed, clean_environment, running_server
from trends import Trend, trend
from watching import Bound, Sample, bound_of, look, worker_pid
from wire import Wire

TENANTS = 3
CALLERS = 2  # of each tenant
LOOK_SECONDS = 5.0
WARM_UP = 0.4  # of the time: index versions live for the five minutes and a half that LanceDB's clean-up leaves them
SAMPLES_MIN = 10
WRONG_SHOWN = 10
SETTINGS = {
    "S4_GARBAGE_GRACE_SECONDS": "20",
    "S4_INDEX_GRACE_SECONDS": "20",
    "S4_SWEEP_SECONDS": "10",
    "S4_IDEMPOTENCY_HOURS": "0.02",
    "S4_UPLOAD_SECONDS_MAX": "30",
    "S4_JOB_BACKOFF_SECONDS": "1",
    "S4_INDEX_CACHE_BYTES": "2 MiB",  # full within the warming up: a cache that fills looks like a leak
}


@dataclass(slots=True)
class Soaked:
    """What was seen."""

    seconds: list[float] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    calls: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    worker_deaths: int = 0


def main() -> int:
    parser = argparse.ArgumentParser(description="Mixed load; fails when something grows.")
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--directory", help="where to put the data")
    parser.add_argument("--log", type=Path, help="where to keep the server's log")
    options = parser.parse_args()
    for name in set(os.environ) - set(clean_environment()):
        del os.environ[name]
    try:
        with tempfile.TemporaryDirectory(prefix="s4-soak-", dir=options.directory) as folder:
            print_heading(f"Soak of {options.minutes:g} minutes")
            print_facts(describe(Path(folder)))
            soaked = _soak(Path(folder), 60 * options.minutes)
            if options.log is not None:
                shutil.copy(Path(folder, "data", "s4.log"), options.log)
    except ServerFailed as error:
        print(f"The soak failed: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return _report(soaked)


def _soak(folder: Path, seconds: float) -> Soaked:
    soaked = Soaked()
    with (
        running_server(folder / "data", settings=SETTINGS) as server,
        Wire(server.url) as wire,
        _load(server, soaked),
    ):
        started, worker = time.monotonic(), None
        while (now := time.monotonic() - started) < seconds:
            soaked.seconds.append(now)
            soaked.samples.append(look(server, wire))
            seen = worker_pid(server)
            soaked.worker_deaths += worker is not None and seen != worker
            worker = seen
            time.sleep(max(0.0, min(LOOK_SECONDS, seconds) - (time.monotonic() - started - now)))
    return soaked


@contextlib.contextmanager
def _load(server: Server, soaked: Soaked) -> Iterator[None]:
    ended = threading.Event()
    keys = [server.new_tenant(f"tenant {number}") for number in range(TENANTS)]
    callers = [Mixture(server.url, key, seed, ended) for seed, key in enumerate(keys * CALLERS)]
    for caller in callers:
        caller.start()
    try:
        yield
    finally:
        ended.set()
        for caller in callers:
            caller.join()
            soaked.calls.update(caller.done)
            soaked.wrong.extend(caller.wrong)


def _report(soaked: Soaked) -> int:
    start = next(n for n, moment in enumerate(soaked.seconds) if moment >= WARM_UP * soaked.seconds[-1])
    seconds, samples = soaked.seconds[start:], soaked.samples[start:]
    if len(samples) < SAMPLES_MIN:
        print_text("Too short to say anything: give it more minutes.")
        return 1
    rows, growing = [], []
    for name in sorted({name for sample in samples for name in sample}):
        found = trend(seconds, [sample.get(name, 0.0) for sample in samples])
        bound = bound_of(name)
        grows = _grows(found, bound)
        if grows:
            growing.append(name)
        rows.append([name, bound.unit, *_cells(found), "GROWS" if grows else "flat"])
    print_text(
        f"{sum(soaked.calls.values())} calls in {soaked.seconds[-1]:.0f} s by {TENANTS * CALLERS} callers of {TENANTS} "
        f"tenants; load {load()}.\nThe first {seconds[0]:.0f} s are warming up; then {len(samples)} looks.\n"
    )
    print_table(["figure", "unit", "first", "last", "per hour", "within", "verdict"], rows)
    print_table(["call", "times"], [[call, str(times)] for call, times in sorted(soaked.calls.items())])
    for line in soaked.wrong[:WRONG_SHOWN]:
        print_text(f"wrong: {line}")
    failed = bool(growing or soaked.calls["wrong"] or soaked.worker_deaths)
    print_text(
        f"Verdict: {'FAILED' if failed else 'flat'}. Growing: {', '.join(growing) or 'nothing'}; "
        f"calls gone wrong: {soaked.calls['wrong']}; workers that died: {soaked.worker_deaths}."
    )
    return int(failed)


def _grows(found: Trend, bound: Bound) -> bool:
    return found.sure and found.within > max(bound.absolute, bound.share * found.first)


def _cells(found: Trend) -> list[str]:
    return [f"{value:.1f}" for value in (found.first, found.last, found.per_hour, found.within)]


if __name__ == "__main__":
    sys.exit(main())
