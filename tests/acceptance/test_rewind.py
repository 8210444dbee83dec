"""Going back with the deployment alive: in place and beside, to a backup and to a moment that the chains still tell."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from s4.domains.backup import BackupSource, ChainSource, Erased, Rewound
from s4.domains.backup.model import Sample
from s4.domains.backup.rewound import Counted
from s4.domains.documents.chain import subject
from s4.domains.tenants import TenantStatus
from s4.entrypoints.bootstrap import make_backups, make_rewinder, open_place
from s4.kernel import keys
from s4.kernel.clock import rfc3339
from s4.kernel.errors import InvalidRequest, NotFound
from s4.kernel.ids import TenantId
from s4.platform import faults
from s4.platform.chains import Draft
from tests.acceptance.conftest import Command, Done
from tests.factories.house import House, Tenant, open_house
from tests.factories.process import OWNER


class Past:
    """A deployment with a past: at `point` Acme had three documents, and much has happened since."""

    def __init__(self, house: House, acme: Tenant, point: datetime) -> None:
        self.house, self.acme, self.point = house, acme, point

    @contextlib.asynccontextmanager
    async def source(self, kind: str) -> AsyncIterator[Any]:
        core = self.house.core
        if kind == "moment":
            yield ChainSource(core.database, core.store, core.chains, self.point)
            return
        async with open_place(core.settings) as place:
            yield BackupSource(place, await place.find("latest"))

    async def contents(self, tenant: Tenant) -> dict[str | None, bytes]:
        documents = self.house.core.documents
        return {
            document.key: b"".join([part async for part in documents.content(document)])
            for document in await self.house.all(tenant)
        }


@contextlib.asynccontextmanager
async def past(folder: Path, **settings: Any) -> AsyncIterator[Past]:
    async with open_house(folder / "data", backup_url=(folder / "elsewhere").as_uri(), **settings) as house:
        acme = await house.tenant()
        await house.put(acme, "kept", "as it is")
        replaced = await house.put(acme, "replaced", "before the change")
        deleted = await house.put(acme, "deleted", "before the deletion", {"year": 2020})
        patched = await house.put(acme, "patched", "the same bytes", {"state": "old"})
        await house.work()
        await make_backups(house.core).create()
        async with house.core.database.read() as connection:
            point = await house.core.database.now(connection)
        await asyncio.sleep(0.002)  # the next head is later by the database's clock
        await house.put(acme, "replaced", "after the change")
        await house.core.documents.delete(acme.context, deleted.document_id)
        await house.core.documents.patch_metadata(acme.context, patched.document_id, {"state": "new"})
        await house.put(acme, "new", "too late")
        await house.work()
        assert replaced.revision == 1
        yield Past(house, acme, point)


THEN = {
    "kept": b"as it is",
    "replaced": b"before the change",
    "deleted": b"before the deletion",
    "patched": b"the same bytes",
}


@pytest.mark.parametrize("kind", ["backup", "moment"])
async def test_a_tenant_goes_back_in_place_while_it_is_served(tmp_path: Path, kind: str) -> None:
    async with past(tmp_path) as was, was.source(kind) as source:
        rewinder = make_rewinder(was.house.core)
        tenant_id = was.acme.context.tenant_id
        before = await was.contents(was.acme)
        planned = await rewinder.in_place(OWNER, source, tenant_id, Erased(), dry_run=True)
        assert await was.contents(was.acme) == before, "a dry run changes nothing"

        done = await rewinder.in_place(OWNER, source, tenant_id, Erased())

        assert (done.changed, done.brought_back, done.removed) == (2, 1, 1)
        assert counts(planned) == counts(done)
        assert await was.contents(was.acme) == THEN
        await was.house.work()
        assert len(await was.house.found(was.acme, "deletion")) == 1
        assert await was.house.found(was.acme, "after") == []
        metadata = {document.key: document.metadata for document in await was.house.all(was.acme)}
        assert (metadata["patched"], metadata["deleted"]) == ({"state": "old"}, {"year": 2020})
        again = await rewinder.in_place(OWNER, source, tenant_id, Erased())
        assert (again.changed, again.brought_back, again.removed) == (0, 0, 0)
        report = await was.house.core.accounts.recount_all()
        assert report.repaired == 0, "balances are exact"


def counts(done: Rewound) -> tuple[int, ...]:
    return done.unchanged, done.changed, done.brought_back, done.removed, done.bytes_copied


@pytest.mark.parametrize("kind", ["backup", "moment"])
async def test_a_tenant_comes_back_beside_the_live_one(tmp_path: Path, kind: str) -> None:
    async with past(tmp_path) as was, was.source(kind) as source:
        rewinder = make_rewinder(was.house.core, patience=timedelta(0))
        tenant_id = was.acme.context.tenant_id
        before = await was.contents(was.acme)

        done = await rewinder.beside(OWNER, source, tenant_id, Erased(), name="Acme, yesterday")

        assert (done.brought_back, done.suspended) == (4, kind == "backup"), "a moment has no searches"
        assert done.now == done.then == Counted(4, sum(map(len, THEN.values())))
        paid = embedded(was.house)
        await was.house.work()
        assert embedded(was.house) == paid, "vectors came along"
        again = await rewinder.beside(OWNER, source, tenant_id, Erased(), name="Acme, yesterday")
        assert (again.into, again.unchanged, again.brought_back, again.ok) == (done.into, 4, 0, True)
        assert again.searches == (4 if kind == "backup" else 0), "all of them"
        assert again.api_key == done.api_key
        assert done.api_key is not None
        beside = await was.house.known(done.api_key)
        assert await was.contents(beside) == THEN
        assert await was.contents(was.acme) == before
        assert len(await was.house.found(beside, "deletion")) == 1


@pytest.fixture
def disarmed() -> Iterator[None]:
    yield
    faults.arm({})


@pytest.mark.usefixtures("disarmed")
async def test_a_new_tenant_is_nobodys_before_it_was_found_to_be_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Broken off on the way, then with a search that fails, then sound: each run goes on."""
    committed = 0

    def end_at_the_third() -> None:
        nonlocal committed
        committed += 1
        if committed == 3:
            raise faults.InjectedFault

    async with past(tmp_path) as was, was.source("backup") as source:
        core, tenant_id = was.house.core, was.acme.context.tenant_id
        samples = await source.samples(tenant_id)
        rewinder = make_rewinder(core, patience=timedelta(seconds=30))
        monkeypatch.setattr("s4.domains.backup.rewinder._PARALLEL", 1)  # nobody else is torn from a commit
        faults.arm({"rewind.committed": end_at_the_third})
        with pytest.raises(faults.InjectedFault):
            await rewinder.beside(OWNER, source, tenant_id, Erased(), name="Beside")
        faults.arm({})
        (into,) = set(await core.tenants.ids()) - {tenant_id}
        assert (await core.tenants.get(into)).status == TenantStatus.SUSPENDED
        await was.house.work()
        source.samples = answering([Sample(tenant_id, samples[0].document_id, "nowhere"), *samples[1:]])

        harmed = await rewinder.beside(OWNER, source, tenant_id, Erased(), name="Beside", progress=working(was.house))

        assert [problem[:20] for problem in harmed.problems] == ["A search does not fi"]
        assert harmed.suspended
        assert (await core.tenants.get(into)).status == TenantStatus.SUSPENDED
        source.samples = answering(samples)
        done = await rewinder.beside(OWNER, source, tenant_id, Erased(), name="Beside")
        assert (done.into, done.unchanged, done.searches, done.problems) == (into, 4, 4, [])
        assert (await core.tenants.get(into)).status == TenantStatus.ACTIVE


