"""Pages are full though few documents have all the near chunks; and how well live searches find is told."""

from pathlib import Path

import numpy as np
import pytest

from s4.domains.search import widening
from s4.domains.search.model import Query
from s4.engine.ranking import Mode
from s4.engine.vectors import writer as writing
from s4.platform.telemetry import metrics
from tests.factories.house import House, Tenant, open_house
from tests.factories.shelves import WORD, fill

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
