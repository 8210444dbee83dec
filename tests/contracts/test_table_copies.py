"""Copies of index tables on local disk, of tables in a real bucket behind a proxy that counts and misbehaves."""

import asyncio
import hashlib
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from s4.engine.vectors import (
    ChunkRow,
    CopyLimits,
    FileSum,
    IndexDamaged,
    Sums,
    TableCopies,
    TableWriter,
    VectorStore,
    VersionGone,
    chunk_id,
    inspect,
    manifest_name,
)
from s4.engine.vectors.copies import Recorded, disk
from s4.kernel import keys
from s4.kernel.errors import Unavailable
from s4.kernel.keys import ObjectPrefix
from s4.kernel.settings import Settings
from s4.kernel.units import GIB, MIB
from s4.platform.objects import ObjectStore, open_store
from tests.contracts.object_stores import gs_settings, s3_settings
from tests.fault_proxy import Fault, FaultProxy, Mode, fault_proxy
from tests.servers import GoogleServer, S3Server

DIMENSION = 8
WAIT_SECONDS_MAX = 120
LIMITS = CopyLimits(bytes_max=GIB, copy_first_bytes_max=GIB, idle_max=timedelta(days=1))


@dataclass
class Bucket:
    """Tables in a bucket, as a worker writes them and replicas search them."""

    settings: Settings
    store: ObjectStore
    proxy: FaultProxy
    folder: Path
    stack: AsyncExitStack
    writers: dict[str, TableWriter] = field(default_factory=dict)

    async def replica(self, limits: CopyLimits = LIMITS, *, folder: str = "copies") -> VectorStore:
        """A process's way into the index. Those with the same folder share their copies."""
        place = self.folder / folder
        vectors = self.open(lambda removal: TableCopies(self.store, place, limits, on_removal=removal))
        await self.stack.enter_async_context(vectors.copies_kept())
        return vectors

    def open(self, copies: Callable[[Callable[[str], None]], TableCopies] | None) -> VectorStore:
        place = self.store.lance_uri()
        assert place is not None
        vectors = VectorStore(
            place[0],
            storage_options=place[1],
            index_cache_bytes=4 * MIB,
            metadata_cache_bytes=4 * MIB,
            handles_max=10,
            read_timeout=timedelta(seconds=30),
            copies=copies,
        )
        self.stack.push_async_callback(vectors.close)
        return vectors

    async def write(self, tenant: str, *rows: ChunkRow) -> int:
        if tenant not in self.writers:
            writers = self.open(copies=None)
            self.writers[tenant] = await writers.writer(prefix(tenant), DIMENSION)
            self.stack.push_async_callback(self.writers[tenant].close)
        return await self.writers[tenant].apply(list(rows))

    def copied(self, tenant: str, folder: str = "copies") -> Path:
        return self.folder / folder / "tables" / prefix(tenant).strip("/") / "chunks.lance"

    def requests(self) -> list[str]:
        """What the bucket was asked since the last time."""
        seen = [request.path for request in self.proxy.requests]
        self.proxy.requests.clear()
        return seen


with_md5s = pytest.mark.parametrize("bucket", ["s3"], indirect=True)
"""Stores whose ETags are MD5s. What Google's are is not known here; its files are told by their sizes alone."""


@pytest.fixture(params=["s3", "gs"])
async def bucket(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Bucket]:
    if request.param == "gs":
        google: GoogleServer = request.getfixturevalue("google_server")
        settings = gs_settings(google, request.getfixturevalue("google_bucket"))
    else:
        s3: S3Server = request.getfixturevalue("s3_server")
        settings = s3_settings(s3, request.getfixturevalue("s3_shared_bucket"))
    async with AsyncExitStack() as stack:
        assert settings.store_endpoint is not None
        proxy = await stack.enter_async_context(fault_proxy(settings.store_endpoint))
        changes = {"store_endpoint": proxy.endpoint, "store_retries_max": 0, "store_timeout_seconds": 2}
        settings = settings.model_copy(update=changes)
        store = open_store(settings)
        stack.push_async_callback(store.aclose)
        yield Bucket(settings, store, proxy, tmp_path, stack)


