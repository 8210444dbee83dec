"""Legal holds, and how long documents are kept."""

from s4client.flow import Batch, Flow, Pages, Request, operation, paged
from s4client.models import DocumentHolds, HeldDocument, HeldPage, RetentionDone, RetentionDue, Tenant
from s4client.operations.common import API, PAGE_LIMIT, ServerOperations, given, segment


class KeepingOperations(ServerOperations):
    """Hold, lift, look what goes, let it go."""

    @operation
    def hold_tenant(self, tenant_id: str, reason: str) -> Flow[Tenant]:
        """Place a whole tenant under a legal hold: nothing of it is deleted or replaced until that is lifted."""
        path = f"{API}/admin/tenants/{segment(tenant_id)}/legal-hold"
        reply = yield from self.send(Request(method="PUT", path=path, json={"reason": reason}, repeatable=True))
        return reply.parse(Tenant)

    @operation
    def lift_tenant_hold(self, tenant_id: str) -> Flow[Tenant]:
        """Lift it. The holds of single documents stay."""
        path = f"{API}/admin/tenants/{segment(tenant_id)}/legal-hold"
        reply = yield from self.send(Request(method="DELETE", path=path, repeatable=True))
        return reply.parse(Tenant)

    @operation
    def hold_document(self, tenant_id: str, document_id: str, reason: str) -> Flow[DocumentHolds]:
        """Place one document under the operator's hold, which its tenant cannot lift."""
        path = _document(tenant_id, document_id)
        reply = yield from self.send(Request(method="PUT", path=path, json={"reason": reason}, repeatable=True))
        return reply.parse(DocumentHolds)

    @operation
    def lift_document_hold(self, tenant_id: str, document_id: str) -> Flow[DocumentHolds]:
        """Lift the operator's hold. The tenant's own stays."""
        path = _document(tenant_id, document_id)
        reply = yield from self.send(Request(method="DELETE", path=path, repeatable=True))
        return reply.parse(DocumentHolds)

    @paged
    def iter_holds(self, *, tenant_id: str | None = None, page_limit: int = PAGE_LIMIT) -> Pages[HeldDocument]:
        """Iterate over the documents that have holds of their own."""
        params = given(tenant_id=tenant_id, limit=page_limit)

        def batch(cursor: str | None) -> Flow[Batch[HeldDocument]]:
            path = f"{API}/admin/legal-holds"
            asked = params | given(cursor=cursor)
            reply = yield from self.send(Request(method="GET", path=path, params=asked, repeatable=True))
            found = reply.parse(HeldPage)
            return found.documents, found.next_cursor

        return batch

    @operation
    def set_keeping(
        self, tenant_id: str, *, retention_days: int | None = None, archive_after_days: int | None = None
    ) -> Flow[Tenant]:
        """For how many days the tenant's documents are kept, and after how many without a reader they are archived.
        None: as its plan says; 0: never."""
        said = given(retention_days=retention_days, archive_after_days=archive_after_days)
        path = f"{API}/admin/tenants/{segment(tenant_id)}/keeping"
        reply = yield from self.send(Request(method="PUT", path=path, json=said, repeatable=True))
        return reply.parse(Tenant)

    @operation
    def retention_due(self, *, tenant_id: str | None = None, ahead_days: int | None = None) -> Flow[RetentionDue]:
        """A dry run: what would be deleted and archived now, or in `ahead_days`."""
        params = given(tenant_id=tenant_id, ahead_days=ahead_days)
        request = Request(method="GET", path=f"{API}/admin/retention", params=params, repeatable=True)
        reply = yield from self.send(request)
        return reply.parse(RetentionDue)

    @operation
    def run_retention(self, *, tenant_id: str | None = None) -> Flow[RetentionDone]:
        """Delete and archive at once what is due."""
        said = given(tenant_id=tenant_id)
        path = f"{API}/admin/retention/run"
        reply = yield from self.send(Request(method="POST", path=path, json=said, repeatable=True))
        return reply.parse(RetentionDone)


def _document(tenant_id: str, document_id: str) -> str:
    return f"{API}/admin/tenants/{segment(tenant_id)}/documents/{segment(document_id)}/legal-hold"
