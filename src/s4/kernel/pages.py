"""Paging: numbered pages for people, cursors for programs."""

import base64
import binascii
import json
from dataclasses import dataclass

from s4.kernel.errors import InvalidRequest

PAGE_LIMIT_MAX = 1000
PAGE_LIMIT_DEFAULT = 50


@dataclass(frozen=True, slots=True)
class PageRequest:
    """Either `cursor`, or `page` counted from 1; `limit` rows at most."""

    page: int = 1
    limit: int = PAGE_LIMIT_DEFAULT
    cursor: str | None = None

    @property
    def offset(self) -> int:
        return (self.page - 1) * self.limit


def encode_cursor(*position: str) -> str:
    """Opaque to the caller; holds the sort position of the last row that was seen."""
    raw = json.dumps(position, separators=(",", ":"), ensure_ascii=False).encode()
    return base64.urlsafe_b64encode(raw).decode("ascii").rstrip("=")


def decode_cursor(cursor: str, *, parts: int) -> tuple[str, ...]:
    """Raises `InvalidRequest` for anything that `encode_cursor` did not make."""
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        position = json.loads(raw)
    except (binascii.Error, ValueError, RecursionError) as error:
        raise InvalidRequest("The cursor is not one that S4 returned.") from error
    if not isinstance(position, list) or len(position) != parts or not all(isinstance(p, str) for p in position):
        raise InvalidRequest("The cursor is not one that S4 returned.")
    return tuple(position)