def prefix(tenant: str) -> str:
    return f"indices/ten_{tenant}/gen_a/"


def row(document: str, text: str, *, revision: int = 1) -> ChunkRow:
    vector = np.ones(DIMENSION, np.float32)
    return ChunkRow(chunk_id(document, revision, 0), document, revision, 0, text, vector, None, 0, len(text), None)


async def nothing_recorded() -> Sums:
    """A table that an older release wrote."""
    return {}


async def found(
    replica: VectorStore, tenant: str, version: int, word: str, recorded: Recorded = nothing_recorded
) -> set[str]:
    """As the search service does: a copy that could not be read is asked for once more."""
    try:
        return await _found(replica, tenant, version, word, recorded)
    except VersionGone:
        return await _found(replica, tenant, version, word, recorded)


async def _found(replica: VectorStore, tenant: str, version: int, word: str, recorded: Recorded) -> set[str]:
    reader = await replica.reader(prefix(tenant), version, recorded=recorded)
    assert reader is not None
    hits = await reader.search(query_text=word, vector=np.ones(DIMENSION, np.float32), limit=10)
    return {hit.document_id for hit in hits if hit.keyword}


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not holds():  # noqa: ASYNC110 - what happens on disk tells nobody
            await asyncio.sleep(0.01)


# -- what a search costs


async def test_a_warm_search_asks_the_bucket_for_nothing(bucket: Bucket) -> None:
    version = await bucket.write("a", row("tides", "tides follow the moon"), row("walrus", "an ancient walrus"))
    replica = await bucket.replica()
    assert await found(replica, "a", version, "tides") == {"tides"}
    bucket.requests()

    for word in ("walrus", "tides", "moon") * 3:
        await found(replica, "a", version, word)

    assert bucket.requests() == []


async def test_after_a_write_only_what_is_new_is_fetched_and_the_new_is_found(bucket: Bucket) -> None:
    before = await bucket.write("a", row("tides", "tides follow the moon"))
    replica = await bucket.replica()
    await found(replica, "a", before, "tides")
    old = files(bucket.copied("a"))
    after = await bucket.write("a", row("walrus", "an ancient walrus"))
    bucket.requests()

    assert await found(replica, "a", after, "walrus") == {"walrus"}

    fetched = [path for path in bucket.requests() if "list-type" not in path]
    new = files(bucket.copied("a")) - old
    assert {path.split("chunks.lance/")[1].split("?")[0] for path in fetched} == new
    assert 0 < len(new) < 5
    assert await found(replica, "a", before, "walrus") == set(), "a search that read the catalog early sees its own"


async def test_a_crowd_that_asks_for_a_cold_table_fills_it_once(bucket: Bucket) -> None:
    version = await bucket.write("a", row("tides", "tides follow the moon"))
    replica = await bucket.replica()
    bucket.requests()

    answers = await asyncio.gather(*(found(replica, "a", version, "tides") for _ in range(20)))

    assert answers == [{"tides"}] * 20
    asked = bucket.requests()
    assert len(asked) == len(set(asked)), "no object was asked for twice"


