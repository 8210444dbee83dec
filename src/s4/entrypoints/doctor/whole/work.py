"""What the catalog tells of its work: the queue, and the index."""

import asyncio
import time
from datetime import datetime, timedelta
from typing import Any

from s4.domains.indexing import COMMITS_BEFORE_OPTIMIZE
from s4.domains.upkeep import queries
from s4.domains.upkeep.queries.index import Table
from s4.domains.upkeep.queries.queue import Waiting
from s4.entrypoints.doctor.report import Check, failed, ok, warning
from s4.entrypoints.doctor.whole.bedside import Bedside, how_long
from s4.kernel.units import human_size
from s4.platform.jobs import broad, somebody_schedules

_LONG = timedelta(hours=1)  # 50,000 chunks take half an hour on two cores
_WAITS_LONG = timedelta(minutes=10)
_CRASHES_MIN = 2  # after three the job is not tried again
_FAILED_WITHIN = timedelta(days=1)
_MANY_JOBS, _MOST_JOBS = 50, 0.8
_OTHERS_WAIT = timedelta(seconds=30)
_FRAGMENTS_MANY = 500  # each is a file that a search may open
_COMMITS_TIMES = 10  # of what has a table compacted
NO_WORKER = "queue.workers"
_LOOK_SECONDS = 0.5
_SHOWN = 3  # culprits of each kind: the first say what is wrong


async def queue(bedside: Bedside) -> list[Check]:
    alive = await _a_worker_is_seen(bedside)
    async with bedside.catalog() as connection:
        now = await bedside.database.now(connection)
        lease = timedelta(seconds=bedside.settings.job_lease_seconds)
        stuck = [
            *await queries.queue.abandoned(connection, now - lease),
            *await queries.queue.running_since(connection, now - _LONG, now),
        ]
        killers = await queries.queue.killers(connection, crashes_min=_CRASHES_MIN)
        ours = await queries.queue.failed_by_us(connection, now - _FAILED_WITHIN)
        system = await queries.queue.failed_of_system(connection)
        waiting = await queries.queue.waiting(connection, now)
        ids = [*(row.tenant_id for row in (*stuck, *killers)), *(each for each, _ in ours)]
        names = await bedside.names(connection, [*ids, *(each.tenant_id for each in waiting[:1])])
    names[""] = "S4 itself"
    checks = [
        *([] if alive else [_no_worker()]),
        *(_stuck(row, names[row.tenant_id], now) for row in stuck[:_SHOWN]),
        *(_killer(row, names[row.tenant_id]) for row in killers[:_SHOWN]),
        *(_failed_by_us(count, names[tenant_id]) for tenant_id, count in ours[:_SHOWN]),
        *(_given_up(row) for row in system[:_SHOWN]),
        *_unfair(waiting, names, now),
    ]
    depth = sum(each.jobs for each in waiting)
    return checks or [ok("queue", f"Workers run, and {depth or 'no'} jobs wait.")]


async def _a_worker_is_seen(bedside: Bedside) -> bool:
    """Not by one look alone: one that was just started, or replaced another, has no lease for some seconds."""
    ends = time.monotonic() + bedside.patience.worker
    while True:
        async with bedside.catalog() as connection:
            if await somebody_schedules(connection, await bedside.database.now(connection)):
                return True
        if time.monotonic() >= ends:
            return False
        await asyncio.sleep(_LOOK_SECONDS)


def worker_starts(address: str) -> Check:
    return warning(
        NO_WORKER,
        f"The worker of {address} is starting, and no other runs: what is uploaded waits.",
        "Run this again in half a minute; if it still starts then, its log says what it waits for.",
        cause="worker",
    )


def _no_worker() -> Check:
    return failed(
        NO_WORKER,
        "No worker runs: what is uploaded is not indexed, and nothing regular happens.",
        "Start one (`s4 worker`, or `s4 serve`), or see in its log why it ended.",
        cause="worker",
    )


def _stuck(row: Any, whose: str, now: datetime) -> Check:
    age = f"for {how_long(now - row.claimed_at)}" if row.claimed_at is not None else "for long"
    said = f"The job {broad(row.kind)} on {row.subject} of {whose} has been running {age}"
    if row.lease_until < now:
        said, advice = f"{said}, and its worker is silent.", "A living worker takes it up: see whether one runs."
    else:
        said, advice = f"{said}.", f"Stop its worker ({row.lease_owner}): another goes on. The job is {row.job_id}."
    return warning("queue.stuck", said, advice, cause=f"{whose}, {row.subject}")


