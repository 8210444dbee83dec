"""Many tenants as rows of the catalog: who they are and what they used this month. The bucket knows none of them."""

from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa

from s4.domains.tenants.models import tenants
from s4.domains.usage.ledger import ADDED, LEVELS, Grain
from s4.domains.usage.models import usage_balances, usage_ledger, usage_marks
from s4.platform.database import Connection, Database


def tenant_id(number: int) -> str:
    """Of the tenant with that number; in the order of numbers."""
    digits = "".join("abcdefghijklmnopqrstuvwxyz234567"[(number >> shift) & 31] for shift in range(125, -5, -5))
    return f"ten_{digits}"


async def settle(database: Database, count: int, *, plan_id: str = "premium") -> datetime:
    """Tenants 1 to `count`. Tenant n made n calls and n + 1 requests, of which every hundredth tenant's one failed,
    stores 1,000 n bytes in n documents, and was seen n minutes ago; the first asked nothing at all and was never
    seen. Answers with the moment that counts as now."""
    async with database.read() as connection:
        now = await database.now(connection)
    month = Grain.MONTH.floor(now)
    nothing = dict.fromkeys((*ADDED, *LEVELS), 0)
    everyone, asking = range(1, count + 1), range(2, count + 1)

    async def insert(connection: Connection) -> None:
        about: list[dict[str, Any]] = [
            {"tenant_id": tenant_id(n), "revision": 1, "state": "live", "name": f"Tenant {n}", "plan_id": plan_id,
             "status": "active", "settings": {}, "body": None, "created_at": now, "updated_at": now}
            for n in everyone
        ]  # fmt: skip
        held = [
            {"tenant_id": tenant_id(n), "stored_bytes": 1000 * n, "reserved_bytes": 0, "documents": n} for n in everyone
        ]
        used = [
            {**nothing, "tenant_id": tenant_id(n), "grain": Grain.MONTH.value, "start": month, "calls": n,
             "requests": n + 1, "failures": int(n % 100 == 0)}
            for n in asking
        ]  # fmt: skip
        seen = [
            {"tenant_id": tenant_id(n), "last_activity_at": now - timedelta(minutes=n), "month": month,
             "calls_before": 0, "told_percent": 0, "told_limit": 0}
            for n in asking
        ]  # fmt: skip
        for table, rows in ((tenants, about), (usage_balances, held), (usage_ledger, used), (usage_marks, seen)):
            await connection.execute(sa.insert(table), rows)

    await database.transact(insert)
    return now


async def delete(database: Database, number: int) -> None:
    """As a tombstone in the chain leaves it."""
    gone = sa.update(tenants).where(tenants.c.tenant_id == tenant_id(number)).values(state="tombstone")
    await database.transact(lambda c: c.execute(gone))
