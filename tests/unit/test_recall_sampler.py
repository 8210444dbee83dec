"""Which searches have their recall measured, and how little of the time that takes."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from s4.domains.search.recall import REST_TIMES, RecallSampler
from s4.platform.telemetry import metrics


class Clock:
    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def samples(outcome: str) -> float:
    return float(metrics.INDEX_RECALL_SAMPLES.labels(outcome)._value.get())


def answering(recall: float | None) -> Callable[[], Awaitable[float | None]]:
    async def compare() -> float | None:
        return recall

    return compare


@pytest.mark.parametrize(("drawn", "share", "expected"), [(0.009, 0.01, 1), (0.01, 0.01, 0), (0.0, 0.0, 0)])
async def test_the_drawn_share_is_compared_and_nothing_else(drawn: float, share: float, expected: int) -> None:
    sampler = RecallSampler(share=share, draw=lambda: drawn, monotonic=Clock())
    before, total = samples("compared"), metrics.INDEX_RECALL._sum.get()
    sampler.offer(answering(0.9))
    await sampler.settled()
    assert samples("compared") - before == expected
    assert metrics.INDEX_RECALL._sum.get() - total == pytest.approx(0.9 * expected)


async def test_one_comparison_runs_at_a_time_and_a_rest_follows_it() -> None:
    clock = Clock()
    sampler = RecallSampler(share=1.0, draw=lambda: 0.5, monotonic=clock)
    may_end = asyncio.Event()

    async def slow() -> float | None:
        await may_end.wait()
        clock.seconds += 2.0
        return 1.0

    compared, skipped = samples("compared"), samples("skipped")
    sampler.offer(slow)
    await asyncio.sleep(0)
    sampler.offer(answering(1.0))
    may_end.set()
    await sampler.settled()
    clock.seconds += 2.0 * REST_TIMES - 0.1
    sampler.offer(answering(1.0))
    await sampler.settled()
    assert (samples("compared") - compared, samples("skipped") - skipped) == (1, 2)

    clock.seconds += 0.2
    sampler.offer(answering(1.0))
    await sampler.settled()
    assert samples("compared") - compared == 2


async def test_small_tables_count_as_exact_and_failures_as_failed() -> None:
    sampler = RecallSampler(share=1.0, draw=lambda: 0.0, monotonic=Clock())

    async def failing() -> float | None:
        raise RuntimeError("the store is away")

    exact, failed, told = samples("exact"), samples("failed"), metrics.INDEX_RECALL._sum.get()
    sampler.offer(answering(None))
    await sampler.settled()
    sampler.offer(failing)
    await sampler.settled()
    assert (samples("exact") - exact, samples("failed") - failed) == (1, 1)
    assert metrics.INDEX_RECALL._sum.get() == told


async def test_closing_drops_a_comparison_that_runs() -> None:
    sampler = RecallSampler(share=1.0, draw=lambda: 0.0)
    began = asyncio.Event()

    async def endless() -> float | None:
        began.set()
        await asyncio.Event().wait()
        return None

    sampler.offer(endless)
    await began.wait()
    await asyncio.wait_for(sampler.aclose(), 5)
