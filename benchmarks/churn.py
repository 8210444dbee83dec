"""Uploads of single documents and deletes without end on one tenant's table, and what stays bounded meanwhile.

    python benchmarks/churn.py                              ten thousand uploads, five thousand deletes
    python benchmarks/churn.py --uploads 1000 --deletes 500    smaller, and said so

A real `s4 serve` with its worker; hashed words instead of a model, so that the table is what is busy. Every few seconds
it looks at the bytes and files of the table in the store, at the pieces that its present version consists of, at the
worker's memory, and at searches that go on all the time. Superseded versions stay for a grace; so at the end it lets
the table rest until they are gone, and compares with the bytes of what lives. Prints Markdown; ends with 1 when a bound
is broken.
"""

import argparse
import contextlib
import json
import os
import random
import sqlite3
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from figures import Durations, print_facts, print_heading, print_table, print_text
from machine import describe, load
from served import Server, clean_environment, running_server
from watching import Sample, look
from wire import Away, Wire

from s4.kernel.units import MIB

T = TypeVar("T")

UPLOADERS = 4
LOOK_SECONDS = 5.0
ROWS_SHOWN = 14
WORDS = 120  # of a document: one chunk
GRACE_SECONDS = 20
SETTLED_SECONDS_MAX = 180  # the grace, a sweep that finds the table at rest, the grace of what that left; and slowness
SETTINGS = {
    "S4_EMBEDDING_PROVIDER": "deterministic",
    "S4_INDEX_GRACE_SECONDS": str(GRACE_SECONDS),
    "S4_GARBAGE_GRACE_SECONDS": "20",
    "S4_SWEEP_SECONDS": "10",
}

KINDS = ("index data", "text index", "index versions", "indices")
"""What `watching` calls the files of a table."""
SPACE_PART_MAX = 2.0
"""Bytes of the table in the store, in times of those that its present version needs, when it rests. While it is
written, what the commits of a grace superseded comes to that."""
FRAGMENTS_MAX = 100
"""A commit adds one, a delete of rows one more; compaction is asked for after 20 commits and waits its turn."""
LATENCY_GROWTH_MAX = 3.0
"""p50 of the last third of searches to that of the first, when the table was nearly empty."""
MEMORY_GROWTH_MIB_MAX = 300.0
"""Of the worker's own memory, from the first tenth on."""


@dataclass(slots=True)
class Churned:
    """What was seen. `searches` are their moments and seconds."""

    samples: list[tuple[float, int, Sample]] = field(default_factory=list)
    searches: list[tuple[float, float]] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    seconds: float = 0.0
    repeated: int = 0
    """Requests that were sent again after a 503."""


class Churn:
    """Callers that share one list of living documents."""

    def __init__(self, server: Server, uploads: int, deletes: int) -> None:
        self._server = server
        self._key = server.new_tenant("churn")
        self._left = {"upload": uploads, "delete": deletes}
        self._part = deletes / uploads
        self._living: list[str] = []
        self._lock = threading.Lock()
        self._drawn = random.Random(11)
        self._began = time.monotonic()
        self.ended = threading.Event()
        self.seen = Churned()

    @property
    def living(self) -> int:
        with self._lock:
            return len(self._living)

    def run(self) -> Churned:
        uploaders = [threading.Thread(target=self._told(self._upload_all)) for _ in range(UPLOADERS)]
        with self._beside(self._search_all), self._beside(self._look_all):
            for thread in uploaders:
                thread.start()
            for thread in uploaders:
                thread.join()
            self._await_empty_queue()
            self.seen.seconds = time.monotonic() - self._began
            self._settle()
        return self.seen

    @contextlib.contextmanager
    def _beside(self, work: Callable[[], None]) -> Iterator[None]:
        thread = threading.Thread(target=self._told(work), daemon=True)
        thread.start()
        try:
            yield
        finally:
            self.ended.set()
            thread.join()

    def _told(self, work: Callable[[], None]) -> Callable[[], None]:
        def run() -> None:
            try:
                work()
            except Exception as error:
                self.seen.wrong.append(f"{work.__name__}: {error}")

        return run

    def _upload_all(self) -> None:
        with Wire(self._server.url, self._key) as wire:
            while (number := self._take("upload")) is not None:
                words = " ".join(f"w{self._drawn.randrange(5_000)}" for _ in range(WORDS))
                upload = partial(wire.upload, f"{number}.txt", f"churn {words}".encode(), content_type="text/plain")
                _, document_id = self._answered(upload)
                if self._drawn.random() < self._part and self._take("delete") is not None:
                    self._answered(partial(wire.send, "DELETE", f"/api/v1/documents/{self._some(document_id)}"))
                else:
                    self._some(document_id, keep=True)

    def _answered(self, send: Callable[[], tuple[float, T]]) -> tuple[float, T]:
        """What `send` answers, as often as it takes."""
        while True:
            try:
                return send()
            except Away as away:
                with self._lock:
                    self.seen.repeated += 1
                time.sleep(away.retry_after_seconds)

    def _take(self, what: str) -> int | None:
        with self._lock:
            self._left[what] -= 1
            return self._left[what] if self._left[what] >= 0 else None

    def _some(self, document_id: str, *, keep: bool = False) -> str:
        """Adds it to those that live, and takes one out unless `keep`."""
        with self._lock:
            self._living.append(document_id)
            return document_id if keep else self._living.pop(self._drawn.randrange(len(self._living)))

    def _search_all(self) -> None:
        with Wire(self._server.url, self._key) as wire:
            while not self.ended.wait(0.25):
                body = json.dumps({"query": f"churn w{self._drawn.randrange(5_000)}", "limit": 5}).encode()
                seconds, _ = wire.send("POST", "/api/v1/search", body)
                self.seen.searches.append((time.monotonic() - self._began, seconds))

    def _look_all(self) -> None:
        with Wire(self._server.url) as wire:
            while not self.ended.wait(LOOK_SECONDS):
                self._look(wire)

    def _look(self, wire: Wire) -> None:
        sample = look(self._server, wire) | self._table()
        sample["space"] = sum(sample.get(f"{kind} bytes", 0.0) for kind in KINDS)
        self.seen.samples.append((time.monotonic() - self._began, self.living, sample))

    def _table(self) -> Sample:
        """Of the version that the catalog names: what a search opens."""
        with self._catalog() as connection:
            row = connection.execute("SELECT files FROM index_tables").fetchone()
        files: dict[str, list[Any]] = json.loads(row[0]) if row is not None and row[0] else {}
        return {
            "fragments": float(sum("data/" in name for name in files)),
            "present": sum(size for size, _ in files.values()) / MIB,
        }

    @contextlib.contextmanager
    def _catalog(self) -> Iterator[sqlite3.Connection]:
        path = self._server.data_dir / "catalog.sqlite"
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=30)) as connection:
            yield connection

    def _await_empty_queue(self) -> None:
        while self._jobs():
            time.sleep(0.5)

    def _jobs(self) -> int:
        with self._catalog() as connection:
            busy = "SELECT count(*) FROM jobs WHERE state != 'failed' AND kind LIKE 'documents.%'"
            return int(connection.execute(busy).fetchone()[0])

    def _settle(self) -> None:
        """Until hardly more than the present version is left, or for as long as that may take. Nobody writes."""
        give_up_at = time.monotonic() + SETTLED_SECONDS_MAX
        while time.monotonic() < give_up_at and not _is_settled(self.seen.samples[-1][2]):
            time.sleep(LOOK_SECONDS)


