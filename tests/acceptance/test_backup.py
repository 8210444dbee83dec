"""Backups through the real wiring: what is in them while others write, what they cost, and what damage does to them."""

import asyncio
import contextlib
import errno
import random
import shutil
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from s4.domains.backup import BackupService, Erased, Restorer, queries
from s4.domains.backup.model import Manifest, Retention, Sample
from s4.domains.backup.place import Place
from s4.domains.backup.pruner import Pruner
from s4.domains.leaving import ErasureState
from s4.domains.maintenance.holds import Holds
from s4.domains.plans.model import Plan
from s4.entrypoints.bootstrap import RANDOM, make_backups, newest_backup_made, open_place, open_restored
from s4.entrypoints.configuration import load_settings
from s4.entrypoints.operations import refresh_gauges
from s4.kernel import keys
from s4.kernel.clock import SystemClock
from s4.kernel.errors import Conflict, DataCorrupt, InvalidRequest, NotFound, S4Error, Unauthenticated, Unavailable
from s4.kernel.keys import Collection
from s4.kernel.settings import Settings
from s4.kernel.units import KIB
from s4.platform.jobs.models import leases
from s4.platform.objects import open_store
from s4.platform.telemetry import metrics
from tests.acceptance.conftest import Command
from tests.factories.house import House, Tenant, open_house
from tests.factories.process import OWNER

KEY = "0123456789abcdef" * 4
LARGE = random.Random(1).randbytes(300 * KIB)
"""More than goes into a pack, and nothing that anybody can read."""
PLACES = ("beside", "elsewhere", "encrypted")


def place_settings(kind: str, folder: Path) -> dict[str, Any]:
    """In the same store, in another, and encrypted there."""
    said: dict[str, Any] = {} if kind == "beside" else {"backup_url": (folder / "elsewhere").as_uri()}
    return said | ({"backup_encryption_key": KEY} if kind == "encrypted" else {})


@contextlib.asynccontextmanager
async def filled(folder: Path, **settings: Any) -> AsyncIterator[tuple[House, BackupService]]:
    """A deployment with two tenants and what they uploaded, indexed."""
    async with open_house(folder / "data", **settings) as house:
        acme, globex = await house.tenant("Acme"), await house.tenant("Globex")
        for number in range(5):
            await house.put(acme, f"tides-{number}", f"Tides follow the moon, says page {number}.")
        await house.put(globex, "large", LARGE, content_type="application/octet-stream")
        await house.work()
        yield house, make_backups(house.core)


def settings_of(folder: Path, name: str, house: House, **changes: Any) -> Settings:
    """Of an empty deployment that reads the same place, on a machine of its own."""
    its = house.core.settings
    return load_settings(
        data_dir=folder / name,
        embedding_provider="deterministic",
        backup_url=its.backup_url or its.store_url,
        backup_encryption_key=its.backup_encryption_key,
        admin_api_key=its.admin_api_key,
        secret_key=its.secret_key,
        **changes,
    )


async def restored(settings: Settings, erased: Erased | None = None) -> Any:
    """Into the empty deployment of `settings`."""
    target = open_store(settings)
    try:
        async with open_place(settings) as place:
            restorer = Restorer(place, target, SystemClock(), RANDOM)
            manifest = await place.find("latest")
            return await restorer.restore(manifest, erased or Erased(), lambda: open_restored(settings))
    finally:
        await target.aclose()


async def test_what_the_bucket_has_lost_keeps_nothing_else_from_being_backed_up(tmp_path: Path) -> None:
    """And what a former backup has of it is kept."""
    async with filled(tmp_path, **place_settings("elsewhere", tmp_path)) as (house, backups):
        acme = await house.tenant("Initech")
        old = await house.put(acme, "old", "was backed up once")
        await backups.create()
        new = await house.put(acme, "new", "never was")
        await house.work()
        for document in (old, new):
            key = keys.content(acme.context.tenant_id, document.document_id, document.version_id)
            await house.core.store.put(key, b"rotten")

        manifest = await backups.create()

        assert [new.document_id in key for key in manifest.lacking] == [True]
        assert manifest.counts.documents == 8
        found = await backups.verify("latest")
        assert found.problems == [f"The bucket lacked {manifest.lacking[0]} when the backup was made."]


