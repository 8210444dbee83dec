"""`Retry-After` (RFC 9110, 10.2.3): how long the other side asks us to wait."""

import math
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

_SECONDS_MAX = 3_600.0  # who asks for longer, or for the year 9999, is asked again after an hour


def parse_retry_after(value: str | None, *, now: datetime) -> timedelta | None:
    """Seconds or an HTTP date as the time from `now`, never negative; None when absent or senseless."""
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        return _until(value, now=now)
    return timedelta(seconds=_bounded(seconds)) if math.isfinite(seconds) else None


def _until(value: str, *, now: datetime) -> timedelta | None:
    try:
        moment = parsedate_to_datetime(value)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return timedelta(seconds=_bounded((moment - now).total_seconds()))


def _bounded(seconds: float) -> float:
    return min(max(seconds, 0.0), _SECONDS_MAX)
