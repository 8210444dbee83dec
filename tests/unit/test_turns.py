"""Scarce places are held by turns: how much one brings delays nobody else."""

import asyncio
from collections.abc import Sequence

import pytest

from s4.platform.turns import Bounds, NoPlace, Reason, Turns, on_behalf_of


async def _served(turns: Turns, waiting: Sequence[str]) -> tuple[list[str], list[asyncio.Task[None]]]:
    """Names in the order in which they get the place; their tasks."""
    order: list[str] = []

    async def one(name: str) -> None:
        async with turns.place():
            order.append(name)

    tasks = []
    for name in waiting:
        with on_behalf_of(name):
            tasks.append(asyncio.create_task(one(name)))
    await asyncio.sleep(0)  # each has asked
    return order, tasks


async def test_whoever_brings_much_waits_for_its_next_turn() -> None:
    turns = Turns(1)
    await turns.acquire()
    order, tasks = await _served(turns, ["noisy"] * 4 + ["quiet", "other"])
    assert (order, turns.waiting) == ([], 6)

    turns.release()
    await asyncio.gather(*tasks)

    assert order == ["noisy", "quiet", "other", "noisy", "noisy", "noisy"]


async def test_never_more_hold_places_than_there_are() -> None:
    turns = Turns(2)
    held = most = 0

    async def one() -> None:
        nonlocal held, most
        async with turns.place():
            held += 1
            most = max(most, held)
            await asyncio.sleep(0)
            held -= 1

    await asyncio.gather(*(one() for _ in range(20)))

    assert (most, turns.waiting) == (2, 0)


async def test_who_gives_up_waiting_leaves_no_hole() -> None:
    turns = Turns(1)
    await turns.acquire()
    order, tasks = await _served(turns, ["first", "second", "third"])

    tasks[1].cancel()
    with pytest.raises(asyncio.CancelledError):
        await tasks[1]
    turns.release()
    await asyncio.gather(tasks[0], tasks[2])

    assert order == ["first", "third"]


async def test_a_place_given_to_one_who_leaves_in_that_moment_goes_to_the_next() -> None:
    turns = Turns(1)
    await turns.acquire()
    order, tasks = await _served(turns, ["first", "second"])

    turns.release()
    tasks[0].cancel()
    await tasks[1]

    assert order == ["second"]


async def test_work_started_by_a_task_waits_in_the_same_turns() -> None:
    turns = Turns(1)
    await turns.acquire()
    order: list[str] = []

    async def inner(name: str) -> None:
        async with turns.place():
            order.append(name)

    async def outer(name: str) -> None:
        async with asyncio.TaskGroup() as group:
            for _ in range(3):
                group.create_task(inner(name))

    with on_behalf_of("noisy"):
        noisy = asyncio.create_task(outer("noisy"))
    await asyncio.sleep(0.0)
    with on_behalf_of("quiet"):
        quiet = asyncio.create_task(outer("quiet"))
    while turns.waiting < 6:  # noqa: ASYNC110  # until all ask
        await asyncio.sleep(0)
    turns.release()
    await asyncio.gather(noisy, quiet)

    assert order == ["noisy", "quiet"] * 3


async def test_a_place_that_is_free_in_the_moment_when_somebody_leaves_goes_to_the_next() -> None:
    turns = Turns(1)
    await turns.acquire()
    order, tasks = await _served(turns, ["first", "second"])

    tasks[0].cancel()  # it is told so when the loop comes round, and stands in line until then
    turns.release()
    await tasks[1]

    assert (order, turns.held, turns.waiting) == (["second"], 0, 0)


# -- with bounds


REFUSED_SECONDS_MAX = 60.0  # at once, on a machine that does nothing else


def one(_name: str) -> int:
    return 1


async def _asks(turns: Turns, name: str) -> asyncio.Task[None]:
    """A task that has asked for a place on behalf of `name`, and keeps it."""
    with on_behalf_of(name):
        task = asyncio.create_task(turns.acquire())
    await asyncio.sleep(0)
    return task


async def _refused(turns: Turns, name: str) -> Reason:
    with on_behalf_of(name), pytest.raises(NoPlace) as refused:
        await asyncio.wait_for(turns.acquire(), REFUSED_SECONDS_MAX)
    return refused.value.reason


async def test_a_name_holds_no_more_than_its_share_and_others_pass_it() -> None:
    turns = Turns(3, bounds=Bounds(share=one))
    noisy = [await _asks(turns, "noisy") for _ in range(3)]
    assert [task.done() for task in noisy] == [True, False, False]

    quiet = await _asks(turns, "quiet")
    assert (quiet.done(), turns.held, turns.waiting) == (True, 2, 2)

    turns.release("quiet")
    await asyncio.sleep(0)
    assert not noisy[1].done(), "its share is what it holds already, however many places are free"

    turns.release("noisy")
    await noisy[1]
    assert (turns.held, turns.waiting) == (1, 1)
    noisy[2].cancel()


async def test_a_name_that_has_its_share_of_the_line_is_refused_and_another_waits() -> None:
    turns = Turns(1, bounds=Bounds(waiting_per_name=2))
    await turns.acquire()
    waiting = [await _asks(turns, "noisy") for _ in range(2)]

    assert await _refused(turns, "noisy") is Reason.SHARE

    waiting.append(await _asks(turns, "quiet"))
    turns.release()
    await waiting[0]
    turns.release("noisy")
    await waiting[2]
    assert not waiting[1].done(), "the quiet one's turn comes first"
    waiting[1].cancel()


async def test_in_a_full_line_the_newest_of_who_has_most_gives_way_to_who_has_less() -> None:
    turns = Turns(1, bounds=Bounds(waiting=3))
    await turns.acquire()
    noisy = [await _asks(turns, "noisy") for _ in range(3)]

    quiet = await _asks(turns, "quiet")

    with pytest.raises(NoPlace) as pushed_out:
        await asyncio.wait_for(noisy[2], REFUSED_SECONDS_MAX)
    assert pushed_out.value.reason is Reason.FULL
    assert (noisy[1].done(), quiet.done(), turns.waiting) == (False, False, 3)

    assert await _refused(turns, "quiet") is Reason.FULL, "with as many as it would have left, nobody is pushed out"
    turns.release()
    await noisy[0]
    turns.release("noisy")
    await quiet
    noisy[1].cancel()


async def test_who_waited_as_long_as_may_be_is_told_why() -> None:
    turns = Turns(2, bounds=Bounds(share=one, wait_seconds=0.01))
    await _asks(turns, "one")

    assert await _refused(turns, "one") is Reason.SHARE
    await _asks(turns, "two")
    assert await _refused(turns, "three") is Reason.LATE

    turns.release("one")
    await _asks(turns, "three")
    assert (turns.held, turns.waiting) == (2, 0), "who was told so stands in line no longer"


async def test_a_place_is_passed_on_to_who_has_less_than_its_share() -> None:
    turns = Turns(3, bounds=Bounds(share=one))
    await _asks(turns, "unknown")
    next_unknown = await _asks(turns, "unknown")

    assert turns.pass_on("unknown", "known")
    await next_unknown
    assert not turns.pass_on("unknown", "known")

    assert turns.held == 2
    turns.release("known")
    turns.release("unknown")
    assert turns.held == 0
