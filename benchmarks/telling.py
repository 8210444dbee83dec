"""What it costs S4 to tell of itself: scrapes at ten thousand tenants, and counting, noting and logging in a request.

Requests: two applications over the same parts answer the same requests in turn, in one process. One tells all: metrics,
the ledger's meter, a log line a request; of the other metrics do nothing, nobody observes and the log says nothing.
"""

import contextlib
import io
import random
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from fastapi import FastAPI
from figures import DURATION_COLUMNS, Durations, print_heading, print_table, print_text
from library import Shelf, Writer, fill
from machine import load
from prometheus_client import Counter, Gauge, Histogram
from prometheus_client.metrics import MetricWrapperBase
from searching import SEED, SETTINGS, timed_search
from testing import settle

from s4.domains.analytics.census import everyone
from s4.entrypoints.api import create_app
from s4.entrypoints.bootstrap import Core, migrate_database, open_core
from s4.entrypoints.configuration import load_settings
from s4.entrypoints.exporter import TenantExporter
from s4.entrypoints.operations import ProcessState
from s4.platform.telemetry import logs
from s4.platform.telemetry.resources import Resources

RATIO_MAX = 1.1  # the target, at the median
SEARCH, READ = KINDS = ("POST /search", "GET /documents/{document_id}")
TOKEN = "the-token-of-the-benchmark"


@dataclass(frozen=True, slots=True)
class TellingSizes:
    tenants: int
    scrapes: int
    chunks: int
    requests: int
    warming: int


FULL = TellingSizes(tenants=10_000, scrapes=20, chunks=2_000, requests=300, warming=20)
QUICK = TellingSizes(tenants=100, scrapes=2, chunks=200, requests=20, warming=3)


async def telling(folder: Path, sizes: TellingSizes) -> None:
    """Scrapes, then requests."""
    async with _opened(folder / "crowd", metrics_token=TOKEN) as core:
        await settle(core.database, sizes.tenants)
        await _scrapes(core, sizes)
    async with _opened(folder / "requests") as core:
        writer = Writer(SEED)
        await _requests(core, await fill(core, writer, chunks=sizes.chunks), writer, sizes)


@contextlib.asynccontextmanager
async def _opened(folder: Path, **settings: Any) -> AsyncIterator[Core]:
    loaded = load_settings(data_dir=folder, **SETTINGS, **settings)
    migrate_database(loaded)
    logs.configure(level="warning", log_format=loaded.log_format, service="benchmark")
    async with open_core(loaded) as core:
        yield core


# -- scrapes


async def _scrapes(core: Core, sizes: TellingSizes) -> None:
    rows = []
    api = httpx.AsyncClient(transport=httpx.ASGITransport(create_app(core, ProcessState())), base_url="http://s4")
    headers = {"Authorization": f"Bearer {TOKEN}"}
    first, again, text = 0.0, Durations(), ""
    for number in range(sizes.scrapes + 1):
        started = time.perf_counter()
        text = (await api.get("/metrics", headers=headers)).text
        seconds = time.perf_counter() - started
        first = first or seconds
        if number:
            again.add(seconds)
    await api.aclose()
    rows.append(_scrape_row("API", text, first, again))
    exporter = TenantExporter(core.database, every_seconds=1000, resources=Resources(folders={}))
    first, again, text = 0.0, Durations(), ""
    for number in range(sizes.scrapes + 1):
        started = time.perf_counter()
        text = (await exporter.exposed()).decode()
        seconds = time.perf_counter() - started
        first = first or seconds
        if number:
            again.add(seconds)
    rows.append(_scrape_row("exporter", text, first, again))
    started = time.perf_counter()
    await everyone(core.database)
    statement_seconds = time.perf_counter() - started
    print_heading(f"Scrapes at {sizes.tenants:,} tenants (`bench.py telling`)")
    print_text(
        "In one process, SQLite, without a network between. First: what the catalog is asked for, once in\n"
        f"`S4_METRICS_CATALOG_SECONDS` or `S4_EXPORTER_SECONDS`; again: from memory. The exporter's statement alone:\n"
        f"{1000 * statement_seconds:.0f} ms. Load {load()}.\n"
    )
    print_table(["", "series", "KiB", "first ms", "again p50 ms", "again max ms"], rows)


