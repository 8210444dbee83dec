"""JSON as RFC 8259 means it, for Python's parser takes more than databases and other parsers give back.

Refused are: other encodings than UTF-8, NaN and infinities (also `1e999`, which Python reads as one), lone
surrogates, which no UTF-8 can carry, the NUL character, which PostgreSQL cannot store in text, and an object that has
a name twice, of which each parser keeps another value.
"""

import json
import math
import re
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, NoReturn

from pydantic import BeforeValidator

from s4.kernel.errors import InvalidRequest

_NAME_CHARS_MAX = 100  # of a name that an answer repeats

# Values that `json` would let pass show in the text as one of these.
_SUSPICIOUS = re.compile(rb"\\u(?:0000|[dD][89a-fA-F])|NaN|Infinity|[eE]\+?[0-9]{3}|[0-9]{300}")
_SURROGATE_OR_NUL = re.compile("[\ud800-\udfff\x00]")


def _no_other_type(value: object) -> object:
    if isinstance(value, bool | str):
        raise ValueError("must be a number")
    return value


JSON_NUMBER = BeforeValidator(_no_other_type)
"""Stands last in `Annotated[int, Field(...), JSON_NUMBER]`. pydantic alone would take `"5"` and `true` for numbers."""


def _text(value: object) -> object:
    if not isinstance(value, str):
        raise ValueError("must be a text")
    return value


JSON_TEXT = BeforeValidator(_text)
"""Stands last in `Annotated[AwareDatetime, JSON_TEXT]`. pydantic alone would take a number for seconds since 1970."""


NOT_BLANK = r"[^\s\u0085]"
"""A pattern for strings that lose their blanks at both ends, so that the schema too says that something must stay."""


def parse_json(raw: bytes | str) -> Any:
    """The value. Raises `InvalidRequest`, which quotes nothing of what was sent but a name that stands twice."""
    try:
        text = raw if isinstance(raw, str) else raw.decode("utf-8")
        value = json.loads(
            text, parse_constant=_refuse_constant, parse_float=_finite, object_pairs_hook=_without_duplicates
        )
    except (ValueError, RecursionError) as error:
        raise InvalidRequest("This is not valid JSON in UTF-8, or it is nested too deeply.") from error
    if any(_SURROGATE_OR_NUL.search(text) for text in _strings(value)):
        raise InvalidRequest("The JSON contains a NUL character or half of a surrogate pair.")
    return value


def check_json(raw: bytes) -> None:
    """Raises `InvalidRequest` where Python's own parser would let pass what `parse_json` refuses."""
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidRequest("The body is not JSON in UTF-8.") from error
    if "\x00" in text:  # UTF-16 and UTF-32, which Python would guess
        raise InvalidRequest("The body is not JSON in UTF-8.")
    if _SUSPICIOUS.search(raw):
        parse_json(text)
    else:
        with suppress(ValueError, RecursionError):  # FastAPI says where it breaks, so that the answer is a 422
            json.loads(text, object_pairs_hook=_without_duplicates)


def _strings(value: Any) -> Iterator[str]:
    pending = [value]
    while pending:  # ends: parsed JSON is a finite tree
        item = pending.pop()
        if isinstance(item, str):
            yield item
        elif isinstance(item, dict):
            yield from item
            pending.extend(item.values())
        elif isinstance(item, list):
            pending.extend(item)


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for name, item in pairs:
        if name in value:
            raise InvalidRequest(f"The name {name[:_NAME_CHARS_MAX]!r} stands twice in one JSON object; send it once.")
        value[name] = item
    return value


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError("a number too large for a float")
    return number
