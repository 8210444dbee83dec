"""What a head is, in memory and in the bucket."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from s4.kernel.clock import parse_rfc3339, rfc3339
from s4.kernel.errors import DataCorrupt
from s4.kernel.ids import CommitId
from s4.kernel.keys import ObjectKey, ObjectPrefix
from s4.platform.database import Connection

HEAD_FORMAT = 1
ABANDONED = "abandoned"
"""State of a revision that never happened. The subject is as its predecessor says."""


@dataclass(frozen=True, slots=True)
class Subject:
    """Whose chain: `subject_id` is the document's id, or the tenant's for the tenant's own chain."""

    kind: str
    tenant_id: str
    subject_id: str

    @property
    def ticket_key(self) -> str:
        return f"{self.kind}/{self.tenant_id}/{self.subject_id}"

    @property
    def label(self) -> str:
        """For a person: without what is empty, or said twice."""
        return "/".join(dict.fromkeys(filter(None, (self.kind, self.tenant_id, self.subject_id))))


@dataclass(frozen=True, slots=True)
class Draft:
    """The next head's content, as decided in the sealing transaction. `state` is the kind's own word."""

    state: str
    body: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Head:
    """One revision of a subject."""

    subject: Subject
    revision: int
    state: str
    commit_id: CommitId
    committed_at: datetime
    body: Mapping[str, Any]

    def to_bytes(self) -> bytes:
        document = {
            "format": HEAD_FORMAT,
            "kind": self.subject.kind,
            "tenant_id": self.subject.tenant_id,
            "id": self.subject.subject_id,
            "revision": self.revision,
            "state": self.state,
            "commit_id": self.commit_id,
            "committed_at": rfc3339(self.committed_at),
            "body": dict(self.body),
        }
        return json.dumps(document, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode()

    @classmethod
    def from_bytes(cls, data: bytes, *, expected: Subject) -> "Head":
        """Raises `DataCorrupt` unless `data` is a head of `expected`."""
        try:
            document = json.loads(data)
            if document["format"] != HEAD_FORMAT:
                raise DataCorrupt(f"A head has format {document['format']}; this release reads {HEAD_FORMAT}.")
            head = cls(
                subject=Subject(*(str(document[name]) for name in ("kind", "tenant_id", "id"))),
                revision=int(document["revision"]),
                state=str(document["state"]),
                commit_id=CommitId(document["commit_id"]),
                committed_at=parse_rfc3339(document["committed_at"]),
                body=dict(document["body"]),
            )
        except (ValueError, KeyError, TypeError) as error:
            raise DataCorrupt(f"The head of {expected.label} cannot be read.") from error
        if head.subject != expected:
            raise DataCorrupt(f"The head of {expected.label} names {head.subject.label}.")
        return head


class ChainKind(Protocol):
    """What a domain provides so that its subjects live in chains."""

    @property
    def name(self) -> str: ...

    @property
    def steps(self) -> str:
        """How its fail-points begin."""
        ...

    def head_key(self, subject: Subject, revision: int) -> ObjectKey: ...

    def heads_prefix(self, subject: Subject) -> ObjectPrefix: ...

    async def revision(self, connection: Connection, subject: Subject) -> int:
        """The revision that the catalog knows, 0 for none; locks the subject's row where there is one."""
        ...

    async def apply(self, connection: Connection, head: Head) -> None:
        """Moves the catalog to `head`, with everything that follows from it; nothing when it is not newer."""
        ...

    async def apply_new(self, connection: Connection, chains: Sequence[Sequence[Head]]) -> set[Subject]:
        """The same at once, instead of one by one, for subjects of which the catalog has nothing yet; each of `chains`
        is what `Chains.read_back` found of one. Answers with those that it was done for. Others are as they were, and
        their rows are locked where this locks any."""
        ...
