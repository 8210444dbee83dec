"""What becomes of tenants, on both databases: created once, changed through their chain, gone for good."""

import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from s4.domains.access import AccessService, AdministratorService
from s4.domains.audit.models import audit_entries
from s4.domains.events.models import events
from s4.domains.leaving import Elsewhere, Erasures, ErasureTimes
from s4.domains.leaving import erasures as erasures_module
from s4.domains.leaving.queries.erasures import GOES_WITH_ITS_TENANT
from s4.domains.maintenance.departures import Departures
from s4.domains.tenants import NewTenant, PlanChange, Tenant
from s4.domains.tenants.models import tenant_claims, tenants
from s4.kernel import keys
from s4.kernel.context import NOWHERE, TenantContext
from s4.kernel.errors import Conflict, Forbidden, InvalidRequest, NotFound, Unauthenticated, Unavailable
from s4.kernel.ids import TenantId
from s4.kernel.keys import Collection
from s4.kernel.settings import Settings
from s4.platform import faults
from s4.platform.chains import Records
from s4.platform.database import Database
from s4.platform.http.routing import Credentials
from s4.platform.objects import ObjectStore, open_store
from s4.platform.security.signing import Signer
from tests.factories.catalog import open_catalog, sqlite_url
from tests.factories.process import ALIVE_LONG, OWNER, MiniProcess, ProcessDied

ACME = NewTenant("Acme", "ada@acme.example", "Acme Ltd", "basic")
NOW = timedelta(0)
STEPS = ["tenant.sealed", "tenant.committed", "tenant.settled"]


on_one_database = pytest.mark.parametrize("catalog_url", ["sqlite"], indirect=True)
"""What does not depend on the database's own ways."""


@pytest.fixture(autouse=True)
def _disarm() -> Iterator[None]:
    yield
    faults.arm({})


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[ObjectStore]:
    opened = open_store(Settings(store_url=(tmp_path / "objects").as_uri()))
    yield opened
    await opened.aclose()


@pytest.fixture
def process(catalog: Database, store: ObjectStore) -> MiniProcess:
    return MiniProcess(catalog, store, lease=NOW)


async def enter(process: MiniProcess, key: str) -> TenantContext:
    records = Records(Collection.ADMINS, process.database, process.chains)
    administrators = AdministratorService(process.database, records, secrets.token_bytes)
    access = AccessService(process.database, administrators, admin_api_key="", failures_per_minute=1000)
    return await access.tenant(Credentials(tenant_key=key, admin_key=None, origin=NOWHERE))


async def read(process: MiniProcess, selected: sa.Select[Any]) -> list[Any]:
    async with process.database.read() as connection:
        return [tuple(row) for row in await connection.execute(selected)]


async def actions(process: MiniProcess, tenant_id: TenantId) -> list[str]:
    of_tenant = sa.select(audit_entries.c.action).where(audit_entries.c.tenant_id == tenant_id)
    return [row[0] for row in await read(process, of_tenant.order_by(audit_entries.c.at))]


async def depart(process: MiniProcess) -> dict[str, int]:
    records = Records(Collection.ERASURES, process.database, process.chains)
    erasures = Erasures(
        process.database,
        process.store,  # type: ignore[arg-type]  # forwards everything
        process.queue,
        records,
        Signer("of the tests"),
        ErasureTimes(settle=timedelta(hours=1)),
        epoch="test",
        term=1,
        elsewhere=Elsewhere(),
    )
    return (await Departures(process.lifecycle, erasures).run()).counts


async def count(process: MiniProcess) -> int:
    return len(await read(process, sa.select(tenants.c.tenant_id).where(tenants.c.state == "live")))


# -- creation


async def test_a_repeated_creation_answers_with_the_same_tenant_and_the_same_key(process: MiniProcess) -> None:
    first, key = await process.tenants.create(OWNER, ACME, idempotency_key="order-7")
    again, same = await process.tenants.create(OWNER, ACME, idempotency_key="order-7")
    assert (again, same) == (first, key)
    assert (await enter(process, same)).tenant_id == first.tenant_id
    assert await count(process) == 1
    assert await actions(process, first.tenant_id) == ["tenant.create"]


async def test_of_racing_creations_with_one_key_all_get_the_one_tenant(catalog: Database, store: ObjectStore) -> None:
    processes = [MiniProcess(catalog, store) for _ in range(4)]
    made = await asyncio.gather(*(p.tenants.create(OWNER, ACME, idempotency_key="order-7") for p in processes * 2))
    assert len({(tenant.tenant_id, key) for tenant, key in made}) == 1
    assert await count(processes[0]) == 1


