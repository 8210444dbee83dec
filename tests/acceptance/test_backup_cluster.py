"""Backups of a bucket and PostgreSQL: copies by the store itself, and a place with credentials of its own."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from s4.entrypoints.bootstrap import make_backups, open_own_store
from s4.kernel import keys
from s4.kernel.units import KIB
from tests.contracts.object_stores import s3_settings
from tests.factories.house import House, open_house
from tests.servers import S3Server

pytestmark = pytest.mark.processes


def in_bucket(server: S3Server, bucket: str) -> dict[str, Any]:
    """The settings of a store of its own in a shared bucket."""
    its = s3_settings(server, bucket)
    names = ("store_url", "store_endpoint", "store_access_key_id", "store_secret_access_key")
    return {name: getattr(its, name) for name in names}


async def fill(house: House) -> int:
    """Two tenants' documents, one of which is worth a request of its own. Answers with their number."""
    acme, globex = await house.tenant("Acme"), await house.tenant("Globex")
    await house.put(globex, "large", bytes(range(256)) * (2 * KIB), content_type="application/octet-stream")
    await asyncio.gather(*(house.put(acme, f"tides-{n}", f"Tides follow the moon, says page {n}.") for n in range(4)))
    await house.work()
    return 5


async def test_a_bucket_beside_its_backups_copies_by_itself(
    tmp_path: Path, s3_server: S3Server, s3_shared_bucket: str, postgres_url: str
) -> None:
    own = in_bucket(s3_server, s3_shared_bucket)
    async with open_house(tmp_path / "data", database_url=postgres_url, **own) as house:
        count = await fill(house)
        backups = make_backups(house.core)
        manifest = await backups.create()
        assert (manifest.counts.documents, manifest.lacking) == (count, ())
        async with open_own_store(house.core.settings) as store:
            sizes = [info.size async for info in store.list(keys.BACKUP_DATA)]
        assert 512 * KIB in sizes, "the large one, as it is"
        assert (await backups.verify("latest")).problems == []
        drilled = await backups.drill()
        assert drilled.problems == []
        assert drilled.restored is not None
        assert drilled.restored.counts is not None
        assert drilled.restored.counts.documents == count
        await house.parts.maintenance.collect()
        assert (await backups.verify("latest")).problems == [], "no collector takes backups for garbage"


async def test_backups_go_to_another_bucket_with_its_own_credentials(
    tmp_path: Path, s3_server: S3Server, s3_shared_bucket: str, catalog_url: str
) -> None:
    its = in_bucket(s3_server, s3_shared_bucket)
    there = {name.replace("store_", "backup_"): value for name, value in its.items()}
    async with open_house(tmp_path / "data", database_url=catalog_url, **there) as house:
        count = await fill(house)
        backups = make_backups(house.core)
        first = await backups.create()
        second = await backups.create()
        assert second.work.requests < first.work.requests
        assert (await backups.verify("latest")).problems == []
        drilled = await backups.drill()
        assert (drilled.problems, drilled.restored is not None) == ([], True)
        assert drilled.restored is not None
        assert drilled.restored.counts is not None
        assert drilled.restored.counts.documents == count
        assert not (house.core.settings.data_dir / "objects/backups").exists()
