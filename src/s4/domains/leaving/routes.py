"""Exporting and importing a tenant, for administrators. Nothing here is collected in memory."""

import asyncio
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from dataclasses import replace as with_changes
from pathlib import Path
from typing import Annotated, Any

from fastapi import Header, Query, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import ValidationError

from s4.domains.documents import metadata as document_metadata
from s4.domains.documents.metadata import MetadataLimits
from s4.domains.documents.routes.uploads import checked_key
from s4.domains.leaving.erasures import Erasures
from s4.domains.leaving.exports import ExportService
from s4.domains.leaving.imports import ImportService
from s4.domains.leaving.model import PAGE_DOCUMENTS_MAX, Arrival, ExportedDocument, Presence
from s4.domains.leaving.schemas import (
    ArrivalIn,
    ArrivalState,
    ChunksQuestion,
    EmbeddingsKept,
    ErasureList,
    ErasureOut,
    ExportedDocumentOut,
    ExportedPage,
    ImportAnswer,
    ImportBegin,
    ImportQuestion,
    TenantExportOut,
)
from s4.engine.vectors.parquet import CONTENT_TYPE as PARQUET
from s4.kernel.errors import InvalidRequest, NotFound
from s4.kernel.ids import GenerationId, VersionId, is_generation_id, is_version_id, parse_document_id, parse_tenant_id
from s4.kernel.permissions import Permission
from s4.kernel.units import KIB
from s4.platform.http.body import raw_body
from s4.platform.http.errors import error_responses
from s4.platform.http.multipart import MultipartStream
from s4.platform.http.names import clean_content_type, safe_filename
from s4.platform.http.ranges import parse_range
from s4.platform.http.routing import CurrentAdmin, DomainRouter

_JSON_LINES = "application/jsonl"
_FIELDS_BYTES = 16 * KIB  # of a document's line, its metadata apart
_BYTES: dict[str, Any] = {"content": {"*/*": {"schema": {"type": "string", "format": "binary"}}}}
_DOWNLOAD: dict[int | str, dict[str, Any]] = {200: {"description": "The bytes.", **_BYTES}}
_ID = Annotated[str, Query(max_length=40)]
_Version = Annotated[str, Query(max_length=40, description="As the document's line names it.")]


@dataclass(frozen=True, slots=True)
class ArrivalLimits:
    """Of what is imported: as of an upload."""

    bytes_max: int
    idle_seconds_max: float
    seconds_max: float
    metadata: MetadataLimits


def exports_router(exports: ExportService) -> DomainRouter:
    """Everything that a tenant has, in pieces."""
    router = DomainRouter(prefix="/admin/tenants/{tenant_id}/export", tags=["export"])
    write = Permission.ADMIN_WRITE

    @router.post("", permission=write, response_model=TenantExportOut)
    async def begin_export(admin: CurrentAdmin, tenant_id: str) -> TenantExportOut:
        """What there is to take, by the routes below; the audit trail notes that it is taken."""
        return TenantExportOut.of(await exports.begin(admin, parse_tenant_id(tenant_id)))

    @router.get("", permission=write, response_model=TenantExportOut)
    async def describe_export(admin: CurrentAdmin, tenant_id: str) -> TenantExportOut:
        """The same, for who only wants to know how much it is."""
        return TenantExportOut.of(await exports.describe(admin, parse_tenant_id(tenant_id)))

    @router.get("/documents", permission=write, response_model=ExportedPage)
    async def export_documents(
        admin: CurrentAdmin,
        tenant_id: str,
        after: _ID = "",
        limit: Annotated[int, Query(ge=1, le=PAGE_DOCUMENTS_MAX)] = 200,
    ) -> ExportedPage:
        """Documents in the order of their ids."""
        found, next_after = await exports.page(admin, parse_tenant_id(tenant_id), after=after, limit=limit)
        return ExportedPage(documents=[ExportedDocumentOut.of(each) for each in found], next_after=next_after)

    _add_documents(router, exports)
    _add_derived(router, exports)
    return router


