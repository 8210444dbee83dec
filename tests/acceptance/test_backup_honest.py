"""What a backup, its checks and a restore must not keep to themselves: what is lacking, damaged, newer, or erased."""

import asyncio
import contextlib
import json
import shutil
from collections.abc import AsyncIterator, Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from s4.domains.audit import Sealer
from s4.domains.backup import (
    BackupService,
    BackupSource,
    Erased,
    Manifest,
    Place,
    Retention,
    erased_by_place,
    queries,
    reading,
)
from s4.domains.backup.pruner import Pruned, Pruner
from s4.domains.maintenance.deployment import write
from s4.domains.maintenance.holds import Held, Holds
from s4.domains.maintenance.model import REBUILDING
from s4.domains.plans import Plan
from s4.domains.tenants import NewTenant
from s4.entrypoints.bootstrap import RANDOM, make_backups, make_rewinder, open_place, open_worker
from s4.entrypoints.operations import refresh_gauges
from s4.kernel import keys
from s4.kernel.errors import Unavailable
from s4.kernel.keys import Collection, ObjectKey
from s4.kernel.settings import Settings
from s4.platform.database import Connection, Database
from s4.platform.jobs import Leases
from s4.platform.jobs.models import jobs, leases
from s4.platform.objects import ObjectStore, StoreFault, StoreUnavailable
from s4.platform.telemetry import metrics
from tests.acceptance.conftest import Command, Done
from tests.acceptance.test_backup import KEY, LaterClock, filled, place_settings, restored, settings_of
from tests.factories.house import House, Tenant, open_house
from tests.factories.process import OWNER

pytestmark = pytest.mark.processes


@contextlib.asynccontextmanager
async def small(folder: Path, kind: str = "elsewhere") -> AsyncIterator[tuple[House, BackupService, Tenant]]:
    """A deployment of one tenant, with one document."""
    async with open_house(folder / "data", **place_settings(kind, folder)) as house:
        acme = await house.tenant()
        await house.put(acme, "one", "Tides follow the moon.")
        await house.work()
        yield house, make_backups(house.core), acme


async def test_a_catalog_that_is_being_rebuilt_is_not_backed_up(tmp_path: Path) -> None:
    """It names a part of what there is; the worker's backup waits for the rest."""
    async with small(tmp_path) as (house, backups, _):
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


async def uploaded(folder: Path, content: str) -> None:
    async with open_house(folder) as house:
        await house.put(await house.tenant(), "one", content)
        await house.work()


async def searches_of_the_last_drill(folder: Path) -> tuple[int, float]:
    """As it is remembered, and as the metric has it."""
    async with open_house(folder) as house:
        await refresh_gauges(house.core)
        async with house.core.database.read() as connection:
            (run,) = await queries.last_runs(connection, "drill", limit=1)
    return run.said["searches"], metrics.DRILL_SEARCHES._value.get()


@pytest.mark.parametrize(
    ("content", "searches", "said"),
    [("-", 0, "no search was asked"), ("Tides follow the moon.", 1, "1 searches were asked")],
)
def test_a_drill_says_whether_a_search_was_asked(
    tmp_path: Path, here: Command, content: str, searches: int, said: str
) -> None:
    environment = {"S4_EMBEDDING_PROVIDER": "deterministic", "S4_DATA_DIR": str(tmp_path)}
    asyncio.run(uploaded(tmp_path, content))
    assert here("backup", "create", **environment).code == 0
    metrics.DRILL_SEARCHES.set(7)

    drilled = here("backup", "drill", **environment)

    assert drilled.code == 0, drilled.err
    assert said in drilled.out
    assert asyncio.run(searches_of_the_last_drill(tmp_path)) == (searches, searches)


