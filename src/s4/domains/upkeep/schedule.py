"""Everything regular: when each task last came to its end, when it is due, and how to have it run at once."""

import re
from collections.abc import Iterable
from datetime import datetime

from s4.domains import audit
from s4.domains.backup.service import CREATE, DRILL, VERIFY
from s4.domains.maintenance.replication import REPLICATE
from s4.domains.maintenance.service import COLLECT, RECOUNT
from s4.kernel.context import AdminContext
from s4.kernel.errors import NotFound
from s4.kernel.permissions import Permission
from s4.platform.database import Connection, Database
from s4.platform.jobs import Queue, TaskState, run_now, state_of, states
from s4.platform.telemetry import metrics

_NAME = re.compile(r"[a-z_.]{1,64}")
ON_DEMAND = (CREATE, VERIFY, DRILL)
"""Tasks that every worker can run, also where no setting makes them regular: for who has a clock of his own."""
_DRIFTS = {RECOUNT: metrics.USAGE_DRIFT_BYTES, COLLECT: metrics.STORAGE_DRIFT_BYTES}


class ScheduleService:
    """For administrators."""

    def __init__(self, database: Database, queue: Queue) -> None:
        self._database = database
        self._queue = queue

    async def tasks(self, context: AdminContext) -> list[TaskState]:
        """By name."""
        context.require(Permission.ADMIN_READ)
        async with self._database.read() as connection:
            return await states(connection, await self._database.now(connection))

    async def task(self, context: AdminContext, task: str) -> TaskState:
        """One of them; or one that was asked for, though it is not regular. Raises `NotFound`."""
        context.require(Permission.ADMIN_READ)
        if not _NAME.fullmatch(task):  # PostgreSQL takes no text with a NUL
            raise NotFound("No task has such a name.")
        async with self._database.read() as connection:
            state = await state_of(connection, task, await self._database.now(connection))
        if state is None:
            raise NotFound(f"No task is called {task!r}; `s4 schedule list` names them.")
        return state

    async def run(self, context: AdminContext, task: str) -> datetime:
        """Has a worker run it as soon as one is free. Answers with the moment of asking: a success after that is one of
        this. Raises `NotFound`."""
        context.require(Permission.ADMIN_WRITE)

        async def enqueue(connection: Connection) -> datetime:
            now = await self._database.now(connection)
            known = [state.task for state in await states(connection, now)]
            if task not in (*known, *ON_DEMAND):
                raise NotFound(f"No task is called {task!r}; `s4 schedule list` names them.")
            await run_now(connection, self._queue, task, now=now)
            await audit.record(connection, context.actor, "schedule.run", f"task/{task}")
            return now

        return await self._database.transact(enqueue)


def set_gauges(tasks: Iterable[TaskState], now: datetime) -> None:
    """What the metrics say of the schedule. `tasks`: all that are regular, as the catalog has them."""
    metrics.SCHEDULE_INTERVAL.clear()
    metrics.REPLICATION_LAG.set(0)
    for state in tasks:
        last = state.last_succeeded_at or state.since
        if last is not None:
            metrics.SCHEDULE_LAST_SUCCESS.labels(state.task).set(last.timestamp())
            if state.task == REPLICATE:
                metrics.REPLICATION_LAG.set((now - last).total_seconds())
        if state.task in _DRIFTS:
            _DRIFTS[state.task].set(state.drift_bytes)
        if state.every is not None:
            metrics.SCHEDULE_INTERVAL.labels(state.task).set(state.every.total_seconds())
