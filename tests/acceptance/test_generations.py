"""Two sets over one catalog and bucket that cut documents differently, and so index into generations of their own."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from s4.domains.documents import jobs as document_jobs
from s4.domains.documents.model import DocumentStatus
from s4.domains.indexing import Coverage
from s4.domains.indexing import jobs as index_jobs
from s4.domains.indexing.models import generation_uses
from s4.domains.indexing.queries import tables as queries
from s4.domains.indexing.queries import uses
from s4.entrypoints.bootstrap import open_core
from s4.kernel import keys
from s4.kernel.errors import DocumentRejected
from s4.kernel.ids import FIRST_INCARNATION, DocumentId, GenerationId
from s4.kernel.keys import ObjectKey
from s4.platform.database import Connection
from s4.platform.jobs import broad
from s4.platform.jobs.models import jobs
from tests.factories.house import House, Tenant, open_house

pytestmark = pytest.mark.processes  # two sets of everything, for each test

SMALLER_CHUNKS = {"chunk_tokens_max": 64, "chunk_overlap_tokens": 8}


@pytest.fixture
async def blue(tmp_path: Path, catalog_url: str) -> AsyncIterator[House]:
    async with open_house(tmp_path, database_url=catalog_url, index_grace_seconds=0) as house:
        await house.core.generations.fill()  # nothing is there: complete
        yield house


@contextlib.asynccontextmanager
async def green_beside(blue: House) -> AsyncIterator[House]:
    settings = blue.core.settings
    async with open_house(
        settings.data_dir, database_url=settings.database_url, index_grace_seconds=0, **SMALLER_CHUNKS
    ) as green:
        assert green.core.generation.id != blue.core.generation.id
        yield green


async def coverage(house: House) -> Coverage:
    """Of the generation that this house uses."""
    every = await house.core.generations.coverage()
    return next(each for each in every if each.generation == house.core.generation.id)


async def fill(green: House) -> None:
    await green.core.generations.fill()
    await green.work()
    await green.core.generations.fill()


async def rows_of(house: House, tenant: Tenant, document_id: DocumentId) -> int:
    """Rows in this house's table, whether or not the catalog vouches for them."""
    tenant_id, generation = tenant.context.tenant_id, house.core.generation
    async with house.core.database.read() as connection:
        table = await queries.table_state(connection, tenant_id, generation.id)
    assert table is not None
    reader = await house.core.vectors.reader(generation.prefix(tenant_id, table.incarnation), table.version)
    assert reader is not None
    return sum(count for (found, _), count in (await reader.all_pairs()).items() if found == document_id)


async def files_of(house: House, tenant: Tenant) -> list[ObjectKey]:
    """Of this house's table."""
    prefix = house.core.generation.prefix(tenant.context.tenant_id, FIRST_INCARNATION)
    return [info.key async for info in house.core.store.list(keys.index_table(prefix))]


async def check(house: House, tenant: Tenant) -> None:
    request = index_jobs.check(tenant.context.tenant_id, house.core.generation.id, is_suspected=True)
    await house.core.database.transact(lambda c: house.core.queue.enqueue(c, request))


async def fall_silent(house: House) -> None:
    """As if its processes had said nothing for more than a minute."""

    async def say(connection: Connection) -> None:
        past = await house.core.database.now(connection) - uses.USE_LASTS - timedelta(seconds=1)
        of_house = generation_uses.c.generation_id == house.core.generation.id
        await connection.execute(sa.update(generation_uses).where(of_house).values(seen_at=past))

    await house.core.database.transact(say)


async def status(house: House, tenant: Tenant, document_id: DocumentId) -> DocumentStatus:
    return (await house.get(tenant, document_id)).status


