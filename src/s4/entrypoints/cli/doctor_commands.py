"""`s4 doctor …`: what S4 stands on, examined before it stands there."""

import signal
from typing import TYPE_CHECKING, Annotated

import typer

from s4.entrypoints.cli.options import ConfigFile, Json, ServerDataDir, WrongUsage, configuration, examples
from s4.entrypoints.cli.output import print_json, print_line, print_note

if TYPE_CHECKING:
    from s4.entrypoints.doctor import Report


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    doctor = typer.Typer(help="Examine what S4 stands on, before it does.", no_args_is_help=True)
    doctor.callback()(_group)
    lines = (
        "s4 doctor store",
        "s4 doctor store --json",
        "s4 doctor store --store-url s3://my-bucket/s4 --print-policy",
    )
    doctor.command("store", epilog=examples(*lines))(store)
    app.add_typer(doctor, name="doctor")


def _group() -> None:
    """One command alone would otherwise be no group."""


def store(
    context: typer.Context,
    config: ConfigFile = None,
    data_dir: ServerDataDir = None,
    store_url: Annotated[
        str | None, typer.Option("--store-url", show_default=False, help="As S4_STORE_URL, which it overrules.")
    ] = None,
    print_policy: Annotated[
        bool,
        typer.Option(
            "--print-policy",
            help="Print the least that S4's identity must be allowed, for AWS's or Google's IAM, and end.",
        ),
    ] = False,
    as_json: Json = False,
) -> None:
    """Whether S4 can keep its objects where the settings say.

    Tries what S4 will do: writes, reads and removes objects below system/probes/, and names each permission that is
    missing. Exits with 0 when nothing is in S4's way, 1 when something is, 2 when something that it needs could not be
    told.
    """
    import asyncio

    from s4.entrypoints.doctor.store import examine, policy
    from s4.platform.telemetry import logs

    loaded = configuration(context, config, data_dir=data_dir, store_url=store_url)
    if print_policy:
        allowed = policy(loaded.settings)
        if allowed is None:
            raise WrongUsage(
                "A policy is for a bucket, and S4_STORE_URL names none: say which by --store-url s3://… or gs://…."
            )
        print_json(allowed)
        return
    # What the parts would log on the way is in the sentences.
    logs.configure(level="critical", log_format=loaded.settings.log_format, service="doctor")
    signal.signal(
        signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT)
    )  # like Ctrl-C: what it wrote is removed
    report = asyncio.run(examine(loaded))
    if as_json:
        print_json(report.as_json())
    else:
        show(report)
    raise typer.Exit(report.exit_code)


def show(report: "Report") -> None:
    print_line(f"{report.subject}:")
    width = max(len(check.name) for check in report.checks)
    for check in report.checks:
        print_line(f"{check.verdict.value:>7}  {check.name:<{width}}  {check.message}")
        if check.advice is not None:
            print_line(f"{'':>{width + 11}}-> {check.advice}")
    for left in report.left:
        print_note(f"Left behind: {left}.")
    print_line(report.sentence)