@pytest.mark.parametrize("kind", PLACES)
async def test_a_backup_brings_everything_back_on_an_empty_machine(tmp_path: Path, kind: str) -> None:
    async with filled(tmp_path, **place_settings(kind, tmp_path)) as (house, backups):
        manifest = await backups.create()
        assert manifest.lacking == ()
        assert (manifest.counts.tenants, manifest.counts.documents) == (2, 6)
        assert manifest.samples.entries == 5, "all that have a text"
        found = await backups.verify("latest")
        assert (found.problems, found.objects) == ([], found.objects_read)
        settings = settings_of(tmp_path, "fresh", house)
        tenants = [tenant.tenant_id for tenant in (await house.core.tenants.page(page_of(100)))[0]]

    done = await restored(settings)

    assert done.problems == []
    assert (done.counts.documents, done.samples) == (6, 5)
    async with open_house(tmp_path / "fresh") as fresh:
        assert sorted(tenants) == sorted(t.tenant_id for t in (await fresh.core.tenants.page(page_of(100)))[0])
        assert fresh.core.deployment.epoch != manifest.epoch
        assert fresh.core.deployment.state == "serving"


async def test_keys_work_and_documents_are_found_after_a_restore(tmp_path: Path) -> None:
    async with open_house(tmp_path / "data", **place_settings("elsewhere", tmp_path)) as house:
        acme = await house.tenant()
        document = await house.put(acme, "tides", "Tides follow the moon.", {"year": 2024})
        await house.work()
        await make_backups(house.core).create()
        settings = settings_of(tmp_path, "fresh", house)

    assert (await restored(settings)).ok

    async with open_house(tmp_path / "fresh") as fresh:
        again = await fresh.known(acme.key)
        assert await fresh.found(again, "moon") == [document.document_id]
        (back,) = await fresh.all(again)
        assert (back.key, back.metadata, back.revision) == ("tides", {"year": 2024}, document.revision)
        assert back.uploaded_at == document.uploaded_at


async def test_what_comes_after_the_point_is_not_in_it_however_long_copying_takes(tmp_path: Path) -> None:
    """While it copies, a document is replaced, one is deleted, one is new, and the collector has no patience."""
    async with filled(tmp_path, garbage_grace_seconds=0, upload_seconds_max=0.001, index_grace_seconds=0,
                      **place_settings("elsewhere", tmp_path)) as (house, backups):  # fmt: skip
        acme = await house.tenant("Initech")
        kept, gone = await house.put(acme, "kept", "before"), await house.put(acme, "gone", "here still")
        await house.work()
        written = False

        def meanwhile(what: str, objects: int, _: int) -> None:
            nonlocal written
            written = True

        async def write() -> None:
            await house.put(acme, "kept", "afterwards")
            await house.put(acme, "new", "too late")
            await house.core.documents.delete(acme.context, gone.document_id)
            await house.work()
            await house.parts.maintenance.collect()
            for _ in range(3):
                await house.parts.maintenance.optimize()
            await house.work()

        manifest = await create_while(backups, write, house)
        assert manifest.lacking == ()
        assert manifest.counts.documents == 8
        assert (await backups.verify("latest")).problems == []
        settings = settings_of(tmp_path, "fresh", house)

    done = await restored(settings)

    assert done.problems == []
    async with open_house(tmp_path / "fresh") as fresh:
        again = await fresh.known(acme.key)
        assert {document.key for document in await fresh.all(again)} == {"kept", "gone"}
        assert await fresh.found(again, "before") == [kept.document_id]
        assert await fresh.found(again, "afterwards") == []


async def create_while(backups: BackupService, write: Any, house: House) -> Any:
    """Writes between the reading of the catalog and the listing of the bucket."""
    from s4.domains.backup import creator

    take = creator.take

    async def taken(database: Any) -> Any:
        snapshot = await take(database)
        await write()
        return snapshot

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(creator, "take", taken)
        return await backups.create()


