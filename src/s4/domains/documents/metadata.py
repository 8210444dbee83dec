"""A document's metadata: a JSON object from the tenant. Validated here; flattened to rows that filters can compare."""

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from s4.kernel.errors import InvalidRequest
from s4.platform.http.strict_json import parse_json

FIELD_CHARS_MAX = 512
TEXT_PREFIX_CHARS = 120
EXACT_BELOW = 2**53
"""From here on a double stands for several integers."""

_DATE = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}([T ][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,6})?)?(Z|[+-][0-9]{2}:[0-9]{2}))?"
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class MetadataLimits:
    bytes_max: int
    depth_max: int
    values_max: int


@dataclass(frozen=True, slots=True)
class FieldValue:
    """One scalar of the metadata. `field` joins the names of nested objects with dots. A `text` that is a date has its
    `instant` for a number, a `number` of which a double is not exact has its `digits` for a text."""

    field: str
    type: str
    in_list: bool
    text: str | None = None
    number: float | None = None


def parse(text: str, limits: MetadataLimits) -> dict[str, Any]:
    """Metadata from a form field or header. Raises `InvalidRequest`."""
    if len(text) > limits.bytes_max:  # before parsing; the exact bound follows
        raise InvalidRequest(f"metadata is larger than {limits.bytes_max} bytes.")
    try:
        value = parse_json(text)
    except InvalidRequest as error:
        raise InvalidRequest(f"metadata must be a JSON object: {error.message}") from error
    return validate(value, limits)


def validate(value: Any, limits: MetadataLimits) -> dict[str, Any]:
    """Raises `InvalidRequest` for anything that is not a storable JSON object."""
    if not isinstance(value, dict):
        raise InvalidRequest("metadata must be a JSON object.")
    _check(value, limits.depth_max)
    try:
        size_bytes = len(json.dumps(value, ensure_ascii=False).encode())
    except UnicodeEncodeError as error:
        raise InvalidRequest("metadata holds text that is not valid Unicode.") from error
    if size_bytes > limits.bytes_max:
        raise InvalidRequest(f"metadata is larger than {limits.bytes_max} bytes.", details={"size": size_bytes})
    if sum(1 for _ in flatten(value)) > limits.values_max:
        raise InvalidRequest(f"metadata has more than {limits.values_max} values.")
    return value


def merge_patch(current: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """RFC 7396: null removes, an object merges, anything else replaces."""
    merged = dict(current)
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        elif isinstance(value, dict):
            old = merged.get(name)
            merged[name] = merge_patch(old if isinstance(old, dict) else {}, value)
        else:
            merged[name] = value
    return merged


def scalars(value: Any, field: str = "", *, in_list: bool = False) -> Iterator[tuple[str, Any, bool]]:
    """Each with the path of names that leads to it, and whether it stands in a list."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from scalars(inner, f"{field}.{name}" if field else name, in_list=in_list)
    elif isinstance(value, list):
        for inner in value:
            yield from scalars(inner, field, in_list=True)
    else:
        yield field, value, in_list


def flatten(value: Any, field: str = "") -> Iterator[FieldValue]:
    for path, scalar, in_list in scalars(value, field):
        if isinstance(scalar, bool):
            yield FieldValue(path, "boolean", in_list, number=float(scalar))
        elif isinstance(scalar, (int, float)):
            yield FieldValue(path, "number", in_list, text=digits(scalar), number=float(scalar))
        elif isinstance(scalar, str):
            yield FieldValue(path, "text", in_list, text=scalar, number=instant(scalar))
        else:
            yield FieldValue(path, "null", in_list)


def instant(text: str) -> float | None:
    """Microseconds since 1970 of an ISO 8601 date, which is its midnight in UTC, or of a time with an offset; None for
    any other text. Exact from 1685 to 2255."""
    if not _DATE.fullmatch(text):
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:  # there is no such day, or hour
        return None
    aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return float((aware - _EPOCH) // timedelta(microseconds=1))


def digits(number: float) -> str | None:
    """A number that a double does not tell from its neighbours, in decimal; None for any other."""
    if abs(number) < EXACT_BELOW:
        return None
    return str(number if isinstance(number, int) else int(Decimal(repr(number))))


def _check(value: Any, depth_left: int, path_chars: int = 0) -> None:
    if isinstance(value, str):
        if "\x00" in value:
            raise InvalidRequest("metadata must not hold NUL characters.")
        return
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        try:
            finite = math.isfinite(float(value))
        except OverflowError:
            finite = False
        if not finite:
            raise InvalidRequest("metadata holds a number that is out of range.")
        return
    if not isinstance(value, (dict, list)):
        return
    if depth_left == 0:
        raise InvalidRequest("metadata is nested too deeply.")
    if isinstance(value, list):
        for inner in value:
            _check(inner, depth_left - 1, path_chars)
        return
    for name, inner in value.items():
        chars = path_chars + len(name) + 1
        if not name or "\x00" in name or chars > FIELD_CHARS_MAX:
            raise InvalidRequest(
                f"metadata field names, joined by dots, must have 1 to {FIELD_CHARS_MAX} characters and no NUL."
            )
        _check(inner, depth_left - 1, chars)
