"""The contract of the object store, on every backend: a directory, memory, a bucket of a real S3, one of Google's."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from obstore.store import MemoryStore

from s4.kernel import keys
from s4.kernel.errors import RangeNotSatisfiable
from s4.kernel.keys import ObjectKey, ObjectPrefix
from s4.kernel.settings import Settings
from s4.kernel.units import MIB
from s4.platform.objects import (
    NOT_IMPLEMENTED,
    CreateOutcome,
    ObjectMissing,
    ObjectStore,
    StoreUnavailable,
    open_store,
)
from s4.platform.objects.remote import RemoteBackend
from tests.contracts.object_stores import (
    KEY,
    PART_BYTES,
    assert_nothing_left,
    counted,
    document,
    gs_settings,
    head_data,
    listed,
    s3_settings,
    streamed,
    uploaded,
)
from tests.fault_proxy import Fault, Mode, fault_proxy
from tests.servers import GoogleServer, S3Server


@pytest.fixture(params=["local", "memory", "s3", "gs"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[ObjectStore]:
    match request.param:
        case "local":
            settings = Settings(store_url=f"file://{tmp_path}/objects", store_part_bytes=PART_BYTES)
        case "memory":
            settings = Settings(store_url="memory://", store_part_bytes=PART_BYTES)
        case "gs":
            google = request.getfixturevalue("google_server")
            settings = gs_settings(google, request.getfixturevalue("google_bucket"))
        case _:
            server = request.getfixturevalue("s3_server")
            settings = s3_settings(server, request.getfixturevalue("s3_shared_bucket"))
    opened = open_store(settings)
    yield opened
    await opened.aclose()


# -- creation


async def test_an_object_is_created_once_and_stays_what_it_was(store: ObjectStore) -> None:
    first = await store.create(KEY, head_data("aaa"), commit_id="aaa")
    second = await store.create(KEY, head_data("bbb"), commit_id="bbb")

    assert (first, second) == (CreateOutcome.CREATED, CreateOutcome.TAKEN)
    assert await store.get(KEY) == head_data("aaa")


async def test_creating_the_same_bytes_again_is_recognised_as_ones_own(store: ObjectStore) -> None:
    await store.create(KEY, head_data("aaa"), commit_id="aaa")

    assert await store.create(KEY, head_data("aaa"), commit_id="aaa") is CreateOutcome.CREATED


async def test_a_copy_is_another_object_with_the_same_bytes(store: ObjectStore) -> None:
    source, target = document(1), document(2)
    await store.put(target, b"something else")
    size_bytes = await uploaded(store, source, b"x" * 300_000)
    try:
        await store.copy(source, target, size_bytes=size_bytes)
    except StoreUnavailable as error:
        if error.details["code"] not in NOT_IMPLEMENTED:
            raise
        pytest.skip("the emulator of Google's storage has no copies by its XML interface")
    await store.delete([source])
    assert await store.get(target) == b"x" * 300_000
    with pytest.raises(ObjectMissing):
        await store.copy(source, target, size_bytes=1)


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


@pytest.mark.processes
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


# -- memory, configuration


@pytest.mark.parametrize("kind", ["local", "s3", "gs"])
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
        for _ in range(96 * 16):
            await upload.write(bytes(MIB // 16))
        assert await upload.commit() == 96 * MIB
    received = 0
    async for chunk in store.stream("tenants/big"):
        received += len(chunk)
    assert received == 96 * MIB
    print((resident_peak() - before) // MIB)
    await store.aclose()

asyncio.run(main())
"""
    async with AsyncExitStack() as stack:
        settings: dict[str, Any] = {"store_url": f"file://{tmp_path}", "store_part_bytes": 8 * MIB}
        if kind == "s3":
            server: S3Server = request.getfixturevalue("s3_server")
            settings |= {
                "store_url": f"s3://{request.getfixturevalue('s3_shared_bucket')}/memory",
                "store_endpoint": server.endpoint,
                "store_access_key_id": server.access_key,
                "store_secret_access_key": server.secret_key,
            }
        if kind == "gs":
            google: GoogleServer = request.getfixturevalue("google_server")
            settings |= {
                "store_url": f"gs://{request.getfixturevalue('google_bucket')}/memory",
                "store_endpoint": google.endpoint,
                "store_google_key_file": str(google.key_file()),
            }
        if kind != "local":
            proxy = await stack.enter_async_context(fault_proxy(settings["store_endpoint"]))
            # Slow parts pile up in the memory of whoever lets them.
            proxy.add(Fault(Mode.SLOW, method="PUT", path="partNumber", delay_seconds=0.4))
            settings["store_endpoint"] = proxy.endpoint
        command = (sys.executable, "-c", script, json.dumps(settings))
        child = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
        output, _ = await child.communicate()

    assert child.returncode == 0
    assert int(output) < 48, "96 MiB in parts of 8 MiB: at most three parts and what the runtime takes"


async def test_the_engine_is_told_where_its_tables_lie(
    tmp_path: Path, s3_server: S3Server, s3_shared_bucket: str, google_server: GoogleServer
) -> None:
    local = open_store(Settings(store_url=f"file://{tmp_path}/objects"))
    memory = open_store(Settings(store_url="memory://"))
    bucket = open_store(s3_settings(s3_server, s3_shared_bucket, store_url=f"s3://{s3_shared_bucket}/a/b/"))
    googles = open_store(
        gs_settings(google_server, "b", store_url="gs://b/a/", store_endpoint=f"{google_server.endpoint}/")
    )

    assert local.lance_uri() == (f"{tmp_path}/objects", {})
    assert memory.lance_uri() is None
    place = bucket.lance_uri()
    assert place is not None
    assert place[0] == f"s3://{s3_shared_bucket}/a/b"
    assert place[1]["aws_endpoint"] == s3_server.endpoint
    assert googles.lance_uri() == (
        "gs://b/a",
        {
            "allow_http": "true",
            "connect_timeout": "3000ms",
            "timeout": "30000ms",
            "client_max_retries": "4",
            "google_base_url": google_server.endpoint,
            "google_service_account": str(google_server.key_file()),
        },
    )
    for each in (local, memory, bucket, googles):
        await each.aclose()


def test_without_a_url_the_objects_lie_in_the_data_directory(tmp_path: Path) -> None:
    assert open_store(Settings(data_dir=tmp_path)).local_root == tmp_path / "objects"


@pytest.mark.parametrize(
    "url",
    [
        "/srv/objects",
        "file://host/srv",
        "s3://",
        "gs://",
        "gs://b/../c",
        "memory://x",
        "s3://key:secret@bucket",
        "s3://b/../c",
    ],
)
def test_a_url_that_names_no_store_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="store_url"):
        Settings(store_url=url)


@pytest.mark.parametrize("scheme", ["s3", "gs"])
def test_parts_that_a_bucket_would_refuse_are_refused_at_the_start(scheme: str) -> None:
    with pytest.raises(ValueError, match="5 MiB"):
        Settings(store_url=f"{scheme}://bucket", store_part_bytes=MIB)