async def test_a_backup_whose_hold_ran_out_is_none(tmp_path: Path) -> None:
    """What it was reading may have been removed meanwhile, without anybody seeing it."""
    async with filled(tmp_path, **place_settings("elsewhere", tmp_path)) as (house, backups):

        async def overtake() -> None:
            others = sa.update(leases).where(leases.c.name == "keep/backup").values(owner="another")
            await house.core.database.transact(lambda connection: connection.execute(others))

        with pytest.raises(Unavailable, match="a pause that was too long"):
            await create_while(backups, overtake, house)
        assert await backups.all() == []


async def test_a_second_backup_copies_only_what_is_new(tmp_path: Path) -> None:
    async with filled(tmp_path, **place_settings("elsewhere", tmp_path)) as (_, backups):
        first = await backups.create()
        second = await backups.create()
        assert second.work.objects_copied < first.work.objects_copied / 4, "only the sealed trail and the like"
        assert second.work.bytes_copied < first.work.bytes_copied / 20
        assert second.counts.documents == first.counts.documents
        assert (await backups.verify("latest")).problems == []
        listed = await backups.all()
        assert [each.backup_id for each in listed] == [first.backup_id, second.backup_id]


async def test_a_drill_fails_loudly_on_any_damage(tmp_path: Path) -> None:
    async with filled(tmp_path, **place_settings("elsewhere", tmp_path)) as (house, backups):
        await backups.create()
        latest = (await backups.create()).backup_id
        assert (await backups.drill()).problems == []
        place = tmp_path / "elsewhere"
        shutil.copytree(place, tmp_path / "sound")
        for damage in ("flipped", "missing", "cut manifest", "cut list", "cut data", "missing manifest"):
            shutil.rmtree(place)
            shutil.copytree(tmp_path / "sound", place)
            harm(place, latest, damage)

            drilled = await backups.drill()

            assert drilled.problems, damage
            assert not (await backups.verify("latest")).ok, damage
        await refresh_gauges(house.core)
        assert metrics.DRILL_FAILED._value.get() == 1
        async with house.core.database.read() as connection:
            runs = await queries.last_runs(connection, "drill", limit=10)
            assert [run.outcome for run in runs] == ["failed"] * 6 + ["ok"]
        assert await newest_backup_made(house.core.settings) == latest, "so a command finds it missing, too"
        assert not list((house.core.settings.data_dir / "drill").glob("*")), "scratch is gone"


