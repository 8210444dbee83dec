"""`s4 logs …`: what a log says, read from files, without a server."""

import contextlib
import gzip
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO, cast

import typer

from s4.entrypoints.cli.failures import EXIT_FAILED
from s4.entrypoints.cli.options import Json, WrongUsage, examples
from s4.entrypoints.cli.output import print_json, print_line, print_note

if TYPE_CHECKING:
    from s4.platform.telemetry.log_patterns import Pattern, Patterns

_GZIP = b"\x1f\x8b"
_TENANTS_SHOWN = 3
_NOTHING = "Nothing."


def register(app: typer.Typer) -> None:
    """Adds the commands."""
    logs = typer.Typer(help="Read a log.", no_args_is_help=True)
    logs.command(
        "top-errors",
        epilog=examples("s4 logs top-errors s4.log", "s4 logs top-errors s4.log.1.gz --level error --limit 3 --json"),
    )(top_errors)
    app.add_typer(logs, name="logs")


def top_errors(
    files: Annotated[list[str], typer.Argument(metavar="FILE...", help="Logs, also compressed by gzip; `-`: stdin.")],
    level: Annotated[str, typer.Option(help="From this level on: warning, error, or any other.")] = "warning",
    limit: Annotated[int, typer.Option(min=1, max=1000, help="So many patterns.")] = 10,
    as_json: Json = False,
) -> None:
    """Say what a log complains about most, of which tenants, since when, and what to do about it.

    Lines that differ in ids, numbers, paths and names only are one pattern. All formats of S4 are read. Exits with 1
    when no line could be read: a log of something else has no complaints either.
    """
    from s4.platform.telemetry.log_patterns import LEVELS, Patterns

    if level not in LEVELS:
        raise WrongUsage(f"--level is one of {', '.join(LEVELS)}")
    found, broken = Patterns(level), []
    for file in files:
        with _opened(file) as source:
            try:
                _read(source, found)
            except (EOFError, gzip.BadGzipFile, zlib.error) as error:
                broken.append(f"{file} is damaged, or was cut off: {error}")
    if as_json:
        print_json(_as_json(found, limit) | {"damaged_files": broken})
    else:
        _print(found, limit, level)
    for sentence in [*broken, *_notes(found)]:
        print_note(sentence)
    if (found.lines or broken) and not found.understood:
        raise typer.Exit(EXIT_FAILED)


@contextlib.contextmanager
def _opened(file: str) -> Iterator[BinaryIO]:
    with contextlib.ExitStack() as stack:
        source = sys.stdin.buffer if file == "-" else stack.enter_context(Path(file).open("rb"))
        is_packed = cast(Any, source).peek(len(_GZIP))[: len(_GZIP)] == _GZIP
        yield cast(BinaryIO, stack.enter_context(gzip.GzipFile(fileobj=source))) if is_packed else source


def _read(source: BinaryIO, found: "Patterns") -> None:
    for line in _lines(source):
        if line is None:
            found.add_unreadable()
        else:
            found.add(line.decode("utf-8", "replace"))


def _lines(source: BinaryIO) -> Iterator[bytes | None]:
    """None for a line that is too long. Never more than one line in memory."""
    from s4.platform.telemetry.log_patterns import LINE_CHARS_MAX

    while line := source.readline(LINE_CHARS_MAX):
        if len(line) < LINE_CHARS_MAX or line.endswith(b"\n"):
            yield line
            continue
        while (rest := source.readline(LINE_CHARS_MAX)) and not rest.endswith(b"\n"):
            pass
        yield None


def _print(found: "Patterns", limit: int, level: str) -> None:
    for pattern in found.top(limit):
        print_line(f"{pattern.count:>8}  {pattern.level:<8} {pattern.event_type}  {pattern.text}")
        print_line(f"{'':10}first {pattern.first}, last {pattern.last}{_tenants(pattern)}")
        if advice := _advice(pattern):
            print_line(f"{'':10}do: {advice}")
        print_line(f"{'':10}for example: {pattern.example}")
    if not len(found):
        print_line(f"No line of level {level} or above among {found.lines}.")


def _tenants(pattern: "Pattern") -> str:
    if not pattern.tenants:
        return ""
    shown = [f"{name} ({count})" for name, count in pattern.tenants.most_common(_TENANTS_SHOWN)]
    more = len(pattern.tenants) - len(shown)
    return f"; tenants: {', '.join(shown)}{f', and {more} more' if more else ''}"


def _advice(pattern: "Pattern") -> str | None:
    from s4.platform.telemetry.events import EVENTS

    known = EVENTS.get(pattern.event_type)
    return known.do if known is not None and known.do != _NOTHING else None


def _as_json(found: "Patterns", limit: int) -> dict[str, Any]:
    return {
        "lines": found.lines,
        "unreadable": found.unreadable,
        "first_unreadable_line": found.first_unreadable,
        "patterns_found": len(found),
        "lines_of_further_patterns": found.others,
        "patterns": [
            {
                "count": each.count,
                "level": each.level,
                "event_type": each.event_type,
                "pattern": each.text,
                "first": each.first,
                "last": each.last,
                "tenants": [{"tenant_id": name, "count": count} for name, count in each.tenants.most_common(10)],
                "tenants_found": len(each.tenants),
                "do": _advice(each),
                "example": each.example,
            }
            for each in found.top(limit)
        ],
    }


def _notes(found: "Patterns") -> Iterator[str]:
    if found.unreadable:
        yield (
            f"{found.unreadable} of {found.lines} lines could not be read, the first is number "
            f"{found.first_unreadable}: they are no lines of S4's log."
        )
    if found.others:
        yield f"There are more patterns than are kept apart: {found.others} lines are not counted above."
