"""A small test of what `s4 verify-isolation` proves: that keys are well-formed and owned. Changes nothing."""

from collections.abc import AsyncIterator

from s4.domains.tenants import queries as tenant_queries
from s4.entrypoints.doctor.report import Check, failed, ok
from s4.entrypoints.doctor.whole.bedside import STORE, Bedside
from s4.kernel import keys
from s4.kernel.keys import ObjectKey, ObjectPrefix
from s4.platform.objects import ObjectStore

_SAMPLE = 500  # keys below each place: ids are random, so the first are a fair sample
_NAMED_MAX = 3
_NEXT = "Run `s4 verify-isolation` with the bucket's settings: it reads all of it, and tells whose each object is."


async def bucket(bedside: Bedside) -> list[Check]:
    """A sample of what lies with tenants."""
    name = "isolation.keys"
    store = await bedside.store()
    sampled = [key for place in (keys.TENANTS, keys.INDICES) async for key in _some(store, place)]
    parsed = {key: keys.parse(key) for key in sampled}
    strange = [key for key, found in parsed.items() if found is None]
    owners = {found.tenant_id for found in parsed.values() if found is not None and found.tenant_id is not None}
    async with bedside.catalog() as connection:
        known = await tenant_queries.known_among(connection, sorted(owners))
    lost = [key for key, found in parsed.items() if found is not None and found.tenant_id in owners - known]
    checks = [
        failed(name, f"{len(wrong)} of {len(sampled)} {what}: {', '.join(wrong[:_NAMED_MAX])}.", _NEXT, cause=STORE)
        for wrong, what in ((strange, "keys are none that S4 makes"), (lost, "objects have an owner that nobody knows"))
        if wrong
    ]
    return checks or [ok(name, f"{len(sampled)} keys of {len(owners)} tenants parse and have their owner.")]


async def _some(store: ObjectStore, place: ObjectPrefix) -> AsyncIterator[ObjectKey]:
    count = 0
    async for info in store.list(place):
        yield info.key
        count += 1
        if count == _SAMPLE:
            return
