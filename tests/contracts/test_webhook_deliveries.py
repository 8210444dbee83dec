"""Every event that was committed reaches its webhook at least once or ends `dead`, and nobody waits for anybody."""

import asyncio
import hashlib
import hmac
import secrets
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

import s4client
from s4.domains.events import EventKind
from s4.domains.events.models import events, webhook_deliveries
from s4.domains.webhooks import Delivery, NewWebhook, PumpLimits, queries
from s4.domains.webhooks.pump import RETRY_PAUSE_MAX, retry_pause
from s4.kernel.context import TenantContext
from s4.kernel.errors import Conflict, Forbidden, LimitReached, NotFound, Unavailable
from s4.kernel.pages import PageRequest
from s4.kernel.permissions import Permission
from s4.kernel.settings import Settings
from s4.platform import faults
from s4.platform.database import Connection, Database
from s4.platform.objects import ObjectStore, open_store
from s4.platform.security.sealing import Sealer
from tests.factories.receiver import receiving
from tests.factories.webhook_kit import LIMITS, PROCESSED, SECRET, Kit, kit_over


@pytest.fixture
async def store() -> AsyncIterator[ObjectStore]:
    opened = open_store(Settings(store_url="memory://"))
    yield opened
    await opened.aclose()


@pytest.fixture
async def kit(catalog: Database, store: ObjectStore) -> AsyncIterator[Kit]:
    made = kit_over(catalog, store)
    yield made
    faults.arm({})
    await made.outbound.aclose()


# -- what is sent


async def test_an_event_arrives_as_the_contract_says_and_signed(kit: Kit) -> None:
    context = await kit.tenant()
    async with receiving() as receiver:
        webhook = await kit.webhook(context, receiver.url)
        await kit.emit(context, document_id="doc_a", key="\u00fcber/tides.txt")
        await kit.pump().run_until_idle()
        (got,) = receiver.got
    assert set(got.event) == {"event", "tenant_id", "timestamp", "data"}
    assert (got.event["event"], got.event["tenant_id"]) == ("document.processed", context.tenant_id)
    assert got.event["data"] == {"number": 0, "document_id": "doc_a", "key": "\u00fcber/tides.txt"}
    assert got.headers["x-s4-event"] == "document.processed"
    assert got.headers["content-type"] == "application/json"
    stamp, signature = got.headers["x-s4-signature"].split(",")
    signed = stamp.removeprefix("t=").encode() + b"." + got.body
    assert signature == "v1=" + hmac.new(SECRET.encode(), signed, hashlib.sha256).hexdigest()
    assert s4client.verify_webhook(got.body, got.headers["x-s4-signature"], SECRET).event == "document.processed"
    delivery = await kit.only(context, webhook)
    assert (delivery.state, delivery.attempts, delivery.last_status) == ("delivered", 1, 200)
    assert got.headers["x-s4-delivery"] == delivery.delivery_id


async def test_only_webhooks_that_listen_hear_of_it_and_where_none_does_nothing_is_kept(kit: Kit) -> None:
    context, other = await kit.tenant(), await kit.tenant()
    async with receiving() as receiver, receiving() as elsewhere:
        await kit.webhook(context, receiver.url, "document.failed", "tenant.suspended")
        await kit.webhook(other, elsewhere.url)
        for kind in EventKind:
            await kit.emit(context, kind)
        await kit.pump().run_until_idle()
        assert sorted(got.event["event"] for got in receiver.got) == ["document.failed", "tenant.suspended"]
        assert elsewhere.got == []
    async with kit.database.read() as connection:
        kept = set((await connection.execute(sa.select(events.c.kind))).scalars())
    assert {"document.processed", "document.deleted"} & kept == set()
    assert {"maintenance.scheduled", "sla.breached"} <= kept, "what is rare is kept, whoever listens"


async def test_what_was_rolled_back_is_not_told(kit: Kit) -> None:
    context = await kit.tenant()

    async def breaks(connection: Connection) -> None:
        await kit.events.emit(connection, context.tenant_id, PROCESSED, {})
        raise Unavailable("The catalog went away.")

    async with receiving() as receiver:
        webhook = await kit.webhook(context, receiver.url)
        with pytest.raises(Unavailable):
            await kit.database.transact(breaks)
        await kit.pump().run_until_idle()
        assert (receiver.got, await kit.deliveries(context, webhook)) == ([], [])


