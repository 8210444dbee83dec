"""Which files a version consists of, told by its manifest, against what LanceDB itself leaves when it cleans up."""

import os
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from s4.engine.vectors import (
    FileSum,
    IndexDamaged,
    TableWriter,
    VectorStore,
    VersionGone,
    fragments_of,
    inspect,
    manifest_name,
    remove_superseded,
    superseded,
    turned,
    versions_in,
)
from s4.engine.vectors.manifest import Fragment, Manifest
from s4.kernel import keys
from s4.kernel.settings import Settings
from s4.platform.objects import ObjectStore, open_store
from tests.unit.test_vectors_store import DIMENSION, NO_GRACE, PREFIX, direction, pairs, row, search
from tests.unit.test_vectors_store import open_store as open_vectors

UNUSED = ("_transactions/", "_versions/latest_version_hint.json")


@pytest.fixture
async def objects(tmp_path: Path) -> AsyncIterator[ObjectStore]:
    store = open_store(Settings(store_url=tmp_path.as_uri()))
    yield store
    await store.aclose()


@pytest.fixture
async def vectors(objects: ObjectStore) -> AsyncIterator[VectorStore]:
    assert objects.local_root is not None
    vectors = open_vectors(objects.local_root)
    yield vectors
    await vectors.close()


@pytest.fixture
async def writer(vectors: VectorStore) -> AsyncIterator[TableWriter]:
    writer = await vectors.writer(PREFIX, DIMENSION)
    yield writer
    await writer.close()


async def files(objects: ObjectStore) -> set[str]:
    root = keys.index_table(PREFIX)
    return {info.key.removeprefix(root) async for info in objects.list(root)}


async def written(writer: TableWriter) -> int:
    """With rows of several commits, some of which are deleted, and indices that hold some of them."""
    for number in range(3):
        await writer.apply([row(f"d{number}", f"word{each}", ordinal=each) for each in range(20)])
        await writer.apply([row(f"e{number}", "word"), row(f"f{number}", "word")])
    await writer.optimize()
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
    await writer.optimize()
    version = await writer.prune([("d0", 1), ("d2", 1)])  # so that nothing is left to do but to write the rest anew
    before = await inspect(objects, PREFIX, version, {})
    version = (await writer.optimize()).version
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


async def data_bytes(objects: ObjectStore) -> int:
    return sum([info.size async for info in objects.list(PREFIX) if "/data/" in info.key])


async def tidied(objects: ObjectStore, writer: TableWriter) -> list[Fragment]:
    done = await writer.optimize(await fragments_of(objects, PREFIX, await writer.latest()))
    return await fragments_of(objects, PREFIX, done.version)


async def test_new_rows_join_the_indices_and_the_base_is_not_written_anew(
    objects: ObjectStore, vectors: VectorStore, writer: TableWriter
) -> None:
    text = "apple " + " ".join(f"filler{number}" for number in range(200))
    await writer.apply([row("base", f"{text} {ordinal}", ordinal=ordinal) for ordinal in range(400)])
    base = await tidied(objects, writer)
    before = await data_bytes(objects)
    for number in range(80):
        await writer.apply([row(f"new{number}", f"plum {number}", vector=direction(1.0, float(number)))])
        if number % 20 == 19:
            fragments = await tidied(objects, writer)

    assert fragments == [*base, replace(fragments[-1], rows=80)]
    assert await data_bytes(objects) - before < before
    stats = await writer.stats()
    assert (stats.rows, stats.unindexed_rows) == (480, 0)
    found = await search(vectors, stats.version, "plum", vector=direction(1.0), limit=100)
    assert {name.partition(":")[0] for name in found if found[name].keyword} >= {f"new{n}" for n in range(80)}


async def test_a_table_answers_as_one_that_was_merged_whole(
    objects: ObjectStore, vectors: VectorStore, writer: TableWriter
) -> None:
    """Also of rows that were in an index and were then moved."""
    await writer.apply([row("base", f"pear {ordinal}", ordinal=ordinal) for ordinal in range(200)])
    await tidied(objects, writer)
    for number in range(40):
        version = await writer.apply([row(f"new{number}", f"plum pear {number}")])
        if number % 20 == 19:
            await tidied(objects, writer)
    version = (await writer.stats()).version
    parts = await search(vectors, version, "pear plum", limit=300)

    done = await writer.optimize()

    assert done.fragments_after == 1
    whole = await search(vectors, done.version, "pear plum", limit=300)
    assert parts.keys() == whole.keys()
    for name, hit in parts.items():
        assert hit.keyword == pytest.approx(whole[name].keyword, rel=0.02)


