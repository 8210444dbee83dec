"""What the server has under a key already.

For a directory, all documents under the prefix are listed once; for single files each is asked for.
"""

import contextlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from s4.entrypoints.cli.transfer.outcomes import Failure, failure_in
from s4client import AsyncS4Client, Document, NotFound

PAGE_LIMIT = 1000
"""The most that a listing answers: a hundred thousand documents are a hundred requests."""


@dataclass(frozen=True, slots=True)
class KnownDocument:
    """As little as is needed, since there may be a hundred thousand: some 500 bytes."""

    document_id: str
    size_bytes: int
    sha256: str
    status: str
    uploaded_at: datetime
    version: int | str | None
    metadata: Mapping[str, Any] | None
    failure: Failure | None

    @classmethod
    def of(cls, document: Document) -> "KnownDocument":
        return cls(
            document.document_id,
            document.size,
            document.sha256,
            document.status,
            document.uploaded_at,
            document.version,
            document.metadata or None,
            failure_in(document),
        )

    def lacking(self, metadata: Mapping[str, Any]) -> dict[str, Any]:
        """Those fields of `metadata` that the document has not, or has otherwise."""
        present = self.metadata or {}
        return {
            name: value
            for name, value in metadata.items()
            if name not in present or json.dumps(present[name]) != json.dumps(value)  # to Python, 1 is True
        }


class KnownDocuments:
    """What the server had under some keys when it was asked."""

    def __init__(self, by_key: dict[str, KnownDocument]) -> None:
        self._by_key = by_key

    @classmethod
    async def under(cls, client: AsyncS4Client, prefix: str) -> "KnownDocuments":
        """All documents whose keys begin with the prefix."""
        by_key = {}
        async for document in client.iter_documents(prefix=prefix or None, page_limit=PAGE_LIMIT):
            # Looked at again, because what is known here may be deleted.
            if document.key is not None and document.key.startswith(prefix):
                by_key[document.key] = KnownDocument.of(document)
        return cls(by_key)

    @classmethod
    async def named(cls, client: AsyncS4Client, keys: Iterable[str]) -> "KnownDocuments":
        """One request for each key."""
        by_key = {}
        for key in keys:
            with contextlib.suppress(NotFound):
                by_key[key] = KnownDocument.of(await client.get_by_key(key))
        return cls(by_key)

    def get(self, key: str) -> KnownDocument | None:
        return self._by_key.get(key)

    def __iter__(self) -> Iterator[tuple[str, KnownDocument]]:
        return iter(self._by_key.items())
