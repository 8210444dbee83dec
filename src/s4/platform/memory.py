"""What the C library does with memory that Python and its libraries have freed.

Glibc keeps one pool (arena) for every few threads and gives none back while anything in it lives, so a process of a
hundred threads comes to hold several times what it uses. Other C libraries behave otherwise; then nothing is done.
"""

import ctypes
from typing import Any

_M_ARENA_MAX = -8  # of mallopt(3)
_ARENAS = 4  # two per core of a small machine: threads hardly wait for each other, and little lies idle


def bound_arenas() -> None:
    """For this process, from now on: call it before threads start."""
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
