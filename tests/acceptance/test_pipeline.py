"""The way of documents into the index and out of it: what it costs, what fails, what stays while work goes on."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from s4.domains.documents import DocumentStatus
from s4.domains.documents import jobs as document_jobs
from s4.domains.documents.models import document_fields, documents
from s4.domains.indexing import jobs as index_jobs
from s4.domains.indexing.models import document_index
from s4.domains.indexing.queries.tables import table_state
from s4.domains.plans.model import Plan
from s4.domains.tenants import PlanChange
from s4.engine.ranking import Mode
from s4.engine.vectors import TableWriter
from s4.kernel import keys
from s4.kernel.errors import DocumentRejected, Unauthenticated
from s4.kernel.keys import Collection, KeyKind
from s4.platform import faults
from s4.platform.database import Connection
from s4.platform.jobs import JobHandler, JobRun, Worker, WorkerLimits
from s4.platform.jobs.models import jobs, leases
from s4.platform.telemetry import metrics
from tests.acceptance.conftest import Command
from tests.factories import files
from tests.factories.house import House, Tenant, open_house
from tests.factories.process import OWNER
from tests.factories.provider import CountingProvider, counting_provider

MINUTE = timedelta(minutes=1)
SCRAP = b"%PDF-1.7\nnothing that a reader could use"


@pytest.fixture
def provider() -> Iterator[CountingProvider]:
    with counting_provider() as started:
        yield started


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with open_house(tmp_path) as opened:
        yield opened


# -- what costs nothing


@pytest.mark.processes
async def test_deleting_one_of_a_hundred_and_patching_embed_nothing(tmp_path: Path, provider: CountingProvider) -> None:
    async with open_house(tmp_path, **provider.flags) as house:
        acme = await house.tenant()
        stored = [await house.put(acme, f"{n}", f"number{n} of a hundred") for n in range(100)]
        await house.work()
        assert len(provider.texts) == 100
        await house.core.documents.delete(acme.context, stored[7].document_id)
        await house.core.documents.patch_metadata(acme.context, stored[8].document_id, {"category": "patched"})
        assert await house.found(acme, "number7") == [], "before any job has run"
        await house.work()
        assert len(provider.texts) == 100
        assert await house.found(acme, "number7") == []
        assert await house.found(acme, "number8") == [stored[8].document_id]
        assert {document.status for document in await house.all(acme)} == {DocumentStatus.READY}
        assert len(await house.found(acme, "hundred")) == 99


async def test_the_same_text_again_and_a_reprocess_embed_nothing(tmp_path: Path, provider: CountingProvider) -> None:
    async with open_house(tmp_path, **provider.flags) as house:
        acme = await house.tenant()
        first = await house.put(acme, "first", "a text that is paid for once")
        await house.work()
        paid = len(provider.texts)
        again = await house.put(acme, "again", "a text that is paid for once")
        await house.core.documents.reprocess(acme.context, first.document_id)
        await house.work()
        assert len(provider.texts) == paid == 1
        assert set(await house.found(acme, "paid")) == {first.document_id, again.document_id}
        stranger = await house.tenant("Stranger")
        await house.put(stranger, "theirs", "a text that is paid for once")
        await house.work()
        assert len(provider.texts) == 2, "tenants share nothing, not even vectors"


async def test_a_lost_catalog_comes_back_from_the_bucket_and_embeds_nothing(
    tmp_path: Path, provider: CountingProvider
) -> None:
    async with open_house(tmp_path, **provider.flags) as house:
        acme, other = await house.tenant(), await house.tenant("Other")
        for n in range(12):
            await house.put(acme, f"{n}", f"number{n} of a dozen", {"n": n})
        theirs = await house.put(other, "theirs", "number3 of another")
        gone = await house.put(acme, "gone", "a deleted one")
        await house.work()
        await house.core.documents.delete(acme.context, gone.document_id)
        await house.put(acme, "3", "a replaced number3")
        await house.work()
        before = {document.document_id: document for document in await house.all(acme)}
        paid = len(provider.texts)
    for leftover in tmp_path.glob("catalog.sqlite*"):
        leftover.unlink()
    async with open_house(tmp_path, **provider.flags) as house:
        await house.work()
        acme = await house.known(acme.key)
        after = {document.document_id: document for document in await house.all(acme)}
        assert after.keys() == before.keys()
        for document_id, document in after.items():
            old = before[document_id]
            assert (document.status, document.key, document.metadata) == (DocumentStatus.READY, old.key, old.metadata)
            assert (document.revision, document.sha256) == (old.revision, old.sha256)
            assert (document.uploaded_at, document.updated_at) == (old.uploaded_at, old.updated_at)
            assert document.detected_type == old.detected_type == "text/plain"
            assert document_id in await house.found(acme, f"number{old.key}")
        assert await house.found(acme, "deleted") == []
        assert await house.found(acme, "number3") == [house.core.documents.id_for_key(acme.context, "3")]
        assert await house.found(await house.known(other.key), "number3") == [theirs.document_id]
        assert len(provider.texts) == paid


# -- what fails


async def test_a_file_that_fails_says_why_and_its_neighbours_become_ready(house: House) -> None:
    acme = await house.tenant()
    good = [await house.put(acme, f"good{n}", f"readable{n}") for n in range(3)]
    bad = await house.put(acme, "bad.pdf", SCRAP, content_type="application/pdf")
    locked = await house.put(
        acme, "locked.pdf", files.pdf([["secret"]], encrypted=True), content_type="application/pdf"
    )
    await house.work()
    for n, document in enumerate(good):
        assert (await house.get(acme, document.document_id)).status is DocumentStatus.READY
        assert await house.found(acme, f"readable{n}") == [document.document_id]
    for document, code in ((bad, "corrupt"), (locked, "encrypted")):
        ended = await house.get(acme, document.document_id)
        assert (ended.status, ended.error_code) == (DocumentStatus.FAILED, code)
        assert ended.error_message is not None
        assert ended.error_message.endswith("."), "a sentence"


async def test_a_failed_file_can_be_replaced_and_then_has_no_error(house: House) -> None:
    acme = await house.tenant()
    bad = await house.put(acme, "report", SCRAP, content_type="application/pdf")
    await house.work()
    await house.put(acme, "report", "now it reads well")
    await house.work()
    mended = await house.get(acme, bad.document_id)
    assert (mended.status, mended.error_code, mended.error_message) == (DocumentStatus.READY, None, None)


async def test_a_failed_file_that_is_deleted_leaves_no_job_behind(house: House) -> None:
    """Nobody could retry it, and a queue that only grows is a leak."""
    acme = await house.tenant()
    broken = await house.put(acme, "broken.pdf", SCRAP)
    await house.work()
    async with house.core.database.read() as connection:
        assert [row[1] for row in await house.core.queue.depth(connection)] == ["failed"]

    await house.core.documents.delete(acme.context, broken.document_id)
    await house.work()

    async with house.core.database.read() as connection:
        assert await house.core.queue.depth(connection) == []


async def test_a_replaced_document_is_found_by_its_old_text_until_the_new_is_ready(house: House) -> None:
    acme = await house.tenant()
    document = await house.put(acme, "report", "the ancient wording")
    await house.work()
    await house.put(acme, "report", "the modern wording")
    assert await house.found(acme, "ancient") == [document.document_id]
    assert await house.found(acme, "modern") == []
    await house.work()
    assert await house.found(acme, "ancient") == []
    assert await house.found(acme, "modern") == [document.document_id]


async def test_a_replacement_that_fails_leaves_the_old_text_searchable(house: House) -> None:
    acme = await house.tenant()
    document = await house.put(acme, "report", "the ancient wording")
    await house.work()
    await house.put(acme, "report", SCRAP, content_type="application/pdf")
    await house.put(acme, "neighbour", "another text")
    await house.work()
    assert (await house.get(acme, document.document_id)).status is DocumentStatus.FAILED
    assert await house.found(acme, "ancient") == [document.document_id]


async def test_a_replacement_cut_off_between_index_and_catalog_leaves_the_old_text_searchable(tmp_path: Path) -> None:
    """The new rows are in the table and the catalog does not know; a neighbour's commit then moves the table on."""
    async with open_house(tmp_path, job_backoff_seconds=3600) as house:
        acme = await house.tenant()
        document = await house.put(acme, "report", "the ancient wording")
        await house.work()
        await house.put(acme, "report", "the modern wording")
        faults.arm(faults.parse("index.written=raise"))
        await house.work()
        faults.arm({})
        await house.put(acme, "neighbour", "another text")
        await house.work()
        assert await house.found(acme, "another") != []
        assert await house.found(acme, "ancient") == [document.document_id]
        assert await house.found(acme, "modern") == []


