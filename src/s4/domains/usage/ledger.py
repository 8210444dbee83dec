"""What the ledger counts, and in which rows.

Every amount is added to six rows at once: of the tenant's hour, day and month, and of everybody's. So a question about
a month reads a month's row and no question adds up ten thousand tenants. Everybody's rows are split into shards by
the last character of the tenant's id, or all writers would queue for one row.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from s4.platform.telemetry.metrics import HTTP_BUCKETS_SECONDS

EVERYBODY = "*"
"""Begins the names of the shards, and is the name of everybody's rows by endpoint."""
NOBODY = "-"
"""Whose requests failed before it was known who asked."""
CLASSES = ("search", "upload", "read", "download", "change", "delete", "account")
"""Of routes: what calls are told apart by."""

SEARCH_BUCKETS = tuple(f"searches_le_{number:02}" for number in range(len(HTTP_BUCKETS_SECONDS) + 1))
"""Searches that were answered, by duration; the bounds are those of the Prometheus histogram, the last one has none."""

ADDED = (
    "calls",
    *(f"calls_{name}" for name in CLASSES),
    "requests",  # all that a tenant asked, those that do not count as calls too
    "failures",
    "bytes_in",
    "bytes_out",
    "documents_uploaded",
    "documents_deleted",
    "chunks",
    "embedding_tokens_paid",
    "embedding_tokens_cached",
    "store_writes",
    "store_reads",
    "store_bytes_written",
    "store_bytes_read",
    "stored_byte_hours",
    *SEARCH_BUCKETS,
)
"""Amounts that add up."""
LEVELS = ("stored_bytes", "documents")
"""As the last hourly sample found them."""

Amounts = Mapping[str, int]
"""By names of `ADDED`."""


class Grain(StrEnum):
    HOUR = "hour"
    DAY = "day"
    MONTH = "month"

    def floor(self, moment: datetime) -> datetime:
        """When the hour, day or month of `moment` began. `moment` is in UTC."""
        hour = moment.replace(minute=0, second=0, microsecond=0)
        if self is Grain.HOUR:
            return hour
        day = hour.replace(hour=0)
        return day if self is Grain.DAY else day.replace(day=1)

    def following(self, start: datetime) -> datetime:
        """The beginning of the next one."""
        if self is Grain.HOUR:
            return start + timedelta(hours=1)
        if self is Grain.DAY:
            return start + timedelta(days=1)
        return (start.replace(day=1) + timedelta(days=32)).replace(day=1)  # no month has 32 days

    def ceiling(self, moment: datetime) -> datetime:
        floor = self.floor(moment)
        return floor if floor == moment else self.following(floor)


@dataclass(frozen=True, slots=True)
class Call:
    """Whose hour, and which endpoint."""

    tenant_id: str
    hour: datetime
    method: str
    route: str


SHARDS = tuple(EVERYBODY + character for character in "abcdefghijklmnopqrstuvwxyz234567")
"""One for each character that an id may end with."""


def shard_of(tenant_id: str) -> str:
    return EVERYBODY + tenant_id[-1]


def quantile_seconds(counts: list[int], share: float) -> float | None:
    """The duration that `share` (0..1) of what was counted did not exceed, interpolated as Prometheus does. None of
    nothing; beyond the last bound it is that bound."""
    total = sum(counts)
    if total == 0:
        return None
    rank, below = share * total, 0
    for number, bound in enumerate(HTTP_BUCKETS_SECONDS):
        if counts[number] and below + counts[number] >= rank:
            floor = HTTP_BUCKETS_SECONDS[number - 1] if number else 0.0
            return floor + (bound - floor) * (rank - below) / counts[number]
        below += counts[number]
    return HTTP_BUCKETS_SECONDS[-1]
