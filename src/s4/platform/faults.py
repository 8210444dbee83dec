"""Fail-points: named steps at which a test ends the process, to prove what a crash there leaves behind.

`S4_FAILPOINTS="document.committed=exit"` ends the process at that step without any clean-up, as a power cut would;
`=raise` raises instead. Tests in one process arm functions of their own. Unarmed, a fail-point costs one look into an
empty mapping.
"""

import os
from collections.abc import Callable, Mapping
from typing import NoReturn

_armed: dict[str, Callable[[], None]] = {}


class InjectedFault(Exception):
    """Raised at a fail-point that is armed with `raise`."""


def arm(points: Mapping[str, Callable[[], None]]) -> None:
    """Replaces what is armed."""
    _armed.clear()
    _armed.update(points)


def parse(text: str) -> dict[str, Callable[[], None]]:
    """From `"a.b=exit,c.d=raise"`. Raises `ValueError` for another action."""
    actions: dict[str, Callable[[], None]] = {"exit": _exit, "raise": _raise}
    points: dict[str, Callable[[], None]] = {}
    for pair in filter(None, text.split(",")):
        name, _, action = pair.partition("=")
        if action not in actions:
            raise ValueError(f"fail-point {name!r} needs one of {sorted(actions)}")
        points[name] = actions[action]
    return points


def failpoint(name: str) -> None:
    """A step that can be made to fail."""
    action = _armed.get(name)
    if action is not None:
        action()


def _exit() -> NoReturn:
    os._exit(137)


def _raise() -> NoReturn:
    raise InjectedFault
