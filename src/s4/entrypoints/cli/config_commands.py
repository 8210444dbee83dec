"""`s4 config …`: what the server's settings are, where each comes from, and whether they work.

Settings stand in flags, in `S4_*` variables, and in a TOML file named by `--config` or `S4_CONFIG`; the former win.
"""

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from s4.entrypoints.cli.options import ConfigFile, Json, ServerDataDir, configuration, examples
from s4.entrypoints.cli.output import print_json, print_line, print_note, print_table

if TYPE_CHECKING:
    from s4.entrypoints.configuration import Configuration
    from s4.entrypoints.connections import Finding

_HIDDEN = "********"
_CONNECT_SECONDS_MAX = 15.0  # longer than a store or a database needs to answer once, repeats included


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    config = typer.Typer(help="Look at the server's settings and try them.", no_args_is_help=True)
    config.command(epilog=examples("s4 config show", "s4 config show --changed --json"))(show)
    config.command(epilog=examples("s4 config check", "s4 config check --data-dir s4-data"))(check)
    app.add_typer(config, name="config")


def show(
    context: typer.Context,
    config: ConfigFile = None,
    data_dir: ServerDataDir = None,
    changed: Annotated[bool, typer.Option("--changed", help="Only what somebody has set.")] = False,
    as_json: Json = False,
) -> None:
    """Every setting, its value, and where that comes from: `machine` is what follows from its processors and memory.
    Secrets are not shown."""
    rows = _rows(configuration(context, config, data_dir=data_dir))
    if changed:
        rows = [row for row in rows if row["source"] not in ("default", "machine")]
    if as_json:
        print_json({"settings": rows})
    else:
        print_table(
            ("setting", "value", "source", "place"),
            [(row["name"], _shown(row["value"]), row["source"], row["place"] or "") for row in rows],
        )


def check(
    context: typer.Context,
    config: ConfigFile = None,
    data_dir: ServerDataDir = None,
    connect: Annotated[
        bool, typer.Option("--connect", help="Also ask the database, the object store and the embedding provider.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Whether the settings work, without starting anything. Exits with 1 when they do not."""
    problems, warnings, findings = _checked(context, config, data_dir, connect=connect)
    works = not problems and all(finding.works for finding in findings)
    if as_json:
        found = [{"dependency": each.dependency, "works": each.works, "message": each.message} for each in findings]
        print_json({"works": works, "problems": problems, "warnings": warnings, "dependencies": found})
    else:
        for sentence in [*problems, *warnings]:
            print_note(sentence)
        for each in findings:
            (print_line if each.works else print_note)(f"{each.dependency}: {each.message}")
        if works:
            print_line("The configuration works.")
    if not works:
        raise typer.Exit(1)


def _checked(
    context: typer.Context, config: Path | None, data_dir: Path | None, *, connect: bool
) -> "tuple[list[str], list[str], list[Finding]]":
    """Sentences about what is wrong with the settings, and about what may go wrong; if nothing is, what they lead
    to."""
    import asyncio

    from s4.entrypoints.connections import doubts
    from s4.kernel.errors import InvalidRequest

    try:
        loaded = configuration(context, config, data_dir=data_dir)
    except InvalidRequest as error:
        return list(error.details["problems"]), [], []
    settings = loaded.settings
    problems, warnings = doubts(loaded)
    if problems or not connect:
        return problems, warnings, []
    from s4.entrypoints.connections import look
    from s4.platform.telemetry import logs

    # What the parts would log on the way is in the sentences.
    logs.configure(level="critical", log_format=settings.log_format, service="config")
    return [], warnings, asyncio.run(look(settings, within=timedelta(seconds=_CONNECT_SECONDS_MAX)))


def _rows(loaded: "Configuration") -> list[dict[str, Any]]:
    from s4.kernel.settings import secret_settings
    from s4.platform.telemetry.logs import redact

    plain = loaded.settings.model_dump(mode="json")
    rows = []
    for name in plain:
        value = plain[name]
        if name in secret_settings() and value is not None:
            value = _HIDDEN
        elif isinstance(value, str):
            value = redact(value)  # a proxy's address may hold a password
        source = loaded.sources.get(name) or loaded.derived.get(name)
        kind, place = (source.kind.value, source.place) if source else ("default", None)
        rows.append({"name": name, "value": value, "source": kind, "place": place})
    return rows


def _shown(value: Any) -> str:
    return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
