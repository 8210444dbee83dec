"""Documents are replaced between a search's reads and the catalog's verdicts on them: each is found all the same, once
and in one revision."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from s4.domains.search.model import Query
from s4.engine.ranking import Mode
from s4.engine.vectors import Hit
from tests.factories.house import House, Tenant, open_house

KEYS = [f"k{number}" for number in range(4)]
OLD, NEW = "An ancient walrus.", "A modern falcon and walrus."


@asynccontextmanager
async def shelved(data_dir: Path) -> AsyncIterator[tuple[House, Tenant]]:
    """With a tenant whose documents are the old ones."""
    async with open_house(data_dir) as house:
        tenant = await house.tenant()
        await put_all(house, tenant, OLD)
        yield house, tenant


async def texts(house: House, tenant: Tenant) -> dict[str | None, list[str]]:
    answer = await house.core.search.search(tenant.context, Query("walrus", mode=Mode.HYBRID, chunks_per_document=50))
    return {result.document.key: [passage.hit.text for passage in result.passages] for result in answer.results}


async def put_all(house: House, tenant: Tenant, text: str, keys: list[str] = KEYS) -> None:
    for key in keys:
        await house.put(tenant, key, text)
    await house.work()


def after_reads(
    house: House, monkeypatch: pytest.MonkeyPatch, act: Callable[[int, list[Hit] | None], Awaitable[list[Hit] | None]]
) -> None:
    """`act` gets the number of a search's read, from 1, and its hits, before the catalog judges them."""
    tables, count = house.core.search._tables, 0
    read = tables.read

    async def followed(*of: Any) -> list[Hit] | None:
        nonlocal count
        hits = await read(*of)
        count += 1
        return await act(count, hits)

    monkeypatch.setattr(tables, "read", followed)


@pytest.mark.parametrize("is_warm", [False, True], ids=["first search", "later search"])
async def test_documents_that_are_replaced_after_every_read_are_all_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_warm: bool
) -> None:
    async with shelved(tmp_path) as (house, tenant):
        if is_warm:
            assert await texts(house, tenant) == {key: [OLD] for key in KEYS}

        async def replaced(read: int, hits: list[Hit] | None) -> list[Hit] | None:
            await put_all(house, tenant, NEW if read % 2 else OLD)
            return hits

        after_reads(house, monkeypatch, replaced)
        for _ in range(3):
            found = await texts(house, tenant)
            assert sorted(found, key=str) == KEYS
            assert all(passages in ([OLD], [NEW]) for passages in found.values())


async def test_what_is_met_for_the_first_time_at_last_is_found_as_it_was_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with shelved(tmp_path) as (house, tenant):

        async def one_more_each_time(read: int, hits: list[Hit] | None) -> list[Hit] | None:
            met = {(await house.put(tenant, key, NEW)).document_id for key in KEYS[:read]}
            await house.work()
            return [hit for hit in hits or [] if hit.document_id in met]

        after_reads(house, monkeypatch, one_more_each_time)
        assert sorted(await texts(house, tenant), key=str) == KEYS


async def test_what_is_deleted_and_put_anew_meanwhile_is_not_found_by_what_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with shelved(tmp_path) as (house, tenant):
        before = await house.all(tenant)

        async def deleted_once_they_were_named(read: int, hits: list[Hit] | None) -> list[Hit] | None:
            if read == 2:
                for document in before:
                    await house.core.documents.delete(tenant.context, document.document_id)
            await put_all(house, tenant, OLD if read == 1 else NEW)
            return hits

        after_reads(house, monkeypatch, deleted_once_they_were_named)
        found = await texts(house, tenant)
        assert all(passages == [NEW] for passages in found.values())
