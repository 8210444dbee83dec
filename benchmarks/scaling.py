"""Searches of a bucket that is far away: in place, and from the API's copies on local disk, cold and warm.

A proxy in front of a real SeaweedFS delays every request by what a large fleet of S3 clients was told to expect at the
median: 63 ms to read, 100 ms to write. It also counts them. Everything runs on one machine, so the proxy's own work is
in the figures of cold searches; a warm search does not meet it.
"""

import asyncio
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from figures import Durations, print_heading, print_table, print_text
from library import CHUNKS_PER_DOCUMENT, Shelf, Writer, fill
from machine import load
from searching import LIMIT, SEED, SETTINGS
from served import Server, running_server
from testing import Fault, FaultProxy, Mode, S3Server, proxy_in_thread, seaweedfs
from wire import Wire

from s4.entrypoints.bootstrap import migrate_database, open_core
from s4.entrypoints.configuration import load_settings
from s4.kernel.units import KIB

READ_SECONDS, WRITE_SECONDS = 0.063, 0.100
TARGETS_MS = {"warm p50": 10.0, "warm p99": 40.0, "cold p50": 900.0, "upload p50": 350.0}  # at 100,000 chunks
UPLOAD_BYTES = 512 * KIB
UPLOADED = "an upload of 512 KiB"


@dataclass(frozen=True, slots=True)
class ScaleSizes:
    chunks: tuple[int, ...]
    cold: int
    warm: int
    in_place: int
    uploads: int


FULL = ScaleSizes(chunks=(10_000, 100_000), cold=5, warm=300, in_place=20, uploads=40)
QUICK = ScaleSizes(chunks=(1_000,), cold=1, warm=10, in_place=2, uploads=2)


@dataclass(slots=True)
class Way:
    """How a table was searched."""

    times: Durations = field(default_factory=Durations)
    requests: int = 0

    @property
    def requests_each(self) -> float:
        return self.requests / self.times.count


def scale(folder: Path, sizes: ScaleSizes) -> None:
    """Fills, serves from afar, measures, prints."""
    found: dict[int, dict[str, Way]] = {}
    with seaweedfs() as s3, _far(s3) as far:
        for chunks in sizes.chunks:
            place = folder / str(chunks)
            shelf, other, writer, access = _filled(place, s3, chunks)
            found[chunks] = _searched(
                place, shelf, other, writer, access | {"S4_STORE_ENDPOINT": far.endpoint}, far, sizes
            )
    _report(found)


@contextmanager
def _far(s3: S3Server) -> Iterator[FaultProxy]:
    """The proxy, in a thread of its own."""
    with proxy_in_thread(s3.endpoint) as proxy:
        for method in ("GET", "HEAD"):
            proxy.add(Fault(Mode.SLOW, method=method, delay_seconds=READ_SECONDS))
        proxy.add(Fault(Mode.SLOW, delay_seconds=WRITE_SECONDS))
        yield proxy


def _filled(place: Path, s3: S3Server, chunks: int) -> tuple[Shelf, Shelf, Writer, dict[str, str]]:
    """The tenant's shelf, and a small one of another."""
    access: dict[str, Any] = {
        "store_url": f"s3://{s3.new_bucket()}",
        "store_endpoint": s3.endpoint,
        "store_access_key_id": s3.access_key,
        "store_secret_access_key": s3.secret_key,
    }

    async def filled() -> tuple[Shelf, Shelf, Writer]:
        settings = load_settings(data_dir=place, **SETTINGS, **access)
        migrate_database(settings)
        writer = Writer(SEED)
        async with open_core(settings) as core:
            other = await fill(core, Writer(SEED), chunks=CHUNKS_PER_DOCUMENT)
            return await fill(core, writer, chunks=chunks), other, writer

    shelf, other, writer = asyncio.run(filled())
    print_text(f"filled: {shelf.chunks} chunks, {shelf.size_bytes / 2**20:.0f} MiB of index")
    return shelf, other, writer, {f"S4_{name.upper()}": value for name, value in {**SETTINGS, **access}.items()}


