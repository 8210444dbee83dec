"""Scarce places are held by turns: how much one brings delays nobody else."""

import asyncio
from collections.abc import Sequence

import pytest

from s4.platform.turns import Turns, on_behalf_of


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
