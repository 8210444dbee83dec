"""Receiving documents: `POST /documents` as a form, `PUT /documents/by-key/{key}` as the bytes themselves."""

import dataclasses
import mimetypes
import unicodedata
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

from fastapi import Header, Request, Response

from s4.domains.documents import metadata as document_metadata
from s4.domains.documents.metadata import MetadataLimits
from s4.domains.documents.schemas import DocumentSummary
from s4.domains.documents.uploads import UploadRequest, UploadResult, Uploads
from s4.kernel.errors import InvalidRequest
from s4.kernel.permissions import Permission
from s4.platform.http.body import raw_body
from s4.platform.http.errors import error_responses
from s4.platform.http.idempotency import IdempotencyKey, checked_idempotency_key
from s4.platform.http.multipart import MultipartStream
from s4.platform.http.names import clean_content_type, safe_filename
from s4.platform.http.preconditions import Preconditions, etag
from s4.platform.http.routing import CurrentTenant, DomainRouter

KEY_BYTES_MAX = 1024  # as S3's own keys
_UNKNOWN = "application/octet-stream"

_FORM: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {
                        "key": {
                            "type": "string",
                            "description": "Your own name of the document; must come before the file.",
                        },
                        "metadata": {"type": "string", "description": "A JSON object."},
                        "file": {"type": "string", "format": "binary"},
                    },
                }
            }
        },
    }
}
_BYTES: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {"*/*": {"schema": {"type": "string", "format": "binary"}}},
    }
}


@dataclass(frozen=True, slots=True)
class UploadRouteLimits:
    bytes_max: int
    idle_seconds_max: float
    seconds_max: float
    metadata: MetadataLimits


def uploads_router(uploads: Uploads, limits: UploadRouteLimits) -> DomainRouter:
    """Routes that take a document's bytes; their bodies are streamed after authentication."""
    router = DomainRouter(tags=["documents"], serves_bound_keys=True)

    @router.post(
        "/documents",
        permission=Permission.DOCUMENTS_WRITE,
        streams_body=True,
        status_code=201,
        response_model=DocumentSummary,
        responses=error_responses(409),
        openapi_extra=_FORM,
    )
    async def upload_document(
        context: CurrentTenant, request: Request, response: Response, idempotency_key: IdempotencyKey = None
    ) -> DocumentSummary:
        """Stores a document. It is searchable soon after: ask for it with `wait`."""
        form = MultipartStream(
            request,
            field_names={"metadata", "key"},
            fields_bytes_max=limits.metadata.bytes_max + KEY_BYTES_MAX,
            file_bytes_max=limits.bytes_max,
            idle_seconds_max=limits.idle_seconds_max,
            seconds_max=limits.seconds_max,
            refusal=partial(uploads.too_large, context),
        )
        file = await form.next_file()
        before = form.fields
        upload = UploadRequest(
            filename=file.filename,
            content_type=_content_type(file.content_type, file.filename),
            key=checked_key(before["key"]) if before.get("key") else None,
            idempotency_key=checked_idempotency_key(idempotency_key),
            bytes_at_least=form.file_bytes_at_least,
            bytes_at_most=form.file_bytes_at_most,
            create_only=True,
        )

        async def finish(so_far: UploadRequest) -> UploadRequest:
            fields = await form.finish()
            if fields.get("key") and "key" not in before:
                raise InvalidRequest("Send the field 'key' before the file: the bytes are stored under it.")
            text = fields.get("metadata")
            metadata = document_metadata.parse(text, limits.metadata) if text else {}
            return dataclasses.replace(so_far, metadata=metadata)

        return _answer(await uploads.receive(context, upload, content=file.chunks, finish=finish), response)

    @router.put(
        "/documents/by-key/{key:path}",
        permission=Permission.DOCUMENTS_WRITE,
        streams_body=True,
        status_code=201,
        response_model=DocumentSummary,
        responses={200: {"model": DocumentSummary, "description": "Replaced."}, **error_responses(409, 412)},
        openapi_extra=_BYTES,
    )
    async def put_document(
        context: CurrentTenant,
        key: str,
        request: Request,
        response: Response,
        idempotency_key: IdempotencyKey = None,
        x_s4_metadata: Annotated[str | None, Header(description="A JSON object.")] = None,
        x_s4_filename: Annotated[
            str | None, Header(description="Display name; the last part of the key if absent.")
        ] = None,
        content_type: Annotated[str | None, Header(include_in_schema=False)] = None,
        if_match: Annotated[str | None, Header()] = None,
        if_none_match: Annotated[str | None, Header(description="`*`: only if there is none yet.")] = None,
    ) -> DocumentSummary:
        """Stores or replaces the document with this key. The old text stays searchable until the new one is."""
        filename = safe_filename(_utf8(x_s4_filename) if x_s4_filename else key.rsplit("/", 1)[-1])
        body = raw_body(
            request,
            bytes_max=limits.bytes_max,
            idle_seconds_max=limits.idle_seconds_max,
            seconds_max=limits.seconds_max,
            refusal=partial(uploads.too_large, context),
        )
        upload = UploadRequest(
            filename=filename,
            content_type=_content_type(clean_content_type(content_type), filename),
            key=checked_key(key),
            metadata=document_metadata.parse(_utf8(x_s4_metadata), limits.metadata) if x_s4_metadata else {},
            idempotency_key=checked_idempotency_key(idempotency_key),
            declared_bytes=body.size_bytes,
            preconditions=Preconditions.parse(if_match=if_match, if_none_match=if_none_match),
        )
        return _answer(await uploads.receive(context, upload, content=body.chunks), response)

    return router


def checked_key(key: str) -> str:
    """A tenant's own name of a document. Raises `InvalidRequest`."""
    try:
        size_bytes = len(key.encode())
    except UnicodeEncodeError as error:
        raise InvalidRequest("The key is not valid Unicode.") from error
    if not 0 < size_bytes <= KEY_BYTES_MAX:
        raise InvalidRequest(f"A key has 1 to {KEY_BYTES_MAX} bytes of UTF-8.")
    if any(unicodedata.category(character) == "Cc" for character in key):
        raise InvalidRequest("A key must not hold control characters.")
    return key


def _content_type(declared: str, filename: str) -> str:
    if declared and declared != _UNKNOWN:
        return declared
    return mimetypes.guess_type(filename)[0] or _UNKNOWN


def _utf8(header: str) -> str:
    """HTTP headers arrive as Latin-1; names and JSON in them are UTF-8."""
    try:
        return header.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return header


def _answer(result: UploadResult, response: Response) -> DocumentSummary:
    response.status_code = 201 if result.created else 200
    response.headers["ETag"] = etag(result.document.revision)
    if result.replayed:
        response.headers["Idempotency-Replayed"] = "true"
    return DocumentSummary.of(result.document)
