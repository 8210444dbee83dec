"""Moments in query parameters and bodies."""

import re
from datetime import UTC, datetime
from typing import Annotated

from pydantic import AfterValidator, AwareDatetime, BeforeValidator

from s4.kernel.errors import InvalidRequest

_NUMBER = re.compile(r"\s*[+-]?[\d.]+(e[+-]?\d+)?\s*", re.IGNORECASE)


def written_out(value: object) -> object:
    """pydantic would take a number for seconds since 1970, which the contract does not know."""
    if isinstance(value, int | float) or (isinstance(value, str) and _NUMBER.fullmatch(value)):
        raise ValueError("must be a time such as 2026-01-31T12:00:00Z")
    return value


Moment = Annotated[datetime, BeforeValidator(written_out)]
"""As it was written; `aware` makes a time in UTC of it."""


def _in_utc(moment: datetime) -> datetime:
    try:
        return moment.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("must lie within the years 1 to 9999 of UTC") from error


UtcMoment = Annotated[AwareDatetime, AfterValidator(_in_utc)]
"""A field of a body: written with a zone, here in UTC."""


def aware(moment: datetime | None) -> datetime | None:
    """In UTC. Raises `InvalidRequest` for a time without a zone, and for one outside the years 1 to 9999."""
    if moment is None:
        return None
    if moment.tzinfo is None:
        raise InvalidRequest("Times need a time zone, as in 2026-01-31T12:00:00Z.")
    try:
        return _in_utc(moment)
    except ValueError as error:
        raise InvalidRequest("A time lies outside the years 1 to 9999 of UTC.") from error
