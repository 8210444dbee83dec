"""Work beside a block of code, and work side by side."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable
from typing import Any, TypeVar

T = TypeVar("T")


@contextlib.asynccontextmanager
async def in_background(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """`work` runs from here to the end of the block, and is cancelled there. Raises what had ended it before."""
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def side_by_side(
    items: Iterable[T] | AsyncIterator[T], work: Callable[[T], Awaitable[None]], *, at_once: int
) -> None:
    """`work` on each item, so many at once; items are asked for as there is room. Raises what the first to fail raised,
    when all others have ended."""
    waiting = items if isinstance(items, AsyncIterator) else _each(items)
    turn = asyncio.Lock()  # nobody may ask a generator that is being asked

    async def take() -> None:
        while True:
            async with turn:
                try:
                    item = await anext(waiting)
                except StopAsyncIteration:
                    return
            await work(item)

    try:
        async with asyncio.TaskGroup() as tasks:
            for _ in range(at_once):
                tasks.create_task(take())
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from None  # callers know errors, not groups of them


async def _each(items: Iterable[T]) -> AsyncIterator[T]:
    for item in items:
        yield item
