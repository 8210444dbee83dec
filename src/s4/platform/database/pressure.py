"""What holds a database up: connections that are used up, and transactions that others wait for."""

from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from s4.platform.database.engine import Connection


@dataclass(frozen=True, slots=True)
class Session:
    """One that others wait for, or that holds a transaction open and does nothing. `waiting`: how many wait for it."""

    pid: int
    application: str
    state: str
    transaction_seconds: float
    waiting: int


@dataclass(frozen=True, slots=True)
class Pressure:
    """`connections` are those of all databases of the server, and `connections_max` what it allows them."""

    connections: int
    connections_max: int
    sessions: tuple[Session, ...]


_CONNECTIONS = sa.text(
    "SELECT (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'), "
    "current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int"
)
# Statements' texts are not read: they hold values of tenants.
_SESSIONS = sa.text(
    "WITH waits AS (SELECT unnest(pg_blocking_pids(pid)) AS pid FROM pg_stat_activity "
    "WHERE wait_event_type = 'Lock' AND datname = current_database()) "
    "SELECT held.pid, coalesce(held.application_name, '') AS application, coalesce(held.state, '') AS state, "
    "coalesce(extract(epoch FROM clock_timestamp() - held.xact_start), 0)::float AS seconds, "
    "(SELECT count(*) FROM waits WHERE waits.pid = held.pid) AS waiting "
    "FROM pg_stat_activity AS held WHERE held.datname = current_database() AND held.pid <> pg_backend_pid() "
    "AND (held.pid IN (SELECT pid FROM waits) OR held.state LIKE 'idle in transaction%') "
    "AND held.xact_start < clock_timestamp() - make_interval(secs => :seconds) "
    "ORDER BY waiting DESC, held.xact_start LIMIT 5"
)


async def pressure(connection: Connection, *, held_seconds: float) -> Pressure | None:
    """What a PostgreSQL server shows of its sessions, those of them whose transaction is as old; None of SQLite."""
    if connection.dialect.name != "postgresql":
        return None
    used, most = (await connection.execute(_CONNECTIONS)).one()
    rows = await connection.execute(_SESSIONS, {"seconds": held_seconds})
    sessions = (Session(row.pid, row.application, row.state, row.seconds, row.waiting) for row in rows)
    return Pressure(int(used), int(most), tuple(sessions))


def log_bytes(url: str) -> int:
    """Of SQLite's write-ahead log, which grows while somebody reads without an end; 0 of a server."""
    parsed = sa.make_url(url)
    if parsed.get_backend_name() != "sqlite" or not parsed.database:
        return 0
    ahead = Path(f"{parsed.database}-wal")
    return ahead.stat().st_size if ahead.exists() else 0
