"""The arithmetic of token buckets, in one process."""

from hypothesis import given
from hypothesis import strategies as st

from s4.platform.rates import LocalBuckets, Rate
from s4.platform.rates.bucket import Bucket


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


async def passed(buckets: LocalBuckets, name: str, rate: Rate, attempts: int) -> int:
    return sum([(await buckets.take(name, rate)).allowed for _ in range(attempts)])


async def test_a_burst_passes_and_then_the_rate_to_the_request() -> None:
    clock = Clock()
    buckets, rate = LocalBuckets(clock), Rate(per_second=2.5, burst=4)
    assert await passed(buckets, "acme", rate, 20) == 4
    for _ in range(3):
        clock.now += 2
        assert await passed(buckets, "acme", rate, 20) == 4  # five came in, four fit
    clock.now += 0.4
    assert await passed(buckets, "acme", rate, 20) == 1
    clock.now += 3600
    assert await passed(buckets, "acme", rate, 20) == 4


async def test_tenants_have_buckets_of_their_own() -> None:
    buckets, rate = LocalBuckets(Clock()), Rate(per_second=1, burst=1)
    assert await passed(buckets, "acme", rate, 5) == 1
    assert await passed(buckets, "umbrella", rate, 5) == 1


async def test_a_refused_request_learns_when_one_would_pass() -> None:
    clock = Clock()
    buckets, rate = LocalBuckets(clock), Rate(per_second=0.5, burst=2)
    assert (await buckets.take("acme", rate)).seconds_to_full == 2
    assert (await buckets.take("acme", rate)).seconds_to_full == 4
    refused = await buckets.take("acme", rate)
    assert (refused.allowed, refused.remaining, refused.seconds_to_next, refused.seconds_to_full) == (False, 0, 2, 4)
    clock.now += 2
    assert (await buckets.take("acme", rate)).allowed


async def test_several_at_once_pass_all_or_none_and_learn_when_they_would() -> None:
    clock = Clock()
    buckets, rate = LocalBuckets(clock), Rate(per_second=0.5, burst=4)
    assert (await buckets.take("acme", rate, wanted=3)).allowed
    refused = await buckets.take("acme", rate, wanted=3)
    assert (refused.allowed, refused.remaining, refused.seconds_to(3)) == (False, 1, 4)
    clock.now += 4
    assert (await buckets.take("acme", rate, wanted=3)).allowed


async def test_a_changed_rate_applies_to_the_next_request() -> None:
    clock = Clock()
    buckets = LocalBuckets(clock)
    assert await passed(buckets, "acme", Rate(per_second=1, burst=100), 10) == 10
    assert await passed(buckets, "acme", Rate(per_second=1, burst=3), 10) == 3


async def test_a_clock_that_goes_back_gives_nothing_away() -> None:
    clock = Clock()
    buckets, rate = LocalBuckets(clock), Rate(per_second=1, burst=2)
    assert await passed(buckets, "acme", rate, 3) == 2
    clock.now -= 50
    assert await passed(buckets, "acme", rate, 3) == 0
    clock.now += 51
    assert await passed(buckets, "acme", rate, 3) == 1


@given(st.floats(0.01, 1000), st.integers(1, 50), st.lists(st.floats(0, 10, allow_nan=False), min_size=1, max_size=60))
def test_in_no_stretch_of_time_does_more_pass_than_burst_and_rate(
    per_second: float, burst: int, pauses: list[float]
) -> None:
    rate, bucket, now, allowed = Rate(per_second, burst), Bucket(burst, 0.0), 0.0, []
    for pause in pauses:
        now += pause
        if bucket.take(rate, now).allowed:
            allowed.append(now)
    for first, start in enumerate(allowed):
        for last in range(first, len(allowed)):
            room = burst + per_second * (allowed[last] - start)
            assert last - first + 1 <= room * (1 + 1e-9) + 1e-6, "more than the plan allows"
