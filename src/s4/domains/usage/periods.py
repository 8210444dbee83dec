"""From and to: which hours, days or months a question is about, and how many it may be about at once."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum

from s4.domains.usage.ledger import Grain
from s4.kernel.errors import InvalidRequest

HOURS_DAYS_MAX = 32  # a month by hours: 768 rows, and a chart has no more columns
DAYS_MAX = 400  # a year by days, with the days around it
MONTHS_DAYS_MAX = 3700  # ten years by months
_DAYS_MAX = {Grain.HOUR: HOURS_DAYS_MAX, Grain.DAY: DAYS_MAX, Grain.MONTH: MONTHS_DAYS_MAX}
_DEFAULT = {Grain.HOUR: timedelta(days=1), Grain.DAY: timedelta(days=30), Grain.MONTH: timedelta(days=365)}


class Period(StrEnum):
    """`day`: today; `week`: the last seven days; `month`: this calendar month. All in UTC, today included."""

    DAY = "day"
    WEEK = "week"
    MONTH = "month"


@dataclass(frozen=True, slots=True)
class Span:
    """From `start` up to, not including, `end`: whole hours, days or months."""

    grain: Grain
    start: datetime
    end: datetime

    def starts(self) -> list[datetime]:
        """Of each hour, day or month in it."""
        found, start = [], self.start
        while start < self.end:
            found.append(start)
            start = self.grain.following(start)
        return found


_YEAR_MIN, _YEAR_MAX = 1900, 9998  # of both ends something can be added and taken away


def asked_span(grain: Grain, start: datetime | None, end: datetime | None, now: datetime) -> Span:
    """What `from`, `to` and `granularity` ask for; whole units that touch it. Raises `InvalidRequest`."""
    until = end or now
    if min(until.year, (start or until).year) < _YEAR_MIN or until.year > _YEAR_MAX:
        raise InvalidRequest("`from` and `to` must be times that a calendar has, from the year 1900 to 9998.")
    since = start or until - _DEFAULT[grain]
    if since >= until:
        raise InvalidRequest("`from` must lie before `to`.", details={"from": str(since), "to": str(until)})
    days_max = _DAYS_MAX[grain]
    if until - since > timedelta(days=days_max):
        coarser = {Grain.HOUR: " or take granularity=day", Grain.DAY: " or take granularity=month"}.get(grain, "")
        raise InvalidRequest(
            f"With granularity={grain.value} at most {days_max} days can be asked for: ask for less{coarser}.",
            details={"days_max": days_max, "granularity": grain.value},
        )
    try:
        return Span(grain, grain.floor(since), grain.ceiling(until))
    except (OverflowError, ValueError) as error:
        raise InvalidRequest("`from` and `to` must be times that a calendar has.") from error


def reported_span(period: Period, first: date | None, last: date | None, now: datetime) -> Span:
    """What `period`, `start_date` and `end_date` ask for: whole days, `end_date` the last of them. Raises
    `InvalidRequest`."""
    today = Grain.DAY.floor(now)
    if last is not None or first is not None:
        end = _midnight(last) if last is not None else today
        start = _midnight(first) if first is not None else _first_day(period, end)
    else:
        start, end = _first_day(period, today), today
    if start > end:
        raise InvalidRequest("`start_date` must not lie after `end_date`.")
    if (end - start).days >= HOURS_DAYS_MAX:
        raise InvalidRequest(
            f"At most {HOURS_DAYS_MAX} days can be asked for at once.", details={"days_max": HOURS_DAYS_MAX}
        )
    after = Grain.DAY.following(end)
    # All that there is of one month stands in that month's rows already.
    is_month = start == Grain.MONTH.floor(end) and (end >= today or after == Grain.MONTH.following(start))
    return Span(Grain.MONTH if is_month else Grain.DAY, start, after)


def month_of(text: str) -> datetime:
    """`2026-11`. Raises `InvalidRequest`."""
    try:
        month = datetime.strptime(text, "%Y-%m").replace(tzinfo=UTC)
    except ValueError as error:
        raise InvalidRequest(f"{text!r} is not a month: write it as 2026-11.") from error
    if not _YEAR_MIN <= month.year <= _YEAR_MAX:
        raise InvalidRequest("A month must lie between the years 1900 and 9998.")
    return month


def _first_day(period: Period, last: datetime) -> datetime:
    match period:
        case Period.DAY:
            return last
        case Period.WEEK:
            return last - timedelta(days=6)
        case Period.MONTH:
            return Grain.MONTH.floor(last)


def _midnight(day: date) -> datetime:
    if not _YEAR_MIN <= day.year <= _YEAR_MAX:
        raise InvalidRequest("`start_date` and `end_date` must be days that a calendar has.")
    return datetime(day.year, day.month, day.day, tzinfo=UTC)