def _scrape_row(name: str, text: str, first: float, again: Durations) -> list[str]:
    series = sum(not line.startswith("#") for line in text.splitlines())
    times = (first, again.quantile(0.5), again.quantile(1.0))
    return [name, f"{series:,}", f"{len(text.encode()) / 1024:,.0f}", *(f"{1000 * each:.1f}" for each in times)]


# -- requests


async def _requests(core: Core, shelf: Shelf, writer: Writer, sizes: TellingSizes) -> None:
    telling_app, silent_app = create_app(core, ProcessState()), create_app(core, ProcessState())
    for middleware in silent_app.user_middleware:
        middleware.kwargs["observers"] = ()
    clients = {"telling": _client(telling_app, shelf), "silent": _client(silent_app, shelf)}
    document_id = (await clients["silent"].get("/api/v1/documents", params={"limit": 1})).json()["documents"][0][
        "document_id"
    ]
    found = {(kind, who): Durations() for kind in KINDS for who in clients}
    processor = {key: Durations() for key in found}
    shuffled = random.Random(SEED)
    for number in range(-sizes.warming, sizes.requests):
        query, turns = writer.query(), list(clients)
        shuffled.shuffle(turns)
        for who in turns:
            with _silence() if who == "silent" else _speech():
                for kind in KINDS:
                    spent = time.process_time()
                    seconds = await (
                        timed_search(clients[who], query) if kind == SEARCH else _timed_read(clients[who], document_id)
                    )
                    spent = time.process_time() - spent
                    if number >= 0:
                        found[kind, who].add(seconds)
                        processor[kind, who].add(spent)
    for client in clients.values():
        await client.aclose()
    _report(found, processor, sizes)


def _client(app: FastAPI, shelf: Shelf) -> httpx.AsyncClient:
    headers = {"X-Tenant-Key": shelf.api_key}
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://s4", headers=headers)


async def _timed_read(client: httpx.AsyncClient, document_id: str) -> float:
    started = time.perf_counter()
    answer = await client.get(f"/api/v1/documents/{document_id}")
    seconds = time.perf_counter() - started
    if answer.status_code != 200:
        raise RuntimeError(f"A document should be there: {answer.text[:300]}")
    return seconds


_COUNTING: tuple[tuple[type, str], ...] = (
    (MetricWrapperBase, "labels"), (Counter, "inc"), (Gauge, "inc"), (Gauge, "dec"), (Gauge, "set"),
    (Histogram, "observe"),
)  # fmt: skip


@contextlib.contextmanager
def _speech() -> Iterator[None]:
    """As in production: a line of JSON a request, which goes nowhere."""
    logs.configure(level="info", service="benchmark", stream=io.StringIO())
    yield


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Metrics do nothing, as far as they can be reached by their methods; the log says nothing."""
    logs.configure(level="error", service="benchmark")
    before = [getattr(owner, name) for owner, name in _COUNTING]

    def nothing(metric: Any, *_: Any, **__: Any) -> Any:
        return metric

    for owner, name in _COUNTING:
        setattr(owner, name, nothing)
    try:
        yield
    finally:
        for (owner, name), method in zip(_COUNTING, before, strict=True):
            setattr(owner, name, method)


def _report(
    found: dict[tuple[str, str], Durations], processor: dict[tuple[str, str], Durations], sizes: TellingSizes
) -> None:
    print_heading("What telling costs a request, ms (`bench.py telling`)")
    print_text(
        f"{sizes.chunks:,} chunks, SQLite, in one process and in turn; hashed words as vectors. Silent: no metrics,\n"
        f"no meter, no log line. CPU: of all threads, which other work on the machine hardly moves. Load {load()}.\n"
    )
    rows, ratios = [], []
    for kind, who in found:
        times, spent = found[kind, who], processor[kind, who]
        ratio, cpu_ratio = (of[kind, who].quantile(0.5) / of[kind, "silent"].quantile(0.5) for of in (found, processor))
        cpu = f"{1000 * spent.quantile(0.5):.2f}"
        rows.append([f"{kind}, {who}", str(times.count), *times.milliseconds, f"{ratio:.2f}", cpu, f"{cpu_ratio:.2f}"])
        ratios.append(ratio)
    print_table(["", *DURATION_COLUMNS, "p50 ratio", "CPU p50", "CPU ratio"], rows)
    kept = max(ratios) <= RATIO_MAX
    print_text(f"\nVerdict: target {'kept' if kept else 'MISSED'}: at most {RATIO_MAX:g} of the median request.")
