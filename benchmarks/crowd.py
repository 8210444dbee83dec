"""What registered tenants cost who do nothing: memory of the API, its start, and what a start asks of the bucket."""

import asyncio
import time
from pathlib import Path

from figures import Durations, print_heading, print_table, print_text
from library import admin_of
from machine import load
from operations import far_servers, far_settings
from processes import Process
from served import running_server
from testing import FaultProxy, flags

from s4.domains.tenants import NewTenant
from s4.entrypoints.bootstrap import migrate_database, open_core
from s4.entrypoints.configuration import load_settings
from s4.kernel.units import MIB

TENANTS_AT_ONCE = 16
SETTLE_SECONDS = 3.0


FULL = (0, 1_000, 10_000)
QUICK = (0, 20)
STARTS = 3


def crowd(folder: Path, sizes: tuple[int, ...]) -> None:
    """`sizes`: how many tenants there are, ascending."""
    rows = []
    with far_servers() as (s3, database, far):
        settings = far_settings(s3, database, far.endpoint)
        there = 0
        for count in sizes:
            asyncio.run(_register(folder / "filling", settings | {"S4_STORE_ENDPOINT": s3.endpoint}, there, count))
            there = count
            rows.append([f"{count:,}", *_started(folder / str(count), settings, far)])
    print_heading("Tenants that do nothing")
    print_text(
        f"`s4 serve --no-worker` on PostgreSQL and SeaweedFS, {STARTS} starts each, medians. Memory: proportional\n"
        f"(PSS), {SETTLE_SECONDS:g} s after the start. Requests: to the bucket, until then. Load {load()}.\n"
    )
    print_table(["tenants", "start to ready s", "memory MiB", "requests", "of these LIST"], rows)


async def _register(place: Path, settings: dict[str, str], first: int, last: int) -> None:
    loaded = load_settings(data_dir=place, **flags(settings))
    await asyncio.to_thread(migrate_database, loaded)
    async with open_core(loaded) as core:
        admin, gate = await admin_of(core), asyncio.Semaphore(TENANTS_AT_ONCE)

        async def create(number: int) -> None:
            async with gate:
                await core.tenants.create(admin, NewTenant(f"Tenant {number}", None, None, "local"))

        async with asyncio.TaskGroup() as creating:
            for number in range(first, last):
                creating.create_task(create(number))


def _started(place: Path, settings: dict[str, str], far: FaultProxy) -> list[str]:
    times, held, requests, lists = Durations(), Durations(), Durations(), Durations()
    for _ in range(STARTS):
        seen, started = len(far.requests), time.perf_counter()
        with running_server(place, "--no-worker", settings=settings) as server:
            times.add(time.perf_counter() - started)
            time.sleep(SETTLE_SECONDS)
            held.add(Process(server.pid).proportional_bytes / MIB)
            asked = far.requests[seen:]
            requests.add(len(asked))
            lists.add(sum(request.kind == "LIST" for request in asked))
    return [
        f"{times.quantile(0.5):.1f}",
        f"{held.quantile(0.5):.0f}",
        f"{requests.quantile(0.5):.0f}",
        f"{lists.quantile(0.5):.0f}",
    ]
