"""The header `Idempotency-Key`."""

from typing import Annotated

from fastapi import Header

from s4.kernel.errors import InvalidRequest

_CHARS_MAX = 200  # a UUID has 36; what is longer is no name

IdempotencyKey = Annotated[
    str | None,
    Header(alias="Idempotency-Key", description="Repeating a request with it takes effect once within 24 hours."),
]


def checked_idempotency_key(value: str | None) -> str | None:
    """Raises `InvalidRequest`."""
    if value is not None and not 0 < len(value) <= _CHARS_MAX:
        raise InvalidRequest(f"An Idempotency-Key has 1 to {_CHARS_MAX} characters.")
    return value
