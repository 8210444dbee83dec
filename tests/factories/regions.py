"""Two regions, each a deployment in this process, and each with the other's bucket as its second."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from s4.domains.maintenance.replication import Copied
from s4.entrypoints.bootstrap import make_promotions, make_replicator, migrate_database, open_core, open_rebuild
from s4.entrypoints.configuration import load_settings
from s4.platform import faults
from tests.factories.house import House, Tenant, open_house


@dataclass
class Regions:
    """Two, each with a bucket and a database of its own, and each with the other's bucket as its second."""

    folder: Path

    def settings(self, name: str) -> dict[str, Any]:
        other = {"first": "second", "second": "first"}[name]
        return {
            "data_dir": self.folder / name,
            "store_url": (self.folder / f"bucket-{name}").as_uri(),
            "replica_store_url": (self.folder / f"bucket-{other}").as_uri(),
            "replica_deletions_hours": 0,
        }

    def bucket(self, name: str) -> dict[str, bytes]:
        """Everything in it."""
        folder = self.folder / f"bucket-{name}"
        return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}

    @asynccontextmanager
    async def house(self, name: str, **more: Any) -> AsyncIterator[House]:
        settings = self.settings(name) | more
        async with open_house(settings.pop("data_dir"), **settings) as house:
            yield house

    def lose_catalog(self, name: str) -> None:
        for path in (self.folder / name).glob("catalog.sqlite*"):
            path.unlink()

    async def promote(self, name: str, *, copied_by_store: bool = False) -> Any:
        loaded = load_settings(**self.settings(name), embedding_provider="deterministic")
        migrate_database(loaded)
        async with open_core(loaded, standby=True) as core, open_rebuild(core) as rebuild:
            return await make_promotions(core).promote(rebuild, copied_by_store=copied_by_store)

    async def follow(self, name: str) -> Any:
        loaded = load_settings(**self.settings(name), embedding_provider="deterministic")
        migrate_database(loaded)
        async with open_core(loaded, standby=True) as core, open_rebuild(core) as rebuild:
            return await rebuild.run(serve=False, writes=False)


async def copied(house: House) -> Copied:
    return await make_replicator(house.core).run()


async def lived_in(house: House) -> Tenant:
    acme = await house.tenant()
    for number in range(3):
        await house.put(acme, f"d{number}", f"the wording {number}", {"year": 2020 + number})
    await house.work()
    return acme


def stopped_at(step: str, meanwhile: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """The whole process stands still there, while elsewhere happens what `meanwhile` does."""

    def stand_still() -> None:
        faults.arm({})
        with ThreadPoolExecutor(1) as elsewhere:
            elsewhere.submit(asyncio.run, meanwhile()).result()

    faults.arm({step: stand_still})
