"""Two lanes: what takes long gives way, is begun anew at most once, and holds up nobody's quick file."""

import asyncio

import pytest

from s4.engine.extraction.lanes import Lanes
from s4.platform.turns import on_behalf_of

LONG = 3600.0


class Work:
    """Work that ends when the test says so. `begun` counts its beginnings, `running` what runs now."""

    running = 0
    most = 0

    def __init__(self, name: str) -> None:
        self.name = name
        self.begun = 0
        self.stopped = 0
        self.may_end = asyncio.Event()
        self.has_begun = asyncio.Event()

    async def __call__(self) -> str:
        self.begun += 1
        self.has_begun.set()
        Work.running += 1
        Work.most = max(Work.most, Work.running)
        try:
            await self.may_end.wait()
        except asyncio.CancelledError:
            await asyncio.sleep(0.01)  # a child takes a moment to die
            self.stopped += 1
            raise
        finally:
            Work.running -= 1
        return self.name


@pytest.fixture(autouse=True)
def nothing_runs() -> None:
    Work.running = Work.most = 0


def run(lanes: Lanes, work: Work, tenant: str = "") -> asyncio.Task[str]:
    with on_behalf_of(tenant):
        return asyncio.create_task(lanes.run(work))


def quick(name: str) -> Work:
    work = Work(name)
    work.may_end.set()
    return work


def lanes(*, fast_seconds: float, fast_places: int = 1, slow_places: int = 1) -> Lanes:
    return Lanes(fast_places=fast_places, slow_places=slow_places, fast_seconds=fast_seconds)


async def test_a_slow_file_goes_on_in_the_slow_lane_and_a_quick_one_passes_it() -> None:
    two = lanes(fast_seconds=0.01)
    slow = Work("slow")
    first = run(two, slow)
    await slow.has_begun.wait()

    assert await run(two, quick("quick")) == "quick"

    assert not first.done()
    slow.may_end.set()
    assert await first == "slow"
    assert slow.begun == 1, "it kept what it had done"


async def test_where_the_slow_lane_is_taken_a_slow_file_stops_for_others_and_begins_anew() -> None:
    two = lanes(fast_seconds=0.01)
    taking, giving = Work("taking"), Work("giving")
    first = run(two, taking)
    await taking.has_begun.wait()
    second = run(two, giving)
    await giving.has_begun.wait()

    assert await run(two, quick("quick")) == "quick"

    assert giving.stopped == 1
    assert not second.done()
    taking.may_end.set()
    giving.may_end.set()
    assert await asyncio.gather(first, second) == ["taking", "giving"]
    assert (taking.begun, giving.begun) == (1, 2)
    assert Work.most == 2, "never more than the places of both lanes"


async def test_a_slow_file_that_nobody_waits_for_is_left_in_peace() -> None:
    two = lanes(fast_seconds=0.01)
    works = [Work("one"), Work("two")]
    calls = []
    for work in works:
        calls.append(run(two, work))
        await work.has_begun.wait()
    await asyncio.sleep(0.1)  # ten times what it may keep its place when others wait

    for work in works:
        work.may_end.set()
    assert await asyncio.gather(*calls) == ["one", "two"]
    assert [work.begun for work in works] == [1, 1]


async def test_of_two_slow_files_only_one_gives_way_to_one_that_waits() -> None:
    two = lanes(fast_seconds=0.01, fast_places=2)
    works = [Work("in the slow lane"), Work("a"), Work("b")]
    calls = []
    for work in works:
        calls.append(run(two, work))
        await work.has_begun.wait()
    await asyncio.sleep(0.1)  # both in the fast lane are overdue

    assert await run(two, quick("quick")) == "quick"

    assert sum(work.stopped for work in works) == 1
    for work in works:
        work.may_end.set()
    await asyncio.gather(*calls)


async def test_one_tenants_slow_files_delay_anothers_by_one_turn() -> None:
    two = lanes(fast_seconds=0.01)
    works = [Work(f"noisy {n}") for n in range(4)]
    calls = [run(two, work, "noisy") for work in works]
    await works[0].has_begun.wait()
    late = Work("late")
    calls.append(run(two, late, "quiet"))
    await late.has_begun.wait()  # in the fast lane, which the noisy ones had to leave
    assert await run(two, quick("quick"), "third") == "quick"

    ended: list[str] = []
    for call in calls:
        call.add_done_callback(lambda done: ended.append(done.result()))
    for work in (*works, late):
        work.may_end.set()
    await asyncio.gather(*calls)

    assert ended.index("noisy 1") < ended.index("late") < ended.index("noisy 2")


async def test_a_cancelled_call_stops_its_work_and_gives_back_its_place() -> None:
    two = lanes(fast_seconds=LONG)
    work = Work("cancelled")
    call = run(two, work)
    await work.has_begun.wait()

    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call

    assert work.stopped == 1
    assert await run(two, quick("next")) == "next"


async def test_a_call_cancelled_in_the_slow_lane_or_on_its_way_there_gives_back_all_places() -> None:
    two = lanes(fast_seconds=0.01)
    holding, waiting = Work("holding"), Work("waiting")
    calls = [run(two, holding), run(two, waiting)]
    await waiting.has_begun.wait()
    assert await run(two, quick("quick")) == "quick"  # `waiting` was stopped and waits for the slow lane

    for call in calls:
        call.cancel()
    await asyncio.gather(*calls, return_exceptions=True)

    again = [Work("a"), Work("b")]
    calls = [run(two, work) for work in again]
    for work in again:
        await work.has_begun.wait()
        work.may_end.set()
    assert await asyncio.gather(*calls) == ["a", "b"]


async def test_an_error_of_the_work_arrives_and_frees_the_place() -> None:
    two = lanes(fast_seconds=LONG)

    async def fails() -> str:
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        await two.run(fails)
    assert await run(two, quick("next")) == "next"
