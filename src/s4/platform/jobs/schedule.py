"""One leased scheduler for everything regular. When a task is due it becomes a job, and workers do the rest.

A task that was due several times while nobody ran is enqueued once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa

from s4.platform.database import Connection, Database, upsert
from s4.platform.jobs.leases import LeaseLost, Leases
from s4.platform.jobs.models import schedule
from s4.platform.jobs.queue import SYSTEM, JobRequest, Queue

LEASE = "scheduler"


@dataclass(frozen=True, slots=True)
class RegularTask:
    """`kind` names the job that is enqueued every `every`."""

    kind: str
    every: timedelta


class Scheduler:
    """Call `tick` often; only the holder of the lease acts."""

    def __init__(self, database: Database, queue: Queue, leases: Leases, tasks: Sequence[RegularTask]) -> None:
        self._database = database
        self._queue = queue
        self._leases = leases
        self._tasks = tuple(tasks)

    async def tick(self) -> list[str]:
        """Enqueues what is due and answers with the kinds that were."""
        lease = await self._leases.acquire(LEASE)
        if lease is None:
            return []

        async def fire(connection: Connection) -> list[str]:
            await self._leases.verify(connection, lease)
            now = await self._database.now(connection)
            fired = []
            for task in self._tasks:
                await connection.execute(
                    upsert(
                        connection,
                        schedule,
                        {"task": task.kind, "next_at": now},
                        conflict=["task"],
                    )
                )
                due = await connection.execute(
                    sa.update(schedule)
                    .where(schedule.c.task == task.kind, schedule.c.next_at <= now)
                    .values(next_at=now + task.every, last_started_at=now)
                )
                if due.rowcount:
                    await self._queue.enqueue(connection, JobRequest(task.kind, SYSTEM, task.kind, {}))
                    fired.append(task.kind)
            return fired

        try:
            return await self._database.transact(fire)
        except LeaseLost:  # it slept between the two transactions; whoever has the lease now fires
            return []


async def record_success(connection: Connection, kind: str, *, now: datetime) -> None:
    """Notes that a regular task came to its end; part of the transaction that ends its job."""
    await connection.execute(
        sa.update(schedule).where(schedule.c.task == kind).values(last_finished_at=now, last_outcome="ok")
    )
