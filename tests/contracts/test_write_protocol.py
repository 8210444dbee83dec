"""How a write becomes true, on every database and every store: what is acknowledged stays, what crashed is mended."""

import asyncio
import json
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from s4.domains import usage
from s4.domains.documents.queries import rows
from s4.kernel import keys
from s4.kernel.errors import Conflict, NotFound, PayloadTooLarge, PreconditionFailed, Unavailable
from s4.kernel.ids import document_id_for_key
from s4.platform import faults
from s4.platform.chains import Fenced
from s4.platform.database import Database
from s4.platform.http.preconditions import Preconditions
from s4.platform.objects import ObjectStore
from tests.factories.process import MiniProcess, ProcessDied, chunks

STEPS = ["upload.opened", "upload.streamed", "document.sealed", "document.committed", "document.settled"]
NOW = timedelta(0)


@pytest.fixture(autouse=True)
def _disarm() -> Iterator[None]:
    yield
    faults.arm({})


async def content(process: MiniProcess, context: Any, key: str) -> bytes:
    document = await process.documents.get(context, process.documents.id_for_key(context, key))
    return b"".join([part async for part in process.documents.content(document)])


async def test_an_upload_is_in_bucket_and_catalog(catalog: Database, object_store: ObjectStore) -> None:
    process = MiniProcess(catalog, object_store)
    context = await process.tenant()
    result = await process.put(context, "a/report", b"one", {"year": 2026})
    document = result.document
    assert (result.created, document.size_bytes, document.metadata) == (True, 3, {"year": 2026})
    assert await content(process, context, "a/report") == b"one"
    head = json.loads(
        await object_store.get(keys.document_head(context.tenant_id, document.document_id, document.revision))
    )
    assert (head["state"], head["body"]["sha256"]) == ("live", document.sha256)


async def test_a_replacement_keeps_the_id_and_moves_the_revision(catalog: Database, object_store: ObjectStore) -> None:
    process = MiniProcess(catalog, object_store)
    context = await process.tenant()
    first = await process.put(context, "k", b"one")
    second = await process.put(context, "k", b"three")
    assert second.document.document_id == first.document.document_id
    assert (second.created, second.document.revision) == (False, first.document.revision + 1)
    assert await content(process, context, "k") == b"three"
    async with catalog.read() as connection:
        assert (await usage.balance(connection, context.tenant_id)) == usage.Balance(5, 0, 1)


async def test_racing_writers_of_one_key_all_count_and_the_last_revision_wins(
    catalog: Database, object_store: ObjectStore
) -> None:
    processes = [MiniProcess(catalog, object_store) for _ in range(3)]
    context = await processes[0].tenant()
    results = await asyncio.gather(*(processes[n % 3].put(context, "k", f"content {n}".encode()) for n in range(9)))
    revisions = sorted(result.document.revision for result in results)
    assert revisions == list(range(1, 10)), "every acknowledged write has a revision of its own, without gaps"
    winner = max(results, key=lambda result: result.document.revision).document
    document = await processes[0].documents.get(context, winner.document_id)
    assert (document.revision, document.sha256) == (winner.revision, winner.sha256)
    assert sum(result.created for result in results) == 1


async def test_of_racing_first_uploads_one_creates(catalog: Database, object_store: ObjectStore) -> None:
    process = MiniProcess(catalog, object_store)
    context = await process.tenant()
    absent = Preconditions.parse(if_none_match="*")
    outcomes = await asyncio.gather(
        *(process.put(context, "k", str(n).encode(), preconditions=absent) for n in range(6)),
        return_exceptions=True,
    )
    assert sum(not isinstance(outcome, BaseException) for outcome in outcomes) == 1
    assert all(isinstance(o, PreconditionFailed) for o in outcomes if isinstance(o, BaseException))


async def test_if_match_lets_one_of_two_editors_through(catalog: Database, object_store: ObjectStore) -> None:
    process = MiniProcess(catalog, object_store)
    context = await process.tenant()
    document = (await process.put(context, "k", b"base")).document
    match = Preconditions.parse(if_match=f'"r{document.revision}"')
    outcomes = await asyncio.gather(
        process.put(context, "k", b"mine", preconditions=match),
        process.documents.patch_metadata(context, document.document_id, {"by": "you"}, preconditions=match),
        return_exceptions=True,
    )
    assert sum(isinstance(outcome, PreconditionFailed) for outcome in outcomes) == 1