def answering(samples: list[Sample]) -> Any:
    async def answer(_: TenantId) -> list[Sample]:
        return samples

    return answer


def working(house: House) -> Any:
    """Has a worker at work as soon as somebody waits for one."""
    at_work: list[asyncio.Task[None]] = []

    def told(what: str, *_: Any) -> None:
        if what == "to be indexed" and not at_work:
            at_work.append(asyncio.create_task(house.work()))

    return told


def embedded(house: House) -> float:
    from s4.platform.telemetry import metrics

    return float(metrics.EMBEDDING_CACHE.labels("miss")._value.get())


async def test_what_the_window_has_lost_is_named_and_the_rest_comes_back(tmp_path: Path) -> None:
    patience = {"garbage_grace_seconds": 0, "upload_seconds_max": 0.001}
    async with past(tmp_path, **patience) as was, was.source("moment") as source:
        await was.house.parts.maintenance.collect()

        done = await make_rewinder(was.house.core).in_place(OWNER, source, was.acme.context.tenant_id, Erased())

        assert len(done.lost) == 2
        assert not done.ok
        assert done.changed == 1, "the metadata"
        assert set(await was.contents(was.acme)) == {"kept", "replaced", "patched"}


async def test_nobody_removes_what_a_restore_may_read(tmp_path: Path) -> None:
    """The collector runs while documents go back, and would have a right to all that they need."""
    patience = {"garbage_grace_seconds": 0, "upload_seconds_max": 0.001}
    async with past(tmp_path, **patience) as was, was.source("moment") as source:
        collected = False

        def meanwhile(*_: Any) -> None:
            nonlocal collected
            collected = True

        original = source.documents

        async def slowly(tenant_id: TenantId, *, if_changed: bool) -> AsyncIterator[Any]:
            await was.house.parts.maintenance.collect()
            async for each in original(tenant_id, if_changed=if_changed):
                meanwhile()
                yield each

        source.documents = slowly
        done = await make_rewinder(was.house.core).in_place(OWNER, source, was.acme.context.tenant_id, Erased())
        assert collected
        assert done.lost == []
        assert await was.contents(was.acme) == THEN