def harm(place: Path, backup_id: str, damage: str) -> None:
    """To a backup beside which there is an older one, which is sound where they share nothing."""
    data = sorted((place / "backups/data").rglob("*"), key=lambda path: path.stat().st_size if path.is_file() else 0)
    manifest = place / "backups" / backup_id / "manifest.json"
    part = place / "backups" / backup_id / "parts/000001.jsonl.zst"
    match damage:
        case "flipped":
            raw = bytearray(data[-1].read_bytes())
            raw[len(raw) // 2] ^= 1
            data[-1].write_bytes(raw)
        case "missing":
            data[-1].unlink()
        case "cut data":
            data[-1].write_bytes(data[-1].read_bytes()[:-1])
        case "missing manifest":
            manifest.unlink()
        case "cut manifest":
            manifest.write_bytes(manifest.read_bytes()[:-20])
        case "cut list":
            part.write_bytes(part.read_bytes()[:-3])


def page_of(size: int) -> Any:
    from s4.kernel.pages import PageRequest

    return PageRequest(1, size)


async def test_a_drill_that_its_machine_cannot_do_has_failed_and_measured_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with filled(tmp_path) as (house, backups):
        await backups.create()
        metrics.DRILL_RTO.set(12.5)
        metrics.DRILL_FAILED.set(0)
        broken: list[Exception] = [OSError(errno.ENOSPC, "No space left on device"), RuntimeError("Acme's secret")]

        async def fails(*_: object, **_more: object) -> Any:
            raise broken[0]

        monkeypatch.setattr(Restorer, "restore", fails)
        drilled = await backups.drill()
        assert drilled.problems == ["This machine could not do it: No space left on device."]
        await refresh_gauges(house.core)
        assert metrics.DRILL_FAILED._value.get() == 1
        assert metrics.DRILL_RTO._value.get() == 12.5, "of a drill that took as long"
        del broken[0]
        with pytest.raises(RuntimeError):
            await backups.drill()
        async with house.core.database.read() as connection:
            runs = await queries.last_runs(connection, "drill", limit=10)
            said = [run.said for run in runs]
        assert [run.outcome for run in runs] == ["failed", "failed"]
        assert said[0] == {"error": "This is a defect of S4: RuntimeError. Report it, with the log."}


async def test_a_drill_over_its_target_fails(tmp_path: Path) -> None:
    async with filled(tmp_path, rto_target_seconds=0.001, rpo_target_seconds=3600) as (_, backups):
        await backups.create()
        drilled = await backups.drill()
        assert [problem[:7] for problem in drilled.problems] == ["RTO was"]


async def test_retention_never_breaks_a_backup_that_stays(tmp_path: Path) -> None:
    async with filled(tmp_path, **place_settings("elsewhere", tmp_path)) as (house, backups):
        acme = await house.tenant("Initech")
        document = await house.put(acme, "once", "only in the first one")
        first = await backups.create()
        await house.core.documents.delete(acme.context, document.document_id)
        only = await house.put(acme, "twice", LARGE, content_type="application/octet-stream")
        second = await backups.create()
        await house.core.documents.delete(acme.context, only.document_id)
        third = await backups.create()
        retention = Retention(timedelta(days=30), 2)
        async with open_place(house.core.settings) as place:
            pruner = Pruner(place, Holds(house.core.database, RANDOM), LaterClock(timedelta(days=40)))
            planned = await pruner.prune(retention, dry_run=True)
            assert (planned.backups, planned.kept) == ([first.backup_id], 2)
            pruned = await pruner.prune(retention)
            assert pruned.backups == [first.backup_id]
            assert pruned.data_objects == planned.data_objects
            assert (await pruner.prune(retention)).backups == []
        assert [each.backup_id for each in await backups.all()] == [second.backup_id, third.backup_id]
        for each in (second, third):  # they share data, and either has some of its own
            assert (await backups.verify(each.backup_id)).problems == []


@pytest.mark.parametrize("by_id", [True, False])
async def test_a_backup_that_is_removed_while_it_is_verified_is_not_called_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, by_id: bool
) -> None:
    async with filled(tmp_path, **place_settings("elsewhere", tmp_path)) as (house, backups):
        acme = await house.tenant("Initech")
        document = await house.put(acme, "once", LARGE, content_type="application/octet-stream")
        first = await backups.create()
        await house.core.documents.delete(acme.context, document.document_id)
        samples = Place.samples

        async def removed_after_that(place: Place, manifest: Manifest) -> list[Sample]:
            found = await samples(place, manifest)
            if await place.ids() == [first.backup_id]:
                await backups.create()
                pruner = Pruner(place, Holds(house.core.database, RANDOM), LaterClock(timedelta(days=40)))
                assert (await pruner.prune(Retention(timedelta(), 1))).data_objects > 0
            return found

        monkeypatch.setattr(Place, "samples", removed_after_that)
        if by_id:
            with pytest.raises(NotFound, match=first.backup_id):
                await backups.verify(first.backup_id)
        else:
            found = await backups.verify("latest")
            assert (found.problems, found.backup_id > first.backup_id) == ([], True)


class LaterClock:
    """The machine's, some time ahead."""

    def __init__(self, ahead: timedelta) -> None:
        self._ahead = ahead

    def now(self) -> Any:
        return SystemClock().now() + self._ahead


async def test_who_was_erased_since_does_not_come_back(tmp_path: Path) -> None:
    async with filled(tmp_path, **place_settings("elsewhere", tmp_path)) as (house, backups):
        gone, acme = await house.tenant("Erased"), await house.tenant("Initech")
        await house.put(gone, "secret", "nobody may read this")
        secret = await house.put(acme, "one", "nor this one")
        await house.put(acme, "two", "but this")
        await house.work()
        await backups.create()
        settings = settings_of(tmp_path, "fresh", house)
    erased = Erased(frozenset({gone.context.tenant_id}), frozenset({(acme.context.tenant_id, secret.document_id)}))

    done = await restored(settings, erased)

    assert done.ok
    assert done.objects_left_out > 0
    store = open_store(settings)
    left = [info.key async for info in store.list(keys.EVERYTHING)]
    await store.aclose()
    assert not [key for key in left if gone.context.tenant_id in key or secret.document_id in key]
    async with open_house(tmp_path / "fresh") as fresh:
        assert [document.key for document in await fresh.all(await fresh.known(acme.key))] == ["two"]


