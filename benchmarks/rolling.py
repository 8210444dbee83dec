"""Times of requests while what serves them is replaced: `make cluster` under the steady load of its tests.

Prints, for each thing that is done, how many requests were due meanwhile, how many failed, and how long the short ones
took from the moment when they were due. Needs haproxy.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from figures import Durations, print_heading, print_table
from testing import Answered, running_cluster, steady_load

SHORT = frozenset({"upload", "search", "look", "download"})
"""The others take their seconds on purpose."""


@dataclass(frozen=True, slots=True)
class Sizes:
    quiet_answers: int
    """Slow uploads that are awaited before anything is done: one is due every other second."""


FULL = Sizes(quiet_answers=30)
QUICK = Sizes(quiet_answers=3)
DONE: dict[str, tuple[tuple[str, ...], ...]] = {
    "nothing": (),
    "every process replaced, one by one": (("roll",),),
    "a second set, switched to and back": (("start", "green"), ("switch",), ("switch",), ("stop", "green")),
}


def rolling(folder: Path, sizes: Sizes) -> None:
    """Raises `RuntimeError` when a request fails."""
    print_heading("Rolling, behind haproxy")
    with running_cluster(folder) as cluster:
        with steady_load(cluster.url, cluster.new_tenant("Acme")) as load:
            load.await_answers("upload_slowly")  # caches fill
            spans = {}
            for what, commands in DONE.items():
                started = time.monotonic()
                for command in commands:
                    cluster.tell(*command)
                if not commands:
                    load.await_answers("upload_slowly", more=sizes.quiet_answers)
                spans[what] = (started, time.monotonic())
        load.check()
    rows = [[what, f"{span[1] - span[0]:.0f}", *_row(load.between(*span))] for what, span in spans.items()]
    print_table(["meanwhile", "seconds", "requests", "failed", "p50 ms", "p99 ms", "max ms"], rows)
    if load.failed:
        raise RuntimeError(f"{len(load.failed)} requests failed, the first: {load.failed[0]}")


def _row(answered: Sequence[Answered]) -> list[str]:
    times = Durations([each.seconds for each in answered if each.kind in SHORT and not each.wrong])
    p50, _, p99, most = times.milliseconds
    return [str(len(answered)), str(sum(bool(each.wrong) for each in answered)), p50, p99, most]
