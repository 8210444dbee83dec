"""The chunk index on a real LanceDB in a temporary directory."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from pathlib import Path

import lancedb
import numpy as np
import pytest

from s4.engine.vectors import ChunkRow, Hit, TableWriter, VectorStore, chunk_id
from s4.kernel.errors import DataCorrupt, Unavailable

PREFIX = "indices/ten_a/gen_a/"
DIMENSION = 8
NO_GRACE = timedelta(0)


def open_store(path: Path, *, handles_max: int = 10) -> VectorStore:
    return VectorStore(
        str(path),
        storage_options={},
        index_cache_bytes=16 << 20,
        metadata_cache_bytes=16 << 20,
        handles_max=handles_max,
        read_timeout=timedelta(seconds=30),
    )


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[VectorStore]:
    store = open_store(tmp_path)
    yield store
    await store.close()


@pytest.fixture
async def writer(store: VectorStore) -> AsyncIterator[TableWriter]:
    writer = await store.writer(PREFIX, DIMENSION)
    yield writer
    await writer.close()


def direction(*weights: float) -> np.ndarray:
    vector = np.zeros(DIMENSION, np.float32)
    vector[: len(weights)] = weights
    return vector


def row(
    document_id: str, text: str, *, revision: int = 1, ordinal: int = 0, vector: np.ndarray | None = None
) -> ChunkRow:
    return ChunkRow(
        chunk_id=chunk_id(document_id, revision, ordinal),
        document_id=document_id,
        revision=revision,
        ordinal=ordinal,
        text=text,
        vector=direction(1.0) if vector is None else vector,
        page=None,
        char_start=0,
        char_end=len(text),
        heading=None,
    )


async def search(
    store: VectorStore,
    version: int,
    text: str | None = None,
    *,
    vector: np.ndarray | None = None,
    document_ids: Sequence[str] | None = None,
    limit: int = 100,
) -> dict[str, Hit]:
    reader = await store.reader(PREFIX, version)
    assert reader is not None
    hits = await reader.search(query_text=text, vector=vector, limit=limit, document_ids=document_ids)
    assert len({hit.chunk_id for hit in hits}) == len(hits)
    return {hit.chunk_id: hit for hit in hits}


async def pairs(store: VectorStore, version: int) -> dict[tuple[str, int], int]:
    reader = await store.reader(PREFIX, version)
    assert reader is not None
    return await reader.all_pairs()


async def test_a_table_that_was_never_written_has_no_reader(store: VectorStore) -> None:
    assert await store.reader(PREFIX, 1) is None


async def test_a_row_comes_back_as_it_was_written(store: VectorStore, writer: TableWriter) -> None:
    written = ChunkRow(chunk_id("doc_a", 3, 7), "doc_a", 3, 7, "Größe 🙂", direction(0.6, 0.8), 4, 10, 17, "A > B")

    version = await writer.apply([written])

    reader = await store.reader(PREFIX, version)
    assert reader is not None
    (read,) = await reader.document_rows("doc_a")
    np.testing.assert_array_equal(read.vector, written.vector)
    (hit,) = (await search(store, version, "größe", vector=direction(1.0))).values()
    for name in ("chunk_id", "document_id", "revision", "ordinal", "text", "page", "char_start", "heading"):
        assert getattr(read, name) == getattr(hit, name) == getattr(written, name)
    assert hit.semantic == pytest.approx(0.6)
    assert hit.keyword is not None
    assert hit.keyword > 0


async def test_a_repeated_write_doubles_nothing(store: VectorStore, writer: TableWriter) -> None:
    rows = [row("doc_a", "one", ordinal=0), row("doc_a", "two", ordinal=1), row("doc_b", "three")]
    await writer.apply(rows)

    again = await store.writer(PREFIX, DIMENSION)
    version = await again.apply([*rows, rows[0]])
    await again.close()

    assert await pairs(store, version) == {("doc_a", 1): 2, ("doc_b", 1): 1}


async def test_a_replaced_document_stays_at_the_old_version_and_is_gone_in_the_new(
    store: VectorStore, writer: TableWriter
) -> None:
    before = await writer.apply([row("doc_a", "old words", ordinal=n) for n in range(3)])

    after = await writer.apply([row("doc_a", "new words", revision=2)])

    assert await pairs(store, before) == {("doc_a", 1): 3}
    assert await pairs(store, after) == {("doc_a", 2): 1}
    assert {hit.text for hit in (await search(store, before, "words")).values()} == {"old words"}
    assert {hit.text for hit in (await search(store, after, "words")).values()} == {"new words"}


async def test_a_late_writer_takes_away_nothing_newer(store: VectorStore, writer: TableWriter) -> None:
    await writer.apply([row("doc_a", "newest", revision=3)])
    late = await store.writer(PREFIX, DIMENSION)

    version = await late.apply([row("doc_a", "late", revision=2)])

    assert await pairs(store, version) == {("doc_a", 3): 1, ("doc_a", 2): 1}
    version = await late.prune([("doc_a", 2)])
    assert await pairs(store, version) == {("doc_a", 3): 1}
    await late.close()


async def test_removal_takes_only_lower_revisions_of_the_named_documents(
    store: VectorStore, writer: TableWriter
) -> None:
    await writer.apply([row("doc_a", "x"), row("doc_b", "x", revision=2), row("doc_c", "x")])

    version = await writer.apply([], removals={"doc_a": 2, "doc_b": 2})

    assert await pairs(store, version) == {("doc_b", 2): 1, ("doc_c", 1): 1}


async def test_one_write_may_add_and_remove(store: VectorStore, writer: TableWriter) -> None:
    await writer.apply([row("doc_a", "x"), row("doc_b", "x")])

    version = await writer.apply([row("doc_b", "y", revision=2)], removals={"doc_a": 5})

    assert await pairs(store, version) == {("doc_b", 2): 1}


async def test_rows_below_their_own_removal_do_not_stay(store: VectorStore, writer: TableWriter) -> None:
    version = await writer.apply([row("doc_a", "x"), row("doc_b", "x")], removals={"doc_a": 2})

    assert await pairs(store, version) == {("doc_b", 1): 1}


async def test_ids_with_quotes_select_only_themselves(store: VectorStore, writer: TableWriter) -> None:
    hostile = "doc' OR '1' = '1"
    await writer.apply([row(hostile, "x"), row("doc_b", "x")])

    version = await writer.apply([], removals={hostile: 2})

    assert await pairs(store, version) == {("doc_b", 1): 1}


async def test_writers_at_once_lose_nothing_and_double_nothing(tmp_path: Path) -> None:
    stores = [open_store(tmp_path) for _ in range(3)]
    writers = [await store.writer(PREFIX, DIMENSION) for store in stores]

    for n in range(10):
        shared = [row(f"doc_shared_{n}", "same", ordinal=ordinal) for ordinal in range(3)]
        versions = await asyncio.gather(
            *(writer.apply([*shared, row(f"doc_{n}_{i}", "own")]) for i, writer in enumerate(writers))
        )

    expected = {(f"doc_{n}_{i}", 1): 1 for n in range(10) for i in range(3)}
    expected |= {(f"doc_shared_{n}", 1): 3 for n in range(10)}
    assert await pairs(stores[0], max(versions)) == expected
    for store, writer in zip(stores, writers, strict=True):
        await writer.close()
        await store.close()


async def test_a_writer_mends_a_table_that_a_crash_left_without_indices(store: VectorStore, tmp_path: Path) -> None:
    writer = await store.writer(PREFIX, DIMENSION)
    await writer.apply([row("doc_a", "x")])
    await writer.close()
    connection = await lancedb.connect_async(str(tmp_path / PREFIX))
    table = await connection.open_table("chunks")
    await table.drop_index("terms_idx")

    writer = await store.writer(PREFIX, DIMENSION)
    version = await writer.apply([row("doc_b", "x")])
    await writer.close()

    assert len(await search(store, version, "x")) == 2
    await table.checkout_latest()
    assert "terms_idx" in {index.name for index in await table.list_indices()}


async def test_vectors_of_another_dimension_are_refused(store: VectorStore, writer: TableWriter) -> None:
    await writer.apply([row("doc_a", "x")])
    with pytest.raises(ValueError, match="vector of shape"):
        await writer.apply([row("doc_b", "x", vector=np.ones(3, np.float32))])

    other = await store.writer(PREFIX, DIMENSION + 1)
    with pytest.raises(DataCorrupt):
        await other.apply([row("doc_b", "x", vector=np.ones(DIMENSION + 1, np.float32))])
    await other.close()


async def test_a_prefilter_narrows_both_searches(store: VectorStore, writer: TableWriter) -> None:
    version = await writer.apply([row(f"doc_{n}", "apple") for n in range(20)])

    found = await search(
        store, version, "apple", vector=direction(1.0), document_ids=["doc_3", "doc_7", "doc_x'"], limit=2
    )

    assert {hit.document_id for hit in found.values()} == {"doc_3", "doc_7"}
    assert await search(store, version, "apple", vector=direction(1.0), document_ids=[]) == {}
    many = [f"doc_{n}" for n in range(10_000)]
    assert len(await search(store, version, "apple", document_ids=many)) == 20


async def test_a_chunk_scores_the_same_under_every_filter(store: VectorStore, writer: TableWriter) -> None:
    """BM25 weighs a word by how rare it is; the rows that a filter leaves must not decide that."""
    texts = [f"report {n} about zebra migration" if n % 3 else f"report {n} about trains" for n in range(30)]
    version = await writer.apply([row(f"doc_{n}", text) for n, text in enumerate(texts)])
    everywhere = await search(store, version, "zebra migration", limit=50)
    assert len(everywhere) == 20
    for narrowed in (["doc_1"], ["doc_1", "doc_2", "doc_3"], [f"doc_{n}" for n in range(20)]):
        hits = await search(store, version, "zebra migration", limit=50, document_ids=narrowed)
        assert hits
        assert {name: hit.keyword for name, hit in hits.items()} == {name: everywhere[name].keyword for name in hits}


async def test_hits_of_one_search_carry_the_other_score(store: VectorStore, writer: TableWriter) -> None:
    version = await writer.apply(
        [
            row("doc_near", "nothing", vector=direction(1.0)),
            row("doc_word", "apple", vector=direction(-0.6, 0.8)),
        ]
    )

    found = {
        hit.document_id: hit for hit in (await search(store, version, "apple", vector=direction(2.0), limit=1)).values()
    }

    assert found["doc_near"].semantic == pytest.approx(1.0)
    assert found["doc_near"].keyword == 0.0
    assert found["doc_word"].semantic == pytest.approx(-0.6)
    (word_only,) = (await search(store, version, "apple")).values()
    assert word_only.semantic is None
    (near_only,) = (await search(store, version, vector=direction(1.0), limit=1)).values()
    assert near_only.keyword is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "   ",
        "the of and",
        '"unclosed (AND OR -',
        "text:pear^5 ~2 *",
        "😀 🙃",
        "\x00\x01",
        "\ud800 lone",
        "a" * 10_000,
        "word " * 10_000,
        "'; DROP TABLE chunks; --",
    ],
)
async def test_no_query_text_raises(store: VectorStore, writer: TableWriter, text: str) -> None:
    version = await writer.apply([row("doc_a", "an apple")])

    assert await search(store, version, text) == {}


async def test_operators_in_a_query_are_words(store: VectorStore, writer: TableWriter) -> None:
    version = await writer.apply([row("doc_a", "an apple"), row("doc_b", "a pear")])

    assert len(await search(store, version, '"apple pear"')) == 2
    assert len(await search(store, version, "apple AND missing -pear")) == 2


async def test_words_match_across_case_accents_and_endings(store: VectorStore, writer: TableWriter) -> None:
    version = await writer.apply([row("doc_a", "The runner was RUNNING to the café")])

    for text in ("runs", "CAFE", "Café", "running"):
        assert len(await search(store, version, text)) == 1, text


async def test_vectors_without_direction_find_nothing_and_match_nothing(
    store: VectorStore, writer: TableWriter
) -> None:
    version = await writer.apply([row("doc_a", "apple", vector=direction(0.0))])

    assert await search(store, version, vector=direction(0.0)) == {}
    (hit,) = (await search(store, version, "apple", vector=direction(1.0))).values()
    assert hit.semantic == 0.0


async def test_search_finds_the_same_before_and_after_optimising(store: VectorStore, writer: TableWriter) -> None:
    for n in range(6):
        version = await writer.apply([row(f"doc_{n}", f"apple {n}")])
    before = await search(store, version, "apple", vector=direction(1.0))
    stats = await writer.stats(count_versions=True)
    assert (stats.version, stats.versions, stats.rows, stats.unindexed_rows) == (version, version, 6, 6)

    report = await writer.optimize()

    assert (report.fragments_before, report.fragments_after) == (6, 1)
    assert (report.rows, report.unindexed_rows) == (6, 0)
    after = await search(store, report.version, "apple", vector=direction(1.0))
    assert after.keys() == before.keys()
    for name, hit in before.items():
        assert after[name].keyword == pytest.approx(hit.keyword, rel=1e-3)


async def test_searches_at_two_versions_do_not_disturb_each_other(store: VectorStore, writer: TableWriter) -> None:
    versions = [await writer.apply([row("doc_a", f"text {n}", revision=n)]) for n in range(1, 6)]

    found = await asyncio.gather(*(search(store, version, "text") for version in versions * 5))

    for version_index, hits in enumerate(found):
        assert [hit.revision for hit in hits.values()] == [version_index % 5 + 1]
    assert store.open_tables == 1


async def test_open_tables_are_bounded_and_reopened_when_needed(tmp_path: Path) -> None:
    store = open_store(tmp_path, handles_max=2)
    versions = {}
    for n in range(4):
        writer = await store.writer(f"indices/ten_{n}/gen_a", DIMENSION)
        versions[n] = await writer.apply([row(f"doc_{n}", "apple")])
        await writer.close()
    readers = [await store.reader(f"indices/ten_{n}/gen_a", versions[n]) for n in range(4)]

    found = await asyncio.gather(
        *(reader.search(query_text="apple", vector=None, limit=5) for reader in readers * 4 if reader)
    )

    assert [hits[0].document_id for hits in found] == [f"doc_{n}" for n in range(4)] * 4
    assert store.open_tables == 2
    await store.close()
    assert store.open_tables == 0


async def test_a_crowd_opens_a_cold_table_once(
    store: VectorStore, writer: TableWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = await writer.apply([row("doc_a", "apple")])
    opened = []
    connect = lancedb.connect_async

    async def counting(uri: str, **options: object) -> lancedb.AsyncConnection:
        opened.append(uri)
        return await connect(uri, **options)

    monkeypatch.setattr(lancedb, "connect_async", counting)
    await asyncio.gather(*(search(store, version, "apple") for _ in range(20)))

    assert len(opened) == 1


async def test_a_table_made_anew_under_the_same_name_is_read_afresh(store: VectorStore, tmp_path: Path) -> None:
    for text in ("first", "second"):
        writer = await store.writer(PREFIX, DIMENSION)
        version = await writer.apply([row("doc_a", text)])
        await writer.close()
        await store.forget(PREFIX)
        assert {hit.text for hit in (await search(store, version, text)).values()} == {text}
        shutil.rmtree(tmp_path / PREFIX)


async def test_a_store_that_does_not_answer_is_unavailable() -> None:
    store = VectorStore(
        "s3://bucket/base",
        storage_options={
            "aws_endpoint": "http://127.0.0.1:9",  # the discard port: refused at once
            "aws_region": "nowhere",
            "allow_http": "true",
            "aws_access_key_id": "a",
            "aws_secret_access_key": "b",
        },
        index_cache_bytes=1 << 20,
        metadata_cache_bytes=1 << 20,
        handles_max=1,
        read_timeout=timedelta(milliseconds=300),
    )
    with pytest.raises(Unavailable):
        await store.reader(PREFIX, 1)