def _killer(row: Any, whose: str) -> Check:
    ended = "it is not tried again" if row.state == "failed" else "it is tried alone"
    return warning(
        "queue.poison",
        f"Workers died {row.crashes} times while they did {broad(row.kind)} on {row.subject} of {whose}; {ended}.",
        "Most often it needs more memory than there is: compare S4_EXTRACTION_MEMORY_BYTES with the worker's limit, or "
        "have the document removed.",
        cause=f"{whose}, {row.subject}",
    )


def _failed_by_us(count: int, whose: str) -> Check:
    return warning(
        "queue.failed",
        f"{count} documents of {whose} failed within a day for a reason of S4's own.",
        "The log's `job.failed` has the trace; once mended, POST /documents/{id}/reprocess.",
        cause=whose,
    )


def _given_up(row: Any) -> Check:
    kind = broad(row.kind)
    return warning(
        "queue.failed",
        f"The job {kind} of S4's own was given up: {row.last_error}",
        "Mend what it says. It comes again by itself when it is due: `s4 schedule list`.",
        cause=f"job {kind}",
    )


def _unfair(waiting: list[Waiting], names: dict[str, str], now: datetime) -> list[Check]:
    """One tenant has most of the queue, and others wait; or all wait long."""
    total = sum(each.jobs for each in waiting)
    if not waiting:
        return []
    most, others = waiting[0], waiting[1:]
    if total >= _MANY_JOBS and most.jobs > _MOST_JOBS * total and others:
        longest = max(now - each.since for each in others)
        if longest >= _OTHERS_WAIT:
            return [
                warning(
                    "queue.unfair",
                    f"{names[most.tenant_id]} has {most.jobs} of the {total} jobs that wait; {len(others)} others wait "
                    f"behind, the longest for {how_long(longest)}.",
                    "Tenants take turns, so the others go on: add workers (`s4_queue_oldest_ready_seconds`), or lower "
                    "the tenant's rate by its plan.",
                    cause=names[most.tenant_id],
                )
            ]
    longest = max(now - each.since for each in waiting)
    if longest >= _WAITS_LONG:
        return [
            warning(
                "queue.late", f"The oldest of {total} jobs has been waiting for {how_long(longest)}.",
                "Add workers; docs/guide/cluster.md.", cause="worker",
            )
        ]  # fmt: skip
    return []


async def index(bedside: Bedside) -> list[Check]:
    async with bedside.catalog() as connection:
        now = await bedside.database.now(connection)
        tables = await queries.index.tables(connection, await queries.index.used(connection, now))
        late = (await queries.queue.processing_since(connection, now - _LONG))[:_SHOWN]
        remade = [each for each in tables if each.remade_since is not None][:_SHOWN]
        pieces = sorted(filter(_is_in_pieces, tables), key=lambda each: -each.fragments)[:_SHOWN]
        ids = [*(each for each, _, _ in late), *(each.tenant_id for each in (*remade, *pieces))]
        names = await bedside.names(connection, ids)
    checks = [
        *(_behind(names[tenant_id], count, now - since) for tenant_id, count, since in late),
        *(_remade(names[each.tenant_id], each) for each in remade),
        *(_in_pieces(names[each.tenant_id], each) for each in pieces),
    ]
    size = human_size(sum(each.size_bytes for each in tables))
    return checks or [ok("index", f"{len(tables)} tables, {size}, none behind or in pieces.")]


def _is_in_pieces(table: Table) -> bool:
    return table.fragments > _FRAGMENTS_MANY or table.commits_since_optimize > _COMMITS_TIMES * COMMITS_BEFORE_OPTIMIZE


def _behind(whose: str, count: int, since: timedelta) -> Check:
    return warning(
        "index.behind",
        f"{count} documents of {whose} have been processing for an hour and more, the oldest for {how_long(since)}.",
        "See whether workers run and the embedding provider answers; the log names each document's job.",
        cause=whose,
    )


def _remade(whose: str, table: Table) -> Check:
    return warning(
        "index.remade",
        f"The index of {whose} was damaged and is made anew (repairs in a row: {table.repairs}); until it is whole, "
        "its searches are answered 503.",
        "It ends by itself. Find out who deletes or changes objects below indices/.",
        cause=whose,
    )


def _in_pieces(whose: str, table: Table) -> Check:
    return warning(
        "index.fragments",
        f"The index of {whose} has {table.fragments} fragments and {table.commits_since_optimize} commits since it was "
        "compacted: its searches are slow.",
        "s4 schedule run maintenance.optimize",
        cause=whose,
    )
