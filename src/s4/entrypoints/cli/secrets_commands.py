"""`s4 secrets …`: whether every secret that S4 must read again can be read, and under which key it is encrypted."""

import asyncio
from typing import TYPE_CHECKING, Annotated

import typer

from s4.entrypoints.cli.options import ConfigFile, Json, ServerDataDir, configuration, deployed, examples
from s4.entrypoints.cli.output import print_json, print_line, print_note

if TYPE_CHECKING:
    from s4.domains.webhooks.model import SealedUnder
    from s4.kernel.settings import Settings


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    secrets = typer.Typer(help="Look at the secrets that are encrypted under S4_SECRET_KEY.", no_args_is_help=True)
    secrets.callback()(_group)
    secrets.command(epilog=examples("s4 secrets status --data-dir s4-data", "s4 secrets status --json"))(status)
    app.add_typer(secrets, name="secrets")


def _group() -> None:
    """One command alone would otherwise be no group."""


def status(
    context: typer.Context,
    config: ConfigFile = None,
    data_dir: ServerDataDir = None,
    encrypt: Annotated[
        bool, typer.Option("--encrypt", help="Encrypt anew, at once, what the previous key encrypts; workers do, too.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Open every secret, and count them by the key that encrypts them. With 0 under the previous key,
    S4_PREVIOUS_SECRET_KEY is needed no more. Exits with 1 when one cannot be opened."""
    from s4.platform.telemetry import logs

    settings = deployed(configuration(context, config, data_dir=data_dir))
    logs.configure(level="critical", log_format=settings.log_format, service="secrets")
    found = asyncio.run(_look(settings, encrypt=encrypt))
    if as_json:
        print_json({"current": found.current, "previous": found.previous, "unreadable": found.unreadable})
    else:
        print_line(f"{found.current} webhooks under the current key, {found.previous} under the previous one.")
    if found.unreadable:
        print_note(f"{found.unreadable} cannot be opened by any key that is given. Give the one that encrypted them.")
        raise typer.Exit(1)


async def _look(settings: "Settings", *, encrypt: bool) -> "SealedUnder":
    from s4.entrypoints.bootstrap import open_core

    async with open_core(settings) as core:
        if encrypt:
            await core.webhooks.reseal()
        return await core.webhooks.sealed_under()