@pytest.mark.parametrize("step", STEPS)
async def test_a_crash_at_any_step_blocks_nobody_and_leaves_no_half(
    catalog: Database, object_store: ObjectStore, step: str
) -> None:
    survivor = MiniProcess(catalog, object_store, lease=NOW, upload_duration=NOW)
    context = await survivor.tenant()
    await survivor.put(context, "k", b"before")
    doomed = MiniProcess(catalog, object_store, upload_duration=NOW)
    faults.arm({step: doomed.die})
    with pytest.raises(ProcessDied):
        await doomed.put(context, "k", b"crashed!", idempotency_key="again")
    faults.arm({})
    repeated = await survivor.put(context, "k", b"crashed!", idempotency_key="again")
    assert await content(survivor, context, "k") == b"crashed!"
    assert repeated.replayed == (step in ("document.committed", "document.settled")), "once, not twice"
    patched = await survivor.documents.patch_metadata(context, repeated.document.document_id, {"ok": True})
    assert patched.metadata == {"ok": True}
    async with catalog.read() as connection:
        held = await usage.balance(connection, context.tenant_id)
    assert (held.stored_bytes, held.documents) == (len(b"crashed!"), 1)


@pytest.mark.parametrize("step", ["document.sealed", "document.committed"])
async def test_a_crash_in_a_delete_is_settled_one_way_or_the_other(
    catalog: Database, object_store: ObjectStore, step: str
) -> None:
    survivor = MiniProcess(catalog, object_store, lease=NOW)
    context = await survivor.tenant()
    document = (await survivor.put(context, "k", b"x")).document
    doomed = MiniProcess(catalog, object_store)
    faults.arm({step: doomed.die})
    with pytest.raises(ProcessDied):
        await doomed.documents.delete(context, document.document_id)
    faults.arm({})
    assert await survivor.chains.resolve_stale() == 1
    if step == "document.sealed":
        assert (await survivor.documents.get(context, document.document_id)).sha256 == document.sha256
    else:
        with pytest.raises(NotFound):
            await survivor.documents.get(context, document.document_id)


async def test_a_fenced_writer_cannot_harm_its_successor(catalog: Database, object_store: ObjectStore) -> None:
    """It sealed, overslept its lease, was fenced off, and wakes: its head's place is taken."""
    context = await MiniProcess(catalog, object_store).tenant()
    sleeper = MiniProcess(catalog, object_store)
    successor = MiniProcess(catalog, object_store, lease=NOW)
    woken = asyncio.Event()
    asleep = asyncio.Event()
    create = object_store.create

    class Sleepy:
        def __getattr__(self, name: str) -> Any:
            return getattr(object_store, name)

        async def create(self, key: Any, data: bytes, *, commit_id: str | None) -> Any:
            if not asleep.is_set():
                asleep.set()
                await woken.wait()
            return await create(key, data, commit_id=commit_id)

    sleeper.chains._store = Sleepy()  # type: ignore[assignment]
    slow = asyncio.create_task(sleeper.put(context, "k", b"slow"))
    await asleep.wait()
    fast = await successor.put(context, "k", b"fast")
    assert fast.document.revision == 2, "revision 1 was abandoned"
    woken.set()
    with pytest.raises(Fenced):
        await slow
    assert await content(successor, context, "k") == b"fast", "the one that was given up wrote nothing over it"
    async with catalog.read() as connection:
        assert await usage.balance(connection, context.tenant_id) == usage.Balance(4, 0, 1), "its room is given back"


