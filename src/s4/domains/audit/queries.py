"""Statements on the trail."""

import secrets
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from s4.domains.audit.models import audit_entries
from s4.kernel.context import Actor
from s4.kernel.ids import base32
from s4.platform.database import Connection


async def record(
    connection: Connection,
    actor: Actor,
    action: str,
    subject: str,
    *,
    tenant_id: str = "",
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
) -> None:
    """Part of the transaction that makes the act visible: the one is there exactly when the other is. Never with a
    secret in `before` or `after`."""
    await connection.execute(
        sa.insert(audit_entries).values(
            entry_id="aud_" + base32(secrets.token_bytes(16)),
            at=datetime.now(UTC),
            actor_kind=actor.kind,
            actor=actor.name,
            action=action,
            subject=subject,
            tenant_id=tenant_id,
            before=dict(before) if before is not None else sa.null(),
            after=dict(after) if after is not None else sa.null(),
            address=actor.origin.address,
            request_id=actor.origin.request_id,
        )
    )
