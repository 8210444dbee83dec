"""Time as an argument. Leases and expiry go by the database's clock; this one is for stamps and backoff."""

from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    def now(self) -> datetime:
        """The present, aware, in UTC."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)


def rfc3339(moment: datetime) -> str:
    """`2026-01-02T03:04:05.678901Z`."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def parse_moment(text: str | None) -> datetime | None:
    """A time as heads say it: RFC 3339, or None for none."""
    return parse_rfc3339(text) if text is not None else None


def parse_rfc3339(text: str) -> datetime:
    """An aware time in UTC. Raises `ValueError` for a naive or malformed one, and for one before the year 1 in UTC."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} has no time zone")
    try:
        return moment.astimezone(UTC)
    except OverflowError as error:
        raise ValueError(f"{text!r} is out of range") from error
