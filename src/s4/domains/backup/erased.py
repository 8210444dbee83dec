"""Who was erased, as far as anybody can still tell: whoever restores an old backup asks here first.

The list (`system/erasures/`) is part of every backup, and grows only. So newer backups know more than the one that is
restored, and the deployment itself, where it is still there, knows most. Before an erasure ends in a receipt, it is
also noted beside the backups, so that a bucket that is lost before the next one takes nobody's erasure with it. All
that is read is which tenants have a place in the list; what stands there is the erasures' own. What cannot be read may
name somebody: nobody is restored on the strength of a list that is damaged, away, or under another key.
"""

from dataclasses import dataclass, field, replace

import structlog

from s4.domains.backup.model import Erased, Manifest
from s4.domains.backup.place import Place
from s4.domains.backup.reading import read_together
from s4.domains.leaving import erased_tenants
from s4.domains.maintenance.deployment import mark_of
from s4.kernel import keys
from s4.kernel.errors import Conflict, DataCorrupt, InvalidRequest, NotFound
from s4.kernel.ids import TenantId, is_tenant_id
from s4.kernel.keys import Collection, ObjectKey
from s4.platform.chains import whose
from s4.platform.objects import ObjectStore

log = structlog.get_logger()

_LIST = keys.collection(Collection.ERASURES)


@dataclass(slots=True)
class ErasedSince:
    """Who was erased until now. `listed`: the objects of the list, for the deployment that is restored to keep."""

    erased: Erased = field(default_factory=Erased)
    listed: dict[ObjectKey, bytes] = field(default_factory=dict)

    def add(self, listed: dict[ObjectKey, bytes]) -> None:
        self.listed |= listed
        names = (key.removeprefix(_LIST).split("/")[0] for key in listed)
        said = Erased(frozenset(TenantId(name) for name in names if is_tenant_id(name)))
        self.erased = together(self.erased, said)


async def erased_by_place(place: Place, wanted: Manifest, *, others_tell: bool = False) -> ErasedSince:
    """By what is noted beside the backups, by `wanted`, which is to be restored, by every newer one, and by the list of
    the deployment in whose own store the backups lie, if they do. Raises
    `Conflict`, which names it, when one of those cannot be read, unless somebody else knows the whole list
    (`others_tell`); `Unavailable` when the place is away."""
    known = ErasedSince(await _beside(place))
    known.add(await _listed(place, wanted))
    for identifier in await place.ids():
        if identifier <= wanted.backup_id:
            continue
        try:
            known.add(await _listed(place, await place.manifest(identifier)))
        except NotFound:
            continue  # it was never finished
        except (DataCorrupt, InvalidRequest) as error:
            if not others_tell:
                raise Conflict(
                    f"Backup {identifier} is newer and cannot be read, so nobody knows who was erased since: "
                    f"{error.message} {_way_on(error)}"
                ) from error
            log.warning("restore.erasures_unread", backup_id=identifier, error=error.message)
    known.add(await _list_in(place.store))
    return known


async def erased_in(store: ObjectStore, *, reads: bool = False) -> ErasedSince:
    """By a deployment's own store; the objects of its list only with `reads`. Raises `NotFound` where there is none."""
    if await mark_of(store) is None:
        raise NotFound("There is no deployment in the store that is to say who was erased: check its URL.")
    known = ErasedSince(Erased(await erased_tenants(store)))
    if reads:
        known.add(await _list_in(store))
    return known


def together(*said: Erased) -> Erased:
    """Whoever any of them names."""
    return Erased(
        frozenset().union(*(each.tenants for each in said)), frozenset().union(*(each.documents for each in said))
    )


async def with_records(place: Place, manifest: Manifest, erased: Erased) -> Erased:
    """`erased`, and what the backup has of webhooks and contacts that are theirs: it lies under names of its own, and
    only its heads say whose it is. Raises `DataCorrupt` when one of them is damaged."""
    if not erased.tenants:
        return erased
    theirs: set[tuple[str, str]] = set()
    for collection in keys.OF_TENANTS:
        entries = [entry async for entry in place.entries_below(manifest, keys.collection(collection))]
        read = await read_together(place, entries, encrypted=manifest.encrypted_under is not None)
        named = {key: keys.parse_system_head(key) for key, data in read.items() if whose(key, data) in erased.tenants}
        theirs |= {(head[0].value, head[1]) for head in named.values() if head is not None}
    return replace(erased, records=erased.records | theirs)


# -- inside


async def _list_in(store: ObjectStore) -> dict[ObjectKey, bytes]:
    return {info.key: await store.get(info.key) async for info in store.list(_LIST)}


async def _beside(place: Place) -> Erased:
    names = [info.key.rpartition("/")[2].removesuffix(".json") async for info in place.store.list(keys.BACKUP_ERASED)]
    return Erased(frozenset(TenantId(name) for name in names if is_tenant_id(name)))


async def _listed(place: Place, manifest: Manifest) -> dict[ObjectKey, bytes]:
    entries = [entry async for entry in place.entries_below(manifest, _LIST)]
    return await read_together(place, entries, encrypted=manifest.encrypted_under is not None)


def _way_on(error: DataCorrupt | InvalidRequest) -> str:
    """For whoever has to go on all the same."""
    key = " set its key, or" if isinstance(error, InvalidRequest) else ""
    return (
        f"To go on,{key} name by --erased-in the store of a deployment whose list is complete: the old one, its second "
        "region, or one that a newer backup was restored into."
    )
