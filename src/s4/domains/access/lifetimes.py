"""How long keys live, as heads say it: RFC 3339 texts, None for ever."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from s4.kernel.clock import parse_moment, parse_rfc3339, rfc3339
from s4.kernel.errors import InvalidRequest

Key = Mapping[str, Any]
"""An entry of a head: `created_at`, `expires_at`, and of a tenant's key `revoked_at`."""


def ended_at(key: Key) -> datetime | None:
    """When it was, or will be, refused for the first time."""
    ends = [at for at in (parse_moment(key["expires_at"]), parse_moment(key.get("revoked_at"))) if at is not None]
    return min(ends, default=None)


def in_force(key: Key, now: datetime) -> bool:
    ends = ended_at(key)
    return ends is None or ends > now


def ending(key: Key, now: datetime, overlap: timedelta) -> dict[str, Any]:
    """The key, expiring after `overlap`, or when it was to expire anyway."""
    last = now + overlap
    expires = parse_moment(key["expires_at"])
    return {**key, "expires_at": rfc3339(last if expires is None else min(expires, last))}


def renewed(key: Key, now: datetime) -> str | None:
    """When the key's successor expires: it lives as long as the key was to when it was made."""
    expires = parse_moment(key["expires_at"])
    return rfc3339(now + (expires - parse_rfc3339(key["created_at"]))) if expires is not None else None


def require_future(expires_at: datetime | None, now: datetime) -> None:
    """Raises `InvalidRequest`."""
    if expires_at is not None and expires_at <= now:
        raise InvalidRequest("expires_at has passed; name a time to come.")
