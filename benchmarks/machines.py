"""Uploads and searches per second on small machines: `s4 serve` as it comes, in real control groups. Needs root.

Callers are outside of the group, on the same processors: of a group that has all of them they take a part.
"""

import json
import os
import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from figures import Durations, print_heading, print_table, print_text
from served import Server, running_server
from testing import ControlGroup, control_group
from wire import Wire

from s4.kernel.units import GIB, MIB

MACHINES = ((1, 1 * GIB), (2, 4 * GIB))
"""Processors, bytes of memory."""
CALLERS = 8
WORDS = ("valve", "pump", "pressure", "report", "tank", "meter", "filter", "sensor", "season", "line", "loop", "check")
WORDS_PER_DOCUMENT = 400  # two chunks
QUERY_WORDS = 3


@dataclass(frozen=True, slots=True)
class MachineSizes:
    documents: int
    search_seconds: float


FULL = MachineSizes(documents=400, search_seconds=30)
QUICK = MachineSizes(documents=16, search_seconds=1)


def machines(folder: Path, sizes: MachineSizes) -> None:
    if os.geteuid() != 0:
        print_text("\nThe part machines is left out: control groups are made by root only.")
        return
    rows = []
    for processors, memory_bytes in MACHINES:
        with (
            control_group(processors=processors, memory_bytes=memory_bytes) as group,
            running_server(folder / f"{processors}-cpu", entered=group.entered) as server,
        ):
            rows.append([f"{processors} CPU, {memory_bytes // GIB} GiB", *_measured(server, group, sizes)])
    print_heading("Small machines")
    print_text(
        f"`s4 serve` as it comes, with worker and bundled model; {CALLERS} callers. {sizes.documents} texts of\n"
        f"{WORDS_PER_DOCUMENT} words, uploaded side by side, acknowledged and then searchable; then hybrid searches\n"
        "without a pause. Memory: all processes, without page cache, at the end.\n"
    )
    columns = ["machine", "uploads/s", "searchable/s", "searches/s", "search p50 ms", "p99 ms", "memory MiB", "kills"]
    print_table(columns, rows)


def _measured(server: Server, group: ControlGroup, sizes: MachineSizes) -> list[str]:
    key = server.new_tenant("machines")
    with Wire(server.url, key) as wire:
        _await_searchable(wire, [_upload(wire, -1)])  # its worker has started, the model is loaded
    started = time.perf_counter()
    ids = _side_by_side(server.url, key, _upload, range(sizes.documents))
    acknowledged_seconds = time.perf_counter() - started
    with Wire(server.url, key) as wire:
        _await_searchable(wire, ids)
    searchable_seconds = time.perf_counter() - started
    searches = _searches(server.url, key, sizes.search_seconds)
    p50, _, p99, *_ = searches.milliseconds
    return [
        f"{len(ids) / acknowledged_seconds:.0f}",
        f"{len(ids) / searchable_seconds:.1f}",
        f"{searches.count / sizes.search_seconds:.0f}",
        p50,
        p99,
        f"{group.memory_bytes / MIB:.0f}",
        str(group.kills),
    ]


def _side_by_side(url: str, key: str, work: Callable[[Wire, int], str], numbers: range) -> list[str]:
    """Each caller has a connection of its own."""
    found: list[str] = []

    def call(mine: range) -> None:
        with Wire(url, key) as wire:
            found.extend([work(wire, number) for number in mine])

    with ThreadPoolExecutor(CALLERS) as callers:
        list(callers.map(call, [numbers[first::CALLERS] for first in range(CALLERS)]))
    return found


def _upload(wire: Wire, number: int) -> str:
    words = random.Random(number).choices(WORDS, k=WORDS_PER_DOCUMENT)
    return wire.upload(f"{number}.txt", f"Note {number}: {' '.join(words)}.".encode(), content_type="text/plain")[1]


def _await_searchable(wire: Wire, ids: list[str]) -> None:
    for document_id in ids:
        document = wire.end_state(document_id)
        if document["status"] != "ready":
            raise RuntimeError(f"A small text could not be indexed: {document['error']}")


def _searches(url: str, key: str, seconds: float) -> Durations:
    times, lock, ends_at = Durations(), threading.Lock(), time.perf_counter() + seconds

    def call(caller: int) -> None:
        chosen = random.Random(caller)
        with Wire(url, key) as wire:
            while time.perf_counter() < ends_at:
                query = json.dumps({"query": " ".join(chosen.choices(WORDS, k=QUERY_WORDS))}).encode()
                taken, _ = wire.send("POST", "/api/v1/search", query)
                with lock:
                    times.add(taken)

    with ThreadPoolExecutor(CALLERS) as callers:
        list(callers.map(call, range(CALLERS)))
    return times
