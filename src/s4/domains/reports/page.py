"""A report: sections of sentences, tables and charts, and how they look as Markdown."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

from s4.kernel.units import human_size

_MARKUP = re.compile(r"([\\`*_{}\[\]<>#|~!&])")
NOTHING = "–"


@dataclass(frozen=True, slots=True)
class Table:
    """Cells are text as it is to be read; the first column names the row."""

    headings: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True, slots=True)
class Chart:
    """One bar for each point; `None` is a day of which nothing is known."""

    title: str
    unit: str
    points: Sequence[tuple[str, float | None]]


@dataclass(frozen=True, slots=True)
class Section:
    title: str
    parts: Sequence[str | Table | Chart]


@dataclass(frozen=True, slots=True)
class Page:
    """`lead`: the sentence that somebody reads who reads no more."""

    title: str
    lead: str
    sections: list[Section] = field(default_factory=list)

    def markdown(self) -> str:
        """Charts are left out: their figures stand in tables."""
        lines = [f"# {plain(self.title)}", "", f"**{plain(self.lead)}**", ""]
        for section in self.sections:
            lines += [f"## {plain(section.title)}", ""]
            for part in section.parts:
                lines += _markdown(part)
        return "\n".join(lines).rstrip("\n") + "\n"


def _markdown(part: str | Table | Chart) -> list[str]:
    match part:
        case str():
            return [plain(part), ""]
        case Table():
            rows = [_row(row) for row in part.rows]
            return [_row(part.headings), "|" + "---|" * len(part.headings), *rows, ""]
        case Chart():
            return []


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(map(plain, cells))} |"


def plain(text: str) -> str:
    """On one line, without what Markdown would read as markup: a tenant chooses its name."""
    return _MARKUP.sub(r"\\\1", " ".join(text.split()))


def percent(share: float | None, digits: int = 3) -> str:
    return f"{share * 100:.{digits}f} %" if share is not None else NOTHING


def milliseconds(seconds: float | None) -> str:
    return f"{seconds * 1000:,.0f} ms" if seconds is not None else NOTHING


def money(amount: float, currency: str) -> str:
    """To the cent; what is less than one is shown to its first digits."""
    return f"{amount:,.2f} {currency}" if amount == 0 or abs(amount) >= 0.01 else f"{amount:.6f} {currency}"


def growth(now: int, before: int, *, as_bytes: bool = False) -> str:
    """`+120 (+12.0 %)`."""
    change = now - before
    said = f"{'-' if change < 0 else '+'}{human_size(abs(change)) if as_bytes else f'{abs(change):,}'}"
    return f"{said} ({change / before:+.1%})" if before else said