async def test_a_writer_that_was_adopted_meanwhile_does_not_move_the_catalog_back(
    catalog: Database, object_store: ObjectStore
) -> None:
    """It committed, overslept before settling; its head was adopted, and others wrote on."""
    sleeper = MiniProcess(catalog, object_store)
    context = await sleeper.tenant()
    successor = MiniProcess(catalog, object_store, lease=NOW)
    woken, asleep = asyncio.Event(), asyncio.Event()
    settle = sleeper.chains._settle

    async def sleepy(head: Any, settled: Any) -> Any:
        asleep.set()
        await woken.wait()
        return await settle(head, settled)

    sleeper.chains._settle = sleepy  # type: ignore[method-assign]
    slow = asyncio.create_task(sleeper.put(context, "k", b"slow"))
    await asleep.wait()
    fast = await successor.put(context, "k", b"faster")
    woken.set()
    assert ((await slow).document.revision, fast.document.revision) == (1, 2)
    document = await successor.documents.get(context, fast.document.document_id)
    assert (document.revision, document.sha256) == (2, fast.document.sha256)
    async with catalog.read() as connection:
        assert await usage.balance(connection, context.tenant_id) == usage.Balance(6, 0, 1)


async def test_what_the_bucket_knows_and_the_catalog_does_not_is_followed(
    catalog: Database, object_store: ObjectStore, tmp_path: Any
) -> None:
    """A catalog restored from yesterday meets a newer chain: the next write continues it."""
    process = MiniProcess(catalog, object_store)
    context = await process.tenant()
    document = (await process.put(context, "k", b"one")).document
    await process.put(context, "k", b"two")
    await catalog.transact(
        lambda c: rows.update(c, context.tenant_id, document.document_id, revision=1, sha256=document.sha256)
    )
    third = await process.put(context, "k", b"three")
    assert third.document.revision == 3
    assert await content(process, context, "k") == b"three"


async def test_a_refused_upload_leaves_nothing(catalog: Database, object_store: ObjectStore) -> None:
    process = MiniProcess(catalog, object_store)
    context = await process.tenant()
    await process.put(context, "k", b"there")
    with pytest.raises(Conflict):
        await process.put(context, "k", b"again", create_only=True)

    async def broken() -> Any:
        yield b"some"
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        await process.uploads.receive(context, _request("other"), content=broken())
    with pytest.raises(PayloadTooLarge):
        await process.uploads.receive(context, _request("huge", declared_bytes=1 << 40), content=chunks([]))
    async with catalog.read() as connection:
        assert await usage.balance(connection, context.tenant_id) == usage.Balance(5, 0, 1)
    names = [info.key async for info in object_store.list(keys.documents(context.tenant_id))]
    owner = document_id_for_key(context.tenant_id, "k")
    assert all(f"/{owner}/" in name for name in names), names


async def test_an_idempotency_key_for_another_body_is_a_conflict(catalog: Database, object_store: ObjectStore) -> None:
    process = MiniProcess(catalog, object_store)
    context = await process.tenant()
    await process.put(context, "k", b"one", idempotency_key="x")
    with pytest.raises(Conflict):
        await process.put(context, "k", b"two", idempotency_key="x")
    assert await content(process, context, "k") == b"one"


async def test_racing_repeats_of_one_upload_take_effect_once(catalog: Database, object_store: ObjectStore) -> None:
    process = MiniProcess(catalog, object_store)
    context = await process.tenant()
    request = _request(None, idempotency_key="once")
    results = await asyncio.gather(
        *(process.uploads.receive(context, request, content=chunks([b"same"])) for _ in range(6))
    )
    assert len({(r.document.document_id, r.document.revision) for r in results}) == 1
    assert sum(not result.replayed for result in results) == 1
    async with catalog.read() as connection:
        assert await usage.balance(connection, context.tenant_id) == usage.Balance(4, 0, 1)


async def test_an_upload_whose_reservation_ran_out_is_refused(catalog: Database, object_store: ObjectStore) -> None:
    process = MiniProcess(catalog, object_store, upload_duration=NOW)
    context = await process.tenant()

    async def slow() -> Any:
        yield b"begun"
        from s4.domains.documents.queries import reservations

        async def expire(connection: Any) -> None:
            now = await catalog.now(connection)
            for *_, version_id in await reservations.expired(connection, now, limit=10):
                await reservations.drop(connection, version_id)

        await catalog.transact(expire)

    with pytest.raises(Unavailable):
        await process.uploads.receive(context, _request("k"), content=slow())
    with pytest.raises(NotFound):
        await content(process, context, "k")


def _request(key: str | None, **options: Any) -> Any:
    from s4.domains.documents import UploadRequest

    return UploadRequest(filename="f.txt", content_type="text/plain", key=key, **options)
