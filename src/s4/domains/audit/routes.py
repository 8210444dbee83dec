"""The trail, for whoever may look."""

from typing import Annotated

from fastapi import Query

from s4.domains.audit.queries import Wanted
from s4.domains.audit.schemas import AuditEntryOut, AuditPage, AuditVerification
from s4.domains.audit.service import AuditService
from s4.kernel.pages import PAGE_LIMIT_DEFAULT, PAGE_LIMIT_MAX, PageRequest
from s4.kernel.permissions import Permission
from s4.platform.http.errors import error_responses
from s4.platform.http.routing import CurrentAdmin, DomainRouter
from s4.platform.http.times import Moment, aware

_BATCHES_MAX = 1000  # of one request: some seconds


def audit_router(audit: AuditService) -> DomainRouter:
    """List and verify. There is no route that changes the trail."""
    router = DomainRouter(prefix="/admin/audit", tags=["audit"])

    @router.get("", permission=Permission.ADMIN_READ, response_model=AuditPage)
    async def list_audit_entries(
        admin: CurrentAdmin,
        tenant_id: Annotated[str | None, Query(max_length=40, description="Whom it concerns.")] = None,
        actor: Annotated[str | None, Query(max_length=200)] = None,
        action: Annotated[str | None, Query(max_length=64, description="`plan.update`, `http.get`.")] = None,
        since: Annotated[Moment | None, Query(alias="from", description="The first moment.")] = None,
        until: Annotated[Moment | None, Query(alias="to", description="The first moment after the last.")] = None,
        limit: Annotated[int, Query(ge=1, le=PAGE_LIMIT_MAX)] = PAGE_LIMIT_DEFAULT,
        cursor: Annotated[str | None, Query(max_length=500)] = None,
    ) -> AuditPage:
        """Who did what, newest first. Every call under `/admin` is here, and every act with before and after."""
        wanted = Wanted(tenant_id=tenant_id, actor=actor, action=action, since=aware(since), until=aware(until))
        found, next_cursor = await audit.page(admin, wanted, PageRequest(limit=limit, cursor=cursor))
        return AuditPage(entries=[AuditEntryOut.of(each) for each in found], next_cursor=next_cursor)

    @router.get(
        "/verify", permission=Permission.ADMIN_READ, response_model=AuditVerification, responses=error_responses(404)
    )
    async def verify_audit_trail(
        admin: CurrentAdmin,
        after: Annotated[int, Query(ge=0, le=10**11, description="Begin after this batch, whose end is trusted.")] = 0,
        limit: Annotated[int, Query(ge=1, le=_BATCHES_MAX, description="Batches to look at.")] = 100,
    ) -> AuditVerification:
        """Compares the trail with its sealed batches in the bucket, and the chain with itself."""
        return AuditVerification.of(await audit.verify(admin, after=after, limit=limit))

    return router
