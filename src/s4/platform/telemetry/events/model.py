"""What an event of the log is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Event:
    """One kind of line.

    `levels` in order of weight; `fields` of `details`, any of which a line may lack; `do` says what whoever reads the
    line does about it.
    """

    name: str
    levels: Sequence[str]
    fields: Sequence[str]
    meaning: str
    do: str


@dataclass(frozen=True, slots=True)
class Field:
    """One name within `details`. It has the same type in every event: stores of logs type a field by its first line."""

    meaning: str
    example: Any
    """Of its type. None may stand instead of any value."""


def event(name: str, level: str, fields: str, meaning: str, do: str) -> Event:
    """`level` and `fields` with spaces between them."""
    return Event(name, tuple(level.split()), tuple(fields.split()), meaning, do)


def by_name(*groups: Sequence[Event]) -> Mapping[str, Event]:
    """All of them. A name that is there twice is a defect."""
    found = {each.name: each for group in groups for each in group}
    assert len(found) == sum(map(len, groups)), "an event is in the catalogue twice"
    return found
