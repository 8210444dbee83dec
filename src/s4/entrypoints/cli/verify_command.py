"""`s4 verify-isolation`: proof that no tenant reaches another's data, against a running deployment."""

import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from s4.entrypoints.cli.options import (
    DATA_DIR,
    DEFAULT_URL,
    AdminKey,
    CaFile,
    ConfigFile,
    DataDir,
    Json,
    Url,
    configuration,
    examples,
    present_admin_key,
)
from s4.entrypoints.cli.output import print_error, print_json, print_line, print_note

if TYPE_CHECKING:
    from s4.entrypoints.verification import Report

_EXIT_UNDECIDED = 2
_SHOWN_MAX = 10  # the report has the rest


def register(app: typer.Typer) -> None:
    """Adds the command."""
    lines = ("s4 verify-isolation --bucket --report isolation.md",)
    app.command("verify-isolation", epilog=examples(*lines))(verify_isolation)


def verify_isolation(
    context: typer.Context,
    url: Url = DEFAULT_URL,
    admin_key: AdminKey = None,
    data_dir: DataDir = DATA_DIR,
    ca_file: CaFile = None,
    report_file: Annotated[
        Path | None,
        typer.Option(
            "--report", show_default=False, help="Write the report here: Markdown, or JSON if it ends with .json."
        ),
    ] = None,
    plan: Annotated[
        str | None, typer.Option(show_default=False, help="Plan of the synthetic tenants. Default: the widest.")
    ] = None,
    bucket: Annotated[
        bool,
        typer.Option(
            "--bucket",
            help="Also look at every object's key. The settings are those of `s4 serve`: "
            "--config, S4_* variables, --data-dir.",
        ),
    ] = False,
    store_url: Annotated[
        str | None, typer.Option("--store-url", show_default=False, help="The bucket; says --bucket too.")
    ] = None,
    database_url: Annotated[
        str | None,
        typer.Option(
            "--database-url", show_default=False, help="The catalog: it tells uploads under way from lost objects."
        ),
    ] = None,
    config: ConfigFile = None,
    as_json: Json = False,
) -> None:
    """Prove that no tenant reaches another's data.

    Makes synthetic tenants, lets one ask for everything of the other by every route that the server has, and removes
    them. Exits with 0 when all is proved, 1 when something is wrong, 2 when it could not be told.
    """
    from s4.entrypoints.verification import CannotVerify, Target, verify

    signal.signal(signal.SIGTERM, signal.default_int_handler)  # like Ctrl-C: the synthetic tenants are removed
    key = present_admin_key(admin_key, data_dir)
    settings = None
    if bucket or store_url is not None:
        flags = {"data_dir": data_dir, "store_url": store_url, "database_url": database_url}
        settings = configuration(context, config, **flags).settings
    try:
        report = verify(Target(url.rstrip("/"), key, ca_file, plan), store=settings)
    except CannotVerify as error:
        print_error(str(error), code="cannot_verify", as_json=as_json)
        raise typer.Exit(_EXIT_UNDECIDED) from error
    if report_file is not None:
        report_file.write_text(report.as_json_text() if report_file.suffix == ".json" else report.as_markdown())
    if as_json:
        print_json(report.as_json())
    else:
        _show(report, report_file)
    raise typer.Exit(report.verdict.exit_code)


def _show(report: "Report", file: Path | None) -> None:
    for check in report.checks:
        print_line(f"{check.result:>14}  {check.name}: {check.claim} ({check.count})")
        for said in [*check.failures, *check.gaps][:_SHOWN_MAX]:
            print_note(f"{'':>14}  - {said}")
    for left in report.left:
        print_note(f"Left behind: {left}.")
    print_line(report.verdict_sentence)
    if file is not None:
        print_line(f"The report is in {file}.")
