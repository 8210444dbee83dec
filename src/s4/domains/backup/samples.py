"""Searches whose answers are known: of some documents that can be found, words out of their text."""

import json
import random
import re
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from itertools import islice, zip_longest

import zstandard

from s4.domains.backup.model import Sample
from s4.domains.backup.snapshot import Snapshot
from s4.kernel import keys
from s4.kernel.errors import Unavailable
from s4.kernel.ids import DocumentId, TenantId, VersionId
from s4.kernel.keys import KeyKind
from s4.kernel.units import MIB
from s4.platform.objects import ObjectMissing, ObjectStore

# Each costs a listing and a read, and later a search. Of more tenants than the most, others are asked for every time.
_SAMPLES_MIN, _SAMPLES_MAX = 20, 100
_LOOKED_AT_MAX = 300  # documents: many may have no text
_WORDS = 6
_WORD = re.compile(r"[^\W_]{2,30}")
_LOOKED_AT_CHARS = 4_000
_TEXT_BYTES_MAX = 256 * MIB  # unpacked


Finds = Callable[[Sample], Awaitable[bool]]
"""Whether a search finds it now."""


async def choose(store: ObjectStore, snapshot: Snapshot, finds: Finds) -> list[Sample]:
    """Of documents that were ready at the point: one of each tenant first, as long as there are not too many, drawn by
    the point, so that a run that is repeated draws the same. What no search finds even now (it holds stop words alone,
    or was replaced meanwhile) proves nothing later, and another takes its place."""
    wanted = min(max(len(snapshot.documents), _SAMPLES_MIN), _SAMPLES_MAX)
    samples: list[Sample] = []
    for tenant_id, document_id, version_id in islice(_drawn(snapshot), _LOOKED_AT_MAX):
        words = await _words(store, tenant_id, document_id, version_id)
        sample = Sample(tenant_id, document_id, " ".join(words))
        with suppress(Unavailable):  # an index that is being made anew
            if words and await finds(sample):
                samples.append(sample)
        if len(samples) == wanted:
            break
    return samples


def _drawn(snapshot: Snapshot) -> Iterator[tuple[TenantId, DocumentId, VersionId]]:
    """Ready documents, of the tenants by turns."""
    draw = random.Random(str(snapshot.point))  # noqa: S311 - no secret
    of_tenants = []
    for tenant_id, documents in sorted(snapshot.documents.items()):
        ready = [
            (TenantId(tenant_id), DocumentId(document_id), VersionId(state.version_id))
            for document_id, state in sorted(documents.items())
            if state.is_ready and state.version_id is not None
        ]
        of_tenants.append(draw.sample(ready, min(_LOOKED_AT_MAX, len(ready))))
    draw.shuffle(of_tenants)
    for turn in zip_longest(*of_tenants):
        yield from (each for each in turn if each is not None)


async def _words(store: ObjectStore, tenant_id: TenantId, document_id: DocumentId, version_id: VersionId) -> list[str]:
    """The longest of its first words; none when it has no text."""
    newest = None
    async for info in store.list(keys.version(tenant_id, document_id, version_id)):
        parsed = keys.parse(info.key)
        if parsed is not None and parsed.kind is KeyKind.TEXT:
            newest = info.key
    if newest is None:
        return []
    try:
        packed = await store.get(newest)
        text = json.loads(zstandard.ZstdDecompressor().decompress(packed, max_output_size=_TEXT_BYTES_MAX))
    except (ObjectMissing, zstandard.ZstdError, ValueError):
        return []
    found = dict.fromkeys(_WORD.findall(str(text.get("text", ""))[:_LOOKED_AT_CHARS]))
    return sorted(found, key=len, reverse=True)[:_WORDS]
