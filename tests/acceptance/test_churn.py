"""A table that is changed without end: its pieces stay few, and when it rests, its present version is what is left."""

import asyncio
from pathlib import Path

import pytest
import sqlalchemy as sa
from structlog.testing import capture_logs

from s4.domains.indexing import COMMITS_BEFORE_OPTIMIZE
from s4.domains.indexing.models import index_tables
from s4.platform.jobs.models import jobs
from tests.factories.house import House, open_house

pytestmark = pytest.mark.processes

UPLOADS = 50
"""Each a commit of its own; half as many deletes."""
GRACE_SECONDS = 1.0
WORDS = 200


async def present(house: House) -> tuple[int, int]:
    """Pieces and bytes of the version that searches open."""
    async with house.core.database.read() as connection:
        (files,) = (await connection.execute(sa.select(index_tables.c.files))).scalars()
    return sum(name.startswith("data/") for name in files), sum(size for size, _ in files.values())


def stored(house: House) -> tuple[int, int]:
    """Versions and bytes of the table in the store."""
    assert house.core.store.local_root is not None
    files = [path for path in (house.core.store.local_root / "indices").rglob("*.lance/*/**/*") if path.is_file()]
    return sum(path.suffix == ".manifest" for path in files), sum(path.stat().st_size for path in files)


async def let_pass(house: House, seconds: float) -> None:
    """Jobs that were to wait so long need not."""
    due = sa.update(jobs).values(run_at=jobs.c.created_at)
    await asyncio.sleep(seconds)  # the store stamps versions by its own clock
    await house.core.database.transact(lambda connection: connection.execute(due))
    await house.work()


async def test_pieces_stay_few_under_churn_and_space_returns_when_the_table_rests(tmp_path: Path) -> None:
    async with open_house(tmp_path, index_grace_seconds=GRACE_SECONDS) as house:
        tenant = await house.tenant()
        living = []
        for number in range(UPLOADS):
            living.append(await house.put(tenant, f"{number}", f"churn {'falcon ' * WORDS} {number}"))
            await house.work()
            if number % 2:
                await house.core.documents.delete(tenant.context, living.pop(0).document_id)
                await house.work()
            fragments, _ = await present(house)
            assert fragments <= 2 * COMMITS_BEFORE_OPTIMIZE

        await asyncio.sleep(GRACE_SECONDS)
        await house.parts.maintenance.optimize()  # as the scheduler does; the burst ended between two compactions
        await house.work()
        await let_pass(house, GRACE_SECONDS)

        fragments, present_bytes = await present(house)
        versions, stored_bytes = stored(house)
        assert fragments <= 6
        assert versions == 1
        assert stored_bytes <= 2 * present_bytes
        assert len(await house.found(tenant, "falcon", limit=100)) == len(living)
        async with house.core.database.read() as connection:
            left = (await connection.execute(sa.select(jobs.c.kind))).scalars().all()
        assert left == [], "and nobody goes on looking at it"


async def test_a_table_is_tidied_before_what_else_waits_to_be_written_to_it(tmp_path: Path) -> None:
    """Behind a queue of thousands, its pieces would be hundreds before its turn came."""
    due = sa.update(index_tables).values(commits_since_optimize=COMMITS_BEFORE_OPTIMIZE)
    async with open_house(tmp_path) as house:
        tenant = await house.tenant()
        await house.put(tenant, "first", "churn")
        await house.work()
        await house.core.database.transact(lambda connection: connection.execute(due))
        for number in range(30):
            await house.put(tenant, f"{number}", f"churn {number}")

        with capture_logs() as lines:
            await house.work()

        ended = [line["event"] for line in lines if line["event"] in ("documents.indexed", "index.optimized")]
        assert len(ended) >= 31
        assert ended.index("index.optimized") < 15
