"""A table that is changed without end: what it takes in the store, in pieces and in versions stays bounded."""

import asyncio
import json
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

ROUNDS = 3
UPLOADS = 25
"""Of a round, each a commit of its own; half as many deletes."""
MARGIN = timedelta(seconds=2)


async def present(house: House) -> tuple[int, int]:
    """Pieces and bytes of the version that searches open."""
    async with house.core.database.read() as connection:
        (files,) = (await connection.execute(sa.select(index_tables.c.files))).scalars()
    known = json.loads(files) if isinstance(files, str) else files
    return sum(name.startswith("data/") for name in known), sum(size for size, _ in known.values())


def stored(house: House) -> tuple[int, int]:
    """Versions and bytes of the table in the store."""
    assert house.core.store.local_root is not None
    files = [path for path in (house.core.store.local_root / "indices").rglob("*") if path.is_file()]
    versions = [path for path in files if path.suffix == ".manifest"]
    return len(versions), sum(path.stat().st_size for path in files if "chunks.lance" in path.parts)


async def compacted(house: House, tenant: Tenant) -> None:
    request = index_jobs.optimize(tenant.context.tenant_id, house.core.generation.id)
    await house.core.database.transact(lambda connection: house.core.queue.enqueue(connection, request))
    await house.work()


async def test_space_pieces_and_versions_stay_bounded_under_churn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
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
                fragments, _ = await present(house)
                assert fragments <= 2 * COMMITS_BEFORE_OPTIMIZE

        for _ in range(2):  # the first supersedes what is there, the second removes that
            await compacted(house, tenant)
            await asyncio.sleep(MARGIN.total_seconds() + 1)  # LanceDB stamps and compares by the machine's clock
        await compacted(house, tenant)

        fragments, live_bytes = await present(house)
        versions, space_bytes = stored(house)
        assert fragments <= 2
        assert versions <= COMMITS_BEFORE_OPTIMIZE
        assert space_bytes < 2 * live_bytes
        assert len(await house.found(tenant, "falcon", limit=100)) == min(100, len(living))
