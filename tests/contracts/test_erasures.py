"""A deleted tenant's bytes and rows go, in every class; late writers are found out; the receipt is true and signed."""

import contextlib
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

import s4client
from s4.domains.leaving import Elsewhere, ErasureState, erased_tenants
from s4.domains.leaving.queries.erasures import ERASED_TABLES
from s4.domains.maintenance import service as maintenance
from s4.domains.webhooks.model import NewWebhook
from s4.entrypoints.bootstrap.rebuilding import make_rollups
from s4.entrypoints.cli.erasure_commands import _next_look, verify
from s4.entrypoints.cli.options import WrongUsage
from s4.kernel import keys
from s4.kernel.clock import parse_rfc3339
from s4.kernel.errors import Unavailable
from s4.kernel.ids import DocumentId, TenantId, VersionId
from s4.platform import faults
from s4.platform.database import Connection, metadata
from s4.platform.jobs import SYSTEM, JobRequest
from s4.platform.security.signing import Signer, parsed, verifies
from tests.factories.house import House, Tenant, open_house
from tests.factories.process import OWNER

NOT_ERASED = {
    "tenants": "the tombstone: it names nobody",
    "audit_entries": "append-only, and chained by hash; the receipt says that it remains",
    "records": "rows of the tenant's webhooks and contacts go by name; the erasure itself stands here",
    "commit_tickets": "gone with the commit that they are of",
}
"""Tables with a tenant's id whose rows do not go by it."""


async def rows_of(house: House, tenant_id: str) -> dict[str, int]:
    found = {}
    async with house.core.database.read() as connection:
        for table in ERASED_TABLES:
            of_tenant = sa.select(sa.func.count()).select_from(table).where(table.c.tenant_id == tenant_id)
            found[table.name] = (await connection.execute(of_tenant)).scalar_one()
    return {name: count for name, count in found.items() if count}


async def objects_of(house: House, tenant_id: str) -> list[str]:
    """Every object whose key or bytes know the tenant, but for the list of erasures and the audit trail."""
    own = (f"{keys.SYSTEM}erasures/", keys.AUDIT)
    listed = [info.key async for info in house.core.store.list(keys.EVERYTHING)]
    return [
        key
        for key in listed
        if not key.startswith(own) and (tenant_id in key or tenant_id.encode() in await house.core.store.get(key))
    ]


async def sweep(house: House) -> None:
    request = JobRequest(maintenance.DEPARTURES, SYSTEM, maintenance.DEPARTURES, {})
    await house.core.database.transact(lambda c: house.core.queue.enqueue(c, request))
    await house.work()


async def furnished(house: House, name: str = "Acme") -> Tenant:
    """A tenant with something of everything."""
    tenant = await house.tenant(name)
    await house.put(tenant, "tides", "Tides follow the moon.", {"year": 2026})
    gone = await house.put(tenant, "ice", "Glaciers grind the valley.")
    await house.work()
    await house.core.documents.delete(tenant.context, gone.document_id)
    hook = NewWebhook("https://hooks.invalid/acme", ("*",))
    await house.core.webhooks.create_for(OWNER, tenant.context.tenant_id, hook)
    await house.core.contacts.set(OWNER, tenant.context.tenant_id, [("office@acme.example", ("account",))])
    await house.work()
    await house.core.meter.flush()
    return tenant


async def delete(house: House, tenant_id: TenantId) -> None:
    await house.core.lifecycle.delete(OWNER, tenant_id)
    await house.core.lifecycle.finish_deletion(OWNER, tenant_id)


async def receipt(house: House, tenant_id: TenantId) -> dict[str, Any]:
    erasure = await house.core.erasures.get(OWNER, tenant_id)
    assert erasure.state is ErasureState.PROVED
    assert erasure.receipt is not None
    return dict(erasure.receipt)


def test_every_table_that_names_a_tenant_is_erased_or_says_why_not() -> None:
    naming = {table.name for table in metadata.sorted_tables if "tenant_id" in table.c}
    assert naming == {table.name for table in ERASED_TABLES} | set(NOT_ERASED)


async def test_a_deletion_ends_in_a_receipt_and_nothing_is_left(tmp_path: Path) -> None:
    async with open_house(tmp_path, erasure_settle_seconds=0) as house:
        acme, other = await furnished(house), await furnished(house, "Other")
        tenant_id = acme.context.tenant_id
        others = await objects_of(house, other.context.tenant_id)
        assert {"documents", "usage_ledger", "tenant_keys", "index_tables"} <= set(await rows_of(house, tenant_id))

        await delete(house, tenant_id)
        await house.work()

        tombstone = [info.key async for info in house.core.store.list(keys.tenant(tenant_id))]
        assert await objects_of(house, tenant_id) == tombstone
        assert len(tombstone) == 1
        assert b"Acme" not in await house.core.store.get(keys.ObjectKey(tombstone[0]))
        await house.core.meter.flush()  # what was used until then is written late, and goes with the next sweep
        await sweep(house)
        assert await rows_of(house, tenant_id) == {}
        assert await objects_of(house, other.context.tenant_id) == others
        assert await house.found(other, "tides") != []

        said = await receipt(house, tenant_id)
        classes = said["removed"]["objects"]
        assert classes["content"] == {"objects": 2, "bytes": len("Tides follow the moon.Glaciers grind the valley.")}
        assert {"content", "text", "heads", "index", "embeddings", "configuration"} == set(classes)
        assert said["removed"]["rows"]["documents"] == 2
        assert [each["until"] is not None for each in said["remains"]] == [False, True]
        assert verifies(said, house.core.erasures.public_key)
        assert not verifies(said | {"requested_at": "2020-01-01T00:00:00Z"}, house.core.erasures.public_key)
        assert verifies(json.loads(json.dumps(said)), said["public_key"])
        assert await erased_tenants(house.core.store) == {tenant_id}


