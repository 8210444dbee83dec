"""Legal holds of documents. A tenant's key that may manage keys places and lifts the tenant's own; the operator places
and lifts the operator's, which no tenant can lift. A document is held while it has either."""

from datetime import datetime

from s4.domains import audit
from s4.domains.documents.chain import live_body
from s4.domains.documents.keeping.changes import Find, change
from s4.domains.documents.model import Document, missing
from s4.domains.documents.queries import holds as queries
from s4.domains.documents.queries import rows
from s4.kernel.clock import rfc3339
from s4.kernel.context import Actor, AdminContext, TenantContext
from s4.kernel.ids import DocumentId, TenantId
from s4.kernel.permissions import Permission
from s4.platform.chains import Chains, Draft, Head
from s4.platform.database import Connection, Database

OPERATOR = "operator"
TENANT = "tenant"


class Holds:
    """Each act is idempotent: repeated, it changes nothing and is noted once. Raises `NotFound`."""

    def __init__(self, database: Database, chains: Chains) -> None:
        self._database = database
        self._chains = chains

    async def place(self, context: TenantContext, document_id: DocumentId, *, reason: str) -> Document:
        context.require(Permission.KEYS_MANAGE)
        return await self._of_tenant(context, document_id, reason)

    async def lift(self, context: TenantContext, document_id: DocumentId) -> Document:
        """The tenant's own hold. An operator's stays."""
        context.require(Permission.KEYS_MANAGE)
        return await self._of_tenant(context, document_id, None)

    async def place_for(
        self, context: AdminContext, tenant_id: TenantId, document_id: DocumentId, *, reason: str
    ) -> Document:
        """Raises `Conflict` for a tenant that is being deleted: hold that as a whole."""
        context.require(Permission.ADMIN_WRITE)
        return await self._of_operator(context, tenant_id, document_id, reason)

    async def lift_for(self, context: AdminContext, tenant_id: TenantId, document_id: DocumentId) -> Document:
        context.require(Permission.ADMIN_WRITE)
        return await self._of_operator(context, tenant_id, document_id, None)

    async def page(
        self, context: AdminContext, *, tenant_id: TenantId | None, after: tuple[str, str], limit: int
    ) -> list[Document]:
        """Documents with a hold of their own, after the one of that tenant and id."""
        context.require(Permission.ADMIN_READ)
        async with self._database.read() as connection:
            return await queries.page(connection, tenant_id=tenant_id, after=after, limit=limit)

    async def _of_tenant(self, context: TenantContext, document_id: DocumentId, reason: str | None) -> Document:
        async def find(connection: Connection) -> Document | None:
            return await rows.get(connection, context, document_id)

        return await self._change(context.actor, context.tenant_id, document_id, find, TENANT, reason)

    async def _of_operator(
        self, context: AdminContext, tenant_id: TenantId, document_id: DocumentId, reason: str | None
    ) -> Document:
        async def find(connection: Connection) -> Document | None:
            return await rows.live(connection, tenant_id, document_id)

        return await self._change(context.actor, tenant_id, document_id, find, OPERATOR, reason)

    async def _change(
        self, actor: Actor, tenant_id: TenantId, document_id: DocumentId, find: Find, holder: str, reason: str | None
    ) -> Document:
        """`reason` None lifts."""

        async def decide(connection: Connection, now: datetime, current: Document) -> Draft | None:
            known = current.holds.get(holder)
            if (known or {}).get("reason") == reason:
                return None
            holds = {name: hold for name, hold in current.holds.items() if name != holder}
            if reason is not None:
                await queries.require_staying(connection, tenant_id)
                holds[holder] = {"reason": reason, "placed_at": known["placed_at"] if known else rfc3339(now)}
            body = {name: value for name, value in live_body(current).items() if name != "holds"}
            return Draft("live", body | {"holds": holds} if holds else body)

        async def noted(connection: Connection, before: Document, head: Head) -> None:
            await audit.record(
                connection,
                actor,
                "document.hold" if reason is not None else "document.lift_hold",
                f"document/{document_id}",
                tenant_id=tenant_id,
                before={"holds": dict(before.holds)},
                after={"holds": head.body.get("holds", {})},
            )

        document, _ = await change(
            self._database, self._chains, tenant_id, document_id, find=find, decide=decide, noted=noted
        )
        if document is None:
            raise missing()  # deleted between the two
        return document