async def test_a_record_that_the_bucket_has_lost_is_told_of(tmp_path: Path) -> None:
    """Whatever a rebuild reads: the backup of a part of it would lock a tenant out, or lose the audit trail."""
    async with small(tmp_path) as (house, backups, acme):
        tenant_id = acme.context.tenant_id
        old = await house.put(acme, "old", "first")
        await house.put(acme, "old", "second")
        await house.core.plans.create(OWNER, Plan("gold", "Gold"))
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
    async with small(tmp_path) as (house, backups, acme):
        (document,) = await house.all(acme)
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
        assert not was_backed_up or (await backups.drill()).ok


async def damage(house: House, key: ObjectKey) -> None:
    """One byte of it: still JSON, and nobody's head."""
    data = await house.core.store.get(key)
    await house.core.store.put(key, data.replace(b'"commit_id"', b'"commit_ie"'))


def test_who_was_erased_comes_back_by_no_backup_whose_successor_cannot_be_read(tmp_path: Path, here: Command) -> None:
    """Under a key that is not set, or damaged: what it would say of erasures, somebody else must."""
    first, second, gone_id = asyncio.run(one_was_erased(tmp_path))
    base = {"S4_DATA_DIR": str(tmp_path / "fresh"), "S4_EMBEDDING_PROVIDER": "deterministic"}
    base["S4_BACKUP_URL"] = (tmp_path / "elsewhere").as_uri()
    keyed = base | {"S4_BACKUP_ENCRYPTION_KEY": KEY}
    dry = ("restore", first, "--dry-run", "--json")
    old = ("--erased-in", (tmp_path / "data/objects").as_uri())

    assert left_out(here(*dry, **keyed)) > 0
    refused = here(*dry, **base)
    assert refused.code != 0
    assert f"{second} is newer and cannot be read" in refused.err
    assert "set its key, or name by --erased-in" in flat(refused.err)
    assert left_out(here(*dry, *old, **base)) > 0

    manifest = tmp_path / "elsewhere/backups" / second / "manifest.json"
    manifest.write_bytes(manifest.read_bytes().replace(b'"requests"', b'"requestz"'))
    refused = here(*dry, **keyed)
    assert refused.code != 0
    assert f"{second} is newer and cannot be read" in refused.err
    nowhere = here(*dry, "--erased-in", (tmp_path / "nothing").as_uri(), **keyed)
    assert nowhere.code != 0
    assert "no deployment" in nowhere.err

    done = here("restore", first, *old, **keyed)
    assert done.code == 0, done.err
    restored = [path.relative_to(tmp_path / "fresh/objects") for path in (tmp_path / "fresh/objects").rglob("*.json")]
    named = {str(path).rsplit("/head", 1)[0] for path in restored if gone_id in str(path)}
    assert named == {f"system/erasures/{gone_id}"}, "and the restored one goes on knowing it"


async def one_was_erased(folder: Path) -> tuple[str, str, str]:
    """Two backups, of which the first is in plain and the second encrypted, and who was erased between them."""
    places = place_settings("encrypted", folder)
    async with open_house(folder / "data", erasure_settle_seconds=0, **places) as house:
        gone, acme = await house.tenant("Gone"), await house.tenant("Acme")
        await house.put(gone, "secret", "nobody may read this")
        await house.put(acme, "one", "but this")
        await house.work()
        settings = house.core.settings.model_copy(update={"backup_encryption_key": None})
        first = await make_backups(replace(house.core, settings=settings)).create()
        await house.core.lifecycle.delete(OWNER, gone.context.tenant_id)
        await house.core.lifecycle.finish_deletion(OWNER, gone.context.tenant_id)
        await house.work()
        second = await make_backups(house.core).create()
        async with open_place(house.core.settings) as place:  # the newest knows of nobody, as one of an empty catalog
            await place.put_manifest(replace(second, backup_id="20990101T000000Z", parts=()))
        return first.backup_id, second.backup_id, gone.context.tenant_id


def left_out(done: Done) -> int:
    assert done.code == 0, done.err
    said = done.out[done.out.index("{\n") :]  # behind what making the deployment logged
    return int(json.loads(said)["objects_left_out"])


def flat(text: str) -> str:
    return " ".join(text.split())