async def test_what_was_rolled_up_of_a_tenant_s_use_goes_and_is_not_rolled_up_again(tmp_path: Path) -> None:
    async with open_house(tmp_path, erasure_settle_seconds=0) as house:
        acme = await furnished(house)
        tenant_id = acme.context.tenant_id
        rollups = make_rollups(house.core)
        await rollups.run()
        written = [info.key async for info in house.core.store.list(keys.usage_rollups(tenant_id))]
        assert written
        stranded = keys.stranded(2, written[0])
        await house.core.store.put(stranded, b"of a former first region")

        await house.core.lifecycle.delete(OWNER, tenant_id)
        await house.core.lifecycle.finish_deletion(OWNER, tenant_id)
        await house.core.meter.flush()
        await rollups.run()
        await house.work()
        await sweep(house)

        removed = (await receipt(house, tenant_id))["removed"]["objects"]
        assert (removed["usage"]["objects"], removed["stranded"]["objects"]) == (len(written), 1)
        assert [info.key async for info in house.core.store.list(keys.STRANDED)] == []
        await rollups.run()
        assert [info.key async for info in house.core.store.list(keys.usage_rollups(tenant_id))] == []


async def test_a_late_writer_is_found_out_before_anything_is_signed(tmp_path: Path) -> None:
    async with open_house(tmp_path, erasure_settle_seconds=0) as house:
        acme = await furnished(house)
        tenant_id = acme.context.tenant_id
        document_id, version_id = DocumentId("doc_" + "a" * 26), VersionId("ver_" + "a" * 26)
        late = keys.content(tenant_id, document_id, version_id)
        prove, late_once = house.core.erasures._prove, iter([late])

        async def prove_after_the_writer(erasure: Any) -> bool:
            for key in late_once:
                await house.core.store.put(key, b"late")
            return await prove(erasure)

        house.core.erasures._prove = prove_after_the_writer  # type: ignore[method-assign]
        await delete(house, tenant_id)
        await house.work()
        assert (await house.core.erasures.get(OWNER, tenant_id)).state is ErasureState.COUNTED

        await sweep(house)

        assert [info.key async for info in house.core.store.list(keys.documents(tenant_id))] == []
        assert (await receipt(house, tenant_id))["removed"]["objects"]["content"]["objects"] == 3


async def test_who_is_alive_in_the_bucket_is_not_erased(tmp_path: Path) -> None:
    """Whatever a catalog says: one that belongs to another moment may be wrong."""
    async with open_house(tmp_path, erasure_settle_seconds=0) as house:
        acme = await furnished(house)
        before = await objects_of(house, acme.context.tenant_id)
        await house.core.erasures.begin(acme.context.tenant_id)
        await sweep(house)
        assert (await house.core.erasures.get(OWNER, acme.context.tenant_id)).state is ErasureState.BEGUN
        assert set(before) <= set(await objects_of(house, acme.context.tenant_id))
        assert await house.found(acme, "tides") != []


async def test_nothing_is_signed_before_the_last_writer_must_have_ended(tmp_path: Path) -> None:
    async with open_house(tmp_path) as house:
        acme = await furnished(house)
        await delete(house, acme.context.tenant_id)
        await house.work()
        await sweep(house)
        erasure = await house.core.erasures.get(OWNER, acme.context.tenant_id)
        assert (erasure.state, erasure.receipt) == (ErasureState.ERASED, None)
        assert erasure.prove_after is not None
        assert erasure.erased_at is not None
        settings = house.core.settings
        longest = max(settings.upload_seconds_max, settings.job_lease_seconds, settings.commit_lease_seconds)
        assert (erasure.prove_after - erasure.erased_at).total_seconds() > longest


async def test_the_proof_comes_when_it_is_said_to_and_waits_for_no_sweep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_house(tmp_path, erasure_settle_seconds=3600) as house:
        acme = await furnished(house)
        await delete(house, acme.context.tenant_id)
        await house.work()
        erasure = await house.core.erasures.get(OWNER, acme.context.tenant_id)
        assert erasure.state is ErasureState.ERASED
        assert erasure.prove_after is not None
        said = erasure.prove_after

        async def then(_: Connection) -> datetime:
            return said

        monkeypatch.setattr(house.core.database, "now", then)
        await house.work()
        await receipt(house, acme.context.tenant_id)


