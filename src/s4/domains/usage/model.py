"""Balances, the room that an upload needs, and the thresholds of a plan's storage."""

from dataclasses import dataclass
from enum import StrEnum

THRESHOLDS_PERCENT = (80, 95, 100)
REARMED_BELOW_PERCENT = 5
"""A threshold is told again once use has been this many points below it: one that is deleted from and uploaded to at
the threshold tells nothing twice."""


@dataclass(frozen=True, slots=True)
class Room:
    """Bytes and documents: what an upload is promised, or takes."""

    size_bytes: int
    documents: int = 0


@dataclass(frozen=True, slots=True)
class Balance:
    """Bytes and documents of one tenant: what it has, and what uploads under way were promised."""

    stored_bytes: int = 0
    reserved_bytes: int = 0
    documents: int = 0
    reserved_documents: int = 0


@dataclass(frozen=True, slots=True)
class Crossing:
    """Storage in use reached a threshold, coming from below."""

    threshold_percent: int
    stored_bytes: int
    limit_bytes: int


class StorageClass(StrEnum):
    """What bytes in the bucket are there for."""

    CONTENT = "content"
    TEXT = "text"
    OLD_VERSIONS = "old_versions"
    HEADS = "heads"
    INDEX = "index"
    EMBEDDINGS = "embeddings"
    SYSTEM = "system"
    BACKUP = "backup"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Holding:
    """What one class of a tenant takes in the bucket."""

    size_bytes: int = 0
    objects: int = 0

    def __add__(self, other: "Holding") -> "Holding":
        return Holding(self.size_bytes + other.size_bytes, self.objects + other.objects)


def crossed(stored_bytes: int, limit_bytes: int | None, notified_percent: int) -> tuple[int, list[Crossing]]:
    """Which threshold counts as told once `stored_bytes` are in use, and the crossings to tell now, in order."""
    if not limit_bytes:  # without limit, or a plan that stores nothing: no use approaches it
        return 0, []
    crossings = [
        Crossing(threshold, stored_bytes, limit_bytes)
        for threshold in THRESHOLDS_PERCENT
        if threshold > notified_percent and stored_bytes * 100 >= threshold * limit_bytes
    ]
    if crossings:
        return crossings[-1].threshold_percent, crossings
    still_told = [
        threshold
        for threshold in THRESHOLDS_PERCENT
        if threshold <= notified_percent and stored_bytes * 100 >= (threshold - REARMED_BELOW_PERCENT) * limit_bytes
    ]
    return (still_told[-1] if still_told else 0), []