async def test_what_was_told_once_is_not_told_again(kit: Kit) -> None:
    context = await kit.tenant()

    async def twice(connection: Connection) -> None:
        for _ in range(2):
            await kit.events.emit(connection, context.tenant_id, PROCESSED, {}, once="doc_a/1")

    async with receiving() as receiver:
        await kit.webhook(context, receiver.url)
        await kit.database.transact(twice)
        await kit.database.transact(twice)
        await kit.pump().run_until_idle()
        assert len(receiver.got) == 1


# -- failure and repetition


@pytest.mark.parametrize("status", [500, 302])
async def test_a_failure_is_repeated_under_the_same_id_until_it_arrives(kit: Kit, status: int) -> None:
    context = await kit.tenant()
    async with receiving(lambda _: (status, "Location: http://127.0.0.1/\r\n")) as receiver:
        webhook = await kit.webhook(context, receiver.url)
        await kit.emit(context)
        await kit.pump().run_until_idle()
        waiting = await kit.only(context, webhook)
        assert (waiting.state, waiting.attempts, waiting.last_status) == ("pending", 1, status)
        assert waiting.next_at - (waiting.last_at or waiting.next_at) >= LIMITS.retry * 0.8
        assert str(status) in (waiting.last_error or "")
        receiver.answer = lambda _: 204
        await kit.let_time_pass()
        await kit.pump().run_until_idle()
        first, second = receiver.got
    assert first.body == second.body
    assert first.headers["x-s4-delivery"] == second.headers["x-s4-delivery"]
    delivery = await kit.only(context, webhook)
    assert (delivery.state, delivery.attempts, delivery.last_error) == ("delivered", 2, None)


def test_pauses_grow_to_two_hours_and_a_day_holds_about_twenty_attempts() -> None:
    def attempts() -> int:
        passed, count = timedelta(), 1
        while (passed := passed + retry_pause(count, LIMITS.retry)) <= LIMITS.patience:
            count += 1
        return count

    first = [retry_pause(1, LIMITS.retry) for _ in range(100)]
    assert min(first) >= LIMITS.retry * 0.8
    assert max(first) <= LIMITS.retry * 1.2
    assert len(set(first)) > 1, "those that failed together do not come back together"
    assert retry_pause(1000, LIMITS.retry) <= RETRY_PAUSE_MAX * 1.2
    assert all(17 <= attempts() <= 24 for _ in range(20))


async def test_after_a_day_it_is_dead_and_can_be_replayed(kit: Kit) -> None:
    context = await kit.tenant()
    async with receiving(lambda _: 503) as receiver:
        webhook = await kit.webhook(context, receiver.url)
        await kit.emit(context)
        await kit.pump().run_until_idle()
        await kit.let_time_pass(LIMITS.patience)
        await kit.pump().run_until_idle()
        dead = await kit.only(context, webhook)
        assert (dead.state, dead.attempts, dead.last_error) == ("dead", 2, "The endpoint answered 503.")
        await kit.let_time_pass()
        await kit.pump().run_until_idle()
        assert len(receiver.got) == 2, "nobody tries again by himself"
        receiver.answer = lambda _: 200
        await kit.webhooks.replay(context, webhook.webhook_id, dead.delivery_id)
        await kit.pump().run_until_idle()
        assert {got.headers["x-s4-delivery"] for got in receiver.got} == {dead.delivery_id}
    assert (await kit.only(context, webhook)).state == "delivered"


async def test_an_endpoint_that_is_gone_switches_its_webhook_off(kit: Kit) -> None:
    context = await kit.tenant()
    async with receiving(lambda _: 410) as receiver:
        webhook = await kit.webhook(context, receiver.url)
        await kit.emit(context)
        await kit.pump().run_until_idle()
        off = await kit.webhooks.get(context, webhook.webhook_id)
        assert (off.active, off.disabled_reason) == (False, "The endpoint answered 410: it is gone.")
        assert (await kit.only(context, webhook)).state == "dead"
        await kit.emit(context)
        assert len(await kit.deliveries(context, webhook)) == 1, "it hears no more"
        with pytest.raises(Conflict, match="switched off"):
            await kit.webhooks.ping(context, webhook.webhook_id)
        await kit.webhooks.replace(context, webhook.webhook_id, NewWebhook(receiver.url, ("*",)))
        assert (await kit.webhooks.get(context, webhook.webhook_id)).disabled_reason is None
    acts = [
        (row.action, row.actor_kind) for row in await kit.audited() if row.subject == f"webhook/{webhook.webhook_id}"
    ]
    assert sorted(acts) == [
        ("webhook.create", "tenant"),
        ("webhook.switch_off", "system"),
        ("webhook.update", "tenant"),
    ]


