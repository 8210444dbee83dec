"""What the files of deploy/ may say of S4: the variables that it knows, and the commands that it has."""

import re

from typer.main import get_command

from s4.entrypoints.cli.app import build
from tests.factories.pages import page

_ROW = re.compile(r"^\| `(S4_\w+)` \| ([^|]*) \|", re.MULTILINE)


def declared_settings() -> set[str]:
    """Every setting, and the file of every secret, as the reference has them."""
    found = _ROW.findall(page("docs/reference/settings.md"))
    return {name for name, _ in found} | {f"{name}_FILE" for name, kind in found if kind.strip() == "secret"}


def parse(arguments: list[str]) -> None:
    """Raises what the command line would say of a command or an option that it does not know."""
    command = get_command(build())
    rest = list(arguments)
    while subcommands := getattr(command, "commands", None):
        assert rest[0] in subcommands, arguments
        command, rest = subcommands[rest[0]], rest[1:]
    command.make_context("s4", rest)
