"""Who was erased, as far as anybody can still tell: whoever restores an old backup asks here first.

The list (`system/erasures/`) is part of every backup, and grows only. So the newest backup knows more than the one that
is restored, and the deployment itself, where it is still there, knows most. Before an erasure ends in a receipt, it is
also noted beside the backups, so that a bucket that is lost before the next backup takes nobody's erasure with it. All
that is read is which tenants have a place in the list; what stands there is the erasures' own.
"""

from s4.domains.backup.model import Entry, Erased
from s4.domains.backup.place import Place
from s4.domains.backup.restorer import checked
from s4.domains.leaving import erased_tenants
from s4.kernel import keys
from s4.kernel.errors import S4Error
from s4.kernel.ids import TenantId, is_tenant_id
from s4.kernel.keys import Collection, ObjectKey
from s4.platform.objects import ObjectStore

_LIST = keys.collection(Collection.ERASURES)


async def erased_by_place(place: Place) -> tuple[Erased, dict[ObjectKey, bytes]]:
    """By what is noted beside the backups and by the newest one that can be read, and the objects of its list."""
    beside = await _beside(place)
    for identifier in reversed(await place.ids()):
        try:
            manifest = await place.manifest(identifier)
            entries = [entry async for entry in place.entries(manifest) if entry.key.startswith(_LIST)]
            by_data: dict[str, list[Entry]] = {}
            for entry in entries:
                by_data.setdefault(entry.data, []).append(entry)
            listed: dict[ObjectKey, bytes] = {}
            for name, of in by_data.items():
                encrypted = manifest.encrypted_under is not None
                packed = b"".join([chunk async for chunk in place.data(name, encrypted=encrypted)])
                listed |= {entry.key: checked(entry, packed) for entry in of}
        except S4Error:
            continue  # never finished, or damaged: an older one says what it knows
        names = (key.removeprefix(_LIST).split("/")[0] for key in listed)
        return together(beside, Erased(frozenset(TenantId(name) for name in names if is_tenant_id(name)))), listed
    return beside, {}


async def _beside(place: Place) -> Erased:
    names = [info.key.rpartition("/")[2].removesuffix(".json") async for info in place.store.list(keys.BACKUP_ERASED)]
    return Erased(frozenset(TenantId(name) for name in names if is_tenant_id(name)))


async def erased_in(store: ObjectStore) -> Erased:
    """By a deployment's own store."""
    return Erased(await erased_tenants(store))


def together(*said: Erased) -> Erased:
    """Whoever any of them names."""
    return Erased(
        frozenset().union(*(each.tenants for each in said)), frozenset().union(*(each.documents for each in said))
    )
