"""`s4 schedule …`: everything regular, seen and run before its time."""

import time
from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from s4.entrypoints.cli.options import (
    DATA_DIR,
    DEFAULT_URL,
    AdminKey,
    CaFile,
    DataDir,
    Json,
    Url,
    admin_client,
    examples,
)
from s4.entrypoints.cli.output import print_json, print_line, print_note, print_table

if TYPE_CHECKING:
    from s4client import S4AdminClient, ScheduledTask

_POLL_SECONDS = 0.5

Wait = Annotated[
    float | None,
    typer.Option(
        metavar="SECONDS",
        min=0,
        help="Wait as long until it has succeeded; exit with 1 when it failed, or has not.",
    ),
]


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    schedule = typer.Typer(help="Look at everything regular, and have it run at once.", no_args_is_help=True)
    schedule.command("list", epilog=examples("s4 schedule list", "s4 schedule list --json"))(list_tasks)
    lines = ("s4 schedule run maintenance.recount", "s4 schedule run maintenance.reconcile --wait 300")
    schedule.command("run", epilog=examples(*lines))(run)
    app.add_typer(schedule, name="schedule")


def list_tasks(
    url: Url = DEFAULT_URL,
    admin_key: AdminKey = None,
    data_dir: DataDir = DATA_DIR,
    ca_file: CaFile = None,
    as_json: Json = False,
) -> None:
    """Every regular task: how often, when it last succeeded, when it is due, how it stands.

    Exits with 1 when one is overdue: its last success lies further back than twice its interval and two minutes.
    """
    with admin_client(url, admin_key, data_dir, ca_file) as s4:
        found = s4.schedule()
    if as_json:
        print_json(found.model_dump(mode="json"))
    else:
        print_table(("task", "every", "last success", "next", "outcome", ""), [_row(task) for task in found.tasks])
        for task in found.tasks:
            if task.error is not None:
                print_note(f"{task.task}: {task.error}")
    if any(task.overdue for task in found.tasks):
        raise typer.Exit(1)


def run(
    task: Annotated[str, typer.Argument(metavar="TASK", help="One that `s4 schedule list` names, or backup.create, "
                                        "backup.verify, backup.drill.")],
    wait: Wait = None,
    url: Url = DEFAULT_URL,
    admin_key: AdminKey = None,
    data_dir: DataDir = DATA_DIR,
    ca_file: CaFile = None,
    as_json: Json = False,
) -> None:  # fmt: skip
    """Have a worker run a regular task at once. Never do two workers run it side by side: the job's lease is one."""
    with admin_client(url, admin_key, data_dir, ca_file) as s4:
        requested = s4.run_task(task)
        ended, problem = (None, None) if wait is None else _await(s4, task, requested.requested_at, wait)
    if as_json:
        said = {"succeeded_at": ended.isoformat() if ended is not None else None, "problem": problem}
        print_json(requested.model_dump(mode="json") | (said if wait is not None else {}))
    elif problem is not None:
        print_note(f"{task}: {problem}")
    else:
        print_line(f"{task} {'has succeeded' if ended is not None else 'was asked for'}.")
    if problem is not None:
        raise typer.Exit(1)


def _await(s4: "S4AdminClient", task: str, since: datetime, seconds: float) -> tuple[datetime | None, str | None]:
    """When it succeeded, or why it did not."""
    give_up_at = time.monotonic() + seconds
    while True:
        state = s4.task(task)
        ended = state.last_succeeded_at
        if state.outcome == "ok" and ended is not None and ended >= since:
            return ended, None
        if state.outcome == "failed":
            return None, f"It failed: {state.error}"
        if time.monotonic() >= give_up_at:
            error = f" Its last error: {state.error}" if state.error is not None else ""
            return None, f"It has not succeeded within {seconds:g} s; it is {state.outcome}.{error}"
        time.sleep(_POLL_SECONDS)


def _row(task: "ScheduledTask") -> tuple[str, ...]:
    every = f"{task.every_seconds:g} s" if task.every_seconds is not None else ""
    return (
        task.task, every, _moment(task.last_succeeded_at), _moment(task.next_at), task.outcome,
        "OVERDUE" if task.overdue else "",
    )  # fmt: skip


def _moment(at: datetime | None) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ") if at is not None else "never"
