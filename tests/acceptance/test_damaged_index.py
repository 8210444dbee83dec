"""Files of an index that vanish from the bucket or change in it: the table is made anew, and nothing is lost."""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
from obstore.store import S3Store

from s4.domains.documents import DocumentStatus
from s4.domains.indexing import jobs as index_jobs
from s4.domains.indexing.models import index_tables
from s4.domains.indexing.queries.tables import TableRecord, move_table, table_record
from s4.domains.maintenance import service as maintenance
from s4.engine.ranking import Mode as SearchMode
from s4.engine.vectors import inspect, manifest_name, newest_version
from s4.kernel import keys
from s4.kernel.errors import Unavailable
from s4.kernel.keys import ObjectPrefix
from s4.platform import faults
from s4.platform.database import Connection
from s4.platform.jobs import SYSTEM, JobRequest, broad
from s4.platform.jobs.models import jobs
from s4.platform.jobs.queue import of_kind
from s4.platform.objects import ObjectMissing
from s4.platform.telemetry import metrics
from tests.factories import calls
from tests.factories.deployment import FAST, Deployment, running
from tests.factories.house import House, Tenant, open_house
from tests.factories.index_damage import DAMAGES, INDEX_FOLDERS, flip, halve, index_objects, vanish
from tests.factories.provider import CountingProvider, counting_provider
from tests.fault_proxy import Fault, Mode, fault_proxy
from tests.servers import S3Server

pytestmark = pytest.mark.processes

WORDS = ("walrus", "falcon", "lighthouse")
RUNS_MAX = 10
REPAIR_SECONDS_MAX = 120


class Bucket:
    """Where the house's objects lie, reached behind its back."""

    def __init__(self, server: S3Server, name: str) -> None:
        self.store: S3Store = server.client(name)
        self.prefix = secrets.token_hex(8)
        self.settings: dict[str, Any] = {
            "store_url": f"s3://{name}/{self.prefix}",
            "store_endpoint": server.endpoint,
            "store_access_key_id": server.access_key,
            "store_secret_access_key": server.secret_key,
        }

    async def damage(self, house: House, tenant: Tenant, folder: str, how: Callable[[S3Store, str], None]) -> None:
        """A file of the version that searches open."""
        prefix, table = await state(house, tenant)
        name = next(name for name in sorted(table.sums) if name.startswith(f"{folder}/"))
        await asyncio.to_thread(how, self.store, f"{self.prefix}/{keys.index_file(ObjectPrefix(prefix), name)}")


@pytest.fixture
def bucket(s3_server: S3Server, s3_shared_bucket: str) -> Bucket:
    return Bucket(s3_server, s3_shared_bucket)


@pytest.fixture
async def house(tmp_path: Path, bucket: Bucket) -> AsyncIterator[House]:
    async with open_house(tmp_path, **bucket.settings) as opened:
        yield opened


async def furnished(house: House) -> Tenant:
    """A tenant whose table has data, deletions and filled indices, and was not searched yet."""
    acme = await house.tenant()
    for word in (*WORDS, "gone"):
        await house.put(acme, word, f"a text about one {word}")
    await house.work()
    await enqueue(house, index_jobs.optimize(acme.context.tenant_id, house.core.generation.id))
    await house.work()
    gone = next(document for document in await house.all(acme) if document.key == "gone")
    await house.core.documents.delete(acme.context, gone.document_id)
    await house.work()
    return acme


async def state(house: House, tenant: Tenant) -> tuple[str, TableRecord]:
    """Where the tenant's table lies, and what the catalog knows of it."""
    generation, tenant_id = house.core.generation, tenant.context.tenant_id
    async with house.core.database.read() as connection:
        table = await table_record(connection, tenant_id, generation.id)
    assert table is not None
    return generation.prefix(tenant_id, table.state.incarnation), table


async def enqueue(house: House, request: JobRequest) -> None:
    await house.core.database.transact(lambda c: house.core.queue.enqueue(c, request))


async def waiting(house: House) -> list[str]:
    """Kinds of jobs that have not ended, but for clean-ups, which wait for the end of a grace."""
    unended = sa.select(jobs.c.kind).where(jobs.c.state != "failed", sa.not_(of_kind(index_jobs.CLEAN)))
    async with house.core.database.read() as connection:
        return list((await connection.execute(unended)).scalars())


