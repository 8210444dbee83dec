"""Metadata filters as SQL: typed, exact, and refused when they make no sense.

A filter is `{"field", "op", "value"}`, or `{"and": […]}`, `{"or": […]}`, `{"not": …}`. A field is a path into
the metadata (`year`, `author.name`, also written `metadata.year`) or one of the system fields in `SYSTEM_FIELDS`. On a
list a comparison holds when it holds for one element. Two dates or times with an offset are ordered as instants, other
texts by code point; equal are only equal texts. Integers are exact, whatever their size. `ne` and `nin` are the exact
negations of `eq` and `in`: a document without the field satisfies them.
"""

from collections.abc import Callable
from typing import Any, cast

import sqlalchemy as sa

from s4.domains.documents.metadata import EXACT_BELOW, FIELD_CHARS_MAX, TEXT_PREFIX_CHARS, digits, instant
from s4.domains.documents.models import document_fields, documents
from s4.kernel.clock import parse_rfc3339
from s4.kernel.errors import InvalidRequest
from s4.platform.database import unkeyed

_DEPTH_MAX = 8
_CONDITIONS_MAX = 100
_VALUES_MAX = 1000  # of one `in`
_DIGITS_MAX = 309  # of the largest double
_VALUES_TOTAL_MAX = 5000  # of a whole filter: a text takes two parameters, and SQLite bears 32,766 in a statement

SYSTEM_FIELDS: dict[str, tuple[sa.ColumnElement[Any], str]] = {
    "document_id": (documents.c.document_id, "text"),
    "key": (documents.c.key, "text"),
    "filename": (documents.c.filename, "text"),
    "content_type": (documents.c.content_type, "text"),
    "size": (documents.c.size_bytes, "number"),
    "sha256": (documents.c.sha256, "text"),
    "uploaded_at": (documents.c.uploaded_at, "time"),
    "updated_at": (documents.c.updated_at, "time"),
}

Condition = sa.ColumnElement[bool]
_f = document_fields.c
# Whoever asks has the documents already, or walks them: their values are found by the key.
_number_value = unkeyed(_f.number_value, type_=_f.number_value.type)
_text_prefix = unkeyed(_f.text_prefix, type_=_f.text_prefix.type)


def compile_filter(node: Any) -> Condition:
    """A condition on rows of `documents`. Raises `InvalidRequest` that names what is wrong."""
    return _Compiler().node(node, _DEPTH_MAX)


def any_type_equals(field: str, text: str) -> Condition:
    """For query strings, which have no types: the text, or the number or boolean that it spells."""
    matches = [_text_equals(text)]
    try:
        matches.append(_equals(_spelled(text)))
    except ValueError:
        if text in ("true", "false"):
            matches.append(sa.and_(_f.type == "boolean", _number_value == float(text == "true")))
    return _has(field, sa.or_(*matches))


def _spelled(text: str) -> int | float:
    """Raises `ValueError`."""
    return int(text) if text.removeprefix("-").isdecimal() and len(text) <= _DIGITS_MAX else float(text)


class _Compiler:
    def __init__(self) -> None:
        self._conditions = 0
        self._values = 0

    def node(self, node: Any, depth_left: int) -> Condition:
        if not isinstance(node, dict):
            raise InvalidRequest("A filter is an object with field, op and value, or with and, or, not.")
        if depth_left == 0:
            raise InvalidRequest(f"Filters may be nested {_DEPTH_MAX} deep.")
        for word, join in (("and", sa.and_), ("or", sa.or_)):
            if word in node:
                parts = node[word]
                if len(node) != 1 or not isinstance(parts, list) or not parts:
                    raise InvalidRequest(f"{word!r} takes a list of at least one filter and no other member.")
                return join(*(self.node(part, depth_left - 1) for part in parts))
        if "not" in node:
            if len(node) != 1:
                raise InvalidRequest("'not' takes one filter and no other member.")
            return sa.not_(self.node(node["not"], depth_left - 1))
        return self._leaf(node)

    def _leaf(self, node: dict[str, Any]) -> Condition:
        self._conditions += 1
        if self._conditions > _CONDITIONS_MAX:
            raise InvalidRequest(f"A filter may have {_CONDITIONS_MAX} conditions.")
        if set(node) != {"field", "op", "value"}:
            raise InvalidRequest(
                "A condition has exactly field, op and value.", details={"members": sorted(map(str, node))}
            )
        field, op, value = node["field"], node["op"], node["value"]
        if not isinstance(field, str) or not 0 < len(field) <= FIELD_CHARS_MAX or "\x00" in field:
            raise InvalidRequest("A filter's field is the name of a metadata or system field.")
        if not isinstance(op, str) or op not in _OPERATORS:
            raise InvalidRequest(
                f"Unknown filter operator {str(op)[:40]!r}.", details={"operators": sorted(_OPERATORS)}
            )
        _check_value(op, value)
        self._values += len(value) if isinstance(value, list) else 1
        if self._values > _VALUES_TOTAL_MAX:
            raise InvalidRequest(f"A filter may have {_VALUES_TOTAL_MAX} values in all.")
        if field in SYSTEM_FIELDS:
            return _system(field, op, value)
        return _OPERATORS[op](field.removeprefix("metadata."), value)


