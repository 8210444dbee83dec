"""Tables as CSV (RFC 4180)."""

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Literal

FORMATS = Literal["json", "csv"]

_FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""A spreadsheet runs a cell that begins so; a tenant chooses its name."""


def csv_of(rows: Sequence[Mapping[str, object]]) -> str:
    """With a line of headings. Nothing for no rows."""
    written = io.StringIO()
    if rows:
        table = csv.DictWriter(written, fieldnames=list(rows[0]))
        table.writeheader()
        table.writerows({name: _harmless(value) for name, value in row.items()} for row in rows)
    return written.getvalue()


def _harmless(value: object) -> object:
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value
