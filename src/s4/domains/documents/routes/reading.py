"""Answering about documents: list, get, download, text; each by id, and what has a key by key."""

import base64
from collections.abc import Callable
from datetime import timedelta
from typing import Annotated, Any, Literal

from fastapi import Header, Query, Request, Response
from fastapi.responses import StreamingResponse

from s4.domains.documents.keeping import Archive
from s4.domains.documents.model import Document, DocumentStatus, ListFilter
from s4.domains.documents.routes.uploads import checked_key
from s4.domains.documents.schemas import DocumentDetail, DocumentPage, DocumentSummary, DocumentText, TextPage
from s4.domains.documents.service import DocumentService
from s4.kernel.context import TenantContext
from s4.kernel.errors import InvalidRequest
from s4.kernel.ids import parse_document_id
from s4.kernel.pages import PAGE_LIMIT_DEFAULT, PAGE_LIMIT_MAX, PageRequest
from s4.kernel.permissions import Permission
from s4.platform.http.downloads import download_headers, not_modified
from s4.platform.http.errors import error_responses
from s4.platform.http.places import Load
from s4.platform.http.preconditions import Preconditions, etag
from s4.platform.http.ranges import parse_range
from s4.platform.http.routing import CurrentTenant, DomainRouter
from s4.platform.http.times import Moment, aware

WAIT_SECONDS_MAX = 60
_METADATA_PREFIX = "metadata."
_METADATA_FIELDS_MAX = 100  # as many as a filter has conditions; each is a subquery


Wait = Annotated[float, Query(ge=0, le=WAIT_SECONDS_MAX, description="Seconds to wait for an end state.")]
Disposition = Annotated[
    Literal["attachment", "inline"],
    Query(description="`inline` is obeyed for types that cannot run scripts, and where the bytes are no other."),
]
Range = Annotated[str | None, Header(alias="Range")]
IfRange = Annotated[str | None, Header()]
IfNoneMatch = Annotated[str | None, Header()]

_BYTES: dict[str, Any] = {"content": {"*/*": {"schema": {"type": "string", "format": "binary"}}}}
_DOWNLOADS: dict[int | str, dict[str, Any]] = {
    200: {"description": "The bytes, under the type that they were uploaded with.", **_BYTES},
    206: {"description": "The part that `Range` asks for.", **_BYTES},
    304: {"description": "The copy that `If-None-Match` names is current."},
    **error_responses(409, 416),
}


