"""Rate limits that replicas share through a real Redis, and what becomes of them when it is away."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator
from datetime import timedelta
from itertools import pairwise

import pytest
import uvloop

from s4.platform.rates import Rate, SharedBuckets, open_shared
from s4.platform.telemetry import metrics
from tests.servers import RedisServer
from tests.tcp_proxy import Trouble, tcp_proxy

SLOW = Rate(per_second=0.001, burst=50)
"""Nothing comes in while a test runs."""
TIMEOUT = timedelta(seconds=5)


@pytest.fixture
async def replicas(redis_server: RedisServer) -> AsyncIterator[list[SharedBuckets]]:
    opened = [open_shared(redis_server.wait(), prefix="s4:test:", timeout=TIMEOUT) for _ in range(2)]
    yield opened
    for one in opened:
        await one.aclose()


async def passed(replicas: list[SharedBuckets], name: str, rate: Rate, attempts: int) -> int:
    takes = [replicas[n % len(replicas)].take(name, rate) for n in range(attempts)]
    return sum(decision.allowed for decision in await asyncio.gather(*takes))


async def test_two_replicas_together_let_pass_exactly_what_one_would(replicas: list[SharedBuckets]) -> None:
    assert await passed(replicas, "acme", SLOW, 200) == 50
    assert await passed(replicas, "umbrella", SLOW, 30) == 30


async def test_several_at_once_pass_all_or_none(replicas: list[SharedBuckets]) -> None:
    first, second = [await replica.take("acme", SLOW, wanted=30) for replica in replicas]
    assert (first.allowed, second.allowed, second.remaining) == (True, False, 20)
    assert (await replicas[1].take("acme", SLOW, wanted=20)).allowed


async def test_what_came_in_meanwhile_passes_on_either_replica(replicas: list[SharedBuckets]) -> None:
    rate = Rate(per_second=20, burst=2)
    assert await passed(replicas, "acme", rate, 2) == 2
    refused = await replicas[0].take("acme", rate)
    while refused.allowed:  # a slow machine
        refused = await replicas[0].take("acme", rate)
    assert 0 < refused.seconds_to_next <= 1 / rate.per_second
    await asyncio.sleep(refused.seconds_to_next + 0.001)  # what Retry-After asks for
    assert (await replicas[1].take("acme", rate)).allowed


async def test_the_rate_is_kept_over_time(replicas: list[SharedBuckets]) -> None:
    rate, at_once, allowed = Rate(per_second=200, burst=10), 8, 0
    asked_at = [time.monotonic()]
    while asked_at[-1] - asked_at[0] < 1:
        allowed += await passed(replicas, "acme", rate, at_once)
        asked_at.append(time.monotonic())
    assert allowed <= rate.burst + rate.per_second * (asked_at[-1] - asked_at[0])
    came_in = sum(min(at_once, rate.per_second * (later - earlier)) for earlier, later in pairwise(asked_at[:-1]))
    assert allowed >= came_in / 2, "what came in between two questions passes, up to as many as ask"


async def test_a_bucket_that_is_full_again_leaves_nothing_behind(
    redis_server: RedisServer, replicas: list[SharedBuckets]
) -> None:
    await replicas[0].take("acme", Rate(per_second=10, burst=20))
    client = replicas[0]._client
    assert await client.keys("*") == [b"s4:test:acme"]
    assert 1 <= await client.ttl("s4:test:acme") <= 3


async def test_without_redis_each_replica_goes_by_its_own_count_and_says_so(
    redis_server: RedisServer, replicas: list[SharedBuckets]
) -> None:
    redis_server.stop()
    for one in replicas:
        assert await passed([one], "acme", SLOW, 60) == 50
    assert metrics.RATE_LIMITS_ALONE._value.get() == 1
    redis_server.wait()
    while metrics.RATE_LIMITS_ALONE._value.get():  # it looks again within a second
        await replicas[0].take("umbrella", SLOW)
        await asyncio.sleep(0.05)


async def test_a_frozen_redis_costs_one_timeout_and_not_one_a_request(redis_server: RedisServer) -> None:
    buckets = open_shared(redis_server.wait(), prefix="s4:test:", timeout=timedelta(seconds=0.3))
    assert (await buckets.take("acme", SLOW)).allowed
    redis_server.send(signal.SIGSTOP)
    before = metrics.RATE_LIMIT_ERRORS._value.get()
    try:
        for _ in range(40):
            assert (await buckets.take("acme", SLOW)).allowed
        assert metrics.RATE_LIMIT_ERRORS._value.get() - before <= 2
    finally:
        redis_server.send(signal.SIGCONT)
    await buckets.aclose()


async def test_redis_that_was_emptied_begins_anew_and_refuses_nobody(
    redis_server: RedisServer, replicas: list[SharedBuckets]
) -> None:
    assert await passed(replicas, "acme", SLOW, 60) == 50
    await replicas[0]._client.flushall()
    assert await passed(replicas, "acme", SLOW, 60) == 50


def test_a_connection_that_is_reset_while_it_idles_fails_no_request(redis_server: RedisServer) -> None:
    """On uvloop, as the API runs: its transports answer a write after a reset in a way of their own."""
    port = int(redis_server.wait().rpartition(":")[2].partition("/")[0])

    async def play() -> bool:
        async with tcp_proxy("127.0.0.1", port) as line:
            buckets = open_shared(f"redis://127.0.0.1:{line.port}/0", prefix="s4:test:", timeout=TIMEOUT)
            try:
                assert (await buckets.take("acme", SLOW)).allowed
                line.begin(Trouble.RESET)
                while line.hits == 0:  # noqa: ASYNC110 (the proxy offers no event)
                    await asyncio.sleep(0.01)
                await asyncio.sleep(0.01)  # so that the reset is noticed before anything is written
                return (await buckets.take("acme", SLOW)).allowed
            finally:
                await buckets.aclose()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(play())
