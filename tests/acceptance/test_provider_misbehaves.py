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
from _pytest.mark.structures import ParameterSet

from s4.domains.documents import Document, DocumentStatus
from s4.domains.indexing.queries.tables import table_state
from s4.domains.search.service import Query
from s4.engine.embedding.groups import groups
from s4.engine.ranking import Mode
from s4.engine.vectors import ChunkRow
from s4.kernel import keys
from s4.kernel.errors import Unavailable
from tests.factories.house import House, Tenant, open_house
from tests.factories.misbehaviours import MISBEHAVIOURS, refused
from tests.factories.provider import paid, spoilt
from tests.fault_proxy import Fault, FaultProxy, fault_proxy
from tests.fault_proxy import Mode as FaultMode

pytestmark = pytest.mark.processes

END_MAX = timedelta(seconds=60)
# Numbered so that they fall into six groups, which are as many requests: four in flight, two after them.
SENTENCES = [f"Sentence {number} tells of stones, rivers and birds." for number in range(803, 867)]
TEXT = "\n\n".join(SENTENCES)
GROUPS = 6
REFUSAL = refused(400)
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
            table = await table_state(connection, tenant_id, core.generation.id)
        assert table is not None
        reader = await core.vectors.reader(core.generation.prefix(tenant_id, table.incarnation), table.version)
        assert reader is not None
        rows = await reader.document_rows(document.document_id)
        # What was replaced goes a moment after the document is ready.
        return [row for row in rows if row.revision == max(row.revision for row in rows)]

    async def ended(self, tenant: Tenant, document: Document) -> Document:
        """Once it is not `processing` any more."""
        ended = await self.house.core.documents.wait(tenant.context, document.document_id, at_most=END_MAX)
        assert ended.status is not DocumentStatus.PROCESSING
        return ended

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


def named(*, slow: bool) -> list[ParameterSet]:
    return [
        pytest.param(name, id=name, marks=[pytest.mark.long] if misbehaviour.alike else [])
        for name, misbehaviour in MISBEHAVIOURS.items()
        if misbehaviour.slow is slow
    ]


@pytest.mark.parametrize("name", named(slow=False))
async def test_nothing_bad_is_stored_and_nothing_is_paid_twice(name: str, patient: Bench) -> None:
    await assert_healed(patient, name)


@pytest.mark.parametrize("name", named(slow=True))
async def test_an_answer_that_does_not_come_is_not_waited_for(name: str, hasty: Bench) -> None:
    await assert_healed(hasty, name)


# -- what costs nothing, and what an edit costs


async def test_a_reprocess_and_a_second_upload_pay_nothing(patient: Bench) -> None:
    house, tenant = patient.house, await patient.house.tenant("Again")
    patient.proxy.requests.clear()
    # Two at once, and then again: the first is not stored yet when the second asks.
    twins = [await house.put(tenant, key, TEXT) for key in ("first", "second")]
    for twin in twins:
        assert (await patient.ended(tenant, twin)).status is DocumentStatus.READY
    third = await house.put(tenant, "third", TEXT)
    await house.core.documents.reprocess(tenant.context, twins[0].document_id)
    for document in (*twins, third):
        assert (await patient.ended(tenant, document)).status is DocumentStatus.READY
        await patient.assert_honest(tenant, document)
    assert paid(patient.proxy.requests) == Counter(SENTENCES)


async def test_an_edit_pays_for_the_group_that_it_touches(patient: Bench) -> None:
    house, tenant = patient.house, await patient.house.tenant("Edit")
    document = await house.put(tenant, "report", TEXT)
    await patient.ended(tenant, document)
    patient.proxy.requests.clear()
    edited = [*SENTENCES]
    edited[30] = "This sentence was written anew, about stones and rivers."
    await house.put(tenant, "report", "\n\n".join(edited))
    assert (await patient.ended(tenant, document)).status is DocumentStatus.READY
    assert [row.text for row in await patient.indexed(tenant, document)] == edited
    (touched,) = [edited[group.start : group.end] for group in groups(edited) if group.start <= 30 < group.end]
    assert paid(patient.proxy.requests) == Counter(touched)
    assert len(touched) <= len(SENTENCES) / 3


# -- what never heals


async def test_a_passage_that_is_always_refused_fails_its_document_and_wastes_nothing(patient: Bench) -> None:
    house, tenant = patient.house, await patient.house.tenant("Refused")
    patient.proxy.requests.clear()
    patient.proxy.add(Fault(FaultMode.ANSWER, body=SENTENCES[20].encode(), answer=REFUSAL.answer))
    try:
        document = await house.put(tenant, "report", TEXT)
        ended = await patient.ended(tenant, document)
    finally:
        patient.proxy.heal()
    assert (ended.status, ended.error_code) == (DocumentStatus.FAILED, "provider_rejected")
    assert ended.error_message is not None
    assert "a passage of this document" in ended.error_message
    assert max(paid(patient.proxy.requests).values()) == 1

    await house.core.documents.reprocess(tenant.context, document.document_id)
    assert (await patient.ended(tenant, document)).status is DocumentStatus.READY
    await patient.assert_honest(tenant, document)
    assert paid(patient.proxy.requests) == Counter(SENTENCES), "what the failed attempt was answered is kept"


@pytest.mark.parametrize(
    "name", ["401", "NaN", *(pytest.param(name, marks=pytest.mark.long) for name in ("500", "HTML", "a reset"))]
)
async def test_what_never_heals_ends_failed_and_is_not_bought_over_and_over(
    name: str, tmp_path: Path, real_model: str, remembered: dict[bytes, bytes]
) -> None:
    patience = {"job_patience_hours": 3 / 3600, "embedding_retries_max": 5}
    async with bench(tmp_path, real_model, remembered, **patience) as opened:
        house, tenant = opened.house, await opened.house.tenant(name)
        found = await house.put(tenant, "found", "An earlier sentence about rivers.")
        await opened.ended(tenant, found)
        opened.proxy.requests.clear()
        opened.proxy.add(MISBEHAVIOURS[name].fault())
        document = await house.put(tenant, "report", TEXT)
        ended = await opened.ended(tenant, document)
        assert (ended.status, ended.error_code) == (DocumentStatus.FAILED, "dependency_unavailable")
        assert ended.error_message is not None
        assert "reprocess the document" in ended.error_message
        bought = paid(opened.proxy.requests)
        assert max(bought.values(), default=0) <= 6, bought

        answer = await house.core.search.search(tenant.context, Query("rivers", mode=Mode.HYBRID))
        assert [result.document.document_id for result in answer.results] == [found.document_id]
        assert answer.degraded
        with pytest.raises(Unavailable) as caught:
            await house.core.search.search(tenant.context, Query("rivers", mode=Mode.SEMANTIC))
        assert caught.value.retry_after > timedelta()

        opened.proxy.heal()
        await house.core.documents.reprocess(tenant.context, document.document_id)
        assert (await opened.ended(tenant, document)).status is DocumentStatus.READY
        assert not (await house.core.search.search(tenant.context, Query("rivers"))).degraded
