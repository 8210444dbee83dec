"""The sealed audit trail, on every database: nothing is skipped, nothing can be changed unseen, nothing forks."""

import asyncio
import hashlib
import json
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
import zstandard

from s4.domains import audit
from s4.domains.audit import Sealer, Verifier
from s4.domains.audit.model import Batch, Entry, chained
from s4.domains.audit.models import audit_batches, audit_checks, audit_entries
from s4.domains.audit.verifier import Verification
from s4.kernel import keys
from s4.kernel.context import Actor, Origin
from s4.kernel.errors import DataCorrupt, NotFound
from s4.kernel.settings import Settings
from s4.platform import faults
from s4.platform.database import Connection, Database
from s4.platform.objects import ObjectStore, open_store
from tests.factories.catalog import open_catalog, sqlite_url

ADA = Actor("admin", "ada", Origin("192.0.2.7", "req_1"))
DAY = timedelta(days=1)


@pytest.fixture
async def store() -> AsyncIterator[ObjectStore]:
    opened = open_store(Settings(store_url="memory://"))
    yield opened
    await opened.aclose()


@pytest.fixture
def sealer(catalog: Database, store: ObjectStore) -> Sealer:
    return Sealer(catalog, store, secrets.token_bytes, every=DAY)


@pytest.fixture
def verify(catalog: Database, store: ObjectStore) -> Callable[[], Awaitable[Verification]]:
    return Verifier(catalog, store, every=DAY).verify


Verify = Callable[..., Awaitable[Verification]]


async def act(database: Database, *subjects: str) -> None:
    async def work(connection: Connection) -> None:
        for subject in subjects:
            await audit.record(connection, ADA, "plan.update", subject, before={"price": 1e22}, after={"price": 2.5})

    await database.transact(work)


async def run(database: Database, *statements: sa.Executable) -> None:
    async def work(connection: Connection) -> None:
        for statement in statements:
            await connection.execute(statement)

    await database.transact(work)


async def rows(database: Database) -> list[Any]:
    async with database.read() as connection:
        found = await connection.execute(sa.select(audit_entries).order_by(audit_entries.c.position))
        return list(found)


async def test_what_is_sealed_holds_and_what_comes_later_continues_the_chain(
    catalog: Database, sealer: Sealer, verify: Verify
) -> None:
    await act(catalog, "plan/a", "plan/b")
    assert await sealer.seal() == 2
    await act(catalog, "plan/c")
    assert await sealer.seal() == 1
    assert await sealer.seal() == 0

    found = await verify()

    assert (found.problem, found.batches, found.entries, found.complete) == (None, 2, 3, True)
    assert [(row.subject, row.batch, row.position) for row in await rows(catalog)] == [
        ("plan/a", 1, 1), ("plan/b", 1, 2), ("plan/c", 2, 3),
    ]  # fmt: skip


async def test_an_auditor_can_check_the_chain_without_s4(catalog: Database, store: ObjectStore, sealer: Sealer) -> None:
    """As the guide says it: with zstd, JSON and SHA-256."""
    for subject in ("plan/a", "plan/é"):
        await act(catalog, subject, subject)
        await sealer.seal()
    previous = "0" * 64
    for sequence in (1, 2):
        unpacked = zstandard.ZstdDecompressor().decompress(await store.get(keys.audit_batch(sequence)))
        for each in json.loads(unpacked)["entries"]:
            entry = json.dumps(each["entry"], ensure_ascii=False, sort_keys=True, separators=(",", ":"))
            previous = hashlib.sha256((previous + entry).encode()).hexdigest()
            assert each["hash"] == previous
    assert (await rows(catalog))[-1].hash == previous


async def test_an_act_that_commits_after_its_neighbours_were_sealed_is_sealed_next(
    catalog: Database, store: ObjectStore, sealer: Sealer, verify: Verify
) -> None:
    """Its moment lies before theirs: a sealer that went by moments would have passed it over for ever."""
    await act(catalog, "plan/late")
    (late,) = await contents(catalog, audit_entries)
    await run(catalog, sa.delete(audit_entries))
    await act(catalog, "plan/early")
    await sealer.seal()

    await run(catalog, sa.insert(audit_entries).values(late))
    assert await sealer.seal() == 1

    assert [(row.subject, row.position) for row in await rows(catalog)] == [("plan/early", 1), ("plan/late", 2)]
    assert (await verify()).problem is None


