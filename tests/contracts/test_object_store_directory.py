"""What only a directory must do: sync, prune, sweep, and decide races between processes."""

import asyncio
import errno
import os
import re
import stat
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from s4.kernel import keys
from s4.kernel.errors import Unavailable
from s4.kernel.keys import ObjectKey
from s4.kernel.settings import Settings
from s4.platform.objects import (
    CreateOutcome,
    ObjectStore,
    open_store,
)
from s4.platform.objects.local import LocalBackend
from tests.contracts.object_stores import KEY, assert_nothing_left, document, listed, uploaded


@pytest.fixture
async def local(tmp_path: Path) -> AsyncIterator[ObjectStore]:
    opened = open_store(Settings(store_url=f"file://{tmp_path}/objects"))
    yield opened
    await opened.aclose()


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