async def test_a_writer_that_lost_its_table_is_counted_so_whatever_it_stumbled_over(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def stumble(*_args: Any, **_options: Any) -> int:
        """While it slept the table passed on, and its files went."""
        passed_on = sa.update(leases).values(until=datetime(2000, 1, 1, tzinfo=UTC))
        await house.core.database.transact(lambda c: c.execute(passed_on.where(leases.c.name.startswith("table/"))))
        raise OSError("a file is gone")

    monkeypatch.setattr(TableWriter, "apply", stumble)
    acme = await house.tenant()
    document = await house.put(acme, "report", "a text")
    lost = metrics.INDEX_COMMITS.labels("lost_lease")._value.get()
    await house.work()
    assert metrics.INDEX_COMMITS.labels("lost_lease")._value.get() == lost + 1
    assert (await house.get(acme, document.document_id)).status is DocumentStatus.PROCESSING, "it is tried again"


async def test_what_fails_does_not_mark_content_that_came_meanwhile(house: House) -> None:
    acme = await house.tenant()
    document = await house.put(acme, "report", "the first wording")

    replaced = asyncio.Event()

    async def fail_late(run: JobRun) -> bool:
        await house.put(acme, "report", "the second wording")
        replaced.set()
        raise DocumentRejected("The first wording is no good.", code="corrupt")

    handler = JobHandler(fail_late, house.parts.indexing.on_failed)
    limits = WorkerLimits(1, MINUTE, MINUTE, 5, MINUTE, MINUTE, MINUTE)
    worker = Worker(house.core.database, house.core.queue, {document_jobs.INDEX: handler}, owner="w", limits=limits)
    running = asyncio.create_task(worker.run())
    await replaced.wait()
    await worker.stop(within=MINUTE)
    await running
    assert (await house.get(acme, document.document_id)).status is DocumentStatus.PROCESSING
    await house.work()
    assert (await house.get(acme, document.document_id)).status is DocumentStatus.READY
    assert await house.found(acme, "second") == [document.document_id]


async def test_freshness_is_counted_once_a_version_from_its_acknowledgement(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    def counted() -> tuple[float, float, float]:
        told = {sample.name: sample.value for sample in metrics.FRESHNESS_SECONDS.collect()[0].samples}
        ready = metrics.DOCUMENTS_INDEXED.labels("ready", "")._value.get()
        return told["s4_freshness_seconds_count"], told["s4_freshness_seconds_sum"], ready

    transact = house.core.database.transact

    async def with_a_conflict(work: Callable[[Connection], Awaitable[Any]]) -> Any:
        async def conflicts(connection: Connection) -> None:
            await work(connection)
            raise EOFError

        with contextlib.suppress(EOFError):
            await transact(conflicts)
        return await transact(work)

    acme = await house.tenant()
    document = await house.put(acme, "note", "acknowledged a hundred seconds ago")
    await house.core.documents.patch_metadata(acme.context, document.document_id, {"year": 2026})
    ago = (await house.get(acme, document.document_id)).uploaded_at - timedelta(seconds=100)
    await transact(lambda connection: connection.execute(sa.update(jobs).values(created_at=ago)))
    count, seconds, ready = counted()
    with monkeypatch.context() as patched:
        patched.setattr(house.core.database, "transact", with_a_conflict)
        await house.work()
    assert (await house.get(acme, document.document_id)).status is DocumentStatus.READY
    assert (counted()[0], counted()[2]) == (count + 1, ready + 1)
    assert counted()[1] - seconds == pytest.approx(100, abs=60)


# -- what maintenance removes, adopts and tidies


async def names_in_bucket(house: House, tenant: Tenant) -> set[str]:
    """Versions whose content is in the bucket."""
    found = set()
    async for info in house.core.store.list(keys.documents(tenant.context.tenant_id)):
        parsed = keys.parse(info.key)
        if parsed is not None and parsed.kind is KeyKind.CONTENT:
            found.add(str(parsed.version_id))
    return found


async def test_what_is_replaced_or_deleted_is_removed_from_the_bucket_and_nothing_else(tmp_path: Path) -> None:
    async with open_house(tmp_path, garbage_grace_seconds=0, upload_seconds_max=0.001) as house:
        acme = await house.tenant()
        kept = await house.put(acme, "kept", "never touched")
        await house.put(acme, "replaced", "the ancient wording")
        current = await house.put(acme, "replaced", "the modern wording")
        deleted = await house.put(acme, "deleted", "a deleted one")
        await house.core.documents.delete(acme.context, deleted.document_id)
        patched = await house.put(acme, "patched", "patched later")
        await house.core.documents.patch_metadata(acme.context, patched.document_id, {"year": 2026})
        await house.core.documents.reprocess(acme.context, kept.document_id)
        await house.work()
        assert len(await names_in_bucket(house, acme)) == 5
        await asyncio.sleep(0.01)  # older than any upload may last here
        await house.parts.maintenance.collect()
        live = {str(kept.version_id), str(current.version_id), str(patched.version_id)}
        assert await names_in_bucket(house, acme) == live
        for document in await house.all(acme):
            assert b"".join([part async for part in house.core.documents.content(document)])
        again = await house.put(acme, "deleted", "back again")
        await house.work()
        assert (await house.get(acme, again.document_id)).status is DocumentStatus.READY


async def test_nothing_is_removed_within_the_grace_period(tmp_path: Path) -> None:
    async with open_house(tmp_path, garbage_grace_seconds=3600, upload_seconds_max=0.001) as house:
        acme = await house.tenant()
        await house.put(acme, "replaced", "the ancient wording")
        await house.put(acme, "replaced", "the modern wording")
        await asyncio.sleep(0.01)
        await house.parts.maintenance.collect()
        assert len(await names_in_bucket(house, acme)) == 2


async def test_a_document_that_the_catalog_does_not_know_is_adopted(tmp_path: Path) -> None:
    async with open_house(tmp_path, garbage_grace_seconds=0, upload_seconds_max=0.001) as house:
        acme = await house.tenant()
        document = await house.put(acme, "forgotten", "remembered by the bucket", {"year": 2026})
        await house.work()

        async def forget(connection: Connection) -> None:
            for table in (documents, document_fields, document_index):
                await connection.execute(sa.delete(table))

        await house.core.database.transact(forget)
        assert await house.found(acme, "remembered") == []
        await asyncio.sleep(0.01)
        await house.parts.maintenance.collect()
        await house.work()
        adopted = await house.get(acme, document.document_id)
        assert (adopted.status, adopted.metadata) == (DocumentStatus.READY, {"year": 2026})
        assert await house.found(acme, "remembered") == [document.document_id]


async def test_a_damaged_head_keeps_no_other_document_from_coming_back(tmp_path: Path) -> None:
    async with open_house(tmp_path) as house:
        acme, other = await house.tenant(), await house.tenant("Other")
        stored = [await house.put(tenant, f"{n}", f"number{n}") for tenant in (acme, other) for n in range(4)]
        await house.work()
        victim = stored[1]
        path = keys.document_head(acme.context.tenant_id, victim.document_id, victim.revision)
        (tmp_path / "objects" / path).write_bytes(b"damaged")
    for leftover in tmp_path.glob("catalog.sqlite*"):
        leftover.unlink()
    async with open_house(tmp_path) as house:
        await house.work()
        back = [*await house.all(acme), *await house.all(other)]
        assert {document.document_id for document in back} == {d.document_id for d in stored if d != victim}
        assert {document.status for document in back} == {DocumentStatus.READY}


def test_what_cannot_be_read_is_named_and_everybody_else_comes_back(tmp_path: Path, here: Command) -> None:
    """A plan and a document, of which the newest heads are damaged."""
    acme_key, other_key, lost_id, acme_id, heads = asyncio.run(damaged_in_two_places(tmp_path))
    sound = {path: path.read_bytes() for path in heads}
    for path in heads:
        path.write_bytes(b"{")

    first = rebuilt(tmp_path, here)

    assert (first["code"], first["ok"], first["unreadable"], first["adopted"]) == (1, False, 2, 1)
    (plan, document, locked_out) = first["problems"]
    assert "plans/gold" in plan
    assert lost_id in document
    assert "plan gold" in locked_out
    assert acme_id in locked_out
    asyncio.run(the_plan_is_made_anew(tmp_path, acme_key, other_key))
    assert [lost_id in problem for problem in rebuilt(tmp_path, here)["problems"]] == [True]
    for path, data in sound.items():
        path.write_bytes(data)
    assert rebuilt(tmp_path, here, anew=False)["code"] == 0
    assert rebuilt(tmp_path, here)["problems"] == []


async def damaged_in_two_places(folder: Path) -> tuple[str, str, str, str, list[Path]]:
    async with open_house(folder) as house:
        await house.core.plans.create(OWNER, Plan("gold", "Gold"))
        acme, other = await house.tenant(), await house.tenant("Other")
        acme_id, other_id = acme.context.tenant_id, other.context.tenant_id
        await house.core.lifecycle.change_plan(OWNER, acme_id, PlanChange("gold"))
        await house.put(other, "kept", "this stays")
        lost = await house.put(other, "lost", "and this is lost")
        await house.work()
    heads = [keys.system_head(Collection.PLANS, "gold", 1), keys.document_head(other_id, lost.document_id, 1)]
    return acme.key, other.key, lost.document_id, acme_id, [folder / "objects" / head for head in heads]


async def the_plan_is_made_anew(folder: Path, acme_key: str, other_key: str) -> None:
    async with open_house(folder) as house:
        await house.parts.maintenance.collect()  # goes on, too
        assert [document.key for document in await house.all(await house.known(other_key))] == ["kept"]
        with pytest.raises(Unauthenticated):
            await house.known(acme_key)
        await house.core.plans.create(OWNER, Plan("gold", "Gold"))
        await house.known(acme_key)


def rebuilt(folder: Path, here: Command, *, anew: bool = True) -> dict[str, Any]:
    for leftover in folder.glob("catalog.sqlite*") if anew else []:
        leftover.unlink()
    done = here("rebuild", "--json", "--data-dir", folder, S4_EMBEDDING_PROVIDER="deterministic")
    assert done.out, done.err
    return {"code": done.code, **json.loads(done.out[done.out.index("{\n") :])}


async def test_compaction_changes_no_answer_and_disturbs_no_search(tmp_path: Path) -> None:
    async with open_house(tmp_path) as house:
        acme = await house.tenant()
        for n in range(12):  # a commit each, some of them replacements
            await house.put(acme, f"{n % 10}", f"common word{n}")
            await house.work()
        tenant_id, generation = acme.context.tenant_id, house.core.generation
        before = {mode: await house.found(acme, "common", mode) for mode in Mode}
        assert {len(found) for found in before.values()} == {10}
        async with house.core.database.read() as connection:
            before_it = await table_state(connection, tenant_id, generation.id)
        assert before_it is not None
        prefix = generation.prefix(tenant_id, before_it.incarnation)
        begun = await house.core.vectors.reader(prefix, before_it.version)
        assert begun is not None
        request = index_jobs.optimize(tenant_id, generation.id)
        await house.core.database.transact(lambda c: house.core.queue.enqueue(c, request))
        compaction = asyncio.create_task(house.work())
        while not compaction.done():
            assert {mode: await house.found(acme, "common", mode) for mode in Mode} == before
        await compaction
        assert {mode: await house.found(acme, "common", mode) for mode in Mode} == before
        assert len(await begun.search(query_text="common", vector=None, limit=100)) >= 10, "a search that had begun"
        async with house.core.database.read() as connection:
            after_it = await table_state(connection, tenant_id, generation.id)
        assert after_it is not None
        assert after_it.version > before_it.version


async def test_compaction_and_writes_of_one_worker_take_turns_in_the_order_in_which_they_came(house: House) -> None:
    """A writer that let go and took again at once would keep compaction out of a busy table for ever; two that held the
    table together would each end the other's lease."""
    acme = await house.tenant()
    await house.put(acme, "first", "a text")
    await house.work()
    publisher, tenant_id = house.parts.maintenance._tidying._publisher, acme.context.tenant_id
    turns: list[str] = []

    async def compact() -> None:
        async with publisher.exclusive(tenant_id) as lease:
            turns.append("compaction")
            await house.core.database.transact(lambda connection: publisher.verify(connection, lease))

    async with publisher.exclusive(tenant_id):
        compaction = asyncio.create_task(compact())
        await asyncio.sleep(0)  # it runs until it must wait
        assert turns == []
    async with publisher.exclusive(tenant_id) as lease:
        turns.append("write")
        await house.core.database.transact(lambda connection: publisher.verify(connection, lease))
    await compaction

    assert turns == ["compaction", "write"]
