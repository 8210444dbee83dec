"""The ledger on both databases: exact under several processes, each threshold told once, nothing lost by a reset."""

import asyncio
import secrets
from collections.abc import Mapping
from datetime import datetime, timedelta

import pytest
import sqlalchemy as sa

from s4.domains import usage
from s4.domains.events import EventKind, Events
from s4.domains.events.models import events
from s4.domains.usage.ledger import NOBODY, SHARDS, Grain
from s4.domains.usage.queries import reading, writing
from s4.kernel.errors import Unavailable
from s4.kernel.ids import TenantId
from s4.platform.database import Connection, Database
from tests.factories.metering import NOW, SetClock, month_of, new_meter, request

ACME = TenantId("ten_" + "a" * 26)
OTHER = TenantId("ten_" + "b" * 26)
SAME_SHARD = TenantId("ten_" + "c" * 25 + "a")
MONTH = Grain.MONTH.floor(NOW)
NEXT_MONTH = Grain.MONTH.following(MONTH)


async def everybody(database: Database, grain: Grain) -> dict[datetime, dict[str, int]]:
    async with database.read() as connection:
        return await reading.system_series(connection, grain, MONTH, NEXT_MONTH)


async def test_two_processes_that_count_at_once_lose_nothing_and_double_nothing(catalog: Database) -> None:
    meters = [new_meter(catalog, [], seed=seed) for seed in (1, 2)]
    for _ in range(10):
        for meter, tenant_id in ((m, t) for m in meters for t in (ACME, OTHER, SAME_SHARD)):
            meter.observe(request(tenant_id))
        await asyncio.gather(*(meter.flush() for meter in meters))

    assert {(await month_of(catalog, t))["calls"] for t in (ACME, OTHER, SAME_SHARD)} == {20}
    for grain in Grain:
        (row,) = (await everybody(catalog, grain)).values()
        assert (row["calls"], row["calls_search"], row["bytes_in"], row["bytes_out"]) == (60, 60, 600, 6000)
    async with catalog.read() as connection:
        (endpoint,) = await reading.endpoints(connection, None, MONTH, NEXT_MONTH)
    assert (endpoint.method, endpoint.route, endpoint.requests) == ("POST", "/search", 60)


