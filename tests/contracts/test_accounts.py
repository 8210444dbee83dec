"""All of S4 in one process: what the bucket holds by class, and what reconcilers and rebuilds leave alone."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import obstore
import pytest
import sqlalchemy as sa
import structlog

from s4.domains import usage
from s4.domains.documents.models import documents, upload_reservations
from s4.domains.events.models import events
from s4.domains.maintenance.service import COLLECT
from s4.domains.plans.model import Plan
from s4.domains.tenants import NewTenant
from s4.domains.usage import StorageClass
from s4.kernel import keys
from s4.kernel.keys import ObjectKey
from s4.kernel.units import KIB
from s4.platform import faults
from s4.platform.database import Connection, Database
from s4.platform.jobs import run_now, state_of
from tests.factories.house import House, Tenant, open_house
from tests.factories.process import OWNER, MiniProcess, ProcessDied
from tests.servers import S3Server

NO_GRACE: dict[str, Any] = {"garbage_grace_seconds": 0, "upload_seconds_max": 0.01}


async def on_plan(house: House, plan: Plan) -> Tenant:
    await house.core.plans.create(OWNER, plan)
    _, key = await house.core.tenants.create(OWNER, NewTenant("Acme", None, None, plan.id))
    return await house.known(key)


async def told(database: Database) -> list[int]:
    async with database.read() as connection:
        return [data["threshold_percent"] for data in (await connection.execute(sa.select(events.c.data))).scalars()]


async def test_the_classes_add_up_to_what_the_bucket_holds_and_to_each_tenants_share(
    tmp_path: Path, s3_server: S3Server, s3_bucket: str
) -> None:
    place = {
        "store_url": f"s3://{s3_bucket}",
        "store_endpoint": s3_server.endpoint,
        "store_access_key_id": s3_server.access_key,
        "store_secret_access_key": s3_server.secret_key,
    }
    async with open_house(tmp_path, **place) as house:
        acme, other = await house.tenant(), await house.tenant("Other")
        await house.put(acme, "k", "the ancient wording " * 500)
        await house.work()
        await house.put(acme, "k", "the modern wording " * 300)
        await house.put(other, "n", b"\x00\x01" * 50 * KIB, content_type="application/octet-stream")
        await house.work()
        await house.core.store.put(ObjectKey("somebody/elses"), bytes(1234))
        await house.core.store.put(ObjectKey("backups/2026/manifest.json"), bytes(77))

        before = await house.core.accounts.storage(OWNER)
        await house.parts.maintenance.collect()

        storage, balance = await house.core.accounts.storage(OWNER)
        accounts = {each: await house.core.accounts.storage_of(OWNER, each.context.tenant_id) for each in (acme, other)}
        listed = [meta async for page in obstore.list(s3_server.client(s3_bucket)) for meta in page]

    assert (before[0].listed_at, before[0].total.size_bytes) == (None, 0)
    assert (storage.total.size_bytes, storage.total.objects) == (sum(m["size"] for m in listed), len(listed))
    assert storage.classes[StorageClass.OTHER] == usage.Holding(1234, 1)
    assert storage.classes[StorageClass.BACKUP] == usage.Holding(77, 1)
    mine = accounts[acme].storage.classes
    assert mine[StorageClass.CONTENT] == usage.Holding(len("the modern wording " * 300), 1)
    assert mine[StorageClass.OLD_VERSIONS].size_bytes > len("the ancient wording " * 500), "content and text"
    assert mine[StorageClass.OLD_VERSIONS].objects == 2
    assert {StorageClass.TEXT, StorageClass.HEADS, StorageClass.INDEX, StorageClass.EMBEDDINGS} <= set(mine)
    for account in accounts.values():
        assert account.storage.classes[StorageClass.CONTENT].size_bytes == account.balance.stored_bytes
    nobodys = sum(storage.classes[each].size_bytes for each in ("system", "other", "backup"))  # type: ignore[index]
    shares = sum(account.storage.total.size_bytes for account in accounts.values())
    assert shares + nobodys == storage.total.size_bytes
    assert balance.stored_bytes == sum(account.balance.stored_bytes for account in accounts.values())


async def test_what_was_collected_is_not_counted_and_what_went_leaves_no_row(tmp_path: Path) -> None:
    async with open_house(tmp_path, **NO_GRACE) as house:
        acme = await house.tenant()
        await house.put(acme, "k", "the ancient wording")
        document = await house.put(acme, "k", "the modern wording")
        await house.parts.maintenance.collect()
        classes = (await house.core.accounts.storage_of(OWNER, acme.context.tenant_id)).storage.classes
        assert StorageClass.OLD_VERSIONS not in classes

        await house.core.documents.delete(acme.context, document.document_id)
        await house.parts.maintenance.collect()

        classes = (await house.core.accounts.storage_of(OWNER, acme.context.tenant_id)).storage.classes
        assert set(classes) == {StorageClass.HEADS}


async def test_a_rebuilt_catalog_has_the_same_balance_and_tells_no_threshold_again(tmp_path: Path) -> None:
    async with open_house(tmp_path) as house:
        acme = await on_plan(house, Plan("tight", "Tight", storage_limit=1000))
        await house.put(acme, "k", bytes(960))
        assert await told(house.core.database) == [80, 95]
    for file in tmp_path.glob("catalog*"):
        file.unlink()

    async with open_house(tmp_path) as house:
        await house.work()
        async with house.core.database.read() as connection:
            held = await usage.balance(connection, acme.context.tenant_id)
        assert (held, await told(house.core.database)) == (usage.Balance(960, 0, 1, 0), [])
        await house.put(acme, "k", bytes(1000))
        assert await told(house.core.database) == [100], "those below were told before"


async def test_the_room_of_an_overdue_upload_is_given_back_but_not_of_one_that_is_sealed(tmp_path: Path) -> None:
    async with open_house(tmp_path) as house:
        acme = await on_plan(house, Plan("tight", "Tight", storage_limit=20))
        database, store = house.core.database, house.core.store

        async def die_at(step: str, key: str) -> None:
            doomed = MiniProcess(database, store)
            faults.arm({step: doomed.die})
            with pytest.raises(ProcessDied):
                await doomed.put(acme.context, key, b"1234567890")
            faults.arm({})

        async def reconciled_when_overdue() -> usage.Balance:
            async def age(connection: Connection) -> None:
                past = await database.now(connection) - timedelta(hours=1)
                await connection.execute(sa.update(upload_reservations).values(expires_at=past))

            await database.transact(age)
            await house.parts.maintenance.reconcile()
            async with database.read() as connection:
                return await usage.balance(connection, acme.context.tenant_id)

        await die_at("document.committed", "k")
        assert await reconciled_when_overdue() == usage.Balance(0, 10, 0, 1), "it is in the bucket, and will be settled"
        await MiniProcess(database, store, lease=timedelta(0)).chains.resolve_stale()
        assert await reconciled_when_overdue() == usage.Balance(10, 0, 1, 0)

        await die_at("upload.streamed", "n")
        assert await reconciled_when_overdue() == usage.Balance(10, 0, 1, 0)


async def test_bytes_that_went_behind_its_back_are_told_and_their_document_stays(tmp_path: Path) -> None:
    async with open_house(tmp_path) as house:
        acme = await house.tenant()
        lost, _ = await house.put(acme, "k", b"12345"), await house.put(acme, "n", b"123")
        now = datetime.now(UTC)
        await house.core.database.transact(lambda c: run_now(c, house.core.queue, COLLECT, now=now))
        assert (await house.parts.maintenance.collect()).drift_bytes == 0
        await house.core.store.delete([keys.content(lost.tenant_id, lost.document_id, lost.version_id)])

        with structlog.testing.capture_logs() as logs:
            report = await house.parts.maintenance.collect()

        assert report.drift_bytes == 5
        async with house.core.database.read() as connection:
            state = await state_of(connection, COLLECT, now)
        assert state is not None
        assert state.drift_bytes == 5, "for whoever is asked for metrics"
        assert [line["document_id"] for line in logs if line["event"] == "maintenance.content_differs"] == [
            lost.document_id
        ]
        assert len(await house.all(acme)) == 2


async def test_a_foreign_key_among_a_documents_own_makes_none_of_them_garbage(tmp_path: Path) -> None:
    """The head cannot be read, so the catalog does not know the document: that is no reason to delete its bytes."""
    async with open_house(tmp_path, **NO_GRACE) as house:
        acme = await house.tenant()
        document = await house.put(acme, "k", b"12345")
        of_document = keys.document(document.tenant_id, document.document_id)
        await house.core.store.put(keys.document_head(document.tenant_id, document.document_id, 2), b"no head")
        await house.core.store.put(ObjectKey(f"{of_document}k/foreign"), b"between head and version")
        await house.core.database.transact(forget_documents)

        await house.parts.maintenance.collect()

        key = keys.content(document.tenant_id, document.document_id, document.version_id)
        assert await house.core.store.get(key) == b"12345"


async def forget_documents(connection: Connection) -> None:
    await connection.execute(sa.delete(documents))
