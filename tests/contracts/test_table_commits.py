"""Commits of the engine to one table at once, in every kind of store: its manifests are created once, as our heads."""

import asyncio

import lancedb
import pyarrow as pa
import pytest

from s4.platform.objects import ObjectStore

WRITERS = 8


@pytest.mark.parametrize("object_store", ["local", "s3", "gs"], indirect=True)
async def test_commits_at_once_are_all_kept_one_after_the_other(object_store: ObjectStore) -> None:
    place = object_store.lance_uri()
    assert place is not None
    uri, options = f"{place[0]}/indices/ten_a/gen_a", place[1]
    first = await lancedb.connect_async(uri, storage_options=options)
    table = await first.create_table("chunks", pa.table({"writer": [-1]}))

    async def commit(writer: int) -> None:
        connection = await lancedb.connect_async(uri, storage_options=options)
        await (await connection.open_table("chunks")).add(pa.table({"writer": [writer]}))

    await asyncio.gather(*map(commit, range(WRITERS)))

    await table.checkout_latest()
    written = (await table.query().to_arrow())["writer"].to_pylist()
    assert sorted(written) == [-1, *range(WRITERS)]
    assert [each["version"] for each in await table.list_versions()] == list(range(1, WRITERS + 2))
