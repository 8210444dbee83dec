"""Vectors that were paid for stay, but not without end: what is old goes of who keeps far more than is searchable."""

import os
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from s4.domains.maintenance.holds import Holds
from s4.entrypoints.bootstrap import RANDOM
from s4.kernel import keys
from s4.platform.telemetry import metrics
from tests.factories.house import House, Tenant, open_house
from tests.factories.provider import CountingProvider, counting_provider

pytestmark = pytest.mark.processes

DAY_SECONDS = 86_400
NOTES = 4
DIMENSION_BYTES = 4


@pytest.fixture
def provider() -> Iterator[CountingProvider]:
    with counting_provider() as provider:
        yield provider


@pytest.fixture
async def house(tmp_path: Path, provider: CountingProvider) -> AsyncIterator[House]:
    async with open_house(tmp_path, **provider.flags) as house:
        yield house


async def replaced_often(house: House) -> Tenant:
    """Four notes of a chunk each, and each has had two other texts before."""
    acme = await house.tenant()
    for text in ("first", "second", "third"):
        for note in range(NOTES):
            await house.put(acme, f"{note}", f"the {text} text of note {note}")
        await house.work()
    return acme


async def kept(house: House, tenant: Tenant) -> dict[str, int]:
    """Groups of vectors and their bytes."""
    return {info.key: info.size async for info in house.core.store.list(keys.embeddings(tenant.context.tenant_id))}


async def aged(house: House, tenant: Tenant, *, days: int) -> list[str]:
    """As if all had been written so long ago, an hour after each other. Answers with them, oldest first."""
    root = house.core.settings.data_dir / "objects"
    groups = sorted(await kept(house, tenant), key=lambda key: (root / key).stat().st_mtime_ns)
    for hours, key in enumerate(groups):
        moment = time.time() - days * DAY_SECONDS + 3600 * hours
        os.utime(root / key, (moment, moment))
    return groups


async def collected(house: House) -> bool:
    """Whether anybody was asked to let go of vectors, and has."""
    report = await house.parts.maintenance.collect()
    await house.work()
    return "trims_requested" in report.counts


async def test_twice_the_searchable_vectors_stay_the_newest_and_cost_nothing_when_they_come_back(
    house: House, provider: CountingProvider
) -> None:
    acme, young = await replaced_often(house), await replaced_often(house)
    oldest_first = await aged(house, acme, days=40)
    before, of_young = await kept(house, acme), await kept(house, young)
    removed = metrics.EMBEDDING_CACHE_BYTES.labels("removed")
    counted = removed._value.get()

    assert await collected(house)
    after = await kept(house, acme)
    bound = 2 * NOTES * house.core.generation.dimension * DIMENSION_BYTES
    assert sum(after.values()) <= bound < sum(after.values()) + max(before.values())
    assert set(after) == set(oldest_first[-len(after) :])
    assert removed._value.get() - counted == sum(before.values()) - sum(after.values())
    assert await kept(house, young) == of_young, "a month they stay in any case"
    assert not await collected(house), "there is no more to do"

    for text, paid in (("second", NOTES - (len(after) - NOTES)), ("first", NOTES)):
        before_this = len(provider.texts)
        for note in range(NOTES):
            await house.put(acme, f"{text} of {note}", f"the {text} text of note {note}")
        await house.work()
        assert len(provider.texts) - before_this == paid
    assert len(await house.found(acme, "note")) == 3 * NOTES


async def test_nothing_goes_while_a_backup_reads_or_while_much_waits_to_be_indexed(house: House) -> None:
    acme = await replaced_often(house)
    before = await aged(house, acme, days=40)
    async with Holds(house.core.database, RANDOM).placed("backup"):
        assert await collected(house)
        assert sorted(await kept(house, acme)) == sorted(before)
    await house.put(acme, "new", "not indexed yet")
    assert "trims_requested" not in (await house.parts.maintenance.collect()).counts
    await house.work()
    assert await collected(house)
    assert len(await kept(house, acme)) < len(before)
