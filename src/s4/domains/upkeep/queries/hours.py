"""The ledger's hours, as amounts that divide into rates: what degradation is told from, and who takes how much."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from s4.domains.usage.ledger import ADDED, CLASSES, EVERYBODY, NOBODY, SEARCH_BUCKETS, SHARDS, Grain
from s4.domains.usage.models import usage_endpoints, usage_errors, usage_ledger
from s4.domains.usage.queries.reading import system_series
from s4.platform.database import Connection
from s4.platform.telemetry.metrics import HTTP_BUCKETS_SECONDS

_SLOW_FROM = HTTP_BUCKETS_SECONDS.index(1.0) + 1  # the first bucket whose searches took longer than a second
_SLOW = SEARCH_BUCKETS[_SLOW_FROM:]


@dataclass(frozen=True, slots=True, order=True)
class Measure:
    """What is divided by what. `kind`: latency (microseconds per request of a route), slow (searches over a second, of
    those answered), mix (calls of a class, of all), store_reads and store_writes (per search, per upload), errors (with
    a code, per request). `of` is the route, class or code."""

    kind: str
    of: str = ""


@dataclass(frozen=True, slots=True)
class Sample:
    amount: int
    count: int

    def __add__(self, other: "Sample") -> "Sample":
        return Sample(self.amount + other.amount, self.count + other.count)


Hours = dict[Measure, dict[datetime, Sample]]


async def of_everybody(connection: Connection, start: datetime, end: datetime) -> Hours:
    """Every measure, by hour."""
    found: Hours = {}
    ledger = await system_series(connection, Grain.HOUR, start, end, ADDED)
    for hour, row in ledger.items():
        for measure, amount, count in _of_ledger():
            sample = Sample(sum(row[name] for name in amount), sum(row[name] for name in count))
            found.setdefault(measure, {})[hour] = sample
    e = usage_endpoints.c
    rows = await connection.execute(
        sa.select(e.hour, e.method, e.route, e.microseconds, e.requests).where(
            e.tenant_id == EVERYBODY, e.hour >= start, e.hour < end
        )
    )
    for hour, method, route, microseconds, requests in rows:
        measure = Measure("latency", f"{method} {route}")
        found.setdefault(measure, {})[hour] = Sample(int(microseconds), int(requests))
    x = usage_errors.c
    errors = await connection.execute(
        sa.select(x.hour, x.code, sa.func.sum(x.count))
        .where(x.tenant_id.in_((EVERYBODY, NOBODY)), x.hour >= start, x.hour < end)
        .group_by(x.hour, x.code)
    )
    asked = {hour: row["requests"] for hour, row in ledger.items()}
    for hour, code, count in errors:
        requests = max(asked.get(hour, 0), int(count))  # who was refused before it was known who asked is in no row
        found.setdefault(Measure("errors", code), {})[hour] = Sample(int(count), requests)
    for measure, hours in found.items():
        if measure.kind == "errors":
            hours.update({hour: Sample(0, requests) for hour, requests in asked.items() if hour not in hours})
    return found


async def by_tenant(connection: Connection, measure: Measure, hours: Sequence[datetime]) -> dict[str, Sample]:
    """One measure over all these hours, by tenant; `-` is who was not proved."""
    if measure.kind == "latency":
        e, (method, _, route) = usage_endpoints.c, measure.of.partition(" ")
        wanted = sa.select(e.tenant_id, sa.func.sum(e.microseconds), sa.func.sum(e.requests)).where(
            e.hour.in_(hours), e.method == method, e.route == route, e.tenant_id != EVERYBODY
        )
        return await _samples(connection, wanted.group_by(e.tenant_id))
    if measure.kind == "errors":
        x = usage_errors.c
        wanted = sa.select(x.tenant_id, sa.func.sum(x.count), sa.func.sum(x.count)).where(
            x.hour.in_(hours), x.code == measure.of, x.tenant_id != EVERYBODY
        )
        return await _samples(connection, wanted.group_by(x.tenant_id))
    amount, count = next((amount, count) for each, amount, count in _of_ledger() if each == measure)
    u = usage_ledger.c
    wanted = sa.select(u.tenant_id, _sum(amount), _sum(count)).where(
        u.grain == Grain.HOUR.value, u.start.in_(hours), u.tenant_id.not_in(SHARDS)
    )
    return await _samples(connection, wanted.group_by(u.tenant_id))


async def errors_of(connection: Connection, code: str, hours: Sequence[datetime]) -> dict[str, int]:
    """Answers with this code, by tenant."""
    return {
        tenant: sample.amount
        for tenant, sample in (await by_tenant(connection, Measure("errors", code), hours)).items()
    }


def _of_ledger() -> list[tuple[Measure, Sequence[str], Sequence[str]]]:
    """Measures, and the columns that are added up for amount and count."""
    return [
        (Measure("slow"), _SLOW, SEARCH_BUCKETS),
        (Measure("store_reads"), ("store_reads",), ("calls_search",)),
        (Measure("store_writes"), ("store_writes",), ("calls_upload",)),
        *((Measure("mix", name), (f"calls_{name}",), ("calls",)) for name in CLASSES),
    ]


def _sum(names: Sequence[str]) -> sa.ColumnElement[Any]:
    return sum((sa.func.sum(usage_ledger.c[name]) for name in names), start=sa.literal_column("0"))


async def _samples(connection: Connection, wanted: sa.Select[Any]) -> dict[str, Sample]:
    return {row[0]: Sample(int(row[1] or 0), int(row[2] or 0)) for row in await connection.execute(wanted)}
