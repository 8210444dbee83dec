"""What a backup, its checks and a restore must not keep to themselves: what is lacking, damaged, newer, or erased."""

from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa

from s4.domains.backup import queries
from s4.domains.maintenance.deployment import write
from s4.domains.maintenance.model import REBUILDING
from s4.kernel.errors import Unavailable
from s4.platform.jobs.models import jobs
from tests.acceptance.test_backup import filled, place_settings
from tests.factories.process import OWNER


async def test_a_catalog_that_is_being_rebuilt_is_not_backed_up(tmp_path: Path) -> None:
    """It names a part of what there is; the worker's backup waits for the rest."""
    async with filled(tmp_path, **place_settings("elsewhere", tmp_path)) as (house, backups):
        await backups.create()
        await write(house.core.database, replace(house.core.deployment, state=REBUILDING))

        with pytest.raises(Unavailable, match="`s4 rebuild`"):
            await backups.create()
        await backups.request(OWNER.actor)
        await house.work()

        assert len(await backups.all()) == 1
        async with house.core.database.read() as connection:
            waiting = sa.select(jobs.c.state, jobs.c.attempts).where(jobs.c.kind == "backup.create")
            assert (await connection.execute(waiting)).all() == [("ready", 0)], "deferred"
            runs = await queries.last_runs(connection, "backup", limit=10)
            assert [run.outcome for run in runs] == ["failed", "ok"]