async def test_a_transaction_that_stays_open_while_others_are_sealed_is_not_skipped(
    catalog: Database, sealer: Sealer, verify: Verify
) -> None:
    if catalog.dialect == "sqlite":
        return  # writers are alone there: nobody commits in between
    recorded, sealed = asyncio.Event(), asyncio.Event()

    async def slow(connection: Connection) -> None:
        await audit.record(connection, ADA, "plan.update", "plan/slow")
        recorded.set()
        await sealed.wait()

    writing = asyncio.create_task(catalog.transact(slow))
    await recorded.wait()
    await act(catalog, "plan/quick")
    assert await sealer.seal() == 1
    sealed.set()
    await writing
    assert await sealer.seal() == 1
    assert [row.subject for row in await rows(catalog)] == ["plan/quick", "plan/slow"]
    assert (await verify()).problem is None


def is_entry(position: int) -> sa.ColumnElement[bool]:
    return audit_entries.c.position == position


CHANGE = sa.update(audit_entries).where(is_entry(3)).values(actor="eve")
REMOVE = sa.delete(audit_entries).where(is_entry(3))
SWAP = [
    sa.update(audit_entries).where(is_entry(3)).values(position=-1),
    sa.update(audit_entries).where(is_entry(4)).values(position=3),
    sa.update(audit_entries).where(is_entry(-1)).values(position=4),
]
TRUNCATE = [
    sa.delete(audit_entries).where(audit_entries.c.position >= 5),
    sa.delete(audit_batches).where(audit_batches.c.sequence == 2),
]
INSERT = sa.insert(audit_entries).from_select(
    ["entry_id", "at", "actor_kind", "actor", "action", "subject", "tenant_id", "batch", "position", "hash"],
    sa.select(
        sa.literal("aud_forged"), *(audit_entries.c[name] for name in ("at", "actor_kind", "actor", "action")),
        sa.literal("plan/forged"), audit_entries.c.tenant_id, audit_entries.c.batch, audit_entries.c.position,
        audit_entries.c.hash,
    ).where(is_entry(3)),
)  # fmt: skip
TAMPERINGS: dict[str, tuple[list[sa.Executable], str, int]] = {
    "changed": ([CHANGE], "changed", 3),
    "removed": ([REMOVE], "removed", 3),
    "reordered": ([*SWAP], "reordered", 3),
    "truncated": ([*TRUNCATE], "truncated", 5),
    "inserted": ([INSERT], "inserted", 3),
    "renamed to another batch": ([sa.update(audit_entries).where(is_entry(3)).values(batch=2)], "reordered", 3),
    "taken out of the chain": (
        [sa.update(audit_entries).where(is_entry(3)).values(batch=None, position=None, hash=None)], "reordered", 3,
    ),
    "given a batch that there is not": (
        [sa.insert(audit_entries).from_select(
            ["entry_id", "at", "actor_kind", "actor", "action", "subject", "tenant_id", "batch", "position"],
            sa.select(sa.literal("aud_forged"), *(audit_entries.c[n] for n in ("at", "actor_kind", "actor", "action",
                      "subject", "tenant_id")), sa.literal(9), sa.literal(99)).where(is_entry(1)))], "inserted", 99,
    ),
}  # fmt: skip


async def test_every_tampering_with_the_catalog_is_found_and_its_first_entry_named(
    catalog: Database, sealer: Sealer, verify: Verify
) -> None:
    await act(catalog, *(f"plan/{n}" for n in range(1, 5)))
    await sealer.seal()
    await act(catalog, "plan/5", "plan/6")
    await sealer.seal()
    genuine = {table: await contents(catalog, table) for table in (audit_entries, audit_batches)}
    found = {}

    for tampering, (statements, _, _) in TAMPERINGS.items():
        await run(catalog, *statements)
        found[tampering] = (await verify()).problem
        for table, kept in genuine.items():
            await run(catalog, sa.delete(table), sa.insert(table).values(kept))
        assert (await verify()).problem is None, "restored"

    assert {name: problem and (problem.kind, problem.place, problem.position) for name, problem in found.items()} == {
        name: (kind, "catalog", position) for name, (_, kind, position) in TAMPERINGS.items()
    }


