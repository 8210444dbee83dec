"""The catalog's row of a document, and its flattened metadata."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from s4.domains.documents.jobs import INDEX
from s4.domains.documents.metadata import TEXT_PREFIX_CHARS, FieldValue
from s4.domains.documents.model import Document, DocumentStatus
from s4.domains.documents.models import document_fields, documents
from s4.domains.documents.queries import scope
from s4.kernel.context import TenantContext
from s4.kernel.ids import DocumentId, TenantId, VersionId
from s4.platform.chains import Head
from s4.platform.database import Connection, upsert
from s4.platform.jobs.models import jobs
from s4.platform.jobs.queue import of_kind

ACCESS_NOTED_EVERY = timedelta(hours=1)
"""An access costs a write no more often."""

PROCESSING: dict[str, Any] = {
    "status": DocumentStatus.PROCESSING.value,
    "stage": None,
    "error_code": None,
    "error_message": None,
    "indexed_at": None,
    "detected_type": None,
    "archived_at": None,
    "restoring": False,
}
"""What new content makes of a document. `chunks` and `pages` stay until the new ones are known."""

ARCHIVED: dict[str, Any] = {
    "status": DocumentStatus.ARCHIVED.value,
    "stage": None,
    "error_code": None,
    "error_message": None,
    "restoring": False,
}
"""What the archive makes of one."""


async def lock(connection: Connection, tenant_id: str, document_id: str) -> sa.Row[Any] | None:
    """The row in whatever state, locked until the transaction ends."""
    found = await connection.execute(
        sa.select(documents)
        .where(documents.c.tenant_id == tenant_id, documents.c.document_id == document_id)
        .with_for_update()
    )
    return found.one_or_none()


async def lock_all(connection: Connection, tenant_id: str, document_ids: Collection[str]) -> set[str]:
    """Locks the rows of those that have one, in the order of their ids, and answers with these."""
    d = documents.c
    of_them = d.tenant_id == tenant_id, d.document_id.in_(document_ids)
    found = sa.select(d.document_id).where(*of_them).order_by(d.document_id).with_for_update()
    return set((await connection.execute(found)).scalars())


async def find(connection: Connection, tenant_id: str, document_id: str) -> sa.Row[Any] | None:
    """The row in whatever state."""
    found = await connection.execute(
        sa.select(documents).where(documents.c.tenant_id == tenant_id, documents.c.document_id == document_id)
    )
    return found.one_or_none()


async def get(connection: Connection, context: TenantContext, document_id: DocumentId) -> Document | None:
    """A document that the caller may see."""
    found = await connection.execute(
        sa.select(documents).where(documents.c.document_id == document_id, scope.visible(context))
    )
    row = found.one_or_none()
    return document(row) if row is not None else None


async def live(connection: Connection, tenant_id: TenantId, document_id: DocumentId) -> Document | None:
    """A live document, for S4's own work: no caller's bounds apply."""
    found = await connection.execute(
        sa.select(documents).where(
            documents.c.tenant_id == tenant_id,
            documents.c.document_id == document_id,
            documents.c.state == "live",
        )
    )
    row = found.one_or_none()
    return document(row) if row is not None else None


async def put(connection: Connection, values: dict[str, Any]) -> None:
    """Inserts or overwrites the columns in `values`."""
    identity = ("tenant_id", "document_id")
    update = {name: value for name, value in values.items() if name not in identity}
    await connection.execute(upsert(connection, documents, PROCESSING | values, conflict=identity, update=update))


async def add_all(
    connection: Connection, rows: Sequence[dict[str, Any]], fields: Mapping[str, Sequence[FieldValue]]
) -> None:
    """Of documents that have no row yet, all of one tenant. `fields`: their metadata, flattened."""
    await connection.execute(sa.insert(documents), [PROCESSING | row for row in rows])
    tenant_id = rows[0]["tenant_id"]
    flat = [row for document_id, values in fields.items() for row in _field_rows(tenant_id, document_id, values)]
    if flat:
        await connection.execute(sa.insert(document_fields), flat)


async def update(connection: Connection, tenant_id: str, document_id: str, **values: Any) -> None:
    await connection.execute(
        sa.update(documents)
        .where(documents.c.tenant_id == tenant_id, documents.c.document_id == document_id)
        .values(**values)
    )


def void_row(head: Head) -> dict[str, Any]:
    """The row of a chain whose newest revision holds no document."""
    return PROCESSING | {
        "tenant_id": head.subject.tenant_id, "document_id": head.subject.subject_id, "revision": head.revision,
        "state": "void", "key": None, "version_id": None, "content_revision": 0, "searchable_floor": 0,
        "filename": "", "content_type": "", "size_bytes": 0, "sha256": "", "metadata": {},
        "uploaded_at": head.committed_at, "updated_at": head.committed_at, "chunks": None, "pages": None,
        "held": False, "holds": None,
    }  # fmt: skip


async def replace_fields(
    connection: Connection, tenant_id: str, document_id: str, values: Sequence[FieldValue]
) -> None:
    """The flattened metadata, for filters."""
    await connection.execute(
        sa.delete(document_fields).where(
            document_fields.c.tenant_id == tenant_id, document_fields.c.document_id == document_id
        )
    )
    if values:
        await connection.execute(sa.insert(document_fields), _field_rows(tenant_id, document_id, values))


def _field_rows(tenant_id: str, document_id: str, values: Sequence[FieldValue]) -> list[dict[str, Any]]:
    return [
        {
            "tenant_id": tenant_id,
            "document_id": document_id,
            "field": value.field,
            "ordinal": ordinal,
            "type": value.type,
            "in_list": value.in_list,
            "text_value": value.text,
            "text_prefix": value.text[:TEXT_PREFIX_CHARS] if value.type == "text" and value.text is not None else None,
            "number_value": value.number,
        }
        for ordinal, value in enumerate(values)
    ]


@dataclass(frozen=True, slots=True)
class Known:
    """How far the catalog knows a document's chain. `processing`: the revision and version of its content, while that
    waits to be indexed."""

    revision: int
    processing: tuple[int, VersionId] | None


async def known(connection: Connection, tenant_id: TenantId) -> dict[str, Known]:
    """Of every document, dead ones too."""
    d = documents.c
    found = await connection.execute(
        sa.select(d.document_id, d.revision, d.state, d.status, d.content_revision, d.version_id).where(
            d.tenant_id == tenant_id
        )
    )
    return {
        row.document_id: Known(
            row.revision,
            (row.content_revision, VersionId(row.version_id))
            if row.state == "live" and row.status == DocumentStatus.PROCESSING
            else None,
        )
        for row in found
    }


@dataclass(frozen=True, slots=True)
class Ready:
    """What becomes of a document whose index was found. `content_revision` is the one that it is of."""

    document_id: DocumentId
    content_revision: int
    chunks: int
    pages: int | None
    detected_type: str | None
    indexed_at: datetime


async def make_ready(connection: Connection, tenant_id: TenantId, found: Sequence[Ready]) -> list[DocumentId]:
    """Answers with those that are ready now. What has moved on meanwhile is left: its newer content has a job."""
    by_id = {each.document_id: each for each in sorted(found, key=lambda each: each.document_id)}
    if not by_id:
        return []
    d = documents.c
    of_them = d.tenant_id == tenant_id, d.document_id.in_(by_id), d.state == "live"
    locked = await connection.execute(
        sa.select(d.document_id, d.content_revision).where(*of_them).order_by(d.document_id).with_for_update()
    )
    ready = [
        by_id[row.document_id] for row in locked if by_id[row.document_id].content_revision == row.content_revision
    ]
    if ready:
        is_it = d.tenant_id == tenant_id, d.document_id == sa.bindparam("which")
        now_known = ("chunks", "pages", "detected_type", "indexed_at")
        values = {name: sa.bindparam(f"new_{name}", type_=d[name].type) for name in now_known}
        done: dict[str, Any] = {"status": DocumentStatus.READY.value, "stage": None, "error_code": None,
                                "error_message": None}  # fmt: skip
        await connection.execute(
            sa.update(documents).where(*is_it).values(done | values),
            [{"which": each.document_id} | {f"new_{name}": getattr(each, name) for name in now_known}
             for each in ready],
        )  # fmt: skip
    return [each.document_id for each in ready]


def awaits_indexing() -> sa.ColumnElement[bool]:
    """A condition on rows of `documents`: a job is about to index it, or does."""
    return sa.exists().where(
        of_kind(INDEX),
        jobs.c.tenant_id == documents.c.tenant_id,
        jobs.c.subject == documents.c.document_id,
        jobs.c.state.in_(("ready", "running")),
    )


async def touch(connection: Connection, tenant_id: TenantId, ids: Sequence[str], now: datetime) -> None:
    """Notes an access, unless a recent one is noted: `last_accessed` is exact to an hour."""
    long_ago = sa.or_(documents.c.last_accessed_at.is_(None), documents.c.last_accessed_at < now - ACCESS_NOTED_EVERY)
    await connection.execute(
        sa.update(documents)
        .where(documents.c.tenant_id == tenant_id, documents.c.document_id.in_(ids), long_ago)
        .values(last_accessed_at=now)
    )


def document(row: sa.Row[Any]) -> Document:
    """The live document that a row of `documents` describes."""
    return Document(
        tenant_id=TenantId(row.tenant_id),
        document_id=DocumentId(row.document_id),
        revision=row.revision,
        key=row.key,
        version_id=VersionId(row.version_id),
        content_revision=row.content_revision,
        filename=row.filename,
        content_type=row.content_type,
        size_bytes=row.size_bytes,
        sha256=row.sha256,
        metadata=row.metadata,
        uploaded_at=row.uploaded_at,
        updated_at=row.updated_at,
        status=DocumentStatus.RESTORING if row.restoring and row.status == "processing" else DocumentStatus(row.status),
        detected_type=row.detected_type,
        stage=row.stage,
        error_code=row.error_code,
        error_message=row.error_message,
        chunks=row.chunks,
        pages=row.pages,
        indexed_at=row.indexed_at,
        last_accessed_at=row.last_accessed_at,
        archived_at=row.archived_at,
        holds=row.holds or {},
    )
