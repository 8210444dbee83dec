"""Buckets of one process."""

import time
from collections import OrderedDict
from collections.abc import Callable

from s4.platform.rates.bucket import Bucket, Decision, Rate

_BUCKETS_MAX = 100_000  # some 20 MB; the least recently used go first, and have filled up again by then


class LocalBuckets:
    """Belongs to one event loop."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._buckets: OrderedDict[str, Bucket] = OrderedDict()

    async def take(self, name: str, rate: Rate, *, wanted: int = 1) -> Decision:
        """So many tokens of `name`'s bucket, or none."""
        now = self._clock()
        bucket = self._buckets.get(name)
        if bucket is None:
            bucket = self._buckets[name] = Bucket(rate.burst, now)
            if len(self._buckets) > _BUCKETS_MAX:
                self._buckets.popitem(last=False)
        else:
            self._buckets.move_to_end(name)
        return bucket.take(rate, now, wanted=wanted)

    async def aclose(self) -> None:
        """Nothing to close."""