def _add_documents(router: DomainRouter, exports: ExportService) -> None:
    write = Permission.ADMIN_WRITE

    @router.get(
        "/documents/{document_id}/content",
        permission=write,
        response_class=StreamingResponse,
        responses=_DOWNLOAD
        | {206: {"description": "The part that `Range` asks for.", **_BYTES}}
        | error_responses(416),
    )
    async def export_content(
        admin: CurrentAdmin,
        tenant_id: str,
        document_id: str,
        version_id: _Version,
        request: Request,
        _range: Annotated[str | None, Header(alias="Range")] = None,
        _if_range: Annotated[str | None, Header(alias="If-Range")] = None,
    ) -> Response:
        """The bytes of a version, also of one that was replaced meanwhile, as long as replaced bytes are kept."""
        tenant, document, version = parse_tenant_id(tenant_id), parse_document_id(document_id), _version(version_id)
        size_bytes, tag = await exports.content(admin, tenant, document, version)
        tag = f'"{tag}"'
        part = parse_range(
            request.headers.get("range"), size=size_bytes, if_range=request.headers.get("if-range"), etag=tag
        )
        start, end = (part.start, part.start + part.length) if part else (0, size_bytes)
        headers = {"ETag": tag, "Accept-Ranges": "bytes", "Content-Length": str(end - start)}
        if part:
            headers["Content-Range"] = part.content_range
        status = 206 if part else 200
        if end == start:
            return Response(status_code=status, headers=headers)
        body = exports.bytes_of(tenant, document, version, start=start, end=end)
        return StreamingResponse(body, status, headers, media_type="application/octet-stream")

    @router.get("/documents/{document_id}/text", permission=write, response_class=Response, responses=_DOWNLOAD)
    async def export_text(
        admin: CurrentAdmin,
        tenant_id: str,
        document_id: str,
        version_id: _Version,
        content_revision: Annotated[int, Query(ge=1, description="As the document's line names it.")],
    ) -> Response:
        """The extracted text with pages, headings and warnings, in the form that it is kept in."""
        tenant, document, version = parse_tenant_id(tenant_id), parse_document_id(document_id), _version(version_id)
        text = await exports.text(admin, tenant, document, version, content_revision=content_revision)
        return Response(text, media_type="application/json")


def _add_derived(router: DomainRouter, exports: ExportService) -> None:
    write = Permission.ADMIN_WRITE

    @router.post(
        "/chunks", permission=write, response_class=StreamingResponse, responses=_DOWNLOAD | error_responses(404, 409)
    )
    async def export_chunks(admin: CurrentAdmin, tenant_id: str, request: ChunksQuestion) -> Response:
        """The searchable chunks and vectors of documents as their lines name them, as Parquet. Where another revision
        is searchable by now, 409; `details.documents` says of which."""
        if not is_generation_id(request.generation):
            raise NotFound("There is no such generation.")
        revisions = {parse_document_id(name): revision for name, revision in request.documents.items()}
        rows = await exports.chunks(admin, parse_tenant_id(tenant_id), GenerationId(request.generation), revisions)
        return StreamingResponse(rows, media_type=PARQUET)

    @router.get(
        "/embeddings/{space}/{part}",
        permission=write,
        response_class=StreamingResponse,
        responses=_DOWNLOAD | error_responses(404),
    )
    async def export_embeddings(admin: CurrentAdmin, tenant_id: str, space: str, part: str) -> Response:
        """Vectors that were paid for, by what was embedded, as Parquet."""
        groups = await exports.embeddings(admin, parse_tenant_id(tenant_id), space, part)
        return StreamingResponse(groups, media_type=PARQUET)

    @router.get("/records/{kind}", permission=write, response_class=StreamingResponse, responses=_DOWNLOAD)
    async def export_records(admin: CurrentAdmin, tenant_id: str, kind: str) -> Response:
        """Rows of the ledger (`usage`, `endpoints`) and of the audit trail (`audit`) as JSON lines."""
        return StreamingResponse(await exports.records(admin, parse_tenant_id(tenant_id), kind), media_type=_JSON_LINES)