async def one_of_three_erased(folder: Path) -> tuple[Tenant, list[Tenant], Settings]:
    """Since the only backup; the others were changed since."""
    place = place_settings("elsewhere", folder)
    async with open_house(folder / "data", **place, erasure_settle_seconds=0) as house:
        made = [await house.tenant(name) for name in ("One", "Two", "Three")]
        gone, *others = sorted(made, key=lambda one: one.context.tenant_id)
        for tenant in made:
            await house.put(tenant, "one", "what it had")
        await house.work()
        await make_backups(house.core).create()
        await house.core.lifecycle.delete(OWNER, gone.context.tenant_id)
        await house.core.lifecycle.finish_deletion(OWNER, gone.context.tenant_id)
        await house.work()
        assert (await house.core.erasures.get(OWNER, gone.context.tenant_id)).state is ErasureState.PROVED
        for tenant in others:
            await house.put(tenant, "one", "what was damaged")
        return gone, others, house.core.settings


async def revisions_of(folder: Path, tenant: Tenant) -> list[int]:
    async with open_house(folder) as house:
        return [document.revision for document in await house.all(await house.known(tenant.key))]


def test_a_real_erasure_outlives_the_bucket_and_keeps_nobody_else_from_coming_back(
    tmp_path: Path, here: Command
) -> None:
    """By the commands, from a backup of before."""
    gone, others, its = asyncio.run(one_of_three_erased(tmp_path))
    assert its.secret_key is not None
    assert its.admin_api_key is not None
    environment = {
        "S4_EMBEDDING_PROVIDER": "deterministic",
        "S4_BACKUP_URL": str(its.backup_url),
        "S4_ADMIN_API_KEY": its.admin_api_key.get_secret_value(),
        "S4_SECRET_KEY": its.secret_key.get_secret_value(),
    }
    back = here("restore", "latest", "--in-place", **environment, S4_DATA_DIR=str(tmp_path / "data"))
    assert back.code == 0, back.err
    assert "left out: 1." in back.err
    assert asyncio.run(revisions_of(tmp_path / "data", others[-1])) == [3]

    shutil.rmtree(tmp_path / "data")
    restored = here("restore", "latest", **environment, S4_DATA_DIR=str(tmp_path / "fresh"))

    assert restored.code == 0, restored.err
    assert " 0 were erased since" not in restored.out
    assert asyncio.run(revisions_of(tmp_path / "fresh", others[0])) == [1]
    with pytest.raises(Unauthenticated):
        asyncio.run(revisions_of(tmp_path / "fresh", gone))
    beside = ("restore", "latest", "--tenant", gone.context.tenant_id, "--as-new", "Back")
    for other in ("fresh", "another"):
        assert here("migrate", **environment, S4_DATA_DIR=str(tmp_path / other)).code == 0
        alone = here(*beside, **environment, S4_DATA_DIR=str(tmp_path / other))
        assert alone.code != 0, "and a restore of it alone asks the same"
        assert "erased" in alone.err


async def test_a_restore_into_a_place_that_is_not_empty_is_refused(tmp_path: Path) -> None:
    async with filled(tmp_path, **place_settings("elsewhere", tmp_path)) as (house, backups):
        await backups.create()
        with pytest.raises(Conflict, match="belongs to a deployment"):
            await restored(house.core.settings)


async def test_a_search_that_fails_after_a_restore_is_told_and_nothing_is_switched_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with filled(tmp_path, **place_settings("elsewhere", tmp_path)) as (house, backups):
        acme = await house.tenant("Initech")
        large = await house.put(acme, "large", LARGE, content_type="application/octet-stream")
        sample = Sample(acme.context.tenant_id, large.document_id, "tides")

        async def one_that_no_index_has(*_: Any) -> list[Sample]:
            return [sample]

        monkeypatch.setattr("s4.domains.backup.creator.choose", one_that_no_index_has)
        await house.work()
        await backups.create()
        settings = settings_of(tmp_path, "fresh", house)
        said = [f"A search does not find {large.document_id} of {acme.context.tenant_id} any more."]

        assert (await backups.drill()).problems == said

    done = await restored(settings)

    assert (done.samples, done.problems) == (1, said)
    with pytest.raises(Conflict, match="is being restored to"):
        async with open_house(tmp_path / "fresh"):
            raise AssertionError("it must not start")