async def test_what_was_encrypted_otherwise_stays_what_it_was(tmp_path: Path) -> None:
    """Turning encryption on, or another key, neither spoils what is there nor ends retention: all that cannot be known
    is what data the others need, so it stays."""
    async with small(tmp_path, "encrypted") as (house, backups, _):
        without = house.core.settings.model_copy(update={"backup_encryption_key": None})
        in_plain = make_backups(replace(house.core, settings=without))
        first = await in_plain.create()
        second = await backups.create()
        for service in (backups, in_plain):
            assert (await service.verify(first.backup_id)).problems == []
        assert (await backups.verify(second.backup_id)).problems == []

        pruned = await pruned_later(house, without)
        assert (pruned.backups, pruned.unopened, pruned.data_objects) == ([first.backup_id], [second.backup_id], 0)
        pruned = await pruned_later(house, house.core.settings)
        assert (pruned.unopened, pruned.data_objects > 0) == ([], True)
        assert (await backups.verify("latest")).problems == []


async def pruned_later(house: House, settings: Settings) -> Pruned:
    """In 40 days, by a retention of a month."""
    async with open_place(settings) as place:
        holds = Holds(house.core.database, RANDOM)
        return await Pruner(place, holds, LaterClock(timedelta(days=40))).prune(Retention(timedelta(days=30), 1))


async def test_who_removes_backups_waits_for_who_goes_back_to_one_and_stops_when_it_overslept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with small(tmp_path) as (house, backups, acme):
        first = await backups.create()
        await backups.create()
        rewinder = make_rewinder(house.core)
        async with open_place(house.core.settings) as place, rewinder.turn():
            await rewinder.in_place(OWNER, BackupSource(place, first), acme.context.tenant_id, Erased())
            with pytest.raises(Held, match="A restore is running"):
                await pruned_later(house, house.core.settings)
            eager = {"backup_keep_days": 0, "backup_keep_count": 1}
            daily = make_backups(replace(house.core, settings=house.core.settings.model_copy(update=eager)))
            await daily.request(OWNER.actor)
            async with open_worker(house.core, backups=daily) as parts:
                await parts.worker.run_until_idle()
            assert len(await place.ids()) == 3, "one was made, and none was removed"
            async with house.core.database.read() as connection:
                again = await connection.execute(sa.select(jobs).where(jobs.c.kind == "backup.create"))
            assert again.all() == [], "nor is another made for that"
            assert (await backups.verify(first.backup_id)).problems == []

        went: list[ObjectKey] = []
        delete = ObjectStore.delete

        async def deleted_slowly(store: ObjectStore, doomed: Iterable[ObjectKey]) -> None:
            """And the machine sleeps, until the hold has run out and another works."""
            if not went:
                source = BackupSource(place, await place.find("latest"))
                with pytest.raises(Held, match="removal of backups"):
                    await rewinder.in_place(OWNER, source, acme.context.tenant_id, Erased())
            went.extend(doomed)
            await delete(store, went)
            others = sa.update(leases).where(leases.c.name == "keep/backup").values(owner="another")
            await house.core.database.transact(lambda connection: connection.execute(others))

        monkeypatch.setattr(ObjectStore, "delete", deleted_slowly)
        async with open_place(house.core.settings) as place:
            with pytest.raises(Unavailable, match="a pause that was too long"):
                await pruned_later(house, house.core.settings)
        assert went == [keys.backup_manifest(first.backup_id)], "and nothing after it"


@pytest.mark.parametrize("way", [("--in-place",), ("--as-new", "Beside")])
def test_who_goes_back_looks_for_no_backup_while_some_are_removed(
    tmp_path: Path, here: Command, way: tuple[str, ...]
) -> None:
    async def removing() -> str:
        async with open_house(tmp_path) as house:
            await Leases(house.core.database, owner="another", duration=timedelta(minutes=2)).acquire("keep/restore")
            return (await house.tenant()).context.tenant_id

    environment = {"S4_EMBEDDING_PROVIDER": "deterministic", "S4_DATA_DIR": str(tmp_path)}
    refused = here("restore", "latest", "--tenant", asyncio.run(removing()), *way, **environment)

    assert refused.code != 0
    assert "the removal of backups, is running" in flat(refused.err), "not that there is none"


