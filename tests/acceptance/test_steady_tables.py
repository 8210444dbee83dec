"""Searches take the table that the last one found; the catalog's verdict comes after, and counts."""

from pathlib import Path

from s4.platform.telemetry import metrics
from tests.factories.house import House, Tenant, open_house


async def test_a_search_of_a_table_that_does_not_move_asks_the_catalog_once(tmp_path: Path) -> None:
    async with open_house(tmp_path) as house:
        acme = await house.tenant()
        await house.put(acme, "a", "a modern falcon")
        await house.work()
        first = await _statements(house, acme, "falcon")
        steady = await _statements(house, acme, "falcon")
        assert steady < first

        other = await house.put(acme, "b", "another falcon")
        await house.work()

        assert other.document_id in await house.found(acme, "falcon"), "what is ready is found, whatever was guessed"
        await house.core.documents.delete(acme.context, other.document_id)
        assert other.document_id not in await house.found(acme, "falcon")
        await house.work()
        assert len(await house.found(acme, "falcon")) == 1


async def _statements(house: House, tenant: Tenant, text: str) -> float:
    before = metrics.DATABASE_STATEMENTS._value.get()
    assert await house.found(tenant, text)
    return metrics.DATABASE_STATEMENTS._value.get() - before