async def settled(house: House) -> None:
    """All jobs have ended; nothing waits for its time."""

    async def hurry(connection: Connection) -> None:
        await connection.execute(sa.update(jobs).values(run_at=await house.core.database.now(connection)))

    for _ in range(RUNS_MAX):
        await house.work()
        if not await waiting(house):
            return
        await house.core.database.transact(hurry)
    raise AssertionError(f"never done: {await waiting(house)}")


async def let_time_pass(house: House) -> None:
    """Since the last repair."""

    async def back_date(connection: Connection) -> None:
        past = await house.core.database.now(connection) - timedelta(minutes=1)
        await connection.execute(sa.update(index_tables).values(repaired_at=past))

    await house.core.database.transact(back_date)


async def search(house: House, tenant: Tenant) -> set[str | None] | None:
    """Keys of what a search finds that all documents answer; None when it is told to come again."""
    keys_of = {document.document_id: document.key for document in await house.all(tenant)}
    try:
        found = await house.found(tenant, "text about one", SearchMode.HYBRID)
    except Unavailable:
        return None
    assert len(found) == len(set(found)), "no document twice"
    return {keys_of[document_id] for document_id in found}


def paid() -> float:
    """Texts that the embedder was asked for."""
    return metrics.EMBEDDING_CACHE.labels("miss")._value.get()


def looks(outcome: str) -> float:
    return metrics.INDEX_CHECKS.labels(outcome)._value.get()


@pytest.mark.parametrize("how", DAMAGES)
@pytest.mark.parametrize("folder", INDEX_FOLDERS)
async def test_a_damaged_index_is_made_anew_and_nothing_is_paid_again(
    house: House, bucket: Bucket, folder: str, how: str
) -> None:
    acme = await furnished(house)
    before = paid()
    await bucket.damage(house, acme, folder, DAMAGES[how])
    assert await search(house, acme) is None
    await house.work()
    assert await search(house, acme) == set(WORDS)
    assert paid() == before
    assert {document.status for document in await house.all(acme)} == {DocumentStatus.READY}


async def test_a_copy_that_is_sound_serves_on_until_the_catalog_moves(house: House, bucket: Bucket) -> None:
    acme = await furnished(house)
    assert await search(house, acme) == set(WORDS)
    await bucket.damage(house, acme, "data", vanish)
    assert await search(house, acme) == set(WORDS)
    await house.put(acme, "new", "a text about one heron")
    await settled(house)
    assert await search(house, acme) == {*WORDS, "new"}


@pytest.mark.parametrize(
    ("folder", "how"), [("data", "is flipped"), ("_indices", "vanishes"), ("_deletions", "is flipped"),
                        ("_versions", "vanishes"), ("_versions", "is flipped")]
)  # fmt: skip
async def test_whoever_writes_to_a_damaged_index_ends_well(house: House, bucket: Bucket, folder: str, how: str) -> None:
    """Without its newest manifest, LanceDB would go on from the version before, and lose what that lacks."""
    acme = await furnished(house)
    where, _ = await state(house, acme)
    await bucket.damage(house, acme, folder, DAMAGES[how])
    walrus = next(document for document in await house.all(acme) if document.key == "walrus")
    await house.core.documents.reprocess(acme.context, walrus.document_id)
    await house.put(acme, "new", "a text about one heron")
    await settled(house)
    assert (await state(house, acme))[0] != where
    assert await search(house, acme) == {*WORDS, "new"}
    assert {document.status for document in await house.all(acme)} == {DocumentStatus.READY}


async def test_what_a_dead_writer_left_may_be_damaged_as_well(house: House, bucket: Bucket, tmp_path: Path) -> None:
    """Nobody searches it, and the next writer cannot go on from it."""
    acme = await furnished(house)
    where, table = await state(house, acme)
    writer = await house.core.vectors.writer(where, house.core.generation.dimension)
    left = await writer.prune([(document.document_id, 1) for document in await house.all(acme)])
    await writer.close()
    assert left > table.state.version
    halve(bucket.store, f"{bucket.prefix}/{keys.index_file(ObjectPrefix(where), manifest_name(left))}")
    await house.put(acme, "new", "a text about one heron")
    async with open_house(tmp_path, **bucket.settings) as another:  # which has not seen the file before
        await settled(another)
        assert (await state(another, acme))[0] != where
        assert await search(another, acme) == {*WORDS, "new"}


