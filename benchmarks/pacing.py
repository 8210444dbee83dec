"""Requests at a fixed pace, from a process of their own: `with paced(...) as measured`.

The loop is open: a request is due at its moment whether or not the ones before it were answered, and its time counts
from that moment, so a server that stalls is charged for all that would have been sent meanwhile (no coordinated
omission). Enough connections wait that the pace holds while some are stuck. `late` says how long after its moment a
request really went out: what of the figures is this program's own fault, or its machine's.

`per_second=FLAT_OUT` closes the loop: each connection sends as soon as it was answered, as much as the server takes.

    python benchmarks/pacing.py < job.json     until its standard input ends; prints one JSON object
"""

import contextlib
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from http.client import HTTPException
from itertools import count
from pathlib import Path
from queue import Queue

from figures import Durations
from wire import Wire

FLAT_OUT = 0.0
_AHEAD_SECONDS = 0.2  # until the first request is due: the threads stand ready by then
_END_SECONDS_MAX = 60.0  # for what is still on its way when the end is called


@dataclass(frozen=True, slots=True)
class Pace:
    """One kind of request: `bodies` in turn (empty: a GET), so many a second, over so many connections. `{number}` in
    the path counts requests. `key`: another tenant's than the others."""

    name: str
    path: str
    per_second: float
    connections: int
    bodies: tuple[str, ...] = ()
    method: str = "POST"
    key: str | None = None


@dataclass(slots=True)
class Paced:
    """What came of one pace. `failed`: answers that were no success, or none."""

    times: Durations = field(default_factory=Durations)
    late: Durations = field(default_factory=Durations)
    failed: list[str] = field(default_factory=list)

    def extend(self, other: "Paced") -> None:
        self.times.seconds.extend(other.times.seconds)
        self.late.seconds.extend(other.late.seconds)
        self.failed.extend(other.failed)


@contextlib.contextmanager
def paced(url: str, key: str, paces: Sequence[Pace]) -> Iterator[dict[str, Paced]]:
    """Sends from here to the end of the block; the results, by name, are there after it."""
    job = json.dumps({"url": url, "key": key, "paces": [asdict(pace) for pace in paces]})
    results: dict[str, Paced] = {}
    with subprocess.Popen(
        [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parent
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(job + "\n")
        process.stdin.flush()
        try:
            yield results
        finally:
            process.stdin.close()
            told = process.stdout.read()
    if process.returncode:
        raise RuntimeError("The program that sends requests failed.")
    for name, found in json.loads(told).items():
        results[name] = Paced(Durations(found["times"]), Durations(found["late"]), found["failed"])


def main() -> int:
    job = json.loads(sys.stdin.readline())
    ended = threading.Event()
    senders = [_Sender(job["url"], job["key"], Pace(**pace), ended) for pace in job["paces"]]
    for sender in senders:
        sender.start()
    sys.stdin.read()  # until the parent closes it, or is gone
    ended.set()
    print(json.dumps({sender.pace.name: sender.finish() for sender in senders}))
    return 0


class _Sender:
    """One thread that keeps the time, and one for each connection."""

    def __init__(self, url: str, key: str, pace: Pace, ended: threading.Event) -> None:
        self.pace = pace
        self._url, self._key, self._ended = url, pace.key or key, ended
        self._due: Queue[tuple[float, int] | None] = Queue()
        self._numbers = count()  # one `next` of it is one step of the interpreter, so threads may share it
        self._done = Paced()
        self._threads = [threading.Thread(target=self._send, daemon=True) for _ in range(pace.connections)]
        self._clock = threading.Thread(target=self._tick, daemon=True)

    def start(self) -> None:
        for thread in (*self._threads, self._clock):
            thread.start()

    def finish(self) -> dict[str, list[float] | list[str]]:
        for thread in (self._clock, *self._threads):
            thread.join(_END_SECONDS_MAX)
        return {
            "times": self._done.times.seconds,
            "late": self._done.late.seconds,
            "failed": self._done.failed,
        }

    def _tick(self) -> None:
        if self.pace.per_second == FLAT_OUT:
            self._ended.wait()
            return
        first, number = time.perf_counter() + _AHEAD_SECONDS, 0
        while not self._ended.wait(max(0.0, first + number / self.pace.per_second - time.perf_counter())):
            self._due.put((first + number / self.pace.per_second, number))
            number += 1
        for _ in self._threads:
            self._due.put(None)

    def _send(self) -> None:
        wire = Wire(self._url, self._key)
        bodies = self.pace.bodies
        while (turn := self._next()) is not None:
            due, number = turn
            self._done.late.add(time.perf_counter() - due)
            try:
                path = self.pace.path.replace("{number}", str(number))
                if bodies:
                    wire.send(self.pace.method, path, bodies[number % len(bodies)].encode())
                else:
                    wire.send("GET", path)
            except (OSError, HTTPException) as error:
                self._done.failed.append(f"{type(error).__name__}: {error}"[:200])
                wire = Wire(self._url, self._key)
            except RuntimeError as error:  # an answer, read to its end: the connection is as good as before
                self._done.failed.append(str(error)[:200])
            else:
                self._done.times.add(time.perf_counter() - due)

    def _next(self) -> tuple[float, int] | None:
        if self.pace.per_second != FLAT_OUT:
            return self._due.get()
        return None if self._ended.is_set() else (time.perf_counter(), next(self._numbers))


if __name__ == "__main__":
    sys.exit(main())
