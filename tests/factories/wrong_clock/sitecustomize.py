"""A machine whose clock is wrong: Python loads this at its start where this folder is on PYTHONPATH.

`CLOCK_AHEAD_SECONDS` says by how much, negative for behind. What Python's code reads is wrong; the monotonic clock,
that of the file system, and what libraries in other languages read stay right.
"""

import datetime
import os
import time

_AHEAD = datetime.timedelta(seconds=float(os.environ["CLOCK_AHEAD_SECONDS"]))
_right_time = time.time
_Right = datetime.datetime


class _LikeTheRightOne(type):
    def __instancecheck__(cls, value: object) -> bool:
        return isinstance(value, _Right)


class _Wrong(_Right, metaclass=_LikeTheRightOne):
    @classmethod
    def now(cls, tz: datetime.tzinfo | None = None) -> datetime.datetime:  # type: ignore[override]
        return _Right.now(tz) + _AHEAD


_Wrong.__name__ = _Wrong.__qualname__ = "datetime"
_Wrong.__module__ = "datetime"
time.time = lambda: _right_time() + _AHEAD.total_seconds()
datetime.datetime = _Wrong  # type: ignore[misc]
