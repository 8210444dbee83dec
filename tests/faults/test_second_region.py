"""A second bucket: copied into, promoted, and given back, with processes that die at every step."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from s4.domains.maintenance.deployment import Superseded
from s4.domains.maintenance.replication import Copied
from s4.engine.vectors.manifest import Manifest
from s4.entrypoints.bootstrap import (
    make_promotions,
    make_replicator,
    migrate_database,
    open_core,
    open_rebuild,
)
from s4.entrypoints.configuration import load_settings
from s4.kernel import keys
from s4.kernel.errors import Conflict
from s4.kernel.keys import KeyKind
from s4.platform import faults
from s4.platform.faults import InjectedFault
from s4.platform.objects import ObjectStore
from tests.factories.house import House, Tenant, open_house

COPYING = ("replicate.listed", "replicate.contents", "replicate.names")
PROMOTING = ("promote.marked", "promote.fenced", "promote.rebuilt")


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

    @asynccontextmanager
    async def house(self, name: str) -> AsyncIterator[House]:
        settings = self.settings(name)
        async with open_house(settings.pop("data_dir"), **settings) as house:
            yield house

    def lose_catalog(self, name: str) -> None:
        for path in (self.folder / name).glob("catalog.sqlite*"):
            path.unlink()

    async def promote(self, name: str) -> Any:
        loaded = load_settings(**self.settings(name), embedding_provider="deterministic")
        migrate_database(loaded)
        async with open_core(loaded, standby=True) as core, open_rebuild(core) as rebuild:
            return await make_promotions(core).promote(rebuild)

    async def follow(self, name: str) -> Any:
        loaded = load_settings(**self.settings(name), embedding_provider="deterministic")
        migrate_database(loaded)
        async with open_core(loaded, standby=True) as core, open_rebuild(core) as rebuild:
            return await rebuild.run(serve=False, writes=False)


@pytest.fixture
def regions(tmp_path: Path) -> Regions:
    return Regions(tmp_path)


@pytest.fixture(autouse=True)
def disarmed() -> Any:
    yield
    faults.arm({})


def failing_at(step: str) -> None:
    def fail() -> None:
        faults.arm({})
        raise InjectedFault

    faults.arm({step: fail})


async def copied(house: House) -> Copied:
    return await make_replicator(house.core).run()


async def lived_in(house: House) -> Tenant:
    acme = await house.tenant()
    for number in range(3):
        await house.put(acme, f"d{number}", f"the wording {number}", {"year": 2020 + number})
    await house.work()
    return acme


async def dangling(store: ObjectStore) -> list[str]:
    """Whatever names something that is not there: heads without bytes, manifests without files."""
    listed = {info.key: info async for info in store.list(keys.EVERYTHING)}
    wrong = []
    for key in listed:
        parsed = keys.parse(key)
        if parsed is None:
            wrong.append(key)
        elif parsed.kind is KeyKind.DOCUMENT_HEAD:
            head = json.loads(await store.get(key))
            if head["state"] == "live":
                version = head["body"]["version_id"]
                content = keys.content(parsed.tenant_id, parsed.document_id, version)  # type: ignore[arg-type]
                wrong += [key] if content not in listed else []
        elif parsed.kind is KeyKind.INDEX and key.endswith(".manifest"):
            root = key.rpartition("_versions/")[0]
            names = [each.removeprefix(root) for each in listed if each.startswith(root)]
            wrong += [f"{key}: {name}" for name in Manifest(await store.get(key)).missing_from(names)]
    return wrong


async def test_a_copy_that_is_promoted_serves_what_was_copied(regions: Regions) -> None:
    async with regions.house("first") as first:
        acme = await lived_in(first)
        done = await copied(first)
        assert first.core.replica is not None
        assert await dangling(first.core.replica) == []
        again = await copied(first)
    assert done.differing == []
    assert again.objects == 0, "nothing is copied twice"

    promoted = await regions.promote("second")

    assert (promoted.term, promoted.as_of, promoted.fenced) == (2, again.as_of, True)
    assert promoted.report.counts["attached"] == 3
    async with regions.house("second") as second:
        known = await second.known(acme.key)
        assert len(await second.found(known, "wording")) == 3
        await second.put(known, "new", "a newer wording")
        await second.work()
        assert len(await second.found(known, "wording")) == 4


async def test_a_copy_is_nobodys_to_serve_from_before_it_is_promoted(regions: Regions) -> None:
    async with regions.house("first") as first:
        await lived_in(first)
        await copied(first)
    with pytest.raises(Conflict, match="is a copy"):
        async with regions.house("second"):
            pass


@pytest.mark.parametrize("step", COPYING)
async def test_a_copying_that_is_broken_off_leaves_a_copy_that_can_be_served(regions: Regions, step: str) -> None:
    async with regions.house("first") as first:
        acme = await lived_in(first)
        await copied(first)
        await first.put(acme, "d0", "a replaced wording")
        await first.put(acme, "late", "a latecoming wording")
        await first.work()
        failing_at(step)
        with pytest.raises(InjectedFault):
            await copied(first)
        assert first.core.replica is not None
        assert await dangling(first.core.replica) == []
        await copied(first)
        assert await dangling(first.core.replica) == []


async def test_writes_meanwhile_do_not_make_the_copy_dangle(regions: Regions) -> None:
    async with regions.house("first") as first:
        acme = await first.tenant()

        async def write() -> None:
            for number in range(40):
                await first.put(acme, f"d{number % 10}", f"the wording {number}")
                await first.parts.worker.run_until_idle()

        async def copy() -> None:
            for _ in range(6):
                await copied(first)
                assert first.core.replica is not None
                assert await dangling(first.core.replica) == []

        await asyncio.gather(write(), copy())


async def test_deletions_follow_later_and_names_go_first(regions: Regions) -> None:
    async with regions.house("first") as first:
        acme = await lived_in(first)
        await copied(first)
        replica = first.core.replica
        assert replica is not None
        gone = [info.key async for info in first.core.store.list(keys.documents(acme.context.tenant_id))
                if info.key.endswith("/content")][:1]  # fmt: skip
        await first.core.store.delete(gone)
        assert (await copied(first)).deleted == 0, "it is seen to be gone for the first time"
        await replica.head(gone[0])
        assert (await copied(first)).deleted == 1


async def test_a_standbys_catalog_follows_the_copy(regions: Regions) -> None:
    async with regions.house("first") as first:
        acme = await lived_in(first)
        await copied(first)
        assert (await regions.follow("second")).counts["attached"] == 3
        await first.put(acme, "late", "a latecoming wording")
        await copied(first)
        assert (await regions.follow("second")).counts["to_index"] == 1, "its index was not there yet"
        await first.work()
        await first.core.documents.delete(acme.context, first.core.documents.id_for_key(acme.context, "d0"))
        await copied(first)
        followed = await regions.follow("second")
        assert (followed.counts["attached"], followed.counts["adopted"]) == (1, 1)
        assert "attached" not in (await regions.follow("second")).counts
    promoted = await regions.promote("second")
    assert "adopted" not in promoted.report.counts, "there was nothing left to do"
    async with regions.house("second") as second:
        known = await second.known(acme.key)
        assert len(await second.found(known, "wording")) == 3


@pytest.mark.parametrize("step", PROMOTING)
async def test_a_promotion_that_is_broken_off_is_ended_by_the_next(regions: Regions, step: str) -> None:
    async with regions.house("first") as first:
        acme = await lived_in(first)
        await copied(first)
    failing_at(step)
    with pytest.raises(InjectedFault):
        await regions.promote("second")
    promoted = await regions.promote("second")
    assert promoted.term == 2
    async with regions.house("second") as second:
        assert len(await second.found(await second.known(acme.key), "wording")) == 3
    with pytest.raises(Conflict, match="serves already"):
        await regions.promote("second")


async def test_a_former_region_does_not_open_and_copies_nothing(regions: Regions) -> None:
    async with regions.house("first") as first:
        await lived_in(first)
        await copied(first)
        await regions.promote("second")
        with pytest.raises(Superseded):
            await copied(first)
        with pytest.raises(Superseded):
            await first.core.terms.look()
    with pytest.raises(Superseded):
        async with regions.house("first"):
            pass


@pytest.fixture
def stranding() -> Callable[[Regions], Any]:
    async def strand(regions: Regions) -> Tenant:
        """What the first accepts after its last copying: a new document, a new revision, a deletion."""
        async with regions.house("first") as first:
            acme = await lived_in(first)
            await copied(first)
            await first.put(acme, "stranded", "a stranded wording")
            await first.put(acme, "d0", "a stranded replacement")
            await first.work()
            await first.core.documents.delete(acme.context, first.core.documents.id_for_key(acme.context, "d1"))
        return acme

    return strand


@pytest.mark.parametrize("step", [None, "fail_back.put_aside"])
async def test_what_was_accepted_meanwhile_is_listed_and_never_merged(
    regions: Regions, stranding: Callable[[Regions], Any], step: str | None
) -> None:
    acme = await stranding(regions)
    await regions.promote("second")
    async with regions.house("second") as second:
        known = await second.known(acme.key)
        await second.put(known, "d0", "a promoted replacement")
        await second.work()
        promotions = make_promotions(second.core)
        listed = await promotions.stranded()
        assert sorted((each.name, each.revision, each.state) for each in listed) == [
            ("d0", 2, "live"), ("d1", 2, "tombstone"), ("stranded", 1, "live")
        ]  # fmt: skip
        with pytest.raises(Conflict, match="fail-back"):
            await copied(second)
        if step is not None:
            failing_at(step)
            with pytest.raises(InjectedFault):
                await promotions.fail_back(make_replicator(second.core))
        _, done = await promotions.fail_back(make_replicator(second.core))
        assert done.differing == []
        former = second.core.replica
        assert former is not None
        assert await dangling(former) == []
        aside = [info.key async for info in former.list(keys.STRANDED)]
        assert len([key for key in aside if "/head/" in key]) == 3
        await second.put(known, "last", "the last wording")
        await second.work()
        await copied(second)

    with pytest.raises(Conflict, match="empty database"):
        await regions.promote("first")
    regions.lose_catalog("first")
    back = await regions.promote("first")

    assert back.term == 3
    async with regions.house("first") as first:
        known = await first.known(acme.key)
        assert await first.found(known, "stranded") == []
        assert len(await first.found(known, "promoted")) == 1
        assert len(await first.found(known, "wording")) == 3, "d1, d2 and the last"
    with pytest.raises(Superseded):
        async with regions.house("second"):
            pass