async def contents(catalog: Database, table: sa.Table) -> list[dict[str, Any]]:
    async with catalog.read() as connection:
        return [dict(row._mapping) for row in await connection.execute(sa.select(table))]


async def test_a_batch_that_was_changed_or_removed_in_the_bucket_is_found(
    catalog: Database, store: ObjectStore, sealer: Sealer, verify: Verify
) -> None:
    for subject in ("plan/1", "plan/2", "plan/3"):
        await act(catalog, subject)
        await sealer.seal()
    key = keys.audit_batch(2)
    genuine = await store.get(key)
    batch = Batch.from_bytes(genuine)
    (sealed,) = batch.entries
    forged = Entry(**{name: getattr(sealed.entry, name) for name in Entry.__slots__} | {"actor": "eve"})

    await store.put(key, _with(batch, [(forged, sealed.digest)]).to_bytes())
    assert str((await verify()).problem).startswith("changed in the bucket: batch 2, entry 2 ")
    # Whoever computes the hash anew breaks the chain at the next batch, and does not agree with the rows.
    rehashed = chained(Batch.from_bytes(await store.get(keys.audit_batch(1))).head, [forged])
    await store.put(key, _with(batch, [(forged, rehashed[0].digest)]).to_bytes())
    assert str((await verify()).problem).startswith("changed in the catalog: batch 2, entry 2 ")
    await store.put(key, b"no batch")
    assert str((await verify()).problem) == "changed in the bucket: batch 2"
    await store.delete([key])
    assert str((await verify()).problem) == "removed in the bucket: batch 2"
    await store.put(key, genuine)
    assert (await verify()).problem is None
    await run(catalog, sa.delete(audit_batches), sa.delete(audit_entries))
    await store.delete([keys.audit_batch(1), key])
    assert str((await verify()).problem) == "removed in the bucket: batch 1"


def _with(batch: Batch, entries: list[tuple[Entry, str]]) -> Batch:
    placed = tuple(type(batch.entries[0])(entry, each.position, digest)
                   for (entry, digest), each in zip(entries, batch.entries, strict=True))  # fmt: skip
    return Batch(batch.sequence, batch.previous, batch.sealed_at, batch.seal_id, placed)


class Died(BaseException):
    """The process ends here."""


async def test_a_sealer_that_dies_between_bucket_and_catalog_is_completed_by_the_next(
    catalog: Database, store: ObjectStore, sealer: Sealer, verify: Verify
) -> None:
    await act(catalog, "plan/a", "plan/b")

    def die() -> None:
        raise Died

    faults.arm({"audit.written": die})
    try:
        with pytest.raises(Died):
            await sealer.seal()
    finally:
        faults.arm({})
    assert [row.batch for row in await rows(catalog)] == [None, None]
    assert (await verify()).problem is None, "a batch that is being settled is no tampering"
    await act(catalog, "plan/c")

    assert await sealer.seal() == 3

    assert [(row.subject, row.batch) for row in await rows(catalog)] == [("plan/a", 1), ("plan/b", 1), ("plan/c", 2)]
    assert (await verify()).problem is None


class Overtaken:
    """A store through which a writer is overtaken, once, at the moment of its first create."""

    def __init__(self, store: ObjectStore, overtake: Callable[[], Awaitable[None]]) -> None:
        self._store = store
        self._overtake: Callable[[], Awaitable[None]] | None = overtake

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def create(self, *arguments: Any, **options: Any) -> Any:
        if self._overtake is not None:
            overtake, self._overtake = self._overtake, None
            await overtake()
        return await self._store.create(*arguments, **options)


async def test_a_sealer_that_was_overtaken_by_one_that_died_completes_the_others_batch(
    catalog: Database, store: ObjectStore, sealer: Sealer, verify: Verify
) -> None:
    def die() -> None:
        raise Died

    async def overtake() -> None:
        await act(catalog, "plan/b")
        faults.arm({"audit.written": die})
        try:
            with pytest.raises(Died):
                await sealer.seal()
        finally:
            faults.arm({})

    await act(catalog, "plan/a")
    slow = Sealer(catalog, Overtaken(store, overtake), secrets.token_bytes, every=DAY)  # type: ignore[arg-type]

    assert await slow.seal() == 2

    assert [(row.subject, row.batch) for row in await rows(catalog)] == [("plan/a", 1), ("plan/b", 1)]
    assert (await verify()).problem is None