@pytest.mark.parametrize("step", STEPS)
async def test_a_creator_that_died_is_repeated_and_there_is_one_tenant(
    catalog: Database, store: ObjectStore, step: str
) -> None:
    doomed, survivor = MiniProcess(catalog, store), MiniProcess(catalog, store, lease=NOW)
    faults.arm({step: doomed.die})
    with pytest.raises(ProcessDied):
        await doomed.tenants.create(OWNER, ACME, idempotency_key="order-7")
    faults.arm({})
    tenant, key = await survivor.tenants.create(OWNER, ACME, idempotency_key="order-7")
    assert (await enter(survivor, key)).tenant_id == tenant.tenant_id
    assert await count(survivor) == 1


@on_one_database
async def test_the_same_key_for_another_request_is_a_conflict_that_names_the_tenant(process: MiniProcess) -> None:
    first, _ = await process.tenants.create(OWNER, ACME, idempotency_key="order-7")
    with pytest.raises(Conflict) as refused:
        await process.tenants.create(OWNER, NewTenant("Other", None, None, "basic"), idempotency_key="order-7")
    assert refused.value.details == {"tenant_id": first.tenant_id}


async def test_after_a_day_the_key_makes_another_tenant_and_nothing_is_left_of_the_first_secret(
    process: MiniProcess,
) -> None:
    first, key = await process.tenants.create(OWNER, ACME, idempotency_key="order-7")
    assert await process.tenants.forget_claims() == 0
    process.database.ahead = timedelta(hours=25)
    assert await process.tenants.forget_claims() == 1
    assert await read(process, sa.select(tenant_claims.c.key_hash)) == []
    second, other = await process.tenants.create(OWNER, ACME, idempotency_key="order-7")
    assert second.tenant_id != first.tenant_id
    assert other != key


async def test_a_key_that_is_remembered_too_long_counts_as_forgotten(process: MiniProcess) -> None:
    """Whether or not a sweep came."""
    first, _ = await process.tenants.create(OWNER, ACME, idempotency_key="order-7")
    process.database.ahead = timedelta(hours=25)
    second, _ = await process.tenants.create(OWNER, ACME, idempotency_key="order-7")
    assert second.tenant_id != first.tenant_id


@on_one_database
async def test_who_reads_the_catalog_cannot_make_a_key_of_what_is_remembered(process: MiniProcess) -> None:
    """Without the server's secret the same claim makes another key."""
    _, key = await process.tenants.create(OWNER, ACME, idempotency_key="order-7")
    everything = str([await read(process, sa.select(table)) for table in (tenants, tenant_claims, audit_entries)])
    assert key not in everything
    assert key.split("_", 2)[2][:20] not in everything
    stranger = MiniProcess(process.database, process.store)  # type: ignore[arg-type]
    stranger.tenants._memory = type(stranger.tenants._memory)(remembered=timedelta(hours=24), secret="guessed")
    with pytest.raises(Conflict, match="its first key cannot be shown again"):
        await stranger.tenants.create(OWNER, ACME, idempotency_key="order-7")


@on_one_database
async def test_a_catalog_that_was_lost_still_knows_which_tenant_a_key_made(
    process: MiniProcess, store: ObjectStore, tmp_path: Path
) -> None:
    first, _ = await process.tenants.create(OWNER, ACME, idempotency_key="order-7")
    (tmp_path / "new").mkdir()
    fresh = open_catalog(sqlite_url(tmp_path / "new"))
    rebuilt = MiniProcess(fresh, store)
    await rebuilt.tenants.adopt(first.tenant_id)
    with pytest.raises(Conflict) as refused:
        await rebuilt.tenants.create(OWNER, ACME, idempotency_key="order-7")
    assert refused.value.details == {"tenant_id": first.tenant_id}
    await fresh.aclose()


async def test_two_tenants_do_not_share_an_external_id(process: MiniProcess) -> None:
    one = NewTenant("One", None, None, "basic", external_id="crm-1")
    first, _ = await process.tenants.create(OWNER, one)
    with pytest.raises(Conflict) as refused:
        await process.tenants.create(OWNER, one)
    assert refused.value.details == {"tenant_id": first.tenant_id}
    other, _ = await process.tenants.create(OWNER, ACME)
    with pytest.raises(Conflict):
        await process.lifecycle.update(OWNER, other.tenant_id, {"external_id": "crm-1"})


# -- change


async def acme(process: MiniProcess, new: NewTenant = ACME) -> tuple[Tenant, str]:
    return await process.tenants.create(OWNER, new)


