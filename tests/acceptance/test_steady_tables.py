"""Searches take the table that the last one found; the catalog's verdict comes after, and counts."""

import shutil
from dataclasses import replace
from pathlib import Path

from s4.domains.indexing.queries.tables import table_state
from s4.domains.search.tables import Where
from s4.entrypoints.bootstrap import RANDOM
from s4.kernel.ids import new_incarnation
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


async def test_a_guess_that_cannot_be_read_is_asked_anew(tmp_path: Path) -> None:
    """As after a repair whose worker died before it removed the damaged table: its place is what was found last."""
    async with open_house(tmp_path) as house:
        acme = await house.tenant()
        document = await house.put(acme, "a", "a modern falcon")
        await house.work()
        tenant_id, generation = acme.context.tenant_id, house.core.generation
        async with house.core.database.read() as connection:
            table = await table_state(connection, tenant_id, generation.id)
        assert table is not None
        former = replace(table, incarnation=new_incarnation(RANDOM))
        root = house.core.store.local_root
        assert root is not None
        damaged = root / generation.prefix(tenant_id, former.incarnation)
        shutil.copytree(root / generation.prefix(tenant_id, table.incarnation), damaged)
        for path in (damaged / "chunks.lance" / "data").iterdir():
            path.write_bytes(bytes(path.stat().st_size))
        house.core.search._tables.note(Where(tenant_id, house.core.models.own), former)

        for _ in range(2):
            assert await house.found(acme, "falcon") == [document.document_id]


async def _statements(house: House, tenant: Tenant, text: str) -> float:
    before = metrics.DATABASE_STATEMENTS._value.get()
    assert await house.found(tenant, text)
    return metrics.DATABASE_STATEMENTS._value.get() - before
