"""Putting documents in, looking at them, taking them out."""

import os
import secrets
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, BinaryIO

from s4client.content import (
    FALLBACK_CONTENT_TYPE,
    Body,
    Download,
    Progress,
    UploadContent,
    guess_content_type,
    metadata_json,
    multipart,
    output_to,
    source_of,
)
from s4client.errors import InvalidArgument, NotFound
from s4client.flow import Batch, Flow, Pages, Params, Request, operation, paged, streamed
from s4client.models import (
    BulkDeletion,
    ContentStat,
    Document,
    DocumentDetail,
    DocumentHolds,
    DocumentPage,
    DocumentStat,
    DocumentText,
    MetadataUpdate,
)
from s4client.operations.common import (
    API,
    PAGE_LIMIT,
    ServerOperations,
    document_path,
    given,
    header_text,
    key_path,
    revision,
)

BULK_MAX = 1000
"""Most ids that one request may name."""


class DocumentOperations(ServerOperations):
    """What the scopes `documents:read` and `documents:write` open."""

    # -- putting documents in

    @operation
    def upload(
        self,
        content: UploadContent,
        *,
        key: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        filename: str | None = None,
        content_type: str | None = None,
        idempotency_key: str | None = None,
        progress: Progress | None = None,
    ) -> Flow[Document]:
        """Upload a document; it is `processing` afterwards (see `wait`). Raises `Conflict` if `key` is taken.

        The content is streamed. It is sent again after a failure that may pass, unless it is an iterator or a
        file without seeking; the idempotency key, made here if not given, keeps it from becoming two.
        """
        source = source_of(content)
        name = filename or source.filename or "upload"
        fields = {}
        if key is not None:
            fields["key"] = key
        if metadata is not None:
            fields["metadata"] = metadata_json(metadata)
        body = multipart(
            source,
            fields=fields,
            filename=name,
            content_type=content_type or guess_content_type(name),
            progress=progress,
        )
        headers = {"Idempotency-Key": idempotency_key or secrets.token_hex(16)}
        reply = yield from self.send(
            Request(method="POST", path=f"{API}/documents", headers=headers, body=body, repeatable=True)
        )
        return revision(reply, Document)

    @operation
    def put_by_key(
        self,
        key: str,
        content: UploadContent,
        *,
        metadata: Mapping[str, Any] | None = None,
        filename: str | None = None,
        content_type: str | None = None,
        if_match: str | None = None,
        create_only: bool = False,
        idempotency_key: str | None = None,
        progress: Progress | None = None,
    ) -> Flow[Document]:
        """Create or replace the document of that key; the old version is found until the new one is ready.

        A replacement replaces the metadata too. Sent again as `upload` is. Raises `PreconditionFailed` if the
        document exists and `create_only`, or its `etag` is not `if_match`.
        """
        source = source_of(content)
        headers = {"Idempotency-Key": idempotency_key or secrets.token_hex(16)}
        if metadata is not None:
            headers["X-S4-Metadata"] = metadata_json(metadata)
        if filename is not None:
            headers["X-S4-Filename"] = header_text(filename)
        if if_match is not None:
            headers["If-Match"] = if_match
        if create_only:
            headers["If-None-Match"] = "*"
        guesses = [guess_content_type(name) for name in (filename, key, source.filename) if name]
        guessed = next((guess for guess in guesses if guess != FALLBACK_CONTENT_TYPE), FALLBACK_CONTENT_TYPE)
        body = Body(source, content_type=content_type or guessed, progress=progress)
        reply = yield from self.send(
            Request(method="PUT", path=key_path(key), headers=headers, body=body, repeatable=True)
        )
        return revision(reply, Document)

    @operation
    def patch_metadata(
        self, document_id: str, patch: Mapping[str, Any], *, if_match: str | None = None
    ) -> Flow[MetadataUpdate]:
        """A JSON merge patch (RFC 7396): None removes a field. Computes no embedding."""
        path = f"{document_path(document_id)}/metadata"
        headers = given(**{"If-Match": if_match})
        reply = yield from self.send(
            Request(method="PATCH", path=path, headers=headers, json=dict(patch), repeatable=True)
        )
        return reply.parse(MetadataUpdate)

    @operation
    def reprocess(self, document_id: str) -> Flow[DocumentDetail]:
        """Extract and index a document again; it is `processing` afterwards."""
        path = f"{document_path(document_id)}/reprocess"
        reply = yield from self.send(Request(method="POST", path=path, repeatable=True))
        return reply.parse(DocumentDetail)

    @operation
    def archive(self, document_id: str) -> Flow[DocumentDetail]:
        """Take a document out of every search and keep its bytes. What is archived stays as it is."""
        path = f"{document_path(document_id)}/archive"
        reply = yield from self.send(Request(method="POST", path=path, repeatable=True))
        return reply.parse(DocumentDetail)

    @operation
    def restore(self, document_id: str) -> Flow[DocumentDetail]:
        """Bring a document back from the archive; it is `restoring` until it can be found. Raises `Conflict` for one
        that is not archived."""
        path = f"{document_path(document_id)}/restore"
        reply = yield from self.send(Request(method="POST", path=path, repeatable=True))
        return reply.parse(DocumentDetail)

    @operation
    def hold(self, document_id: str, reason: str) -> Flow[DocumentHolds]:
        """Place a document under a legal hold: nobody deletes or replaces it. Needs the scope `keys:manage`."""
        path = f"{document_path(document_id)}/legal-hold"
        reply = yield from self.send(Request(method="PUT", path=path, json={"reason": reason}, repeatable=True))
        return reply.parse(DocumentHolds)

    @operation
    def lift_hold(self, document_id: str) -> Flow[DocumentHolds]:
        """Lift the tenant's own hold; an operator's stays. Needs the scope `keys:manage`."""
        path = f"{document_path(document_id)}/legal-hold"
        reply = yield from self.send(Request(method="DELETE", path=path, repeatable=True))
        return reply.parse(DocumentHolds)

    # -- looking at documents

    @operation
    def get(self, document_id: str) -> Flow[DocumentDetail]:
        """A document and what became of it."""
        return (yield from self._get(document_path(document_id)))

    @operation
    def get_by_key(self, key: str) -> Flow[DocumentDetail]:
        """The same, by the key that the caller gave it."""
        return (yield from self._get(key_path(key)))

    def _get(self, path: str, *, wait_seconds: int = 0) -> Flow[DocumentDetail]:
        params = {"wait": wait_seconds} if wait_seconds else {}
        reply = yield from self.send(
            Request(method="GET", path=path, params=params, patience_seconds=wait_seconds, repeatable=True)
        )
        return revision(reply, DocumentDetail)

    @operation
    def stat(self, document_id: str) -> Flow[DocumentStat]:
        """State, size and revision, without a body. Raises `NotFound`."""
        return (yield from self._stat(document_path(document_id)))

    @operation
    def stat_by_key(self, key: str) -> Flow[DocumentStat]:
        """The same, by the key that the caller gave it."""
        return (yield from self._stat(key_path(key)))

    def _stat(self, path: str) -> Flow[DocumentStat]:
        reply = yield from self.send(Request(method="HEAD", path=path, repeatable=True))
        return DocumentStat.of(reply.headers)

    @operation
    def stat_content(self, document_id: str) -> Flow[ContentStat]:
        """Size, type and SHA-256 of what `download` would bring."""
        path = f"{document_path(document_id)}/download"
        reply = yield from self.send(Request(method="HEAD", path=path, repeatable=True))
        return ContentStat.of(reply.headers)

    @operation
    def list_page(
        self,
        *,
        page: int | None = None,
        limit: int | None = None,
        cursor: str | None = None,
        status: str | None = None,
        category: str | None = None,
        prefix: str | None = None,
        filename: str | None = None,
        uploaded_after: datetime | None = None,
        uploaded_before: datetime | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> Flow[DocumentPage]:
        """One page, by number or by cursor. `prefix` is of the key; `metadata` compares for equality."""
        params = given(
            page=page, limit=limit, cursor=cursor, status=status, category=category, prefix=prefix,
            filename=filename, uploaded_after=uploaded_after, uploaded_before=uploaded_before,
        )  # fmt: skip
        params |= {f"metadata.{name}": value for name, value in (metadata or {}).items()}
        return (yield from self._list_page(params))

    @paged
    def iter_documents(
        self,
        *,
        status: str | None = None,
        category: str | None = None,
        prefix: str | None = None,
        filename: str | None = None,
        uploaded_after: datetime | None = None,
        uploaded_before: datetime | None = None,
        metadata: Mapping[str, str] | None = None,
        page_limit: int = PAGE_LIMIT,
    ) -> Pages[Document]:
        """Iterate over the documents, newest first, a request for every `page_limit` of them (1,000 at most)."""
        params = given(
            status=status, category=category, prefix=prefix, filename=filename,
            uploaded_after=uploaded_after, uploaded_before=uploaded_before, limit=page_limit,
        )  # fmt: skip
        params |= {f"metadata.{name}": value for name, value in (metadata or {}).items()}

        def batch(cursor: str | None) -> Flow[Batch[Document]]:
            found = yield from self._list_page(params | given(cursor=cursor))
            return found.documents, found.next_cursor

        return batch

    def _list_page(self, params: Params) -> Flow[DocumentPage]:
        reply = yield from self.send(Request(method="GET", path=f"{API}/documents", params=params, repeatable=True))
        return reply.parse(DocumentPage)

    @operation
    def text(self, document_id: str) -> Flow[DocumentText]:
        """The text that was extracted, with its pages."""
        path = f"{document_path(document_id)}/text"
        reply = yield from self.send(Request(method="GET", path=path, repeatable=True))
        return reply.parse(DocumentText)

    @operation
    def download(
        self,
        document_id: str,
        to: str | os.PathLike[str] | BinaryIO,
        *,
        progress: Progress | None = None,
    ) -> Flow[int]:
        """Write the document's bytes to a path or a binary file, and return how many they are.

        A path is there whole or not at all. A broken answer is taken up where it broke, and the whole is
        checked against the digest that the server sends.
        """
        with output_to(to) as output:
            sink = Download(output, progress=progress)
            yield from self._download(document_id, sink)
        return sink.received_bytes

    @streamed
    def download_stream(self, document_id: str, *, progress: Progress | None = None) -> Flow[None]:
        """Iterate over the document's bytes as they arrive, without keeping them.

        A broken answer is taken up where it broke. Raises `DownloadCorrupt` after the last piece if the whole
        does not match its digest, `DownloadInterrupted` if the document is replaced meanwhile.
        """
        yield from self._download(document_id, Download(None, progress=progress))

    def _download(self, document_id: str, sink: Download) -> Flow[None]:
        path = f"{document_path(document_id)}/download"
        yield from self.send(Request(method="GET", path=path, sink=sink, repeatable=True))
        sink.check()

    # -- taking documents out

    @operation
    def delete(self, document_id: str, *, if_match: str | None = None) -> Flow[None]:
        """Delete a document; it is gone from search at once. Raises `NotFound`."""
        yield from self._delete(document_path(document_id), if_match)

    @operation
    def delete_by_key(self, key: str, *, if_match: str | None = None) -> Flow[None]:
        """The same, by the key that the caller gave it."""
        yield from self._delete(key_path(key), if_match)

    def _delete(self, path: str, if_match: str | None) -> Flow[None]:
        try:
            headers = given(**{"If-Match": if_match})
            yield from self.send(Request(method="DELETE", path=path, headers=headers, repeatable=True))
        except NotFound as error:
            if not error.repeated:  # else it was the lost attempt that deleted it
                raise

    @operation
    def bulk_delete(self, document_ids: Sequence[str]) -> Flow[BulkDeletion]:
        """Delete up to 1,000 documents in one request."""
        if len(document_ids) > BULK_MAX:
            raise InvalidArgument(f"At most {BULK_MAX} documents can be deleted in one request.")
        request = Request(
            method="POST",
            path=f"{API}/documents/bulk-delete",
            json={"document_ids": [*document_ids]},
            repeatable=True,
        )
        reply = yield from self.send(request)
        return reply.parse(BulkDeletion)