async def test_sealers_that_run_at_once_make_one_chain(catalog: Database, store: ObjectStore, verify: Verify) -> None:
    await act(catalog, *(f"plan/{n}" for n in range(40)))
    sealers = [Sealer(catalog, store, secrets.token_bytes, every=DAY) for _ in range(4)]

    async def more() -> None:
        for n in range(10):
            await act(catalog, f"plan/more{n}")

    await asyncio.gather(more(), *(sealer.seal() for sealer in sealers))
    await sealers[0].seal()

    sealed = await rows(catalog)
    assert [row.position for row in sealed] == list(range(1, 51))
    found = await verify()
    assert (found.problem, found.entries) == (None, 50)


async def test_a_new_catalog_adopts_the_trail_before_it_seals_anything_of_its_own(
    catalog: Database, store: ObjectStore, sealer: Sealer, tmp_path: Path
) -> None:
    await act(catalog, "plan/a", "plan/b")
    await sealer.seal()
    await act(catalog, "plan/c")
    await sealer.seal()
    before = await rows(catalog)
    (tmp_path / "new").mkdir()
    new = open_catalog(sqlite_url(tmp_path / "new"))
    try:
        sealer_of_new = Sealer(new, store, secrets.token_bytes, every=DAY)
        assert await sealer_of_new.seal() == 3, "also while it has nothing of its own"
        await act(new, "plan/after")
        assert await sealer_of_new.seal() == 1

        after = await rows(new)
        assert [tuple(row) for row in after[:3]] == [tuple(row) for row in before]
        assert [(row.subject, row.batch, row.position) for row in after[3:]] == [("plan/after", 3, 4)]
        found = await Verifier(new, store, every=DAY).verify()
        assert (found.problem, found.batches) == (None, 3)
    finally:
        await new.aclose()


async def test_a_bucket_with_another_chain_is_not_continued(
    catalog: Database, store: ObjectStore, sealer: Sealer
) -> None:
    await act(catalog, "plan/a")
    await sealer.seal()
    stranger = Batch.from_bytes(await store.get(keys.audit_batch(1)))
    await store.put(keys.audit_batch(2), Batch(2, "f" * 64, stranger.sealed_at, "x", stranger.entries).to_bytes())
    await act(catalog, "plan/b")
    with pytest.raises(DataCorrupt, match="s4 audit verify"):
        await sealer.seal()


async def test_verifying_goes_on_where_it_stopped(catalog: Database, sealer: Sealer, verify: Verify) -> None:
    for n in range(3):
        await act(catalog, f"plan/{n}")
        await sealer.seal()
    first = await verify(limit=2)
    assert (first.head.sequence, first.complete, first.problem) == (2, False, None)
    rest = await verify(after=2)
    assert (rest.head.sequence, rest.batches, rest.complete) == (3, 1, True)
    with pytest.raises(NotFound):
        await verify(after=9)


async def test_the_regular_verification_notes_what_it_found(
    catalog: Database, store: ObjectStore, sealer: Sealer
) -> None:
    verifier = Verifier(catalog, store, every=DAY)
    await act(catalog, "plan/1", "plan/2", "plan/3")
    await sealer.seal()
    await verifier.check()
    assert await noted(catalog) == (1, None)
    await run(catalog, CHANGE)
    await verifier.check()
    batches, problem = await noted(catalog)
    assert batches == 0
    assert problem is not None
    assert problem.startswith("changed in the catalog: batch 1, entry 3 (aud_")


async def noted(catalog: Database) -> tuple[int, str | None]:
    async with catalog.read() as connection:
        row = (await connection.execute(sa.select(audit_checks.c.batches, audit_checks.c.problem))).one()
        return row.batches, row.problem


def test_a_number_is_hashed_alike_whichever_database_gave_it_back() -> None:
    """JSONB gives a float of 1e22 back as a whole number: a trail that moves to PostgreSQL must still hold."""
    entry = Entry(
        entry_id="aud_a", at=datetime(2026, 1, 1, tzinfo=UTC), actor_kind="admin", actor="ada", action="a", subject="s",
        after={"limit": 1e22, "prices": [2.0, {"yearly": -0.0}]},
    )  # fmt: skip
    assert entry.canonical() == replace(entry, after={"limit": 10**22, "prices": [2, {"yearly": 0}]}).canonical()
