"""`s4 doctor`: a whole deployment, as it runs; `s4 doctor store`: what S4 stands on, before it stands there."""

import signal
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Annotated, Any

import typer

from s4.entrypoints.cli.options import ConfigFile, Json, ServerDataDir, WrongUsage, configuration, examples
from s4.entrypoints.cli.output import print_json, print_line, print_note

if TYPE_CHECKING:
    from s4.entrypoints.doctor import Check, Report
    from s4.kernel.settings import LogFormat

Processes = Annotated[
    list[str] | None,
    typer.Option(
        "--process",
        metavar="URL",
        show_default=False,
        help="Address of a running process, API or worker, whose health and metrics are looked at. Repeatable.",
    ),
]


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    doctor = typer.Typer(invoke_without_command=True, epilog=examples("s4 doctor", "s4 doctor --json"))
    doctor.callback()(whole)
    lines = (
        "s4 doctor store",
        "s4 doctor store --json",
        "s4 doctor store --store-url s3://my-bucket/s4 --print-policy",
    )
    doctor.command("store", epilog=examples(*lines))(store)
    app.add_typer(doctor, name="doctor")


def whole(
    context: typer.Context,
    config: ConfigFile = None,
    data_dir: ServerDataDir = None,
    processes: Processes = None,
    only: Annotated[
        list[str] | None,
        typer.Option(
            "--only", metavar="PART", show_default=False, help="Look at this alone: queue, quotas, store … Repeatable."
        ),
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 1 also on warnings.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", help="Also what is well, a line each.")] = False,
    as_json: Json = False,
) -> None:
    """Examine a whole deployment: what is wrong, which tenant or dependency it comes from, what to do next.

    With the server's settings, beside it, also while parts of it are down. Changes nothing but probes that it writes to
    the store and removes. Exits with 0 when nothing is in S4's way (there may be warnings), 1 when something is, 2 when
    something that it needs could not be told.
    """
    if context.invoked_subcommand is not None:
        return
    from s4.entrypoints.doctor.whole import PARTS, Bedside, examine, unreadable
    from s4.kernel.errors import InvalidRequest

    parts = (*PARTS, "processes")  # those that are named are always looked at
    if strange := set(only or ()) - {*parts, *(name.partition(".")[0] for name in parts)}:
        raise WrongUsage(f"There is no part {min(strange)!r}; the parts are {', '.join(parts)}.")
    try:
        loaded = configuration(context, config, data_dir=data_dir)
    except InvalidRequest as error:
        problems = error.details.get("problems", [error.message])
        report = unreadable([str(each) for each in problems])
    else:
        bedside = Bedside(loaded, addresses=tuple(processes or ()))
        report = _examined(examine(bedside, only=only or ()), loaded.settings.log_format)
    if as_json:
        print_json(report.as_json())
    elif verbose:
        show(report)
    else:
        show_trouble(report)
    raise typer.Exit(report.exit_code or int(strict and bool(report.warnings)))


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
    from s4.entrypoints.doctor.store import examine, policy

    loaded = configuration(context, config, data_dir=data_dir, store_url=store_url)
    if print_policy:
        allowed = policy(loaded.settings)
        if allowed is None:
            raise WrongUsage(
                "A policy is for a bucket, and S4_STORE_URL names none: say which by --store-url s3://… or gs://…."
            )
        print_json(allowed)
        return
    report = _examined(examine(loaded), loaded.settings.log_format)
    if as_json:
        print_json(report.as_json())
    else:
        show(report)
    raise typer.Exit(report.exit_code)


def _examined(examination: Coroutine[Any, Any, "Report"], log_format: "LogFormat") -> "Report":
    import asyncio

    from s4.platform.telemetry import logs

    # What the parts would log on the way is in the sentences.
    logs.configure(level="critical", log_format=log_format, service="doctor")
    signal.signal(
        signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT)
    )  # like Ctrl-C: what it wrote is removed
    return asyncio.run(examination)


def show(report: "Report") -> None:
    """Every check, in the order in which they were made."""
    print_line(f"{report.subject}:")
    width = max((len(check.name) for check in report.checks), default=0)
    for check in report.checks:
        _show(check, width)
    _end(report)


def show_trouble(report: "Report") -> None:
    """What is not well, the worst first; the rest by name."""
    from s4.entrypoints.doctor import Verdict

    print_line(f"{report.subject}:")
    order = (Verdict.FAILED, Verdict.WARNING, Verdict.UNKNOWN)
    trouble = sorted(
        (check for check in report.checks if check.verdict in order), key=lambda check: order.index(check.verdict)
    )
    width = max((len(check.name) for check in trouble), default=0)
    for check in trouble:
        _show(check, width)
    well = [check.name for check in report.checks if check.verdict is Verdict.OK]
    if well:
        print_line(f"     ok  {', '.join(dict.fromkeys(well))}")
    _end(report)


def _show(check: "Check", width: int) -> None:
    print_line(f"{check.verdict.value:>7}  {check.name:<{width}}  {check.message}")
    if check.cause is not None:
        print_line(f"{'':>{width + 11}}cause: {check.cause}")
    if check.advice is not None:
        print_line(f"{'':>{width + 11}}-> {check.advice}")


def _end(report: "Report") -> None:
    for left in report.left:
        print_note(f"Left behind: {left}.")
    print_line(report.sentence)
