"""The audit trail."""

from datetime import datetime

from s4client.flow import Batch, Flow, Pages, Params, Request, operation, paged
from s4client.models import AuditEntry, AuditPage, AuditVerification
from s4client.operations.common import API, PAGE_LIMIT, ServerOperations, given


class AuditOperations(ServerOperations):
    """Read the trail, and verify it."""

    @operation
    def list_audit_page(
        self,
        *,
        tenant_id: str | None = None,
        actor: str | None = None,
        action: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int | None = None,
        cursor: str | None = None,
    ) -> Flow[AuditPage]:
        """Some entries, newest first, from `since` on and before `until`."""
        params = _wanted(tenant_id, actor, action, since, until)
        return (yield from self._audit({**params, **given(limit=limit, cursor=cursor)}))

    @paged
    def iter_audit(
        self,
        *,
        tenant_id: str | None = None,
        actor: str | None = None,
        action: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        page_limit: int = PAGE_LIMIT,
    ) -> Pages[AuditEntry]:
        """Iterate over the entries, newest first."""
        params = _wanted(tenant_id, actor, action, since, until)

        def batch(cursor: str | None) -> Flow[Batch[AuditEntry]]:
            found = yield from self._audit({**params, **given(limit=page_limit, cursor=cursor)})
            return found.entries, found.next_cursor

        return batch

    @operation
    def verify_audit(self, *, after: int = 0, limit: int = 100) -> Flow[AuditVerification]:
        """Compare at most `limit` batches after batch `after` with the catalog, and the chain with itself."""
        params = {"after": after, "limit": limit}
        request = Request(method="GET", path=f"{API}/admin/audit/verify", params=params, repeatable=True)
        return (yield from self.send(request)).parse(AuditVerification)

    def _audit(self, params: Params) -> Flow[AuditPage]:
        request = Request(method="GET", path=f"{API}/admin/audit", params=params, repeatable=True)
        return (yield from self.send(request)).parse(AuditPage)


def _wanted(
    tenant_id: str | None, actor: str | None, action: str | None, since: datetime | None, until: datetime | None
) -> Params:
    said = given(tenant_id=tenant_id, actor=actor, action=action, since=since, until=until)
    return {{"since": "from", "until": "to"}.get(name, name): value for name, value in said.items()}
