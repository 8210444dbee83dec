"""Holds, the archive, and what the calendar does."""

from datetime import timedelta
from typing import Annotated

from fastapi import Query

from s4.domains.documents.keeping import Archive, Holds, Retention
from s4.domains.documents.keeping_schemas import (
    DocumentHoldPlace,
    DocumentHolds,
    DueOut,
    HeldDocument,
    HeldPage,
    RetentionDone,
    RetentionDue,
    RetentionRun,
)
from s4.domains.documents.schemas import DocumentDetail
from s4.kernel.ids import parse_document_id, parse_tenant_id
from s4.kernel.pages import PAGE_LIMIT_DEFAULT, PAGE_LIMIT_MAX, decode_cursor, encode_cursor
from s4.kernel.permissions import Permission
from s4.platform.http.errors import error_responses
from s4.platform.http.routing import CurrentAdmin, CurrentTenant, DomainRouter

_AHEAD_DAYS_MAX = 36_500  # as long as anything can be kept
TenantWanted = Annotated[str | None, Query(description="Of this tenant only.")]


def archive_router(archive: Archive) -> DomainRouter:
    """Into the archive, and back."""
    router = DomainRouter(tags=["documents"], serves_bound_keys=True)
    write = Permission.DOCUMENTS_WRITE

    @router.post("/documents/{document_id}/archive", permission=write, status_code=202, response_model=DocumentDetail)
    async def archive_document(context: CurrentTenant, document_id: str) -> DocumentDetail:
        """Out of every search when this is answered, and answered with 409 to who reads it; its bytes are kept, and
        count. Legal in every state; what is archived stays as it is."""
        return DocumentDetail.of(await archive.archive(context, parse_document_id(document_id)))

    @router.post(
        "/documents/{document_id}/restore",
        permission=write,
        status_code=202,
        response_model=DocumentDetail,
        responses=error_responses(409),
    )
    async def restore_document(context: CurrentTenant, document_id: str) -> DocumentDetail:
        """Back from the archive: `restoring`, and its bytes can be read, until it is searchable and `ready`."""
        return DocumentDetail.of(await archive.restore(context, parse_document_id(document_id)))

    return router


def holds_router(holds: Holds) -> DomainRouter:
    """A tenant's own holds, for keys with the scope `keys:manage`: whoever deletes documents cannot lift them."""
    router = DomainRouter(tags=["documents"])
    manage = Permission.KEYS_MANAGE

    @router.put(
        "/documents/{document_id}/legal-hold",
        permission=manage,
        response_model=DocumentHolds,
        responses=error_responses(409),
    )
    async def hold_document(context: CurrentTenant, document_id: str, request: DocumentHoldPlace) -> DocumentHolds:
        """The document can be neither deleted nor replaced, by nobody, until the hold is lifted."""
        document = await holds.place(context, parse_document_id(document_id), reason=request.reason)
        return DocumentHolds.of(document)

    @router.delete("/documents/{document_id}/legal-hold", permission=manage, response_model=DocumentHolds)
    async def lift_document_hold(context: CurrentTenant, document_id: str) -> DocumentHolds:
        """Lifts the tenant's own hold. What the operator holds stays held."""
        return DocumentHolds.of(await holds.lift(context, parse_document_id(document_id)))

    return router


def keeping_router(holds: Holds, retention: Retention) -> DomainRouter:
    """The operator's holds of documents, and what goes by the calendar."""
    router = DomainRouter(prefix="/admin", tags=["administration"])
    _add_holds(router, holds)

    @router.get(
        "/retention", permission=Permission.ADMIN_READ, response_model=RetentionDue, responses=error_responses(404)
    )
    async def get_retention(
        admin: CurrentAdmin,
        tenant_id: TenantWanted = None,
        ahead_days: Annotated[
            int, Query(ge=0, le=_AHEAD_DAYS_MAX, description="As it will be in so many days, if nothing changes.")
        ] = 0,
    ) -> RetentionDue:
        """A dry run: what the next run deletes and archives, by tenant, and what holds keep from it."""
        only = parse_tenant_id(tenant_id) if tenant_id is not None else None
        moment, due = await retention.due(admin, tenant_id=only, ahead=timedelta(days=ahead_days))
        return RetentionDue(at=moment, tenants=[DueOut.of(each) for each in due])

    @router.post(
        "/retention/run",
        permission=Permission.ADMIN_WRITE,
        response_model=RetentionDone,
        responses=error_responses(404),
    )
    async def run_retention(admin: CurrentAdmin, request: RetentionRun | None = None) -> RetentionDone:
        """At once what workers do regularly."""
        wanted = request.tenant_id if request is not None else None
        only = parse_tenant_id(wanted) if wanted is not None else None
        return RetentionDone.of(await retention.run(admin, tenant_id=only))

    return router


def _add_holds(router: DomainRouter, holds: Holds) -> None:
    @router.get(
        "/legal-holds", permission=Permission.ADMIN_READ, response_model=HeldPage, responses=error_responses(404)
    )
    async def list_holds(
        admin: CurrentAdmin,
        tenant_id: TenantWanted = None,
        cursor: Annotated[str | None, Query(max_length=500)] = None,
        limit: Annotated[int, Query(ge=1, le=PAGE_LIMIT_MAX)] = PAGE_LIMIT_DEFAULT,
    ) -> HeldPage:
        """Documents with a hold of their own. A tenant that is held as a whole says so itself."""
        after = tuple(decode_cursor(cursor, parts=2)) if cursor is not None else ("", "")
        only = parse_tenant_id(tenant_id) if tenant_id is not None else None
        found = await holds.page(admin, tenant_id=only, after=(after[0], after[1]), limit=limit + 1)
        shown = found[:limit]
        following = encode_cursor(shown[-1].tenant_id, shown[-1].document_id) if len(found) > limit else None
        return HeldPage(documents=[HeldDocument.of(each) for each in shown], next_cursor=following)

    @router.put(
        "/tenants/{tenant_id}/documents/{document_id}/legal-hold",
        permission=Permission.ADMIN_WRITE,
        response_model=DocumentHolds,
        responses=error_responses(409),
    )
    async def hold_tenants_document(
        admin: CurrentAdmin, tenant_id: str, document_id: str, request: DocumentHoldPlace
    ) -> DocumentHolds:
        """The operator's hold, which the tenant cannot lift."""
        document = await holds.place_for(
            admin, parse_tenant_id(tenant_id), parse_document_id(document_id), reason=request.reason
        )
        return DocumentHolds.of(document)

    @router.delete(
        "/tenants/{tenant_id}/documents/{document_id}/legal-hold",
        permission=Permission.ADMIN_WRITE,
        response_model=DocumentHolds,
    )
    async def lift_tenants_document_hold(admin: CurrentAdmin, tenant_id: str, document_id: str) -> DocumentHolds:
        """Lifts the operator's hold. The tenant's own stays."""
        document = await holds.lift_for(admin, parse_tenant_id(tenant_id), parse_document_id(document_id))
        return DocumentHolds.of(document)
