"""Random histories of uploads, replacements, deletions, broken bodies and crashes under a limit, held against a recount
after every round.

Whatever the history: the balance is the sum of the live versions, what is reserved is the sum of the reservations, and
both together never exceed the limit, except where the plan was lowered below what was held: then they do not grow.
"""

import asyncio
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from s4.domains.documents import UploadRequest
from s4.domains.documents.queries import recount, reservations
from s4.domains.plans.model import Plan
from s4.domains.usage import Balance
from s4.kernel.context import TenantContext
from s4.kernel.errors import LimitReached, NotFound, PayloadTooLarge, Unavailable
from s4.kernel.plans import PlanLimits
from s4.kernel.settings import Settings
from s4.kernel.units import KIB
from s4.platform.chains import Fenced
from s4.platform.database import Database
from s4.platform.objects import ObjectStore, open_store
from tests.factories.catalog import open_catalog, seeded, sqlite_url
from tests.factories.histories import SETTINGS, doom, dying_at
from tests.factories.process import MiniProcess, ProcessDied

pytestmark = pytest.mark.processes

LIMIT = 300 * KIB
DOCUMENTS = 3
KEYS = ["a", "b", "c", "d"]
STEPS = [
    "upload.opened",
    "upload.grown",
    "upload.streamed",
    "document.sealed",
    "document.committed",
    "document.settled",
]
LEASE = timedelta(milliseconds=50)
PIECE = 20 * KIB

operation = st.tuples(
    st.sampled_from(["declared", "declared", "undeclared", "undeclared", "form", "broken", "delete", "lower"]),
    st.sampled_from(KEYS),
    st.sampled_from([None, None, None, None, *STEPS]),
    st.integers(0, LIMIT + KIB),
)
history = st.lists(st.lists(operation, min_size=1, max_size=4), min_size=1, max_size=8)
"""Rounds; the operations of a round run at the same time, each in a process of its own."""


@pytest.fixture(autouse=True)
def _armed() -> Iterator[None]:
    with dying_at(STEPS):
        yield


@given(history, st.integers(0, 2**32))
@settings(max_examples=25, **SETTINGS)
def test_no_history_moves_a_balance_off_its_documents_or_beyond_its_limit(rounds: list[list[Any]], seed: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(_play(Path(folder), rounds, seed))


async def _play(folder: Path, rounds: list[list[Any]], seed: int) -> None:
    database = open_catalog(sqlite_url(folder))
    store = open_store(Settings(store_url="memory://"))
    tight = Plan("tight", "Tight", storage_limit=LIMIT, documents_limit=DOCUMENTS)
    try:
        context = await MiniProcess(database, store, random=seeded(seed)).tenant(plan=tight)
        bound = Balance(LIMIT, 0, DOCUMENTS)
        for operations in rounds:
            lowered = [size for kind, _, _, size in operations if kind == "lower"]
            if lowered:
                changed = PlanLimits("lowered", storage_bytes_max=min(lowered), documents_max=DOCUMENTS)
                context = replace(context, plan=changed)
            await asyncio.gather(*(_operate(database, store, context, each) for each in operations))
            bound = await _check(database, context, bound)
            await _recover(database, store)
            bound = await _check(database, context, bound)
        assert bound.reserved_bytes == bound.reserved_documents == 0
    finally:
        await database.aclose()
        await store.aclose()


async def _operate(database: Database, store: ObjectStore, context: TenantContext, operation: tuple[Any, ...]) -> None:
    kind, key, crash, size = operation
    process = MiniProcess(database, store, lease=LEASE)
    doom(process, crash)
    request = UploadRequest(filename=key, content_type="text/plain", key=key)
    try:
        if kind == "delete":
            await process.documents.delete(context, process.documents.id_for_key(context, key))
        elif kind == "declared":
            await process.uploads.receive(context, replace(request, declared_bytes=size), content=_body(size))
        elif kind == "form":  # its own length tells that of the file within a kilobyte
            within = replace(request, bytes_at_least=max(0, size - KIB), bytes_at_most=size + KIB)
            await process.uploads.receive(context, within, content=_body(size))
        elif kind != "lower":
            await process.uploads.receive(context, request, content=_body(size, broken=kind == "broken"))
    except (ProcessDied, Fenced, NotFound, ConnectionResetError, PayloadTooLarge, Unavailable, LimitReached):
        pass


async def _body(size: int, *, broken: bool = False) -> AsyncIterator[bytes]:
    for start in range(0, size, PIECE):
        yield bytes(min(PIECE, size - start))
        await asyncio.sleep(0)
    if broken:
        raise ConnectionResetError


async def _recover(database: Database, store: ObjectStore) -> None:
    """What the reconcilers do once the dead writers' leases and reservations have ended."""
    survivor = MiniProcess(database, store, lease=timedelta(0))
    await survivor.chains.resolve_stale()
    far = timedelta(days=1)
    async with database.read() as connection:
        overdue = await reservations.expired(connection, await database.now(connection) + far, limit=100)
    for tenant_id, _, version_id in overdue:
        await survivor.uploads._rooms.give_back(tenant_id, version_id)


async def _check(database: Database, context: TenantContext, bound: Balance) -> Balance:
    """The balance, which is exact and within its plan, or not above what it was before the plan was lowered."""
    async with database.read() as connection:
        count = await recount.one(connection, context.tenant_id)
    assert count is not None
    now = count.noted
    assert now == count.counted, "the balance is what documents and reservations add up to"
    assert min(now.stored_bytes, now.reserved_bytes, now.documents, now.reserved_documents) >= 0
    limit = context.plan.storage_bytes_max
    assert limit is not None
    assert now.stored_bytes + now.reserved_bytes <= max(limit, bound.stored_bytes + bound.reserved_bytes)
    assert now.documents + now.reserved_documents <= DOCUMENTS
    return now
