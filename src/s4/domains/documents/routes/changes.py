"""Changing documents: metadata, reprocess, delete."""

from typing import Annotated, Any

from fastapi import Body, Header, Response

from s4.domains.documents.routes.uploads import checked_key
from s4.domains.documents.schemas import BulkDelete, BulkDeleted, DocumentDetail, MetadataPatched
from s4.domains.documents.service import DocumentService
from s4.kernel.context import TenantContext
from s4.kernel.ids import DocumentId, is_document_id, parse_document_id
from s4.kernel.permissions import Permission
from s4.platform.http.errors import error_responses
from s4.platform.http.preconditions import Preconditions, etag
from s4.platform.http.routing import CurrentTenant, DomainRouter

IfMatch = Annotated[str | None, Header(description="Only if the document is at this ETag.")]


def changes_router(documents: DocumentService) -> DomainRouter:
    """Routes that alter or remove documents."""
    router = DomainRouter(tags=["documents"], serves_bound_keys=True)
    write = Permission.DOCUMENTS_WRITE

    @router.patch(
        "/documents/{document_id}/metadata",
        permission=write,
        response_model=MetadataPatched,
        responses=error_responses(412),
    )
    async def patch_metadata(
        context: CurrentTenant,
        document_id: str,
        response: Response,
        patch: Annotated[dict[str, Any], Body()],
        if_match: IfMatch = None,
    ) -> MetadataPatched:
        """JSON merge patch (RFC 7396): null removes a field. The index is not touched."""
        document = await documents.patch_metadata(
            context,
            parse_document_id(document_id),
            patch,
            preconditions=Preconditions.parse(if_match=if_match),
        )
        response.headers["ETag"] = etag(document.revision)
        return MetadataPatched(
            document_id=document.document_id,
            metadata=dict(document.metadata),
            updated_at=document.updated_at,
            version=document.revision,
        )

    @router.post(
        "/documents/{document_id}/reprocess",
        permission=write,
        status_code=202,
        response_model=DocumentDetail,
    )
    async def reprocess_document(context: CurrentTenant, document_id: str) -> DocumentDetail:
        """Extracts and indexes the stored bytes anew. Legal in every state."""
        return DocumentDetail.of(await documents.reprocess(context, parse_document_id(document_id)))

    async def delete(context: TenantContext, document_id: DocumentId, if_match: str | None) -> None:
        await documents.delete(context, document_id, preconditions=Preconditions.parse(if_match=if_match))

    @router.delete(
        "/documents/by-key/{key:path}",
        permission=write,
        status_code=204,
        responses=error_responses(409, 412),
    )
    async def delete_document_by_key(context: CurrentTenant, key: str, if_match: IfMatch = None) -> None:
        """As by id."""
        await delete(context, documents.id_for_key(context, checked_key(key)), if_match)

    @router.delete(
        "/documents/{document_id}",
        permission=write,
        status_code=204,
        responses=error_responses(409, 412),
    )
    async def delete_document(context: CurrentTenant, document_id: str, if_match: IfMatch = None) -> None:
        """Gone from every read and every search when this is answered. Legal in every state."""
        await delete(context, parse_document_id(document_id), if_match)

    @router.post(
        "/documents/bulk-delete",
        permission=write,
        response_model=BulkDeleted,
    )
    async def bulk_delete(context: CurrentTenant, request: BulkDelete) -> BulkDeleted:
        """Deletes up to 1,000 documents; ids that do not exist or are under a legal hold are answered, not refused."""
        asked = list(dict.fromkeys(request.document_ids))
        deleted, held = await documents.bulk_delete(context, [DocumentId(d) for d in asked if is_document_id(d)])
        known = {*deleted, *held}
        return BulkDeleted(deleted=list(deleted), held=list(held), not_found=[d for d in asked if d not in known])

    return router
