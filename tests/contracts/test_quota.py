"""A tenant is held to its plan to the byte and to the document, on every database, whoever uploads at once."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from typing import Any

import pytest
import sqlalchemy as sa
import structlog

from s4.domains import usage
from s4.domains.documents import UploadRequest
from s4.domains.documents.queries import recount
from s4.domains.events.models import events
from s4.domains.plans.model import Plan
from s4.domains.usage.models import usage_balances
from s4.kernel.context import TenantContext
from s4.kernel.errors import LimitReached, NotFound, PayloadTooLarge, Unavailable
from s4.kernel.plans import PlanLimits
from s4.kernel.units import KIB, MIB
from s4.platform import faults
from s4.platform.database import Connection, Database
from s4.platform.objects import ObjectStore
from tests.factories.process import OWNER, MiniProcess, ProcessDied, chunks


@pytest.fixture
async def object_store() -> AsyncIterator[ObjectStore]:
    """In memory: what is held to account here is the catalog."""
    from s4.kernel.settings import Settings
    from s4.platform.objects import open_store

    store = open_store(Settings(store_url="memory://"))
    yield store
    await store.aclose()


@pytest.fixture(autouse=True)
def _disarmed() -> Iterator[None]:
    yield
    faults.arm({})


@pytest.fixture
def process(catalog: Database, object_store: ObjectStore) -> MiniProcess:
    return MiniProcess(catalog, object_store)


def plan(**limits: Any) -> Plan:
    return Plan("tight", "Tight", **limits)


def on(context: TenantContext, **limits: Any) -> TenantContext:
    """The same tenant after its plan was changed."""
    return replace(context, plan=PlanLimits("changed", **limits))


async def held(process: MiniProcess, context: TenantContext) -> usage.Balance:
    """The balance, which is what a recount says."""
    async with process.database.read() as connection:
        count = await recount.one(connection, context.tenant_id)
    assert count is not None
    assert count.noted == count.counted
    return count.noted


async def put(process: MiniProcess, context: TenantContext, key: str, content: bytes, **options: Any) -> Any:
    return await process.put(context, key, content, declared_bytes=len(content), **options)


async def put_undeclared(
    process: MiniProcess, context: TenantContext, key: str, size: int, piece: int = 16 * KIB
) -> Any:
    request = UploadRequest(filename=key, content_type="text/plain", key=key)
    parts = (bytes(min(piece, size - start)) for start in range(0, size, piece))
    return await process.uploads.receive(context, request, content=chunks(parts))


async def refusal(uploading: Any) -> dict[str, Any]:
    """The details of a refusal for quota."""
    with pytest.raises(LimitReached) as refused:
        await uploading
    assert (refused.value.status, refused.value.code) == (403, "quota_exceeded")
    return refused.value.details


# -- one upload


async def test_a_declared_length_that_does_not_fit_is_refused_before_a_byte_is_read(process: MiniProcess) -> None:
    context = await process.tenant(plan=plan(storage_limit=10))
    await put(process, context, "first", b"1234567")

    async def untouched() -> AsyncIterator[bytes]:
        raise AssertionError("it was read")
        yield b""

    request = UploadRequest("second", "text/plain", key="second", declared_bytes=4)

    said = await refusal(process.uploads.receive(context, request, content=untouched()))

    assert said == {"resource": "storage", "limit": 10, "used": 7, "reserved": 0, "requested": 4}
    assert (await put(process, context, "second", b"123")).created, "to the byte"
    assert await held(process, context) == usage.Balance(10, 0, 2, 0)


async def test_what_declares_no_length_is_refused_where_the_room_ends_and_gives_all_of_it_back(
    process: MiniProcess,
) -> None:
    context = await process.tenant(plan=plan(storage_limit=MIB))

    await refusal(put_undeclared(process, context, "k", MIB + 1))

    assert await held(process, context) == usage.Balance()
    assert (await put_undeclared(process, context, "k", MIB)).created, "to the byte"
    assert await held(process, context) == usage.Balance(MIB, 0, 1, 0)


async def test_room_for_an_undeclared_length_grows_in_few_steps(process: MiniProcess) -> None:
    context = await process.tenant(plan=plan(storage_limit=64 * MIB))
    steps: list[str] = []
    faults.arm({"upload.grown": lambda: steps.append("grown")})

    await put_undeclared(process, context, "k", 32 * MIB)

    assert len(steps) <= 10, "each step doubles to 8 MiB: 2048 pieces, ten transactions"


async def test_a_replacement_reserves_the_difference_and_one_that_shrinks_nothing(process: MiniProcess) -> None:
    context = await process.tenant(plan=plan(storage_limit=10))
    await put(process, context, "k", b"12345678")
    seen: list[usage.Balance] = []

    async def looking(content: bytes) -> AsyncIterator[bytes]:
        seen.append(await held(process, context))
        yield content

    for content in (b"1234567890", b"123"):
        request = UploadRequest("k", "text/plain", key="k", declared_bytes=len(content))
        await process.uploads.receive(context, request, content=looking(content))

    assert [(each.stored_bytes, each.reserved_bytes) for each in seen] == [(8, 2), (10, 0)]
    assert await held(process, context) == usage.Balance(3, 0, 1, 0)


async def test_a_plan_below_use_refuses_what_grows_and_lets_the_rest_be(process: MiniProcess) -> None:
    context = await process.tenant()
    document = (await put(process, context, "k", b"12345678")).document
    await put(process, context, "n", b"1234")

    lowered = on(context, storage_bytes_max=5, documents_max=1)

    assert (await refusal(put(process, lowered, "new", b"1")))["used"] == 12
    await refusal(put(process, lowered, "k", b"123456789"))
    await refusal(put_undeclared(process, lowered, "k", 9))
    assert not (await put(process, lowered, "k", b"1234567")).created
    assert not (await put_undeclared(process, lowered, "k", 6)).created
    await process.documents.delete(lowered, document.document_id)
    assert await held(process, context) == usage.Balance(4, 0, 1, 0)


async def test_a_replacement_whose_document_was_deleted_meanwhile_takes_no_room_that_is_not_there(
    process: MiniProcess,
) -> None:
    context = await process.tenant(plan=plan(storage_limit=10))
    document = (await put(process, context, "k", b"1234567890")).document

    async def overtaken() -> AsyncIterator[bytes]:
        yield b"12345"
        await process.documents.delete(context, document.document_id)
        await put(process, context, "other", b"1234567890")
        yield b"67890"

    request = UploadRequest("k", "text/plain", key="k", declared_bytes=10)

    await refusal(process.uploads.receive(context, request, content=overtaken()))

    assert await held(process, context) == usage.Balance(10, 0, 1, 0)


async def test_the_smaller_of_plan_and_deployment_bounds_a_file(process: MiniProcess) -> None:
    context = await process.tenant(plan=plan(max_file_size=100))

    for uploading in (put(process, context, "k", bytes(101)), put_undeclared(process, context, "k", 101, piece=10)):
        with pytest.raises(PayloadTooLarge) as refused:
            await uploading
        assert refused.value.details == {"max_file_size": 100}

    assert await held(process, context) == usage.Balance()
    assert (await put_undeclared(process, context, "k", 100, piece=10)).created


# -- repeats


async def test_a_repeat_of_what_was_done_is_answered_whatever_the_plan_says_now(process: MiniProcess) -> None:
    context = await process.tenant(plan=plan(storage_limit=5))
    first = await put(process, context, "k", b"12345", idempotency_key="once")

    for changed in (context, on(context, storage_bytes_max=0, file_bytes_max=1, documents_max=0)):
        again = await put(process, changed, "k", b"12345", idempotency_key="once")
        assert (again.replayed, again.document.revision) == (True, first.document.revision)


@pytest.mark.parametrize("step", ["upload.streamed", "document.sealed", "document.committed"])
async def test_a_repeat_is_not_refused_for_the_room_that_its_own_first_attempt_holds(
    process: MiniProcess, catalog: Database, object_store: ObjectStore, step: str
) -> None:
    context = await process.tenant(plan=plan(storage_limit=5))
    doomed = MiniProcess(catalog, object_store)
    faults.arm({step: doomed.die})
    with pytest.raises(ProcessDied):
        await put(doomed, context, "k", b"12345", idempotency_key="once")
    faults.arm({})

    with pytest.raises(Unavailable):
        await put(process, context, "k", b"12345", idempotency_key="once")

    await refusal(put(process, context, "other", b"1"))
    assert (await held(process, context)).reserved_bytes == 5


# -- many at once


@pytest.mark.parametrize("declared", [True, False])
async def test_fifty_uploads_against_the_last_megabyte_never_exceed_it(
    catalog: Database, object_store: ObjectStore, declared: bool
) -> None:
    """Through two processes. Where all declare their length, exactly those get in for whom there is room."""
    processes = [MiniProcess(catalog, object_store) for _ in range(2)]
    context = await processes[0].tenant(plan=plan(storage_limit=2 * MIB))
    await put(processes[0], context, "first", bytes(MIB))
    size = 60 * KIB
    done = asyncio.Event()

    async def watch() -> None:
        while not done.is_set():
            async with catalog.read() as connection:
                seen = await usage.balance(connection, context.tenant_id)
            assert seen.stored_bytes + seen.reserved_bytes <= 2 * MIB
            await asyncio.sleep(0)

    async def one(number: int) -> Any:
        process = processes[number % 2]
        if declared or number % 2:
            return await put(process, context, f"k{number}", bytes(size))
        return await put_undeclared(process, context, f"k{number}", size)

    watching = asyncio.create_task(watch())
    outcomes = await asyncio.gather(*(one(number) for number in range(50)), return_exceptions=True)
    done.set()
    await watching

    refused = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
    assert all(isinstance(each, LimitReached) and each.code == "quota_exceeded" for each in refused), refused
    fit = MIB // size
    assert len(outcomes) - len(refused) == fit if declared else 0 < len(outcomes) - len(refused) <= fit
    assert await held(processes[0], context) == usage.Balance(MIB + (50 - len(refused)) * size, 0, 51 - len(refused), 0)


async def test_documents_are_counted_as_exactly_as_bytes(catalog: Database, object_store: ObjectStore) -> None:
    processes = [MiniProcess(catalog, object_store) for _ in range(2)]
    context = await processes[0].tenant(plan=plan(documents_limit=7))

    outcomes = await asyncio.gather(
        *(put(processes[n % 2], context, f"k{n % 15}", b"x") for n in range(30)), return_exceptions=True
    )

    refused = [outcome for outcome in outcomes if isinstance(outcome, LimitReached)]
    assert {each.details["resource"] for each in refused} == {"documents"}
    assert sum(outcome.created for outcome in outcomes if not isinstance(outcome, BaseException)) <= 7
    balance = await held(processes[0], context)
    assert balance.documents <= 7
    assert balance.reserved_documents == 0
    while (await held(processes[0], context)).documents < 7:
        await put(processes[0], context, f"more{(await held(processes[0], context)).documents}", b"x")
    assert (await refusal(put(processes[0], context, "one-more", b"x")))["resource"] == "documents"


async def test_writers_and_deleters_of_one_tenant_at_once_end_in_an_exact_balance_and_without_deadlock(
    catalog: Database, object_store: ObjectStore
) -> None:
    processes = [MiniProcess(catalog, object_store) for _ in range(4)]
    context = await processes[0].tenant(plan=plan(storage_limit=64 * KIB))

    async def one(number: int) -> None:
        process, key = processes[number % 4], f"k{number % 5}"
        try:
            if number % 3 == 2:
                await process.documents.delete(context, process.documents.id_for_key(context, key))
            elif number % 2:
                await put(process, context, key, bytes(1 + 997 * number % 30_000))
            else:
                await put_undeclared(process, context, key, 1 + 991 * number % 30_000)
        except (LimitReached, NotFound):
            pass

    await asyncio.gather(*(one(number) for number in range(48)))

    balance = await held(processes[0], context)
    assert balance.reserved_bytes == balance.reserved_documents == 0
    assert balance.stored_bytes <= 64 * KIB


# -- thresholds


async def told(catalog: Database, context: TenantContext) -> list[int]:
    async with catalog.read() as connection:
        rows = await connection.execute(
            sa.select(events.c.data).where(events.c.tenant_id == context.tenant_id).order_by(events.c.at)
        )
        return [data["threshold_percent"] for data in rows.scalars()]


async def test_each_threshold_of_storage_is_told_once_on_the_way_up_and_armed_again_well_below(
    process: MiniProcess, catalog: Database
) -> None:
    context = await process.tenant(plan=plan(storage_limit=1000))
    for size, expected in [
        (799, []),
        (800, [80]),
        (850, [80]),
        (790, [80]),  # below, but not by five points: not armed again
        (800, [80]),
        (749, [80]),
        (960, [80, 80, 95]),
        (920, [80, 80, 95]),
        (1000, [80, 80, 95, 100]),
        (940, [80, 80, 95, 100]),  # of 100 per cent only
        (1000, [80, 80, 95, 100, 100]),
    ]:
        await put(process, context, "k", bytes(size))
        assert await told(catalog, context) == expected, size


async def test_a_threshold_is_told_once_however_many_reach_it_at_once(
    catalog: Database, object_store: ObjectStore
) -> None:
    processes = [MiniProcess(catalog, object_store) for _ in range(2)]
    context = await processes[0].tenant(plan=plan(storage_limit=1000))

    await asyncio.gather(*(put(processes[n % 2], context, f"k{n}", bytes(50)) for n in range(20)))

    assert Counter(await told(catalog, context)) == {80: 1, 95: 1, 100: 1}


# -- recount


async def drift(catalog: Database, context: TenantContext, **by: int) -> None:
    async def bend(connection: Connection) -> None:
        of = usage_balances.c
        values = {name: of[name] + difference for name, difference in by.items()}
        await connection.execute(sa.update(usage_balances).where(of.tenant_id == context.tenant_id).values(values))

    await catalog.transact(bend)


async def test_a_balance_that_drifted_is_found_put_right_and_told(process: MiniProcess, catalog: Database) -> None:
    context, other = await process.tenant(), await process.tenant("Other")
    for each in (context, other):
        await put(process, each, "k", b"12345")
    await drift(catalog, context, stored_bytes=-3, reserved_bytes=7, documents=1, reserved_documents=2)

    with structlog.testing.capture_logs() as logs:
        done = await process.accounts.recount_all()

    assert (done.tenants, done.repaired, done.drift_bytes) == (2, 1, 10)
    assert [(line["event"], line["tenant_id"]) for line in logs] == [("usage.drifted", context.tenant_id)]
    assert await held(process, context) == usage.Balance(5, 0, 1, 0)
    assert (await process.accounts.recount_all()).repaired == 0
    count = await process.accounts.recount(OWNER, other.tenant_id)
    assert count.noted == count.counted


async def test_a_recount_among_uploads_finds_nothing_and_breaks_nothing(
    catalog: Database, object_store: ObjectStore
) -> None:
    processes = [MiniProcess(catalog, object_store) for _ in range(2)]
    context = await processes[0].tenant()

    async def upload(number: int) -> None:
        await put_undeclared(processes[number % 2], context, f"k{number % 3}", 70 * KIB + number)

    async def recounting() -> None:
        for _ in range(10):
            assert (await processes[0].accounts.recount_all()).repaired == 0
            count = await processes[0].accounts.recount(OWNER, context.tenant_id)
            assert count.noted == count.counted

    await asyncio.gather(recounting(), *(upload(number) for number in range(20)))

    assert (await held(processes[0], context)).reserved_bytes == 0


async def test_a_repair_among_uploads_loses_none_of_them(catalog: Database, object_store: ObjectStore) -> None:
    processes = [MiniProcess(catalog, object_store) for _ in range(2)]
    context = await processes[0].tenant()

    async def repairing() -> None:
        for _ in range(10):
            await drift(catalog, context, stored_bytes=1, documents=1)
            assert (await processes[0].accounts.recount_all()).repaired == 1

    await asyncio.gather(repairing(), *(put(processes[n % 2], context, f"k{n}", b"12345") for n in range(30)))

    assert await held(processes[0], context) == usage.Balance(150, 0, 30, 0)


async def test_once_the_months_embedding_tokens_are_used_up_uploads_wait_for_the_next_month(
    process: MiniProcess,
) -> None:
    acme = await process.tenant()
    limited = on(acme, embedding_tokens_per_month_max=100)
    await process.put(limited, "first", b"one")

    async def embed(connection: Connection, tokens: int) -> None:
        now = await process.database.now(connection)
        await usage.add(connection, acme.tenant_id, now, {"embedding_tokens_paid": tokens})

    await process.database.transact(lambda c: embed(c, 99))
    await process.put(limited, "second", b"two")
    await process.database.transact(lambda c: embed(c, 1))
    with pytest.raises(LimitReached) as refused:
        await process.put(limited, "third", b"three")
    assert (refused.value.status, refused.value.code) == (403, "quota_exceeded")
    assert refused.value.details == {"resource": "embedding_tokens", "limit": 100, "used": 100}
    await process.put(on(acme, embedding_tokens_per_month_max=101), "third", b"three")