async def dated(objects: ObjectStore, ages: dict[int, timedelta], now: datetime) -> None:
    """Makes versions as old as that."""
    assert objects.local_root is not None
    for version, age in ages.items():
        path = objects.local_root / keys.index_file(PREFIX, manifest_name(version))
        os.utime(path, ((now - age).timestamp(),) * 2)


async def test_superseded_versions_go_after_their_grace_with_all_that_only_they_name(
    objects: ObjectStore, vectors: VectorStore, writer: TableWriter
) -> None:
    for number in range(5):
        await writer.apply([row(f"d{number}", f"word{number}")])
    named = (await writer.optimize()).version
    before = await files(objects)
    long_ago = datetime.now(UTC) + timedelta(minutes=16)

    early = await remove_superseded(
        objects, PREFIX, keep_version=named, grace=timedelta(minutes=15), now=datetime.now(UTC)
    )
    assert (early.versions, early.left, await files(objects)) == (0, named - 1, before)
    removed = await remove_superseded(objects, PREFIX, keep_version=named, grace=timedelta(minutes=15), now=long_ago)

    assert (removed.versions, removed.left) == (named - 1, 0)
    assert removed.size_bytes > 0
    left = await files(objects)
    now = await inspect(objects, PREFIX, named, {})
    assert {name for name in left if not name.startswith(UNUSED)} == {*now.files, manifest_name(named)}
    assert len([name for name in left if name.startswith("_transactions/")]) == 1
    assert await pairs(vectors, named) == {(f"d{number}", 1): 1 for number in range(5)}
    after = await writer.apply([row("later", "word")])
    assert len(await pairs(vectors, after)) == 6
    again = await remove_superseded(objects, PREFIX, keep_version=named, grace=NO_GRACE, now=long_ago)
    assert (again.versions, again.left) == (0, 0), "what comes after the version of the catalog stays"


async def test_a_version_is_as_old_as_the_one_that_superseded_it(
    objects: ObjectStore, vectors: VectorStore, writer: TableWriter
) -> None:
    """A table that rested for long, and was then written: readers hold what was born long ago."""
    first = await writer.apply([row("d", "word")])
    held = await writer.apply([row("e", "word")])
    newest = await writer.apply([row("f", "word")])
    now = datetime.now(UTC)
    old = {version: timedelta(days=9) for version in range(1, first + 1)}
    await dated(objects, old | {held: timedelta(days=2), newest: timedelta(seconds=5)}, now)

    removed = await remove_superseded(objects, PREFIX, keep_version=newest, grace=timedelta(minutes=15), now=now)

    assert removed.left == 1
    assert set(await versions_in(objects, PREFIX)) == {held, newest}
    assert len(await pairs(vectors, held)) == 2
    with pytest.raises(VersionGone):
        await vectors.reader(PREFIX, first)


async def test_a_removal_that_was_cut_off_is_finished_by_the_next(
    objects: ObjectStore, writer: TableWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3):
        await writer.apply([row(f"d{number}", "word")])
    named = (await writer.optimize()).version

    def cut(_: str) -> None:
        raise ConnectionError

    async def remove() -> None:
        await remove_superseded(objects, PREFIX, keep_version=named, grace=NO_GRACE, now=datetime.now(UTC))

    with monkeypatch.context() as patched:
        patched.setattr(superseded, "failpoint", cut)
        with pytest.raises(ConnectionError):
            await remove()
    await remove()

    now = await inspect(objects, PREFIX, named, {})
    left = {name for name in await files(objects) if not name.startswith(UNUSED)}
    assert left == {*now.files, manifest_name(named)}


async def test_files_of_a_commit_that_is_under_way_stay(objects: ObjectStore, writer: TableWriter) -> None:
    for number in range(3):
        await writer.apply([row(f"d{number}", "word")])
    named = await writer.latest()
    unknown = keys.index_file(PREFIX, "data/0123.lance")
    await objects.put(unknown, b"rows")

    await remove_superseded(objects, PREFIX, keep_version=named, grace=NO_GRACE, now=datetime.now(UTC))

    assert await objects.get(unknown) == b"rows"
