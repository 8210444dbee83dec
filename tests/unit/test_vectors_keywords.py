"""Keyword search on a real LanceDB: which passages a query finds, in tables of this release and of earlier ones."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import lancedb
import numpy as np
import pytest

from s4.engine.vectors import ChunkRow, Hit, TableReader, TableWriter, VectorStore, chunk_id
from s4.engine.vectors.schema import LanceTable, table_schema, text_index_config

PREFIX = "indices/ten_a/gen_a/"
TEXTS = {
    "code": "The pump stopped with ERR-4711 after a minute.",
    "other code": "The pump stopped with ERR-4712 after a minute.",
    "codes": "Codes: ERR 47, ERR 11, 4711 pumps. Every ERR is an error of a pump.",
    "part": "Order ab_cd-99/x and R2D2.77-B from the catalogue.",
    "tides": "The tides follow the moon.",
    "moon": "The moon follows the tides, and follows them far.",
    "play": "To be, or not to be, that is the question.",
    "being": "Not that it is to be so or not.",
    "name": "Signed by Anneliese Kowalczyk in Gdańsk.",
    "german": "Die Rechnungen sind bis zum Monatsende zu begleichen, und die Größe der Häuser zählt.",
    "french": "Les élèves ont été à l'école avec des pêcheurs.",
    "chinese": "我住在东京都附近的一个小城市。",
    "japanese": "私の犬は庭で遊んでいます。",
    "korean": "우리학교에서 운동회를 합니다.",
    "titled": "It opens at nine.",
}


def row(name: str, text: str, *, title: str | None = None, heading: str | None = None) -> ChunkRow:
    vector = np.zeros(8, np.float32)
    vector[0] = 1
    return ChunkRow(chunk_id(name, 1, 0), name, 1, 0, text, vector, None, 0, len(text), heading, title)


ROWS = [
    row(
        name,
        text,
        title="Harbour library" if name == "titled" else None,
        heading="Visits" if name == "titled" else None,
    )
    for name, text in TEXTS.items()
]


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[VectorStore]:
    store = VectorStore(
        str(tmp_path),
        storage_options={},
        index_cache_bytes=16 << 20,
        metadata_cache_bytes=16 << 20,
        handles_max=10,
        read_timeout=timedelta(seconds=30),
    )
    yield store
    await store.close()


async def found(reader: TableReader | None, query: str) -> list[str]:
    """Documents, best first."""
    assert reader is not None
    hits: list[Hit] = await reader.search(query_text=query, vector=None, limit=100)
    return [hit.document_id for hit in sorted(hits, key=lambda hit: -(hit.keyword or 0))]


async def check(reader: TableReader | None) -> None:
    assert (await found(reader, "ERR-4711"))[0] == "code"
    assert (await found(reader, "why ERR-4712 and what to do with the pump"))[0] == "other code"
    assert await found(reader, "ab_cd-99/x") == ["part"]
    assert await found(reader, "r2d2.77-b") == ["part"]
    assert (await found(reader, '"tides follow the moon"'))[0] == "tides"
    assert (await found(reader, '"follows the tides"'))[0] == "moon"
    assert (await found(reader, '"to be or not to be"'))[0] == "play"
    assert {"play", "being"} <= set(await found(reader, "to be or not to be"))
    assert await found(reader, "kowalczyk") == await found(reader, "Anneliese from Gdansk") == ["name"]
    assert await found(reader, "Rechnung") == await found(reader, "grosse Haus") == ["german"]
    assert await found(reader, "ecole") == await found(reader, "pêcheur") == ["french"]
    assert await found(reader, "东京") == await found(reader, "城市") == ["chinese"]
    assert await found(reader, "犬") == ["japanese"]
    assert await found(reader, "학교") == ["korean"]
    assert await found(reader, "libraries") == await found(reader, "visiting") == ["titled"]
    assert "name" in await found(
        reader, "Kowalczyk wrote a long letter. " + "Nothing of it matters, as it goes on. " * 60
    )
    assert await found(reader, "the of and in") != []
    assert await found(reader, "?!") == []


async def test_a_query_finds_what_it_should_before_and_after_the_index_takes_it_in(store: VectorStore) -> None:
    writer: TableWriter = await store.writer(PREFIX, 8)
    version = await writer.apply(ROWS)
    await check(await store.reader(PREFIX, version))
    report = await writer.optimize()
    await writer.close()

    assert report.unindexed_rows == 0
    await check(await store.reader(PREFIX, report.version))


async def test_a_table_of_an_earlier_release_is_searched_and_written_in_its_form(
    store: VectorStore, tmp_path: Path
) -> None:
    connection = await lancedb.connect_async(str(tmp_path / PREFIX))
    table: LanceTable = await connection.create_table("chunks", schema=table_schema(8, with_terms=False))
    await table.create_index("text", config=text_index_config(), name="text_idx")

    writer = await store.writer(PREFIX, 8)
    await writer.apply(ROWS[:5])
    report = await writer.optimize()
    version = await writer.apply(ROWS[5:])
    stats = await writer.stats()
    await writer.close()

    reader = await store.reader(PREFIX, version)
    assert (report.unindexed_rows, stats.unindexed_rows) == (0, len(ROWS) - 5)
    assert set(await found(reader, "moons")) == {"tides", "moon"}
    assert await found(reader, '"Anneliese Kowalczyk"') == ["name"]
    await table.checkout_latest()
    assert {index.name for index in await table.list_indices()} == {"text_idx", "document_id_idx"}
    assert reader is not None
    assert (await reader.document_rows("tides"))[0].text == TEXTS["tides"]
