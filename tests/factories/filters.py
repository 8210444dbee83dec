"""What the contract says of filters, in Python: the brute force that the catalog is held against."""

import operator
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from hypothesis import strategies as st

NO_SYSTEM: Mapping[str, Any] = {}


def values_of(metadata: Any) -> Iterator[tuple[str, Any, bool]]:
    """Path, scalar, and whether it stands in a list."""

    def walk(value: Any, at: str, in_list: bool) -> Iterator[tuple[str, Any, bool]]:
        if isinstance(value, dict):
            for name, inner in value.items():
                yield from walk(inner, f"{at}.{name}" if at else name, in_list)
        elif isinstance(value, list):
            for inner in value:
                yield from walk(inner, at, True)
        else:
            yield at, value, in_list

    return walk(metadata, "", False)


def kind(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, datetime):
        return "time"
    return "number" if isinstance(value, int | float) else "text" if isinstance(value, str) else "null"


def equal(left: Any, right: Any) -> bool:
    return kind(left) == kind(right) and bool(left == right)


def moment(value: Any) -> Any:
    """Of a date or a time with an offset."""
    try:
        read = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return None
    if len(value) == len("2024-01-01"):
        return read.replace(tzinfo=UTC)
    return read if read.tzinfo is not None else None


def ordered(compare: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    def holds(left: Any, right: Any) -> bool:
        if kind(left) != kind(right):
            return False
        moments = moment(left), moment(right)
        return compare(*moments) if None not in moments else compare(left, right)

    return holds


COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "eq": equal,
    "gt": ordered(operator.gt),
    "gte": ordered(operator.ge),
    "lt": ordered(operator.lt),
    "lte": ordered(operator.le),
    "in": lambda left, right: any(equal(left, item) for item in right),
    "prefix": lambda left, right: isinstance(left, str) and left.startswith(right),
}
OPERATORS = (*COMPARE, "ne", "nin", "exists", "contains")


def holds(node: Mapping[str, Any], metadata: Mapping[str, Any], system: Mapping[str, Any] = NO_SYSTEM) -> bool:
    """Whether a document with this metadata and these system fields passes."""
    if "and" in node:
        return all(holds(part, metadata, system) for part in node["and"])
    if "or" in node:
        return any(holds(part, metadata, system) for part in node["or"])
    if "not" in node:
        return not holds(node["not"], metadata, system)
    field, op, value = node["field"], node["op"], node["value"]
    if field in system:
        values = [(system[field], False)] if system[field] is not None else []
        value = _as_stored(value, system[field])
    else:
        values = [(item, in_list) for path, item, in_list in values_of(metadata) if path == field]
    if op == "ne":
        return not any(equal(item, value) for item, _ in values)
    if op == "nin":
        return not any(equal(item, wanted) for item, _ in values for wanted in value)
    if op == "exists":
        inside = [(item, in_list) for path, item, in_list in values_of(metadata) if path.startswith(f"{field}.")]
        return any(item is not None for item, _ in (*values, *inside)) is value
    if op == "contains":
        return any(
            equal(item, value) if in_list else isinstance(value, str) and isinstance(item, str) and value in item
            for item, in_list in values
        )
    return any(COMPARE[op](item, value) for item, _ in values)


def _as_stored(value: Any, stored: Any) -> Any:
    """Times are texts in a filter."""
    if not isinstance(stored, datetime) or isinstance(value, bool):
        return value
    return (
        [datetime.fromisoformat(each) for each in value] if isinstance(value, list) else datetime.fromisoformat(value)
    )


def combined(conditions: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    """Trees of them by `and`, `or` and `not`."""
    return st.recursive(
        conditions,
        lambda inner: st.one_of(
            st.fixed_dictionaries({"and": st.lists(inner, min_size=1, max_size=3)}),
            st.fixed_dictionaries({"or": st.lists(inner, min_size=1, max_size=3)}),
            st.fixed_dictionaries({"not": inner}),
        ),
        max_leaves=6,
    )
