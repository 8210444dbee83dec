"""Who was erased is gone from the second bucket, too, and stays so whichever of the two serves."""

import pytest

from s4.domains.leaving import Elsewhere, ErasureState
from s4.domains.webhooks.model import NewWebhook
from s4.entrypoints.bootstrap import make_promotions, make_replicator
from s4.kernel import keys
from s4.kernel.errors import Unavailable
from tests.contracts.test_erasures import delete, receipt, sweep
from tests.factories.house import House, Tenant
from tests.factories.process import OWNER
from tests.factories.regions import Regions, copied, lived_in

NEEDLE = b"the needle of who leaves"
HOOK = NewWebhook("https://hooks.invalid/", ("*",), description=NEEDLE.decode())


def holding_the_needle(bucket: dict[str, bytes]) -> list[str]:
    return [key for key, data in bucket.items() if NEEDLE in data]


async def with_a_needle(house: House) -> Tenant:
    acme = await lived_in(house)
    await house.put(acme, "needle", NEEDLE)
    await house.work()
    return acme


@pytest.mark.parametrize("by", ["the erasure", "the copying"])
async def test_who_is_erased_is_gone_from_the_second_bucket_at_once(regions: Regions, by: str) -> None:
    async with regions.house("first", erasure_settle_seconds=0, replica_deletions_hours=24) as first:
        acme = await with_a_needle(first)
        tenant_id = acme.context.tenant_id
        await copied(first)
        await first.core.store.put(keys.probe("stays"), b"")
        assert holding_the_needle(regions.bucket("second")) != []
        if by == "the copying":  # as where the second bucket became a copy after the receipt
            first.core.erasures._elsewhere = Elsewhere()

        await delete(first, tenant_id)
        await first.work()

        said = await receipt(first, tenant_id)
        assert not any("second bucket" in each["what"] for each in said["remains"])
        if by == "the copying":
            await copied(first)
        mine = [
            key for key in regions.bucket("second") if key.startswith(("tenants/", "indices/")) and tenant_id in key
        ]
        assert [key for key in mine if key.startswith(keys.tenant_heads(tenant_id)) is False] == []
        assert holding_the_needle(regions.bucket("second")) == []
        await copied(first)
        assert len([key for key in regions.bucket("second") if key.startswith(keys.tenant(tenant_id))]) == 1


async def test_no_receipt_is_signed_before_the_second_bucket_was_looked_into(regions: Regions) -> None:
    async def away() -> None:
        raise Unavailable("away")

    async with regions.house("first", erasure_settle_seconds=0) as first:
        acme = await with_a_needle(first)
        await copied(first)
        elsewhere = first.core.erasures._elsewhere
        first.core.erasures._elsewhere = Elsewhere(copy=away)
        await delete(first, acme.context.tenant_id)
        await sweep(first)
        assert (await first.core.erasures.get(OWNER, acme.context.tenant_id)).state is ErasureState.ERASED
        first.core.erasures._elsewhere = elsewhere
        for _ in range(2):  # it is found there, deleted, and looked for again
            await sweep(first)
        await receipt(first, acme.context.tenant_id)
    assert holding_the_needle(regions.bucket("second")) == []


async def test_a_second_bucket_that_is_no_copy_is_named_as_what_remains(regions: Regions) -> None:
    async with regions.house("first", erasure_settle_seconds=0) as first:
        acme = await with_a_needle(first)
        await delete(first, acme.context.tenant_id)
        await first.work()
        remains = (await receipt(first, acme.context.tenant_id))["remains"]
    assert [each["until"] for each in remains if "second bucket" in each["what"]] == [None]


async def test_a_promoted_bucket_is_looked_at_for_whoever_was_erased_before(regions: Regions) -> None:
    """Forth: the copy still has everything. And back: what was put aside there outlived the erasure."""
    async with regions.house("first", erasure_settle_seconds=0) as first:
        acme, globex = await with_a_needle(first), await first.tenant("Globex")
        await copied(first)
        left = {key: data for key, data in regions.bucket("second").items() if NEEDLE in data}
        await delete(first, acme.context.tenant_id)
        await first.work()
        await receipt(first, acme.context.tenant_id)
        await copied(first)
        await first.put(globex, "stranded", NEEDLE)
        await first.core.webhooks.create_for(OWNER, globex.context.tenant_id, HOOK)
    for key, data in left.items():  # as a store leaves it that copies by itself
        (regions.folder / "bucket-second" / key).parent.mkdir(parents=True, exist_ok=True)
        (regions.folder / "bucket-second" / key).write_bytes(data)

    await regions.promote("second")
    async with regions.house("second", erasure_settle_seconds=0) as second:
        await sweep(second)
        assert holding_the_needle(regions.bucket("second")) == []
        said = await receipt(second, acme.context.tenant_id)
        assert said["removed"]["objects"]["content"]["objects"] > 4
        await sweep(second)
        assert await receipt(second, acme.context.tenant_id) == said, "once"
        await make_promotions(second.core).fail_back(make_replicator(second.core))
        assert any(key.startswith(keys.STRANDED) for key in holding_the_needle(regions.bucket("first")))
        second.core.erasures._elsewhere = Elsewhere()
        await delete(second, globex.context.tenant_id)
        await second.work()
        await receipt(second, globex.context.tenant_id)
        await copied(second)

    regions.lose_catalog("first")
    await regions.promote("first")
    async with regions.house("first", erasure_settle_seconds=0) as back:
        await sweep(back)
        assert holding_the_needle(regions.bucket("first")) == []
        assert (await receipt(back, globex.context.tenant_id))["removed"]["objects"]["stranded"]["objects"] > 0


async def test_what_is_stranded_of_an_erased_tenant_is_not_put_aside(regions: Regions) -> None:
    async with regions.house("first") as first:
        acme = await lived_in(first)
        await copied(first)
        await first.put(acme, "stranded", NEEDLE)
        await first.core.webhooks.create_for(OWNER, acme.context.tenant_id, HOOK)
    await regions.promote("second")
    async with regions.house("second", erasure_settle_seconds=0) as second:
        await delete(second, acme.context.tenant_id)
        await second.work()
        await receipt(second, acme.context.tenant_id)
        await make_promotions(second.core).fail_back(make_replicator(second.core))
    assert holding_the_needle(regions.bucket("first")) == []
