"""Pages are full though few documents have all the near chunks; and how well live searches find is told."""

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from s4.domains.search import service, widening
from s4.domains.search.model import Answer, Query, Result
from s4.engine.ranking import Mode
from s4.engine.vectors import writer as writing
from s4.platform.telemetry import metrics
from tests.factories.house import House, Tenant, open_house
from tests.factories.shelves import SILENT, WORD, fill

CHUNKS = 150
NEAREST = {"field": "number", "op": "gte", "value": 0}


async def found(house: House, tenant: Tenant, **options: object) -> list[str]:
    query = Query(WORD, limit=6, **options)  # type: ignore[arg-type]
    answer = await house.core.search.search(tenant.context, query)
    return [result.document.document_id for result in answer.results]


@pytest.mark.parametrize("mode", [Mode.SEMANTIC, Mode.KEYWORD, Mode.HYBRID])
async def test_documents_of_many_near_chunks_do_not_keep_a_page_short(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: Mode
) -> None:
    monkeypatch.setattr(widening, "_CANDIDATES_MAX", 100)
    async with open_house(tmp_path) as house:
        tenant = await house.tenant()
        shelved = await fill(house, tenant, [{"number": number} for number in range(8)], chunks=CHUNKS)
        ids = [each.document_id for each in shelved]
        for filters in (None, NEAREST):
            page = await found(house, tenant, mode=mode, filters=filters)
            assert len(page) == len(set(page)) == 6
            assert mode is Mode.KEYWORD or page == ids[:6], "the nearest first"


async def test_a_table_that_is_replaced_late_in_a_long_search_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(widening, "_CANDIDATES_MAX", 100)
    async with open_house(tmp_path) as house:
        tenant = await house.tenant()
        await fill(house, tenant, [{"number": number} for number in range(8)], chunks=CHUNKS)
        page = await found(house, tenant, mode=Mode.SEMANTIC)
        tables = house.core.search._tables
        read, reads = tables.read, itertools.count(1)

        async def replaced_at_the_fifth(*of: Any) -> Any:
            return None if next(reads) == 5 else await read(*of)

        monkeypatch.setattr(tables, "read", replaced_at_the_fifth)
        assert await found(house, tenant, mode=Mode.SEMANTIC) == page
        assert next(reads) > 6


@pytest.mark.parametrize("mode", [Mode.SEMANTIC, Mode.HYBRID])
async def test_the_pages_of_a_query_are_parts_of_one_order_however_large_they_are(tmp_path: Path, mode: Mode) -> None:
    async with open_house(tmp_path) as house:
        tenant = await house.tenant()
        await fill(house, tenant, [{"number": number} for number in range(60)], chunks=5, is_mixed=True)

        async def page(offset: int, limit: int) -> Answer:
            query = Query(WORD, mode=mode, limit=limit, offset=offset)
            return await house.core.search.search(tenant.context, query)

        whole = [*(await page(0, 50)).results, *(await page(50, 50)).results]
        walked: list[Result] = []
        offset: int | None = 0
        while offset is not None:
            answer = await page(offset, 5)
            walked += answer.results
            offset = answer.next_offset
        assert [each.document for each in walked] == [each.document for each in whole]
        assert len({each.document.document_id for each in walked}) == 60
        scores = [each.score for each in walked]
        assert scores == sorted(scores, reverse=True) == [each.score for each in whole]


async def test_near_documents_that_pass_are_found_though_those_that_match_fill_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The nearest hundred do not pass; the next do; the farthest seventy pass and match."""
    async with open_house(tmp_path) as house:
        tenant = await house.tenant()
        await fill(house, tenant, [{"number": number} for number in range(400)], silent=330)
        passing = {"field": "number", "op": "gte", "value": 120}
        among_those_named = await found(house, tenant, filters=passing)
        monkeypatch.setattr(service, "_PREFILTER_IDS_MAX", 50)
        assert await found(house, tenant, filters=passing) == among_those_named


async def test_what_scores_enough_is_found_though_others_are_nearer_and_others_match_better(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The nearest ten do not say the word, and the farthest fifteen say nothing else. One is near and says it."""
    texts = [SILENT] * 10 + [f"{WORD} {SILENT} {SILENT}"] + [SILENT] * 204 + [WORD] * 15
    async with open_house(tmp_path, search_candidates=10) as house:
        tenant = await house.tenant()
        shelved = await fill(house, tenant, [{"number": number} for number in range(len(texts))], texts=texts)
        assert shelved[10].document_id not in await found(house, tenant)
        tables = house.core.search._tables
        read, reads = tables.read, itertools.count()

        async def counted(*of: Any) -> Any:
            next(reads)
            return await read(*of)

        monkeypatch.setattr(tables, "read", counted)
        assert await found(house, tenant, min_score=0.55) == [shelved[10].document_id]
        assert next(reads) > 1
        monkeypatch.setattr(tables, "read", read)
        assert await found(house, tenant, min_score=0.55, filters=NEAREST) == [shelved[10].document_id]

        reads = itertools.count()
        monkeypatch.setattr(tables, "read", counted)
        assert await found(house, tenant, min_score=0.99) == []
        assert next(reads) == 1, "nothing can score so much that is not among the nearest or the best matches"


async def test_a_search_of_an_indexed_table_has_its_recall_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writing, "VECTOR_INDEX_ROWS_MIN", 500)
    async with open_house(tmp_path, search_recall_share=1.0) as house:
        large, small = await house.tenant("Large"), await house.tenant("Small")
        await fill(house, large, [{"number": number} for number in range(600)])
        await fill(house, small, [{"number": number} for number in range(5)])
        before = _told()
        assert await found(house, large, mode=Mode.SEMANTIC)
        await house.core.recall.settled()
        compared, recall = np.subtract(_told(), before)
        assert compared == 1
        assert 0 < recall <= 1

        for options in ({"mode": Mode.KEYWORD}, {"filters": NEAREST | {"value": 590}}):
            assert await found(house, large, **options)
        monkeypatch.setattr(house.core.recall, "_rest_until", 0.0)
        assert await found(house, small)
        await house.core.recall.settled()
        assert _told()[0] - before[0] == 1, "by keyword, among few, in a small table: nothing is approximate there"


def _told() -> tuple[float, float]:
    return metrics.INDEX_RECALL_SAMPLES.labels("compared")._value.get(), metrics.INDEX_RECALL._sum.get()
