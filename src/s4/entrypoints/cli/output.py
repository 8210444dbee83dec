"""What the commands write: results to stdout, everything else to stderr.

With `--json` stdout holds JSON and nothing else: one document, or of a command with many files a line for each. Text
that came from documents or names is made harmless first: a terminal obeys control characters.
"""

import errno
import io
import json
import os
import sys
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TextIO

if TYPE_CHECKING:
    from rich.console import Console

JSON_FLAG = "--json"

_BIDI_CONTROLS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""They let a name look like another."""


class _Closed(io.TextIOBase):
    """A stream that was closed before the command began (`>&-`): Python has none then."""

    def __init__(self, stream: str, use: str) -> None:
        self._error = OSError(errno.EBADF, f"it is closed, so nothing can be {use}", stream)

    def write(self, _text: str, /) -> int:
        raise self._error

    def readline(self, _size: int = -1, /) -> str:  # type: ignore[override]  # the base class has bytes in mind, too
        raise self._error

    @property
    def buffer(self) -> BinaryIO:
        """For bytes."""
        raise self._error


def make_streams_fit() -> None:
    """To be called once. What would go to a closed stdout or come from a closed stdin is an error, what would go to a
    closed stderr is lost; and what an open stdout's encoding has no sign for is written as in Python source."""
    if sys.stdin is None:
        sys.stdin = _Closed("stdin", "read")
    if sys.stdout is None:
        sys.stdout = _Closed("stdout", "written")
    elif isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    if sys.stderr is None:
        sys.stderr = Path(os.devnull).open("w")  # noqa: SIM115 (stays open as long as the process)


def harmless(text: str) -> str:
    """As long as `text`, on one line, without what a terminal would obey."""
    return "".join(map(_harmless, text))


def _harmless(character: str) -> str:
    if character.isspace():
        return " "
    if unicodedata.category(character) in ("Cc", "Cs") or character in _BIDI_CONTROLS:
        return "\N{REPLACEMENT CHARACTER}"
    return character


def print_line(text: str = "") -> None:
    _write(sys.stdout, harmless(text))


def print_note(text: str) -> None:
    """To stderr: not part of the result."""
    _write(sys.stderr, harmless(text))


def print_json(value: Any) -> None:
    _write(sys.stdout, _json(value, sys.stdout, indent=2))


def print_json_line(value: Any) -> None:
    _write(sys.stdout, _json(value, sys.stdout, separators=(",", ":")))


def _json(value: Any, stream: TextIO, **form: Any) -> str:
    """With JSON's own escapes where the stream's encoding has not all of Unicode. In UTF-8 half a surrogate pair, as it
    stands in names and logs of others, is written by `make_streams_fit` as JSON does."""
    takes_all = (getattr(stream, "encoding", None) or "utf-8").lower().startswith("utf")
    return json.dumps(value, ensure_ascii=not takes_all, **form)


def print_error(
    message: str,
    *,
    code: str,
    as_json: bool,
    details: Mapping[str, Any] | None = None,
    request_id: str | None = None,
) -> None:
    """In JSON the envelope is that of the HTTP contract."""
    if as_json:
        error = {"code": code, "message": message, "details": dict(details or {}), "request_id": request_id}
        _write(sys.stderr, _json({"error": error}, sys.stderr))
    elif code == "server_error" and request_id:
        print_note(f"Error: {message} (request {request_id})")
    else:
        print_note(f"Error: {message}")
        for field in (details or {}).get("fields", ()):
            print_note(f"  {field.get('field')}: {field.get('problem')}")


def _write(stream: TextIO, line: str) -> None:
    """Not by `typer.echo`, which goes past the stand-in that keeps lines and a progress bar apart."""
    stream.write(line + "\n")
    stream.flush()


def console(*, err: bool = False) -> "Console":
    from rich.console import Console

    return Console(stderr=err, highlight=False, markup=False, emoji=False)


def print_row(cells: Sequence[str]) -> None:
    """One line of cells, as soon as it is known: tabs between them."""
    _write(sys.stdout, "\t".join(map(harmless, cells)))


def print_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """A table for a person, tab-separated lines for a pipe."""
    if not sys.stdout.isatty():
        for row in rows:
            print_row(row)
        return
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, header_style="bold", pad_edge=False)
    for heading in headings:
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(*(Text(harmless(cell)) for cell in row))
    console().print(table)


def print_rows(rows: Sequence[Mapping[str, Any]], *, as_csv: bool) -> None:
    """The same table as CSV, or as `print_table` shows it."""
    if as_csv:
        import csv

        table = csv.writer(sys.stdout, lineterminator="\n")
        if rows:
            table.writerow(rows[0])
        table.writerows([_cell(value) for value in row.values()] for row in rows)
        sys.stdout.flush()
        return
    shown = [["" if value is None else str(value) for value in row.values()] for row in rows]
    print_table(list(rows[0]) if rows else (), shown)


def print_page(text: str) -> None:
    """A text of many lines."""
    for line in text.splitlines():
        print_line(line)


def _cell(value: Any) -> Any:
    """A spreadsheet runs what begins like a formula, and a tenant chooses its name."""
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@")) else value


@dataclass(frozen=True, slots=True)
class Bar:
    """`advance` takes how many bytes have gone since the last call, `describe` a new text before the bar."""

    advance: Callable[[int], None]
    describe: Callable[[str], None]

    @classmethod
    def none(cls) -> "Bar":
        return cls(lambda _: None, lambda _: None)


@contextmanager
def byte_progress(label: str, total_bytes: int | None, *, wanted: bool) -> Iterator[Bar]:
    """A bar with its rate, on stderr, if that is a terminal and `wanted`."""
    if not (wanted and sys.stderr.isatty()):
        yield Bar.none()
        return
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        FileSizeColumn,
        Progress,
        ProgressColumn,
        TextColumn,
        TransferSpeedColumn,
    )

    columns: list[ProgressColumn] = [
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        FileSizeColumn() if total_bytes is None else DownloadColumn(),  # units as those of the rate
        TransferSpeedColumn(),
    ]
    # Lines that are printed meanwhile go above the bar, but never from a redirected stdout to the terminal.
    bar = Progress(*columns, console=console(err=True), transient=True, redirect_stdout=sys.stdout.isatty())
    with bar as progress:
        task = progress.add_task(harmless(label), total=total_bytes)
        yield Bar(
            lambda count_bytes: progress.advance(task, count_bytes),
            lambda text: progress.update(task, description=harmless(text)),
        )
        progress.refresh()  # what ends between two refreshes is seen, too