@on_one_database
async def test_a_change_is_in_the_bucket_and_keeps_what_it_does_not_name(
    process: MiniProcess, store: ObjectStore
) -> None:
    tenant, key = await acme(process)
    changed = await process.lifecycle.update(OWNER, tenant.tenant_id, {"email": None, "name": "Acme II"})
    assert (changed.name, changed.email, changed.company) == ("Acme II", None, "Acme Ltd")
    head = json.loads(await store.get(keys.tenant_head(tenant.tenant_id, 2)))
    assert (head["body"]["name"], len(head["body"]["keys"])) == ("Acme II", 1)
    assert await enter(process, key)


async def test_a_tenant_that_an_older_release_wrote_can_be_changed(process: MiniProcess) -> None:
    tenant, key = await acme(process)
    await process.database.transact(lambda c: c.execute(sa.update(tenants).values(body=sa.null())))
    assert (await process.lifecycle.suspend(OWNER, tenant.tenant_id, reason=None)).status == "suspended"
    assert (await process.lifecycle.activate(OWNER, tenant.tenant_id)).name == "Acme"
    assert await enter(process, key)


async def test_changes_that_race_all_count(catalog: Database, store: ObjectStore) -> None:
    processes = [MiniProcess(catalog, store) for _ in range(3)]
    tenant, _ = await acme(processes[0])
    await asyncio.gather(
        processes[0].lifecycle.update(OWNER, tenant.tenant_id, {"name": "Renamed"}),
        processes[1].lifecycle.change_plan(OWNER, tenant.tenant_id, PlanChange("premium")),
        processes[2].lifecycle.suspend(OWNER, tenant.tenant_id, reason="unpaid"),
    )
    now = await processes[0].tenants.get(tenant.tenant_id)
    assert (now.name, now.plan_id, now.status, now.status_reason) == ("Renamed", "premium", "suspended", "unpaid")


async def test_an_act_that_is_repeated_is_noted_and_told_once(process: MiniProcess) -> None:
    tenant, _ = await acme(process)
    for _ in range(2):
        await process.lifecycle.suspend(OWNER, tenant.tenant_id, reason="unpaid")
    assert await actions(process, tenant.tenant_id) == ["tenant.create", "tenant.suspend"]
    told = await read(process, sa.select(events.c.kind, events.c.data).where(events.c.tenant_id == tenant.tenant_id))
    assert told == [("tenant.suspended", {"tenant_id": tenant.tenant_id, "reason": "unpaid"})]


@on_one_database
async def test_the_trail_tells_before_and_after_and_no_hash(process: MiniProcess) -> None:
    tenant, _ = await acme(process)
    await process.lifecycle.suspend(OWNER, tenant.tenant_id, reason="unpaid")
    (entry,) = await read(
        process,
        sa.select(audit_entries.c.before, audit_entries.c.after, audit_entries.c.actor).where(
            audit_entries.c.action == "tenant.suspend"
        ),
    )
    before, after, actor = entry
    assert (before["status"], after["status"], after["status_reason"]) == ("active", "suspended", "unpaid")
    assert actor == "tests"
    assert "hash" not in str(entry)


@pytest.mark.parametrize("step", STEPS)
async def test_a_suspension_that_was_broken_off_is_whole_or_is_not(
    catalog: Database, store: ObjectStore, step: str
) -> None:
    doomed, survivor = MiniProcess(catalog, store), MiniProcess(catalog, store, lease=NOW)
    tenant, key = await acme(survivor)
    faults.arm({step: doomed.die})
    with pytest.raises(ProcessDied):
        await doomed.lifecycle.suspend(OWNER, tenant.tenant_id, reason=None)
    faults.arm({})
    await survivor.chains.resolve_stale()
    if step == "tenant.sealed":
        assert await enter(survivor, key)
    else:
        with pytest.raises(Forbidden):
            await enter(survivor, key)


# -- plans with an end


async def test_a_plan_that_ends_is_followed_by_the_next_before_anybody_notes_it(process: MiniProcess) -> None:
    tenant, key = await acme(process)
    async with process.database.read() as connection:
        ends = await process.database.now(connection) + timedelta(days=30)
    changed = await process.lifecycle.change_plan(OWNER, tenant.tenant_id, PlanChange("premium", ends, "basic"))
    assert (changed.plan_id, changed.plan_expires_at, changed.then_plan_id) == ("premium", ends, "basic")
    assert (await enter(process, key)).plan.plan_id == "premium"
    process.database.ahead = timedelta(days=31)
    assert (await enter(process, key)).plan.plan_id == "basic"
    expected = ("basic", None, None)
    seen = await process.tenants.get(tenant.tenant_id)
    assert (seen.plan_id, seen.plan_expires_at, seen.then_plan_id) == expected
    assert await depart(process) == {"plans_followed": 1}
    assert await depart(process) == {}
    noted = await process.tenants.get(tenant.tenant_id)
    assert (noted.plan_id, noted.plan_expires_at, noted.then_plan_id) == expected
    assert (await actions(process, tenant.tenant_id))[-1] == "tenant.plan_expired"