async def test_who_removes_backups_sees_a_restore_into_an_empty_deployment(tmp_path: Path) -> None:
    """Which has a catalog of its own; one that was killed is waited for no longer than an hour."""
    async with small(tmp_path) as (house, backups, _):
        first = await backups.create()
        latest = await backups.create()
        async with open_place(house.core.settings) as place:
            holds = Holds(house.core.database, RANDOM)
            prune = Pruner(place, holds, LaterClock(timedelta(minutes=30))).prune
            async with reading(place, RANDOM) as is_seen:
                assert is_seen
                with pytest.raises(Held, match="Another deployment is being restored"):
                    await prune(Retention(timedelta(0), 1))
                assert await place.ids() == [first.backup_id, latest.backup_id]
            assert (await prune(Retention(timedelta(0), 1))).backups == [first.backup_id]
            await backups.create()
            killed = keys.backup_reader("a" * 26)
            await place.store.put(killed, b"")
            await pruned_later(house, house.core.settings)
            assert killed not in [info.key async for info in place.store.list(keys.BACKUP_READERS)]


def test_a_whole_restore_is_seen_before_it_looks_for_its_backup(
    tmp_path: Path, here: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And where it may not write beside the backups, it says that it is not."""
    notes: list[int] = []
    find, put = Place.find, ObjectStore.put

    async def found(place: Place, wanted: str) -> Manifest:
        notes.append(len([info async for info in place.store.list(keys.BACKUP_READERS)]))
        return await find(place, wanted)

    async def denied(store: ObjectStore, key: ObjectKey, data: bytes, **how: bool) -> None:
        if key.startswith(keys.BACKUP_READERS):
            raise StoreUnavailable(StoreFault.DENIED)
        await put(store, key, data, **how)

    environment = {"S4_EMBEDDING_PROVIDER": "deterministic"}
    asyncio.run(uploaded(tmp_path / "data", "Tides follow the moon."))
    assert here("backup", "create", **environment, S4_DATA_DIR=str(tmp_path / "data")).code == 0
    monkeypatch.setattr(Place, "find", found)
    there = ("restore", "latest", "--from", (tmp_path / "data/objects").as_uri())
    seen = here(*there, **environment, S4_DATA_DIR=str(tmp_path / "one"))
    monkeypatch.setattr(ObjectStore, "put", denied)
    unseen = here(*there, **environment, S4_DATA_DIR=str(tmp_path / "other"))

    assert (seen.code, unseen.code, notes) == (0, 0, [1, 0])
    assert not list((tmp_path / "data/objects/backups/readers").glob("*")), "it is gone with the restore"
    said = "does not see this restore"
    assert (said in flat(seen.err), said in flat(unseen.err)) == (False, True)


async def test_a_clock_that_was_wrong_once_neither_stops_backups_nor_passes_a_drill(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with small(tmp_path) as (_, backups, _):
        true_now = Database.now

        async def wrong(self: Database, connection: Connection) -> datetime:
            return await true_now(self, connection) + timedelta(days=90)

        with monkeypatch.context() as patch:
            patch.setattr(Database, "now", wrong)
            early = await backups.create()

        later = await backups.create()

        drilled = await backups.drill()
        assert [early.backup_id in problem for problem in drilled.problems] == [True]
        assert "still to come" in drilled.problems[0]
        shutil.rmtree(tmp_path / "elsewhere/backups" / early.backup_id)
        found = await backups.verify("latest")
        assert (found.backup_id, found.problems) == (later.backup_id, [])


@pytest.mark.parametrize(("kind", "said"), [("beside", "S4's own backups"), ("elsewhere", "backups in file://")])
async def test_a_receipt_names_backups_that_the_server_was_not_told_of(tmp_path: Path, kind: str, said: str) -> None:
    """Made by hand, by `s4 backup create` or its `--to`; those in its own store know who was erased, too."""
    async with small(tmp_path, kind) as (_, backups, acme):
        manifest = await backups.create()
    tenant_id = acme.context.tenant_id
    async with open_house(tmp_path / "data", erasure_settle_seconds=0) as house:
        await house.core.lifecycle.delete(OWNER, tenant_id)
        await house.core.lifecycle.finish_deletion(OWNER, tenant_id)
        await house.work()
        receipt = (await house.core.erasures.get(OWNER, tenant_id)).receipt
        settings = house.core.settings

    assert receipt is not None
    (named,) = [each for each in receipt["remains"] if each["what"].startswith(said)]
    assert named["until"] is None
    if kind == "beside":
        async with open_place(settings) as place:
            assert (await erased_by_place(place, manifest)).erased.covers(tenant_id, None)


LOSSES = ("document", "tenant", "plan")


@pytest.mark.parametrize("what", LOSSES)
async def test_what_was_lost_before_it_was_backed_up_is_told_and_keeps_nothing_else_back(
    tmp_path: Path, what: str
) -> None:
    """Its only head is gone: the rest can be served, whatever was counted then."""
    async with filled(tmp_path, **place_settings("elsewhere", tmp_path)) as (house, backups):
        await house.core.plans.create(OWNER, Plan("gold", "Gold"))
        _, key = await house.core.tenants.create(OWNER, NewTenant("Initech", None, None, "gold"))
        lone = await house.known(key)
        document = await house.put(lone, "one", "Initech's only text.")
        await house.work()
        tenant_id = lone.context.tenant_id
        heads = {
            "document": keys.document_head(tenant_id, document.document_id, 1),
            "tenant": keys.tenant_head(tenant_id, 1),
            "plan": keys.system_head(Collection.PLANS, "gold", 1),
        }
        await house.core.store.delete([heads[what]])
        manifest = await backups.create()
        settings = settings_of(tmp_path, "fresh", house)

    assert manifest.lacking == (heads[what],)
    done = await restored(settings)

    assert done.ok, done.problems
    assert any(heads[what] in said for said in done.damaged)
    async with open_house(tmp_path / "fresh") as fresh:
        assert (await fresh.core.tenants.ids()) != []


async def test_more_than_was_lost_is_missing_and_nothing_is_switched_on(tmp_path: Path) -> None:
    """What the backup lacked explains one document, not two."""
    async with filled(tmp_path, **place_settings("elsewhere", tmp_path)) as (house, backups):
        acme = await house.tenant("Initech")
        lost = await house.put(acme, "one", "a text")
        await house.work()
        await house.core.store.delete([keys.document_head(acme.context.tenant_id, lost.document_id, 1)])
        made = await backups.create()
        settings = settings_of(tmp_path, "fresh", house)
        async with open_place(house.core.settings) as place:
            counts = replace(made.counts, documents=made.counts.documents + 1)
            await place.put_manifest(replace(made, counts=counts))

    done = await restored(settings)

    assert any("documents, and there were" in said for said in done.problems)


async def test_bytes_that_an_erased_tenant_had_lost_keep_nobody_else_back(tmp_path: Path) -> None:
    async with filled(tmp_path, **place_settings("elsewhere", tmp_path)) as (house, backups):
        gone = await house.tenant("Erased")
        document = await house.put(gone, "secret", "nobody may read this")
        await house.work()
        async for info in house.core.store.list(keys.tenant(gone.context.tenant_id)):
            if info.key.endswith("/content"):
                await house.core.store.delete([info.key])
        manifest = await backups.create()
        settings = settings_of(tmp_path, "fresh", house)

    assert any(document.document_id in key for key in manifest.lacking)
    done = await restored(settings, Erased(frozenset({gone.context.tenant_id})))

    assert done.ok, done.problems
