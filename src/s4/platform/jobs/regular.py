"""Work that comes round: a regular task and the handler of its job, in one."""

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from datetime import timedelta

from s4.platform.database import Connection, Database
from s4.platform.jobs.schedule import RegularTask, record_success
from s4.platform.jobs.worker import JobHandler, JobRun
from s4.platform.telemetry import metrics


@dataclass(frozen=True, slots=True)
class RegularJob:
    """`run` every `every`, in one worker at a time."""

    kind: str
    every: timedelta
    run: Callable[[], Awaitable[None]]


def regular_tasks(jobs: Iterable[RegularJob]) -> list[RegularTask]:
    """For the scheduler."""
    return [RegularTask(job.kind, job.every) for job in jobs]


def regular_handlers(database: Database, jobs: Iterable[RegularJob]) -> dict[str, JobHandler]:
    """For the worker: what comes to its end is noted as a success of its task."""
    return {job.kind: regular_handler(database, job.kind, job.run) for job in jobs}


def regular_handler(database: Database, kind: str, work: Callable[[], Awaitable[None]]) -> JobHandler:
    """The same for one."""

    async def run(job: JobRun) -> bool:
        await work()

        async def finish(connection: Connection) -> None:
            await job.finish(connection)
            await record_success(connection, kind, now=await database.now(connection))

        await database.transact(finish)
        metrics.SCHEDULE_LAST_SUCCESS.labels(kind).set_to_current_time()
        return True

    return JobHandler(run)
