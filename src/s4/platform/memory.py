"""How a process looks after its memory: what Python collects, and what the C library keeps of what was freed.

What is imported stays. Python's collector does not know that, and looks through all of it again and again: a third of
the time that a start takes, and longer pauses ever after. So it waits until the process has started, and leaves what
is there then alone.

Glibc keeps one pool (arena) for every few threads and gives none back while anything in it lives, so a process of a
hundred threads comes to hold several times what it uses. Other C libraries behave otherwise; then nothing is done.
"""

import ctypes
import gc
from typing import Any

_M_ARENA_MAX = -8  # of mallopt(3)
_ARENAS = 4  # two per core of a small machine: threads hardly wait for each other, and little lies idle


def starting() -> None:
    """For this process, from now on: call it before anything large is imported and before threads start."""
    gc.disable()
    _bound_arenas()


def started() -> None:
    """What is in memory now stays: the collector looks at what comes from here on."""
    gc.freeze()
    gc.enable()


def _bound_arenas() -> None:
    mallopt = _of_glibc("mallopt")
    if mallopt is not None:
        mallopt(_M_ARENA_MAX, _ARENAS)


def give_back() -> None:
    """After something large was freed that will not come again."""
    trim = _of_glibc("malloc_trim")
    if trim is not None:
        trim(0)


def _of_glibc(name: str) -> Any:
    libc = ctypes.CDLL(None)
    return getattr(libc, name, None) if hasattr(libc, "gnu_get_libc_version") else None