async def test_compaction_writes_no_turned_bytes_again(house: House, bucket: Bucket) -> None:
    acme = await furnished(house)
    where, _ = await state(house, acme)
    await bucket.damage(house, acme, "data", flip)
    await enqueue(house, index_jobs.optimize(acme.context.tenant_id, house.core.generation.id))
    await settled(house)
    assert (await state(house, acme))[0] != where
    assert await search(house, acme) == set(WORDS)


async def test_the_regular_check_finds_what_nobody_has_met(house: House, bucket: Bucket) -> None:
    acme = await furnished(house)
    where, _ = await state(house, acme)
    await bucket.damage(house, acme, "data", flip)
    await enqueue(house, JobRequest(maintenance.CHECK, SYSTEM, maintenance.CHECK, {}))
    await house.work()
    assert (await state(house, acme))[0] != where
    assert await search(house, acme) == set(WORDS)


async def test_a_store_that_fails_starts_no_repair(tmp_path: Path, bucket: Bucket, s3_server: S3Server) -> None:
    async with fault_proxy(s3_server.endpoint) as network:
        settings = bucket.settings | {"store_endpoint": network.endpoint, "store_retries_max": 0}
        async with open_house(tmp_path, **settings) as house:
            acme = await furnished(house)
            before = await state(house, acme)
            network.add(Fault(Mode.UNAVAILABLE, path="/indices/"))
            assert await search(house, acme) is None
            await house.work()
            assert [broad(kind) for kind in await waiting(house)] == [index_jobs.CHECK], (
                "it cannot be told, and is asked again"
            )
            network.heal()
            await settled(house)
            after = await state(house, acme)
            assert (after[0], after[1].repairs) == (before[0], 0)
            assert await search(house, acme) == set(WORDS)


async def test_a_version_that_was_cleaned_up_is_no_damage(house: House) -> None:
    acme = await furnished(house)
    where, table = await state(house, acme)
    with pytest.raises(ObjectMissing):
        await inspect(house.core.store, where, table.state.version + 1, table.sums)
    newest = keys.index_file(ObjectPrefix(where), manifest_name(table.state.version))
    assert (await inspect(house.core.store, where, table.state.version, table.sums)).damaged == []
    await house.core.store.delete([newest])
    assert (await inspect(house.core.store, where, table.state.version, table.sums)).damaged
    with pytest.raises(ObjectMissing):
        await inspect(house.core.store, where, table.state.version, {})


async def test_a_table_that_is_damaged_again_and_again_waits_longer_and_longer(house: House, bucket: Bucket) -> None:
    acme = await furnished(house)
    for round_number in range(2):
        await bucket.damage(house, acme, "data", vanish)
        assert await search(house, acme) is None
        deferred = looks("deferred")
        await enqueue(house, index_jobs.check(acme.context.tenant_id, house.core.generation.id, is_suspected=True))
        await house.work()
        assert looks("deferred") - deferred == round_number
    assert await search(house, acme) is None
    async with house.core.database.read() as connection:
        due_at = (await connection.execute(sa.select(jobs.c.run_at).where(of_kind(index_jobs.CHECK)))).scalar_one()
        assert due_at - await house.core.database.now(connection) > timedelta(seconds=2)
    await let_time_pass(house)
    await settled(house)
    assert await search(house, acme) == set(WORDS)
    assert (await state(house, acme))[1].repairs == 2


async def test_a_store_that_lost_every_index_and_vector_costs_the_provider_and_nothing_else(
    house: House, bucket: Bucket
) -> None:
    acme = await furnished(house)
    before = paid()
    await house.core.store.delete([info.key async for info in house.core.store.list(keys.INDICES)])
    assert await search(house, acme) is None
    await settled(house)
    assert await search(house, acme) == set(WORDS)
    assert paid() == before + len(WORDS)


async def test_a_document_that_cannot_be_indexed_again_says_so_and_holds_up_nobody(
    house: House, bucket: Bucket
) -> None:
    acme = await furnished(house)
    walrus = next(document for document in await house.all(acme) if document.key == "walrus")
    lost = [info.key async for info in house.core.store.list(keys.document(walrus.tenant_id, walrus.document_id))]
    await house.core.store.delete([key for key in lost if "/head/" not in key])
    await bucket.damage(house, acme, "data", vanish)
    assert await search(house, acme) is None
    await settled(house)
    ended = await house.get(acme, walrus.document_id)
    assert (ended.status, ended.error_code) == (DocumentStatus.FAILED, "data_corrupt")
    await enqueue(house, JobRequest(maintenance.RECONCILE, SYSTEM, maintenance.RECONCILE, {}))
    await house.work()
    assert await search(house, acme) == {"falcon", "lighthouse"}


