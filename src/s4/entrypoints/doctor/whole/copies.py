"""What else holds the data: backups, and a second region."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from s4.domains.backup import queries as backup_queries
from s4.domains.maintenance.deployment import copied_as_of
from s4.domains.maintenance.queries import deployment_made
from s4.entrypoints.connections import explained
from s4.entrypoints.doctor.report import Check, failed, ok, warning
from s4.entrypoints.doctor.whole.bedside import STORE, Bedside, how_long
from s4.kernel.errors import S4Error
from s4.kernel.settings import Settings
from s4.platform.objects import open_replica

_LATE_TIMES = 2  # of the interval that is set
_COPYING = timedelta(minutes=1)  # of a second bucket, beside its interval
_BACKUPS, _REGION = "backups", "second region"


@dataclass(frozen=True, slots=True)
class _Runs:
    """As the catalog remembers them: the last good backup, and the last run of each kind."""

    now: datetime
    made: datetime
    good: Any
    last: dict[str, Any]


async def backups(bedside: Bedside) -> list[Check]:
    """Where they lie, `store.backups` judges."""
    async with bedside.catalog() as connection:
        now = await bedside.database.now(connection)
        good = await backup_queries.last_runs(connection, "backup", outcome="ok", limit=1)
        last = {
            kind: await backup_queries.last_runs(connection, kind, limit=1) for kind in ("backup", "drill", "verify")
        }
        made = await deployment_made(connection) or now
    runs = _Runs(now, made, next(iter(good), None), {kind: next(iter(each), None) for kind, each in last.items()})
    return [*_age(runs, bedside.settings), *_tried(runs, bedside.settings)]


def _age(runs: _Runs, settings: Settings) -> Iterator[Check]:
    name, good = "backups.age", runs.good
    bound = timedelta(seconds=settings.rpo_target_seconds) or timedelta(hours=_LATE_TIMES * settings.backup_every_hours)
    age = runs.now - (good.point if good is not None else runs.made)
    if bound and age > bound:
        attempt = runs.last["backup"]
        error = f" The last attempt failed: {attempt.said.get('error')}" if _has_failed(attempt) else ""
        which = f"The last good backup is {how_long(age)} old" if good is not None else "There is no good backup"
        advice = "s4 schedule run backup.create --wait 3600; docs/guide/backup.md."
        yield failed(name, f"{which}, and {how_long(bound)} is the most.{error}", advice, cause=_BACKUPS)
    elif good is not None:
        yield ok(name, f"The last good backup is {how_long(age)} old.")
    if good is not None and good.said.get("lacking"):
        yield failed(
            "backups.lacking",
            f"The bucket lacked {good.said['lacking']} objects when the last backup was made.",
            "The log's `backup.object_lacking` names them; an older backup may have them.",
            cause=STORE,
        )


def _tried(runs: _Runs, settings: Settings) -> Iterator[Check]:
    for kind, advice in (("drill", "s4 backup drill"), ("verify", "s4 backup verify")):
        run = runs.last[kind]
        if _has_failed(run):
            problems = run.said.get("problems") or [run.said.get("error")]
            yield failed(
                f"backups.{kind}", f"The last {kind} of a backup failed: {problems[0]}", advice, cause=_BACKUPS
            )
    every, drill = timedelta(hours=settings.backup_drill_hours), runs.last["drill"]
    since = runs.now - (drill.ended_at if drill is not None else runs.made)
    if every and since > _LATE_TIMES * every:
        yield warning("backups.drill", f"For {how_long(since)} there was no drill.", "s4 backup drill", cause=_BACKUPS)


def _has_failed(run: Any) -> bool:
    return run is not None and run.outcome != "ok"


async def second_region(bedside: Bedside) -> list[Check]:
    name, guide = "second_region", "docs/guide/second-region.md"
    replica = open_replica(bedside.settings)
    if replica is None:
        return []
    try:
        async with asyncio.timeout(bedside.patience.alive):
            copied = await copied_as_of(replica)
    except (S4Error, TimeoutError) as error:
        said = explained(error) if isinstance(error, S4Error) else f"no answer within {bedside.patience.alive:g} s."
        advice = "Look at S4_REPLICA_STORE_URL, its credentials, and the way there."
        return [failed(name, f"The second bucket does not answer: {said}", advice, cause=_REGION)]
    finally:
        await replica.aclose()
    if copied is None:
        advice = f"s4 replicate; where the store copies by itself, s4 replicate --check-policy; {guide}."
        return [warning(name, "The second bucket does not say as of when it is a whole copy.", advice, cause=_REGION)]
    async with bedside.catalog() as connection:
        lag = await bedside.database.now(connection) - copied
    every = timedelta(seconds=bedside.settings.replicate_seconds)
    if every and lag > _LATE_TIMES * every + _COPYING:
        said = f"The second bucket is {how_long(lag)} behind: so much would be lost with the first."
        advice = f"s4 schedule run maintenance.replicate --wait 600; {guide}."
        return [failed(name, said, advice, cause=_REGION)]
    return [ok(name, f"The second bucket has everything up to {how_long(lag)} ago.")]
