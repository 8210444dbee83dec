"""Asynchronous helpers for tests that block."""

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager
from typing import TypeVar

T = TypeVar("T")

_START_SECONDS_MAX = 60


@contextlib.contextmanager
def in_thread(helper: AbstractAsyncContextManager[T]) -> Iterator[T]:
    """What `helper` opens, on a loop of its own in a thread of its own, until the block ends."""
    ready: list[T] = []
    started, ended = threading.Event(), threading.Event()

    async def serve() -> None:
        async with helper as opened:
            ready.append(opened)
            started.set()
            await asyncio.to_thread(ended.wait)

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    assert started.wait(_START_SECONDS_MAX)
    try:
        yield ready[0]
    finally:
        ended.set()
        thread.join()
