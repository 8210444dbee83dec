"""Documents, their content and their text."""

import base64
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Self, TypeVar

from pydantic import BaseModel, Field, ValidationError

from s4client.content import sha256_in
from s4client.errors import UnexpectedAnswer
from s4client.models.base import Model

ModelT = TypeVar("ModelT", bound=BaseModel)

END_STATES = frozenset({"ready", "failed", "archived"})
"""States that a document does not leave by itself."""


class DocumentFailure(Model):
    """Why a document ended `failed`."""

    code: str
    message: str


class Document(Model):
    """A document as uploading and listing show it. `etag` names the revision, for `if_match`; `detected_type` is what
    the bytes were found to be, whatever `content_type` says."""

    document_id: str
    key: str | None = None
    filename: str
    content_type: str
    detected_type: str | None = None
    size: int
    sha256: str
    version: int | str | None = None
    metadata: dict[str, Any] = Field(default_factory=dict)
    uploaded_at: datetime
    status: str
    error: DocumentFailure | None = None
    etag: str | None = None

    @property
    def is_ended(self) -> bool:
        """Whether it is `ready`, `failed` or `archived`."""
        return self.status in END_STATES


class DocumentDetail(Document):
    """A document with what became of it."""

    chunks: int | None = None
    pages: int | None = None
    last_accessed: datetime | None = None
    indexed_at: datetime | None = None
    progress: Any = None
    archived_at: datetime | None = None
    legal_hold: bool = False


class DocumentStat(Model):
    """What `HEAD` tells of a document."""

    document_id: str
    status: str
    size: int
    etag: str | None = None

    @classmethod
    def of(cls, headers: Mapping[str, str]) -> Self:
        return _from_headers(
            cls,
            document_id=headers.get("x-s4-document-id"),
            status=headers.get("x-s4-status"),
            size=headers.get("x-s4-size"),
            etag=headers.get("etag"),
        )


class ContentStat(Model):
    """What `HEAD` tells of a download. `sha256` is in hexadecimal."""

    size: int
    content_type: str
    sha256: str | None = None
    etag: str | None = None

    @classmethod
    def of(cls, headers: Mapping[str, str]) -> Self:
        digest = sha256_in(headers.get("repr-digest", ""))
        return _from_headers(
            cls,
            size=headers.get("content-length"),
            content_type=headers.get("content-type"),
            sha256=base64.b64decode(digest).hex() if digest is not None else None,
            etag=headers.get("etag"),
        )


def _from_headers(model: type[ModelT], **values: str | None) -> ModelT:
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise UnexpectedAnswer(f"The headers are not those of a {model.__name__}: {error}") from error


class DocumentPage(Model):
    """One page of a listing. `next_cursor` is None on the last."""

    documents: tuple[Document, ...]
    total: int | None = None
    page: int | None = None
    limit: int | None = None
    next_cursor: str | None = None


class TextPage(Model):
    """Where a page, counted from 1, lies in the text."""

    page: int
    char_start: int
    char_end: int


class DocumentText(Model):
    """The text that was extracted from a document. `warnings` are sentences about what was not read."""

    document_id: str
    version: int | str | None = None
    title: str | None = None
    content_type: str | None = None
    text: str
    pages: tuple[TextPage, ...] = ()
    warnings: tuple[str, ...] = ()


class MetadataUpdate(Model):
    """The metadata after a patch."""

    document_id: str
    metadata: dict[str, Any]
    updated_at: datetime
    version: int | None = None


class BulkDeletion(Model):
    """Which documents were deleted, which there were none of, and which a legal hold keeps."""

    deleted: tuple[str, ...]
    not_found: tuple[str, ...]
    held: tuple[str, ...] = ()
