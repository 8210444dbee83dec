"""Fail-points: named steps at which a test ends or stops the process, to prove what a crash there leaves behind.

`S4_FAILPOINTS="document.committed=exit"` ends the process at that step without any clean-up, as a power cut would;
`=raise` raises instead. Without arming, a fail-point costs one look into an empty mapping.
"""

import os
from collections.abc import Mapping

_armed: dict[str, str] = {}


class InjectedFault(Exception):
    """Raised at a fail-point that is armed with `raise`."""


def arm(points: Mapping[str, str]) -> None:
    """Replaces what is armed. For `entrypoints/bootstrap.py` and tests."""
    _armed.clear()
    _armed.update(points)


def parse(text: str) -> dict[str, str]:
    """`"a.b=exit,c.d=raise"` as a mapping."""
    return dict(pair.split("=", 1) for pair in text.split(",") if "=" in pair)


def failpoint(name: str) -> None:
    """A step that can be made to fail."""
    action = _armed.get(name)
    if action is None:
        return
    if action == "exit":
        os._exit(137)
    raise InjectedFault(name)
