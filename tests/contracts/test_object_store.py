"""The contract of the object store, on every backend; then what only a directory or only a bucket must do."""

import asyncio
import errno
import json
import os
import re
import secrets
import stat
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from obstore.store import MemoryStore
from prometheus_client import REGISTRY

from s4.kernel import keys
from s4.kernel.errors import DataCorrupt, RangeNotSatisfiable, Unavailable
from s4.kernel.keys import ObjectKey, ObjectPrefix
from s4.kernel.settings import Settings
from s4.kernel.units import MIB
from s4.platform.objects import (
    CreateOutcome,
    ObjectMissing,
    ObjectStore,
    StoreFault,
    StoreUnavailable,
    open_store,
)
from s4.platform.objects.local import LocalBackend
from s4.platform.objects.remote import RemoteBackend
from tests.fault_proxy import Fault, FaultProxy, Mode, fault_proxy
from tests.servers import S3Server, free_ports

PART_BYTES = 5 * MIB  # the smallest that S3 takes
HANG_TIMEOUT_SECONDS = 1.0

KEY = ObjectKey("tenants/ten_a/documents/doc_a/head/000000000001.json")


@pytest.fixture(scope="session")
def contract_bucket(s3_server: S3Server) -> str:
    """One bucket for this file; each test has a prefix of its own in it."""
    return s3_server.new_bucket()


def s3_settings(server: S3Server, bucket: str, **changes: Any) -> Settings:
    values: dict[str, Any] = {
        "store_url": f"s3://{bucket}/{secrets.token_hex(8)}/nested",
        "store_endpoint": server.endpoint,
        "store_access_key_id": server.access_key,
        "store_secret_access_key": server.secret_key,
        "store_part_bytes": PART_BYTES,
    }
    return Settings(**{**values, **changes})


