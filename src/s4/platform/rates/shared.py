"""Buckets in Redis, one Lua script per request, so that replicas count as one.

When Redis does not answer within `timeout`, requests go on, each process counting by itself, and Redis is left alone
for a moment before the next attempt, so that a frozen one costs a request now and then its timeout and no more. A log
line and a metric say so, and say when it is back.
"""

import time
from datetime import timedelta

import structlog
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from s4.kernel.errors import Unavailable
from s4.platform.rates.bucket import Decision, Rate
from s4.platform.rates.local import LocalBuckets
from s4.platform.telemetry import metrics

log = structlog.get_logger()

_PAUSE_SECONDS = 1.0  # between attempts while Redis is away
_KEY_SECONDS_MIN = 1  # a bucket that has been full for so long need not be kept

# Time is Redis' own: replicas' clocks differ. It says whether the tokens were there, and what is left.
_TAKE = """
local per_second, burst = tonumber(ARGV[1]), tonumber(ARGV[2])
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1000000
local kept = redis.call('HMGET', KEYS[1], 'tokens', 'at')
local tokens, at = tonumber(kept[1]) or burst, tonumber(kept[2]) or now
tokens = math.min(burst, tokens + math.max(0, now - at) * per_second)
local allowed, wanted = 0, tonumber(ARGV[4])
if tokens >= wanted then
  allowed = 1
  tokens = tokens - wanted
end
redis.call('HSET', KEYS[1], 'tokens', string.format('%.9f', tokens), 'at', string.format('%.6f', math.max(now, at)))
redis.call('EXPIRE', KEYS[1], math.ceil(burst / per_second) + tonumber(ARGV[3]))
return {allowed, string.format('%.9f', tokens)}
"""


class SharedBuckets:
    """Opened by `open_shared`."""

    def __init__(self, client: "Redis", prefix: str) -> None:
        self._client = client
        self._take = client.register_script(_TAKE)
        self._prefix = prefix
        self._alone = LocalBuckets()
        self._away_until: float | None = None

    async def take(self, name: str, rate: Rate, *, wanted: int = 1) -> Decision:
        """So many tokens of `name`'s bucket, or none. Never fails."""
        if self._away_until is not None and time.monotonic() < self._away_until:
            return await self._alone.take(name, rate, wanted=wanted)
        try:
            arguments = [rate.per_second, rate.burst, _KEY_SECONDS_MIN, wanted]
            allowed, tokens = await self._take(keys=[f"{self._prefix}{name}"], args=arguments)
        except (RedisError, OSError, RuntimeError) as error:  # RuntimeError: uvloop's, for a connection that was reset
            self._lost(error)
            return await self._alone.take(name, rate, wanted=wanted)
        if self._away_until is not None:
            self._away_until = None
            metrics.RATE_LIMITS_ALONE.set(0)
            log.info("rates.shared_again")
        return Decision(bool(allowed), float(tokens), rate)

    def _lost(self, error: Exception) -> None:
        metrics.RATE_LIMIT_ERRORS.inc()
        if self._away_until is None:
            metrics.RATE_LIMITS_ALONE.set(1)
            log.warning("rates.alone", error=type(error).__name__, message=str(error)[:200])
        self._away_until = time.monotonic() + _PAUSE_SECONDS

    async def aclose(self) -> None:
        await self._client.aclose()


def open_shared(url: str, *, prefix: str, timeout: timedelta) -> SharedBuckets:
    """`url` is `redis://`, `rediss://` or `unix://`. Connects when first asked. `prefix` keeps deployments apart."""
    return SharedBuckets(_client(url, timeout), prefix)


async def version_of(url: str, *, timeout: timedelta) -> str:
    """Which Redis answers there. Raises `Unavailable`."""
    client = _client(url, timeout)
    try:
        return str((await client.info("server")).get("redis_version", "of unknown version"))
    except (RedisError, OSError, RuntimeError) as error:
        raise Unavailable("Redis does not answer.", details={"dependency": "redis"}) from error
    finally:
        await client.aclose()


def _client(url: str, timeout: timedelta) -> "Redis":
    return Redis.from_url(
        url,
        socket_timeout=timeout.total_seconds(),
        socket_connect_timeout=timeout.total_seconds(),
        retry=Retry(NoBackoff(), 0),
    )
