"""An erasure: where it stands, what it found, and its receipt.

    begun ──(what there is was counted)──► counted ──(all of it was deleted)──► erased ──(looked again, long
    after anybody could still write)──► proved: the receipt is signed
                                          │
                                          └── something was there: deleted too, and looked again later

What was proved holds of the bucket that served then, in the `term` that is noted. Whenever another region is promoted,
its bucket is looked at as well, and what is found there goes the same way from `counted` on.

An erasure is a record, `system/erasures/{tenant}/…`: outside of what is restored, so that whoever brings an old backup
back knows what must not come with it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from s4.kernel.clock import parse_moment, parse_rfc3339, rfc3339
from s4.kernel.ids import TenantId
from s4.platform.chains import Record

FORMAT = 1
"""Of the record."""
FIRST_TERM = 1
"""Nobody was promoted yet (`domains/maintenance/deployment.py`)."""
RECEIPT_FORMAT = "s4-erasure-receipt"
RECEIPT_VERSION = 1


class ErasureState(StrEnum):
    BEGUN = "begun"
    COUNTED = "counted"
    ERASED = "erased"
    PROVED = "proved"


@dataclass(frozen=True, slots=True)
class Removed:
    """Objects and bytes by class (content, text, heads, …), and rows of the catalog by table."""

    objects: Mapping[str, int] = field(default_factory=dict)
    bytes: Mapping[str, int] = field(default_factory=dict)
    rows: Mapping[str, int] = field(default_factory=dict)

    def plus(self, other: "Removed") -> "Removed":
        return Removed(_sum(self.objects, other.objects), _sum(self.bytes, other.bytes), _sum(self.rows, other.rows))

    @property
    def is_nothing(self) -> bool:
        return not any(self.objects.values()) and not any(self.rows.values())


@dataclass(frozen=True, slots=True)
class Remaining:
    """What is not erased, and until when it may be there; None: as long as it is kept."""

    what: str
    until: datetime | None

    def to_dict(self) -> dict[str, Any]:
        return {"what": self.what, "until": rfc3339(self.until) if self.until is not None else None}


@dataclass(frozen=True, slots=True)
class Erasure:
    """Of one tenant. `records`: collection and name of what the operator's side configured for it."""

    tenant_id: TenantId
    state: ErasureState
    requested_at: datetime
    removed: Removed = Removed()
    records: Sequence[tuple[str, str]] = ()
    erased_at: datetime | None = None
    prove_after: datetime | None = None
    receipt: Mapping[str, Any] | None = None
    term: int = FIRST_TERM

    def body(self) -> dict[str, Any]:
        of_a_later_term = {"term": self.term} if self.term != FIRST_TERM else {}
        return of_a_later_term | {
            "format": FORMAT,
            "state": self.state.value,
            "requested_at": rfc3339(self.requested_at),
            "objects": dict(self.removed.objects),
            "bytes": dict(self.removed.bytes),
            "rows": dict(self.removed.rows),
            "records": [list(each) for each in self.records],
            "erased_at": rfc3339(self.erased_at) if self.erased_at is not None else None,
            "prove_after": rfc3339(self.prove_after) if self.prove_after is not None else None,
            "receipt": dict(self.receipt) if self.receipt is not None else None,
        }

    @classmethod
    def of(cls, record: Record) -> "Erasure":
        body = record.body
        return cls(
            tenant_id=TenantId(record.name),
            state=ErasureState(body["state"]),
            requested_at=parse_rfc3339(body["requested_at"]),
            removed=Removed(body["objects"], body["bytes"], body["rows"]),
            records=tuple((collection, name) for collection, name in body["records"]),
            erased_at=parse_moment(body["erased_at"]),
            prove_after=parse_moment(body["prove_after"]),
            receipt=body["receipt"],
            term=int(body.get("term", FIRST_TERM)),
        )


def _sum(one: Mapping[str, int], other: Mapping[str, int]) -> dict[str, int]:
    return {name: one.get(name, 0) + other.get(name, 0) for name in sorted({*one, *other})}
