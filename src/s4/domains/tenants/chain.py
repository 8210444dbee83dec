"""How a tenant's head moves the catalog."""

from s4.domains import usage
from s4.domains.tenants import queries
from s4.kernel import keys
from s4.kernel.clock import parse_rfc3339
from s4.kernel.ids import TenantId
from s4.kernel.keys import ObjectKey, ObjectPrefix
from s4.platform.chains import ABANDONED, Head, Subject
from s4.platform.database import Connection

KIND = "tenant"


def subject(tenant_id: TenantId) -> Subject:
    return Subject(KIND, tenant_id, tenant_id)


class TenantChain:
    """A `ChainKind`."""

    name = KIND
    steps = KIND

    def head_key(self, subject: Subject, revision: int) -> ObjectKey:
        return keys.tenant_head(TenantId(subject.tenant_id), revision)

    def heads_prefix(self, subject: Subject) -> ObjectPrefix:
        return keys.tenant_heads(TenantId(subject.tenant_id))

    async def revision(self, connection: Connection, subject: Subject) -> int:
        return await queries.revision(connection, subject.tenant_id)

    async def apply(self, connection: Connection, head: Head) -> None:
        tenant_id = TenantId(head.subject.tenant_id)
        known = await queries.revision(connection, tenant_id)
        if known >= head.revision:
            return
        if head.state == ABANDONED:
            if not await queries.advance(connection, tenant_id, head.revision):
                row = queries.void_row(tenant_id, head.committed_at, head.revision)
                await queries.put(connection, row)
            return
        body = head.body
        await queries.put(
            connection,
            {
                "tenant_id": tenant_id,
                "revision": head.revision,
                "state": head.state,
                "name": body["name"],
                "email": body["email"],
                "company": body["company"],
                "plan_id": body["plan_id"],
                "status": body["status"],
                "settings": body["settings"],
                "created_at": parse_rfc3339(body["created_at"]),
                "updated_at": head.committed_at,
            },
        )
        await queries.replace_keys(
            connection,
            tenant_id,
            [
                {
                    "tenant_id": tenant_id,
                    "prefix": key["prefix"],
                    "hash": key["hash"],
                    "name": key["name"],
                    "scopes": key["scopes"],
                    "created_at": parse_rfc3339(key["created_at"]),
                    "expires_at": parse_rfc3339(key["expires_at"]) if key["expires_at"] else None,
                    "revoked_at": parse_rfc3339(key["revoked_at"]) if key["revoked_at"] else None,
                    "key_prefix": key.get("key_prefix"),  # heads of older releases bind no keys
                    "fields": key.get("fields"),
                }
                for key in body["keys"]
            ],
        )
        await usage.open_balance(connection, tenant_id)
