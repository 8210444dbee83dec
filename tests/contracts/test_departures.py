"""A deleted tenant, with an index and all: nothing of it comes back by a sweep, nor by a rebuild."""

from pathlib import Path

import pytest
import sqlalchemy as sa

from s4.domains.documents.models import documents
from s4.domains.leaving.queries.erasures import GOES_WITH_ITS_TENANT
from s4.domains.maintenance import service as maintenance
from s4.kernel.errors import NotFound, Unauthenticated
from s4.platform.jobs import SYSTEM, JobRequest
from tests.factories.house import House, Tenant, open_house
from tests.factories.process import OWNER


async def rows_of(house: House, tenant: Tenant) -> dict[str, int]:
    """Rows by table, of those whose rows go with their tenant."""
    found = {}
    async with house.core.database.read() as connection:
        for table in GOES_WITH_ITS_TENANT:
            of_tenant = sa.select(sa.func.count()).where(table.c.tenant_id == tenant.context.tenant_id)
            found[table.name] = (await connection.execute(of_tenant)).scalar_one()
    return {name: count for name, count in found.items() if count}


async def sweep(house: House, kind: str) -> None:
    request = JobRequest(kind, SYSTEM, kind, {})
    await house.core.database.transact(lambda c: house.core.queue.enqueue(c, request))
    await house.work()


async def test_a_deleted_tenant_comes_back_by_no_sweep_and_by_no_rebuild(tmp_path: Path) -> None:
    async with open_house(tmp_path, tenant_delete_grace_days=0) as house:
        acme, other = await house.tenant("Acme"), await house.tenant("Other")
        await house.put(acme, "tides", "Tides follow the moon.", {"year": 2026})
        kept = await house.put(other, "tides", "Tides follow the moon.")
        await house.work()
        assert {"documents", "document_index", "index_tables"} <= set(await rows_of(house, acme))

        await house.core.lifecycle.delete(OWNER, acme.context.tenant_id)
        await sweep(house, maintenance.DEPARTURES)
        assert await rows_of(house, acme) == {}
        for kind in (maintenance.COLLECT, maintenance.RECONCILE, maintenance.OPTIMIZE, maintenance.DEPARTURES):
            await sweep(house, kind)
            assert await rows_of(house, acme) == {}, f"{kind} adopts nothing behind a tombstone"
        assert await house.found(acme, "tides") == [], "even by a context of before"
        assert await house.found(other, "tides") == [kept.document_id]

    (tmp_path / "catalog.sqlite").rename(tmp_path / "lost.sqlite")
    for companion in tmp_path.glob("catalog.sqlite-*"):
        companion.unlink()
    async with open_house(tmp_path, tenant_delete_grace_days=0) as rebuilt:
        await rebuilt.work()
        assert await rows_of(rebuilt, acme) == {}
        with pytest.raises(Unauthenticated):
            await rebuilt.known(acme.key)
        with pytest.raises(NotFound):
            await rebuilt.core.tenants.get(acme.context.tenant_id)
        assert await rebuilt.found(await rebuilt.known(other.key), "tides") == [kept.document_id]
        async with rebuilt.core.database.read() as connection:
            live = await connection.execute(sa.select(documents.c.document_id))
            assert list(live.scalars()) == [kept.document_id]