def _searched(
    place: Path,
    shelf: Shelf,
    other: Shelf,
    writer: Writer,
    environment: dict[str, str],
    far: FaultProxy,
    sizes: ScaleSizes,
) -> dict[str, Way]:
    ways = {
        name: Way() for name in ("in the bucket, first", "in the bucket, after", "copy, first", "copy, after", UPLOADED)
    }
    without = environment | {"S4_INDEX_COPIES_BYTES": "0"}
    with running_server(place, "--no-worker", settings=without) as server, Wire(server.url, shelf.api_key) as wire:
        _begin(server, other, far)
        _search(wire, writer, far, ways["in the bucket, first"])
        for _ in range(sizes.in_place):
            _search(wire, writer, far, ways["in the bucket, after"])
    for number in range(sizes.cold):
        shutil.rmtree(place / "copies", ignore_errors=True)
        with (
            running_server(place, "--no-worker", settings=environment) as server,
            Wire(server.url, shelf.api_key) as wire,
        ):
            _begin(server, other, far)
            _search(wire, writer, far, ways["copy, first"])
            if number == sizes.cold - 1:
                for _ in range(sizes.warm):
                    _search(wire, writer, far, ways["copy, after"])
                for upload in range(sizes.uploads):
                    _upload(wire, upload, far, ways[UPLOADED])
    return ways


def _begin(server: Server, other: Shelf, far: FaultProxy) -> None:
    """The process has imported everything, and searched another tenant's table."""
    writer = Writer(SEED)
    writer.document()  # of which that table consists
    with Wire(server.url, other.api_key) as wire:
        _search(wire, writer, far, Way())


def _search(wire: Wire, writer: Writer, far: FaultProxy, way: Way) -> None:
    body = json.dumps({"query": writer.query(), "mode": "hybrid", "limit": LIMIT}).encode()
    before = len(far.requests)
    seconds, answer = wire.send("POST", "/api/v1/search", body)
    if not json.loads(answer)["results"]:
        raise RuntimeError("A search should have found something.")
    way.times.add(seconds)
    way.requests += len(far.requests) - before


def _upload(wire: Wire, number: int, far: FaultProxy, way: Way) -> None:
    before = len(far.requests)
    way.times.add(wire.upload(f"{number}.bin", os.urandom(UPLOAD_BYTES), content_type="application/octet-stream")[0])
    way.requests += len(far.requests) - before


def _report(found: dict[int, dict[str, Way]]) -> None:
    print_heading("Hybrid searches, and uploads, of a bucket that is far away, ms")
    print_text(
        f"POST /search over HTTP, one client, {LIMIT} documents, hashed words as vectors; every request to "
        f"the store\ndelayed by {1000 * READ_SECONDS:.0f} ms (reads) or {1000 * WRITE_SECONDS:.0f} ms. “first” is the "
        f"first of that table, in a process that has searched another. Load {load()}.\n"
    )
    rows = [
        [
            f"{chunks:,}, {name}",
            str(way.times.count),
            *(f"{1000 * way.times.quantile(part):.1f}" for part in (0.50, 0.90, 0.99)),
            f"{way.requests_each:.1f}",
        ]
        for chunks, ways in found.items()
        for name, way in ways.items()
    ]
    print_table(["chunks", "n", "p50", "p90", "p99", "requests each"], rows)
    ways = found[max(found)]
    measured = {
        "warm p50": 1000 * ways["copy, after"].times.quantile(0.50),
        "warm p99": 1000 * ways["copy, after"].times.quantile(0.99),
        "cold p50": 1000 * ways["copy, first"].times.quantile(0.50),
        "upload p50": 1000 * ways[UPLOADED].times.quantile(0.50),
    }
    verdicts = [
        f"{name} {value:.1f} ms, target {TARGETS_MS[name]:g}: {'kept' if value <= TARGETS_MS[name] else 'MISSED'}"
        for name, value in measured.items()
    ]
    print_text(f"\nAt {max(found):,} chunks: {'; '.join(verdicts)}.")
