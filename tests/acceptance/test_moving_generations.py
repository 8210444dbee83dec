"""A tenant moves to another model while it uploads, replaces, deletes and searches: one deployment that knows two."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from s4.domains.documents.model import DocumentStatus
from s4.domains.indexing import Standing
from s4.domains.indexing.queries import held
from s4.domains.indexing.queries.sizes import sizes_of
from s4.domains.search.service import Query
from s4.domains.tenants import Role
from s4.engine.ranking import Mode
from s4.entrypoints.figures import CatalogFigures
from s4.kernel import keys
from s4.kernel.context import SYSTEM_ACTOR
from s4.kernel.errors import Conflict, Unavailable
from s4.kernel.ids import CommitId, GenerationId
from s4.kernel.keys import ObjectKey
from s4.platform.objects import CreateOutcome
from tests.factories.house import House, Tenant, open_house

pytestmark = pytest.mark.processes

MODELS = {"index_models": {"wide": {"dimension": 512}, "small": {"chunk_tokens_max": 64, "chunk_overlap_tokens": 8}}}
SOON = timedelta(seconds=60)  # it takes milliseconds


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with open_house(tmp_path, index_grace_seconds=0, **MODELS) as house:
        yield house


@pytest.fixture
async def contended(tmp_path: Path, catalog_url: str) -> AsyncIterator[House]:
    """On each database: what changes and publications do to each other is a matter of locks."""
    async with open_house(tmp_path, database_url=catalog_url, index_grace_seconds=0, **MODELS) as house:
        yield house


def generation_of(house: House, name: str) -> GenerationId:
    return house.core.models.by_name(name).generation.id


async def begin(house: House, tenant: Tenant, name: str, *, budget_tokens: int | None = None) -> GenerationId:
    holding = await house.core.moves.rebuild(SYSTEM_ACTOR, tenant.context.tenant_id, name, budget_tokens=budget_tokens)
    return holding.generation


async def build(house: House, tenant: Tenant, name: str) -> GenerationId:
    generation = await begin(house, tenant, name)
    await house.work()
    return generation


async def switch(house: House, tenant: Tenant, to: GenerationId) -> Tenant:
    """The tenant, as its next request comes."""
    await house.core.moves.switch(SYSTEM_ACTOR, tenant.context.tenant_id, to, patience=SOON)
    return await house.known(tenant.key)


async def standing(house: House, tenant: Tenant, generation: GenerationId) -> Standing:
    every = await house.core.moves.standings(tenant.context.tenant_id)
    return next(each for each in every if each.holding.generation == generation)


async def found_in(house: House, tenant: Tenant, text: str, generation: GenerationId) -> list[str]:
    query = Query(text, mode=Mode.SEMANTIC, limit=100)
    answer = await house.core.search.search_in(tenant.context, query, generation)
    return [result.document.document_id for result in answer.results]


async def done(house: House) -> dict[str, float]:
    """The share of each generation that is there, as metrics tell it."""
    figures = CatalogFigures(house.core)
    await figures.refresh()
    told = {family.name: family.samples for family in figures()}
    return {each.labels["generation"]: each.value for each in told["s4_index_generation_done_ratio"]}


async def objects(house: House, tenant: Tenant) -> list[str]:
    return [info.key async for info in house.core.store.list(keys.indices(tenant.context.tenant_id))]


async def test_a_tenant_is_served_from_the_new_model_after_the_switch_and_from_the_old_one_after_the_way_back(
    house: House,
) -> None:
    acme, globex = await house.tenant("Acme"), await house.tenant("Globex")
    documents = [await house.put(acme, f"report{n}", f"common word{n}") for n in range(12)]
    await house.put(globex, "report", "common")
    await house.work()
    old, new = house.core.generation.id, await begin(house, acme, "wide")
    assert (await done(house))[new] == 0
    await house.work()
    assert (await done(house)) == {old: 1, new: 1}
    assert (await standing(house, acme, new)).lacking == 0
    assert not any(new in name for name in await objects(house, globex)), "nobody else is built for"

    moved = await switch(house, acme, new)
    assert moved.context.generation == new
    assert set(await house.found(moved, "common", Mode.SEMANTIC)) == {each.document_id for each in documents}
    assert len(await house.found(acme, "common")) == 12, "what came before the switch is answered as well"
    assert len(await house.found(globex, "common")) == 1

    back = await house.core.moves.rollback(SYSTEM_ACTOR, acme.context.tenant_id, patience=SOON)
    assert back == old
    assert (await house.known(acme.key)).context.generation == old
    assert (await standing(house, acme, new)).holding.role is Role.KEPT


async def test_what_is_uploaded_replaced_and_deleted_meanwhile_is_in_both(contended: House) -> None:
    house = contended
    acme = await house.tenant()
    before = [await house.put(acme, f"old{n}", f"common old{n}") for n in range(20)]
    await house.work()
    new = await begin(house, acme, "small")
    working = asyncio.create_task(house.work())
    during = []
    for n in range(10):
        during.append(await house.put(acme, f"new{n}", f"common new{n}"))
        await house.put(acme, f"old{n}", f"common changed{n}")
        assert len(await house.found(acme, "common")) >= 20
    await house.core.documents.delete(acme.context, before[15].document_id)
    await working
    await house.work()
    moved = await switch(house, acme, new)
    left = {each.document_id for each in [*before, *during]} - {before[15].document_id}
    for generation in (house.core.generation.id, new):
        assert set(await found_in(house, moved, "common", generation)) == left
    for n in range(10):
        assert await house.found(moved, f"changed{n}") == [before[n].document_id]
        assert await house.found(moved, f"old{n}") == []

    late = await house.put(moved, "late", "common late")
    await house.put(moved, "old19", "common renewed")
    await house.core.documents.delete(moved.context, before[18].document_id)
    await house.work()
    assert {each.status for each in await house.all(moved)} == {DocumentStatus.READY}
    for generation in (house.core.generation.id, new):
        assert set(await found_in(house, moved, "common", generation)) == left - {before[18].document_id} | {
            late.document_id
        }
    await house.core.moves.rollback(SYSTEM_ACTOR, acme.context.tenant_id, patience=SOON)
    back = await house.known(acme.key)
    assert await house.found(back, "renewed") == [before[19].document_id]


async def test_the_switch_is_refused_while_a_served_document_is_not_there(house: House) -> None:
    acme = await house.tenant()
    for n in range(3):
        await house.put(acme, f"report{n}", "common")
    await house.work()
    new = await begin(house, acme, "wide")
    with pytest.raises(Conflict, match="3 documents that are served are not there"):
        await house.core.moves.switch(SYSTEM_ACTOR, acme.context.tenant_id, new, patience=timedelta(seconds=0))
    assert (await house.known(acme.key)).context.generation == house.core.generation.id
    await house.work()
    await switch(house, acme, new)


async def test_a_switch_waits_for_what_is_on_its_way_and_loses_sight_of_nothing(contended: House) -> None:
    house = contended
    acme = await house.tenant()
    await house.put(acme, "report", "common")
    await house.work()
    new = await build(house, acme, "wide")
    during = [await house.put(acme, f"new{n}", "common") for n in range(10)]
    working = asyncio.create_task(house.work())
    moved = await switch(house, acme, new)
    ready = [each for each in await house.all(moved) if each.status is DocumentStatus.READY]
    assert {each.document_id for each in ready} <= set(await house.found(moved, "common"))
    await working
    await house.work()
    assert {each.status for each in await house.all(moved)} == {DocumentStatus.READY}
    assert len(await house.found(moved, "common")) == len(during) + 1


async def test_from_the_seal_of_a_switch_on_no_document_is_ready_that_is_not_there_whoever_else_acts(
    contended: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The tenant's settings change while the switch waits, and an earlier switch gives up once the later is sealed."""
    house = contended
    acme = await house.tenant()
    await house.put(acme, "report", "common")
    await house.work()
    new = await build(house, acme, "wide")
    moves, tenant_id = house.core.moves, acme.context.tenant_id
    await_it, create = moves._await, house.core.store.create
    waits, never = asyncio.Event(), asyncio.Event()

    async def awaited_and_changed(*of: Any) -> None:
        await await_it(*of)
        if asyncio.current_task() is earlier:
            waits.set()
            await never.wait()
        await house.core.query_log.set_days(SYSTEM_ACTOR, tenant_id, 7)

    safe: list[bool] = []

    async def create_of_the_switch(key: ObjectKey, data: bytes, *, commit_id: CommitId) -> CreateOutcome:
        if key.startswith(keys.tenant_heads(tenant_id)) and b'"kept"' in data and not safe:
            earlier.cancel()
            await asyncio.wait({earlier}, timeout=0.5)
            async with house.core.database.read() as connection:
                safe.append((await held.of(connection, tenant_id))[new].is_awaited)
        return await create(key, data, commit_id=commit_id)

    monkeypatch.setattr(moves, "_await", awaited_and_changed)
    monkeypatch.setattr(house.core.store, "create", create_of_the_switch)
    earlier = asyncio.create_task(moves.switch(SYSTEM_ACTOR, tenant_id, new, patience=SOON))
    await waits.wait()
    moved = await switch(house, acme, new)
    assert safe == [True]
    assert moved.context.generation == new


