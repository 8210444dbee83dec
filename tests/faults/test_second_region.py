"""A second bucket: copied into, promoted, and given back, with processes that die at every step."""

import asyncio
import json
import shutil
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs

from s4.domains.maintenance import guarded
from s4.domains.maintenance.deployment import Superseded, copied_as_of
from s4.domains.maintenance.replication import Copied
from s4.engine.vectors.manifest import Manifest
from s4.entrypoints.bootstrap import make_promotions, make_replicator
from s4.kernel import keys
from s4.kernel.errors import Conflict
from s4.kernel.keys import KeyKind
from s4.platform import faults
from s4.platform.faults import InjectedFault
from s4.platform.objects import ObjectStore
from s4.platform.telemetry import metrics
from tests.factories.house import Tenant
from tests.factories.regions import Regions, copied, lived_in, stopped_at

COPYING = ("replicate.listed", "replicate.contents", "replicate.names")
PROMOTING = ("promote.marked", "promote.fenced", "promote.rebuilt")


def failing_at(step: str) -> None:
    def fail() -> None:
        faults.arm({})
        raise InjectedFault

    faults.arm({step: fail})


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


async def test_a_copy_with_an_object_cut_short_is_told_of_by_every_run_and_whole_as_of_before(regions: Regions) -> None:
    async with regions.house("first", replicate_seconds=60) as first:
        acme = await lived_in(first)
        (scheduled,) = make_replicator(first.core).regular_jobs()
        await scheduled.run()
        copy = first.core.replica
        assert copy is not None
        whole = await copied_as_of(copy)
        document = await first.put(acme, "late", "a latecoming wording")
        await scheduled.run()
        later = await copied_as_of(copy)
        content = keys.content(acme.context.tenant_id, document.document_id, document.version_id)
        await copy.put(content, b"a late")

        for number in range(2):
            await first.put(acme, "another", f"the wording {number}")
            with capture_logs() as logs:
                await scheduled.run()
            assert [(each["event"], each.get("object_key")) for each in logs] == [("replication.differs", content)]
            assert whole is not None
            assert later is not None
            assert whole < later == await copied_as_of(copy)
            assert metrics.REPLICATION_AS_OF._value.get() == later.timestamp()

        await copy.delete([content])
        await scheduled.run()
        assert (await copied_as_of(copy) or later) > later
        assert await copy.get(content) == b"a latecoming wording"


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


@pytest.mark.parametrize("step", COPYING)
async def test_who_was_stopped_while_copying_writes_nothing_into_what_was_promoted(regions: Regions, step: str) -> None:
    served: dict[str, bytes] = {}
    async with regions.house("first") as first:
        acme = await lived_in(first)
        await copied(first)
        for wording in ("a second wording", "a third wording"):
            await first.put(acme, "d0", wording)

        async def meanwhile() -> None:
            await regions.promote("second")
            async with regions.house("second") as second:
                await second.put(await second.known(acme.key), "d0", "a promoted wording")
            served.update(regions.bucket("second"))

        stopped_at(step, meanwhile)
        with pytest.raises(Superseded):
            await copied(first)

    assert served
    assert regions.bucket("second") == served


async def test_who_looked_just_before_the_promotion_hides_nothing_that_was_acknowledged(
    regions: Regions, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store knows of no term: what is sent late arrives. But never onto another's revision."""
    async with regions.house("first") as first:
        acme = await lived_in(first)
        await copied(first)
        for wording in ("a second wording", "a third wording"):
            await first.put(acme, "d0", wording)

        async def meanwhile() -> None:
            await regions.promote("second")
            async with regions.house("second") as second:
                await second.put(await second.known(acme.key), "d0", "a promoted wording")

        monkeypatch.setattr(guarded.GuardedCopy, "_look", no_look)
        stopped_at("replicate.contents", meanwhile)
        with pytest.raises(Superseded):
            await copied(first)
        store, copy = first.core.store, first.core.replica
        assert copy is not None
        document_id = first.core.documents.id_for_key(acme.context, "d0")
        third = await store.head(keys.document_head(acme.context.tenant_id, document_id, 3))
        done = Copied(third.last_modified)
        assert await make_replicator(first.core)._without_gaps(copy, [third], done) == []
        assert len(done.differing) == 1

    regions.lose_catalog("second")
    async with regions.house("second") as second:
        await second.work()
        known = await second.known(acme.key)
        document = await second.get(known, document_id)
        assert document.revision == 2
        assert b"".join([part async for part in second.core.documents.content(document)]) == b"a promoted wording"


async def no_look(_: guarded.GuardedCopy) -> None:
    """It was young enough when the process was stopped."""


async def test_a_look_grows_old_while_the_process_is_stopped(regions: Regions, monkeypatch: pytest.MonkeyPatch) -> None:
    looks, now = 0, 0.0

    async def require() -> None:
        nonlocal looks
        looks += 1

    monkeypatch.setattr(guarded, "LOOK_SECONDS_MAX", 2.0)
    monkeypatch.setattr(guarded, "seconds_since_boot", lambda: now)
    async with regions.house("first") as first:
        copy = guarded.GuardedCopy(first.core.store, require)
        for moment, looked in ((0.0, 1), (1.9, 1), (2.0, 2)):
            now = moment
            await copy.create(keys.probe(f"at-{looked}"), b"once")
            assert looks == looked


async def test_a_promotion_reads_what_was_still_copied_until_nobody_could_any_more(
    regions: Regions, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with regions.house("first") as first:
        acme = await lived_in(first)
        await copied(first)
        await first.put(acme, "late", "a latecoming wording")
    sleep = asyncio.sleep

    async def slept(seconds: float, result: Any = None) -> Any:
        if seconds == 7.25:
            shutil.copytree(regions.folder / "bucket-first/tenants", regions.folder / "bucket-second/tenants",
                            dirs_exist_ok=True)  # fmt: skip
            return result
        return await sleep(seconds, result)

    monkeypatch.setattr(guarded, "QUIET", timedelta(seconds=7.25))
    monkeypatch.setattr(asyncio, "sleep", slept)
    await regions.promote("second")
    async with regions.house("second") as second:
        assert "late" in [document.key for document in await second.all(await second.known(acme.key))]


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
