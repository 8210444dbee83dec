"""How much memory uploads and downloads of a large file cost the API, one at a time and several at once.

What is counted: resident memory beyond that of the warmed-up, idle API. Its most is the kernel's own high-water mark
(VmHWM), reset before each measurement, so that no peak falls between two looks; the anonymous part is looked at every
few milliseconds. Page cache belongs to neither. Nothing is given back between measurements: what an upload leaves
behind counts against all that follow.
"""

import contextlib
import hashlib
import http.client
import json
import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from figures import print_heading, print_table, print_text
from processes import Process
from served import Server, running_server
from testing import seaweedfs

from s4.kernel.units import KIB, MIB

TARGET_MIB = 150.0
PIECE_BYTES = 256 * KIB  # of a body, at a time
RANGE_BYTES = 8 * MIB
LOOK_SECONDS = 0.005
TIMEOUT_SECONDS = 600.0
WARM_BYTES, WARM_ROUNDS = MIB, 4  # every route has been asked; less than a part, so that buffers of parts count
PAUSE_SECONDS = 3.0  # of a slow reader: enough to fetch a gigabyte ahead, if anything did
_BOUNDARY = "benchmark-0c4f1d"


@dataclass(frozen=True, slots=True)
class MemorySizes:
    file_bytes: int
    at_once: tuple[int, ...]


FULL = MemorySizes(file_bytes=1024 * MIB, at_once=(1, 4))
QUICK = MemorySizes(file_bytes=48 * MIB, at_once=(1, 2))


def memory(folder: Path, sizes: MemorySizes) -> None:
    """On a directory, then on S3."""
    found = {"directory": _measured(folder / "directory", {}, sizes)}
    with seaweedfs() as s3:
        settings = {
            "S4_STORE_URL": f"s3://{s3.new_bucket()}",
            "S4_STORE_ENDPOINT": s3.endpoint,
            "S4_STORE_ACCESS_KEY_ID": s3.access_key,
            "S4_STORE_SECRET_ACCESS_KEY": s3.secret_key,
        }
        found["S3"] = _measured(folder / "s3", settings, sizes)
    _report(found, sizes)


@dataclass(frozen=True, slots=True)
class Cost:
    """MiB beyond the idle API's, and what it took."""

    label: str
    at_once: int
    resident: float
    anonymous: float
    seconds: float


def _measured(data_dir: Path, settings: dict[str, str], sizes: MemorySizes) -> list[Cost]:
    # Without a worker: it would fetch the files to find that nobody can read them.
    with running_server(data_dir, "--no-worker", settings=settings) as server:
        client = _Client(server, sizes.file_bytes)
        for _ in range(WARM_ROUNDS):
            _Client(server, WARM_BYTES).all_ways(at_once=1)
        idle = Process(server.pid).memory
        costs = []
        for at_once in sizes.at_once:
            for label, work in client.ways(at_once):
                with _watched(server.pid) as most:
                    started = time.perf_counter()
                    client.side_by_side(work, at_once)
                    seconds = time.perf_counter() - started
                cost = Cost(
                    label,
                    at_once,
                    (most["resident"] - idle.resident) / MIB,
                    (most["anonymous"] - idle.anonymous) / MIB,
                    seconds,
                )
                print_text(f"{label}, {at_once} at once: {cost.resident:.0f} MiB in {seconds:.0f} s")
                costs.append(cost)
        return costs


@contextlib.contextmanager
def _watched(pid: int) -> Iterator[dict[str, int]]:
    """The most of each kind, in bytes; there when the block has ended."""
    process, most, ended = Process(pid), {"anonymous": 0, "resident": 0}, threading.Event()
    process.forget_most()

    def look() -> None:
        while not ended.wait(LOOK_SECONDS):
            most["anonymous"] = max(most["anonymous"], process.memory.anonymous)

    looking = threading.Thread(target=look, daemon=True)
    looking.start()
    try:
        yield most
    finally:
        ended.set()
        looking.join()
        most["resident"] = process.memory.resident_most


