"""What going back must neither take away nor keep to itself: what is lacking, damaged, held, or kept for its days."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from s4.domains.backup import Erased, Rewound
from s4.domains.backup.rewound import Counted
from s4.domains.documents import Document
from s4.domains.documents.keeping.retention import RETENTION
from s4.domains.plans import Plan
from s4.domains.tenants import Keeping, NewTenant, PlanChange, TenantStatus
from s4.domains.tenants.chain import subject as tenant_subject
from s4.entrypoints.bootstrap import make_backups, make_rewinder
from s4.kernel import keys
from s4.kernel.clock import rfc3339
from s4.kernel.errors import DataCorrupt
from s4.kernel.ids import TenantId
from s4.kernel.keys import KeyKind, ObjectKey
from s4.platform.database import Connection, Database
from s4.platform.jobs import SYSTEM, JobRequest
from tests.acceptance.conftest import Command
from tests.acceptance.test_rewind import THEN, Past, past
from tests.factories.house import House, open_house
from tests.factories.process import OWNER

pytestmark = pytest.mark.processes


async def named(was: Past, key: str) -> Document:
    return next(each for each in await was.house.all(was.acme) if each.key == key)


def content_of(document: Document) -> ObjectKey:
    return keys.content(document.tenant_id, document.document_id, document.version_id)


def head_of(document: Document, revision: int) -> ObjectKey:
    return keys.document_head(document.tenant_id, document.document_id, revision)


async def in_place(was: Past, source: Any, **how: Any) -> Rewound:
    return await make_rewinder(was.house.core).in_place(OWNER, source, was.acme.context.tenant_id, Erased(), **how)


async def beside(was: Past, source: Any, **how: Any) -> Rewound:
    rewinder = make_rewinder(was.house.core, patience=timedelta(0))
    return await rewinder.beside(OWNER, source, was.acme.context.tenant_id, Erased(), name="Beside", **how)


def first_read(source: Any, act: Callable[[], Awaitable[Any]]) -> None:
    """Before the bytes of the first document are read, `act` happens."""
    original, acted = source.read, False

    async def read(key: ObjectKey) -> AsyncIterator[bytes]:
        nonlocal acted
        parsed = keys.parse(key)
        if not acted and parsed is not None and parsed.kind is KeyKind.CONTENT:
            acted = True
            await act()
        async for chunk in original(key):
            yield chunk

    source.read = read


async def moment_of(house: House) -> datetime:
    async with house.core.database.read() as connection:
        point = await house.core.database.now(connection)
    await asyncio.sleep(0.002)  # the next head is later by the database's clock
    return point


# -- what is lacking or damaged


async def test_a_document_whose_head_the_backup_lacks_is_named_and_stays(tmp_path: Path) -> None:
    async with past(tmp_path) as was:
        kept = await named(was, "kept")
        await was.house.core.store.delete([head_of(kept, 1)])
        assert (await make_backups(was.house.core).create()).lacking == (head_of(kept, 1),)
        before = await was.contents(was.acme)
        async with was.source("backup") as source:
            done = await in_place(was, source)
            new = await beside(was, source)
            tenant_id = was.acme.context.tenant_id
            source._manifest = replace(source._manifest, lacking=(keys.tenant_head(tenant_id, 2),))
            assert await source.tenants() == [tenant_id], "whoever goes back to it hears of it"
            with pytest.raises(DataCorrupt, match="lacks its head"):
                await source.tenant(tenant_id)

        assert await was.contents(was.acme) == before
        everything = Counted(4, sum(map(len, before.values())))
        assert (done.removed, done.unchanged, done.ok, done.then) == (0, 3, False, everything)
        assert (new.brought_back, new.suspended, new.then) == (3, True, everything)
        for each in (done, new):
            assert kept.document_id in each.problems[0]
            assert "lacks its head" in each.problems[0]


async def test_a_backup_that_may_lack_more_heads_than_it_names_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for room in ("model", "creator"):
        monkeypatch.setattr(f"s4.domains.backup.{room}.LACKING_MAX", 2)
    async with past(tmp_path) as was:
        backups, store = make_backups(was.house.core), was.house.core.store
        new, kept, patched = [await named(was, key) for key in ("new", "kept", "patched")]
        await store.delete([content_of(new)])
        await backups.create(anew=True)
        async with was.source("backup") as source:
            assert (await in_place(was, source, dry_run=True)).problems == [], "one of two"
        await store.delete([head_of(kept, 1)])
        assert (await backups.create(anew=True)).lacking == (head_of(kept, 1), content_of(new)), "heads first"
        await store.delete([head_of(patched, 2)])
        await backups.create(anew=True)
        async with was.source("backup") as source:
            with pytest.raises(DataCorrupt, match="more heads than it names"):
                await in_place(was, source)
            assert "more heads than it names" in (await beside(was, source)).problems[0]


async def test_at_a_moment_of_which_the_head_is_lost_or_unreadable_a_document_stays(tmp_path: Path) -> None:
    async with past(tmp_path) as was, was.source("moment") as source:
        replaced, patched, kept = [await named(was, key) for key in ("replaced", "patched", "kept")]
        await was.house.core.store.delete([head_of(replaced, 1)])
        await was.house.core.store.put(head_of(patched, 1), b"{")

        done = await in_place(was, source)

        assert (done.changed, done.brought_back, done.removed, done.ok) == (0, 1, 1, False)
        assert [which in "".join(done.problems) for which in (replaced.document_id, patched.document_id)] == [True] * 2
        assert await was.contents(was.acme) == THEN | {"replaced": b"after the change"}
        await was.house.core.store.delete([head_of(kept, 1)])
        new = await beside(was, source)
        assert kept.document_id in "".join(new.problems), "the catalog knows it, whatever the bucket has"
        assert new.suspended


async def test_a_head_that_nobody_can_read_keeps_no_other_document_from_going_back(tmp_path: Path) -> None:
    async with past(tmp_path) as was, was.source("backup") as source:
        for key in ("replaced", "new"):
            await was.house.core.store.put(head_of(await named(was, key), 2 if key == "replaced" else 1), b"{")

        done = await in_place(was, source, heals=True)

        assert (done.changed, done.brought_back, done.removed, done.problems) == (2, 1, 1, [])
        assert await was.contents(was.acme) == THEN


async def test_bytes_that_are_not_what_they_were_do_not_come_back(tmp_path: Path) -> None:
    """And keep nothing else from it."""
    async with past(tmp_path) as was, was.source("moment") as source:
        tenant_id = was.acme.context.tenant_id
        deleted = was.house.core.documents.id_for_key(was.acme.context, "deleted")
        heads = {each.document_id: each.head async for each in source.documents(tenant_id, if_changed=True)}
        rotten = THEN["deleted"].replace(b"before", b"behind")
        await was.house.core.store.put(keys.content(tenant_id, deleted, heads[deleted].body["version_id"]), rotten)

        done = await in_place(was, source)

        assert (done.brought_back, done.changed, done.removed) == (0, 2, 1)
        assert deleted in done.problems[0]
        assert "deleted" not in await was.contents(was.acme)


def test_a_tenant_whose_head_is_damaged_keeps_no_other_from_going_back(tmp_path: Path, here: Command) -> None:
    async def live() -> tuple[TenantId, TenantId, str]:
        async with open_house(tmp_path) as house:
            acme, globex = await house.tenant(), await house.tenant("Globex")
            broken, sound = sorted((acme, globex), key=lambda each: each.context.tenant_id)
            point = await moment_of(house)
            await house.put(sound, "new", "too late")
            await house.core.store.put(keys.tenant_head(broken.context.tenant_id, 1), b"{")
            return broken.context.tenant_id, sound.context.tenant_id, rfc3339(point)

    broken, sound, point = asyncio.run(live())

    done = here("restore", "--at", point, "--in-place", "--data-dir", tmp_path, S4_EMBEDDING_PROVIDER="deterministic")

    assert done.code == 1
    assert broken in done.err
    assert broken not in done.out, "nothing of it was counted"
    assert f"{sound} into {sound}: 0 brought back, 0 changed, 1 removed" in " ".join(done.out.split())


# -- legal holds


async def test_healing_bytes_keeps_the_hold_and_never_puts_others_in_their_place(tmp_path: Path) -> None:
    async with past(tmp_path) as was, was.source("backup") as source:
        core, tenant_id = was.house.core, was.acme.context.tenant_id
        held = [await named(was, key) for key in ("kept", "patched", "replaced")]
        for document in held:
            await core.holds.place_for(OWNER, tenant_id, document.document_id, reason="Case 7")
            await core.store.put(content_of(document), b"rotten")

        planned = await in_place(was, source, heals=True, dry_run=True)
        done = await in_place(was, source, heals=True)

        assert (planned.changed, planned.held, planned.problems) == (done.changed, done.held, done.problems)
        assert (done.changed, done.held) == (2, 1)
        assert [held[2].document_id in problem for problem in done.problems] == [True]
        after = {document.key: document for document in await was.house.all(was.acme)}
        assert [list(after[each.key].holds) for each in held] == [["operator"]] * 3
        assert after["patched"].metadata == {"state": "new"}, "it is under a hold, and stays what it is"
        healed = THEN | {"replaced": b"rotten"}
        assert await was.contents(was.acme) == healed


async def test_a_hold_that_was_lifted_since_does_not_come_back_in_place(tmp_path: Path) -> None:
    async with past(tmp_path) as was:
        core, tenant_id = was.house.core, was.acme.context.tenant_id
        held = [await named(was, key) for key in ("kept", "replaced")]
        for document in held:
            await core.holds.place_for(OWNER, tenant_id, document.document_id, reason="Case 7")
        await make_backups(core).create()
        for document in held:
            await core.holds.lift_for(OWNER, tenant_id, document.document_id)
        await was.house.put(was.acme, "kept", "is another")
        await core.documents.delete(was.acme.context, held[1].document_id)

        async with was.source("backup") as source:
            done = await in_place(was, source)

        assert (done.changed, done.brought_back) == (1, 1)
        assert [dict(document.holds) for document in await was.house.all(was.acme)] == [{}] * 4


async def test_a_tenant_under_a_hold_is_left_as_it_is(tmp_path: Path) -> None:
    async with past(tmp_path) as was, was.source("backup") as source:
        before = await was.contents(was.acme)
        await was.house.core.lifecycle.hold(OWNER, was.acme.context.tenant_id, reason="Case 8")

        planned, done = await in_place(was, source, dry_run=True), await in_place(was, source)

        for each in (planned, done):
            assert (each.held, each.changed, each.removed, each.brought_back) == (3, 0, 0, 1)
            assert each.bytes_copied == len(THEN["deleted"]), "nothing is copied for what stays"
        assert await was.contents(was.acme) == before | {"deleted": THEN["deleted"]}


async def test_a_hold_that_is_placed_on_the_tenant_meanwhile_binds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("s4.domains.backup.rewinder._PARALLEL", 1)
    async with past(tmp_path) as was, was.source("backup") as source:
        lifecycle, tenant_id = was.house.core.lifecycle, was.acme.context.tenant_id
        only = await named(was, "replaced")
        original = source.documents

        async def one(tenant_id: TenantId, *, if_changed: bool) -> AsyncIterator[Any]:
            async for each in original(tenant_id, if_changed=if_changed):
                if each.document_id == only.document_id:
                    yield each

        source.documents = one
        first_read(source, lambda: lifecycle.hold(OWNER, tenant_id, reason="Case 9"))

        done = await in_place(was, source)

        assert (done.changed, done.removed) == (0, 0)
        assert (await was.contents(was.acme))["replaced"] == b"after the change"
        assert done.held == 4, "and those that were not there then"


async def test_what_is_changed_meanwhile_stays_as_it_was_left(tmp_path: Path) -> None:
    async with past(tmp_path) as was, was.source("backup") as source:
        documents, replaced = was.house.core.documents, await named(was, "replaced")
        first_read(
            source, lambda: documents.patch_metadata(was.acme.context, replaced.document_id, {"by": "its owner"})
        )

        done = await in_place(was, source)

        assert (done.changed_meanwhile, done.changed, done.ok) == (1, 1, False)
        after = await named(was, "replaced")
        assert (after.metadata, after.sha256) == ({"by": "its owner"}, replaced.sha256)


# -- a new tenant


async def test_a_new_tenant_has_the_days_and_the_hold_from_its_first_moment(tmp_path: Path) -> None:
    async with open_house(tmp_path) as house:
        core, acme = house.core, await house.tenant()
        await core.lifecycle.set_keeping(OWNER, acme.context.tenant_id, Keeping(0, 7))
        await core.lifecycle.hold(OWNER, acme.context.tenant_id, reason="Case 10")
        was = Past(house, acme, await moment_of(house))

        async with was.source("moment") as source:
            new = await beside(was, source)

        first = await core.chains.read(tenant_subject(TenantId(new.into)), 1)
        assert first.body["keeping"] == {"retention_days": 0, "archive_after_days": 7}
        tenant = await core.tenants.get(TenantId(new.into))
        assert (tenant.status, tenant.keeping) == (TenantStatus.ACTIVE, Keeping(0, 7))
        assert tenant.hold is not None
        assert tenant.hold.reason == "Case 10"


async def test_what_came_back_counts_as_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    true_now, ahead = Database.now, timedelta(0)

    async def now(self: Database, connection: Connection) -> datetime:
        return await true_now(self, connection) + ahead

    monkeypatch.setattr(Database, "now", now)
    async with open_house(tmp_path) as house:
        core = house.core
        await core.plans.create(OWNER, Plan("cold", "Cold", archive_after_days=1))
        _, key = await core.tenants.create(OWNER, NewTenant("Acme", None, None, "cold"))
        acme = await house.known(key)
        await house.put(acme, "one", "Tides follow the moon.")
        was = Past(house, acme, await moment_of(house))
        ahead = timedelta(days=3)
        async with was.source("moment") as source:
            new = await beside(was, source)
        assert new.api_key is not None
        await house.work()
        sweep = JobRequest(RETENTION, SYSTEM, RETENTION, {})
        await core.database.transact(lambda connection: core.queue.enqueue(connection, sweep))

        await house.work()

        ended = [await house.all(tenant) for tenant in (acme, await house.known(new.api_key))]
        assert [document.status.value for (document,) in ended] == ["archived", "ready"]


def test_a_tenant_whose_plan_is_gone_comes_back_on_another(tmp_path: Path, here: Command) -> None:
    async def live() -> tuple[TenantId, str]:
        async with open_house(tmp_path) as house:
            core = house.core
            await core.plans.create(OWNER, Plan("short", "Short"))
            acme, _ = await core.tenants.create(OWNER, NewTenant("Acme", None, None, "short"))
            point = await moment_of(house)
            await core.lifecycle.change_plan(OWNER, acme.tenant_id, PlanChange("local"))
            await core.plans.delete(OWNER, "short")
            return acme.tenant_id, rfc3339(point)

    tenant_id, point = asyncio.run(live())
    way = ("restore", "--at", point, "--tenant", tenant_id, "--as-new", "Again", "--data-dir", tmp_path)

    refused = here(*way, S4_EMBEDDING_PROVIDER="deterministic")
    done = here(*way, "--plan", "local", S4_EMBEDDING_PROVIDER="deterministic")
    wrong = here("restore", "--at", point, "--in-place", "--plan", "local", "--data-dir", tmp_path)

    assert refused.code != 0
    assert "say another by --plan" in " ".join(refused.err.split())
    assert done.code == 0, done.err
    assert "Its key" in done.out
    assert wrong.code == 2


async def test_a_new_tenant_that_was_suspended_for_another_reason_stays_so(tmp_path: Path) -> None:
    """Before it was found to be whole, and in between."""
    async with past(tmp_path) as was, was.source("backup") as source:
        core = was.house.core

        async def suspended(_: Any = None) -> bool:
            await core.lifecycle.suspend(OWNER, TenantId(new.into), reason="unpaid")
            return True

        new = await beside(was, source)
        assert new.suspended, "nobody has indexed it"
        await was.house.work()
        rewinder = make_rewinder(core, patience=timedelta(0))
        rewinder._finds = suspended
        for searches in (4, 0):
            done = await rewinder.beside(OWNER, source, was.acme.context.tenant_id, Erased(), name="Beside")

            tenant = await core.tenants.get(TenantId(new.into))
            assert (tenant.status, tenant.status_reason) == (TenantStatus.SUSPENDED, "unpaid")
            assert (done.suspended, done.searches, done.problems) == (True, searches, [])
