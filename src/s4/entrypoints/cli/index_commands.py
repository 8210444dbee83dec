"""`s4 index …`: whether a set of processes has an index of all that is served. Asks the catalog, not the API."""

import asyncio
import time
from typing import TYPE_CHECKING, Annotated

import typer

from s4.entrypoints.cli import move_commands
from s4.entrypoints.cli.options import ConfigFile, Json, ServerDataDir, configuration, deployed, examples
from s4.entrypoints.cli.output import print_json, print_note, print_table

if TYPE_CHECKING:
    from s4.domains.indexing import Coverage
    from s4.kernel.ids import GenerationId
    from s4.kernel.settings import Settings

_POLL_SECONDS = 1.0

Wait = Annotated[
    float | None,
    typer.Option(
        metavar="SECONDS",
        min=0,
        help="Wait as long until the generation of these settings is complete; exit with 1 when it is not.",
    ),
]


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    index = typer.Typer(help="Look at the generations of the index, and move tenants to others.", no_args_is_help=True)
    index.command(epilog=examples("s4 index status --data-dir s4-data", "s4 index status --data-dir s4-data --json"))(
        status
    )
    move_commands.add_to(index)
    app.add_typer(index, name="index")


def status(
    context: typer.Context,
    config: ConfigFile = None,
    data_dir: ServerDataDir = None,
    wait: Wait = None,
    as_json: Json = False,
) -> None:
    """Which generations of the index are in use, and what each lacks. Run with the settings of a set: its generation is
    marked, and once it is complete, that set finds whatever any other finds."""
    from s4.platform.telemetry import logs

    settings = deployed(configuration(context, config, data_dir=data_dir))
    logs.configure(level="critical", log_format=settings.log_format, service="index")
    own, every = asyncio.run(_look(settings, wait or 0.0))
    rows = [
        (each.generation, "this" if each.generation == own else "", _said(each), str(each.lacking), str(each.failed))
        for each in every
    ]
    if as_json:
        print_json(
            {
                "generation": own,
                "in_use": [
                    {
                        "generation": each.generation,
                        "complete": each.complete,
                        "documents_lacking": each.lacking,
                        "documents_failed": each.failed,
                    }
                    for each in every
                ],
            }
        )
    else:
        print_table(("generation", "", "state", "lacking", "failed"), rows)
    if wait is None or _is_complete(own, every):
        return
    state = next((f"lacks {each.lacking} documents" for each in every if each.generation == own), "is not in use")
    print_note(f"{own}, the generation of these settings, {state}.")
    raise typer.Exit(1)


async def _look(settings: "Settings", wait_seconds: float) -> "tuple[GenerationId, list[Coverage]]":
    from s4.entrypoints.bootstrap import open_core

    give_up_at = time.monotonic() + wait_seconds
    async with open_core(settings) as core:
        own = core.generation.id
        while True:
            every = await core.generations.coverage()
            if _is_complete(own, every) or time.monotonic() >= give_up_at:
                return own, every
            await asyncio.sleep(_POLL_SECONDS)


def _said(coverage: "Coverage") -> str:
    return "complete" if coverage.complete else "being filled"


def _is_complete(own: "GenerationId", every: "list[Coverage]") -> bool:
    return any(each.generation == own and each.complete for each in every)
