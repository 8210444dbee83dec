"""What comes round: the schedule, the bucket's listing, the audit trail's verification, and what the embedding cache
saved."""

from datetime import timedelta

from s4.domains.audit import queries as audit_queries
from s4.domains.maintenance.service import COLLECT
from s4.domains.usage.ledger import Grain
from s4.domains.usage.queries import reading
from s4.entrypoints.doctor.report import Check, failed, ok, warning
from s4.entrypoints.doctor.whole.bedside import Bedside
from s4.kernel.units import human_size
from s4.platform.jobs import Outcome, state_of, states


async def cache(bedside: Bedside) -> list[Check]:
    """How much of what was to be embedded within a day was found instead."""
    async with bedside.catalog() as connection:
        now = await bedside.database.now(connection)
        start = Grain.HOUR.floor(now) - timedelta(hours=23)
        names = ("embedding_tokens_cached", "embedding_tokens_paid")
        hours = await reading.system_series(connection, Grain.HOUR, start, now, names)
    cached, paid = (sum(row[name] for row in hours.values()) for name in names)
    if not cached + paid:
        return [ok("cache", "Nothing was embedded within a day.")]
    return [ok("cache", f"Of the tokens of a day {cached / (cached + paid):.0%} were found embedded already.")]


async def schedule(bedside: Bedside) -> list[Check]:
    name = "schedule"
    async with bedside.catalog() as connection:
        tasks = await states(connection, await bedside.database.now(connection))
    checks = []
    for task in tasks:
        if task.is_overdue:
            last = f"{task.last_succeeded_at:%Y-%m-%d %H:%M}" if task.last_succeeded_at is not None else "never"
            error = f" Its last error: {task.error}" if task.error is not None else ""
            checks.append(
                warning(
                    name, f"{task.task} is overdue: it last succeeded {last}, and is {task.outcome.value}.{error}",
                    f"s4 schedule run {task.task} --wait 600", cause=f"task {task.task}",
                )
            )  # fmt: skip
        elif task.outcome is Outcome.FAILED:
            checks.append(
                warning(name, f"{task.task} failed: {task.error}", f"s4 schedule run {task.task} --wait 600",
                        cause=f"task {task.task}")
            )  # fmt: skip
    return checks or [ok(name, f"{len(tasks)} regular tasks come round in time.")]


async def contents(bedside: Bedside) -> list[Check]:
    """What the last listing of the bucket found; this looks at no object itself."""
    name = "contents"
    async with bedside.catalog() as connection:
        task = await state_of(connection, COLLECT, await bedside.database.now(connection))
    if task is None or task.last_succeeded_at is None:
        return [ok(name, "The bucket was not listed yet.")]
    listed = f"The listing of {task.last_succeeded_at:%Y-%m-%d %H:%M}"
    if task.drift_bytes:
        return [
            failed(name, f"{listed} did not find {human_size(task.drift_bytes)} of live documents.",
                   "The workers' log names them: `maintenance.content_differs`. docs/runbooks/storage-drift.md.",
                   cause="who deletes in the bucket")
        ]  # fmt: skip
    return [ok(name, f"{listed} found the bytes of every document.")]


async def audit(bedside: Bedside) -> list[Check]:
    name = "audit"
    async with bedside.catalog() as connection:
        check = await audit_queries.last_check(connection)
    if check is None:
        return [ok(name, "The trail was not verified yet.")]
    if check.problem is not None:
        return [
            failed(name, f"The audit trail is not as it was sealed: {check.problem}",
                   "`s4 audit verify` names the first bad entry; docs/guide/audit.md.", cause="audit trail")
        ]  # fmt: skip
    return [ok(name, f"{check.batches} sealed batches hold, as of {check.at:%Y-%m-%d %H:%M}.")]