@pytest.mark.parametrize("off", ["delete", "switch off"])
async def test_what_waits_for_a_webhook_that_is_off_or_gone_is_not_sent(kit: Kit, off: str) -> None:
    context = await kit.tenant()
    async with receiving() as receiver:
        webhook = await kit.webhook(context, receiver.url)
        await kit.emit(context)
        if off == "delete":
            await kit.webhooks.delete(context, webhook.webhook_id)
        else:
            await kit.webhooks.replace(context, webhook.webhook_id, NewWebhook(receiver.url, ("*",), active=False))
        await kit.pump().run_until_idle()
        assert receiver.got == []
    async with kit.database.read() as connection:
        states = (await connection.execute(sa.select(webhook_deliveries.c.state))).scalars().all()
    assert states == ["dead"]


@pytest.mark.parametrize("step", ["webhook.claimed", "webhook.answered"])
async def test_a_process_that_is_killed_between_claim_and_note_loses_no_event(
    kit: Kit, catalog: Database, store: ObjectStore, step: str
) -> None:
    context = await kit.tenant()
    async with receiving() as receiver:
        webhook = await kit.webhook(context, receiver.url)
        await kit.emit(context)
        victim = kit_over(catalog, store)
        faults.arm({step: victim.process.die})
        await victim.pump().run_until_idle()  # its task dies with it
        assert victim.process.database.dead
        faults.arm({})
        await kit.pump().run_until_idle()
        heard = len(receiver.got)
        assert heard == (0 if step == "webhook.claimed" else 1), "the claim still stands"
        await kit.let_time_pass()
        await kit.pump().run_until_idle()
        assert len({got.headers["x-s4-delivery"] for got in receiver.got}) == 1
        assert len(receiver.got) == heard + 1
        await victim.outbound.aclose()
    delivery = await kit.only(context, webhook)
    assert (delivery.state, delivery.attempts) == ("delivered", 2)


async def test_a_process_that_overslept_its_claim_changes_nothing_of_what_its_successor_noted(kit: Kit) -> None:
    context = await kit.tenant()
    async with receiving(lambda _: None) as receiver:
        webhook = await kit.webhook(context, receiver.url)
        await kit.emit(context)
        sleeper = asyncio.create_task(kit.pump().run_until_idle())
        await receiver.until(1)
        await kit.let_time_pass()
        receiver.answer = lambda _: 200
        await kit.pump().run_until_idle()
        receiver.closing.set()  # the first attempt ends without an answer
        await sleeper
    delivery = await kit.only(context, webhook)
    assert (delivery.state, delivery.last_status, delivery.last_error) == ("delivered", 200, None)


# -- nobody waits for anybody


async def test_endpoints_that_hang_do_not_delay_others(kit: Kit) -> None:
    """One tenant with many hanging endpoints and full queues; another's event passes them all."""
    hostile, honest = await kit.tenant(), await kit.tenant()
    async with receiving(lambda _: None) as hanging, receiving() as receiver:
        for _ in range(4):
            await kit.webhook(hostile, hanging.url)
        await kit.webhook(honest, receiver.url)
        await kit.emit(hostile, count=20)
        pump = kit.pump(PumpLimits(8, timedelta(seconds=60), LIMITS.retry, LIMITS.patience))
        running = asyncio.create_task(pump.run())
        await hanging.until(2)  # a quarter of the places
        await kit.emit(honest, count=3)
        await receiver.until(3)
        assert len(hanging.got) == 2
        hanging.closing.set()
        await pump.stop(within=timedelta(seconds=0))
        await running


