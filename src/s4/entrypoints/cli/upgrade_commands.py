"""`s4 upgrade --check`: what this release would meet."""

from typing import Annotated

import typer

from s4.entrypoints.cli.doctor_commands import show
from s4.entrypoints.cli.options import ConfigFile, Json, ServerDataDir, WrongUsage, configuration, examples
from s4.entrypoints.cli.output import print_json


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command(epilog=examples("s4 upgrade --check --data-dir s4-data", "s4 upgrade --check --every-object --json"))(
        upgrade
    )


def upgrade(
    context: typer.Context,
    config: ConfigFile = None,
    data_dir: ServerDataDir = None,
    check: Annotated[
        bool,
        typer.Option("--check", help="Look at settings, schema, stored formats, backups and index; change nothing."),
    ] = False,
    every_object: Annotated[
        bool, typer.Option("--every-object", help="Read every object that has a format instead of a sample.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Whether this release can take over what is there.

    Run it with the new release, before the first process of it starts. Exits with 0 when nothing is in its way, 1 when
    something is, 2 when something that it needs could not be told.
    """
    import asyncio

    from s4.entrypoints.upgrade import check as look
    from s4.platform.telemetry import logs

    if not check:
        raise WrongUsage("`s4 upgrade --check` looks; `s4 migrate` is what changes the catalog, once that is well.")
    loaded = configuration(context, config, data_dir=data_dir)
    # What the parts would log on the way is in the sentences.
    logs.configure(level="critical", log_format=loaded.settings.log_format, service="upgrade")
    report = asyncio.run(look(loaded, every_object=every_object))
    if as_json:
        print_json(report.as_json())
    else:
        show(report)
    raise typer.Exit(report.exit_code)
