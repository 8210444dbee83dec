"""What the backends and the contract share: outcomes, descriptions of objects, errors, and what a backend must do."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from s4.kernel.errors import NotFound, RangeNotSatisfiable, Unavailable
from s4.kernel.keys import ObjectKey, ObjectPrefix
from s4.kernel.units import GIB


class CreateOutcome(StrEnum):
    """`CREATED`: the object holds our bytes. `TAKEN`: it holds another's, and ours will never be there."""

    CREATED = "created"
    TAKEN = "taken"


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """`size` in bytes; `last_modified` is aware and as fine as the store keeps it: S3 says whole seconds."""

    key: ObjectKey
    size: int
    last_modified: datetime
    etag: str | None


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a probe found out. Without `create_if_absent` only one writer may run."""

    create_if_absent: bool


NO_CONDITIONS = (
    "The object store ignores preconditions (If-None-Match; Google's generations): two writers would overwrite each "
    "other's heads. Use a store that honours them."
)
"""Where create-if-absent is not honoured: why S4 does not start, and what to do."""


NOT_IMPLEMENTED = ("NotImplemented", "501")
"""Codes of a store that does not know what it is asked for."""

NO_CREDENTIALS = "NoCredentials"
"""The code where no credentials are set and the machine has none to give: neither S3 nor Google's storage was asked."""


_KNOWN_CODES = frozenset(
    {"400", "401", "403", "404", "408", "409", "429", "500", "502", "503", "504", "507", "AccessDenied", "BadDigest",
     "InternalError", "InvalidAccessKeyId", "InvalidObjectState", "NoSuchBucket", "NoSuchUpload", "QuotaExceeded",
     "PermanentRedirect", "RequestLimitExceeded", "RequestTimeTooSkewed", "RequestTimeout", "ServiceUnavailable",
     "SignatureDoesNotMatch", "SlowDown", "Throttling", "TooManyRequests", "length", *NOT_IMPLEMENTED, NO_CREDENTIALS}
)  # fmt: skip


def known_code(code: str | None) -> str:
    """A store's code as a metric's label: a store that is not well may say anything, and labels are bounded."""
    if code is None:
        return "none"
    return code if code in _KNOWN_CODES else "other"


class ObjectMissing(NotFound):
    """There is no object of this key."""

    def __init__(self, key: ObjectKey) -> None:
        super().__init__("There is no such object.")
        self.key = key


class StoreFault(StrEnum):
    """Why the store did not do what it was asked. The label of the metric, too."""

    THROTTLED = "throttled"
    DENIED = "denied"
    FULL = "full"
    TIMEOUT = "timeout"
    ERROR = "error"


_MESSAGES = {
    StoreFault.THROTTLED: "The object store is overloaded.",
    StoreFault.DENIED: "The object store denies S4 access.",
    StoreFault.FULL: "The object store's disk is full.",
    StoreFault.TIMEOUT: "The object store does not answer in time.",
    StoreFault.ERROR: "The object store does not answer as it should.",
}
# A store that throttles, or a person who must mend something, needs longer than a connection that broke.
_RETRY_AFTER = {
    StoreFault.THROTTLED: timedelta(seconds=5),
    StoreFault.DENIED: timedelta(seconds=60),
    StoreFault.FULL: timedelta(seconds=60),
}


class StoreUnavailable(Unavailable):
    """The store did not do it, or did not say so. `details` names the fault, the operation and the store's code."""

    def __init__(self, fault: StoreFault, *, code: str | None = None, operation: str | None = None) -> None:
        said = {"fault": fault.value, "operation": operation, "code": code}
        super().__init__(
            _MESSAGES[fault],
            details={name: value for name, value in said.items() if value is not None},
            retry_after=_RETRY_AFTER.get(fault, timedelta(seconds=2)),
        )
        self.fault = fault

    @property
    def refused(self) -> bool:
        """The store certainly did nothing, and trying again at once would not change that."""
        return self.fault in (StoreFault.DENIED, StoreFault.FULL)


def beyond_end(size_bytes: int | None) -> RangeNotSatisfiable:
    """For a range that starts at or behind an object's end."""
    return RangeNotSatisfiable(
        "The range starts behind the end.", details={} if size_bytes is None else {"size": size_bytes}
    )


class Reading(Protocol):
    """An open download of the bytes from `start` up to, not including, `end`."""

    info: ObjectInfo
    start: int
    end: int

    async def next_chunk(self) -> bytes:
        """The next bytes; none at the end."""
        ...

    async def close(self) -> None: ...


class Writing(Protocol):
    """An open upload. Nothing is visible under its key before `finish`, and nothing after `abort`."""

    async def write(self, chunk: bytes) -> None: ...

    async def finish(self) -> None: ...

    async def abort(self) -> None: ...


class Backend(Protocol):
    """What differs between stores. Keys are checked by the caller; a backend puts its own root before them.

    Raises `ObjectMissing`, `StoreUnavailable`, `RangeNotSatisfiable` and nothing else. Knows no deadlines, except
    that whatever runs on after a cancelled call must end by itself.
    """

    @property
    def local_root(self) -> Path | None: ...

    async def create(self, key: ObjectKey, data: bytes) -> bool:
        """False when an object is there. A lost answer may raise, or be False."""
        ...

    async def put(self, key: ObjectKey, data: bytes, *, lasting: bool = True) -> None:
        """Not `lasting`: a power cut may still undo or damage it, until `make_last` has returned."""
        ...

    async def make_last(self) -> None: ...

    async def open_upload(self, key: ObjectKey, *, storage_class: str | None = None) -> Writing:
        """`storage_class`: where the store has such; the store's default without it."""
        ...

    async def storage_class(self, key: ObjectKey) -> str | None:
        """That of an object; None where the store does not say. Raises `ObjectMissing`."""
        ...

    async def open(self, key: ObjectKey, start: int, end: int | None) -> Reading: ...

    async def head(self, key: ObjectKey) -> ObjectInfo: ...

    def pages(self, prefix: ObjectPrefix) -> AsyncIterator[Sequence[ObjectInfo]]: ...

    async def children(self, prefix: ObjectPrefix) -> list[ObjectPrefix]: ...

    async def copy(self, source: ObjectKey, target: ObjectKey) -> None:
        """Within the store, over whatever is at `target`; its bytes come to nobody."""
        ...

    async def delete(self, keys: Sequence[ObjectKey]) -> None:
        """At most `DELETE_BATCH_MAX` keys; missing ones are fine."""
        ...

    async def aclose(self) -> None: ...


DELETE_BATCH_MAX = 1000
"""S3's bound for one DeleteObjects request."""
COPY_BYTES_MAX = 5 * GIB
"""S3's bound for one CopyObject request."""
LIST_PAGE_MAX = 1000
"""S3's bound for one page of a listing."""
DEFAULT_CLASS = "STANDARD"
"""As S3 and Google's storage call the storage class of what names none."""
