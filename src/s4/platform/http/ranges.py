"""Byte ranges, RFC 9110 section 14: one range per request.

A server may ignore `Range`, so whatever is malformed, in another unit, or asks for several ranges at once is
answered with the whole. Only a well-formed range that lies beyond the end is an error.
"""

import re
from dataclasses import dataclass

from s4.kernel.errors import RangeNotSatisfiable
from s4.platform.http.preconditions import ETag

_RANGE = re.compile(r"bytes[ \t]*=[ \t]*([0-9]*)-([0-9]*)[ \t]*", re.IGNORECASE)
_DIGITS_MAX = 18  # 10^18 bytes exceed any object; longer numbers are not worth converting


@dataclass(frozen=True, slots=True)
class ByteRange:
    """`length` bytes from `start`, of an object of `size` bytes. Never empty."""

    start: int
    length: int
    size: int

    @property
    def content_range(self) -> str:
        """The value of the answer's `Content-Range`."""
        return f"bytes {self.start}-{self.start + self.length - 1}/{self.size}"


def parse_range(
    header: str | None, *, size: int, if_range: str | None = None, etag: str | None = None
) -> ByteRange | None:
    """The range to send, or None for the whole. `etag` is the current one, in quotes.

    Raises `RangeNotSatisfiable`, whose `details["size"]` becomes `Content-Range: bytes */size`.
    """
    match = _RANGE.fullmatch(header.strip()) if header else None
    if match is None or not (match[1] or match[2]):
        return None
    if if_range is not None and not _same_representation(if_range, etag):
        return None
    if size == 0:
        return None  # clients that always send a range would otherwise never get an empty file
    if not match[1]:
        return _suffix(_number(match[2]), size)
    start = _number(match[1])
    last = _number(match[2]) if match[2] else size - 1
    if last < start and match[2]:
        return None
    if start >= size:
        raise _unsatisfiable(size)
    return ByteRange(start, min(last, size - 1) - start + 1, size)


def _suffix(length: int, size: int) -> ByteRange:
    if length == 0:
        raise _unsatisfiable(size)
    length = min(length, size)
    return ByteRange(size - length, length, size)


def _same_representation(if_range: str, etag: str | None) -> bool:
    # A date would compare at a resolution of seconds; S4 hands out entity tags only, so a date never matches.
    wanted, current = ETag.parse(if_range.strip()), ETag.parse(etag) if etag else None
    return wanted is not None and current is not None and wanted.matches_strongly(current)


def _number(digits: str) -> int:
    digits = digits.lstrip("0") or "0"
    return int(digits) if len(digits) <= _DIGITS_MAX else 10**_DIGITS_MAX


def _unsatisfiable(size: int) -> RangeNotSatisfiable:
    return RangeNotSatisfiable(
        f"The requested range lies beyond the end: the document has {size} bytes.", details={"size": size}
    )