@on_one_database
async def test_a_plan_without_an_end_renews_itself(process: MiniProcess) -> None:
    tenant, key = await acme(process)
    async with process.database.read() as connection:
        ends = await process.database.now(connection) + timedelta(days=30)
    await process.lifecycle.change_plan(OWNER, tenant.tenant_id, PlanChange("premium", ends))
    await process.lifecycle.change_plan(OWNER, tenant.tenant_id, PlanChange("premium"))
    process.database.ahead = timedelta(days=31)
    assert (await enter(process, key)).plan.plan_id == "premium"


@on_one_database
async def test_a_plans_end_must_be_to_come_and_its_next_must_exist(process: MiniProcess) -> None:
    tenant, _ = await acme(process)
    async with process.database.read() as connection:
        now = await process.database.now(connection)
    for change in (
        PlanChange("premium", now),
        PlanChange("premium", now + ALIVE_LONG, "none"),
        PlanChange("none"),
    ):
        with pytest.raises(InvalidRequest):
            await process.lifecycle.change_plan(OWNER, tenant.tenant_id, change)
    assert (await process.tenants.get(tenant.tenant_id)).plan_id == "basic"


# -- deletion


async def leaving(process: MiniProcess) -> tuple[TenantContext, str]:
    """A tenant with two documents whose grace is running."""
    tenant, key = await acme(process)
    context = await enter(process, key)
    await process.put(context, "a", b"theirs", {"year": 2026})
    await process.put(context, "b", b"theirs too", idempotency_key="once")
    await process.lifecycle.delete(OWNER, tenant.tenant_id)
    return context, key


async def test_a_tenant_that_is_being_deleted_is_shut_out_and_comes_back_unharmed(process: MiniProcess) -> None:
    context, key = await leaving(process)
    with pytest.raises(Forbidden, match="being deleted") as refused:
        await enter(process, key)
    assert refused.value.code == "tenant_suspended"
    assert await depart(process) == {}, "its grace is not over"
    back = await process.lifecycle.activate(OWNER, context.tenant_id)
    assert (back.status, back.delete_after, back.documents) == ("active", None, 2)
    document = await process.documents.get(await enter(process, key), process.documents.id_for_key(context, "a"))
    assert document.metadata == {"year": 2026}
    process.database.ahead = 2 * ALIVE_LONG
    assert await depart(process) == {}, "it is not being deleted any more"


@on_one_database
async def test_deleting_again_moves_the_end_of_the_grace_not(process: MiniProcess) -> None:
    context, _ = await leaving(process)
    first = (await process.tenants.get(context.tenant_id)).delete_after
    process.database.ahead = ALIVE_LONG / 2
    assert (await process.lifecycle.delete(OWNER, context.tenant_id)).delete_after == first


