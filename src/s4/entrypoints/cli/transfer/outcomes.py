"""What became of a file."""

import os
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from s4client import Document, FileChanged, S4ApiError, S4ConnectionError, S4Error, S4WaitTimeout


class Action(StrEnum):
    """What was done, or with `--dry-run` would be."""

    UPLOADED = "uploaded"
    REPLACED = "replaced"
    UNCHANGED = "unchanged"
    METADATA = "metadata"
    """The bytes are unchanged, the metadata was set."""
    REPROCESSED = "reprocessed"
    """The bytes are unchanged; the server tries again to read them."""
    SKIPPED = "skipped"
    """Not a file of this directory, with the reason."""
    REFUSED = "refused"
    """Nothing was done, because of the failure."""
    DELETED = "deleted"


@dataclass(frozen=True, slots=True)
class Failure:
    """A code for programs and a sentence for a person."""

    code: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """`failure` says why the file was skipped or refused, or why its document is not searchable."""

    path: str
    action: Action
    key: str | None = None
    sent_bytes: int = 0
    document_id: str | None = None
    uploaded_at: datetime | None = None
    status: str | None = None
    failure: Failure | None = None

    @property
    def is_failed(self) -> bool:
        return self.failure is not None and self.action is not Action.SKIPPED

    def as_json(self) -> dict[str, Any]:
        return {
            "path": os.fsencode(self.path).decode("utf-8", "replace"),
            "key": self.key,
            "action": self.action.value,
            "document_id": self.document_id,
            "status": self.status,
            "failure": {"code": self.failure.code, "message": self.failure.message} if self.failure else None,
        }


def refused(path: Path | str, error: S4Error | OSError, *, key: str | None = None) -> Outcome:
    return Outcome(path=str(path), key=key, action=Action.REFUSED, failure=failure_of(error))


def failure_in(document: Document) -> Failure | None:
    """Why its document is not searchable, if it ended so."""
    if document.status != "failed":
        return None
    if document.error is None:
        return Failure("failed", "The document could not be processed.")
    return Failure(document.error.code, document.error.message)


def failure_of(error: S4Error | OSError) -> Failure:
    """The code and a sentence for what was raised."""
    match error:
        case S4ApiError():
            return Failure(error.code, error.message)
        case S4ConnectionError():
            return Failure("connection_failed", str(error))
        case S4WaitTimeout():
            return Failure("timeout", str(error))
        case FileChanged():
            return Failure("file_changed", "It changed while it was being read: upload it again.")
        case FileNotFoundError():
            return Failure("file_error", "There is no such file.")
        case PermissionError():
            return Failure("file_error", "It cannot be read: permission denied.")
        case OSError():
            return Failure("file_error", f"It cannot be read: {error.strerror or error}.")
        case _:
            return Failure("client_error", str(error))
