"""For property tests over random histories of several processes, each of which may die at a step of its own."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial
from typing import Any

from hypothesis import HealthCheck, Phase

from s4.platform import faults
from tests.factories.process import MiniProcess

SETTINGS: dict[str, Any] = {
    "deadline": None,
    "phases": [Phase.explicit, Phase.reuse, Phase.generate],  # shrinking a history takes minutes: not in a suite
    "suppress_health_check": [HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
}

_doomed: ContextVar[tuple[str, MiniProcess] | None] = ContextVar("_doomed", default=None)


def doom(process: MiniProcess, step: str | None) -> None:
    """What goes on in this task dies with its process at `step`; None: it lives."""
    _doomed.set((step, process) if step is not None else None)


@contextmanager
def dying_at(steps: Iterable[str]) -> Iterator[None]:
    """The steps at which somebody may be doomed."""

    def at(step: str) -> None:
        doomed = _doomed.get()
        if doomed is not None and doomed[0] == step:
            doomed[1].die()

    faults.arm({step: partial(at, step) for step in steps})
    yield
    faults.arm({})