@pytest.fixture(params=["local", "memory", "s3"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[ObjectStore]:
    match request.param:
        case "local":
            settings = Settings(store_url=f"file://{tmp_path}/objects", store_part_bytes=PART_BYTES)
        case "memory":
            settings = Settings(store_url="memory://", store_part_bytes=PART_BYTES)
        case _:
            server = request.getfixturevalue("s3_server")
            settings = s3_settings(server, request.getfixturevalue("contract_bucket"))
    opened = open_store(settings)
    yield opened
    await opened.aclose()


@pytest.fixture
async def local(tmp_path: Path) -> AsyncIterator[ObjectStore]:
    opened = open_store(Settings(store_url=f"file://{tmp_path}/objects"))
    yield opened
    await opened.aclose()


@pytest.fixture
async def proxy(s3_server: S3Server) -> AsyncIterator[FaultProxy]:
    async with fault_proxy(s3_server.endpoint) as opened:
        yield opened


Opener = Callable[..., ObjectStore]


@pytest.fixture
async def through_proxy(proxy: FaultProxy, s3_server: S3Server, contract_bucket: str) -> AsyncIterator[Opener]:
    """Opens one and the same part of the bucket. obstore repeats nothing unless told: what is tested is ours."""
    opened: list[ObjectStore] = []
    own = {"store_url": f"s3://{contract_bucket}/{secrets.token_hex(8)}", "store_endpoint": proxy.endpoint}

    def open_it(**changes: Any) -> ObjectStore:
        values = {**own, "store_retries_max": 0, **changes}
        opened.append(open_store(s3_settings(s3_server, contract_bucket, **values)))
        return opened[-1]

    yield open_it
    proxy.heal()
    for each in opened:
        await each.aclose()


def head_data(commit_id: str) -> bytes:
    return f'{{"commit_id": "{commit_id}"}}'.encode()


def document(number: int) -> ObjectKey:
    return ObjectKey(f"tenants/ten_a/documents/doc_{number:04d}/content")


async def listed(store: ObjectStore, prefix: ObjectPrefix = keys.TENANTS) -> list[ObjectKey]:
    return [info.key async for info in store.list(prefix)]


async def uploaded(store: ObjectStore, key: ObjectKey, data: bytes, *, chunk_bytes: int = MIB) -> int:
    async with store.upload(key) as upload:
        for start in range(0, len(data), chunk_bytes):
            await upload.write(data[start : start + chunk_bytes])
        return await upload.commit()


async def streamed(store: ObjectStore, key: ObjectKey, start: int = 0, end: int | None = None) -> bytes:
    return b"".join([chunk async for chunk in store.stream(key, start=start, end=end)])


def counted(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


# -- creation


async def test_an_object_is_created_once_and_stays_what_it_was(store: ObjectStore) -> None:
    first = await store.create(KEY, head_data("aaa"), commit_id="aaa")
    second = await store.create(KEY, head_data("bbb"), commit_id="bbb")

    assert (first, second) == (CreateOutcome.CREATED, CreateOutcome.TAKEN)
    assert await store.get(KEY) == head_data("aaa")


async def test_creating_the_same_bytes_again_is_recognised_as_ones_own(store: ObjectStore) -> None:
    await store.create(KEY, head_data("aaa"), commit_id="aaa")

    assert await store.create(KEY, head_data("aaa"), commit_id="aaa") is CreateOutcome.CREATED


async def test_sixteen_creators_at_once_have_one_winner(store: ObjectStore) -> None:
    outcomes = await asyncio.gather(
        *(store.create(KEY, head_data(f"commit{n}"), commit_id=f"commit{n}") for n in range(16))
    )

    winners = [n for n, outcome in enumerate(outcomes) if outcome is CreateOutcome.CREATED]
    assert len(winners) == 1
    assert await store.get(KEY) == head_data(f"commit{winners[0]}")


async def test_a_commit_must_carry_its_id(store: ObjectStore) -> None:
    with pytest.raises(ValueError, match="commit id"):
        await store.create(KEY, b"{}", commit_id="aaa")


async def test_commits_are_counted_by_outcome(store: ObjectStore) -> None:
    before = {name: counted("s4_commits_total", outcome=name) for name in ("own", "taken")}

    await store.create(KEY, head_data("aaa"), commit_id="aaa")
    await store.create(KEY, head_data("bbb"), commit_id="bbb")
    await store.create(KEY, b"not a commit", commit_id=None)

    assert counted("s4_commits_total", outcome="own") == before["own"] + 1
    assert counted("s4_commits_total", outcome="taken") == before["taken"] + 1


async def test_the_probe_finds_that_creation_is_exclusive_and_leaves_nothing(store: ObjectStore) -> None:
    capabilities = await store.probe()

    assert capabilities.create_if_absent
    assert await listed(store, keys.SYSTEM) == []


async def test_the_probe_finds_a_store_that_overwrites() -> None:
    class Overwriting(RemoteBackend):
        async def create(self, key: ObjectKey, data: bytes) -> bool:
            await self.put(key, data)
            return True

    backend = Overwriting(MemoryStore(), prefix="", part_bytes=PART_BYTES)
    careless = ObjectStore(backend, timeout_seconds=5, part_bytes=PART_BYTES, lance_place=None)

    assert not (await careless.probe()).create_if_absent


# -- whole objects


async def test_a_put_replaces_the_whole_object(store: ObjectStore) -> None:
    await store.put(KEY, b"a longer first version")
    await store.put(KEY, b"short")

    assert await store.get(KEY) == b"short"


async def test_a_missing_object_is_said_to_be_missing(store: ObjectStore) -> None:
    operations: list[Awaitable[object]] = [
        store.get(KEY),
        store.head(KEY),
        store.get_range(KEY, 0, 1),
        streamed(store, KEY),
    ]
    for operation in operations:
        with pytest.raises(ObjectMissing) as raised:
            await operation
        assert raised.value.key == KEY


async def test_a_head_tells_key_size_time_and_version(store: ObjectStore) -> None:
    await store.put(KEY, b"12345")
    info = await store.head(KEY)
    await store.put(KEY, b"54321")

    assert (info.key, info.size) == (KEY, 5)
    assert abs(datetime.now(UTC) - info.last_modified) < timedelta(minutes=5)
    assert info.etag is not None
    assert (await store.head(KEY)).etag != info.etag


async def test_a_new_store_answers_a_ping(store: ObjectStore) -> None:
    await store.ping()


async def test_keys_that_leave_the_root_are_refused(store: ObjectStore) -> None:
    for key in ("", "/etc/passwd", "../a", "a/../b", "a//b", "a/", "./a", ".tmp/a", "a/\0"):
        with pytest.raises(ValueError, match="not an object key"):
            await store.put(ObjectKey(key), b"x")
        with pytest.raises(ValueError, match="not an object key"):
            await store.get(ObjectKey(key))


async def test_requests_are_counted_by_operation_and_outcome(store: ObjectStore) -> None:
    def requests() -> list[float]:
        return [
            counted("s4_store_requests_total", operation="put", outcome="ok"),
            counted("s4_store_requests_total", operation="get", outcome="missing"),
            counted("s4_store_bytes_total", direction="written"),
        ]

    before = requests()
    await store.put(KEY, b"12345")
    with pytest.raises(ObjectMissing):
        await store.get(document(1))

    assert [now - then for now, then in zip(requests(), before, strict=True)] == [1, 1, 5]


# -- uploads


@pytest.mark.parametrize("size_bytes", [0, 1, PART_BYTES, PART_BYTES + 1, 3 * PART_BYTES])
async def test_an_upload_of_any_number_of_parts_comes_back_whole(store: ObjectStore, size_bytes: int) -> None:
    data = os.urandom(size_bytes)

    assert await uploaded(store, KEY, data, chunk_bytes=777_777) == size_bytes
    assert await streamed(store, KEY) == data
    assert (await store.head(KEY)).size == size_bytes


async def test_an_upload_is_invisible_until_it_is_committed(store: ObjectStore) -> None:
    async with store.upload(KEY) as upload:
        for _ in range(2 * PART_BYTES // MIB):
            await upload.write(b"x" * MIB)
        assert await listed(store) == []
        await upload.commit()
    assert await listed(store) == [KEY]


@pytest.mark.parametrize("size_bytes", [100, 3 * PART_BYTES])
async def test_an_upload_that_fails_leaves_nothing(store: ObjectStore, size_bytes: int) -> None:
    async def upload_and_fail() -> None:
        async with store.upload(KEY) as upload:
            await upload.write(b"x" * size_bytes)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await upload_and_fail()

    await assert_nothing_left(store)


async def test_an_upload_that_is_not_committed_leaves_nothing(store: ObjectStore) -> None:
    async with store.upload(KEY) as upload:
        await upload.write(b"x" * 2 * PART_BYTES)

    await assert_nothing_left(store)


async def test_an_upload_whose_request_is_cancelled_leaves_nothing(store: ObjectStore) -> None:
    writing = asyncio.Event()

    async def upload_for_ever() -> None:
        async with store.upload(KEY) as upload:
            await upload.write(b"x" * 2 * PART_BYTES)
            writing.set()
            while True:
                await upload.write(b"x" * 1000)

    task = asyncio.create_task(upload_for_ever())
    await writing.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    await assert_nothing_left(store)


async def assert_nothing_left(store: ObjectStore) -> None:
    assert await listed(store) == []
    if store.local_root is not None:
        assert list((store.local_root / ".tmp").iterdir()) == []


# -- ranges and streams


@pytest.mark.parametrize(
    ("start", "end"), [(0, 10), (10, 20), (0, None), (90, None), (99, 100), (90, 1000), (50, 50), (0, 0)]
)
async def test_a_range_is_what_slicing_would_give(store: ObjectStore, start: int, end: int | None) -> None:
    data = bytes(range(100))
    await store.put(KEY, data)

    assert await streamed(store, KEY, start, end) == data[start:end]
    if end is not None:
        assert await store.get_range(KEY, start, end) == data[start:end]


async def test_a_range_behind_the_end_is_refused(store: ObjectStore) -> None:
    await store.put(KEY, b"12345")
    for start in (5, 6, 1000):
        with pytest.raises(RangeNotSatisfiable):
            await streamed(store, KEY, start)
        with pytest.raises(RangeNotSatisfiable):
            await store.get_range(KEY, start, start + 10)


async def test_an_empty_object_is_read_as_nothing(store: ObjectStore) -> None:
    await store.put(KEY, b"")

    assert await store.get(KEY) == b""
    assert await streamed(store, KEY) == b""
    assert await store.get_range(KEY, 0, 10) == b""


# -- listings


async def test_a_listing_is_recursive_ordered_by_key_and_keeps_to_its_prefix(store: ObjectStore) -> None:
    inside = [
        "tenants/ten_a/documents/doc_1/head/000000000001.json",
        "tenants/ten_a/documents/doc_1/head/000000000002.json",
        "tenants/ten_a/documents/doc_1/ver_1/content",
        "tenants/ten_a/documents/doc_2/head/000000000001.json",
        "tenants/ten_a/head/000000000001.json",
    ]
    outside = ["tenants/ten_ab/head/000000000001.json", "tenants/ten_a.b", "system/deployment.json"]
    for key in [*reversed(inside), *outside]:
        await store.put(ObjectKey(key), key.encode())

    infos = [info async for info in store.list(ObjectPrefix("tenants/ten_a/"))]

    assert [info.key for info in infos] == inside
    assert [info.size for info in infos] == [len(key) for key in inside]
    assert await listed(store, ObjectPrefix("tenants/nobody/")) == []


async def test_more_than_a_page_of_objects_is_listed_and_deleted(store: ObjectStore) -> None:
    wanted = [document(number) for number in range(1100)]  # S3's pages and deletions end at 1,000
    some_at_once = asyncio.Semaphore(32)

    async def put(key: ObjectKey) -> None:
        async with some_at_once:
            await store.put(key, b"x")

    await asyncio.gather(*map(put, wanted))
    assert await listed(store) == wanted

    await store.delete(wanted)
    assert await listed(store) == []


async def test_children_are_the_prefixes_one_level_down(store: ObjectStore) -> None:
    for key in ("tenants/ten_b/head/1.json", "tenants/ten_a/documents/doc_a/content", "tenants/note"):
        await store.put(ObjectKey(key), b"x")

    assert await store.list_children(keys.TENANTS) == ["tenants/ten_a/", "tenants/ten_b/"]
    assert await store.list_children(ObjectPrefix("tenants/ten_a/documents/doc_a/")) == []


async def test_a_listing_wants_a_whole_prefix(store: ObjectStore) -> None:
    with pytest.raises(ValueError, match="slash"):
        await listed(store, ObjectPrefix("tenants/ten_"))


async def test_deleting_is_idempotent(store: ObjectStore) -> None:
    await store.put(document(1), b"x")
    await store.put(document(2), b"x")

    for _ in range(2):
        await store.delete([document(1), document(3)])

    assert await listed(store) == [document(2)]


# -- a directory


def test_two_processes_that_race_on_a_directory_share_the_keys_between_them(tmp_path: Path) -> None:
    script = """
import asyncio, sys
from s4.kernel.settings import Settings
from s4.platform.objects import open_store

async def main(root, name):
    store = open_store(Settings(store_url=f"file://{root}"))
    print("ready", flush=True)
    sys.stdin.readline()
    for number in range(200):
        outcome = await store.create(f"tenants/{number}/head", name.encode(), commit_id=name)
        if outcome == "created":
            print(number)
    await store.aclose()

asyncio.run(main(*sys.argv[1:]))
"""
    names = ("first", "second")
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", script, str(tmp_path), name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for name in names
    ]
    for racer in racers:
        assert racer.stdout is not None
        assert racer.stdout.readline() == "ready\n"
    won = [{int(line) for line in racer.communicate("go\n")[0].split()} for racer in racers]

    assert [racer.returncode for racer in racers] == [0, 0]
    assert won[0] | won[1] == set(range(200))
    assert won[0] & won[1] == set()
    for name, numbers in zip(names, won, strict=True):
        assert {(tmp_path / f"tenants/{number}/head").read_text() for number in numbers} <= {name}


async def test_what_is_written_is_synced_before_it_has_its_name_and_then_each_directory(
    local: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = local.local_root
    assert root is not None
    key = ObjectKey("tenants/ten_a/head")
    synced: list[tuple[str, bool]] = []
    sync = os.fsync

    def recorded(descriptor: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        is_file = stat.S_ISREG(os.fstat(descriptor).st_mode)
        synced.append(("file" if is_file else os.path.relpath(path, root), (root / key).exists()))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", recorded)
    directories = [("tenants/ten_a", True), ("tenants", True), (".", True)]

    await local.create(key, b"x", commit_id=None)
    assert synced == [("file", False), *directories]

    synced.clear()
    await local.create(key, b"another's", commit_id=None)
    assert synced[1:] == directories, "the loser must not tell of an object that a power cut could take back"

    for write in (local.put(key, b"x"), uploaded(local, key, b"x")):
        synced.clear()
        await write
        assert synced == [("file", True), *directories]


async def test_deleting_removes_empty_directories_but_never_the_root(local: ObjectStore) -> None:
    root = local.local_root
    assert root is not None
    await local.put(document(1), b"x")
    await local.put(document(2), b"x")

    await local.delete([document(1)])
    assert [path.name for path in (root / "tenants/ten_a/documents").iterdir()] == ["doc_0002"]

    await local.delete([document(2)])
    assert [path.name for path in root.iterdir()] == [".tmp"]


async def test_deletions_that_prune_do_not_disturb_writers_beside_them(local: ObjectStore) -> None:
    async def come_and_go(number: int) -> None:
        for _ in range(50):
            await local.put(document(number), b"x")
            assert await local.get(document(number)) == b"x"
            await local.delete([document(number)])

    await asyncio.gather(*map(come_and_go, range(8)))

    assert await listed(local) == []


async def test_a_directory_that_is_pruned_under_a_writer_is_made_again(
    local: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    pruned: list[str] = []

    def prune_first(name: str) -> None:
        give_name = getattr(os, name)

        def give_name_late(source: Path, target: Path) -> None:
            if name not in pruned:
                pruned.append(name)
                target.parent.rmdir()
            give_name(source, target)

        monkeypatch.setattr(os, name, give_name_late)

    prune_first("link")
    prune_first("replace")

    assert await local.create(document(1), b"x", commit_id=None) is CreateOutcome.CREATED
    await local.put(document(2), b"x")
    assert pruned == ["link", "replace"]
    assert await listed(local) == [document(1), document(2)]


async def test_a_full_disk_is_told_and_leaves_nothing(local: ObjectStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    writes = [local.create(KEY, b"x", commit_id=None), local.put(KEY, b"x"), uploaded(local, KEY, b"x")]
    for write in writes:
        with pytest.raises(Unavailable, match=re.escape("The object store's disk is full.")) as raised:
            await write
        assert raised.value.details["code"] == "ENOSPC"

    await assert_nothing_left(local)


async def test_leftovers_of_crashed_uploads_are_swept_after_a_day(tmp_path: Path) -> None:
    temporary = tmp_path / ".tmp"
    temporary.mkdir()
    for name, age in (("old", timedelta(hours=25)), ("young", timedelta(hours=23))):
        (temporary / name).write_bytes(b"x")
        stamp = time.time() - age.total_seconds()
        os.utime(temporary / name, (stamp, stamp))

    await LocalBackend(tmp_path).aclose()

    assert [path.name for path in temporary.iterdir()] == ["young"]


async def test_empty_directories_and_files_that_the_engine_stages_are_no_objects(local: ObjectStore) -> None:
    root = local.local_root
    assert root is not None
    (root / "indices/ten_a/gen_a").mkdir(parents=True)
    (root / "indices/ten_b").mkdir()
    (root / "indices/ten_b/data.lance").write_bytes(b"x")
    (root / "indices/ten_b/data.lance#1").write_bytes(b"x")

    assert await local.list_children(keys.INDICES) == ["indices/ten_b/"]
    assert await listed(local, keys.INDICES) == ["indices/ten_b/data.lance"]


# -- a bucket behind a bad network


@pytest.mark.parametrize("mode", [Mode.LOST_REPLY, Mode.HANG_REPLY])
async def test_a_creation_whose_answer_is_lost_is_recognised_as_own(
    proxy: FaultProxy, through_proxy: Opener, mode: Mode
) -> None:
    store = through_proxy(store_timeout_seconds=4.0)
    before = counted("s4_commits_total", outcome="lost_answer")
    fault = proxy.add(Fault(mode, method="PUT", count=1))

    assert await store.create(KEY, head_data("aaa"), commit_id="aaa") is CreateOutcome.CREATED
    assert fault.hits == 1
    assert await store.create(KEY, head_data("bbb"), commit_id="bbb") is CreateOutcome.TAKEN
    assert counted("s4_commits_total", outcome="lost_answer") == before + 1


async def test_a_refusal_whose_answer_is_lost_is_not_taken_for_success(
    proxy: FaultProxy, through_proxy: Opener
) -> None:
    store = through_proxy()
    await store.create(KEY, head_data("aaa"), commit_id="aaa")
    proxy.add(Fault(Mode.LOST_REPLY, method="PUT", count=1))

    assert await store.create(KEY, head_data("bbb"), commit_id="bbb") is CreateOutcome.TAKEN


@pytest.mark.parametrize("mode", [Mode.CONFLICT, Mode.UNAVAILABLE, Mode.RESET])
async def test_a_creation_that_the_store_did_not_carry_out_is_repeated(
    proxy: FaultProxy, through_proxy: Opener, mode: Mode
) -> None:
    store = through_proxy()
    proxy.add(Fault(mode, method="PUT", count=2))

    assert await store.create(KEY, head_data("aaa"), commit_id="aaa") is CreateOutcome.CREATED
    assert await store.get(KEY) == head_data("aaa")


async def test_an_outcome_that_stays_unknown_is_said_to_be_unknown(proxy: FaultProxy, through_proxy: Opener) -> None:
    store = through_proxy()
    before = counted("s4_commits_total", outcome="unknown")
    proxy.add(Fault(Mode.LOST_REPLY, method="PUT"))
    proxy.add(Fault(Mode.RESET, method="GET"))

    with pytest.raises(StoreUnavailable):
        await store.create(KEY, head_data("aaa"), commit_id="aaa")
    assert counted("s4_commits_total", outcome="unknown") == before + 1


async def test_a_download_that_breaks_off_goes_on_where_it_stopped(proxy: FaultProxy, through_proxy: Opener) -> None:
    store = through_proxy()
    data = os.urandom(4 * MIB)
    await store.put(KEY, data)
    fault = proxy.add(Fault(Mode.DROP_DOWNLOAD, method="GET", after_bytes=MIB, count=3))

    assert await streamed(store, KEY) == data
    assert fault.hits == 3
    ranges = [request.range for request in proxy.requests if request.method == "GET"]
    assert ranges[0] == ""
    offsets = [int(each.removeprefix("bytes=").removesuffix("-")) for each in ranges[1:]]
    assert 0 < offsets[0] < offsets[1] < offsets[2]


async def test_a_range_that_breaks_off_goes_on_to_its_own_end(proxy: FaultProxy, through_proxy: Opener) -> None:
    store = through_proxy()
    data = os.urandom(4 * MIB)
    await store.put(KEY, data)
    proxy.add(Fault(Mode.DROP_DOWNLOAD, method="GET", after_bytes=MIB, count=2))

    assert await streamed(store, KEY, 1000, len(data) - 1000) == data[1000:-1000]


async def test_a_download_that_falls_silent_goes_on_where_it_stopped(proxy: FaultProxy, through_proxy: Opener) -> None:
    store = through_proxy(store_timeout_seconds=HANG_TIMEOUT_SECONDS)
    data = os.urandom(2 * MIB)
    await through_proxy().put(KEY, data)
    fault = proxy.add(Fault(Mode.STALL_DOWNLOAD, method="GET", after_bytes=MIB, count=1))

    assert await streamed(store, KEY) == data
    assert fault.hits == 1


async def test_a_download_that_never_gets_on_raises_and_does_not_end_short(
    proxy: FaultProxy, through_proxy: Opener
) -> None:
    store = through_proxy()
    await store.put(KEY, os.urandom(4 * MIB))
    broken = proxy.add(Fault(Mode.DROP_DOWNLOAD, method="GET", after_bytes=MIB, count=1))
    proxy.add(Fault(Mode.DROP_DOWNLOAD, method="GET", after_bytes=0))
    received: list[bytes] = []

    async def receive() -> None:
        async for chunk in store.stream(KEY):
            received.append(chunk)  # noqa: PERF401 - what came before the error is the point

    with pytest.raises(StoreUnavailable):
        await receive()
    assert broken.hits == 1
    assert 0 < sum(map(len, received)) <= MIB


async def test_an_object_that_changes_during_a_download_is_not_mixed(proxy: FaultProxy, through_proxy: Opener) -> None:
    store = through_proxy()
    await store.put(KEY, os.urandom(4 * MIB))
    proxy.add(Fault(Mode.DROP_DOWNLOAD, method="GET", after_bytes=MIB, count=1))

    download = store.stream(KEY)
    await anext(download)
    await store.put(KEY, os.urandom(4 * MIB))
    with pytest.raises(DataCorrupt, match="changed"):
        async for _ in download:
            pass


async def test_a_store_that_hangs_is_unavailable_before_the_caller_gives_up(
    proxy: FaultProxy, through_proxy: Opener
) -> None:
    store = through_proxy(store_timeout_seconds=HANG_TIMEOUT_SECONDS, store_retries_max=2)
    proxy.add(Fault(Mode.HANG))
    operations: list[Awaitable[object]] = [
        store.get(KEY),
        store.head(KEY),
        store.get_range(KEY, 0, 10),
        streamed(store, KEY),
        listed(store),
        store.list_children(keys.TENANTS),
        store.delete([KEY]),
        store.put(KEY, b"x"),
        store.create(KEY, b"x", commit_id=None),
        uploaded(store, KEY, b"x"),
        uploaded(store, KEY, b"x" * 3 * PART_BYTES),
        store.probe(),
        store.ping(),
    ]
    async with asyncio.timeout(30 * HANG_TIMEOUT_SECONDS):  # never ending, if it ended here
        results = await asyncio.gather(*operations, return_exceptions=True)

    assert [type(result) for result in results] == [StoreUnavailable] * len(operations)


async def test_a_store_that_answers_in_drops_is_unavailable_too(proxy: FaultProxy, through_proxy: Opener) -> None:
    store = through_proxy(store_timeout_seconds=HANG_TIMEOUT_SECONDS)
    await through_proxy().put(KEY, b"x" * 1000)
    proxy.add(Fault(Mode.DRIP_DOWNLOAD, delay_seconds=HANG_TIMEOUT_SECONDS / 10))

    results = await asyncio.gather(store.get(KEY), listed(store), return_exceptions=True)

    faults = [result.fault for result in results if isinstance(result, StoreUnavailable)]
    assert faults == [StoreFault.TIMEOUT] * 2


async def test_a_throttling_store_is_named_so_and_wants_more_time(proxy: FaultProxy, through_proxy: Opener) -> None:
    store = through_proxy()
    before = counted("s4_store_requests_total", operation="head", outcome="throttled")
    proxy.add(Fault(Mode.UNAVAILABLE))

    with pytest.raises(StoreUnavailable) as raised:
        await store.get(KEY)
    assert raised.value.fault is StoreFault.THROTTLED
    assert raised.value.retry_after > timedelta(seconds=2)

    with pytest.raises(StoreUnavailable):
        await store.head(KEY)
    assert counted("s4_store_requests_total", operation="head", outcome="throttled") == before + 1


async def test_a_store_that_is_away_is_unavailable(s3_server: S3Server, contract_bucket: str) -> None:
    endpoint = f"http://127.0.0.1:{free_ports(1)[0]}"
    store = open_store(s3_settings(s3_server, contract_bucket, store_endpoint=endpoint, store_retries_max=1))

    for operation in (store.get(KEY), store.ping(), store.create(KEY, b"x", commit_id=None)):
        with pytest.raises(StoreUnavailable) as raised:
            await operation
        assert raised.value.retry_after > timedelta(0)
    await store.aclose()


async def test_refused_credentials_name_the_operation_and_the_code_and_no_secret(
    s3_server: S3Server, contract_bucket: str
) -> None:
    store = open_store(s3_settings(s3_server, contract_bucket, store_secret_access_key="wrong"))

    with pytest.raises(StoreUnavailable) as raised:
        await store.create(KEY, b"x", commit_id=None)
    assert raised.value.details == {
        "fault": "denied",
        "operation": "create",
        "code": "SignatureDoesNotMatch",
    }
    await store.aclose()


async def test_a_bucket_that_does_not_exist_is_not_an_empty_store(s3_server: S3Server) -> None:
    store = open_store(s3_settings(s3_server, "s4-no-such-bucket"))

    for operation in (store.get(KEY), store.ping(), listed(store)):
        with pytest.raises(StoreUnavailable) as raised:
            await operation
        assert raised.value.details["code"] == "NoSuchBucket"
    await store.aclose()


async def test_an_upload_costs_one_request_up_to_one_part_and_is_aborted_at_the_store(
    proxy: FaultProxy, through_proxy: Opener
) -> None:
    store = through_proxy()

    await uploaded(store, KEY, b"x" * PART_BYTES)
    assert [request.method for request in proxy.requests] == ["PUT"]

    proxy.requests.clear()
    async with store.upload(KEY) as upload:
        await upload.write(b"x" * 3 * PART_BYTES)
    assert proxy.seen("DELETE", "uploadId=") == 1


async def test_an_upload_whose_part_or_completion_fails_is_aborted_at_the_store(
    proxy: FaultProxy, through_proxy: Opener
) -> None:
    store = through_proxy()
    for number, method, path in ((1, "PUT", "partNumber=2"), (2, "POST", "uploadId=")):
        fault = proxy.add(Fault(Mode.UNAVAILABLE, method=method, path=path))
        proxy.requests.clear()
        with pytest.raises(StoreUnavailable):
            await uploaded(store, document(number), b"x" * 3 * PART_BYTES)
        assert fault.hits > 0
        assert proxy.seen("DELETE", "uploadId=") == 1
        proxy.heal()
    assert await listed(store) == []


async def test_a_completion_whose_caller_is_cancelled_is_awaited_at_the_end_and_leaves_no_parts(
    proxy: FaultProxy, through_proxy: Opener
) -> None:
    store = through_proxy(store_timeout_seconds=4.0)  # time for the parts, even on a busy machine
    fault = proxy.add(Fault(Mode.HANG, method="POST", path="uploadId="))
    task = asyncio.create_task(uploaded(store, KEY, b"x" * 3 * PART_BYTES))
    async with asyncio.timeout(60):  # an upload that fails before its completion never gets there
        await fault.hit.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    await store.aclose()

    assert proxy.seen("DELETE", "uploadId=") == 1, "cancelled, it would have left its parts in the bucket"


# -- memory, configuration


@pytest.mark.parametrize("kind", ["local", "s3"])
async def test_an_upload_and_a_download_take_the_same_memory_whatever_the_size(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    script = """
import asyncio, sys
from s4.kernel.settings import Settings
from s4.platform.objects import open_store

MIB = 1024 * 1024

def resident_peak():
    status = open("/proc/self/status").read()
    return int(status.split("VmHWM:")[1].split()[0]) * 1024

async def main():
    store = open_store(Settings.model_validate_json(sys.argv[1]))
    await store.put("tenants/warm", b"x")
    before = resident_peak()
    async with store.upload("tenants/big") as upload:
        for _ in range(64 * 16):
            await upload.write(bytes(MIB // 16))
        assert await upload.commit() == 64 * MIB
    received = 0
    async for chunk in store.stream("tenants/big"):
        received += len(chunk)
    assert received == 64 * MIB
    print((resident_peak() - before) // MIB)
    await store.aclose()

asyncio.run(main())
"""
    async with AsyncExitStack() as stack:
        settings: dict[str, Any] = {"store_url": f"file://{tmp_path}", "store_part_bytes": 8 * MIB}
        if kind == "s3":
            server = request.getfixturevalue("s3_server")
            proxy = await stack.enter_async_context(fault_proxy(server.endpoint))
            # Slow parts pile up in the memory of whoever lets them.
            proxy.add(Fault(Mode.SLOW, method="PUT", path="partNumber", delay_seconds=0.2))
            settings |= {
                "store_url": f"s3://{request.getfixturevalue('contract_bucket')}/memory",
                "store_endpoint": proxy.endpoint,
                "store_access_key_id": server.access_key,
                "store_secret_access_key": server.secret_key,
            }
        command = (sys.executable, "-c", script, json.dumps(settings))
        child = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
        output, _ = await child.communicate()

    assert child.returncode == 0
    assert int(output) < 48, "64 MiB in parts of 8 MiB: at most three parts and what the runtime takes"


async def test_the_engine_is_told_where_its_tables_lie(
    tmp_path: Path, s3_server: S3Server, contract_bucket: str
) -> None:
    local = open_store(Settings(store_url=f"file://{tmp_path}/objects"))
    memory = open_store(Settings(store_url="memory://"))
    bucket = open_store(s3_settings(s3_server, contract_bucket, store_url=f"s3://{contract_bucket}/a/b/"))

    assert local.lance_uri() == (f"{tmp_path}/objects", {})
    assert memory.lance_uri() is None
    place = bucket.lance_uri()
    assert place is not None
    assert place[0] == f"s3://{contract_bucket}/a/b"
    assert place[1]["aws_endpoint"] == s3_server.endpoint
    for each in (local, memory, bucket):
        await each.aclose()


def test_without_a_url_the_objects_lie_in_the_data_directory(tmp_path: Path) -> None:
    assert open_store(Settings(data_dir=tmp_path)).local_root == tmp_path / "objects"


@pytest.mark.parametrize(
    "url",
    ["/srv/objects", "file://host/srv", "s3://", "gs://bucket", "memory://x", "s3://key:secret@bucket", "s3://b/../c"],
)
def test_a_url_that_names_no_store_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="S4_STORE_URL"):
        open_store(Settings(store_url=url))


def test_parts_that_s3_would_refuse_are_refused_at_the_start() -> None:
    with pytest.raises(ValueError, match="5 MiB"):
        open_store(Settings(store_url="s3://bucket", store_part_bytes=MIB))