async def test_searches_of_a_table_that_lacks_documents_are_told_to_come_again(house: House, bucket: Bucket) -> None:
    acme = await furnished(house)
    await bucket.damage(house, acme, "data", vanish)
    assert await search(house, acme) is None
    faults.arm(faults.parse("index.embedded=raise"))
    try:
        await house.work()
    finally:
        faults.arm({})
    with pytest.raises(Unavailable, match="made anew") as told:
        await house.found(acme, "text")
    assert told.value.retry_after == timedelta(seconds=5)
    await settled(house)
    assert await search(house, acme) == set(WORDS)


async def test_nor_does_the_table_pass_for_whole_without_what_was_being_replaced(house: House, bucket: Bucket) -> None:
    acme = await house.tenant()
    await house.put(acme, "report", "an ancient text")
    await house.work()
    await bucket.damage(house, acme, "data", vanish)
    await house.put(acme, "report", "a modern text")
    await enqueue(house, index_jobs.check(acme.context.tenant_id, house.core.generation.id, is_suspected=True))
    faults.arm(faults.parse("index.embedded=raise"))
    try:
        await house.work()
    finally:
        faults.arm({})
    with pytest.raises(Unavailable, match="made anew"):
        await house.found(acme, "ancient")
    await settled(house)
    assert len(await house.found(acme, "modern")) == 1


@pytest.mark.parametrize("looks_at_it", ["check", "optimize", "optimize of an older release"])
async def test_what_the_table_does_not_hold_though_the_catalog_says_so_is_indexed_again(
    house: House, looks_at_it: str
) -> None:
    """An older release does not know that the table was made anew, and writes to where it was."""
    acme = await furnished(house)
    tenant_id, generation = acme.context.tenant_id, house.core.generation
    where, table = await state(house, acme)
    writer = await house.core.vectors.writer(where, generation.dimension)
    version = await writer.prune([(next(iter(await house.all(acme))).document_id, 1)])
    await writer.close()
    sums = (await inspect(house.core.store, where, version, table.sums)).sums

    async def move(connection: Connection) -> None:
        now = await house.core.database.now(connection)
        incarnation = table.state.incarnation
        await move_table(connection, tenant_id, generation.id, incarnation, version=version, sums=sums, now=now)

    await house.core.database.transact(move)
    await enqueue(
        house,
        {
            "check": index_jobs.check(tenant_id, generation.id, is_suspected=True),
            "optimize": index_jobs.optimize(tenant_id, generation.id),
            "optimize of an older release": JobRequest(index_jobs.OPTIMIZE, tenant_id, "table", {}),
        }[looks_at_it],
    )
    await house.work()
    assert await search(house, acme) == set(WORDS)
    assert (await state(house, acme))[0] == where, "it is not made anew for that"


async def test_a_first_commit_that_is_damaged_before_it_counts_stops_nobody(house: House, bucket: Bucket) -> None:
    acme = await furnished(house)
    await bucket.damage(house, acme, "data", vanish)
    assert await search(house, acme) is None
    faults.arm(faults.parse("index.written=raise"))
    try:
        await house.work()
    finally:
        faults.arm({})
    where, table = await state(house, acme)
    left = await newest_version(house.core.store, where)
    assert table.state.version == 0 < left
    halve(bucket.store, f"{bucket.prefix}/{keys.index_file(ObjectPrefix(where), manifest_name(left))}")
    await let_time_pass(house)
    await enqueue(house, index_jobs.check(acme.context.tenant_id, house.core.generation.id, is_suspected=True))
    await settled(house)
    assert (await state(house, acme))[0] != where
    assert await search(house, acme) == set(WORDS)


async def test_what_a_broken_off_repair_left_behind_is_collected(house: House, bucket: Bucket) -> None:
    acme = await furnished(house)
    where, _ = await state(house, acme)
    await bucket.damage(house, acme, "data", vanish)
    assert await search(house, acme) is None
    faults.arm(faults.parse("repair.begun=raise"))
    try:
        await house.work()
    finally:
        faults.arm({})
    await settled(house)
    assert await search(house, acme) == set(WORDS)
    left = keys.index_table(where)
    assert [info async for info in house.core.store.list(left)]
    await enqueue(house, JobRequest(maintenance.COLLECT, SYSTEM, maintenance.COLLECT, {}))
    await house.work()
    assert not [info async for info in house.core.store.list(left)]
    assert await search(house, acme) == set(WORDS)


