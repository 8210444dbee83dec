"""Which log entries a filter lets pass: as much of the languages of CloudWatch's metric filters and of Google's Logging
as our filters use, so that they can be tried on entries. What it does not know it refuses.
"""

import re
from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from typing import Any

Entry = Mapping[str, Any]
Filter = Callable[[Entry], bool]

_TOKEN = re.compile(
    r"""\s*(?: (?P<text>"[^"]*") | (?P<mark>&&|\|\||!=|=|\(|\)|\{|\}) | (?P<word>[$\w./-]+) )""", re.VERBOSE
)
_AND, _OR = {"&&", "AND"}, {"||", "OR"}


def metric_filter(pattern: str) -> Filter:
    """Of CloudWatch Logs: `{ ($.a = "b*") && ($.c IS FALSE) }`. A comparison with a field that is not there fails."""
    reader = _Reader(pattern)
    reader.take("{")
    found = reader.any_of()
    reader.take("}")
    reader.end()
    return found


def logging_filter(text: str) -> Filter:
    """Of Google's Logging: `log_id("x") AND (a.b = "c" OR a.b = "d")`."""
    reader = _Reader(text)
    found = reader.any_of()
    reader.end()
    return found


class _Reader:
    """One filter, read from the left: alternatives of conjunctions of comparisons."""

    def __init__(self, text: str) -> None:
        self._tokens: list[str] = []
        end = len(text.rstrip())
        position = 0
        while position < end:
            found = _TOKEN.match(text, position)
            if not found:
                raise ValueError(f"cannot read {text[position:]!r}")
            self._tokens.append(found[found.lastgroup or 0])
            position = found.end()
        self._tokens.append("")

    def take(self, *expected: str) -> str:
        token = self._tokens.pop(0)
        if expected and token not in expected:
            raise ValueError(f"{token!r} where {expected} should be")
        return token

    def end(self) -> None:
        self.take("")

    def any_of(self) -> Filter:
        parts = self._joined(self._all_of, _OR)
        return lambda entry: any(part(entry) for part in parts)

    def _all_of(self) -> Filter:
        parts = self._joined(self._one, _AND)
        return lambda entry: all(part(entry) for part in parts)

    def _joined(self, read: Callable[[], Filter], joint: set[str]) -> list[Filter]:
        parts = [read()]
        while self._tokens[0] in joint:
            self.take()
            parts.append(read())
        return parts

    def _one(self) -> Filter:
        name = self.take()
        if name == "(":
            inner = self.any_of()
            self.take(")")
            return inner
        if name == "log_id":
            self.take("(")
            wanted = self.take().strip('"')
            self.take(")")
            return lambda entry: _log_id(entry) == wanted
        path = name.removeprefix("$.").split(".")
        how = self.take("=", "!=", "IS")
        if how == "IS":
            truth = self.take("TRUE", "FALSE") == "TRUE"
            return lambda entry: _at(entry, path) is truth
        value = self.take()
        if not value.startswith('"'):
            raise ValueError(f"{value!r} should be text")
        pattern = value.strip('"').replace("[", "[[]")
        return lambda entry: _compared(_at(entry, path), pattern, how == "=")


def _compared(found: Any, pattern: str, equal: bool) -> bool:
    return found is not None and fnmatchcase(str(found), pattern) is equal


def _at(entry: Any, path: list[str]) -> Any:
    for name in path:
        entry = entry.get(name) if isinstance(entry, Mapping) else None
    return entry


def _log_id(entry: Entry) -> str:
    return str(entry.get("logName", "")).rsplit("/logs/", 1)[-1].replace("%2F", "/")
