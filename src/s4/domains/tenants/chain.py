"""How a tenant's head moves the catalog. What a body holds says `model.Body`; a tombstone's says status, created_at and
deleted_at, and nothing of whom it was."""

from collections.abc import Sequence
from typing import Any

from s4.domains import usage
from s4.domains.calls import Month
from s4.domains.calls import queries as call_queries
from s4.domains.tenants import queries
from s4.domains.tenants.model import LIVE, TOMBSTONE, Role, holdings
from s4.kernel import keys
from s4.kernel.clock import parse_moment, parse_rfc3339
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

    async def apply_new(self, connection: Connection, chains: Sequence[Sequence[Head]]) -> set[Subject]:  # noqa: ARG002
        return set()

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
        if head.state == TOMBSTONE:
            await self._bury(connection, tenant_id, head)
            return
        await self._set(connection, tenant_id, head)

    async def _set(self, connection: Connection, tenant_id: TenantId, head: Head) -> None:
        body = head.body
        keeping = body.get("keeping") or {}
        held = list(holdings(body).values())
        values: dict[str, Any] = {
            "tenant_id": tenant_id,
            "revision": head.revision,
            "state": head.state,
            "name": body["name"],
            "email": body["email"],
            "company": body["company"],
            "external_id": body.get("external_id"),
            "plan_id": body["plan_id"],
            "plan_expires_at": parse_moment(body.get("plan_expires_at")),
            "then_plan_id": body.get("then_plan_id"),
            "status": body["status"],
            "delete_after": parse_moment(body.get("delete_after")),
            "settings": body["settings"],
            "held": body.get("hold") is not None,
            "retention_days": keeping.get("retention_days"),
            "archive_after_days": keeping.get("archive_after_days"),
            "served_generation": next((each.generation for each in held if each.role is Role.SERVED), None),
            "body": dict(body),
            "created_at": parse_rfc3339(body["created_at"]),
            "updated_at": head.committed_at,
        }
        reset_at = parse_moment(body.get("usage_reset_at"))
        if reset_at is not None and reset_at == head.committed_at:
            await usage.reset_calls(connection, tenant_id, reset_at)
            await call_queries.reset(connection, tenant_id, Month.of(reset_at))
        is_new = await queries.state(connection, tenant_id) != LIVE
        await queries.put(connection, values)
        await queries.replace_holdings(connection, tenant_id, held)
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
                    "expires_at": parse_moment(key["expires_at"]),
                    "revoked_at": parse_moment(key["revoked_at"]),
                    "key_prefix": key.get("key_prefix"),  # heads of older releases bind no keys
                    "fields": key.get("fields"),
                }
                for key in body["keys"]
            ],
        )
        await usage.open_balance(connection, tenant_id)
        if is_new and "idempotency" in body:
            await queries.restore_claim(connection, tenant_id, body["idempotency"], created_at=values["created_at"])

    async def _bury(self, connection: Connection, tenant_id: TenantId, head: Head) -> None:
        """Nobody is let in from here on. What else the catalog has of it, the departures take out."""
        values = queries.void_row(tenant_id, parse_rfc3339(head.body["created_at"]), head.revision) | {
            "state": TOMBSTONE, "status": head.body["status"], "updated_at": head.committed_at, "body": dict(head.body),
            "email": None, "company": None, "external_id": None, "plan_expires_at": None, "then_plan_id": None,
            "delete_after": None, "held": False, "retention_days": None, "archive_after_days": None,
            "served_generation": None,
        }  # fmt: skip
        await queries.put(connection, values)
        await queries.replace_holdings(connection, tenant_id, [])
        await queries.replace_keys(connection, tenant_id, [])
