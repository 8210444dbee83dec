"""What all tables share: one `MetaData`, names for constraints, and two column types that behave alike everywhere."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from functools import cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.ext.compiler import compiles

from s4.kernel.clock import parse_rfc3339, rfc3339

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

JsonValue = sa.JSON().with_variant(postgresql.JSONB(), "postgresql")

PlainText = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")
"""Text that compares and sorts by code point on both databases, so that filters mean the same on either."""


class UtcDateTime(sa.types.TypeDecorator[datetime]):
    """An aware moment in UTC: `timestamptz` on PostgreSQL, sortable RFC 3339 text on SQLite."""

    impl = sa.String(27)
    cache_ok = True

    def load_dialect_impl(self, dialect: sa.Dialect) -> sa.types.TypeEngine[Any]:
        if dialect.name == "postgresql":
            return dialect.type_descriptor(postgresql.TIMESTAMP(timezone=True))
        return dialect.type_descriptor(sa.String(27))

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> Any:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a naive time must not reach the catalog")
        return value if dialect.name == "postgresql" else rfc3339(value)

    def process_result_value(self, value: Any, dialect: sa.Dialect) -> datetime | None:  # noqa: ARG002 (SQLAlchemy's)
        if value is None:
            return None
        return value.astimezone(UTC) if isinstance(value, datetime) else parse_rfc3339(value)


class unkeyed(sa.sql.functions.GenericFunction[Any]):  # noqa: N801 (a function of SQL)
    """A column that is compared without an index of its own, where a better one serves the rest of the statement.

    SQLite 3.40, which keeps no statistics here, takes a range of a value for narrower than the whole key of a row: it
    walked 3,000 rows for each of 10,000 documents, 23 s of processor where the key takes 0.07. A unary plus tells it
    (https://www.sqlite.org/optoverview.html, 1.2). PostgreSQL knows better by itself.
    """

    inherit_cache = True


@compiles(unkeyed)
def _as_it_is(element: unkeyed, compiler: Any, **options: Any) -> str:
    return str(compiler.process(element.clauses.clauses[0], **options))


@compiles(unkeyed, "sqlite")
def _with_a_plus(element: unkeyed, compiler: Any, **options: Any) -> str:
    return f"+{compiler.process(element.clauses.clauses[0], **options)}"


def upsert(
    connection: AsyncConnection,
    table: sa.Table,
    values: Mapping[str, Any],
    *,
    conflict: Sequence[str],
    update: Mapping[str, Any] | None = None,
) -> sa.Insert:
    """`INSERT … ON CONFLICT (conflict) DO UPDATE SET update`, or `DO NOTHING` without `update`."""
    postgres = connection.dialect.name == "postgresql"
    insert = postgresql.insert(table) if postgres else sqlite.insert(table)
    statement = insert.values(dict(values))
    if update is None:
        return statement.on_conflict_do_nothing(index_elements=list(conflict))
    return statement.on_conflict_do_update(index_elements=list(conflict), set_=dict(update))


def adding(
    connection: AsyncConnection,
    table: sa.Table,
    *,
    conflict: Sequence[str],
    added: Sequence[str],
    replaced: Sequence[str] = (),
) -> sa.Insert:
    """`INSERT … ON CONFLICT (conflict) DO UPDATE` that adds the columns `added` to what is there and overwrites
    `replaced`. For many rows at once: give them in one order everywhere, or two transactions may wait for each
    other's."""
    return _adding(connection.dialect.name == "postgresql", table, tuple(conflict), tuple(added), tuple(replaced))


@cache
def _adding(
    postgres: bool, table: sa.Table, conflict: tuple[str, ...], added: tuple[str, ...], replaced: tuple[str, ...]
) -> sa.Insert:
    """Made once: every process adds usage every few seconds, and to make one takes longer than to execute it."""
    insert = postgresql.insert(table) if postgres else sqlite.insert(table)
    changes = {name: table.c[name] + insert.excluded[name] for name in added}
    changes |= {name: insert.excluded[name] for name in replaced}
    return insert.on_conflict_do_update(index_elements=list(conflict), set_=changes)


def newer(connection: AsyncConnection, table: sa.Table, *, conflict: Sequence[str], by: str) -> sa.Insert:
    """`INSERT … ON CONFLICT (conflict) DO UPDATE` of all columns, where `by` grows. For many rows at once, as above."""
    postgres = connection.dialect.name == "postgresql"
    insert = postgresql.insert(table) if postgres else sqlite.insert(table)
    changes = {column.name: insert.excluded[column.name] for column in table.columns if column.name not in conflict}
    grows = insert.excluded[by] > table.c[by]
    return insert.on_conflict_do_update(index_elements=list(conflict), set_=changes, where=grows)


def merging(
    connection: AsyncConnection,
    table: sa.Table,
    *,
    conflict: Sequence[str],
    merged: Callable[[Any], Mapping[str, Any]],
) -> sa.Insert:
    """`INSERT … ON CONFLICT (conflict) DO UPDATE` of what `merged`, a function of a module, makes of the columns of the
    row that could not be inserted. For many rows at once, as above."""
    return _merging(connection.dialect.name == "postgresql", table, tuple(conflict), merged)


@cache
def _merging(
    postgres: bool, table: sa.Table, conflict: tuple[str, ...], merged: Callable[[Any], Mapping[str, Any]]
) -> sa.Insert:
    """Made once, as above."""
    insert = postgresql.insert(table) if postgres else sqlite.insert(table)
    return insert.on_conflict_do_update(index_elements=list(conflict), set_=dict(merged(insert.excluded)))