def _check_value(op: str, value: Any) -> None:
    def scalar(item: Any) -> bool:
        return isinstance(item, (str, int, float, bool)) and not (isinstance(item, str) and "\x00" in item)

    fits = {
        "eq": scalar(value),
        "ne": scalar(value),
        "contains": scalar(value) and value != "",
        "prefix": isinstance(value, str) and value != "" and scalar(value),
        "exists": isinstance(value, bool),
    }
    if op in ("gt", "gte", "lt", "lte"):
        ok = scalar(value) and not isinstance(value, bool)
    elif op in ("in", "nin"):
        ok = isinstance(value, list) and len(value) <= _VALUES_MAX and all(map(scalar, value))
    else:
        ok = fits[op]
    if not ok:
        raise InvalidRequest(f"The value does not fit the operator {op!r}.", details={"op": op, "takes": _TAKES[op]})


_TAKES = {
    "eq": "text, number or boolean",
    "ne": "text, number or boolean",
    "gt": "text or number",
    "gte": "text or number",
    "lt": "text or number",
    "lte": "text or number",
    "in": f"a list of up to {_VALUES_MAX} texts, numbers or booleans",
    "nin": f"a list of up to {_VALUES_MAX} texts, numbers or booleans",
    "exists": "true or false",
    "contains": "a non-empty text, a number or a boolean",
    "prefix": "a non-empty text",
}


# -- metadata


def _has(field: str, *conditions: Condition) -> Condition:
    return (
        sa.exists()
        .where(
            _f.tenant_id == documents.c.tenant_id,
            _f.document_id == documents.c.document_id,
            _f.field == field,
            *conditions,
        )
        .correlate(documents)
    )


def _text_equals(text: str) -> Condition:
    return sa.and_(_f.type == "text", _text_prefix == text[:TEXT_PREFIX_CHARS], _f.text_value == text)


def _equals(value: Any) -> Condition:
    if isinstance(value, str):
        return _text_equals(value)
    if isinstance(value, bool):
        return sa.and_(_f.type == "boolean", _number_value == _number(value))
    return _is_one_of([value])


def _is_one_of(numbers: list[int | float]) -> Condition:
    """A double above 2^53 stands for several integers: their digits decide, where an earlier release noted none, it."""
    exact = [float(number) for number in numbers if abs(number) < EXACT_BELOW]
    large = [number for number in numbers if abs(number) >= EXACT_BELOW]
    is_one: list[Condition] = [_number_value.in_(exact)]
    if large:
        known = sa.or_(_f.text_value.is_(None), _f.text_value.in_([digits(number) for number in large]))
        is_one.append(sa.and_(_number_value.in_([_number(number) for number in large]), known))
    return sa.and_(_f.type == "number", sa.or_(*is_one))


def _eq(field: str, value: Any) -> Condition:
    return _has(field, _equals(value))


def _in(field: str, values: list[Any]) -> Condition:
    """One IN per type: a thousand ORs would be deeper than SQLite takes."""
    texts = [value for value in values if isinstance(value, str)]
    booleans = [_number(value) for value in values if isinstance(value, bool)]
    numbers = [v for v in values if isinstance(v, (int, float)) and not isinstance(v, bool)]
    prefixes = sorted({text[:TEXT_PREFIX_CHARS] for text in texts})
    return _has(
        field,
        sa.or_(
            sa.and_(_f.type == "text", _text_prefix.in_(prefixes), _f.text_value.in_(texts)),
            _is_one_of(numbers),
            sa.and_(_f.type == "boolean", _number_value.in_(booleans)),
        ),
    )


def _ordered(compare: Callable[[Any, Any], Any]) -> Callable[[str, Any], Condition]:
    def condition(field: str, value: Any) -> Condition:
        if not isinstance(value, str):
            return _has(field, _f.type == "number", _compared(compare, value))
        as_text = compare(_f.text_value, value)
        if (moment := instant(value)) is not None:
            as_text = sa.case((_number_value.is_not(None), compare(_number_value, moment)), else_=as_text)
        return _has(field, _f.type == "text", as_text)

    return condition


