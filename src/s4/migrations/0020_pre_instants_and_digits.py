"""Texts that are dates get their instants, and numbers of which a double is not exact their digits, for filters."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None

# As it was when this step was written; the code may move on.
ROWS_AT_ONCE = 5_000
EXACT_BELOW = 2**53
DAY, TIME = r"[0-9]{4}-[0-9]{2}-[0-9]{2}", r"[0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]{1,6})?)?"
DATE = re.compile(rf"{DAY}([T ]{TIME}(Z|[+-][0-9]{{2}}:[0-9]{{2}}))?")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
FIELDS = sa.table(
    "document_fields",
    *(
        sa.column(name, sa.String())
        for name in ("tenant_id", "document_id", "field", "type", "text_value", "text_prefix")
    ),
    sa.column("ordinal", sa.Integer()),
    sa.column("number_value", sa.Float(53)),
)
DOCUMENTS = sa.table(
    "documents",
    *(sa.column(name, sa.String()) for name in ("tenant_id", "document_id")),
    sa.column("metadata", sa.JSON().with_variant(postgresql.JSONB(), "postgresql")),
)
F, D = FIELDS.c, DOCUMENTS.c
KEY = (F.tenant_id, F.document_id, F.field, F.ordinal)


def upgrade() -> None:
    connection = op.get_bind()
    _note_instants(connection)
    _note_digits(connection)


def _note_instants(connection: sa.Connection) -> None:
    is_like = sa.and_(F.type == "text", F.text_prefix.like("____-__-__%"))
    for rows in _pages(connection, sa.select(*KEY, F.text_value).where(is_like)):
        found = [(row, instant(row.text_value)) for row in rows]
        _write(connection, "number_value", [(row, value) for row, value in found if value is not None])


def _note_digits(connection: sa.Connection) -> None:
    """Of numbers as the documents' metadata has them."""
    is_large = sa.and_(F.type == "number", sa.func.abs(F.number_value) >= EXACT_BELOW)
    wanted = sa.select(*KEY, F.number_value, D.metadata).where(
        is_large, D.tenant_id == F.tenant_id, D.document_id == F.document_id
    )
    given: tuple[Any, list[tuple[str, Any]]] = (None, [])
    for rows in _pages(connection, wanted):
        found = []
        for row in rows:
            if given[0] != (row.tenant_id, row.document_id):
                given = (row.tenant_id, row.document_id), list(numbers(row.metadata))
            here = (each for each in given[1] if each[0] == row.field and float(each[1]) == row.number_value)
            if (number := next(here, None)) is not None:
                given[1].remove(number)  # its neighbours in a list may be the same double
                found.append((row, digits(number[1])))
        _write(connection, "text_value", found)


def _pages(connection: sa.Connection, wanted: sa.Select[Any]) -> Iterator[list[Any]]:
    after = ("", "", "", -1)
    while True:
        page = wanted.where(sa.tuple_(*KEY) > sa.tuple_(*map(sa.literal, after))).order_by(*KEY).limit(ROWS_AT_ONCE)
        rows = list(connection.execute(page))
        if not rows:
            return
        yield rows
        after = tuple(rows[-1][:4])


def _write(connection: sa.Connection, column: str, values: list[tuple[Any, Any]]) -> None:
    if not values:
        return
    places = [each == sa.bindparam(f"of_{each.name}") for each in KEY]
    connection.execute(
        sa.update(FIELDS).where(*places).values({column: sa.bindparam("noted")}),
        [{f"of_{each.name}": getattr(row, each.name) for each in KEY} | {"noted": value} for row, value in values],
    )


def numbers(value: Any, field: str = "") -> Iterator[tuple[str, Any]]:
    """Those of which a double is not exact, with the path of names that leads to each."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from numbers(inner, f"{field}.{name}" if field else name)
    elif isinstance(value, list):
        for inner in value:
            yield from numbers(inner, field)
    elif isinstance(value, (int, float)) and abs(value) >= EXACT_BELOW:
        yield field, value


def digits(number: Any) -> str:
    return str(number if isinstance(number, int) else int(Decimal(repr(number))))


def instant(text: str) -> float | None:
    """Microseconds since 1970."""
    if not DATE.fullmatch(text):
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    return float((aware - EPOCH) // timedelta(microseconds=1))