async def test_an_endpoint_that_failed_is_tried_one_at_a_time(kit: Kit) -> None:
    context = await kit.tenant()
    async with receiving(lambda _: 500) as failing, receiving() as healthy:
        await kit.webhook(context, failing.url, "document.failed")
        await kit.webhook(context, healthy.url, "document.processed")
        pump = kit.pump(PumpLimits(40, timedelta(seconds=60), LIMITS.retry, LIMITS.patience))
        await kit.emit(context, EventKind.DOCUMENT_FAILED)
        await pump.run_until_idle()
        failing.answer = lambda _: None
        await kit.emit(context, EventKind.DOCUMENT_FAILED, count=5)
        running = asyncio.create_task(pump.run())
        await failing.until(2)
        for number in range(1, 4):  # each time the pump has looked at everything that waits
            await kit.emit(context)
            await healthy.until(number)
        assert len(failing.got) == 2, "the others wait for how this one ends"
        failing.closing.set()
        await pump.stop(within=timedelta(seconds=0))
        await running


async def test_two_processes_share_the_work_and_send_nothing_twice(
    kit: Kit, catalog: Database, store: ObjectStore
) -> None:
    context = await kit.tenant()
    other = kit_over(catalog, store)
    async with receiving() as receiver:
        await kit.webhook(context, receiver.url)
        await kit.emit(context, count=30)
        await asyncio.gather(kit.pump().run_until_idle(), other.pump().run_until_idle())
        ids = [got.headers["x-s4-delivery"] for got in receiver.got]
        assert len(ids) == len(set(ids)) == 30
        await other.outbound.aclose()


# -- secrets


async def test_while_a_secret_is_replaced_both_verify_and_afterwards_only_the_new(kit: Kit) -> None:
    context = await kit.tenant()
    async with receiving() as receiver:
        webhook = await kit.webhook(context, receiver.url)
        _, new = await kit.webhooks.rotate(context, webhook.webhook_id, overlap=timedelta(hours=1), secret=None)
        await kit.emit(context)
        await kit.pump().run_until_idle()
        for secret in (SECRET, new):
            s4client.verify_webhook(receiver.got[0].body, receiver.got[0].headers["x-s4-signature"], secret)
        await kit.webhooks.rotate(context, webhook.webhook_id, overlap=timedelta(), secret="another-secret-0123")
        await kit.emit(context)
        await kit.pump().run_until_idle()
        last = receiver.got[1]
        s4client.verify_webhook(last.body, last.headers["x-s4-signature"], "another-secret-0123")
        for secret in (SECRET, new):
            with pytest.raises(s4client.SignatureInvalid):
                s4client.verify_webhook(last.body, last.headers["x-s4-signature"], secret)


async def test_no_secret_and_no_path_of_a_url_lies_open_in_bucket_catalog_or_audit(
    kit: Kit, store: ObjectStore
) -> None:
    context = await kit.tenant()
    webhook = await kit.webhook(context, "http://127.0.0.1:9999/path-that-is-a-secret")
    await kit.webhooks.rotate(context, webhook.webhook_id, overlap=timedelta(hours=1), secret="another-secret-0123")
    heads = [await store.get(info.key) async for info in store.list("system/webhooks/")]  # type: ignore[arg-type]
    assert len(heads) == 2
    for hidden in (SECRET, "another-secret-0123"):
        assert all(hidden.encode() not in head for head in heads)
        assert hidden not in str(await kit.audited())
    assert "path-that-is-a-secret" not in str(await kit.audited())


async def test_a_deployment_with_another_secret_key_says_so_and_waits_for_the_right_one(
    kit: Kit, catalog: Database, store: ObjectStore
) -> None:
    context = await kit.tenant()
    async with receiving() as receiver:
        webhook = await kit.webhook(context, receiver.url)
        await kit.emit(context)
        kit.webhooks._sealer = Sealer(["another-key-0123456789-abcdefghijkl"], secrets.token_bytes)
        await kit.pump().run_until_idle()
        delivery = await kit.only(context, webhook)
        assert (receiver.got, delivery.state) == ([], "pending")
        assert "secret" in (delivery.last_error or "")


# -- plan, scopes, tenants


async def test_a_plan_without_the_feature_has_no_webhooks(kit: Kit) -> None:
    context = await kit.tenant(features=frozenset())
    with pytest.raises(Forbidden) as refused:
        await kit.webhook(context, "http://127.0.0.1:9999/")
    assert (refused.value.code, refused.value.details) == ("quota_exceeded", {"feature": "webhooks"})


