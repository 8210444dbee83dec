"""The last hour against the same hour of seven days: what is told, since when, through whom; and what is not."""

import secrets
from datetime import datetime, timedelta

import pytest

from s4.domains.upkeep.degradation import Change, changes
from s4.domains.upkeep.queries.hours import Measure, errors_of
from s4.domains.usage.ledger import NOBODY, Grain
from s4.domains.usage.queries import writing
from s4.kernel.ids import new_tenant_id
from s4.platform.database import Connection, Database
from tests.factories.metering import NOW, new_meter, request

HOUR = timedelta(hours=1)
DAYS = 8
ACME, BOREL = (new_tenant_id(secrets.token_bytes) for _ in range(2))
USUAL = {"requests": 200, "calls": 200, "calls_search": 100, "calls_upload": 100, "store_reads": 400}
USUAL |= {"store_writes": 400, "searches_le_03": 100}


async def lived(catalog: Database, now: datetime, *, busy_back: int = 0, busy: dict[str, int] | None = None) -> None:
    """Eight days of two tenants, hour by hour; in the last `busy_back` hours Acme has `busy` beside it."""
    hour = Grain.HOUR.floor(now)

    async def write(connection: Connection) -> None:
        entries = []
        for back in range(24 * DAYS + 2):
            at = hour - back * HOUR
            entries += [(ACME, at, USUAL), (BOREL, at, USUAL)]
            if back < busy_back and busy is not None:
                entries.append((ACME, at, busy))
        await writing.add_all(connection, entries)

    await catalog.transact(write)


async def told(catalog: Database, now: datetime) -> dict[Measure, Change]:
    async with catalog.read() as connection:
        found, _ = await changes(connection, now)
    return {each.measure: each for each in found}


@pytest.fixture
async def now(catalog: Database) -> datetime:
    async with catalog.read() as connection:
        return await catalog.now(connection)


async def test_a_life_that_is_as_always_is_not_told(catalog: Database, now: datetime) -> None:
    await lived(catalog, now)
    assert await told(catalog, now) == {}


@pytest.mark.parametrize("catalog_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("busy", "measure"),
    [
        ({"store_reads": 9000}, Measure("store_reads")),
        ({"searches_le_12": 90}, Measure("slow")),
        ({"calls": 900, "requests": 900, "calls_delete": 900}, Measure("mix", "delete")),
    ],
)
async def test_what_changed_is_dated_and_has_its_tenant(
    catalog: Database, now: datetime, busy: dict[str, int], measure: Measure
) -> None:
    await lived(catalog, now, busy_back=4, busy=busy)

    found = await told(catalog, now)

    assert set(found) == {measure}
    change = found[measure]
    assert change.tenant_id == ACME
    assert change.share > 0.9
    assert change.since == Grain.HOUR.floor(now) - 3 * HOUR
    assert change.now > change.usual


async def test_errors_are_told_by_code_and_strangers_errors_have_no_tenant(catalog: Database, now: datetime) -> None:
    hour = Grain.HOUR.floor(now)
    await lived(catalog, now)
    errors = {(BOREL, hour): {"server_error": 80}, (NOBODY, hour): {"unauthorized": 90}, (ACME, hour): {"not_found": 3}}
    await catalog.transact(lambda c: writing.add_errors(c, errors))

    found = await told(catalog, now)

    assert {measure: change.tenant_id for measure, change in found.items()} == {
        Measure("errors", "server_error"): BOREL,
        Measure("errors", "unauthorized"): None,
    }


@pytest.mark.parametrize("catalog_url", ["sqlite"], indirect=True)
async def test_what_comes_every_monday_is_usual(catalog: Database, now: datetime) -> None:
    """One day of the seven was as bad: it is no change."""
    hour = Grain.HOUR.floor(now)
    await lived(catalog, now, busy_back=2, busy={"store_reads": 9000})
    a_week_ago = [(ACME, hour - back * HOUR - timedelta(days=7), {"store_reads": 9500}) for back in range(2)]
    await catalog.transact(lambda c: writing.add_all(c, a_week_ago))
    assert await told(catalog, now) == {}


@pytest.mark.parametrize("catalog_url", ["sqlite"], indirect=True)
async def test_two_days_are_no_baseline(catalog: Database, now: datetime) -> None:
    hour = Grain.HOUR.floor(now)
    entries = [(ACME, hour - timedelta(days=day), USUAL) for day in range(3)]
    await catalog.transact(lambda c: writing.add_all(c, [*entries, (ACME, hour, {"store_reads": 90_000})]))
    assert await told(catalog, now) == {}


async def test_a_meter_counts_errors_by_code_for_whom_it_knows_and_for_nobody(catalog: Database) -> None:
    meter = new_meter(catalog, [])
    for tenant_id, status, code in (
        (ACME, 200, None),
        (ACME, 429, "rate_limited"),
        (ACME, 429, "rate_limited"),
        (None, 401, "unauthorized"),
        (BOREL, 404, None),
        (BOREL, 499, None),
    ):
        meter.observe(request(tenant_id, status=status, code=code))
    await meter.flush()

    hours = [Grain.HOUR.floor(NOW)]
    async with catalog.read() as connection:
        found = {
            code: await errors_of(connection, code, hours) for code in ("rate_limited", "unauthorized", "status_404")
        }
        gone = await errors_of(connection, "status_499", hours)
    assert found == {"rate_limited": {ACME: 2}, "unauthorized": {NOBODY: 1}, "status_404": {BOREL: 1}}
    assert gone == {}, "who went away was told nothing"