async def test_who_was_erased_does_not_come_back_to_life(tmp_path: Path) -> None:
    async with past(tmp_path) as was, was.source("backup") as source:
        rewinder = make_rewinder(was.house.core)
        tenant_id = was.acme.context.tenant_id
        deleted = was.house.core.documents.id_for_key(was.acme.context, "deleted")
        with pytest.raises(InvalidRequest, match="was erased"):
            await rewinder.in_place(OWNER, source, tenant_id, Erased(tenants=frozenset({tenant_id})))
        done = await rewinder.in_place(OWNER, source, tenant_id, Erased(documents=frozenset({(tenant_id, deleted)})))
        assert (done.erased, done.brought_back) == (1, 0)
        assert "deleted" not in await was.contents(was.acme)


async def test_what_is_under_a_legal_hold_stays_as_it_is(tmp_path: Path) -> None:
    async with past(tmp_path) as was, was.source("backup") as source:
        core, tenant_id = was.house.core, was.acme.context.tenant_id
        before = await was.contents(was.acme)
        for document in await was.house.all(was.acme):
            held = subject(tenant_id, document.document_id)
            head = await core.chains.read(held, document.revision)
            body = {**head.body, "holds": {"operator": {"reason": "a court", "placed_at": "2026-01-31T12:00:00Z"}}}

            async def seal(_c: Any, _n: Any, body: Any = body) -> Draft:
                return Draft("live", body)

            await core.chains.commit(held, seal=seal, settled=settled)

        done = await make_rewinder(core).in_place(OWNER, source, tenant_id, Erased())

        assert (done.held, done.removed, done.changed, done.brought_back) == (3, 0, 0, 1)
        assert await was.contents(was.acme) == before | {"deleted": THEN["deleted"]}


async def test_what_was_archived_is_archived_again_and_nothing_else_and_a_new_catalog_says_so(tmp_path: Path) -> None:
    """By the keys: what happened before the point, and what since."""
    async with open_house(tmp_path / "data", backup_url=(tmp_path / "elsewhere").as_uri()) as house:
        acme, archive = await house.tenant(), house.core.archive
        keys_of = (
            "archived-patched",
            "archived-restored",
            "archived-deleted",
            "live-archived",
            "live-archived-patched",
        )
        ids = {key: (await house.put(acme, key, f"of {key} words", {"v": 1})).document_id for key in keys_of}
        await house.work()
        for key in keys_of[:3]:
            await archive.archive(acme.context, ids[key])
        await house.work()
        await make_backups(house.core).create()
        async with house.core.database.read() as connection:
            was = Past(house, acme, await house.core.database.now(connection))
        await asyncio.sleep(0.002)
        await archive.restore(acme.context, ids["archived-restored"])
        await house.core.documents.delete(acme.context, ids["archived-deleted"])
        for key in keys_of[3:]:
            await archive.archive(acme.context, ids[key])
        for key in ("archived-patched", "live-archived-patched"):
            await house.core.documents.patch_metadata(acme.context, ids[key], {"v": 2})
        await house.work()

        rewinder = make_rewinder(house.core)
        async with was.source("moment") as source:
            done = await rewinder.in_place(OWNER, source, acme.context.tenant_id, Erased())
            again = await rewinder.in_place(OWNER, source, acme.context.tenant_id, Erased(), dry_run=True)
            new = await rewinder.beside(OWNER, source, acme.context.tenant_id, Erased(), name="Beside")

        assert (done.changed, done.brought_back) == (4, 1)
        assert (again.changed, again.brought_back, again.removed) == (0, 0, 0)
        await house.work()
        assert new.api_key is not None
        for tenant in (acme, await house.known(new.api_key)):
            documents = {document.key: document for document in await house.all(tenant)}
            assert {key: document.status.value for key, document in documents.items()} == ARCHIVED_THEN
            assert {document.metadata["v"] for document in documents.values()} == {1}
            assert len(await house.found(tenant, "words")) == 2
    for leftover in (tmp_path / "data").glob("catalog.sqlite*"):
        leftover.unlink()
    async with open_house(tmp_path / "data") as house:
        await house.work()
        for key in (acme.key, new.api_key):
            tenant = await house.known(key)
            assert {each.key: each.status.value for each in await house.all(tenant)} == ARCHIVED_THEN
            assert len(await house.found(tenant, "words")) == 2


