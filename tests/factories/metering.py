"""Meters over a catalog, at a time that the test says, and what they noted in the ledger."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from s4.domains.usage import Meter
from s4.domains.usage.ledger import Grain
from s4.domains.usage.meter import Approaching
from s4.domains.usage.queries import reading
from s4.platform.database import Connection, Database
from s4.platform.http.exchange import Exchange
from s4.platform.http.middleware import Finished
from tests.factories.catalog import seeded

NOW = datetime(2026, 11, 25, 13, 30, tzinfo=UTC)


@dataclass
class SetClock:
    moment: datetime = NOW

    def now(self) -> datetime:
        return self.moment


def new_meter(
    database: Database,
    events: list[tuple[str, int]],
    *,
    seed: int = 1,
    clock: SetClock | None = None,
    tell: Approaching | None = None,
    **limits: int,
) -> Meter:
    """`limits`: calls a month by tenant. `events` gets tenant and percent of every threshold."""

    async def limits_of(_: Connection, tenant_ids: Sequence[str]) -> Mapping[str, int]:
        return {tenant_id: limit for tenant_id, limit in limits.items() if tenant_id in tenant_ids}

    async def approaching(_: Connection, tenant_id: str, data: Mapping[str, object]) -> None:
        events.append((tenant_id, int(str(data["threshold_percent"]))))

    return Meter(
        database,
        clock or SetClock(),
        seeded(seed),
        limits=limits_of,
        approaching=tell or approaching,
        every=timedelta(hours=1),
    )


def request(
    tenant_id: str | None,
    route: str = "/api/v1/search",
    *,
    method: str = "POST",
    status: int = 200,
    seconds: float = 0.02,
    code: str | None = None,
    counted: bool = True,
) -> Finished:
    """As the middleware tells of it."""
    exchange = Exchange(
        "req", 0, 0.0, tenant_id=tenant_id, counted=counted, error_code=code, bytes_in=10, bytes_out=100
    )
    return Finished(exchange, method, route, status, seconds, None)


async def month_of(database: Database, tenant_id: str, moment: datetime = NOW) -> dict[str, int]:
    """What the ledger says of the tenant's month."""
    start = Grain.MONTH.floor(moment)
    async with database.read() as connection:
        rows = await reading.series(connection, tenant_id, Grain.MONTH, start, Grain.MONTH.following(start))
    return rows.get(start, {})
