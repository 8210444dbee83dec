"""Random histories of uploads, replacements, patches, deletions and crashes, held against a small reference model.

The model knows what each acknowledged operation did and at which revision. Operations of a process that died may have
happened or not; the bucket's chain tells which. Whatever the history: catalog, bucket and what a rebuild from the
bucket alone would say are one state, it follows from the acknowledged operations, and the balance equals a recount.
"""

import asyncio
import hashlib
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from s4.domains import usage
from s4.domains.documents.chain import subject
from s4.domains.documents.queries import rows
from s4.domains.tenants.chain import subject as tenant_subject
from s4.kernel import keys
from s4.kernel.context import TenantContext
from s4.kernel.errors import NotFound
from s4.kernel.ids import DocumentId, document_id_for_key
from s4.kernel.settings import Settings
from s4.platform.chains import ABANDONED, Fenced
from s4.platform.database import Database
from s4.platform.objects import ObjectStore, open_store
from tests.factories.catalog import open_catalog, seeded, sqlite_url
from tests.factories.histories import SETTINGS, doom, dying_at
from tests.factories.process import MiniProcess, ProcessDied

pytestmark = pytest.mark.processes  # half a minute of a processor

KEYS = ["a", "b"]
STEPS = ["upload.opened", "upload.streamed", "document.sealed", "document.committed", "document.settled"]
CRASHES = [None, None, None, *STEPS]
LEASE = timedelta(milliseconds=50)
"""Short, so that whoever waits for the dead goes on soon; a slow living writer is fenced, and then nothing happened."""

operation = st.tuples(
    st.sampled_from(["put", "put", "patch", "delete", "reprocess"]),
    st.sampled_from(KEYS),
    st.sampled_from(CRASHES),
    st.integers(0, 3),  # bytes of content beyond the operation's number
)
history = st.lists(st.lists(operation, min_size=1, max_size=3), min_size=1, max_size=6)
"""Rounds; the operations of a round run at the same time, each in a process of its own."""


@dataclass
class Model:
    """Per document: what each revision is known to have done. A state is (content hash, metadata) or None."""

    acknowledged: dict[tuple[str, int], tuple[str, Any]] = field(default_factory=dict)

    def note(self, key: str, revision: int, kind: str, detail: Any) -> None:
        assert (key, revision) not in self.acknowledged, "two operations were told the same revision"
        self.acknowledged[key, revision] = (kind, detail)


@pytest.fixture(autouse=True)
def _armed() -> Iterator[None]:
    with dying_at(STEPS):
        yield


@given(history, st.integers(0, 2**32))
@settings(max_examples=20, **SETTINGS)
def test_any_history_ends_in_one_state(rounds: list[list[Any]], seed: int) -> None:
    play(rounds, seed)


@pytest.mark.long
@pytest.mark.timeout(1800)  # a second for each history, three when others are at work
@given(history, st.integers(0, 2**32))
@settings(max_examples=300, **SETTINGS)
def test_any_of_many_histories_ends_in_one_state(rounds: list[list[Any]], seed: int) -> None:
    play(rounds, seed)