async def test_webhooks_made_at_once_are_never_more_than_the_plan_allows(kit: Kit) -> None:
    context = await kit.tenant(webhooks_max=2)
    outcomes = await asyncio.gather(
        *(kit.webhook(context, "http://127.0.0.1:9999/") for _ in range(6)), return_exceptions=True
    )
    refused = [outcome for outcome in outcomes if isinstance(outcome, LimitReached)]
    assert len(refused) == 4
    assert {(each.status, each.code) for each in refused} == {(403, "quota_exceeded")}
    kept = await kit.webhooks.all(context)
    assert len(kept) == 2
    await kit.webhooks.delete(context, kept[0].webhook_id)
    assert await kit.webhook(context, "http://127.0.0.1:9999/")


async def test_no_tenant_reaches_anothers_webhook(kit: Kit) -> None:
    context, stranger = await kit.tenant(), await kit.tenant()
    webhook = await kit.webhook(context, "http://127.0.0.1:9999/")
    mine = await kit.webhook(stranger, "http://127.0.0.1:9999/")
    await kit.emit(context)
    delivery = await kit.only(context, webhook)
    service, named = kit.webhooks, webhook.webhook_id
    tries: list[Callable[[], Any]] = [
        lambda: service.get(stranger, named),
        lambda: service.delete(stranger, named),
        lambda: service.ping(stranger, named),
        lambda: service.rotate(stranger, named, overlap=timedelta(), secret=None),
        lambda: service.replace(stranger, named, NewWebhook("http://127.0.0.1:1234/", ("*",))),
        lambda: service.deliveries(stranger, named, PageRequest()),
        lambda: service.replay(stranger, named, delivery.delivery_id),
        lambda: service.replay(stranger, mine.webhook_id, delivery.delivery_id),
    ]
    for attempt in tries:
        with pytest.raises(NotFound):
            await attempt()
    assert [each.webhook_id for each in await service.all(stranger)] == [mine.webhook_id]
    assert await service.get(context, named) == webhook


async def test_to_look_takes_one_scope_and_to_change_another(kit: Kit) -> None:
    full = await kit.tenant()
    webhook = await kit.webhook(full, "http://127.0.0.1:9999/")

    def holding(*scopes: Permission) -> TenantContext:
        return TenantContext(full.tenant_id, None, frozenset(scopes), full.plan)

    looking = holding(Permission.USAGE_READ, Permission.DOCUMENTS_WRITE)
    assert await kit.webhooks.all(looking)
    for attempt in (
        lambda: kit.webhook(looking, "http://127.0.0.1:9999/"),
        lambda: kit.webhooks.ping(looking, webhook.webhook_id),
        lambda: kit.webhooks.all(holding(Permission.KEYS_MANAGE)),
    ):
        with pytest.raises(Forbidden):
            await attempt()


# -- listing and forgetting


async def test_pages_of_deliveries_hold_each_once_newest_first(kit: Kit) -> None:
    context = await kit.tenant()
    webhook = await kit.webhook(context, "http://127.0.0.1:9999/")
    for _ in range(3):
        await kit.emit(context, count=3)
    seen: list[Delivery] = []
    cursor: str | None = None
    while True:
        found, cursor = await kit.webhooks.deliveries(context, webhook.webhook_id, PageRequest(limit=2, cursor=cursor))
        seen += found
        if cursor is None:
            break
    assert len({each.delivery_id for each in seen}) == len(seen) == 9
    assert [each.created_at for each in seen] == sorted((each.created_at for each in seen), reverse=True)
    dead, _ = await kit.webhooks.deliveries(context, webhook.webhook_id, PageRequest(), state="dead")
    assert dead == []


async def test_what_is_old_is_forgotten_and_what_is_young_stays(kit: Kit) -> None:
    context = await kit.tenant()
    webhook = await kit.webhook(context, "http://127.0.0.1:9999/")
    await kit.emit(context, count=5)
    async with kit.database.read() as connection:
        middle = await kit.database.now(connection)
    await kit.emit(context, count=2)
    gone = 1
    while gone:
        gone = await kit.database.transact(lambda c: queries.purge(c, middle, limit=3))
    assert len(await kit.deliveries(context, webhook)) == 2
    async with kit.database.read() as connection:
        assert len((await connection.execute(sa.select(events))).all()) == 2