ARCHIVED_THEN = {
    "archived-patched": "archived",
    "archived-restored": "archived",
    "archived-deleted": "archived",
    "live-archived": "ready",
    "live-archived-patched": "ready",
}


async def settled(_connection: Any, _head: Any) -> None:
    """Nothing more."""


async def test_bytes_that_the_bucket_lost_are_brought_back_from_a_backup(tmp_path: Path) -> None:
    async with past(tmp_path) as was, was.source("backup") as source:
        core, tenant = was.house.core, was.acme.context
        kept = next(document for document in await was.house.all(was.acme) if document.key == "kept")
        key = keys.content(tenant.tenant_id, kept.document_id, kept.version_id)
        await core.store.put(key, b"as it iz")
        rewinder = make_rewinder(core)
        without = await rewinder.in_place(OWNER, source, tenant.tenant_id, Erased(), dry_run=True)

        done = await rewinder.in_place(OWNER, source, tenant.tenant_id, Erased(), heals=True)

        assert (without.unchanged, done.unchanged) == (1, 0)
        assert await was.contents(was.acme) == THEN


async def test_a_tenant_that_was_not_there_is_not_found(tmp_path: Path) -> None:
    """Nor who was erased since, of whom the tombstone is left."""
    async with past(tmp_path) as was:
        rewinder = make_rewinder(was.house.core)
        core = was.house.core
        early = ChainSource(core.database, core.store, core.chains, was.point - timedelta(days=1))
        with pytest.raises(NotFound):
            await rewinder.in_place(OWNER, early, was.acme.context.tenant_id, Erased())
        gone = (await was.house.tenant("Gone")).context.tenant_id
        await core.lifecycle.delete(OWNER, gone)
        await core.lifecycle.finish_deletion(OWNER, gone)
        await core.store.delete([keys.tenant_head(gone, 1), keys.tenant_head(gone, 2)])
        async with was.source("moment") as source:
            assert await source.tenants() == [was.acme.context.tenant_id]


def test_all_tenants_go_back_to_a_moment_that_has_been_and_who_came_later_is_left_alone(
    tmp_path: Path, here: Command
) -> None:
    async def live() -> tuple[list[TenantId], str]:
        async with open_house(tmp_path, tenant_delete_grace_days=0) as house:
            there, gone = await house.tenant("There"), await house.tenant("Gone")
            async with house.core.database.read() as connection:
                point = await house.core.database.now(connection)
            await asyncio.sleep(0.002)
            late = await house.tenant("Late")
            await house.core.lifecycle.delete(OWNER, gone.context.tenant_id)
            await house.core.lifecycle.finish_deletion(OWNER, gone.context.tenant_id)
            return [each.context.tenant_id for each in (there, gone, late)], rfc3339(point)

    (there, gone, late), point = asyncio.run(live())

    def back_to(moment: str) -> Done:
        return here(
            "restore", "--at", moment, "--in-place", "--data-dir", tmp_path, S4_EMBEDDING_PROVIDER="deterministic"
        )

    done = back_to(point)
    assert done.code == 0, done.err
    assert there in done.out
    assert gone not in done.out + done.err, "it was erased, and keeps nobody else from going back"
    assert late not in done.out + done.err
    assert "Tenants that were made since, and stay as they are: 1." in done.err
    early = back_to("2099-01-01T00:00:00Z")
    assert early.code != 0
    assert "has not come yet" in early.err