def play(rounds: list[list[Any]], seed: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(_play(Path(folder), rounds, seed))


async def _play(folder: Path, rounds: list[list[Any]], seed: int) -> None:
    database = open_catalog(sqlite_url(folder))
    store = open_store(Settings(store_url="memory://"))
    model = Model()
    try:
        context = await MiniProcess(database, store, random=seeded(seed)).tenant()
        number = 0
        for operations in rounds:
            tasks = []
            for kind, key, crash, size in operations:
                number += 1
                tasks.append(_operate(database, store, context, model, (kind, key, crash, number, size)))
            await asyncio.gather(*tasks)
            await _recover(database, store)
            await _check(folder, database, store, context, model)
    finally:
        await database.aclose()
        await store.aclose()


async def _operate(
    database: Database, store: ObjectStore, context: TenantContext, model: Model, operation: tuple[Any, ...]
) -> None:
    kind, key, crash, number, size = operation
    process = MiniProcess(database, store, lease=LEASE)
    doom(process, crash)
    document_id = document_id_for_key(context.tenant_id, key)
    try:
        if kind == "put":
            content = b"%d" % number + b"x" * size
            result = await process.put(context, key, content, {"by": number})
            detail = (hashlib.sha256(content).hexdigest(), {"by": number})
            model.note(key, result.document.revision, "put", detail)
        elif kind == "patch":
            patched = await process.documents.patch_metadata(context, document_id, {f"p{number}": number})
            model.note(key, patched.revision, "patch", {f"p{number}": number})
        elif kind == "reprocess":
            again = await process.documents.reprocess(context, document_id)
            model.note(key, again.revision, "patch", {})
        else:
            await process.documents.delete(context, document_id)
    except (ProcessDied, Fenced):
        pass
    except NotFound:
        assert kind != "put"


async def _recover(database: Database, store: ObjectStore) -> None:
    """What the reconcilers do once the dead writers' leases have ended."""
    survivor = MiniProcess(database, store, lease=timedelta(0))
    await survivor.chains.resolve_stale()


async def _check(folder: Path, database: Database, store: ObjectStore, context: TenantContext, model: Model) -> None:
    rebuilt = open_catalog(f"sqlite:///{folder}/rebuilt-{len(list(folder.iterdir()))}.sqlite")
    fresh = MiniProcess(rebuilt, store)
    await fresh.chains.adopt(tenant_subject(context.tenant_id))
    sizes = []
    for key in KEYS:
        document_id = document_id_for_key(context.tenant_id, key)
        await fresh.chains.adopt(subject(context.tenant_id, document_id))
        of_catalog = await _state(database, context, document_id)
        assert of_catalog == await _state(rebuilt, context, document_id), "the catalog says what the bucket says"
        of_chain = await _replay(fresh, context, key, document_id, model)
        assert (of_catalog[1:3] if of_catalog is not None else None) == of_chain
        if of_catalog is not None:
            content = await store.get(keys.content(context.tenant_id, document_id, of_catalog[3]))
            assert hashlib.sha256(content).hexdigest() == of_catalog[1], "the bytes are those of the head"
            sizes.append(len(content))
    for catalog in (database, rebuilt):
        async with catalog.read() as connection:
            held = await usage.balance(connection, context.tenant_id)
        assert (held.stored_bytes, held.documents) == (sum(sizes), len(sizes))
    await rebuilt.aclose()


async def _state(database: Database, context: TenantContext, document_id: DocumentId) -> Any:
    """(revision, content hash, metadata, version) of a live document."""
    async with database.read() as connection:
        document = await rows.live(connection, context.tenant_id, document_id)
    if document is None:
        return None
    return (document.revision, document.sha256, dict(document.metadata), document.version_id)


async def _replay(process: MiniProcess, context: TenantContext, key: str, document_id: DocumentId, model: Model) -> Any:
    """The state that the chain's operations add up to. Every acknowledged one must be in it, as it was told."""
    state: Any = None
    revision = 0
    listing = [info async for info in process.store.list(keys.document_heads(context.tenant_id, document_id))]
    for revision in range(1, len(listing) + 1):  # no gaps: reading a missing one would raise
        head = await process.chains.read(subject(context.tenant_id, document_id), revision)
        told = model.acknowledged.get((key, revision))
        if head.state == ABANDONED:
            assert told is None, "an acknowledged operation was abandoned"
            continue
        before = state
        state = None if head.state == "tombstone" else (head.body["sha256"], head.body["metadata"])
        if told is not None and told[0] == "put":
            assert state == told[1]
        elif told is not None:
            assert before is not None
            assert state == (before[0], {**before[1], **told[1]}), "a patch changes what it says and nothing else"
    lost = [told for (of, at), told in model.acknowledged.items() if of == key and at > revision]
    assert not lost, "acknowledged operations that the bucket does not have"
    return state
