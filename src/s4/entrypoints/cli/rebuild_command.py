"""`s4 rebuild`: a catalog from nothing but the bucket. Asks store and database, not the API."""

import asyncio
import time
from typing import TYPE_CHECKING, Annotated

import typer

from s4.entrypoints.cli.options import ConfigFile, Json, ServerDataDir, configuration, examples
from s4.entrypoints.cli.output import print_json, print_line, print_note

if TYPE_CHECKING:
    from s4.domains.maintenance.report import Report
    from s4.kernel.settings import Settings

_NOTE_SECONDS = 2.0  # between two lines of progress
_PROBLEMS_SHOWN = 20  # to a person

Follow = Annotated[
    float | None,
    typer.Option(
        "--follow",
        metavar="SECONDS",
        min=0,
        show_default=False,
        help="Of a second region: bring the catalog after the bucket again and again, with such a pause, until "
        "interrupted. It does not serve before `s4 promote`.",
    ),
]


def register(app: typer.Typer) -> None:
    """Adds the command."""
    app.command(epilog=examples("s4 rebuild --data-dir s4-data", "s4 rebuild --data-dir s4-data --json"))(rebuild)


def rebuild(
    context: typer.Context,
    config: ConfigFile = None,
    data_dir: ServerDataDir = None,
    follow: Follow = None,
    as_json: Json = False,
) -> None:
    """Make the catalog anew from the bucket.

    For a database that is empty, or was not brought over to its end: interrupt it, and the next one goes on. Takes over
    the index tables that lie in the bucket; what has none is indexed by the workers. A worker with an empty database
    does the same by itself. Exits with 1 when anything could not be brought back, which is named; all else is there.
    """
    from s4.entrypoints.bootstrap import migrate_database
    from s4.entrypoints.configuration import complete
    from s4.platform.telemetry import logs

    loaded = configuration(context, config, data_dir=data_dir).settings
    asyncio.run(_require_used(loaded))
    settings = complete(loaded)
    logs.configure(level="error", log_format=settings.log_format, service="rebuild")
    migrate_database(settings)
    if follow is not None:
        asyncio.run(_follow(settings, follow, as_json=as_json))
        return
    started = time.monotonic()
    report = asyncio.run(_once(settings))
    _say(report, time.monotonic() - started, as_json=as_json)
    if report.problems:
        raise typer.Exit(1)


async def _require_used(settings: "Settings") -> None:
    """Raises `Conflict` where there is nothing to rebuild from, before anything is made of a wrong URL."""
    from s4.domains.maintenance.deployment import is_unused
    from s4.entrypoints.bootstrap import looked_at, open_own_store
    from s4.kernel.errors import Conflict

    async with open_own_store(looked_at(settings)) as store:
        if await is_unused(store):
            raise Conflict(
                "There is nothing in this store to rebuild a catalog from: check its URL and prefix. An empty "
                "deployment is made by `s4 serve`, one out of a backup by `s4 restore`."
            )


async def _once(settings: "Settings") -> "Report":
    from s4.entrypoints.bootstrap import open_core, open_rebuild

    async with open_core(settings) as core, open_rebuild(core) as rebuilding:
        return await rebuilding.run(progress=Notes())


async def _follow(settings: "Settings", pause_seconds: float, *, as_json: bool) -> None:
    from s4.entrypoints.bootstrap import open_core, open_rebuild

    async with open_core(settings, standby=True) as core, open_rebuild(core) as rebuilding:
        while True:
            started = time.monotonic()
            report = await rebuilding.run(progress=Notes(), serve=False, writes=False)
            _say(report, time.monotonic() - started, as_json=as_json)
            await asyncio.sleep(pause_seconds)


class Notes:
    """Says how far it is, now and then, on stderr."""

    def __init__(self) -> None:
        self._said_at = time.monotonic()

    def __call__(self, step: str, done: int, total: int | None) -> None:
        now = time.monotonic()
        if now - self._said_at >= _NOTE_SECONDS:
            self._said_at = now
            print_note(f"{step}: {done}" + (f" of {total}" if total is not None else ""))


def _say(report: "Report", seconds: float, *, as_json: bool) -> None:
    counts = report.counts
    if as_json:
        ok = not report.problems
        print_json({"seconds": round(seconds, 3), **counts, "ok": ok, "problems": report.problems})
        return
    print_line(
        f"{counts.get('tenants', 0)} tenants, {counts.get('adopted', 0)} documents in {seconds:.1f} s: "
        f"{counts.get('attached', 0)} with the index that was there, {counts.get('to_index', 0)} for the workers."
    )
    name_problems(report)


def name_problems(report: "Report") -> None:
    """For a person: what could not be brought back, and what to do."""
    for problem in report.problems[:_PROBLEMS_SHOWN]:
        print_note(problem)
    if report.problems:
        unnamed = max(0, len(report.problems) - _PROBLEMS_SHOWN)
        print_note(
            f"Not all is well{f', in {unnamed} more places (--json names them)' if unnamed else ''}: put what is "
            "damaged back from a backup, or make it anew, then run `s4 rebuild` again."
        )
