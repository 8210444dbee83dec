"""Which files a version consists of, told by its manifest, against what LanceDB itself leaves when it cleans up."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from s4.engine.vectors import FileSum, IndexDamaged, TableWriter, inspect, manifest_name, turned
from s4.engine.vectors.manifest import Manifest
from s4.kernel import keys
from s4.kernel.settings import Settings
from s4.platform.objects import ObjectStore, open_store
from tests.unit.test_vectors_store import BRIEF, DIMENSION, NO_GRACE, PREFIX, row
from tests.unit.test_vectors_store import open_store as open_vectors

UNUSED = ("_transactions/", "_versions/latest_version_hint.json")


@pytest.fixture
async def objects(tmp_path: Path) -> AsyncIterator[ObjectStore]:
    store = open_store(Settings(store_url=tmp_path.as_uri()))
    yield store
    await store.aclose()


@pytest.fixture
async def writer(objects: ObjectStore) -> AsyncIterator[TableWriter]:
    assert objects.local_root is not None
    vectors = open_vectors(objects.local_root)
    writer = await vectors.writer(PREFIX, DIMENSION)
    yield writer
    await writer.close()
    await vectors.close()


async def files(objects: ObjectStore) -> set[str]:
    root = keys.index_table(PREFIX)
    return {info.key.removeprefix(root) async for info in objects.list(root)}


async def written(writer: TableWriter) -> int:
    """With rows of several commits, some of which are deleted, and indices that hold some of them."""
    for number in range(3):
        await writer.apply([row(f"d{number}", f"word{each}", ordinal=each) for each in range(20)])
        await writer.apply([row(f"e{number}", "word"), row(f"f{number}", "word")])
    await writer.optimize(grace=NO_GRACE, margin=BRIEF)
    await writer.apply([row("d1", "word", revision=2)])
    return await writer.prune([("e1", 1)])


@pytest.mark.filterwarnings("ignore:optimize.cleanup_older_than=0")
async def test_a_versions_files_are_exactly_those_that_a_clean_up_leaves(
    objects: ObjectStore, writer: TableWriter
) -> None:
    await written(writer)
    table = await writer._open()
    for _ in range(2):  # the first one cleans up before it is done with the indices
        await table.optimize(cleanup_older_than=NO_GRACE, delete_unverified=True)
    before = await writer.latest()
    version = await writer.prune([("e0", 1)])  # of a file with other rows
    found = await inspect(objects, PREFIX, version, {})
    left = {name for name in await files(objects) if not name.startswith(UNUSED)} - {manifest_name(before)}
    assert {*found.files, manifest_name(version)} == left == set(found.sums)
    assert {name.partition("/")[0] for name in left} == {"data", "_indices", "_deletions", "_versions"}


async def test_what_compaction_replaced_is_not_missed(objects: ObjectStore, writer: TableWriter) -> None:
    """The manifest still speaks of it: in the transaction by which it came to be."""
    await written(writer)
    await writer.optimize(grace=NO_GRACE, margin=BRIEF)
    version = await writer.prune([("d0", 1), ("d2", 1)])  # so that nothing is left to do but to write the rest anew
    before = await inspect(objects, PREFIX, version, {})
    version = (await writer.optimize(grace=NO_GRACE, margin=BRIEF)).version
    after = await inspect(objects, PREFIX, version, before.sums)
    assert not after.damaged
    gone = set(before.files) - set(after.files)
    assert gone
    await objects.delete([keys.index_file(PREFIX, name) for name in gone])
    assert not (await inspect(objects, PREFIX, version, before.sums)).damaged


async def test_every_file_is_missed_and_no_other(objects: ObjectStore, writer: TableWriter) -> None:
    version = await written(writer)
    known = (await inspect(objects, PREFIX, version, {})).sums
    for name in sorted(await files(objects)):
        key = keys.index_file(PREFIX, name)
        data = await objects.get(key)
        await objects.delete([key])
        found = await inspect(objects, PREFIX, version, known)
        assert found.damaged == ([name] if name in known else [])
        await objects.put(key, data)


async def test_a_file_that_has_turned_is_told_by_reading_it(objects: ObjectStore, writer: TableWriter) -> None:
    version = await written(writer)
    known = (await inspect(objects, PREFIX, version, {})).sums
    name = next(name for name in sorted(known) if name.startswith("data/"))
    key = keys.index_file(PREFIX, name)
    assert await turned(objects, PREFIX, known) == []
    await objects.put(key, bytes(byte ^ 1 for byte in await objects.get(key)))
    assert await turned(objects, PREFIX, known) == [name]
    await objects.delete([key])
    assert await turned(objects, PREFIX, known) == [name]


@pytest.mark.parametrize("data", [b"", b"LANC", b"\xff" * 40 + b"LANC", b"something else entirely"])
def test_what_is_no_manifest_is_damaged(data: bytes) -> None:
    with pytest.raises(IndexDamaged):
        Manifest(data)


def test_sums_disagree_only_where_both_are_known() -> None:
    assert FileSum(3, "a").agrees(FileSum(3, "a"))
    assert FileSum(3, "a").agrees(FileSum(3, None))
    assert not FileSum(3, "a").agrees(FileSum(3, "b"))
    assert not FileSum(3, None).agrees(FileSum(4, None))
