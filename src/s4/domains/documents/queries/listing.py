"""Listings and counts."""

import sqlalchemy as sa

from s4.domains.documents.model import Document, DocumentStatus, ListFilter
from s4.domains.documents.models import documents
from s4.domains.documents.queries import filters, scope
from s4.domains.documents.queries.rows import document
from s4.kernel.clock import parse_rfc3339, rfc3339
from s4.kernel.context import TenantContext
from s4.kernel.errors import InvalidRequest
from s4.kernel.ids import is_document_id
from s4.kernel.pages import PageRequest, decode_cursor, encode_cursor
from s4.platform.database import Connection


async def page(
    connection: Connection, context: TenantContext, wanted: ListFilter, request: PageRequest
) -> tuple[list[Document], int, str | None]:
    """Documents newest first, the number of all that match, and the cursor of the next page."""
    conditions = [scope.visible(context), *_conditions(wanted)]
    total = (
        await connection.execute(sa.select(sa.func.count()).select_from(documents).where(*conditions))
    ).scalar_one()
    if request.cursor is not None:
        stamp, document_id = decode_cursor(request.cursor, parts=2)
        try:
            moment = parse_rfc3339(stamp)
        except ValueError as error:
            raise InvalidRequest("The cursor is not one that S4 returned.") from error
        if not is_document_id(document_id):
            raise InvalidRequest("The cursor is not one that S4 returned.")
        conditions.append(
            sa.or_(
                documents.c.uploaded_at < moment,
                sa.and_(documents.c.uploaded_at == moment, documents.c.document_id > document_id),
            )
        )
    rows = (
        await connection.execute(
            sa.select(documents)
            .where(*conditions)
            .order_by(documents.c.uploaded_at.desc(), documents.c.document_id)
            .offset(request.offset if request.cursor is None else 0)
            .limit(request.limit + 1)
        )
    ).all()
    found = [document(row) for row in rows[: request.limit]]
    more = len(rows) > request.limit
    cursor = encode_cursor(rfc3339(found[-1].uploaded_at), found[-1].document_id) if more else None
    return found, total, cursor


def _conditions(wanted: ListFilter) -> list[sa.ColumnElement[bool]]:
    conditions: list[sa.ColumnElement[bool]] = []
    if wanted.category is not None:
        conditions.append(filters.any_type_equals("category", wanted.category))
    if wanted.status is not None:
        conditions.append(_in_state(DocumentStatus(wanted.status)))
    if wanted.key_prefix is not None:
        conditions.append(sa.func.substr(documents.c.key, 1, len(wanted.key_prefix)) == wanted.key_prefix)
    if wanted.filename is not None:
        conditions.append(documents.c.filename == wanted.filename)
    if wanted.uploaded_after is not None:
        conditions.append(documents.c.uploaded_at > wanted.uploaded_after)
    if wanted.uploaded_before is not None:
        conditions.append(documents.c.uploaded_at < wanted.uploaded_before)
    conditions += [filters.any_type_equals(field, text) for field, text in wanted.metadata.items()]
    return conditions


def _in_state(status: DocumentStatus) -> sa.ColumnElement[bool]:
    if not status.is_pending:
        return documents.c.status == status.value
    restoring = documents.c.restoring == sa.true()
    pending = documents.c.status == DocumentStatus.PROCESSING.value
    return sa.and_(pending, restoring if status is DocumentStatus.RESTORING else sa.not_(restoring))
