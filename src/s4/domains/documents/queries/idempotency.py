"""Idempotency keys: what a caller's key was used for, for as long as it is remembered."""

from dataclasses import dataclass
from datetime import datetime
from operator import itemgetter
from typing import Any

import sqlalchemy as sa

from s4.domains.documents.models import idempotency_keys
from s4.kernel.ids import DocumentId, TenantId
from s4.platform.chains import Head
from s4.platform.database import Connection, adding


@dataclass(frozen=True, slots=True)
class RememberedAnswer:
    """What an Idempotency-Key was used for."""

    fingerprint: str
    document_id: DocumentId
    revision: int
    body: dict[str, Any]
    created_at: datetime


async def remember(connection: Connection, *heads: Head) -> None:
    """From the heads, so that it survives a crash between commit and settlement."""
    values = [
        {
            "tenant_id": head.subject.tenant_id,
            "key_hash": said["key_hash"],
            "fingerprint": said["fingerprint"],
            "document_id": head.subject.subject_id,
            "revision": head.revision,
            "answer": {name: value for name, value in head.body.items() if name != "idempotency"}
            | {"created": said["created"]},
            "created_at": head.committed_at,
        }
        for head in heads
        for said in [head.body["idempotency"]]
    ]
    if values:
        identity = ("tenant_id", "key_hash")
        replaced = [name for name in values[0] if name not in identity]
        statement = adding(connection, idempotency_keys, conflict=identity, added=[], replaced=replaced)
        await connection.execute(statement, sorted(values, key=itemgetter("key_hash")))


async def find(connection: Connection, tenant_id: TenantId, key_hash: str) -> RememberedAnswer | None:
    found = await connection.execute(
        sa.select(idempotency_keys).where(
            idempotency_keys.c.tenant_id == tenant_id, idempotency_keys.c.key_hash == key_hash
        )
    )
    row = found.one_or_none()
    if row is None:
        return None
    return RememberedAnswer(row.fingerprint, DocumentId(row.document_id), row.revision, row.answer, row.created_at)


async def forget(connection: Connection, *, before: datetime) -> int:
    done = await connection.execute(sa.delete(idempotency_keys).where(idempotency_keys.c.created_at < before))
    return done.rowcount
