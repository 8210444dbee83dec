"""What a client can do: every operation, once. See `flow.py` for how they run, blocking or not."""

import math
import os
import secrets
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, BinaryIO, Literal, TypeVar
from urllib.parse import quote

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
from s4client.errors import InvalidArgument, NotFound, S4WaitTimeout
from s4client.flow import Batch, Connection, Flow, Pages, Params, Pause, Reply, Request, operation, paged
from s4client.models import (
    BulkDeletion,
    Document,
    DocumentDetail,
    DocumentPage,
    DocumentText,
    Health,
    MetadataUpdate,
    NewTenant,
    Profile,
    SearchResults,
    Tenant,
    TenantPage,
)

API = "/api/v1"
SERVER_WAIT_SECONDS_MAX = 60
"""Longest wait that one request may ask for."""
EARLY_PAUSE_SECONDS_MAX = 5.0
"""A server that answers a wait at once, since it is stopping, is asked again no more often than this."""
PAGE_LIMIT = 200
"""Documents per request while iterating."""
BULK_MAX = 1000

DocumentT = TypeVar("DocumentT", bound=Document)
SearchMode = Literal["hybrid", "semantic", "keyword"]


def _segment(text: str) -> str:
    return quote(text, safe="").replace(".", "%2E") if text.strip(".") == "" else quote(text, safe="")


def _document_path(document_id: str) -> str:
    if not document_id:
        raise InvalidArgument("The id of the document is empty.")
    return f"{API}/documents/{_segment(document_id)}"


def _key_path(key: str) -> str:
    """Slashes stay. Segments of dots are written so that no one on the way takes them for directories."""
    if not key:
        raise InvalidArgument("The key is empty.")
    return f"{API}/documents/by-key/" + "/".join(_segment(part) for part in key.split("/"))


def _given(**values: Any) -> dict[str, Any]:
    """Those that are not None; times as RFC 3339."""
    return {
        name: value.isoformat() if isinstance(value, datetime) else value
        for name, value in values.items()
        if value is not None
    }


class ServerOperations(Connection):
    """What needs no key."""

    @operation
    def health(self) -> Flow[Health]:
        """Whether the server would take a request now, with the state of each dependency."""
        reply = yield from self.send(
            Request(method="GET", path="/health/ready", repeatable=False, expected=frozenset({503}))
        )
        return reply.parse(Health, ready=reply.status == 200)


