"""The arithmetic of a token bucket. The Lua script in `shared` does the same, to the token."""

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rate:
    """`per_second` and `burst` are above zero."""

    per_second: float
    burst: int

    @property
    def fill_seconds(self) -> float:
        """From empty to full."""
        return self.burst / self.per_second


@dataclass(frozen=True, slots=True)
class Decision:
    """`tokens`: what the bucket holds after it."""

    allowed: bool
    tokens: float
    rate: Rate

    @property
    def remaining(self) -> int:
        """Requests that would pass at once."""
        return math.floor(self.tokens)

    @property
    def seconds_to_next(self) -> float:
        """Until a request would pass."""
        return self.seconds_to(1)

    def seconds_to(self, requests: int) -> float:
        """Until so many would pass at once; they are at most the burst."""
        return max(0.0, (requests - self.tokens) / self.rate.per_second)

    @property
    def seconds_to_full(self) -> float:
        return max(0.0, (self.rate.burst - self.tokens) / self.rate.per_second)


@dataclass(slots=True)
class Bucket:
    """`tokens` were in it at `at` seconds of a clock that does not go back."""

    tokens: float
    at: float

    def take(self, rate: Rate, now: float, *, wanted: int = 1) -> Decision:
        """All that is `wanted`, or nothing."""
        refilled = min(rate.burst, self.tokens + max(0.0, now - self.at) * rate.per_second)
        allowed = refilled >= wanted
        self.tokens, self.at = refilled - wanted * allowed, max(now, self.at)
        return Decision(allowed, self.tokens, rate)