async def test_after_its_grace_nothing_of_a_tenant_is_left_but_a_tombstone_without_a_name(
    process: MiniProcess, store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(erasures_module, "_ROWS", 1)  # so that it takes several transactions
    context, key = await leaving(process)
    process.database.ahead = 2 * ALIVE_LONG
    counts = await depart(process)
    assert counts["tenants_deleted"] == 1
    with pytest.raises(Unauthenticated):
        await enter(process, key)
    for act in (process.tenants.get, lambda i: process.lifecycle.activate(OWNER, i)):
        with pytest.raises(NotFound):
            await act(context.tenant_id)
    for table in GOES_WITH_ITS_TENANT:
        assert await read(process, sa.select(table).where(table.c.tenant_id == context.tenant_id)) == [], table.name
    assert await depart(process) == {}
    kept = [info.key async for info in store.list(keys.tenant(context.tenant_id))]
    assert kept == [keys.tenant_head(context.tenant_id, 3)]
    head = json.loads(await store.get(keys.tenant_head(context.tenant_id, 3)))
    assert set(head["body"]) == {"status", "created_at", "deleted_at"}, "nothing of whom it was"


@on_one_database
async def test_a_tenant_that_cannot_be_changed_keeps_no_other_from_its_turn(
    process: MiniProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    stuck, other = (await acme(process))[0], (await acme(process))[0]
    for tenant in (stuck, other):
        await process.lifecycle.delete(OWNER, tenant.tenant_id)
    process.database.ahead = 2 * ALIVE_LONG
    change = process.tenants.change

    async def refused(tenant_id: TenantId, *arguments: Any, **named: Any) -> Any:
        if tenant_id == stuck.tenant_id:
            raise Unavailable("The store does not answer.")
        return await change(tenant_id, *arguments, **named)

    with monkeypatch.context() as patch:
        patch.setattr(process.tenants, "change", refused)
        assert (await depart(process))["tenants_deleted"] == 1
    assert await process.tenants.is_deleted(other.tenant_id)
    assert (await depart(process))["tenants_deleted"] == 1, "and comes to its own turn"


@on_one_database
async def test_the_second_step_can_be_asked_for_and_never_comes_first(process: MiniProcess) -> None:
    tenant, _ = await acme(process)
    with pytest.raises(Conflict):
        await process.lifecycle.finish_deletion(OWNER, tenant.tenant_id)
    await process.lifecycle.delete(OWNER, tenant.tenant_id)
    await process.lifecycle.finish_deletion(OWNER, tenant.tenant_id)
    with pytest.raises(NotFound):
        await process.tenants.get(tenant.tenant_id)


@on_one_database
async def test_a_namesake_of_a_deleted_tenant_is_another_and_sees_nothing_of_it(process: MiniProcess) -> None:
    context, _ = await leaving(process)
    await process.lifecycle.finish_deletion(OWNER, context.tenant_id)
    await depart(process)
    again, key = await process.tenants.create(OWNER, ACME)
    assert again.tenant_id != context.tenant_id
    assert (again.documents, again.stored_bytes) == (0, 0)
    inside = await enter(process, key)
    assert process.documents.id_for_key(inside, "a") != process.documents.id_for_key(context, "a")
    with pytest.raises(NotFound):
        await process.documents.get(inside, process.documents.id_for_key(context, "a"))


@on_one_database
async def test_the_idempotency_key_of_a_deleted_tenant_brings_nobody_back(process: MiniProcess) -> None:
    tenant, _ = await process.tenants.create(OWNER, ACME, idempotency_key="order-7")
    await process.lifecycle.delete(OWNER, tenant.tenant_id)
    await process.lifecycle.finish_deletion(OWNER, tenant.tenant_id)
    with pytest.raises(Conflict, match="was deleted"):
        await process.tenants.create(OWNER, ACME, idempotency_key="order-7")


@pytest.mark.parametrize("step", ["document.sealed", "document.committed"])
async def test_what_a_late_writer_brings_into_a_deleted_tenant_goes_with_the_next_run(
    catalog: Database, store: ObjectStore, step: str
) -> None:
    process, doomed = MiniProcess(catalog, store, lease=NOW), MiniProcess(catalog, store)
    tenant, key = await acme(process)
    context = await enter(process, key)
    faults.arm({step: doomed.die})
    with pytest.raises(ProcessDied):
        await doomed.put(context, "late", b"late")
    faults.arm({})
    await process.lifecycle.delete(OWNER, tenant.tenant_id)
    with pytest.raises(Unavailable):  # what is under way may be a legal hold
        await process.lifecycle.finish_deletion(OWNER, tenant.tenant_id)
    await process.chains.resolve_stale()
    await process.lifecycle.finish_deletion(OWNER, tenant.tenant_id)
    assert (await depart(process))["forgotten_rows"] > 0
    for table in GOES_WITH_ITS_TENANT:
        assert await read(process, sa.select(table).where(table.c.tenant_id == context.tenant_id)) == [], table.name


@on_one_database
async def test_a_catalog_that_is_made_anew_knows_a_tombstone_as_a_tombstone(
    process: MiniProcess, store: ObjectStore, tmp_path: Path
) -> None:
    context, key = await leaving(process)
    await process.lifecycle.finish_deletion(OWNER, context.tenant_id)
    (tmp_path / "new").mkdir()
    fresh = open_catalog(sqlite_url(tmp_path / "new"))
    rebuilt = MiniProcess(fresh, store)
    await rebuilt.tenants.adopt(context.tenant_id)
    assert await rebuilt.tenants.is_deleted(context.tenant_id)
    assert await rebuilt.tenants.ids() == []
    with pytest.raises(Unauthenticated):
        await enter(rebuilt, key)
    await fresh.aclose()
