"""What authentication, rate limit, monthly calls and metering add to a search, all in one process.

Two applications over the same parts answer the same searches in turn: the real one, and one whose callers are known
beforehand, unlimited and unmetered. No network lies between, so that nothing hides the difference.
"""

import random
from dataclasses import dataclass
from pathlib import Path

import httpx
from fastapi import FastAPI
from figures import DURATION_COLUMNS, Durations, print_heading, print_table, print_text
from library import Shelf, Writer, admin_of, fill
from searching import LIMIT, SEED, SETTINGS, timed_search

from s4.domains.plans import Plan
from s4.entrypoints.api import create_app
from s4.entrypoints.bootstrap import Core, migrate_database, open_core
from s4.entrypoints.configuration import load_settings
from s4.entrypoints.operations import ProcessState
from s4.kernel.context import NOWHERE, AdminContext, TenantContext
from s4.platform.http.routing import Credentials
from s4.platform.telemetry import logs

PLAN = Plan("measured", "Measured", api_calls_limit=10**9, requests_per_second=10**6, burst=10**6, listed=False)
RATIO_MAX = 1.3  # the target, at the median


@dataclass(frozen=True, slots=True)
class OverheadSizes:
    chunks: int
    queries: int
    warming: int


FULL = OverheadSizes(chunks=10_000, queries=600, warming=60)
QUICK = OverheadSizes(chunks=200, queries=20, warming=3)


class Known:
    """An authenticator that looks nothing up."""

    def __init__(self, context: TenantContext) -> None:
        self._context = context

    async def tenant(self, _: Credentials) -> TenantContext:
        return self._context

    async def admin(self, _: Credentials) -> AdminContext:
        raise NotImplementedError("searches need no administrator")


async def overhead(folder: Path, sizes: OverheadSizes) -> None:
    """Fills, asks both, prints."""
    settings = load_settings(data_dir=folder / "data", **SETTINGS)
    migrate_database(settings)
    logs.configure(level="warning", log_format=settings.log_format, service="benchmark")
    async with open_core(settings) as core:
        writer = Writer(SEED)
        shelf = await fill(core, writer, chunks=sizes.chunks)
        await core.plans.create(await admin_of(core), PLAN)
        full, bare = await _applications(core, shelf)
        found = await _compare(full, bare, shelf, writer, sizes)
    _report(found, sizes)


async def _applications(core: Core, shelf: Shelf) -> tuple[FastAPI, FastAPI]:
    context = await core.access.tenant(Credentials(tenant_key=shelf.api_key, admin_key=None, origin=NOWHERE))
    full, bare = create_app(core, ProcessState()), create_app(core, ProcessState())
    bare.state.s4_authenticator = Known(context)
    bare.state.s4_places = None
    bare.state.s4_rate_gate = None
    bare.state.s4_admissions = ()
    for middleware in bare.user_middleware:
        middleware.kwargs["observers"] = ()
    return full, bare


async def _compare(
    full: FastAPI, bare: FastAPI, shelf: Shelf, writer: Writer, sizes: OverheadSizes
) -> dict[str, Durations]:
    found = {"with": Durations(), "without": Durations()}
    shuffled = random.Random(SEED)
    headers = {"X-Tenant-Key": shelf.api_key}
    clients = {
        name: httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://s4", headers=headers)
        for name, app in (("with", full), ("without", bare))
    }
    for number in range(-sizes.warming, sizes.queries):
        query, turns = writer.query(), list(clients)
        shuffled.shuffle(turns)
        for turn in turns:
            seconds = await timed_search(clients[turn], query)
            if number >= 0:
                found[turn].add(seconds)
    for client in clients.values():
        await client.aclose()
    return found


def _report(found: dict[str, Durations], sizes: OverheadSizes) -> None:
    print_heading("What authentication, limits and metering cost a search, ms")
    print_text(
        f"POST /search, hybrid, {LIMIT} documents an answer, {sizes.chunks:,} chunks, SQLite, in one process\n"
        "and in turn; hashed words as vectors, so that no model's time hides the rest.\n"
    )
    floor = found["without"]
    rows = [
        [label, str(found[name].count), *found[name].milliseconds, *found[name].ratios(floor)]
        for name, label in (("without", "without"), ("with", "with authentication, limits, metering"))
    ]
    print_table(["", *DURATION_COLUMNS, "p50 ratio", "p99 ratio"], rows)
    ratio = found["with"].quantile(0.5) / floor.quantile(0.5)
    print_text(
        f"\nVerdict: target {'kept' if ratio < RATIO_MAX else 'MISSED'}: {ratio:.2f} at the median "
        f"(target below {RATIO_MAX:g})."
    )