class TenantOperations(ServerOperations):
    """What a tenant's key opens."""

    credential_header = "X-Tenant-Key"

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
        return _revision(reply, Document)

    @operation
    def put_by_key(
        self,
        key: str,
        content: UploadContent,
        *,
        metadata: Mapping[str, Any] | None = None,
        content_type: str | None = None,
        if_match: str | None = None,
        create_only: bool = False,
        idempotency_key: str | None = None,
        progress: Progress | None = None,
    ) -> Flow[Document]:
        """Create or replace the document of that key; the old version is found until the new one is ready.

        Raises `PreconditionFailed` if it exists and `create_only`, or its `etag` is not `if_match`.
        """
        source = source_of(content)
        headers = {"Idempotency-Key": idempotency_key or secrets.token_hex(16)}
        if metadata is not None:
            headers["X-S4-Metadata"] = metadata_json(metadata)
        if if_match is not None:
            headers["If-Match"] = if_match
        if create_only:
            headers["If-None-Match"] = "*"
        guessed = guess_content_type(key)
        if guessed == FALLBACK_CONTENT_TYPE and source.filename:
            guessed = guess_content_type(source.filename)
        body = Body(source, content_type=content_type or guessed, progress=progress)
        reply = yield from self.send(
            Request(method="PUT", path=_key_path(key), headers=headers, body=body, repeatable=True)
        )
        return _revision(reply, Document)

    @operation
    def patch_metadata(self, document_id: str, patch: Mapping[str, Any]) -> Flow[MetadataUpdate]:
        """A JSON merge patch (RFC 7396): None removes a field. Computes no embedding."""
        path = f"{_document_path(document_id)}/metadata"
        reply = yield from self.send(Request(method="PATCH", path=path, json=dict(patch), repeatable=True))
        return reply.parse(MetadataUpdate)

    @operation
    def reprocess(self, document_id: str) -> Flow[None]:
        """Extract and index a document again."""
        path = f"{_document_path(document_id)}/reprocess"
        yield from self.send(Request(method="POST", path=path, repeatable=True))

    # -- looking at documents

    @operation
    def get(self, document_id: str) -> Flow[DocumentDetail]:
        """A document and what became of it."""
        return (yield from self._get(_document_path(document_id)))

    @operation
    def get_by_key(self, key: str) -> Flow[DocumentDetail]:
        """The same, by the key that the caller gave it."""
        return (yield from self._get(_key_path(key)))

    def _get(self, path: str, *, wait_seconds: int = 0) -> Flow[DocumentDetail]:
        params = {"wait": wait_seconds} if wait_seconds else {}
        reply = yield from self.send(
            Request(method="GET", path=path, params=params, patience_seconds=wait_seconds, repeatable=True)
        )
        return _revision(reply, DocumentDetail)

    @operation
    def wait(self, document_id: str, *, timeout: float = 600.0) -> Flow[DocumentDetail]:
        """The document once it is `ready` or `failed` (then with `error`). Raises `S4WaitTimeout` after
        `timeout` seconds."""
        deadline = self.monotonic() + timeout
        pause = 0.25
        while True:
            asked_at = self.monotonic()
            asked_for = min(SERVER_WAIT_SECONDS_MAX, max(0, math.ceil(deadline - asked_at)))
            document = yield from self._get(_document_path(document_id), wait_seconds=asked_for)
            if document.is_ended:
                return document
            now = self.monotonic()
            if now >= deadline:
                raise S4WaitTimeout(
                    f"{document.filename} ({document_id}) is still {document.status} after {timeout:g} s.",
                    document_id=document_id,
                    status=document.status,
                )
            if now - asked_at < asked_for / 2:
                yield Pause(min(pause, deadline - now))
                pause = min(pause * 2, EARLY_PAUSE_SECONDS_MAX)

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
        params = _given(
            page=page, limit=limit, cursor=cursor, status=status, category=category, prefix=prefix,
            filename=filename, uploaded_after=uploaded_after, uploaded_before=uploaded_before,
        )  # fmt: skip
        params |= {f"metadata.{name}": value for name, value in (metadata or {}).items()}
        return (yield from self._list_page(params))

    def _list_page(self, params: Params) -> Flow[DocumentPage]:
        reply = yield from self.send(Request(method="GET", path=f"{API}/documents", params=params, repeatable=True))
        return reply.parse(DocumentPage)

    @operation
    def text(self, document_id: str) -> Flow[DocumentText]:
        """The text that was extracted, with its pages."""
        path = f"{_document_path(document_id)}/text"
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
        path = f"{_document_path(document_id)}/download"
        with output_to(to) as output:
            sink = Download(output, progress=progress)
            yield from self.send(Request(method="GET", path=path, sink=sink, repeatable=True))
            sink.check()
        return sink.received_bytes

    @operation
    def search(
        self,
        query: str,
        *,
        mode: SearchMode = "hybrid",
        limit: int = 5,
        offset: int = 0,
        min_score: float = 0.0,
        categories: Sequence[str] | None = None,
        document_ids: Sequence[str] | None = None,
        filters: Mapping[str, Any] | None = None,
        include_metadata: bool = True,
        include_chunks: bool = True,
        chunks_per_document: int = 3,
    ) -> Flow[SearchResults]:
        """The documents that speak of `query`, best first, with the passages that do."""
        question = _given(
            query=query, mode=mode, limit=limit, offset=offset, min_score=min_score, categories=categories,
            document_ids=document_ids, filters=filters, include_metadata=include_metadata,
            include_chunks=include_chunks, chunks_per_document=chunks_per_document,
        )  # fmt: skip
        reply = yield from self.send(Request(method="POST", path=f"{API}/search", json=question, repeatable=True))
        return reply.parse(SearchResults)

    @operation
    def profile(self) -> Flow[Profile]:
        """The tenant that the key speaks for, its plan and what it has used."""
        reply = yield from self.send(Request(method="GET", path=f"{API}/profile", repeatable=True))
        return reply.parse(Profile)

    # -- taking documents out

    @operation
    def delete(self, document_id: str) -> Flow[None]:
        """Delete a document; it is gone from search at once. Raises `NotFound`."""
        yield from self._delete(_document_path(document_id))

    @operation
    def delete_by_key(self, key: str) -> Flow[None]:
        """The same, by the key that the caller gave it."""
        yield from self._delete(_key_path(key))

    def _delete(self, path: str) -> Flow[None]:
        try:
            yield from self.send(Request(method="DELETE", path=path, repeatable=True))
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

    # `list` comes last: below it, the name would no longer be the builtin's.

    @paged
    def list(
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
        """Iterate over the documents, newest first, a request for every `page_limit` of them."""
        params = _given(
            status=status, category=category, prefix=prefix, filename=filename,
            uploaded_after=uploaded_after, uploaded_before=uploaded_before, limit=page_limit,
        )  # fmt: skip
        params |= {f"metadata.{name}": value for name, value in (metadata or {}).items()}

        def batch(cursor: str | None) -> Flow[Batch[Document]]:
            found = yield from self._list_page(params | _given(cursor=cursor))
            return found.documents, found.next_cursor

        return batch


def _revision(reply: Reply, model: type[DocumentT]) -> DocumentT:
    """A document together with the revision that the answer's `ETag` names."""
    return reply.parse(model, etag=reply.headers.get("etag"))


class AdminOperations(ServerOperations):
    """What the administrator's key opens."""

    credential_header = "X-Admin-Key"

    @operation
    def create_tenant(
        self,
        name: str,
        *,
        email: str | None = None,
        company: str | None = None,
        plan_id: str | None = None,
    ) -> Flow[NewTenant]:
        """Create a tenant. Its key is in this answer only."""
        tenant = _given(name=name, email=email, company=company, plan_id=plan_id)
        reply = yield from self.send(Request(method="POST", path=f"{API}/admin/tenants", json=tenant, repeatable=False))
        return reply.parse(NewTenant)

    @operation
    def get_tenant(self, tenant_id: str) -> Flow[Tenant]:
        """A tenant by its id."""
        path = f"{API}/admin/tenants/{_segment(tenant_id)}"
        reply = yield from self.send(Request(method="GET", path=path, repeatable=True))
        return reply.parse(Tenant)

    @operation
    def list_tenants_page(
        self,
        *,
        page: int | None = None,
        limit: int | None = None,
        status: str | None = None,
        plan: str | None = None,
        q: str | None = None,
    ) -> Flow[TenantPage]:
        """One page of the tenants; `q` looks in their names."""
        return (yield from self._tenants(_given(page=page, limit=limit, status=status, plan=plan, q=q)))

    @paged
    def list_tenants(
        self,
        *,
        status: str | None = None,
        plan: str | None = None,
        q: str | None = None,
        page_limit: int = PAGE_LIMIT,
    ) -> Pages[Tenant]:
        """Iterate over the tenants."""
        params = _given(status=status, plan=plan, q=q, limit=page_limit)

        def batch(cursor: str | None) -> Flow[Batch[Tenant]]:
            page = int(cursor or "1")
            found = yield from self._tenants(params | {"page": page})
            seen = (page - 1) * page_limit + len(found.tenants)
            is_last = not found.tenants or seen >= (found.total or 0)
            return found.tenants, None if is_last else str(page + 1)

        return batch

    def _tenants(self, params: Params) -> Flow[TenantPage]:
        reply = yield from self.send(Request(method="GET", path=f"{API}/admin/tenants", params=params, repeatable=True))
        return reply.parse(TenantPage)