@pytest.mark.parametrize("how", [vanish, halve])
async def test_a_new_catalog_takes_no_table_over_that_lacks_a_file_or_a_part_of_one(
    house: House, bucket: Bucket, tmp_path: Path, how: Callable[[S3Store, str], None]
) -> None:
    """Sums of files went with the old catalog: bytes that turned in a file of the right length would be taken over."""
    acme = await furnished(house)
    await bucket.damage(house, acme, "data", how)
    async with open_house(tmp_path / "new", **bucket.settings) as rebuilt:
        await settled(rebuilt)
        again = await rebuilt.known(acme.key)
        assert await search(rebuilt, again) == set(WORDS)
        await enqueue(rebuilt, JobRequest(maintenance.COLLECT, SYSTEM, maintenance.COLLECT, {}))
        await rebuilt.work()
        where, table = await state(rebuilt, again)
        sound = await inspect(rebuilt.core.store, ObjectPrefix(where), table.state.version, {})
        assert sound.damaged == [], "made anew, or an earlier version that is whole was taken over"
        tables = {path.split("/chunks.lance/")[0] for path in index_objects(bucket.store, bucket.prefix, "data")}
        assert tables == {f"{bucket.prefix}/{where.strip('/')}"}
        assert await search(rebuilt, again) == set(WORDS)


async def test_an_index_in_a_directory_is_made_anew_as_well(tmp_path: Path) -> None:
    async with open_house(tmp_path) as house:
        acme = await furnished(house)
        where, table = await state(house, acme)
        root = house.core.store.local_root
        assert root is not None
        name = next(name for name in sorted(table.sums) if name.startswith("data/"))
        file = root / keys.index_file(ObjectPrefix(where), name)
        file.write_bytes(bytes(byte ^ 0xFF for byte in file.read_bytes()))
        assert await search(house, acme) is None
        await settled(house)
        assert await search(house, acme) == set(WORDS)


# -- processes


@pytest.fixture
def provider() -> Iterator[CountingProvider]:
    with counting_provider() as started:
        started.gate.set()
        yield started


@pytest.fixture
def deployment(tmp_path: Path, bucket: Bucket, provider: CountingProvider, postgres_url: str) -> Iterator[Deployment]:
    environment = {f"S4_{name.upper()}": str(value) for name, value in bucket.settings.items()}
    with running(tmp_path, **FAST | environment | provider.settings, S4_DATABASE_URL=postgres_url) as started:
        yield started


@pytest.mark.slow
@pytest.mark.parametrize("how", ["vanishes", "is flipped"])
@pytest.mark.parametrize("folder", ["data", "_versions"])
def test_served_searches_recover_by_themselves(
    deployment: Deployment, provider: CountingProvider, bucket: Bucket, folder: str, how: str
) -> None:
    with deployment.new_tenant() as tenant:
        ids = [calls.stored(calls.put(tenant, word, f"a text about one {word}"))["document_id"] for word in WORDS]
        calls.wait_all(tenant, ids)
        bought = list(provider.texts)
        for path in index_objects(bucket.store, bucket.prefix, folder):
            DAMAGES[how](bucket.store, path)
        assert _found(tenant) == sorted(ids)
        assert provider.texts == bought, "keyword searches and a repair ask the provider for nothing"
        assert calls.detail(tenant, ids[0])["status"] == "ready"
    assert deployment.events("index.repair_begun")


def _found(tenant: httpx.Client) -> list[str]:
    """Of a search that is repeated when it is told to be."""
    give_up_at = time.monotonic() + REPAIR_SECONDS_MAX
    while True:
        answer = tenant.post("/search", json={"query": "text about one", "mode": "keyword", "limit": 50})
        if answer.status_code == 200:
            return sorted(result["document_id"] for result in answer.json()["results"])
        assert answer.status_code == 503, answer.text
        assert int(answer.headers["Retry-After"]) > 0
        assert time.monotonic() < give_up_at, "it does not recover"
        time.sleep(0.1)
