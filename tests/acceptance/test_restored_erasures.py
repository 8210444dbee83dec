"""What a deployment that was restored from a backup of before has of whoever was erased since: nothing but the list;
and what becomes of erasures that were under way."""

from pathlib import Path

import pytest

from s4.domains.backup import Restorer, erased_by_place, together
from s4.domains.backup.erased import erased_in
from s4.domains.leaving import ErasureState
from s4.domains.webhooks.model import NewWebhook
from s4.entrypoints.bootstrap import RANDOM, make_backups, open_own_store, open_place, open_restored
from s4.kernel import keys
from s4.kernel.clock import SystemClock
from s4.kernel.ids import TenantId
from s4.kernel.settings import Settings
from s4.platform import faults
from tests.acceptance.test_backup import KEY, settings_of
from tests.contracts.test_erasures import delete, sweep
from tests.factories.house import House, Tenant, open_house
from tests.factories.process import OWNER

pytestmark = pytest.mark.processes


async def furnished(house: House, name: str) -> Tenant:
    """With something of everything that its operator configures."""
    tenant = await house.tenant(name)
    await house.put(tenant, "one", "Tides follow the moon.")
    await house.work()
    hook = NewWebhook(f"https://hooks.invalid/{name}", ("*",))
    await house.core.webhooks.create_for(OWNER, tenant.context.tenant_id, hook)
    await house.core.contacts.set(OWNER, tenant.context.tenant_id, [(f"office@{name}.example", ("account",))])
    return tenant


async def restored(old: House, settings: Settings) -> None:
    """As `s4 restore --erased-in`."""
    async with open_place(settings) as place, open_own_store(settings) as target:
        manifest = await place.find("latest")
        by_place, by_store = await erased_by_place(place, manifest), await erased_in(old.core.store, reads=True)
        restorer = Restorer(place, target, SystemClock(), RANDOM)
        done = await restorer.restore(
            manifest,
            together(by_place.erased, by_store.erased),
            lambda: open_restored(settings),
            besides=by_place.listed | by_store.listed,
        )
        assert done.ok, done.problems


async def naming(house: House, name: str, tenant_id: TenantId) -> list[str]:
    """Objects that know a tenant, but for the list of erasures and the audit trail, which is everybody's."""
    listed = [info.key async for info in house.core.store.list(keys.EVERYTHING)]
    found = {
        key: key.encode() + await house.core.store.get(key)
        for key in listed
        if not key.startswith((f"{keys.SYSTEM}erasures/", keys.AUDIT))
    }
    return [key for key, said in found.items() if f"invalid/{name}".encode() in said or tenant_id.encode() in said]


@pytest.mark.parametrize("key", [None, KEY])
async def test_webhooks_and_contacts_of_who_was_erased_do_not_come_back(tmp_path: Path, key: str | None) -> None:
    said = {"backup_url": (tmp_path / "elsewhere").as_uri(), "backup_encryption_key": key}
    async with open_house(tmp_path / "data", erasure_settle_seconds=0, **said) as house:
        gone, stays = await furnished(house, "gone"), await furnished(house, "stays")
        gone_id, stays_id = gone.context.tenant_id, stays.context.tenant_id
        await make_backups(house.core).create()
        await delete(house, gone_id)
        await house.work()
        assert (await house.core.erasures.get(OWNER, gone_id)).state is ErasureState.PROVED
        settings = settings_of(tmp_path, "fresh", house)
        await restored(house, settings)

    async with open_house(tmp_path / "fresh") as fresh:
        assert await naming(fresh, "gone", gone_id) == []
        assert await fresh.core.contacts.get(OWNER, gone_id) == []
        assert await fresh.core.contacts.get(OWNER, stays_id) == [("office@stays.example", ("account",))]
        assert [hook.url for hook in await fresh.core.webhooks.all_of(OWNER, stays_id)] == [
            "https://hooks.invalid/stays"
        ]


def crash() -> None:
    faults.arm({})
    raise faults.InjectedFault


async def test_an_erasure_that_was_under_way_ends_in_a_receipt_in_the_restored_deployment(tmp_path: Path) -> None:
    """Its tombstone is newer than the backup; nothing of the tenant was brought back that it would have to guard."""
    async with open_house(tmp_path / "data", backup_url=(tmp_path / "elsewhere").as_uri()) as house:
        gone_id = (await furnished(house, "gone")).context.tenant_id
        await make_backups(house.core).create()
        faults.arm({"erase.counted": crash})
        await delete(house, gone_id)
        await house.work()
        assert (await house.core.erasures.get(OWNER, gone_id)).state is ErasureState.COUNTED
        settings = settings_of(tmp_path, "fresh", house)
        await restored(house, settings)

    async with open_house(tmp_path / "fresh", erasure_settle_seconds=0) as fresh:
        await sweep(fresh)
        erasure = await fresh.core.erasures.get(OWNER, gone_id)
        assert erasure.state is ErasureState.PROVED
        assert erasure.receipt is not None
        assert erasure.receipt["kept"] == [], "there is no tombstone"
