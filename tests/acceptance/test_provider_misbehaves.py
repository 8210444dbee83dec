"""A real embedding model behind a provider that misbehaves in every known way, in the middle of a document.

Whatever happens, the vectors in the index are those of a well-behaved run, each text is answered once, and what is on
the bill a second time is what the provider spoilt.
"""

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from s4.domains.documents import Document, DocumentStatus
from s4.domains.indexing.queries import table_version
from s4.engine.vectors import ChunkRow
from s4.kernel import keys
from tests.factories.house import House, Tenant, open_house
from tests.factories.misbehaviours import MISBEHAVIOURS
from tests.factories.provider import paid, spoilt
from tests.fault_proxy import FaultProxy, fault_proxy

END_SECONDS_MAX = 60
# Numbered so that they fall into six groups, which are as many requests: four in flight, two after them.
SENTENCES = [f"Sentence {number} tells of stones, rivers and birds." for number in range(803, 867)]
TEXT = "\n\n".join(SENTENCES)
GROUPS = 6
SETTINGS = {
    "embedding_provider": "openai",
    "embedding_model": "e5-small",
    "embedding_retries_max": 1,
    "embedding_probe_seconds_max": 0.2,
    "chunk_tokens_max": 16,
    "chunk_overlap_tokens": 0,
    "job_poll_seconds": 0.02,
    "job_backoff_seconds": 0.05,
    "job_attempts_max": 2,
}


@dataclass
class Bench:
    """One house for all misbehaviours, each with a tenant of its own: tenants share no vectors."""

    house: House
    proxy: FaultProxy
    honest: list[ChunkRow]
    """What a well-behaved provider makes of `TEXT`."""

    async def indexed(self, tenant: Tenant, document: Document) -> list[ChunkRow]:
        """The document's rows in the index."""
        core, tenant_id = self.house.core, tenant.context.tenant_id
        async with core.database.read() as connection:
            version = await table_version(connection, tenant_id, core.generation.id)
        assert version is not None
        reader = await core.vectors.reader(core.generation.prefix(tenant_id), version)
        assert reader is not None
        return await reader.document_rows(document.document_id)

    async def ended(self, tenant: Tenant, document: Document) -> Document:
        """Once it is not `processing` any more."""
        async with asyncio.timeout(END_SECONDS_MAX):
            while True:
                now = await self.house.get(tenant, document.document_id)
                if now.status is not DocumentStatus.PROCESSING:
                    return now
                await asyncio.sleep(0.01)

    async def assert_honest(self, tenant: Tenant, document: Document) -> None:
        """The document's vectors, in the index and in the cache, are those of the well-behaved run."""
        rows = await self.indexed(tenant, document)
        assert [row.text for row in rows] == [row.text for row in self.honest]
        assert np.allclose([row.vector for row in rows], [row.vector for row in self.honest], atol=1e-6)
        kept = [entry async for entry in self.house.core.store.list(keys.embeddings(tenant.context.tenant_id))]
        assert len(kept) == GROUPS


@contextlib.asynccontextmanager
async def bench(data_dir: Path, model: str, remembered: dict[bytes, bytes], **settings: Any) -> AsyncIterator[Bench]:
    """With its worker at work."""
    async with fault_proxy(model, remembered=remembered) as proxy:
        settings = SETTINGS | {"embedding_base_url": f"{proxy.endpoint}/v1"} | settings
        async with open_house(data_dir, **settings) as house:
            running = asyncio.create_task(house.parts.worker.run())
            try:
                opened = Bench(house, proxy, [])
                tenant = await house.tenant("Honest")
                document = await house.put(tenant, "honest", TEXT)
                assert (await opened.ended(tenant, document)).status is DocumentStatus.READY
                opened.honest = await opened.indexed(tenant, document)
                yield opened
            finally:
                await house.parts.worker.stop(within=timedelta(seconds=5))
                await running


@pytest.fixture(scope="module")
def remembered() -> dict[bytes, bytes]:
    """The model's answers: it is slow and gives the same to all tenants, so it is asked once."""
    return {}


@pytest.fixture(scope="module")
async def patient(
    tmp_path_factory: pytest.TempPathFactory, real_model: str, remembered: dict[bytes, bytes]
) -> AsyncIterator[Bench]:
    """Waits long for an answer: the model may be slow."""
    async with bench(tmp_path_factory.mktemp("patient"), real_model, remembered) as opened:
        assert [row.text for row in opened.honest] == SENTENCES
        assert paid(opened.proxy.requests) == Counter(SENTENCES)
        assert sum(1 for request in opened.proxy.requests if paid([request])) == GROUPS
        yield opened


@pytest.fixture(scope="module")
async def hasty(
    tmp_path_factory: pytest.TempPathFactory, real_model: str, remembered: dict[bytes, bytes], patient: Bench
) -> AsyncIterator[Bench]:
    """Gives an answer up after a second and a half; the answers that it wants are remembered by now."""
    folder = tmp_path_factory.mktemp("hasty")
    async with bench(folder, real_model, remembered, embedding_timeout_seconds=1.5) as opened:
        yield opened


async def assert_healed(bench: Bench, name: str) -> None:
    """The provider misbehaves from its second answer on, three times, while a document is embedded."""
    misbehaviour = MISBEHAVIOURS[name]
    tenant = await bench.house.tenant(name)
    bench.proxy.requests.clear()
    fault = bench.proxy.add(misbehaviour.fault(skip=1, count=3))
    try:
        document = await bench.house.put(tenant, "report", TEXT)
        ended = await bench.ended(tenant, document)
    finally:
        bench.proxy.heal()
    assert (ended.status, ended.error_code) == (DocumentStatus.READY, None)
    await bench.assert_honest(tenant, document)
    assert fault.hits == 3
    lost = Counter() if misbehaviour.harmless else spoilt(bench.proxy.requests)
    assert paid(bench.proxy.requests) == Counter(SENTENCES) + lost


@pytest.mark.parametrize("name", [name for name, misbehaviour in MISBEHAVIOURS.items() if not misbehaviour.slow])
async def test_nothing_bad_is_stored_and_nothing_is_paid_twice(name: str, patient: Bench) -> None:
    await assert_healed(patient, name)


@pytest.mark.parametrize("name", [name for name, misbehaviour in MISBEHAVIOURS.items() if misbehaviour.slow])
async def test_an_answer_that_does_not_come_is_not_waited_for(name: str, hasty: Bench) -> None:
    await assert_healed(hasty, name)
