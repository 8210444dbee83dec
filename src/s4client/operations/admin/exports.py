"""Taking a tenant's data out, and bringing it in."""

import json
import os
from collections.abc import Mapping, Sequence
from typing import Any, BinaryIO

from s4client.content import Body, Download, Progress, UploadContent, multipart, output_to, source_of
from s4client.errors import InvalidArgument
from s4client.flow import Flow, Params, Request, operation
from s4client.models import Erasure, ErasureList, ExportedDocument, ExportedPage, ImportAnswer, TenantExport
from s4client.operations.common import API, ServerOperations, given, segment

_ERASURES = f"{API}/admin/erasures"

Target = str | os.PathLike[str] | BinaryIO
"""A path, which is there whole or not at all, or a binary file."""


class ExportsOperations(ServerOperations):
    """Export and import, piece by piece: `s4 tenant export` and `s4 tenant load` put them together."""

    @operation
    def begin_export(self, tenant_id: str) -> Flow[TenantExport]:
        """What there is to take; the audit trail notes it."""
        reply = yield from self.send(Request(method="POST", path=_path(tenant_id, "export"), repeatable=True))
        return reply.parse(TenantExport)

    @operation
    def describe_export(self, tenant_id: str) -> Flow[TenantExport]:
        """The same, for who only wants to know."""
        reply = yield from self.send(Request(method="GET", path=_path(tenant_id, "export"), repeatable=True))
        return reply.parse(TenantExport)

    @operation
    def export_documents(self, tenant_id: str, *, after: str | None = None, limit: int = 200) -> Flow[ExportedPage]:
        """Documents in the order of their ids, after one."""
        path = _path(tenant_id, "export", "documents")
        params = given(after=after, limit=limit)
        reply = yield from self.send(Request(method="GET", path=path, params=params, repeatable=True))
        return reply.parse(ExportedPage)

    @operation
    def export_content(
        self, tenant_id: str, document: ExportedDocument, to: Target, *, progress: Progress | None = None
    ) -> Flow[int]:
        """Write the bytes of that version of a document; how many they are. A broken answer is taken up where it
        broke."""
        path = _path(tenant_id, "export", "documents", document.document_id, "content")
        return (yield from self._fetch(path, to, {"version_id": document.version_id}, progress))

    @operation
    def export_text(self, tenant_id: str, document: ExportedDocument, to: Target) -> Flow[int]:
        """Write the extracted text of that version of a document, as JSON. Raises `NotFound` when there is none."""
        path = _path(tenant_id, "export", "documents", document.document_id, "text")
        params: Params = {"version_id": document.version_id, "content_revision": document.content_revision}
        return (yield from self._fetch(path, to, params))

    @operation
    def export_chunks(self, tenant_id: str, generation: str, documents: Mapping[str, int], to: Target) -> Flow[int]:
        """Write the chunks of at most 500 documents, each at the revision that its line says is searchable, as Parquet.
        Raises `NotFound`, and `Conflict` where others are by now; `details["documents"]` says of which."""
        said = {"generation": generation, "documents": dict(documents)}
        with output_to(to) as output:
            sink = Download(output)
            path = _path(tenant_id, "export", "chunks")
            yield from self.send(Request(method="POST", path=path, json=said, sink=sink, repeatable=True))
        return sink.received_bytes

    @operation
    def export_embeddings(self, tenant_id: str, space: str, part: str, to: Target) -> Flow[int]:
        """Write a part of the vectors that were paid for, as Parquet."""
        return (yield from self._fetch(_path(tenant_id, "export", "embeddings", space, part), to))

    @operation
    def export_records(self, tenant_id: str, kind: str, to: Target) -> Flow[int]:
        """Write `usage`, `endpoints` or `audit` as JSON lines."""
        return (yield from self._fetch(_path(tenant_id, "export", "records", kind), to))

    @operation
    def begin_import(self, tenant_id: str, source_tenant_id: str) -> Flow[None]:
        """Note in the audit trail whose data comes."""
        said = {"source_tenant_id": source_tenant_id}
        yield from self.send(Request(method="POST", path=_path(tenant_id, "import"), json=said, repeatable=True))

    @operation
    def import_missing(self, tenant_id: str, documents: Sequence[Mapping[str, Any]]) -> Flow[ImportAnswer]:
        """Which of an export's documents still have to come, and which were changed or deleted here; at most 500."""
        request = Request(
            method="POST",
            path=_path(tenant_id, "import", "missing"),
            json={"documents": [dict(each) for each in documents]},
            repeatable=True,
        )
        return (yield from self.send(request)).parse(ImportAnswer)

    @operation
    def import_document(
        self,
        tenant_id: str,
        document: Mapping[str, Any],
        content: UploadContent,
        *,
        replace: bool = False,
        progress: Progress | None = None,
    ) -> Flow[ExportedDocument]:
        """Bring a document as it was there. Repeated, it comes to the same. Raises `Conflict` where another document is
        in its place, unless it may `replace` it."""
        body = multipart(
            source_of(content),
            fields={"document": json.dumps(dict(document), ensure_ascii=False, separators=(",", ":"))},
            filename="content",
            content_type="application/octet-stream",
            progress=progress,
        )
        path = _path(tenant_id, "import", "documents")
        params = {"replace": "true"} if replace else {}
        request = Request(method="POST", path=path, params=params, body=body, repeatable=True)
        return (yield from self.send(request)).parse(ExportedDocument)

    @operation
    def import_embeddings(self, tenant_id: str, content: UploadContent) -> Flow[None]:
        """Bring a part of an export's vectors, before the documents."""
        body = Body(source_of(content), content_type="application/vnd.apache.parquet")
        request = Request(method="POST", path=_path(tenant_id, "import", "embeddings"), body=body, repeatable=True)
        yield from self.send(request)

    @operation
    def list_erasures(self) -> Flow[ErasureList]:
        """Deleted tenants, what went of them, and the receipts."""
        reply = yield from self.send(Request(method="GET", path=_ERASURES, repeatable=True))
        return reply.parse(ErasureList)

    @operation
    def get_erasure(self, tenant_id: str) -> Flow[Erasure]:
        """One of them. Raises `NotFound`."""
        path = f"{_ERASURES}/{segment(tenant_id)}"
        reply = yield from self.send(Request(method="GET", path=path, repeatable=True))
        return reply.parse(Erasure)

    def _fetch(
        self, path: str, to: Target, params: Params | None = None, progress: Progress | None = None
    ) -> Flow[int]:
        with output_to(to) as output:
            sink = Download(output, progress=progress)
            yield from self.send(Request(method="GET", path=path, params=params or {}, sink=sink, repeatable=True))
        return sink.received_bytes


def _path(tenant_id: str, *parts: str) -> str:
    if not tenant_id:
        raise InvalidArgument("The id of the tenant is empty.")
    return "/".join((f"{API}/admin/tenants/{segment(tenant_id)}", *map(segment, parts)))