async def test_a_second_generation_is_filled_beside_the_one_that_is_served(blue: House) -> None:
    acme = await blue.tenant()
    documents = [await blue.put(acme, f"report{n}", f"common word{n}") for n in range(12)]
    await blue.work()
    async with green_beside(blue) as green:
        assert await coverage(green) == Coverage(green.core.generation.id, complete=False, lacking=12, failed=0)
        assert await green.found(acme, "common") == []
        await green.core.generations.fill()
        await blue.work()  # who is of another generation can do none of it, and takes none of it
        assert (await coverage(green)).lacking == 12
        assert len(await blue.found(acme, "common")) == 12
        await fill(green)
        assert await coverage(green) == Coverage(green.core.generation.id, complete=True, lacking=0, failed=0)
        assert set(await green.found(acme, "common")) == {document.document_id for document in documents}
        assert len(await blue.found(acme, "common")) == 12


@pytest.mark.parametrize("first", ["blue", "green"])
async def test_what_is_ready_is_found_in_both_whoever_indexes_it_first(blue: House, first: str) -> None:
    acme = await blue.tenant()
    async with green_beside(blue) as green:
        await fill(green)
        one, other = (blue, green) if first == "blue" else (green, blue)
        stored = await one.put(acme, "report", "the ancient wording")
        await one.work()
        assert await one.found(acme, "ancient") == [stored.document_id]
        assert await status(one, acme, stored.document_id) is DocumentStatus.PROCESSING, "not there in the other yet"
        await other.work()
        assert await status(one, acme, stored.document_id) is DocumentStatus.READY
        assert await other.found(acme, "ancient") == [stored.document_id]

        await other.put(acme, "report", "the modern wording")
        await other.work()
        assert await one.found(acme, "ancient") == [stored.document_id], "until the new is there"
        await one.work()
        assert await status(other, acme, stored.document_id) is DocumentStatus.READY
        for house in (one, other):
            assert await house.found(acme, "modern") == [stored.document_id]
            assert await house.found(acme, "ancient") == []

        await one.core.documents.patch_metadata(acme.context, stored.document_id, {"year": 2026})
        await one.core.documents.reprocess(acme.context, stored.document_id)
        await one.work()
        await other.work()
        assert await status(one, acme, stored.document_id) is DocumentStatus.READY
        for house in (one, other):
            assert (await house.get(acme, stored.document_id)).metadata == {"year": 2026}
            assert await house.found(acme, "modern") == [stored.document_id]

        await one.core.documents.delete(acme.context, stored.document_id)
        for house in (one, other):
            assert await house.found(acme, "modern") == []
        await one.work()
        await other.work()
        assert [await rows_of(house, acme, stored.document_id) for house in (one, other)] == [0, 0]


async def test_uploads_replacements_and_deletions_during_the_overlap_reach_both_sets(blue: House) -> None:
    """Both sets work at once, on jobs of one queue: which of them claims what is left to chance."""
    acme = await blue.tenant()
    before = [await blue.put(acme, f"old{n}", f"common old{n}") for n in range(8)]
    await blue.work()
    async with green_beside(blue) as green:
        filling = asyncio.create_task(fill(green))
        during = []
        for n in range(8):
            house = (blue, green)[n % 2]
            during.append(await house.put(acme, f"new{n}", f"common new{n}"))
            await house.put(acme, f"old{n}", f"common changed{n}")
            await blue.work()
        await house.core.documents.delete(acme.context, before[0].document_id)
        await filling
        for _ in range(3):
            await asyncio.gather(blue.work(), green.work())
            await green.core.generations.fill()
        assert (await coverage(green)).complete
        left = {document.document_id for document in [*before[1:], *during]}
        for house in (blue, green):
            assert set(await house.found(acme, "common")) == left
            for n in range(1, 8):
                assert await house.found(acme, f"changed{n}") == [before[n].document_id]
                assert await house.found(acme, f"old{n}") == []
        assert {document.status for document in await blue.all(acme)} == {DocumentStatus.READY}
        assert await waiting(blue) == []