class _Client:
    """One tenant, as many connections as needed; holds one piece of a body in memory."""

    def __init__(self, server: Server, file_bytes: int) -> None:
        self._address = urlsplit(server.url).netloc
        self._headers = {"X-Tenant-Key": server.new_tenant("memory")}
        self._file_bytes = file_bytes
        self._piece = os.urandom(PIECE_BYTES)
        digest = hashlib.sha256()
        for piece in self._pieces():
            digest.update(piece)
        self._sha256 = digest.hexdigest()
        self._document_id = ""

    def ways(self, at_once: int) -> list[tuple[str, Callable[[int], None]]]:
        """What is done, by name; each takes the number of the one among those at once."""
        return [
            ("POST, a form", self._post),
            ("PUT, with length", lambda number: self._put(f"whole-{at_once}-{number}", chunked=False)),
            ("PUT, chunked", lambda number: self._put(f"chunked-{at_once}-{number}", chunked=True)),
            ("GET", lambda _: self._get()),
            ("GET, read slowly", lambda _: self._get_slowly()),
            (f"GET, ranges of {RANGE_BYTES // MIB} MiB", self._get_ranges),
        ]

    def all_ways(self, *, at_once: int) -> None:
        for _, work in self.ways(at_once):
            self.side_by_side(work, at_once)

    def side_by_side(self, work: Callable[[int], None], at_once: int) -> None:
        with ThreadPoolExecutor(at_once) as pool:
            list(pool.map(work, range(at_once)))

    def _pieces(self) -> Iterator[bytes]:
        for _ in range(self._file_bytes // PIECE_BYTES):
            yield self._piece

    def _post(self, _number: int) -> None:
        head = (
            f'--{_BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="large.bin"\r\n'
            "Content-Type: application/octet-stream\r\n\r\n"
        ).encode()
        tail = f"\r\n--{_BOUNDARY}--\r\n".encode()

        def body() -> Iterator[bytes]:
            yield head
            yield from self._pieces()
            yield tail

        headers = {
            "Content-Type": f"multipart/form-data; boundary={_BOUNDARY}",
            "Content-Length": str(len(head) + self._file_bytes + len(tail)),
        }
        self._stored(self._send("POST", "/api/v1/documents", headers, body()))

    def _put(self, key: str, *, chunked: bool) -> None:
        headers = {"Content-Type": "application/octet-stream"}
        headers |= {"Transfer-Encoding": "chunked"} if chunked else {"Content-Length": str(self._file_bytes)}
        path = f"/api/v1/documents/by-key/{key}"
        self._stored(self._send("PUT", path, headers, self._pieces(), chunked=chunked))

    def _stored(self, answer: bytes) -> None:
        document = json.loads(answer)
        if document["sha256"] != self._sha256:
            raise RuntimeError("What was stored is not what was sent.")
        self._document_id = document["document_id"]

    def _send(
        self, method: str, path: str, headers: dict[str, str], body: Iterator[bytes], *, chunked: bool = False
    ) -> bytes:
        with contextlib.closing(http.client.HTTPConnection(self._address, timeout=TIMEOUT_SECONDS)) as connection:
            connection.request(method, path, body, self._headers | headers, encode_chunked=chunked)
            answer = connection.getresponse()
            content = answer.read()
            if answer.status >= 300:
                raise RuntimeError(f"{method} {path}: {answer.status} {content[:300]!r}")
            return content

    def _get(self) -> None:
        if self._downloaded({}) != self._file_bytes:
            raise RuntimeError("The download is not whole.")

    def _get_slowly(self) -> None:
        """A piece, then nothing for a while, then never mind: what is fetched ahead meanwhile?"""
        path = f"/api/v1/documents/{self._document_id}/download"
        with contextlib.closing(http.client.HTTPConnection(self._address, timeout=TIMEOUT_SECONDS)) as connection:
            connection.request("GET", path, headers=self._headers)
            connection.getresponse().read(PIECE_BYTES)
            time.sleep(PAUSE_SECONDS)

    def _get_ranges(self, number: int) -> None:
        """As many as make up the file, where they fall."""
        chosen, length = random.Random(number), min(RANGE_BYTES, self._file_bytes // 2)
        for _ in range(self._file_bytes // length):
            start = chosen.randrange(self._file_bytes - length)
            if self._downloaded({"Range": f"bytes={start}-{start + length - 1}"}) != length:
                raise RuntimeError("The range is not whole.")

    def _downloaded(self, headers: dict[str, str]) -> int:
        path = f"/api/v1/documents/{self._document_id}/download"
        with contextlib.closing(http.client.HTTPConnection(self._address, timeout=TIMEOUT_SECONDS)) as connection:
            connection.request("GET", path, headers=self._headers | headers)
            answer = connection.getresponse()
            if answer.status >= 300:
                raise RuntimeError(f"GET {path}: {answer.status}")
            size, buffer = 0, bytearray(PIECE_BYTES)
            while count := answer.readinto(buffer):
                size += count
            return size


def _report(found: dict[str, list[Cost]], sizes: MemorySizes) -> None:
    print_heading("Memory of the API, MiB beyond idle")
    print_text(
        f"Files of {sizes.file_bytes // MIB} MiB. “resident”: the kernel's high-water mark (VmHWM), reset before\n"
        "each, less the resident memory of the idle API after warming up; “anonymous”: the same of RssAnon, looked at\n"
        f"every {1000 * LOOK_SECONDS:g} ms. Page cache is in neither. What a line leaves behind counts in all after.\n"
    )
    rows = [
        [
            f"{store}, {cost.label}",
            *(str(cost.at_once), f"{cost.resident:.0f}", f"{cost.anonymous:.0f}", f"{cost.seconds:.1f}"),
        ]
        for store, costs in found.items()
        for cost in costs
    ]
    print_table(["", "at once", "resident", "anonymous", "s"], rows)
    single = max(cost.resident for costs in found.values() for cost in costs if cost.at_once == 1)
    most = max(cost.resident for costs in found.values() for cost in costs)
    print_text(
        f"Verdict: target {'kept' if single < TARGET_MIB else 'MISSED'}: one at a time costs at most {single:.0f} MiB "
        f"(target below {TARGET_MIB:g}); {max(sizes.at_once)} at once at most {most:.0f} MiB."
    )