async def test_a_build_stops_when_its_budget_is_spent_and_goes_on_with_more(house: House) -> None:
    acme = await house.tenant()
    for n in range(10):
        await house.put(acme, f"report{n}", f"common word{n} " * 20)
    await house.work()
    new = await begin(house, acme, "wide", budget_tokens=250)
    await house.work()
    stopped = await standing(house, acme, new)
    assert stopped.is_stopped
    assert 0 < stopped.documents < 10
    assert 0 < stopped.tokens_spent <= 250
    with pytest.raises(Conflict, match="budget is spent"):
        await switch(house, acme, new)
    fresh = await house.put(acme, "fresh", "common fresh")
    await house.work()
    assert (await house.get(acme, fresh.document_id)).status is DocumentStatus.READY

    await begin(house, acme, "wide", budget_tokens=100_000)
    await house.work()
    done = await standing(house, acme, new)
    assert (done.lacking, done.is_stopped) == (0, False)
    assert done.tokens_spent > stopped.tokens_spent
    await switch(house, acme, new)


async def test_release_removes_rows_bytes_and_vectors_of_the_old_one_only(house: House) -> None:
    acme, globex = await house.tenant("Acme"), await house.tenant("Globex")
    for tenant in (acme, globex):
        await house.put(tenant, "report", "common")
    await house.work()
    others = await objects(house, globex)
    old, new = house.core.generation.id, await build(house, acme, "wide")
    moved = await switch(house, acme, new)
    with pytest.raises(Conflict, match="served from it"):
        await house.core.moves.release(SYSTEM_ACTOR, acme.context.tenant_id, new)
    assert any("deterministic-words-384" in name for name in await objects(house, acme))
    assert len(await house.found(acme, "common")) == 1, "so that its table is remembered"
    await house.core.moves.release(SYSTEM_ACTOR, acme.context.tenant_id, old)
    async with house.core.database.read() as connection:
        assert await held.contents(connection, acme.context.tenant_id, old) == (0, 0)
        assert (await sizes_of(connection, acme.context.tenant_id)).keys() == {new}
    assert len(await house.found(acme, "common")) == 1, "a request that came before all this"
    await house.work()
    left = await objects(house, acme)
    assert all(new in name or "deterministic-words-512" in name for name in left)
    assert await house.core.moves.is_discarded(acme.context.tenant_id, old)
    assert [each.holding.generation for each in await house.core.moves.standings(acme.context.tenant_id)] == [new]
    assert await objects(house, globex) == others
    assert len(await house.found(moved, "common")) == 1

    await house.put(moved, "next", "common")
    await house.work()
    assert len(await house.found(moved, "common")) == 2
    assert not any(old in name for name in await objects(house, acme)), "nothing is written there any more"


