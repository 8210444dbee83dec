"""Legal holds, the archive and retention, by the calendar: nothing goes before its date, and nothing that is held."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from s4.domains.audit.queries import Wanted
from s4.domains.documents import Document, DocumentStatus
from s4.domains.documents.keeping import retention
from s4.domains.documents.keeping.retention import RETENTION
from s4.domains.documents.queries import keeping
from s4.domains.maintenance import service as maintenance
from s4.domains.plans.model import Plan
from s4.domains.tenants import Keeping, PlanChange
from s4.kernel import keys
from s4.kernel.context import TenantContext
from s4.kernel.errors import Conflict, NotFound
from s4.kernel.pages import PageRequest
from s4.platform.database import Connection, Database
from s4.platform.jobs import SYSTEM, JobRequest
from s4.platform.objects import ObjectMissing
from tests.factories.house import House, Tenant, open_house
from tests.factories.process import OWNER

FAR = datetime(9999, 1, 1, tzinfo=UTC)
TEXT = "Tides follow the moon."
SetClock = Callable[[timedelta], None]


@pytest.fixture
def set_clock(monkeypatch: pytest.MonkeyPatch) -> SetClock:
    """`set_clock(days)`: from here on the database says that it is so much later than it is."""
    true_now = Database.now
    ahead = timedelta()

    async def now(self: Database, connection: Connection) -> datetime:
        return await true_now(self, connection) + ahead

    def set_to(later: timedelta) -> None:
        nonlocal ahead
        ahead = later

    monkeypatch.setattr(Database, "now", now)
    return set_to


async def sweep(house: House, kind: str) -> None:
    request = JobRequest(kind, SYSTEM, kind, {})
    await house.core.database.transact(lambda c: house.core.queue.enqueue(c, request))
    await house.work()


async def kept(house: House, tenant: Tenant, *, retention: int | None = None, archive: int | None = None) -> None:
    await house.core.lifecycle.set_keeping(OWNER, tenant.context.tenant_id, Keeping(retention, archive))


async def read(house: House, context: TenantContext, document: Document) -> bytes:
    """As a download does."""
    found = await house.core.documents.get(context, document.document_id)
    await house.core.archive.refuse_if_archived(context, found)
    return b"".join([part async for part in house.core.documents.content(found)])


async def trail(house: House, action: str) -> list[dict[str, Any]]:
    listed, _ = await house.core.audit.page(OWNER, Wanted(action=action), PageRequest(1, 100))
    return [
        {"subject": each.entry.subject, "actor": each.entry.actor_kind, "after": each.entry.after} for each in listed
    ]


def content_of(document: Document) -> keys.ObjectKey:
    return keys.content(document.tenant_id, document.document_id, document.version_id)


# -- holds


async def test_what_is_held_is_neither_deleted_nor_replaced_by_anybody(tmp_path: Path, set_clock: SetClock) -> None:
    async with open_house(tmp_path) as house:
        acme = await house.tenant()
        held, free = await house.put(acme, "held", TEXT), await house.put(acme, "free", TEXT)
        await kept(house, acme, retention=1)
        await house.core.holds.place(acme.context, held.document_id, reason="Case 7")
        await house.core.holds.place_for(OWNER, held.tenant_id, held.document_id, reason="Case 8")

        with pytest.raises(Conflict, match="legal hold") as refused:
            await house.core.documents.delete(acme.context, held.document_id)
        assert refused.value.details == {"legal_hold": True, "held_by": ["operator", "tenant"]}
        with pytest.raises(Conflict, match="legal hold"):
            await house.put(acme, "held", "Another text.")
        with pytest.raises(Conflict, match="legal hold"):
            await house.core.lifecycle.delete(OWNER, held.tenant_id)
        assert await house.core.documents.bulk_delete(acme.context, [held.document_id]) == ([], [held.document_id])

        set_clock(timedelta(days=2))
        await sweep(house, RETENTION)
        assert [document.key for document in await house.all(acme)] == ["held"], free.key

        await house.core.holds.lift(acme.context, held.document_id)
        with pytest.raises(Conflict, match="legal hold"):
            await house.core.documents.delete(acme.context, held.document_id)
        await house.core.holds.lift_for(OWNER, held.tenant_id, held.document_id)
        await sweep(house, RETENTION)
        assert await house.all(acme) == []
        assert len(await trail(house, "document.hold")) == len(await trail(house, "document.lift_hold")) == 2


async def test_a_held_tenant_keeps_everything_even_what_it_deleted_before(tmp_path: Path, set_clock: SetClock) -> None:
    async with open_house(tmp_path, garbage_grace_seconds=0, tenant_delete_grace_days=0) as house:
        acme = await house.tenant()
        tenant_id = acme.context.tenant_id
        deleted, living = await house.put(acme, "deleted", TEXT), await house.put(acme, "living", TEXT)
        await house.core.documents.delete(acme.context, deleted.document_id)
        await kept(house, acme, retention=1)
        await house.core.lifecycle.hold(OWNER, tenant_id, reason="Case 9")

        set_clock(timedelta(days=3))
        for kind in (RETENTION, maintenance.COLLECT, maintenance.DEPARTURES):
            await sweep(house, kind)
        assert await house.core.store.get(content_of(deleted)) == TEXT.encode(), "spoliation would be a crime"
        assert [document.key for document in await house.all(acme)] == ["living"]
        for refused in (
            house.core.documents.delete(acme.context, living.document_id),
            house.put(acme, "living", "Another text."),
            house.core.lifecycle.delete(OWNER, tenant_id),
        ):
            with pytest.raises(Conflict, match="legal hold"):
                await refused
        assert (await house.put(acme, "new", TEXT)).key == "new", "a tenant under a hold goes on working"

        await house.core.lifecycle.lift_hold(OWNER, tenant_id)
        await sweep(house, maintenance.COLLECT)
        with pytest.raises(ObjectMissing):
            await house.core.store.get(content_of(deleted))


async def test_a_hold_placed_while_the_tenant_is_being_deleted_keeps_it(tmp_path: Path, set_clock: SetClock) -> None:
    async with open_house(tmp_path, tenant_delete_grace_days=1) as house:
        acme = await house.tenant()
        document = await house.put(acme, "k", TEXT)
        await house.core.lifecycle.delete(OWNER, acme.context.tenant_id)
        with pytest.raises(Conflict, match="being deleted"):
            await house.core.holds.place_for(OWNER, document.tenant_id, document.document_id, reason="late")
        await house.core.lifecycle.hold(OWNER, document.tenant_id, reason="late")
        set_clock(timedelta(days=2))
        await sweep(house, maintenance.DEPARTURES)
        with pytest.raises(Conflict, match="legal hold"):
            await house.core.lifecycle.finish_deletion(OWNER, document.tenant_id)
        await house.core.lifecycle.lift_hold(OWNER, document.tenant_id)
        await sweep(house, maintenance.DEPARTURES)
        with pytest.raises(NotFound):
            await house.core.tenants.get(document.tenant_id)


async def test_a_rebuilt_catalog_knows_holds_days_and_what_is_archived(tmp_path: Path) -> None:
    async with open_house(tmp_path) as house:
        acme, other = await house.tenant("Acme"), await house.tenant("Other")
        held, cold = await house.put(acme, "held", TEXT), await house.put(acme, "cold", TEXT)
        await house.work()
        await house.core.holds.place(acme.context, held.document_id, reason="Case 7")
        await house.core.archive.archive(acme.context, cold.document_id)
        await house.core.lifecycle.hold(OWNER, other.context.tenant_id, reason="Case 8")
        await kept(house, acme, retention=400, archive=0)
        await house.work()
        before = [await house.get(acme, document.document_id) for document in (held, cold)]
    for path in tmp_path.glob("catalog.sqlite*"):
        path.unlink()
    async with open_house(tmp_path) as rebuilt:
        await rebuilt.work()
        after = [await rebuilt.get(acme, document.document_id) for document in (held, cold)]
        assert [(d.holds, d.archived_at, d.status) for d in after] == [
            (d.holds, d.archived_at, d.status) for d in before
        ]
        assert await rebuilt.found(acme, "tides") == [held.document_id]
        tenant = await rebuilt.core.tenants.get(acme.context.tenant_id)
        assert tenant.keeping == Keeping(400, 0)
        assert (await rebuilt.core.tenants.get(other.context.tenant_id)).hold is not None
        with pytest.raises(Conflict, match="legal hold"):
            await rebuilt.core.documents.delete(acme.context, held.document_id)


# -- retention


async def test_nothing_goes_before_its_date(tmp_path: Path, set_clock: SetClock) -> None:
    async with open_house(tmp_path) as house:
        acme = await house.tenant()
        document = await house.put(acme, "k", TEXT)
        await kept(house, acme, retention=30)
        for later, is_there in (
            (timedelta(days=30) - timedelta(minutes=1), True),
            (timedelta(days=30, minutes=1), False),
        ):
            set_clock(later)
            _, due = await house.core.retention.due(OWNER)
            assert bool(due) is not is_there, "the dry run says the same"
            assert len(await house.all(acme)) == 1, "and does nothing"
            await sweep(house, RETENTION)
            assert bool(await house.all(acme)) is is_there
        (entry,) = await trail(house, "document.expired")
        assert entry == {
            "subject": f"document/{document.document_id}",
            "actor": "system",
            "after": {"after_days": 30},
        }


async def test_a_document_that_nobody_can_read_stays_and_keeps_no_other(
    tmp_path: Path, set_clock: SetClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "_AT_ONCE", 2)
    async with open_house(tmp_path) as house:
        acme, globex = await house.tenant(), await house.tenant("Globex")
        damaged = await house.put(acme, "damaged", TEXT)
        head = keys.document_head(acme.context.tenant_id, damaged.document_id, damaged.revision + 1)
        await house.core.store.put(head, b"{")
        for tenant in (acme, globex):
            for number in range(3):
                await house.put(tenant, f"sound {number}", TEXT)
            await kept(house, tenant, retention=30)
        set_clock(timedelta(days=31))

        with capture_logs() as logs:
            done = await house.core.retention.run(OWNER)

        assert done.deleted == 6
        assert [each["document_id"] for each in logs if each["event"] == "retention.document_in_doubt"] == [
            damaged.document_id
        ]
        assert [each.document_id for each in await house.all(acme)] == [damaged.document_id]


async def test_the_plan_says_it_where_the_tenant_does_not_and_zero_is_for_ever(
    tmp_path: Path, set_clock: SetClock
) -> None:
    async with open_house(tmp_path) as house:
        await house.core.plans.create(OWNER, Plan("short", "Short", retention_days=1))
        by_plan, own, for_ever = [await house.tenant(name) for name in ("By plan", "Own", "For ever")]
        for tenant in (by_plan, own, for_ever):
            await house.core.lifecycle.change_plan(OWNER, tenant.context.tenant_id, PlanChange("short"))
            await house.put(tenant, "k", TEXT)
        await kept(house, own, retention=10)
        await kept(house, for_ever, retention=0)
        left = []
        for days in (2, 11, 10_000):
            set_clock(timedelta(days=days))
            await house.core.retention.run(OWNER)
            left.append([len(await house.all(tenant)) for tenant in (by_plan, own, for_ever)])
        assert left == [[0, 1, 1], [0, 0, 1], [0, 0, 1]]


async def test_a_replaced_document_begins_anew_and_a_longer_time_counts_at_once(
    tmp_path: Path, set_clock: SetClock
) -> None:
    async with open_house(tmp_path) as house:
        acme = await house.tenant()
        await house.put(acme, "k", TEXT)
        await kept(house, acme, retention=10)
        set_clock(timedelta(days=8))
        await house.put(acme, "k", "A newer text.")
        set_clock(timedelta(days=17))
        assert (await house.core.retention.run(OWNER)).deleted == 0
        set_clock(timedelta(days=19))
        due = await house.core.retention._database.transact(lambda c: _due(c, acme))
        await kept(house, acme, retention=20)
        assert not await house.core.retention._expire(OWNER.actor, due), "said to be due before the policy changed"
        assert len(await house.all(acme)) == 1


async def test_a_hold_that_comes_after_retention_has_looked_wins(tmp_path: Path, set_clock: SetClock) -> None:
    async with open_house(tmp_path) as house:
        acme = await house.tenant()
        document = await house.put(acme, "k", TEXT)
        await kept(house, acme, retention=1)
        set_clock(timedelta(days=2))
        due = await house.core.retention._database.transact(lambda c: _due(c, acme))

        await house.core.holds.place(acme.context, document.document_id, reason="Case 7")
        assert not await house.core.retention._expire(OWNER.actor, due)
        await house.core.lifecycle.hold(OWNER, document.tenant_id, reason="Case 8")
        await house.core.holds.lift(acme.context, document.document_id)
        assert not await house.core.retention._expire(OWNER.actor, due), "nor where the whole tenant is held"

        await house.core.lifecycle.lift_hold(OWNER, document.tenant_id)
        assert await house.core.retention._expire(OWNER.actor, due), "but for the holds it goes"


async def _due(connection: Connection, tenant: Tenant) -> Document:
    (due,) = await keeping.uploaded_by(connection, tenant.context.tenant_id, FAR, limit=1)
    return due


# -- archive


async def test_an_archived_document_is_out_of_search_and_its_bytes_are_kept(tmp_path: Path) -> None:
    async with open_house(tmp_path, archive_restore_on_access=False) as house:
        acme = await house.tenant()
        document = await house.put(acme, "k", TEXT, {"year": 2026})
        await house.work()
        balance = (await house.core.tenants.get(document.tenant_id)).stored_bytes

        archived = await house.core.archive.archive(acme.context, document.document_id)
        assert (archived.status, await house.found(acme, "tides")) == (DocumentStatus.ARCHIVED, [])
        await house.work()
        assert await house.found(acme, "tides") == []
        assert await house.core.store.get(content_of(document)) == TEXT.encode()
        assert (await house.core.tenants.get(document.tenant_id)).stored_bytes == balance, "kept bytes count"
        with pytest.raises(Conflict, match="archived") as refused:
            await read(house, acme.context, document)
        assert refused.value.details["status"] == "archived"
        assert await house.core.archive.archive(acme.context, document.document_id) == await house.get(
            acme, document.document_id
        ), "twice changes nothing"
        patched = await house.core.documents.patch_metadata(acme.context, document.document_id, {"year": 2027})
        for kind in (maintenance.RECONCILE, maintenance.COLLECT, maintenance.OPTIMIZE):
            await sweep(house, kind)
        assert (patched.status, await house.found(acme, "tides")) == (DocumentStatus.ARCHIVED, []), "stays so"

        restoring = await house.core.archive.restore(acme.context, document.document_id)
        assert restoring.status is DocumentStatus.RESTORING
        assert await read(house, acme.context, document) == TEXT.encode(), "bytes are there at once"
        await house.work()
        restored = await house.get(acme, document.document_id)
        assert (restored.status, restored.metadata) == (DocumentStatus.READY, {"year": 2027})
        assert await house.found(acme, "tides") == [document.document_id]
        with pytest.raises(Conflict, match="not archived"):
            await house.core.archive.restore(acme.context, document.document_id)


async def test_who_reads_an_archived_document_has_it_brought_back(tmp_path: Path) -> None:
    async with open_house(tmp_path) as house:
        acme = await house.tenant()
        document = await house.put(acme, "k", TEXT)
        await house.work()
        await house.core.archive.archive(acme.context, document.document_id)
        with pytest.raises(Conflict, match="being brought back") as refused:
            await read(house, acme.context, document)
        assert refused.value.details["status"] == "restoring"
        assert await read(house, acme.context, document) == TEXT.encode()
        await house.work()
        assert await house.found(acme, "tides") == [document.document_id]


async def test_archive_restore_replace_and_delete_in_any_order_leave_what_came_last(tmp_path: Path) -> None:
    """The jobs of all of them run together, after the last."""
    async with open_house(tmp_path) as house:
        acme = await house.tenant()
        archive, documents = house.core.archive, house.core.documents
        first, second, third = [await house.put(acme, name, TEXT) for name in ("first", "second", "third")]
        await archive.archive(acme.context, first.document_id)  # still in processing
        await archive.restore(acme.context, first.document_id)
        await house.work()
        await archive.archive(acme.context, second.document_id)
        await house.put(acme, "second", "Tides, written anew.")
        await archive.archive(acme.context, first.document_id)
        await documents.reprocess(acme.context, first.document_id)
        await archive.archive(acme.context, third.document_id)
        await documents.delete(acme.context, third.document_id)
        await house.work()
        assert {document.status for document in await house.all(acme)} == {DocumentStatus.READY}
        assert set(await house.found(acme, "tides")) == {first.document_id, second.document_id}
        with pytest.raises(NotFound):
            await archive.restore(acme.context, third.document_id)


async def test_what_nobody_reads_is_archived_after_its_days_and_what_searches_find_is_read(
    tmp_path: Path, set_clock: SetClock
) -> None:
    async with open_house(tmp_path) as house:
        acme = await house.tenant()
        unread, found = await house.put(acme, "unread", "Ebb and flow."), await house.put(acme, "found", TEXT)
        downloaded = await house.put(acme, "downloaded", "Of the sea.")
        await house.work()
        await kept(house, acme, archive=30)
        set_clock(timedelta(days=20))
        assert await house.found(acme, "tides") == [found.document_id]
        await house.core.reads.note()
        await house.core.documents.note_access(await house.get(acme, downloaded.document_id))
        set_clock(timedelta(days=29))
        await sweep(house, RETENTION)
        assert {document.status for document in await house.all(acme)} == {DocumentStatus.READY}
        set_clock(timedelta(days=31))
        _, (due,) = await house.core.retention.due(OWNER)
        assert (due.unread.documents, due.expired.documents) == (1, 0)
        await sweep(house, RETENTION)
        states = {document.key: document.status.value for document in await house.all(acme)}
        assert states == {"unread": "archived", "found": "ready", "downloaded": "ready"}, unread.key
        assert [entry["actor"] for entry in await trail(house, "document.archive")] == ["system"]


@pytest.mark.parametrize("comes", ["a reader", "more days"])
async def test_what_comes_after_retention_has_looked_keeps_a_document_out_of_the_archive(
    comes: str, tmp_path: Path, set_clock: SetClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    look = keeping.unread_since
    async with open_house(tmp_path) as house:
        acme = await house.tenant()
        document = await house.put(acme, "k", TEXT)
        await house.work()
        await kept(house, acme, archive=30)
        set_clock(timedelta(days=31))

        async def looked(*arguments: Any, **named: Any) -> list[Document]:
            due = await look(*arguments, **named)
            if comes == "a reader":
                await house.core.documents.note_access(document)
            else:
                await kept(house, acme, archive=40)
            assert due, "it was due when it was looked for"
            return due

        monkeypatch.setattr(keeping, "unread_since", looked)
        assert (await house.core.retention.run(OWNER)).archived == 0
        assert (await house.get(acme, document.document_id)).status is DocumentStatus.READY


async def test_a_new_catalog_knows_no_readers_and_archives_nothing_before_its_own_days(
    tmp_path: Path, set_clock: SetClock
) -> None:
    async with open_house(tmp_path) as house:
        acme = await house.tenant()
        await house.put(acme, "k", TEXT)
        await kept(house, acme, archive=30)
    for path in tmp_path.glob("catalog.sqlite*"):
        path.unlink()
    set_clock(timedelta(days=40))
    async with open_house(tmp_path) as rebuilt:
        await rebuilt.work()
        await sweep(rebuilt, RETENTION)
        assert {document.status for document in await rebuilt.all(acme)} == {DocumentStatus.READY}
        set_clock(timedelta(days=71))
        await sweep(rebuilt, RETENTION)
        assert {document.status for document in await rebuilt.all(acme)} == {DocumentStatus.ARCHIVED}
