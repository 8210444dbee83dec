"""A deployment of many documents, made in minutes, for whoever measures what grows with them.

1,000 documents, pages of 150 words embedded by hashed words, come into one tenant as everything does: uploaded, and
indexed by a worker. The others are made of them. There is one more tenant for each further 1,000, which S4 creates;
into its part of the bucket go the objects of the first one's documents and of its index, byte for byte, but for the
heads, which name their tenant. Then the catalog is left behind, and S4 makes it anew from the bucket. So every row of
the catalog and every byte in the bucket is S4's own, and each tenant's searches find its documents. What such a
deployment lacks is a history: each document has one revision, and there is no garbage.
"""

import asyncio
import random
import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from s4.domains.documents import UploadRequest
from s4.domains.documents.chain import subject as document_subject
from s4.entrypoints.bootstrap import make_backups, open_place
from s4.kernel import keys
from s4.kernel.ids import TenantId
from s4.kernel.keys import KeyKind, ObjectKey
from s4.platform.chains import Head
from tests.factories.house import House, Tenant, open_house
from tests.factories.process import chunks

_OF_A_TENANT = 1_000
_AT_ONCE = 16
_WORDS = 150
_VOCABULARY = 5_000


@dataclass(frozen=True, slots=True)
class Filled:
    """Of `catalog_seconds` it took S4 to make the catalog of all of it."""

    tenants: int
    documents: int
    catalog_seconds: float


async def fill(data_dir: Path, count: int, **settings: Any) -> Filled:
    """Makes an embedded deployment of `count` documents in `data_dir`, which is closed afterwards."""
    shares = [min(_OF_A_TENANT, count - done) for done in range(0, count, _OF_A_TENANT)]
    with tempfile.TemporaryDirectory(dir=_in_memory()) as folder:  # uploads wait for the disk most of their time
        seed = Path(folder) / "data"
        async with open_house(seed, backup_url=(Path(folder) / "backups").as_uri(), **settings) as house:
            tenants = [await house.tenant(f"Tenant {number}") for number in range(len(shares))]
            await upload(house, tenants[0], shares[0])
            if shares[-1] < shares[0]:  # the last one has fewer
                await upload(house, tenants[-1], shares[-1])
            wanted = await _backed_up(house)
        whole = [tenant for tenant, share in zip(tenants, shares, strict=True) if share == shares[0]]
        others = [tenant.context.tenant_id for tenant in whole[1:]]
        await asyncio.to_thread(_multiply, seed, data_dir, wanted, whole[0].context.tenant_id, others)
    started = time.perf_counter()
    async with open_house(data_dir, **settings) as house:
        report = await house.parts.maintenance.rebuild()
        assert not report.problems, report.problems
        assert report.counts["attached"] == count, report.counts
        await house.work()
        return Filled(len(tenants), count, time.perf_counter() - started)


async def _backed_up(house: House) -> list[ObjectKey]:
    """What counts of what is in the bucket: of an index, the files of its newest version."""
    manifest = await make_backups(house.core).create()
    async with open_place(house.core.settings) as place:
        return [entry.key async for entry in place.entries(manifest)]


def _in_memory() -> str | None:
    """A directory without a disk, where there is one."""
    memory = Path("/dev/shm")
    return str(memory) if memory.is_dir() else None


async def upload(house: House, tenant: Tenant, count: int) -> None:
    """So many documents, until they can be found. Their ids are random, so that other tenants may have the same."""
    letters = str.maketrans("0123456789", "abcdefghij")  # a backup's own searches are for words without figures
    words = [f"word{number}".translate(letters) for number in range(_VOCABULARY)]
    drawn = random.Random(7)
    gate = asyncio.Semaphore(_AT_ONCE)

    async def put(number: int) -> None:
        async with gate:
            text = f"page{number} " + " ".join(drawn.choices(words, k=_WORDS))
            request = UploadRequest(filename=f"page-{number}.txt", content_type="text/plain", key=None, metadata=None)
            await house.core.uploads.receive(tenant.context, request, content=chunks([text.encode()]))

    await asyncio.gather(*map(put, range(count)))
    await house.work()


def _multiply(
    seed: Path, data_dir: Path, wanted: Sequence[ObjectKey], first: TenantId, others: Sequence[TenantId]
) -> None:
    """The whole deployment but for its catalog, with what the first tenant has in the others' places, too."""
    shutil.copytree(seed, data_dir, dirs_exist_ok=True, ignore=shutil.ignore_patterns("catalog.sqlite*"))
    areas = keys.documents(first), keys.indices(first)
    for key in (key for key in wanted if key.startswith(areas)):
        data = (seed / "objects" / key).read_bytes()
        parsed = keys.parse(key)
        head = None
        if parsed is not None and parsed.kind is KeyKind.DOCUMENT_HEAD and parsed.document_id is not None:
            head = Head.from_bytes(data, expected=document_subject(first, parsed.document_id))
        for tenant_id in others:
            target = data_dir / "objects" / key.replace(first, tenant_id, 1)
            target.parent.mkdir(parents=True, exist_ok=True)
            if head is not None:
                subject = replace(head.subject, tenant_id=tenant_id)
                target.write_bytes(replace(head, subject=subject).to_bytes())
            else:
                target.write_bytes(data)
