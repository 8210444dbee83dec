"""A table that is changed without end: its pieces stay few, and what was superseded goes once more is written."""

import asyncio
from datetime import timedelta
from functools import partialmethod
from pathlib import Path

import pytest
import sqlalchemy as sa

from s4.domains.indexing import COMMITS_BEFORE_OPTIMIZE
from s4.domains.indexing import jobs as index_jobs
from s4.domains.indexing.models import index_tables
from s4.engine.vectors import TableWriter
from tests.factories.house import House, Tenant, open_house

pytestmark = pytest.mark.processes

ROUNDS = 2
UPLOADS = 25
"""Of a round, each a commit of its own; half as many deletes."""
MARGIN = timedelta(seconds=2)


async def present(house: House) -> int:
    """Pieces of the version that searches open."""
    async with house.core.database.read() as connection:
        (files,) = (await connection.execute(sa.select(index_tables.c.files))).scalars()
    return sum(name.startswith("data/") for name in files)


def stored(house: House) -> int:
    """Versions of the table in the store."""
    assert house.core.store.local_root is not None
    return len(list((house.core.store.local_root / "indices").rglob("*.manifest")))


async def compacted(house: House, tenant: Tenant) -> None:
    request = index_jobs.optimize(tenant.context.tenant_id, house.core.generation.id)
    await house.core.database.transact(lambda connection: house.core.queue.enqueue(connection, request))
    await house.work()


async def test_pieces_and_versions_stay_bounded_under_churn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(TableWriter, "optimize", partialmethod(TableWriter.optimize, margin=MARGIN))
    async with open_house(tmp_path, index_grace_seconds=0.5) as house:
        tenant = await house.tenant()
        living = []
        for turn in range(ROUNDS):
            for number in range(UPLOADS):
                living.append(await house.put(tenant, f"{turn}-{number}", f"churn {'falcon ' * 200}{turn} {number}"))
                await house.work()
                if number % 2:
                    await house.core.documents.delete(tenant.context, living.pop(0).document_id)
                    await house.work()
                fragments = await present(house)
                assert fragments <= 2 * COMMITS_BEFORE_OPTIMIZE

        for number in range(2):  # what is written now supersedes the rest; the second time that is long enough ago
            await asyncio.sleep(MARGIN.total_seconds() + 1)  # LanceDB stamps and compares by the machine's clock
            living.append(await house.put(tenant, f"later-{number}", "churn falcon"))
            await house.work()
            await compacted(house, tenant)

        fragments = await present(house)
        versions = stored(house)
        assert fragments <= 2
        assert versions <= COMMITS_BEFORE_OPTIMIZE
        assert len(await house.found(tenant, "falcon", limit=100)) == min(100, len(living))