async def test_nobody_waits_for_a_generation_that_is_being_filled(blue: House) -> None:
    acme = await blue.tenant()
    await blue.put(acme, "before", "common before")
    await blue.work()
    async with green_beside(blue) as green:
        new = await blue.put(acme, "new", "common new")
        await blue.work()
        assert await status(blue, acme, new.document_id) is DocumentStatus.READY
        await fill(green)
        assert len(await green.found(acme, "common")) == 2


async def test_a_generation_that_is_being_filled_leaves_new_documents_to_the_one_that_is_served(blue: House) -> None:
    """Its model may be slow, or never answer: tenants would wait for it."""
    acme = await blue.tenant()
    async with green_beside(blue) as green:
        new = await blue.put(acme, "new", "common new")
        await green.work()
        assert await green.found(acme, "common") == []
        await blue.work()
        assert await status(blue, acme, new.document_id) is DocumentStatus.READY
        await green.work()
        assert await green.found(acme, "common") == [new.document_id]


async def test_a_set_that_leaves_holds_nobody_up_and_catches_up_when_it_returns(blue: House) -> None:
    acme = await blue.tenant()
    async with green_beside(blue) as green:
        await fill(green)
        stuck = await blue.put(acme, "stuck", "common stuck")
        await blue.work()
        assert await status(blue, acme, stuck.document_id) is DocumentStatus.PROCESSING
    assert [broad(kind) for kind in await waiting(blue)] == await waiting(blue), "what only green could do"
    await blue.work()
    assert await status(blue, acme, stuck.document_id) is DocumentStatus.READY
    alone = await blue.put(acme, "alone", "common alone")
    await blue.work()
    assert await status(blue, acme, alone.document_id) is DocumentStatus.READY
    assert await waiting(blue) == []
    async with green_beside(blue) as green:
        assert not (await coverage(green)).complete, "it lacks what came while it was away"
        await fill(green)
        assert (await coverage(green)).complete
        assert set(await green.found(acme, "common")) == {stuck.document_id, alone.document_id}


async def test_a_set_that_dies_is_forgotten_after_a_minute(blue: House) -> None:
    acme = await blue.tenant()
    async with green_beside(blue) as green:
        await fill(green)
        stuck = await blue.put(acme, "stuck", "common stuck")
        await blue.work()
        await fall_silent(green)
        await blue.core.generations.fill()
        await blue.work()
        assert await status(blue, acme, stuck.document_id) is DocumentStatus.READY


async def test_a_set_whose_workers_are_gone_holds_nobody_up_though_it_serves(blue: House) -> None:
    acme = await blue.tenant()
    async with contextlib.AsyncExitStack() as replica:
        async with green_beside(blue) as green:
            await fill(green)
            core = await replica.enter_async_context(open_core(green.core.settings))
            await replica.enter_async_context(core.generations.in_use(works=False))
            stuck = await blue.put(acme, "stuck", "common stuck")
            await blue.work()
            assert await status(blue, acme, stuck.document_id) is DocumentStatus.PROCESSING
        alone = await blue.put(acme, "alone", "common alone")
        await blue.work()
        assert await status(blue, acme, alone.document_id) is DocumentStatus.READY
        await blue.core.generations.fill()
        await blue.work()
        assert await status(blue, acme, stuck.document_id) is DocumentStatus.READY
        assert await waiting(blue) == [], "what only green could do"
        missed = {each.generation: each.lacking for each in await core.generations.coverage()}
        assert missed == {blue.core.generation.id: 0, core.generation.id: 2}
    async with green_beside(blue) as green:
        assert not (await coverage(green)).complete
        await fill(green)
        assert (await coverage(green)).complete


async def test_a_generation_that_is_being_filled_leaves_nothing_to_one_without_workers(blue: House) -> None:
    acme = await blue.tenant()
    async with green_beside(blue) as green:

        async def only_serves(connection: Connection) -> None:
            of_blue = generation_uses.c.generation_id == blue.core.generation.id
            await connection.execute(sa.update(generation_uses).where(of_blue).values(works=False))

        await blue.core.database.transact(only_serves)
        new = await green.put(acme, "new", "common new")
        await green.work()
        assert await status(green, acme, new.document_id) is DocumentStatus.READY


