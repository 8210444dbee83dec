"""What an earlier release noted of metadata becomes what this one notes."""

import contextlib
import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from s4.domains.documents.models import document_fields as fields
from s4.domains.documents.models import documents
from s4.domains.documents.queries.filters import compile_filter
from tests.factories.house import open_house

STEP = importlib.import_module("s4.migrations.0020_pre_instants_and_digits")
LARGE = 2**53
METADATA: tuple[dict[str, Any], ...] = (
    {
        "published": "2024-01-01T12:00:00.25+02:00",
        "n": {"dates": ["2023-12-31", "2024-13-01", "2024-01-01 10:00Z", "draft"]},
    },
    {"id": LARGE + 1, "n": {"ids": [LARGE + 3, 7, LARGE + 4, LARGE + 5, -LARGE, 1e300]}, "flag": True},
    {"id": 7, "published": "2024-01-01T10:00:00", "nothing": None},
)


@contextlib.contextmanager
def connected(url: str) -> Iterator[sa.Connection]:
    parsed = sa.make_url(url)
    driver = "sqlite" if parsed.get_backend_name() == "sqlite" else "postgresql+psycopg"
    with sa.create_engine(parsed.set(drivername=driver), poolclass=sa.pool.NullPool).begin() as connection:
        yield connection


def noted(connection: sa.Connection) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in connection.execute(sa.select(fields).order_by(*fields.primary_key.columns))]


def passing(connection: sa.Connection, field: str, op: str, value: object) -> set[str]:
    """Keys of documents."""
    tree = {"field": field, "op": op, "value": value}
    return set(connection.execute(sa.select(documents.c.key).where(compile_filter(tree))).scalars())


async def test_instants_and_digits_are_noted_of_metadata_that_an_earlier_release_wrote(
    tmp_path: Path, catalog_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(STEP, "ROWS_AT_ONCE", 2)
    async with open_house(tmp_path, database_url=catalog_url) as house:
        acme = await house.tenant()
        for number, metadata in enumerate(METADATA):
            await house.put(acme, f"{number}", "text", metadata)
        with connected(catalog_url) as connection:
            now = noted(connection)
            connection.execute(sa.update(fields).where(fields.c.type == "text").values(number_value=None))
            connection.execute(sa.update(fields).where(fields.c.type == "number").values(text_value=None))
            before = noted(connection)
            assert passing(connection, "published", "lt", "2024-01-01T11:00:00Z") == {"2"}, "as texts"
            assert passing(connection, "id", "in", [LARGE]) == passing(connection, "id", "gte", LARGE) == {"1"}, (
                "as doubles"
            )
            STEP._note_instants(connection)
            STEP._note_digits(connection)
            assert noted(connection) == now
            assert passing(connection, "published", "lt", "2024-01-01T11:00:00Z") == {"0", "2"}
            assert passing(connection, "id", "in", [LARGE]) == passing(connection, "id", "in", []) == set()
            assert passing(connection, "id", "in", [LARGE + 1, 7]) == {"1", "2"}
            assert passing(connection, "n.ids", "lt", -LARGE + 1) == {"1"}
            assert sum(was != is_now for was, is_now in zip(before, now, strict=True)) == 9