def imports_router(imports: ImportService, limits: ArrivalLimits) -> DomainRouter:
    """What another deployment has exported."""
    router = DomainRouter(prefix="/admin/tenants/{tenant_id}/import", tags=["export"])
    write = Permission.ADMIN_WRITE

    @router.post("", permission=write, status_code=204)
    async def begin_import(admin: CurrentAdmin, tenant_id: str, request: ImportBegin) -> Response:
        """Notes in the audit trail whose data comes."""
        await imports.begin(admin, parse_tenant_id(tenant_id), source=request.source_tenant_id)
        return Response(status_code=204)

    @router.post("/missing", permission=write, response_model=ImportAnswer)
    async def import_missing(admin: CurrentAdmin, tenant_id: str, request: ImportQuestion) -> ImportAnswer:
        """Which of these documents still have to come, under which ids they are here, or will be, and which were
        changed or deleted here."""
        arrivals = [each.arrival() for each in request.documents]
        found = await imports.missing(admin, parse_tenant_id(tenant_id), arrivals)
        return ImportAnswer(
            documents=[
                ArrivalState(source_document_id=there, document_id=here, missing=state is Presence.MISSING, state=state)
                for there, (here, state) in found.items()
            ]
        )

    @router.post(
        "/documents",
        permission=write,
        streams_body=True,
        status_code=201,
        response_model=ExportedDocumentOut,
        responses=error_responses(409),
        openapi_extra=_FORM,
    )
    async def import_document(
        admin: CurrentAdmin,
        tenant_id: str,
        request: Request,
        replace: Annotated[bool, Query(description="Also where another document is in its place.")] = False,
    ) -> ExportedDocumentOut:
        """A document as it was there: key, name, metadata, time of its upload, legal holds, whether it is archived, and
        bytes of that SHA-256."""
        form = MultipartStream(
            request,
            field_names={"document"},
            fields_bytes_max=limits.metadata.bytes_max + _FIELDS_BYTES,
            file_bytes_max=limits.bytes_max,
            idle_seconds_max=limits.idle_seconds_max,
            seconds_max=limits.seconds_max,
        )
        file = await form.next_file()
        arrival = _line(form.fields.get("document")).arrival()
        document_metadata.validate(arrival.metadata, limits.metadata)
        arrival = _cleaned(arrival)
        tenant = parse_tenant_id(tenant_id)
        document = await imports.receive(admin, tenant, arrival, file.chunks, replace=replace)
        return ExportedDocumentOut.of(ExportedDocument(document, {}))

    @router.post(
        "/embeddings",
        permission=write,
        streams_body=True,
        response_model=EmbeddingsKept,
        openapi_extra={"requestBody": {"required": True, **_BYTES}},
    )
    async def import_embeddings(admin: CurrentAdmin, tenant_id: str, request: Request) -> EmbeddingsKept:
        """A file of `…/export/embeddings/…`. Sent before the documents, it saves asking for their vectors again."""
        tenant = parse_tenant_id(tenant_id)
        body = raw_body(
            request,
            bytes_max=limits.bytes_max,
            idle_seconds_max=limits.idle_seconds_max,
            seconds_max=limits.seconds_max,
        )
        with tempfile.TemporaryDirectory(prefix="s4-import-") as folder:
            path = Path(folder, "embeddings.parquet")  # its directory stands at its end
            await _spool(body.chunks, path)
            return EmbeddingsKept(groups=await imports.embeddings(admin, tenant, path))

    return router


def erasures_router(erasures: Erasures) -> DomainRouter:
    """What became of deleted tenants."""
    router = DomainRouter(prefix="/admin/erasures", tags=["export"])

    @router.get("", permission=Permission.ADMIN_READ, response_model=ErasureList)
    async def list_erasures(admin: CurrentAdmin) -> ErasureList:
        """Every deleted tenant: how far its erasure is, and its receipt."""
        found = [ErasureOut.of(each) for each in await erasures.all(admin)]
        return ErasureList(public_key=erasures.public_key, erasures=found)

    @router.get("/{tenant_id}", permission=Permission.ADMIN_READ, response_model=ErasureOut)
    async def get_erasure(admin: CurrentAdmin, tenant_id: str) -> ErasureOut:
        """One of them."""
        return ErasureOut.of(await erasures.get(admin, parse_tenant_id(tenant_id)))

    return router


_FORM: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["document", "file"],
                    "properties": {
                        "document": {
                            "type": "string",
                            "description": "The document's line of the export, as JSON; before the file.",
                        },
                        "file": {"type": "string", "format": "binary"},
                    },
                }
            }
        },
    }
}


def _line(text: str | None) -> ArrivalIn:
    if text is None:
        raise InvalidRequest("Send the field 'document' before the file: the document's line of the export.")
    try:
        return ArrivalIn.model_validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise InvalidRequest(f"The field 'document' is not a line of an export: {where}: {first['msg']}.") from error


def _cleaned(arrival: Arrival) -> Arrival:
    """Names as an upload may have them. Raises `InvalidRequest`."""
    return with_changes(
        arrival,
        key=checked_key(arrival.key) if arrival.key is not None else None,
        filename=safe_filename(arrival.filename),
        content_type=clean_content_type(arrival.content_type),
    )


def _version(text: str) -> VersionId:
    if not is_version_id(text):
        raise NotFound("There is no such version.")
    return VersionId(text)


async def _spool(pieces: AsyncIterator[bytes], path: Path) -> None:
    with path.open("wb") as file:
        async for piece in pieces:
            await asyncio.to_thread(file.write, piece)
