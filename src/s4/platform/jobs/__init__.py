"""Background work as rows: a queue with leases, a worker that runs it, a leased scheduler.

A job is written in the transaction that needs it. Its life:

    enqueue -> ready -> (claim: attempt counted, lease taken) -> running -> done (the row goes)
                 ^                                                  |
                 |-- released: handed back, the attempt uncounted --|
                 |-- retry: an error, after a pause ----------------|
                 |-- lost: the lease expired, a crash counted ------|
                                                                    `-> failed: out of attempts, crashes or time

Leases go by the database's clock and are extended from a thread that computation cannot starve. Claims are fair:
tenants with waiting jobs take turns. A job that was lost before runs alone, so that a document which kills its
worker takes no innocent along. A worker claims only kinds that it has a handler for.
"""

from s4.platform.jobs.held import Held
from s4.platform.jobs.kinds import broad, narrowed, narrowed_to
from s4.platform.jobs.leases import Lease, LeaseLost, Leases, any_held
from s4.platform.jobs.queue import SYSTEM, ClaimedJob, JobRequest, Queue
from s4.platform.jobs.regular import RegularJob, regular_handler, regular_handlers, regular_tasks
from s4.platform.jobs.schedule import (
    Outcome,
    RegularTask,
    Scheduler,
    TaskState,
    record_drift,
    record_success,
    run_now,
    somebody_schedules,
    state_of,
    states,
)
from s4.platform.jobs.worker import JobHandler, JobRun, Worker, WorkerLimits

__all__ = [
    "SYSTEM",
    "ClaimedJob",
    "Held",
    "JobHandler",
    "JobRequest",
    "JobRun",
    "Lease",
    "LeaseLost",
    "Leases",
    "Outcome",
    "Queue",
    "RegularJob",
    "RegularTask",
    "Scheduler",
    "TaskState",
    "Worker",
    "WorkerLimits",
    "any_held",
    "broad",
    "narrowed",
    "narrowed_to",
    "record_drift",
    "record_success",
    "regular_handler",
    "regular_handlers",
    "regular_tasks",
    "run_now",
    "somebody_schedules",
    "state_of",
    "states",
]
