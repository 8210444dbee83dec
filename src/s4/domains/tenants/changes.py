"""Changing a tenant: the next head is the newest one in the bucket with a change, so that nothing which another release
wrote in it is lost. The head is read before the sealing transaction, which begins anew should the tenant have moved."""

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Any, TypeVar

from s4.domains.tenants import queries
from s4.domains.tenants.chain import subject
from s4.kernel.errors import NotFound, Unavailable
from s4.kernel.ids import TenantId
from s4.platform.chains import ABANDONED, Chains, Draft, Head
from s4.platform.database import Connection, Database

T = TypeVar("T")
Body = Mapping[str, Any]

Decide = Callable[[datetime, Body], Body]
"""The next body of a live tenant, or a refusal. Answering with the body as it is changes nothing."""
Noted = Callable[[Connection, Body, Body], Awaitable[T]]
"""Runs in the transaction that makes the change visible, with the body before and after."""

_MOVES_MAX = 20  # other changes of one tenant between reading its head and sealing the next


class _Moved(Exception):
    """The tenant's chain is further than the head that was read."""


async def change_tenant(
    database: Database, chains: Chains, tenant_id: TenantId, decide: Decide, *, noted: Noted[T]
) -> T:
    """Raises `NotFound` unless the tenant lives, what `decide` raises, and as `Chains.commit`."""
    for _ in range(_MOVES_MAX):
        async with database.read() as connection:
            revision = await queries.revision(connection, tenant_id)
        before = await _newest(chains, tenant_id, revision)
        if before is None or before.state != "live":
            raise NotFound("No such tenant.")

        async def seal(connection: Connection, now: datetime, *, read: int = revision, old: Head = before) -> Draft:
            if await queries.revision(connection, tenant_id) != read:
                raise _Moved
            return Draft("live", decide(now, old.body))

        async def settled(connection: Connection, head: Head, *, old: Head = before) -> T:
            return await noted(connection, old.body, head.body)

        try:
            return await chains.commit(subject(tenant_id), seal=seal, settled=settled)
        except _Moved:
            continue
    raise Unavailable("This tenant is being changed by others all the time; try again.")


async def _newest(chains: Chains, tenant_id: TenantId, revision: int) -> Head | None:
    """The head that says how the tenant is, which an abandoned revision does not."""
    for number in range(revision, 0, -1):
        head = await chains.read(subject(tenant_id), number)
        if head.state != ABANDONED:
            return head
    return None