def _is_settled(sample: Sample) -> bool:
    return sample["space"] <= SPACE_PART_MAX * sample["present"]


def _latency(churned: Churned, start: float, end: float) -> Durations:
    return Durations([seconds for at, seconds in churned.searches if start <= at < end])


def report(churned: Churned, uploads: int, deletes: int) -> list[str]:
    """Prints the curves; answers with what is beyond its bound."""
    samples = churned.samples
    step = max(1, len(samples) // ROWS_SHOWN)
    lines, before = [], 0.0
    for at, living, sample in [*samples[:-1:step], samples[-1]]:
        searched = _latency(churned, before, at)
        times = searched.milliseconds[:2] if searched.count else ["–", "–"]
        lines.append(
            [f"{at:.0f}", str(living), f"{sample['space']:.1f}", f"{sample['present']:.1f}",
             f"{sample['space'] / max(sample['present'], 0.01):.1f}", f"{sample['fragments']:.0f}",
             f"{sample.get('index versions files', 0):.0f}", *times, f"{sample.get('worker anonymous', 0):.0f}"]
        )  # fmt: skip
        before = at
    columns = [
        "s",
        "documents",
        "MiB",
        "present MiB",
        "ratio",
        "fragments",
        "versions",
        "p50 ms",
        "p95 ms",
        "worker MiB",
    ]
    print_text(
        f"{uploads:,} uploads, {deletes:,} deletes in {churned.seconds:.0f} s; then it settles. "
        f"Sent again after a 503: {churned.repeated}.\n"
    )
    print_table(columns, lines)
    return [*churned.wrong, *_beyond(churned)]


def _beyond(churned: Churned) -> list[str]:
    found = []
    last = churned.samples[-1][2]
    if not _is_settled(last):
        found.append(f"space stays {last['space'] / last['present']:.1f} times the present version")
    if (most := max(sample["fragments"] for _, _, sample in churned.samples)) > FRAGMENTS_MAX:
        found.append(f"{most:.0f} fragments, more than {FRAGMENTS_MAX}")
    third = churned.seconds / 3
    early, late = _latency(churned, 0, third), _latency(churned, 2 * third, churned.seconds)
    if early.count and late.count and late.quantile(0.5) > LATENCY_GROWTH_MAX * early.quantile(0.5):
        found.append(f"p50 of searches grew from {early.milliseconds[0]} to {late.milliseconds[0]} ms")
    memory = [sample.get("worker anonymous", 0.0) for at, _, sample in churned.samples if at > churned.seconds / 10]
    if memory and max(memory) - memory[0] > MEMORY_GROWTH_MIB_MAX:
        found.append(f"the worker grew by {max(memory) - memory[0]:.0f} MiB")
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description="What stays bounded while one table is changed without end.")
    parser.add_argument("--uploads", type=int, default=10_000)
    parser.add_argument("--deletes", type=int, default=5_000)
    options = parser.parse_args()
    for name in set(os.environ) - set(clean_environment()):
        del os.environ[name]
    with tempfile.TemporaryDirectory(prefix="s4-churn-") as folder:
        print_heading("Churn")
        print_facts(describe(Path(folder)))
        with running_server(Path(folder, "data"), settings=SETTINGS) as server:
            churned = Churn(server, options.uploads, options.deletes).run()
        beyond = report(churned, options.uploads, options.deletes)
        print_text(f"Load afterwards {load()}. " + ("; ".join(beyond) if beyond else "Every bound holds."))
    return 1 if beyond else 0


if __name__ == "__main__":
    sys.exit(main())
