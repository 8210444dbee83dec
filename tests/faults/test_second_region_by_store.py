"""A second bucket into which the store copies by itself, in no order and without a word: here, a copied directory."""

import shutil
from pathlib import Path

import pytest

from s4.domains.maintenance.deployment import Superseded, is_own_copy
from s4.entrypoints.bootstrap import make_replicator
from s4.kernel.errors import Conflict
from tests.factories.regions import Regions, lived_in


def copied_by_the_store(regions: Regions) -> None:
    """What the second bucket has and the first has not stays, as a store leaves it."""
    shutil.copytree(regions.folder / "bucket-first", regions.folder / "bucket-second", dirs_exist_ok=True)


def replica_mark(regions: Regions) -> Path:
    return regions.folder / "bucket-second" / "system" / "replica.json"


async def test_workers_declare_the_copy_and_its_promotion_stops_the_first_region(regions: Regions) -> None:
    async with regions.house("first") as first:
        (declaring,) = make_replicator(first.core).regular_jobs()
        await declaring.run()
        assert replica_mark(regions).exists(), "before anything is in it"
        acme = await lived_in(first)
        copied_by_the_store(regions)
        await declaring.run()
        assert first.core.replica is not None
        assert await is_own_copy(first.core.replica, first.core.deployment), "so erasures are carried out there, too"
        with pytest.raises(Conflict, match="copy of another"):
            async with regions.house("second"):
                pass
        promoted = await regions.promote("second")
        assert (promoted.term, promoted.fenced, promoted.as_of) == (2, True, None)
        with pytest.raises(Superseded):
            await first.core.terms.look()
    async with regions.house("second") as second:
        await second.work()
        assert len(await second.found(await second.known(acme.key), "wording")) == 3


async def test_a_copy_that_nobody_declared_is_promoted_as_one_only_when_told(regions: Regions) -> None:
    async with regions.house("first") as first:
        await lived_in(first)
        copied_by_the_store(regions)
        with pytest.raises(Conflict, match="--copied-by-store"):
            await regions.promote("second")
        promoted = await regions.promote("second", copied_by_store=True)
        assert (promoted.term, promoted.fenced) == (2, True)
        with pytest.raises(Superseded):
            await first.core.terms.look()
        with pytest.raises(Conflict, match="serves already"):
            await regions.promote("second", copied_by_store=True)


async def test_a_former_first_bucket_is_declared_by_nobody_but_by_failing_back(regions: Regions) -> None:
    """It may hold what this region never had."""
    async with regions.house("first") as first:
        await lived_in(first)
        copied_by_the_store(regions)
    await regions.promote("second", copied_by_store=True)
    async with regions.house("second") as second:
        (declaring,) = make_replicator(second.core).regular_jobs()
        await declaring.run()
        assert not (regions.folder / "bucket-first" / "system" / "replica.json").exists()