async def test_a_large_table_is_searched_in_the_bucket_until_its_copy_is_there(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = await bucket.write("a", row("tides", "tides follow the moon"))
    replica = await bucket.replica(CopyLimits(GIB, copy_first_bytes_max=0, idle_max=LIMITS.idle_max))
    manifest = bucket.copied("a") / manifest_name(version)
    may_be_there, stream = asyncio.Event(), bucket.store.stream

    async def late(*of: Any, **how: Any) -> AsyncIterator[bytes]:
        await may_be_there.wait()
        async for piece in stream(*of, **how):
            yield piece

    monkeypatch.setattr(bucket.store, "stream", late)

    assert await found(replica, "a", version, "tides") == {"tides"}
    assert not manifest.exists()

    may_be_there.set()
    await until(manifest.exists)
    await found(replica, "a", version, "tides")  # finds it filled
    bucket.requests()
    assert await found(replica, "a", version, "tides") == {"tides"}
    assert bucket.requests() == []


# -- what is kept, and for how long


async def test_copies_stay_within_their_bytes_and_the_least_recently_used_goes(bucket: Bucket) -> None:
    versions = {tenant: await bucket.write(tenant, row("d", f"the word {tenant}word")) for tenant in "abc"}
    one = await bucket.replica(folder="measured")
    await found(one, "a", versions["a"], "aword")
    size = sum(path.stat().st_size for path in bucket.copied("a", "measured").rglob("*") if path.is_file())
    replica = await bucket.replica(CopyLimits(int(2.5 * size), GIB, LIMITS.idle_max))

    for tenant in "abc":
        await found(replica, tenant, versions[tenant], f"{tenant}word")

    assert [bucket.copied(tenant).exists() for tenant in "abc"] == [False, True, True]
    assert await found(replica, "a", versions["a"], "aword") == {"d"}
    assert [bucket.copied(tenant).exists() for tenant in "abc"] == [True, False, True]


async def test_a_table_larger_than_all_copies_may_be_is_searched_in_the_bucket(bucket: Bucket) -> None:
    version = await bucket.write("a", row("tides", "tides follow the moon"))
    replica = await bucket.replica(CopyLimits(100, GIB, LIMITS.idle_max))
    assert await found(replica, "a", version, "tides") == {"tides"}
    assert not bucket.copied("a").exists()


async def test_a_copy_that_nobody_uses_goes(bucket: Bucket) -> None:
    version = await bucket.write("a", row("tides", "tides follow the moon"))
    replica = await bucket.replica(CopyLimits(GIB, GIB, idle_max=timedelta(seconds=0.5)))
    await found(replica, "a", version, "tides")
    await until(lambda: not bucket.copied("a").exists())
    assert await found(replica, "a", version, "tides") == {"tides"}


async def test_the_next_process_finds_the_copies_of_the_last_one(bucket: Bucket) -> None:
    version = await bucket.write("a", row("tides", "tides follow the moon"))
    first = await bucket.replica()
    await found(first, "a", version, "tides")
    await first.close()
    bucket.requests()

    assert await found(await bucket.replica(), "a", version, "tides") == {"tides"}

    assert bucket.requests() == []


async def test_what_was_written_before_the_machine_started_anew_is_not_trusted(bucket: Bucket) -> None:
    version = await bucket.write("a", row("tides", "tides follow the moon"))
    first = await bucket.replica()
    await found(first, "a", version, "tides")
    await first.close()
    (bucket.folder / "copies" / "boot").write_text("another start")

    replica = await bucket.replica()

    assert not bucket.copied("a").exists()
    assert await found(replica, "a", version, "tides") == {"tides"}


# -- what goes wrong


async def test_a_fill_that_broke_off_leaves_nothing_that_is_searched_and_is_gone_on_with(bucket: Bucket) -> None:
    version = await bucket.write("a", row("tides", "tides follow the moon"))
    broken = bucket.proxy.add(Fault(Mode.HANG, method="GET", path="/data/"))
    replica = await bucket.replica()
    with pytest.raises(Unavailable):
        await found(replica, "a", version, "tides")
    assert broken.hits > 0
    there = files(bucket.copied("a"))
    assert manifest_name(version) not in there
    assert there, "what came stays"
    bucket.proxy.heal()
    bucket.requests()

    assert await found(await bucket.replica(), "a", version, "tides") == {"tides"}

    again = {path.split("chunks.lance/")[1].split("?")[0] for path in bucket.requests() if "list-type" not in path}
    assert not again & there, "what was there was not fetched again"


@pytest.mark.parametrize("harm", ["removed", "truncated", "garbage"])
async def test_a_damaged_copy_is_fetched_anew_and_the_search_is_right(bucket: Bucket, harm: str) -> None:
    version = await bucket.write("a", row("tides", "tides follow the moon"))
    first = await bucket.replica()
    await found(first, "a", version, "tides")
    await first.close()
    whole = {path: path.read_bytes() for path in (bucket.copied("a") / "data").iterdir()}
    for path, content in whole.items():
        if harm == "removed":
            path.unlink()
        else:
            path.write_bytes(b"" if harm == "truncated" else b"x" * len(content))
    replica = await bucket.replica()

    assert await found(replica, "a", version, "tides") == {"tides"}

    assert await found(replica, "a", version, "tides") == {"tides"}
    assert {path: path.read_bytes() for path in whole} == whole


async def test_two_processes_share_a_directory_and_one_may_remove_what_the_other_reads(bucket: Bucket) -> None:
    version = await bucket.write("a", row("tides", "tides follow the moon"))
    one, other = await bucket.replica(), await bucket.replica()
    await found(one, "a", version, "tides")
    bucket.requests()
    assert await found(other, "a", version, "tides") == {"tides"}
    assert bucket.requests() == [], "the other process filled it"

    await one.forget(prefix("a"))

    assert [await found(other, "a", version, word) for word in ("tides", "moon", "follow")] == [{"tides"}] * 3


async def test_while_another_process_fills_a_table_it_is_searched_in_the_bucket(bucket: Bucket) -> None:
    version = await bucket.write("a", row("tides", "tides follow the moon"))
    replica = await bucket.replica()
    with disk.CopiesDirectory(bucket.folder / "copies").locked(prefix("a").strip("/")) as mine:
        assert mine
        assert await found(replica, "a", version, "tides") == {"tides"}
        assert not bucket.copied("a").exists()
    assert await found(replica, "a", version, "tides") == {"tides"}
    assert bucket.copied("a").exists()


async def test_a_disk_that_takes_no_copies_costs_speed_and_no_search(bucket: Bucket) -> None:
    version = await bucket.write("a", row("tides", "tides follow the moon"))
    (bucket.folder / "file").write_text("in the way")
    replica = await bucket.replica(folder="file")
    assert await found(replica, "a", version, "tides") == {"tides"}


async def test_a_disk_that_takes_a_part_of_a_write_damages_no_copy(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = await bucket.write("acme", row("doc_a", "walrus"))
    whole = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda file, data, start: whole(file, data[: max(1, len(data) // 2)], start))
    replica = await bucket.replica()
    assert await found(replica, "acme", version, "walrus") == {"doc_a"}
    bucket.requests()
    assert await found(replica, "acme", version, "walrus") == {"doc_a"}
    assert bucket.requests() == []


async def test_a_store_that_says_nothing_keeps_one_search_waiting_and_no_other(bucket: Bucket) -> None:
    versions = {tenant: await bucket.write(tenant, row("doc_a", "walrus")) for tenant in ("acme", "other", "warm")}
    replica = await bucket.replica()
    assert await found(replica, "warm", versions["warm"], "walrus") == {"doc_a"}
    silence = bucket.proxy.add(Fault(Mode.HANG))
    with pytest.raises(Unavailable):
        await found(replica, "acme", versions["acme"], "walrus")
    bucket.requests()
    with pytest.raises(Unavailable) as refused:
        await found(replica, "other", versions["other"], "walrus")
    assert refused.value.retry_after > timedelta()
    assert bucket.requests() == []
    assert await found(replica, "warm", versions["warm"], "walrus") == {"doc_a"}

    bucket.proxy.faults.remove(silence)
    async with asyncio.timeout(WAIT_SECONDS_MAX):
        while True:
            with suppress(Unavailable):
                if await found(replica, "other", versions["other"], "walrus") == {"doc_a"}:
                    break
            await asyncio.sleep(0.1)


async def test_while_the_bucket_is_away_warm_tables_are_searched(bucket: Bucket) -> None:
    version = await bucket.write("a", row("tides", "tides follow the moon"))
    replica = await bucket.replica()
    await found(replica, "a", version, "tides")
    bucket.proxy.add(Fault(Mode.UNAVAILABLE))
    assert await found(replica, "a", version, "tides") == {"tides"}


# -- what was committed


async def recorded_of(bucket: Bucket, tenant: str, version: int) -> dict[str, FileSum]:
    return (await inspect(bucket.store, prefix(tenant), version, {})).sums


@with_md5s
async def test_every_small_file_of_a_bucket_has_an_md5(bucket: Bucket) -> None:
    version = await bucket.write("a", row("tides", "tides follow the moon"))
    assert None not in {known.md5 for known in (await recorded_of(bucket, "a", version)).values()}


@with_md5s
async def test_bytes_that_turn_on_the_way_are_fetched_once_more(bucket: Bucket) -> None:
    version = await bucket.write("a", row("tides", "tides follow the moon"))
    known = await recorded_of(bucket, "a", version)
    replica = await bucket.replica()
    turned = bucket.proxy.add(Fault(Mode.WRONG_BYTES, method="GET", path="/data/", count=1, after_bytes=3))
    assert await found(replica, "a", version, "tides", noted(known)) == {"tides"}
    assert turned.hits == 1
    name = next(name for name in known if name.startswith("data/"))
    assert hashlib.md5((bucket.copied("a") / name).read_bytes()).hexdigest() == known[name].md5
    bucket.requests()
    assert await found(replica, "a", version, "tides", noted(known)) == {"tides"}
    assert bucket.requests() == [], "from the copy"


@with_md5s
@pytest.mark.parametrize("is_large", [False, True])
async def test_nothing_is_served_from_bytes_that_are_not_those_that_were_committed(
    bucket: Bucket, is_large: bool
) -> None:
    """Whoever waits for the copy is told; else the next one, after it was fetched behind the searches."""
    version = await bucket.write("a", row("tides", "tides follow the moon"))
    known = await recorded_of(bucket, "a", version)
    replica = await bucket.replica(CopyLimits(GIB, 0 if is_large else GIB, LIMITS.idle_max))
    bucket.proxy.add(Fault(Mode.WRONG_BYTES, method="GET", path="/data/", after_bytes=3))

    async def is_told() -> bool:
        try:
            await found(replica, "a", version, "tides", noted(known))
        except IndexDamaged:
            return True
        except Unavailable:
            pass  # LanceDB stumbled over it, in the bucket
        return False

    give_up_at = time.monotonic() + WAIT_SECONDS_MAX
    while not await is_told():
        assert is_large, "who waits is told"
        assert time.monotonic() < give_up_at, "nobody is told"
    assert not (bucket.copied("a") / manifest_name(version)).exists()


@with_md5s
async def test_an_object_that_is_another_since_its_commit_is_not_copied(bucket: Bucket) -> None:
    version = await bucket.write("a", row("tides", "tides follow the moon"))
    known = await recorded_of(bucket, "a", version)
    name = next(name for name in sorted(known) if name.startswith("data/"))
    key = keys.index_file(ObjectPrefix(prefix("a")), name)
    await bucket.store.put(key, bytes(byte ^ 1 for byte in await bucket.store.get(key)))
    replica = await bucket.replica()
    with pytest.raises(IndexDamaged) as told:
        await found(replica, "a", version, "tides", noted(known))
    assert told.value.details == {"files": [name]}


def noted(known: dict[str, FileSum]) -> Recorded:
    async def recorded() -> Sums:
        return known

    return recorded
