"""Distributions, ratios, and tables in Markdown, so that a run can be pasted into RESULTS.md as it is."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self


@dataclass(slots=True)
class Durations:
    """Measured seconds."""

    seconds: list[float] = field(default_factory=list)

    def add(self, seconds: float) -> None:
        self.seconds.append(seconds)

    @property
    def count(self) -> int:
        return len(self.seconds)

    def quantile(self, part: float) -> float:
        """By nearest rank: a value that was measured. The p99 of fewer than 100 is the maximum."""
        ordered = sorted(self.seconds)
        return ordered[max(0, math.ceil(part * len(ordered)) - 1)]

    @property
    def milliseconds(self) -> list[str]:
        """p50, p95, p99, max."""
        return [f"{1000 * self.quantile(part):.2f}" for part in (0.50, 0.95, 0.99, 1.0)]

    def ratios(self, floor: Self) -> list[str]:
        """Of p50 and p99 to those of `floor`."""
        return [f"{self.quantile(part) / floor.quantile(part):.1f}" for part in (0.50, 0.99)]


DURATION_COLUMNS = ("n", "p50", "p95", "p99", "max")


def print_heading(text: str) -> None:
    print(f"\n### {text}\n", flush=True)


def print_text(text: str) -> None:
    print(text, flush=True)


def print_facts(facts: Mapping[str, str]) -> None:
    for name, value in facts.items():
        print(f"- {name}: {value}")
    print(flush=True)


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Numbers to the right: every column but the first."""
    cells = [list(row) for row in rows]
    widths = [max(len(text) for text in column) for column in zip(columns, *cells, strict=True)]

    def line(texts: Sequence[str]) -> str:
        first, *others = (
            text.ljust(width) if position == 0 else text.rjust(width)
            for position, (text, width) in enumerate(zip(texts, widths, strict=True))
        )
        return "| " + " | ".join([first, *others]) + " |"

    print(line(columns))
    print("|" + "|".join("-" * (w + 2) if n == 0 else "-" * (w + 1) + ":" for n, w in enumerate(widths)) + "|")
    for row in cells:
        print(line(row))
    print(flush=True)