async def test_a_batch_whose_commit_was_not_answered_is_not_added_twice(
    catalog: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    meter = new_meter(catalog, [])
    meter.observe(request(ACME))
    answered = catalog.transact

    async def unanswered(work: object) -> None:
        await answered(work)  # type: ignore[arg-type]
        raise Unavailable("the connection broke before the answer came")

    with monkeypatch.context() as patch:
        patch.setattr(catalog, "transact", unanswered)
        with pytest.raises(Unavailable):
            await meter.flush()
    meter.observe(request(ACME))
    await meter.flush()
    await meter.flush()

    assert (await month_of(catalog, ACME))["calls"] == 2


async def test_while_the_catalog_is_away_notes_wait_and_are_in_their_own_hour(
    catalog: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = SetClock()
    meter = new_meter(catalog, [], clock=clock)

    async def away(_: object) -> None:
        raise Unavailable("away")

    with monkeypatch.context() as patch:
        patch.setattr(catalog, "transact", away)
        meter.observe(request(ACME))
        with pytest.raises(Unavailable):
            await meter.flush()
        clock.moment += timedelta(hours=2)
        meter.observe(request(ACME))
    await meter.aclose()

    async with catalog.read() as connection:
        hours = await reading.series(connection, ACME, Grain.HOUR, MONTH, NEXT_MONTH)
    assert {hour.hour: row["calls"] for hour, row in hours.items()} == {13: 1, 15: 1}


async def test_thresholds_are_told_once_each_although_two_processes_cross_them_together(catalog: Database) -> None:
    outbox = Events(catalog, secrets.token_bytes)

    async def tell(connection: Connection, tenant_id: str, data: Mapping[str, object]) -> None:
        await outbox.emit(connection, tenant_id, EventKind.API_CALLS_LIMIT_APPROACHING, data)

    async def count(meter: usage.Meter) -> None:
        for _ in range(15):
            for _ in range(4):
                meter.observe(request(ACME))
            await meter.flush()

    meters = [new_meter(catalog, [], seed=seed, tell=tell, **{ACME: 100}) for seed in (1, 2)]
    await asyncio.gather(*map(count, meters))

    async with catalog.read() as connection:
        told = [row.data for row in await connection.execute(sa.select(events).order_by(events.c.at))]
    assert [(data["threshold_percent"], data["api_calls_limit"]) for data in told] == [(80, 100), (95, 100), (100, 100)]
    assert (await month_of(catalog, ACME))["calls"] == 120


async def test_a_leap_over_several_thresholds_tells_each(catalog: Database) -> None:
    told: list[tuple[str, int]] = []
    meter = new_meter(catalog, told, **{ACME: 10})
    for _ in range(7):
        meter.observe(request(ACME))
    await meter.flush()
    assert told == []
    for _ in range(3):
        meter.observe(request(ACME))
    await meter.flush()
    meter.observe(request(ACME))
    await meter.flush()
    assert told == [(ACME, 80), (ACME, 95), (ACME, 100)]


async def test_a_new_month_and_another_limit_are_told_of_anew(catalog: Database) -> None:
    told: list[tuple[str, int]] = []
    clock = SetClock()
    meter = new_meter(catalog, told, clock=clock, **{ACME: 1})
    meter.observe(request(ACME))
    await meter.flush()
    clock.moment = NEXT_MONTH
    meter.observe(request(ACME))
    await meter.flush()
    assert told == [(ACME, percent) for percent in (80, 95, 100)] * 2

    larger = new_meter(catalog, told, seed=2, clock=clock, **{ACME: 5})
    for _ in range(3):
        larger.observe(request(ACME))
    await larger.flush()
    assert told[6:] == [(ACME, 80)]


async def test_a_reset_begins_the_counter_anew_and_keeps_the_history(catalog: Database) -> None:
    told: list[tuple[str, int]] = []
    meter = new_meter(catalog, told, **{ACME: 5})
    for _ in range(5):
        meter.observe(request(ACME))
    await meter.flush()

    await catalog.transact(lambda c: usage.reset_calls(c, ACME, NOW))

    async with catalog.read() as connection:
        assert await usage.calls_this_month(connection, ACME, NOW) == 0
    assert (await month_of(catalog, ACME))["calls"] == 5
    for _ in range(4):
        meter.observe(request(ACME))
    await meter.flush()
    async with catalog.read() as connection:
        assert await usage.calls_this_month(connection, ACME, NOW) == 4
        assert await usage.calls_this_month(connection, ACME, NEXT_MONTH) == 0
    assert (await month_of(catalog, ACME))["calls"] == 9
    assert told[3:] == [(ACME, 80)], "thresholds begin anew with the counter"


async def test_what_counts_as_a_call_is_what_the_contract_says(catalog: Database) -> None:
    meter = new_meter(catalog, [])
    counted = [request(ACME, status=status) for status in (200, 400, 404, 409, 413, 500, 503)] + [
        request(ACME, status=403, code="forbidden")
    ]
    free = [
        request(ACME, "/api/v1/profile", method="GET", counted=False),
        request(ACME, "/api/usage", method="GET", counted=False),
        request(ACME, status=429, code="rate_limited"),
        request(ACME, "/api/v1/documents", status=403, code="quota_exceeded"),
    ]
    unknown = [request(None, status=401), request(None, status=503)]
    for finished in [*counted, *free, *unknown]:
        meter.observe(finished)
    meter.observe(request(ACME, status=503), excused=True)
    await meter.flush()

    month = await month_of(catalog, ACME)
    assert (month["calls"], month["requests"], month["failures"]) == (len(counted) + 1, len(counted + free) + 1, 2)
    async with catalog.read() as connection:
        assert await usage.last_activity(connection, ACME) == NOW
        assert await usage.last_activity(connection, OTHER) is None
        assert await reading.nobodys_failures(connection, MONTH, NEXT_MONTH) == 1
        assert await reading.endpoints(connection, NOBODY, MONTH, NEXT_MONTH) != []


async def test_balances_are_sampled_once_an_hour_by_however_many_workers(catalog: Database) -> None:
    async def hold(connection: Connection, size_bytes: int) -> None:
        for tenant_id in (ACME, SAME_SHARD):
            await usage.open_balance(connection, tenant_id)
            await usage.settle(
                connection,
                tenant_id,
                stored=usage.Room(size_bytes, size_bytes // 100),
                released=usage.Room(0),
                limit_bytes=None,
            )

    async def sample(hours: int) -> bool:
        hour = Grain.HOUR.floor(NOW) + timedelta(hours=hours)
        return await catalog.transact(lambda c: writing.sample_balances(c, hour))

    await catalog.transact(lambda c: hold(c, 1000))
    assert sorted(await asyncio.gather(sample(0), sample(0))) == [False, True]
    await catalog.transact(lambda c: hold(c, -1000))
    assert await sample(1)

    month = await month_of(catalog, ACME)
    assert (month["stored_byte_hours"], month["stored_bytes"], month["documents"]) == (1000, 0, 0)
    hours = await everybody(catalog, Grain.HOUR)
    assert [(row["stored_bytes"], row["documents"]) for row in hours.values()] == [(2000, 20), (0, 0)]


async def test_old_hours_are_forgotten_and_their_months_stay(catalog: Database) -> None:
    meter = new_meter(catalog, [])
    meter.observe(request(ACME))
    await meter.flush()
    later = Grain.HOUR.following(Grain.HOUR.floor(NOW))

    def forget(before: datetime) -> object:
        return catalog.transact(lambda c: writing.forget(c, hours_before=before, meters_before=before, limit=100))

    assert await forget(NOW - timedelta(hours=1)) == 0  # type: ignore[misc]
    assert await forget(later) == 4, "an hour and an endpoint, of the tenant and of everybody"  # type: ignore[misc]
    assert (await month_of(catalog, ACME))["calls"] == 1
    assert await everybody(catalog, Grain.HOUR) == {}


async def test_the_most_and_the_active_are_found_among_tenants_not_among_shards(catalog: Database) -> None:
    meter = new_meter(catalog, [])
    for tenant_id, calls in ((ACME, 3), (OTHER, 5), (SAME_SHARD, 1)):
        for _ in range(calls):
            meter.observe(request(tenant_id))
    await meter.flush()
    day = Grain.DAY.floor(NOW)
    async with catalog.read() as connection:
        top = await reading.top(connection, Grain.DAY, day, NEXT_MONTH, by="calls", limit=2)
        spans = [(Grain.DAY, day, NEXT_MONTH), (Grain.DAY, day, Grain.DAY.following(day)), (Grain.DAY, MONTH, day),
                 (Grain.MONTH, MONTH, NEXT_MONTH)]  # fmt: skip
        active = [await reading.active_tenants(connection, *span) for span in spans]
    assert top == [(OTHER, 5), (ACME, 3)]
    assert active == [3, 3, 0, 3]
    assert len(SHARDS) == 32