async def test_what_was_damaged_before_it_was_backed_up_is_told_and_keeps_nothing_else_back(tmp_path: Path) -> None:
    async with open_house(tmp_path / "data", **place_settings("elsewhere", tmp_path)) as house:
        await house.core.plans.create(OWNER, Plan("gold", "Gold"))
        acme = await house.tenant()
        (tmp_path / "data" / "objects" / keys.system_head(Collection.PLANS, "gold", 1)).write_bytes(b"{")
        backups = make_backups(house.core)
        await backups.create()
        settings = settings_of(tmp_path, "fresh", house)
        drilled = await backups.drill()

    done = await restored(settings)

    assert (done.ok, done.damaged) == (True, drilled.problems)
    assert ["system/plans/gold/head" in said for said in done.damaged] == [True]
    async with open_house(tmp_path / "fresh") as fresh:
        await fresh.known(acme.key)


def test_a_dry_run_of_a_whole_restore_refuses_what_the_real_one_refuses_and_makes_nothing(
    tmp_path: Path, here: Command
) -> None:
    elsewhere = place_settings("elsewhere", tmp_path)

    async def make() -> None:
        async with open_house(tmp_path / "data", **elsewhere) as house:
            await house.tenant()
            await make_backups(house.core).create()

    asyncio.run(make())
    (tmp_path / "half").mkdir()
    shutil.copy(tmp_path / "data" / "catalog.sqlite", tmp_path / "half")

    def restore(into: str, *more: str) -> Any:
        arguments = ("latest", "--data-dir", tmp_path / into, "--from", elsewhere["backup_url"], *more)
        return here("restore", *arguments, S4_EMBEDDING_PROVIDER="deterministic")

    for into, why in (("data", "belongs to a deployment"), ("half", "The catalog belongs to another bucket")):
        for more in (["--dry-run"], []):
            refused = restore(into, *more)
            assert refused.code != 0, (into, more)
            assert why in refused.err
    assert not (tmp_path / "half" / "objects" / "system").exists(), "it was refused before a byte was copied"
    planned = restore("fresh", "--dry-run")
    assert planned.code == 0, planned.err
    assert "Would restore" in planned.out
    assert not (tmp_path / "fresh").exists()
    assert "no search was asked, for the backup holds none to ask. It can be served." in restore("fresh").out


async def test_an_encrypted_backup_holds_no_word_in_plain_and_opens_with_its_key_only(tmp_path: Path) -> None:
    async with filled(tmp_path, **place_settings("encrypted", tmp_path)) as (house, backups):
        await backups.create()
        stored = b"".join(path.read_bytes() for path in (tmp_path / "elsewhere").rglob("*") if path.is_file())
        assert b"Tides" not in stored
        assert LARGE[:64] not in stored
        assert b"doc_" not in stored
        assert (await backups.verify("latest")).problems == []
        settings = settings_of(tmp_path, "fresh", house).model_copy(update={"backup_encryption_key": None})
        with pytest.raises(InvalidRequest, match="is encrypted under the key"):
            await restored(settings)


async def test_a_process_does_not_start_on_a_bucket_that_is_being_restored(tmp_path: Path) -> None:
    async with filled(tmp_path, **place_settings("elsewhere", tmp_path)) as (house, backups):
        await backups.create()
        settings = settings_of(tmp_path, "fresh", house)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("s4.domains.backup.restorer.Restorer._verify", broken)
        with pytest.raises(S4Error):
            await restored(settings)
    with pytest.raises(Conflict, match="is being restored to"):
        async with open_house(tmp_path / "fresh"):
            raise AssertionError("it must not start")
    done = await restored(settings)
    assert done.ok
    assert done.objects == 0, "everything was there"
    async with open_house(tmp_path / "fresh") as fresh:
        assert fresh.core.deployment.state == "serving"


async def broken(*_: Any) -> None:
    raise DataCorrupt("Broken off.")
