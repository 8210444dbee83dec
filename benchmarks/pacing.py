"""Requests at a fixed pace, from a process of their own: `with paced(...) as measured`.

The loop is open: a request is due at its moment whether or not the ones before it were answered, and its time counts
from that moment, so a server that stalls is charged for all that would have been sent meanwhile (no coordinated
omission). Enough connections wait that the pace holds while some are stuck. `late` says how long after its moment a
request really went out: what of the figures is this program's own fault, or its machine's.

It takes its part of the server's processors, so it does little for a request: prepared bytes out, a parser in C for
what comes back, one event loop.

`per_second=FLAT_OUT` closes the loop: each connection sends as soon as it was answered, as much as the server takes.

    python benchmarks/pacing.py < job.json     until its standard input ends; prints one JSON object
"""

import asyncio
import contextlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import count
from pathlib import Path
from typing import cast
from urllib.parse import SplitResult, urlsplit

import httptools
import uvloop
from figures import Durations
from wire import TIMEOUT_SECONDS

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
    uvloop.run(_send_all(job["url"], job["key"], [Pace(**pace) for pace in job["paces"]]))
    return 0


async def _send_all(url: str, key: str, paces: list[Pace]) -> None:
    senders = [_Sender(url, key, pace) for pace in paces]
    for sender in senders:
        sender.start()
    await asyncio.to_thread(sys.stdin.read)  # until the parent closes it, or is gone
    print(json.dumps({sender.pace.name: await sender.finish() for sender in senders}))


class _Sender:
    """One task that keeps the time, and one for each connection. What is sent was put together before."""

    def __init__(self, url: str, key: str, pace: Pace) -> None:
        self.pace = pace
        self._address = urlsplit(url)
        self._bodies = [body.encode() for body in pace.bodies]
        self._head = (
            f"Host: {self._address.netloc}\r\nX-Tenant-Key: {pace.key or key}\r\nContent-Type: application/json\r\n"
        )
        self._ended = asyncio.Event()
        self._due: asyncio.Queue[tuple[float, int] | None] = asyncio.Queue()
        self._numbers = count()
        self._done = Paced()
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        self._tasks = [asyncio.create_task(self._send()) for _ in range(self.pace.connections)]
        self._tasks.append(asyncio.create_task(self._tick()))

    async def finish(self) -> dict[str, list[float] | list[str]]:
        self._ended.set()
        await asyncio.wait(self._tasks, timeout=_END_SECONDS_MAX)
        for task in self._tasks:
            if task.done():
                task.result()
        return {"times": self._done.times.seconds, "late": self._done.late.seconds, "failed": self._done.failed}

    async def _tick(self) -> None:
        if self.pace.per_second == FLAT_OUT:
            return
        first, number = time.perf_counter() + _AHEAD_SECONDS, 0
        while not self._ended.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(first + number / self.pace.per_second - time.perf_counter()):
                    await self._ended.wait()
                    break
            self._due.put_nowait((first + number / self.pace.per_second, number))
            number += 1
        for _ in range(self.pace.connections):
            self._due.put_nowait(None)

    async def _send(self) -> None:
        line = None
        while (turn := await self._next()) is not None:
            due, number = turn
            self._done.late.add(time.perf_counter() - due)
            try:
                if line is None or line.is_closed:
                    line = await _connected(self._address)
                async with asyncio.timeout(TIMEOUT_SECONDS):
                    status, content = await line.ask(self._request(number))
            except (OSError, TimeoutError, httptools.HttpParserError) as error:
                self._done.failed.append(f"{type(error).__name__}: {error}"[:200])
                line = None
                continue
            if status < 300:
                self._done.times.add(time.perf_counter() - due)
            else:
                self._done.failed.append(
                    f"{self.pace.method} {self.pace.path}: {status} {content.decode(errors='replace')}"[:200]
                )

    def _request(self, number: int) -> bytes:
        path = self.pace.path.replace("{number}", str(number))
        if not self._bodies:
            return f"GET {path} HTTP/1.1\r\n{self._head}\r\n".encode()
        body = self._bodies[number % len(self._bodies)]
        return f"{self.pace.method} {path} HTTP/1.1\r\n{self._head}Content-Length: {len(body)}\r\n\r\n".encode() + body

    async def _next(self) -> tuple[float, int] | None:
        if self.pace.per_second != FLAT_OUT:
            return await self._due.get()
        return None if self._ended.is_set() else (time.perf_counter(), next(self._numbers))


class _Line(asyncio.Protocol):
    """One connection, one request at a time."""

    def __init__(self) -> None:
        self.is_closed = False
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._content: list[bytes] = []
        self._answer: asyncio.Future[tuple[int, bytes]] | None = None

    def ask(self, request: bytes) -> asyncio.Future[tuple[int, bytes]]:
        """Status and body of the answer. Raises `OSError` when the connection ends before it."""
        assert self._transport is not None
        self._content.clear()
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return self._answer

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_closed = True
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(exc if isinstance(exc, OSError) else ConnectionResetError("closed"))

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            if self._answer is not None and not self._answer.done():
                self._answer.set_exception(error)

    def on_body(self, piece: bytes) -> None:
        """The parser's."""
        self._content.append(piece)

    def on_message_complete(self) -> None:
        """The parser's."""
        self.is_closed |= not self._parser.should_keep_alive()
        if self._answer is not None and not self._answer.done():
            self._answer.set_result((self._parser.get_status_code(), b"".join(self._content)))


async def _connected(address: SplitResult) -> _Line:
    assert address.hostname is not None
    assert address.port is not None
    _, line = await asyncio.get_running_loop().create_connection(_Line, address.hostname, address.port)
    return line


if __name__ == "__main__":
    sys.exit(main())