def test_a_look_that_is_due_is_not_announced_as_one_to_come() -> None:
    def said(prove_after: datetime | None) -> str:
        found = {"tenant_id": "ten_a", "state": "erased", "requested_at": "2026-01-31T12:00:00Z", "erased_at": None,
                 "prove_after": prove_after, "objects": {}, "bytes": {}, "rows": {}, "receipt": None}  # fmt: skip
        return _next_look(s4client.Erasure.model_validate(found))

    now = datetime.now(UTC)
    assert "is looked at again at" in said(now + timedelta(hours=1))
    assert "S4_SWEEP_SECONDS" in said(now - timedelta(seconds=1))
    assert said(None) == ""


async def test_the_receipt_says_how_long_backups_remain(tmp_path: Path) -> None:
    async def until(name: str, **settings: Any) -> timedelta | None:
        place = (tmp_path / "backups").as_uri()
        async with open_house(tmp_path / name, erasure_settle_seconds=0, backup_url=place, **settings) as house:
            acme = await house.tenant()
            await delete(house, acme.context.tenant_id)
            await house.work()
            said = await receipt(house, acme.context.tenant_id)
            named = [each["until"] for each in said["remains"] if "own backups" in each["what"]]
            assert len(named) == 1
            return parse_rfc3339(named[0]) - parse_rfc3339(said["erased_at"]) if named[0] is not None else None

    assert await until("days", backup_every_hours=24, backup_keep_days=30, backup_keep_count=7) == timedelta(days=30)
    assert await until("count", backup_every_hours=24, backup_keep_days=1, backup_keep_count=7) == timedelta(days=8)
    assert await until("kept", backup_every_hours=24, backup_prune=False) is None


async def test_no_receipt_is_signed_before_it_is_noted_beside_the_backups(tmp_path: Path) -> None:
    place = tmp_path / "backups"
    async with open_house(tmp_path / "data", erasure_settle_seconds=0, backup_url=place.as_uri()) as house:
        acme = await furnished(house)
        elsewhere = house.core.erasures._elsewhere

        def away() -> Any:
            raise Unavailable("away")

        house.core.erasures._elsewhere = Elsewhere(backups=away)
        await delete(house, acme.context.tenant_id)
        await sweep(house)
        assert (await house.core.erasures.get(OWNER, acme.context.tenant_id)).state is ErasureState.ERASED
        house.core.erasures._elsewhere = elsewhere
        await sweep(house)
        await receipt(house, acme.context.tenant_id)
    assert (place / keys.backup_erased(acme.context.tenant_id)).exists()


def test_a_receipt_in_which_a_name_stands_twice_is_not_read(tmp_path: Path) -> None:
    file = tmp_path / "receipt.json"
    signed = Signer("secret").signed({"proved_empty_at": "2026-01-31T12:00:00Z", "removed": {"rows": {"a": 1}}})
    text = json.dumps(signed)
    assert verifies(parsed(text.encode()), signed["public_key"])
    for bad in (
        text.replace('{"proved', '{"proved_empty_at": "2020-01-31T12:00:00Z", "proved', 1),
        text.replace('{"a"', '{"a": 0, "a"', 1),
    ):
        file.write_text(bad)
        assert verifies(json.loads(bad), signed["public_key"]), "to a reader who takes the last"
        with pytest.raises(ValueError, match="twice"):
            parsed(file.read_bytes())
        with pytest.raises(WrongUsage, match="do not believe"):
            verify(file, signed["public_key"])


async def test_a_crash_at_any_step_loses_no_count_and_no_receipt(tmp_path: Path) -> None:
    def crash() -> None:
        faults.arm({})
        raise faults.InjectedFault

    async with open_house(tmp_path, erasure_settle_seconds=0, job_backoff_seconds=0.001) as house:
        for point in ("erase.begun", "erase.counted", "erase.deleted"):
            acme = await furnished(house)
            faults.arm({point: crash})
            with contextlib.suppress(faults.InjectedFault):
                await delete(house, acme.context.tenant_id)
            await house.work()
            await sweep(house)
            said = await receipt(house, acme.context.tenant_id)
            assert said["removed"]["objects"]["content"]["objects"] == 2, point


async def test_a_lost_catalog_learns_of_erasures_from_the_bucket(tmp_path: Path) -> None:
    async with open_house(tmp_path, erasure_settle_seconds=0) as house:
        acme = await furnished(house)
        await delete(house, acme.context.tenant_id)
        await house.work()
        before = await receipt(house, acme.context.tenant_id)
    for file in tmp_path.glob("catalog.sqlite*"):
        file.unlink()
    async with open_house(tmp_path, erasure_settle_seconds=0) as rebuilt:
        await rebuilt.work()
        assert await receipt(rebuilt, acme.context.tenant_id) == before


async def test_tombstones_of_before_are_erased_too(tmp_path: Path) -> None:
    """Of an older release, or because who should have begun it crashed."""
    async with open_house(tmp_path, erasure_settle_seconds=0) as house:
        acme = await furnished(house)
        house.core.lifecycle._buried = None
        await delete(house, acme.context.tenant_id)
        await sweep(house)
        assert (await receipt(house, acme.context.tenant_id))["removed"]["objects"]["content"]["objects"] == 2