def _compared(compare: Callable[[Any, Any], Any], number: int | float) -> Condition:
    """Of equal doubles the digits decide: more of them, or greater ones."""
    value, exact = _number(number), digits(number)
    if exact is None:
        return cast(Condition, compare(_number_value, value))
    known = sa.func.coalesce(_f.text_value, exact)  # an earlier release noted none
    away = sa.case(
        (known == exact, 0),
        (sa.func.length(known) != len(exact), sa.func.length(known) - len(exact)),
        (known > exact, 1),
        else_=-1,
    )
    return sa.or_(
        sa.and_(_number_value != value, compare(_number_value, value)),
        sa.and_(_number_value == value, compare(away if number > 0 else -away, 0)),
    )


def _contains(field: str, value: Any) -> Condition:
    """An element of a list, or a part of a text."""
    element = sa.and_(_f.in_list.is_(True), _equals(value))
    if not isinstance(value, str):
        return _has(field, element)
    # Not LIKE: it ignores case on SQLite and has wildcards.
    part = sa.and_(_f.in_list.is_(False), _f.type == "text", sa.func.replace(_f.text_value, value, "") != _f.text_value)
    return _has(field, sa.or_(element, part))


def _prefix(field: str, value: str) -> Condition:
    return _has(field, _f.type == "text", sa.func.substr(_f.text_value, 1, len(value)) == value)


def _exists(field: str, value: bool) -> Condition:
    """A field that is null counts as absent. A nested object exists when one of its fields does."""
    nested = sa.func.substr(_f.field, 1, len(field) + 1) == f"{field}."
    found = (
        sa.exists()
        .where(
            _f.tenant_id == documents.c.tenant_id,
            _f.document_id == documents.c.document_id,
            sa.or_(_f.field == field, nested),
            _f.type != "null",
        )
        .correlate(documents)
    )
    return found if value else sa.not_(found)


_OPERATORS: dict[str, Callable[[str, Any], Condition]] = {
    "eq": _eq,
    "ne": lambda field, value: sa.not_(_eq(field, value)),
    "gt": _ordered(lambda column, value: column > value),
    "gte": _ordered(lambda column, value: column >= value),
    "lt": _ordered(lambda column, value: column < value),
    "lte": _ordered(lambda column, value: column <= value),
    "in": _in,
    "nin": lambda field, values: sa.not_(_in(field, values)),
    "exists": _exists,
    "contains": _contains,
    "prefix": _prefix,
}


# -- system fields


def _system(field: str, op: str, value: Any) -> Condition:
    column, kind = SYSTEM_FIELDS[field]
    if op == "exists":
        return column.is_not(None) if value else column.is_(None)
    values = [_typed(field, kind, item) for item in (value if isinstance(value, list) else [value])]
    if op in ("contains", "prefix") and kind != "text":
        raise InvalidRequest(f"{op!r} does not apply to {field!r}, which is a {kind}.")
    wanted = values[0] if values else None
    conditions: dict[str, Callable[[], Any]] = {
        "eq": lambda: column == wanted,
        "ne": lambda: sa.not_(sa.func.coalesce(column == wanted, sa.false())),
        "gt": lambda: column > wanted,
        "gte": lambda: column >= wanted,
        "lt": lambda: column < wanted,
        "lte": lambda: column <= wanted,
        "in": lambda: column.in_(values),
        "nin": lambda: sa.not_(sa.func.coalesce(column.in_(values), sa.false())),
        "contains": lambda: sa.func.replace(column, wanted, "") != column,
        "prefix": lambda: sa.func.substr(column, 1, len(str(wanted))) == wanted,
    }
    return sa.func.coalesce(conditions[op](), sa.false())


def _typed(field: str, kind: str, value: Any) -> Any:
    if kind == "number" and isinstance(value, (int, float)) and not isinstance(value, bool):
        return _number(value)
    if kind == "text" and isinstance(value, str):
        return value
    if kind == "time" and isinstance(value, str):
        try:
            return parse_rfc3339(value)
        except ValueError as error:
            raise InvalidRequest(f"{field!r} is compared with an RFC 3339 time with a time zone.") from error
    raise InvalidRequest(f"{field!r} is a {kind}; the value is not.")


def _number(value: int | float | bool) -> float:
    try:
        return float(value)
    except OverflowError as error:
        raise InvalidRequest("A number in the filter is out of range.") from error
