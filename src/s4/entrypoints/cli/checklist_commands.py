"""`s4 checklist …`: what has to be done again and again, and what shows that it was."""

from typing import Annotated

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


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    checklist = typer.Typer(help="What has to be done again and again.", no_args_is_help=True)
    checklist.command("list", epilog=examples("s4 checklist list", "s4 checklist list --json"))(list_items)
    line = 's4 checklist done security-patches --note "Release 0.2; nothing known is open."'
    checklist.command("done", epilog=examples(line))(done)
    app.add_typer(checklist, name="checklist")


def list_items(
    url: Url = DEFAULT_URL,
    admin_key: AdminKey = None,
    data_dir: DataDir = DATA_DIR,
    ca_file: CaFile = None,
    as_json: Json = False,
) -> None:
    """Every item: when it was last done, when it is due, what shows that it was done.

    Exits with 1 when one is overdue. What the catalog itself shows (verified backups, drills, the audit trail) ticks
    itself; of what was never done, the time counts from when the deployment was made.
    """
    with admin_client(url, admin_key, data_dir, ca_file) as s4:
        found = s4.checklist()
    overdue = [item for item in found.items if item.overdue]
    if as_json:
        print_json(found.model_dump(mode="json"))
    else:
        rows = [
            (
                item.item,
                f"{item.last_done_at:%Y-%m-%d}" if item.last_done_at is not None else "never",
                f"{item.due_at:%Y-%m-%d}",
                "OVERDUE" if item.overdue else "",
                item.evidence or "",
            )
            for item in found.items
        ]
        print_table(("item", "last done", "due", "", "evidence"), rows)
        for item in overdue:
            print_note(f"{item.item}: {item.title}, every {item.every_days:g} days. {item.how}")
    if overdue:
        raise typer.Exit(1)


def done(
    item: Annotated[str, typer.Argument(metavar="ITEM", help="One that `s4 checklist list` names.")],
    note: Annotated[str, typer.Option("--note", help="What shows it. It stands in the audit trail, with your name.")],
    url: Url = DEFAULT_URL,
    admin_key: AdminKey = None,
    data_dir: DataDir = DATA_DIR,
    ca_file: CaFile = None,
    as_json: Json = False,
) -> None:
    """Note that something was done, just now."""
    with admin_client(url, admin_key, data_dir, ca_file) as s4:
        state = s4.mark_done(item, note=note)
    if as_json:
        print_json(state.model_dump(mode="json"))
    else:
        print_line(f"{item} is done; due again on {state.due_at:%Y-%m-%d}.")
