"""Searches that go into a backup: whose documents they are of, and of which words."""

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest
import zstandard

from s4.domains.backup.model import Sample
from s4.domains.backup.samples import choose
from s4.domains.backup.snapshot import DocumentState, Snapshot
from s4.kernel import keys
from s4.kernel.ids import DocumentId, TenantId, VersionId, derived_id
from s4.kernel.settings import Settings
from s4.platform.objects import ObjectStore, open_store

POINT = datetime(2026, 1, 31, 12, tzinfo=UTC)


@pytest.fixture
async def store() -> AsyncIterator[ObjectStore]:
    opened = open_store(Settings(store_url="memory://"))
    yield opened
    await opened.aclose()


async def put(store: ObjectStore, snapshot: Snapshot, tenant: str, document: str, text: str | None) -> str:
    """A ready document; None: of which there is no text. Answers with the tenant's id."""
    tenant_id = TenantId(derived_id("ten", tenant))
    document_id, version_id = DocumentId(derived_id("doc", tenant, document)), VersionId(derived_id("ver", document))
    state = DocumentState(1, version_id, 1, "", is_ready=True)
    snapshot.documents.setdefault(tenant_id, {})[document_id] = state
    if text is not None:
        packed = zstandard.ZstdCompressor().compress(json.dumps({"text": text}).encode())
        await store.put(keys.text(tenant_id, document_id, version_id, 1), packed)
    return tenant_id


async def is_found(_: Sample) -> bool:
    return True


async def test_every_tenant_is_asked_for_something_however_many_documents_another_has(store: ObjectStore) -> None:
    snapshot = Snapshot(POINT)
    for number in range(60):
        await put(store, snapshot, "large", f"page-{number}", "Tides follow the moon.")
    small = {await put(store, snapshot, f"small-{number}", "page", "Tides follow the moon.") for number in range(30)}

    samples = await choose(store, snapshot, is_found)

    assert {sample.tenant_id for sample in samples} > small
    assert len(samples) == 31, "as many as there are tenants"


async def test_what_has_no_text_or_is_not_found_gives_way_to_what_is(store: ObjectStore) -> None:
    snapshot = Snapshot(POINT)
    for number in range(100):
        await put(store, snapshot, "acme", f"image-{number}", None)
    for number in range(3):
        await put(store, snapshot, "acme", f"page-{number}", f"page{number} of three")

    async def finds(sample: Sample) -> bool:
        return "page1" not in sample.text

    assert len(await choose(store, snapshot, finds)) == 2


@pytest.mark.parametrize(
    ("text", "asked"),
    [("4711; 12,50", "4711 12 50"), ("ok go", "ok go"), ("潮汐跟随月亮", "潮汐跟随月亮"), ("a 1 ; -", None)],
)
async def test_figures_and_short_words_are_asked_for_where_there_is_nothing_else(
    store: ObjectStore, text: str, asked: str | None
) -> None:
    snapshot = Snapshot(POINT)
    await put(store, snapshot, "acme", "figures", text)
    assert [sample.text for sample in await choose(store, snapshot, is_found)] == ([asked] if asked else [])
