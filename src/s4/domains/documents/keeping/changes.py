"""One change of a live document through its chain, on whoever's behalf."""

from collections.abc import Awaitable, Callable
from datetime import datetime

from s4.domains.documents.chain import subject
from s4.domains.documents.model import Document, missing
from s4.domains.documents.queries import rows
from s4.kernel.ids import DocumentId, TenantId
from s4.platform.chains import Chains, Draft, Head
from s4.platform.database import Connection, Database

Find = Callable[[Connection], Awaitable[Document | None]]
"""The document as far as the asker may see it."""
Decide = Callable[[Connection, datetime, Document], Awaitable[Draft | None]]
"""Sees the document as it is, refuses by raising, or answers with the draft; None leaves it as it is."""
Noted = Callable[[Connection, Document, Head], Awaitable[None]]
"""Runs in the transaction that makes the change visible, with the document as it was before."""


class _Unchanged(Exception):
    """There is nothing to commit: the sealing transaction is taken back."""


async def _nothing(_c: Connection, _d: Document, _h: Head) -> None:
    return None


async def change(
    database: Database,
    chains: Chains,
    tenant_id: TenantId,
    document_id: DocumentId,
    *,
    find: Find,
    decide: Decide,
    noted: Noted = _nothing,
) -> tuple[Document | None, bool]:
    """The document as it is then, None once it is deleted; and whether this changed it. Raises `NotFound`, as
    `Chains.commit`, and what `decide` raises."""
    before: Document | None = None

    async def seal(connection: Connection, now: datetime) -> Draft:
        nonlocal before
        before = await find(connection)
        if before is None:
            raise missing()
        draft = await decide(connection, now, before)
        if draft is None:
            raise _Unchanged
        return draft

    async def settled(connection: Connection, head: Head) -> Document | None:
        assert before is not None, "it was sealed"
        await noted(connection, before, head)
        return await rows.live(connection, tenant_id, document_id)

    try:
        return await chains.commit(subject(tenant_id, document_id), seal=seal, settled=settled), True
    except _Unchanged:
        async with database.read() as connection:
            return await rows.live(connection, tenant_id, document_id), False
