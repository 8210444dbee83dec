"""Who has failed too often: a bucket of failures per address and per key prefix, in this process.

It decides how a failing attempt is answered and what it may cost, never whether a valid key is accepted: neighbours
behind one address do not lock each other out, and nobody locks a tenant out whose prefix he knows.
"""

import ipaddress
import math
import time
from collections import OrderedDict
from collections.abc import Callable
from datetime import timedelta

_BUCKETS_MAX = 20_000  # addresses, and prefixes; the longest unused one goes
_IPV6_NETWORK_BITS = 64  # what one subscriber has: he could send each guess from another address


class Throttle:
    """`per_minute`: failures that are answered as what they are. They come back evenly."""

    def __init__(self, per_minute: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._burst = float(per_minute)
        self._per_second = per_minute / 60
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def exceeded(self, address: str | None, prefix: str | None) -> bool:
        return any(self._left(name) < 1 for name in _names(address, prefix))

    def failed(self, address: str | None, prefix: str | None) -> None:
        for name in _names(address, prefix):
            self._buckets[name] = (max(self._left(name) - 1, 0.0), self._clock())
            self._buckets.move_to_end(name)
        while len(self._buckets) > _BUCKETS_MAX:
            self._buckets.popitem(last=False)

    def retry_after(self, address: str | None, prefix: str | None) -> timedelta:
        """Until a failing attempt would be answered as one again."""
        missing = max(1 - self._left(name) for name in _names(address, prefix))
        return timedelta(seconds=max(1, math.ceil(missing / self._per_second)))

    def _left(self, name: str) -> float:
        left, at = self._buckets.get(name, (self._burst, 0.0))
        return min(self._burst, left + (self._clock() - at) * self._per_second)


def _names(address: str | None, prefix: str | None) -> list[str]:
    names = [f"address {_network(address)}"]
    return names if prefix is None else [*names, f"prefix {prefix}"]


def _network(address: str | None) -> str:
    try:
        parsed = ipaddress.ip_address(address or "")
    except ValueError:
        return address or ""
    if parsed.version == 4:
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((int(parsed), _IPV6_NETWORK_BITS), strict=False))
