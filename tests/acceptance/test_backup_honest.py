"""What a backup, its checks and a restore must not keep to themselves: what is lacking, damaged, newer, or erased."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from s4.domains.audit import Sealer
from s4.domains.backup import queries
from s4.domains.maintenance.deployment import write
from s4.domains.maintenance.model import REBUILDING
from s4.domains.plans import Plan
from s4.entrypoints.bootstrap import RANDOM, open_worker
from s4.kernel import keys
from s4.kernel.errors import Unavailable
from s4.kernel.keys import Collection, ObjectKey
from s4.platform.jobs.models import jobs
from tests.acceptance.test_backup import filled, place_settings
from tests.factories.house import House
from tests.factories.process import OWNER


async def test_a_catalog_that_is_being_rebuilt_is_not_backed_up(tmp_path: Path) -> None:
    """It names a part of what there is; the worker's backup waits for the rest."""
    async with filled(tmp_path, **place_settings("elsewhere", tmp_path)) as (house, backups):
        await backups.create()
        await write(house.core.database, replace(house.core.deployment, state=REBUILDING))

        with pytest.raises(Unavailable, match="`s4 rebuild`"):
            await backups.create()
        await backups.request(OWNER.actor)
        async with open_worker(house.core, backups=backups) as parts:
            await parts.worker.run_until_idle()

        assert len(await backups.all()) == 1
        async with house.core.database.read() as connection:
            waiting = sa.select(jobs.c.state, jobs.c.attempts).where(jobs.c.kind == "backup.create")
            assert (await connection.execute(waiting)).all() == [("ready", 0)], "deferred"
            runs = await queries.last_runs(connection, "backup", limit=10)
            assert [run.outcome for run in runs] == ["failed", "ok"]


async def test_a_record_that_the_bucket_has_lost_is_told_of(tmp_path: Path) -> None:
    """Whatever a rebuild reads: the backup of a part of it would lock a tenant out, or lose the audit trail."""
    async with filled(tmp_path, **place_settings("elsewhere", tmp_path)) as (house, backups):
        acme = await house.tenant("Initech")
        tenant_id = acme.context.tenant_id
        old = await house.put(acme, "old", "first")
        await house.put(acme, "old", "second")
        await house.core.plans.create(OWNER, Plan("gold", "Gold"))
        await house.work()
        await Sealer(house.core.database, house.core.store, RANDOM, every=timedelta(1)).seal()
        assert (await backups.create()).lacking == ()
        lost = [
            keys.system_head(Collection.PLANS, "gold", 1),
            keys.document_head(tenant_id, old.document_id, 1),
            keys.audit_batch(1),
        ]
        await house.core.store.delete(lost)

        manifest = await backups.create()

        assert sorted(manifest.lacking) == sorted(lost)


@pytest.mark.parametrize("was_backed_up", [True, False])
async def test_a_head_that_is_damaged_is_not_backed_up(tmp_path: Path, was_backed_up: bool) -> None:
    """A former backup's copy of it is; where there is none, it is lacking."""
    async with filled(tmp_path, **place_settings("elsewhere", tmp_path)) as (house, backups):
        acme = await house.tenant("Initech")
        document = await house.put(acme, "one", "of this one")
        await house.work()
        if was_backed_up:
            await backups.create()
        heads = [
            keys.document_head(acme.context.tenant_id, document.document_id, 1),
            keys.tenant_head(acme.context.tenant_id, 1),
        ]
        for key in heads:
            await damage(house, key)

        manifest = await backups.create()

        assert sorted(manifest.lacking) == ([] if was_backed_up else sorted(heads))
        assert (await backups.drill()).ok is was_backed_up


async def damage(house: House, key: ObjectKey) -> None:
    """One byte of it: still JSON, and nobody's head."""
    data = await house.core.store.get(key)
    await house.core.store.put(key, data.replace(b'"commit_id"', b'"commit_ie"'))
