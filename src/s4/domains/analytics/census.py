"""All tenants in a few figures, or in a few figures each: what `/metrics` and `s4 exporter` tell."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from s4.domains.analytics import queries
from s4.domains.tenants import queries as tenant_queries
from s4.domains.tenants.model import TenantStatus
from s4.platform.database import Database

OTHER = "other"
"""Whose share is told where nobody is named."""
SEEN_WITHIN = {"24h": timedelta(hours=24), "30d": timedelta(days=30)}


@dataclass(frozen=True, slots=True)
class Census:
    """Each of the last three by tenant, the rest under `OTHER`: for sums its sum, for utilisation its greatest."""

    statuses: dict[str, int]
    seen: dict[str, int]
    calls: dict[str, float]
    stored_bytes: dict[str, float]
    utilisation: dict[str, float]


async def take_census(database: Database, *, named_max: int) -> Census:
    """Names at most so many tenants for each amount; they are live. Raises `Unavailable`."""
    async with database.read() as connection:
        now = await database.now(connection)
        plans = await queries.plans(connection)
        statuses = await tenant_queries.counts_by_status(connection)
        seen = await queries.seen_within(connection, now, list(SEEN_WITHIN.values()))
        calls, stored_bytes = await queries.totals(connection, now)
        by_calls = await queries.most(connection, now, {}, by="calls", limit=named_max)
        by_storage = await queries.most(connection, now, {}, by="stored_bytes", limit=named_max)
        fullest = await queries.most(connection, now, plans, by="utilisation", limit=named_max + 1)
    return Census(
        statuses={status.value: statuses.get(status.value, 0) for status in TenantStatus},
        seen=dict(zip(SEEN_WITHIN, seen, strict=True)),
        calls=_with_rest(by_calls, calls),
        stored_bytes=_with_rest(by_storage, stored_bytes),
        utilisation=dict(fullest[:named_max]) | {OTHER: fullest[named_max][1] if len(fullest) > named_max else 0.0},
    )


async def everyone(database: Database) -> tuple[datetime, Sequence[Any]]:
    """When, and a row for each live tenant (`queries.everyone`). Raises `Unavailable`."""
    async with database.read() as connection:
        now = await database.now(connection)
        return now, await queries.everyone(connection, now, await queries.plans(connection))


def _with_rest(named: list[tuple[str, float]], total: float) -> dict[str, float]:
    return dict(named) | {OTHER: max(0.0, total - sum(amount for _, amount in named))}
