"""Removes what no reader can need any more of a table: versions that others followed long ago, and their files.

LanceDB's own clean-up goes with a compaction only, and by the births of versions. This one may run whenever a grace has
passed, reads each version's manifest once in its life, and writes nothing.

A file that is in a version and not in a later one never comes back: LanceDB gives every file a name of its own. So what
the oldest version that stays does not name, none of the later ones needs. Only files that a removed version names are
taken: what else lies there may belong to a commit that is under way.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

from s4.engine.vectors.errors import IndexDamaged
from s4.engine.vectors.files import listed, read
from s4.engine.vectors.manifest import Manifest, manifest_name, version_of
from s4.kernel import keys
from s4.platform.faults import failpoint
from s4.platform.objects import ObjectStore

_TOGETHER = 50
"""Versions whose manifests are read at once, and which go at once."""


@dataclass(frozen=True, slots=True)
class Removed:
    """`left`: superseded versions that had to stay, and may go later."""

    versions: int = 0
    size_bytes: int = 0
    left: int = 0


async def remove_superseded(
    store: ObjectStore, prefix: str, *, keep_version: int, grace: timedelta, now: datetime
) -> Removed:
    """Removes the versions that were superseded longer than `grace` ago, by the store's stamps. What the catalog names,
    `keep_version`, and everything after it stays, however old. May be repeated, also after half of it."""
    found = await listed(store, prefix)
    versions = sorted(version for version in map(version_of, found) if version is not None and version <= keep_version)
    born = [found[manifest_name(version)].last_modified for version in versions]
    first_kept = 0
    for position, moment in enumerate(born):
        if moment > now - grace:
            break
        first_kept = position
    gone = versions[:first_kept]
    size_bytes = 0
    if gone:
        kept = Manifest(await store.get(keys.index_file(prefix, manifest_name(versions[first_kept]))))
        unnamed = {name: info.size for name, info in found.items() if not kept.names(name)}
        for begin in range(0, len(gone), _TOGETHER):
            size_bytes += await _remove(store, prefix, gone[begin : begin + _TOGETHER], unnamed)
    return Removed(len(gone), size_bytes, max(len(versions) - first_kept - 1, 0))


async def _remove(store: ObjectStore, prefix: str, versions: Sequence[int], unnamed: dict[str, int]) -> int:
    """Answers with the bytes. Takes what goes out of `unnamed`, files by their sizes that no version names which stays.
    Manifests go last: without them, nobody would know the files again."""
    names = [manifest_name(version) for version in versions]
    doomed: set[str] = set()
    for data in await asyncio.gather(*(read(store, keys.index_file(prefix, name)) for name in names)):
        with suppress(IndexDamaged):  # also one that somebody else removed meanwhile
            manifest = Manifest(data or b"")
            doomed |= {name for name in unnamed if manifest.names(name) or name == manifest.transaction}
    for group in (doomed, names):
        await store.delete(keys.index_file(prefix, name) for name in sorted(group))
        failpoint("clean.removed")
    return sum(unnamed.pop(name) for name in doomed.union(names))
