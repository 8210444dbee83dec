"""Every filter on ten thousand documents, against brute force: what passes, from one of them to all, and a full page of
it whatever else is nearer to the query."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from s4.domains.documents.queries.filters import SYSTEM_FIELDS, compile_filter
from s4.domains.search import queries
from s4.domains.search.model import Query
from s4.engine.ranking import Mode
from tests.factories.filters import OPERATORS, combined, holds
from tests.factories.house import House, Tenant, open_house
from tests.factories.shelves import EPOCH, WORD, Shelved, fill

pytestmark = pytest.mark.processes

DOCUMENTS = 10_000
LIMIT = 20


def metadata_of(number: int) -> dict[str, Any]:
    """Each value is there once, ten, a hundred, a thousand times, or nearly always."""
    return {
        "number": number,
        "text": f"w{number:05d}",
        "date": (EPOCH + timedelta(days=number % 1000)).date().isoformat(),
        "flag": number % 2 == 0,
        "tags": [f"t{number % 10}", f"h{number % 100}", f"k{number % 1000}"],
        "deep": {"number": [number % 7, number / 2, None], **({"rare": True} if number == 4711 else {})},
        **({"often": "yes"} if number % 10_000 else {}),
    }


@dataclass
class Shelf:
    house: House
    tenant: Tenant
    documents: list[Shelved]
    """The nearest first."""

    async def passing(self, tree: dict[str, Any]) -> list[str] | None:
        core = self.house.core
        async with core.database.read() as connection:
            return await queries.matching_ids(
                connection, self.tenant.context, core.generation.id, compile_filter(tree), at_most=DOCUMENTS
            )

    async def page(self, tree: dict[str, Any], mode: Mode) -> list[str]:
        query = Query(WORD, mode=mode, limit=LIMIT, filters=tree, with_passages=False)
        answer = await self.house.core.search.search(self.tenant.context, query)
        return [result.document.document_id for result in answer.results]

    async def check(self, tree: dict[str, Any], mode: Mode) -> int:
        """Answers with how many pass."""
        expected = [each.document_id for each in self.documents if holds(tree, each.metadata, each.system)]
        assert sorted(await self.passing(tree) or []) == sorted(expected)
        page = await self.page(tree, mode)
        assert len(page) == len(set(page)) == min(LIMIT, len(expected)), "full whenever so many exist"
        assert set(page) <= set(expected)
        if mode is Mode.SEMANTIC and len(expected) <= 2_000:
            assert page == expected[:LIMIT], "the nearest that pass, in order"
        return len(expected)


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
async def shelf(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Shelf]:
    place: Path = tmp_path_factory.mktemp("shelf")
    server = request.getfixturevalue("postgres_server") if request.param == "postgres" else None
    own = {"database_url": server.new_database()} if server is not None else {}
    async with open_house(place, **own) as house:
        tenant = await house.tenant()
        yield Shelf(house, tenant, await fill(house, tenant, [metadata_of(n) for n in range(DOCUMENTS)]))


METADATA_FIELDS: dict[str, list[Any]] = {
    "number": [9_999, 5_000],
    "text": ["w04711", "w0"],
    "date": ["2026-06-01", "2026"],
    "flag": [True],
    "tags": ["k999", "t3"],
    "deep.number": [4_999.5, 3],
    "deep.rare": [True],
    "often": ["yes"],
    "absent": ["x", 1],
}
SYSTEM_VALUES: dict[str, list[Any]] = {
    "document_id": ["doc_a", "doc_"],
    "key": ["shelf/77/77", "shelf/"],
    "filename": ["04711.txt", ".md"],
    "content_type": ["text/markdown", "text/p"],
    "size": [1, 5_000],
    "sha256": [f"{4711:064x}", "0" * 60],
    "uploaded_at": ["2026-01-01T00:01:00Z", "2026-01-04T00:00:00+01:00"],
    "updated_at": ["2026-01-01T01:00:00Z", "2027-01-01T00:00:00Z"],
}
VALUES = METADATA_FIELDS | SYSTEM_VALUES


def fitting(field: str, op: str, values: list[Any]) -> list[Any]:
    """Values of a condition, as API.md lets them be."""
    kinds = (str,) if field in ("uploaded_at", "updated_at") else (str, int, float)
    if op == "exists":
        return [True, False]
    if op in ("in", "nin"):
        return [[], values]
    if op in ("gt", "gte", "lt", "lte"):
        return [value for value in values if isinstance(value, kinds) and not isinstance(value, bool)]
    if field in SYSTEM_FIELDS and SYSTEM_FIELDS[field][1] != "text" and op in ("contains", "prefix"):
        return []
    return [value for value in values if isinstance(value, str)] if op == "prefix" else values


@pytest.mark.parametrize("field", VALUES)
async def test_every_operator_on_every_field(shelf: Shelf, field: str) -> None:
    assert set(SYSTEM_VALUES) == set(SYSTEM_FIELDS)
    for op in OPERATORS:
        for value in fitting(field, op, VALUES[field]):
            await shelf.check({"field": field, "op": op, "value": value}, Mode.SEMANTIC)


@pytest.mark.parametrize("mode", [Mode.SEMANTIC, Mode.KEYWORD, Mode.HYBRID])
@pytest.mark.parametrize("passing", [1, 100, 2_000, 2_001, 9_999])
async def test_a_page_is_full_also_when_what_passes_is_what_is_farthest(shelf: Shelf, mode: Mode, passing: int) -> None:
    tree = {"field": "number", "op": "gte", "value": DOCUMENTS - passing}
    assert await shelf.check(tree, mode) == passing


conditions = st.sampled_from(
    [
        {"field": field, "op": op, "value": value}
        for field, values in VALUES.items()
        for op in OPERATORS
        for value in fitting(field, op, values)
    ]
)
trees = combined(conditions)


@settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(tree=trees, mode=st.sampled_from([Mode.SEMANTIC, Mode.KEYWORD, Mode.HYBRID]))
async def test_any_combination_selects_what_brute_force_selects(shelf: Shelf, tree: dict[str, Any], mode: Mode) -> None:
    await shelf.check(tree, mode)