async def test_what_cannot_be_indexed_in_a_new_generation_is_counted_and_served_from_the_old_one(
    blue: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    acme = await blue.tenant()
    served = await blue.put(acme, "report", "common")
    await blue.work()
    async with green_beside(blue) as green:

        async def refuse(_: object) -> None:
            raise DocumentRejected("Too many passages.", code="too_long")

        monkeypatch.setattr(green.parts.indexing, "_chunks", refuse)
        await fill(green)
        assert await coverage(green) == Coverage(green.core.generation.id, complete=False, lacking=1, failed=1)
        assert await status(blue, acme, served.document_id) is DocumentStatus.READY
        assert await blue.found(acme, "common") == [served.document_id]
        monkeypatch.undo()
        await green.parts.maintenance.reconcile()
        await green.work()
        await green.core.generations.fill()
        assert (await coverage(green)).complete


async def test_what_fails_of_a_former_text_says_nothing_of_the_new_one(
    blue: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    acme = await blue.tenant()
    async with green_beside(blue) as green:
        await fill(green)
        stored = await blue.put(acme, "report", "the ancient wording")
        await blue.work()

        async def refuse_the_former(_: object) -> None:
            monkeypatch.undo()
            await blue.put(acme, "report", "the modern wording")
            raise DocumentRejected("Too many passages.", code="too_long")

        monkeypatch.setattr(green.parts.indexing, "_chunks", refuse_the_former)
        del green.parts.worker._handlers[document_jobs.INDEX]  # that is left to blue
        await green.work()
        assert await status(blue, acme, stored.document_id) is DocumentStatus.PROCESSING
        await blue.work()
        await green.work()
        assert await status(blue, acme, stored.document_id) is DocumentStatus.READY
        assert await green.found(acme, "modern") == [stored.document_id]


@pytest.mark.parametrize("is_silent", [False, True])
async def test_what_only_one_generation_lost_for_good_holds_up_no_searches(blue: House, is_silent: bool) -> None:
    """Nor is it lost when the other has said nothing for a while: the catalog may have been away."""
    acme = await blue.tenant()
    async with green_beside(blue) as green:
        await fill(green)
        documents = [await blue.put(acme, f"report{n}", "common") for n in range(2)]
        await blue.work()
        await green.work()
        lost = documents[0].document_id
        held = [info.key async for info in blue.core.store.list(keys.document(acme.context.tenant_id, lost))]
        await blue.core.store.delete([key for key in held if "/head/" not in key])
        await blue.core.store.delete(await files_of(green, acme))
        await check(green, acme)
        if is_silent:
            await fall_silent(blue)
            await green.core.generations.fill()
        await green.work()
        assert await green.found(acme, "common") == [documents[1].document_id]
        assert len(await blue.found(acme, "common")) == 2
        assert await status(blue, acme, lost) is DocumentStatus.READY


async def test_publications_do_not_wait_while_a_generation_lacks_something(tmp_path: Path, postgres_url: str) -> None:
    async with open_house(tmp_path, database_url=postgres_url) as house:
        database, new = house.core.database, GenerationId("gen_new")
        await house.put(await house.tenant(), "report", "common")
        await house.work()

        async def look_while_it_publishes(connection: Connection) -> bool:
            assert new in await uses.at_work(connection, await database.now(connection))
            return await database.transact(lambda c: queries.completed(c, new))

        async def begin(connection: Connection) -> None:
            await uses.use(connection, "new", new, await database.now(connection), works=True)

        await database.transact(begin)
        assert not await database.transact(look_while_it_publishes)


async def waiting(house: House) -> list[str]:
    async with house.core.database.read() as connection:
        return list((await connection.execute(sa.select(jobs.c.kind))).scalars())