def reading_router(documents: DocumentService, archive: Archive, *, leaving: Callable[[], bool]) -> DomainRouter:
    """Routes that change nothing. Once the process is `leaving`, nobody waits for an end state any more."""
    router = DomainRouter(tags=["documents"], serves_bound_keys=True)
    read = Permission.DOCUMENTS_READ

    @router.get("/documents", permission=read, response_model=DocumentPage, query_prefix=_METADATA_PREFIX)
    async def list_documents(
        context: CurrentTenant,
        request: Request,
        page: Annotated[int, Query(ge=1, le=1_000_000)] = 1,
        limit: Annotated[int, Query(ge=1, le=PAGE_LIMIT_MAX)] = PAGE_LIMIT_DEFAULT,
        cursor: Annotated[str | None, Query(max_length=500)] = None,
        category: str | None = None,
        status: DocumentStatus | None = None,
        prefix: Annotated[str | None, Query(description="Start of the key.")] = None,
        filename: str | None = None,
        uploaded_after: Moment | None = None,
        uploaded_before: Moment | None = None,
    ) -> DocumentPage:
        """Newest first. Further query parameters `metadata.<field>=<value>` select by metadata."""
        wanted = ListFilter(
            category=category,
            status=status.value if status is not None else None,
            key_prefix=prefix or None,
            filename=filename,
            uploaded_after=aware(uploaded_after),
            uploaded_before=aware(uploaded_before),
            metadata=_metadata_wanted(request),
        )
        if any("\x00" in value for _, value in request.query_params.multi_items()):
            raise InvalidRequest("Query parameters must not hold NUL characters.")
        found, total, next_cursor = await documents.page(context, wanted, PageRequest(page, limit, cursor))
        return DocumentPage(
            documents=[DocumentSummary.of(document) for document in found],
            total=total,
            page=page,
            limit=limit,
            next_cursor=next_cursor,
        )

    async def detail(context: TenantContext, document_id: str, wait: float, response: Response) -> DocumentDetail:
        parsed = parse_document_id(document_id)
        document = await documents.wait(context, parsed, at_most=timedelta(seconds=wait), leaving=leaving)
        response.headers["ETag"] = etag(document.revision)
        return DocumentDetail.of(document)

    async def download(context: TenantContext, document_id: str, request: Request, *, inline: bool) -> Response:
        document = await documents.get(context, parse_document_id(document_id))
        await archive.refuse_if_archived(context, document)
        tag = etag(document.revision)
        if not Preconditions.parse(if_none_match=request.headers.get("if-none-match")).check_read(document.revision):
            return not_modified(tag)
        headers = download_headers(
            filename=document.filename,
            content_type=document.content_type,
            detected_type=document.detected_type,
            etag=tag,
            inline_wanted=inline,
        )
        part = parse_range(
            request.headers.get("range"),
            size=document.size_bytes,
            if_range=request.headers.get("if-range"),
            etag=tag,
        )
        start, end = (part.start, part.start + part.length) if part else (0, document.size_bytes)
        headers["Content-Length"] = str(end - start)
        headers["Repr-Digest"] = _repr_digest(document)
        if part:
            headers["Content-Range"] = part.content_range
        status = 206 if part else 200
        if request.method == "HEAD" or end == start:
            return Response(status_code=status, headers=headers)
        body = await documents.opened_content(document, start=start, end=end)
        await documents.note_access(document)
        return StreamingResponse(body, status_code=status, headers=headers)

    @router.get(
        "/documents/by-key/{key:path}",
        permission=read,
        response_model=DocumentDetail,
    )
    async def get_document_by_key(
        context: CurrentTenant, key: str, response: Response, wait: Wait = 0
    ) -> DocumentDetail:
        """As by id."""
        return await detail(context, documents.id_for_key(context, checked_key(key)), wait, response)

    @router.head("/documents/by-key/{key:path}", permission=read, response_class=Response)
    async def head_document_by_key(context: CurrentTenant, key: str) -> Response:
        """Whether there is one; ETag and size in the headers."""
        return _head(await documents.get(context, documents.id_for_key(context, checked_key(key))))

    @router.get(
        "/documents/{document_id}",
        permission=read,
        response_model=DocumentDetail,
    )
    async def get_document(
        context: CurrentTenant, document_id: str, response: Response, wait: Wait = 0
    ) -> DocumentDetail:
        """Everything S4 knows of a document; with `wait`, as soon as it is ready or failed."""
        return await detail(context, document_id, wait, response)

    @router.head("/documents/{document_id}", permission=read, response_class=Response)
    async def head_document(context: CurrentTenant, document_id: str) -> Response:
        """Whether there is one; ETag and size in the headers."""
        return _head(await documents.get(context, parse_document_id(document_id)))

    @router.get(
        "/documents/{document_id}/download",
        permission=read,
        load=Load.DOWNLOAD,
        response_class=StreamingResponse,
        responses=_DOWNLOADS,
    )
    async def download_document(
        context: CurrentTenant,
        document_id: str,
        request: Request,
        disposition: Disposition = "attachment",
        _range: Range = None,
        _if_range: IfRange = None,
        _if_none_match: IfNoneMatch = None,
    ) -> Response:
        """The bytes as they were uploaded."""
        return await download(context, document_id, request, inline=disposition == "inline")

    @router.head(
        "/documents/{document_id}/download", permission=read, response_class=StreamingResponse, responses=_DOWNLOADS
    )
    async def head_download(
        context: CurrentTenant, document_id: str, request: Request, disposition: Disposition = "attachment"
    ) -> Response:
        """The headers of a download."""
        return await download(context, document_id, request, inline=disposition == "inline")

    @router.get(
        "/documents/{document_id}/text",
        permission=read,
        load=Load.DOWNLOAD,
        response_model=DocumentText,
        responses=error_responses(409),
    )
    async def document_text(context: CurrentTenant, document_id: str) -> DocumentText:
        """The extracted text, with the range of each page and what was not read."""
        parsed = parse_document_id(document_id)
        await archive.refuse_if_archived(context, await documents.get(context, parsed))
        document, text = await documents.text(context, parsed)
        return DocumentText(
            document_id=document.document_id,
            version=document.revision,
            title=text.title,
            content_type=text.content_type,
            text=text.text,
            pages=[
                TextPage(page=page.number, char_start=page.char_start, char_end=page.char_end) for page in text.pages
            ],
            warnings=list(text.warnings),
        )

    return router


def _metadata_wanted(request: Request) -> dict[str, str]:
    wanted: dict[str, str] = {}
    for name, value in request.query_params.multi_items():
        if not name.startswith(_METADATA_PREFIX):
            continue
        field = name.removeprefix(_METADATA_PREFIX)
        if field in wanted:
            raise InvalidRequest(f"The parameter {name[:100]!r} stands there twice; POST /search has filters for that.")
        wanted[field] = value
    if len(wanted) > _METADATA_FIELDS_MAX:
        raise InvalidRequest(f"A listing selects by at most {_METADATA_FIELDS_MAX} metadata fields.")
    return wanted


def _repr_digest(document: Document) -> str:
    """RFC 9530: the digest of the whole, also with a range."""
    return f"sha-256=:{base64.b64encode(bytes.fromhex(document.sha256)).decode()}:"


def _head(document: Document) -> Response:
    return Response(
        headers={
            "ETag": etag(document.revision),
            "X-S4-Document-Id": document.document_id,
            "X-S4-Status": document.status.value,
            "X-S4-Size": str(document.size_bytes),
        }
    )