async def test_a_tenant_that_comes_back_to_the_deployments_own_is_as_if_it_had_never_moved(house: House) -> None:
    acme = await house.tenant()
    await house.put(acme, "report", "common")
    await house.work()
    new = await build(house, acme, "small")
    moved = await switch(house, acme, new)
    await house.core.moves.rollback(SYSTEM_ACTOR, acme.context.tenant_id, patience=SOON)
    await house.core.moves.release(SYSTEM_ACTOR, acme.context.tenant_id, new)
    await house.work()
    assert (await house.known(acme.key)).context.generation is None
    assert await house.core.moves.moved() == []
    assert len(await house.found(moved, "common")) == 1, "a request that came while it was away"
    assert any("embeddings/" in name for name in await objects(house, acme)), "the model is the same"


async def test_a_process_that_does_not_know_the_model_says_so_and_loses_nothing(house: House) -> None:
    acme = await house.tenant()
    await house.put(acme, "report", "common")
    await house.work()
    moved = await switch(house, acme, await build(house, acme, "wide"))
    settings = house.core.settings
    async with open_house(settings.data_dir, database_url=settings.database_url) as other:
        with pytest.raises(Unavailable, match="S4_INDEX_MODELS"):
            await other.found(moved, "common")
        late = await other.put(moved, "late", "common")
        await other.work()
        assert (await other.get(moved, late.document_id)).status is DocumentStatus.PROCESSING
    await house.work()
    assert (await house.get(moved, late.document_id)).status is DocumentStatus.READY
    assert len(await house.found(moved, "common")) == 2
