"""Settings, versions, and the catalog's database."""

import platform
import sqlite3
import time
from collections.abc import Sequence
from datetime import timedelta

from s4 import __version__
from s4.entrypoints.bootstrap import database_url
from s4.entrypoints.connections import doubts
from s4.entrypoints.doctor.report import Check, failed, ok, unknown, warning
from s4.entrypoints.doctor.whole.bedside import DATABASE, Away, Bedside
from s4.kernel.errors import Conflict, Unavailable
from s4.kernel.settings import Environment
from s4.kernel.units import MIB, human_size
from s4.platform.database import is_there, migrate
from s4.platform.database.pressure import Session, log_bytes, pressure
from s4.platform.rates import version_of

_PINGS = 5
_SLOW_SECONDS, _TOO_SLOW_SECONDS = 0.05, 1.0  # of one statement: a request sends several, one after the other
_CONNECTIONS_WARNED = 0.85
_HELD_SECONDS = 10.0  # S4's transactions are bounded by S4_DATABASE_TIMEOUT_SECONDS, and take milliseconds
_LOG_BYTES_WARNED = 256 * MIB
_SKEW_WARNED, _SKEW_FAILED = timedelta(seconds=2), timedelta(minutes=1)


async def configuration(bedside: Bedside) -> list[Check]:
    problems, doubtful = doubts(bedside.loaded)
    name, advice = "configuration", "`s4 config show --changed` says where each setting comes from."
    checks = [failed(name, problem, advice, cause="configuration") for problem in problems]
    checks += [warning(name, doubt, advice, cause="configuration") for doubt in doubtful]
    return checks or [ok(name, "Every setting that is given is known and fits the machine.")]


async def versions(bedside: Bedside) -> list[Check]:
    """Of what does not answer, another part tells."""
    found = [f"S4 {__version__}", f"Python {platform.python_version()}", f"SQLite {sqlite3.sqlite_version}"]
    try:
        async with bedside.any_catalog() as connection:
            if bedside.database.dialect == "postgresql":
                found[-1] = await connection.run_sync(migrate.server_name)
    except Away:
        pass
    return [ok("versions", f"{', '.join(found)}.")]


async def redis(bedside: Bedside) -> list[Check]:
    settings = bedside.settings
    if settings.redis_url is None:
        return []
    name = "redis"
    limit = timedelta(seconds=bedside.patience.alive)
    try:
        version = await version_of(settings.redis_url.get_secret_value(), timeout=limit)
    except Unavailable:
        return [
            warning(
                name,
                "Redis does not answer: each process limits rates by itself, so that a tenant has its rate in each.",
                "Look at S4_REDIS_URL, at Redis, and at the way to it.",
                cause="redis",
            )
        ]
    return [ok(name, f"Redis {version} answers.")]


async def database(bedside: Bedside) -> list[Check]:
    url = database_url(bedside.settings)
    if not is_there(url):
        return [
            unknown(
                DATABASE,
                f"There is no catalog at {url.removeprefix('sqlite:///')}.",
                "Name the deployment's directory by --data-dir or S4_DATA_DIR. Of a new one the first start makes it.",
            )
        ]
    try:
        async with bedside.any_catalog() as connection:
            seconds = []
            for _ in range(_PINGS):
                started = time.perf_counter()
                await bedside.database.now(connection)
                if bedside.database.dialect == "sqlite":
                    await connection.run_sync(migrate.server_name)
                seconds.append(time.perf_counter() - started)
            server = await connection.run_sync(migrate.server_name)
            held = await pressure(connection, held_seconds=_HELD_SECONDS)
    except Away as away:
        raise _gone(away) from away
    checks = [_latency(server, sorted(seconds)[_PINGS // 2])]
    if held is not None:
        checks += [_connections(held.connections, held.connections_max), *_locks(held.sessions)]
    if (size := log_bytes(url)) > _LOG_BYTES_WARNED:
        checks.append(
            warning(
                "database.log",
                f"SQLite's write-ahead log has {human_size(size)}: somebody reads without an end, so that it is never "
                "taken into the file.",
                "Find the process that holds the catalog open (`fuser catalog.sqlite`), and end it.",
                cause=DATABASE,
            )
        )
    return checks


def _gone(away: Away) -> "Gone":
    said = " ".join(str(each) for each in (away.__cause__,) if str(each))
    return Gone(
        failed(
            DATABASE,
            f"The catalog's database does not answer{': ' + said if said else ''}".rstrip(".") + ".",
            "See whether the server runs and S4_DATABASE_URL leads to it; `s4 config check --connect` tells the "
            "driver's own words. A damaged catalog.sqlite: stop S4, move the file and its -wal away, and run "
            "`s4 rebuild`. Meanwhile requests are answered 503.",
            cause=DATABASE,
        )
    )


class Gone(Exception):
    """A part found its own dependency dead; `check` is the line that says so."""

    def __init__(self, check: Check) -> None:
        super().__init__(check.message)
        self.check = check


def _latency(server: str, median_seconds: float) -> Check:
    said = f"{server} answers in {median_seconds * 1000:.1f} ms."
    if median_seconds < _SLOW_SECONDS:
        return ok(DATABASE, said)
    judge = failed if median_seconds >= _TOO_SLOW_SECONDS else warning
    return judge(
        DATABASE, f"{said} A request sends several statements, one after the other.",
        "Look at the server's load and disks, and whether it stands in the same region.", cause=DATABASE,
    )  # fmt: skip


def _connections(used: int, most: int) -> Check:
    name, said = "database.connections", f"{used} of {most} connections are in use."
    if used < _CONNECTIONS_WARNED * most:
        return ok(name, said)
    return warning(
        name, said,
        "Lower S4_DATABASE_POOL_SIZE or the number of processes, raise max_connections, or put a pooler before it: "
        "docs/guide/cluster.md.", cause=DATABASE,
    )  # fmt: skip


def _locks(sessions: Sequence[Session]) -> list[Check]:
    name = "database.locks"
    if not sessions:
        return [ok(name, "No transaction holds others up.")]
    first = sessions[0]
    blocks = f"{first.waiting} others wait for it" if first.waiting else "it holds its locks and a snapshot"
    judge = failed if first.waiting else warning
    return [
        judge(
            name,
            f"Session {first.pid} ({first.application or 'without a name'}, {first.state}) has held a transaction for "
            f"{first.transaction_seconds:.0f} s: {blocks}.",
            f"Find out who it is; SELECT pg_terminate_backend({first.pid}); ends it.",
            cause=f"{DATABASE} session {first.pid}",
        )
    ]


async def schema(bedside: Bedside) -> list[Check]:
    name = "schema"
    try:
        async with bedside.any_catalog() as connection:
            missing = await connection.run_sync(migrate.missing_steps)
    except Conflict as error:
        return [failed(name, error.message, "Start the newer release instead.", cause=DATABASE)]
    lacking = [step.revision for step in missing if not step.is_post]
    if lacking:
        embedded = bedside.settings.environment is Environment.EMBEDDED
        return [
            failed(
                name, f"The catalog lacks the steps {', '.join(lacking)} of this release.",
                "The next start of `s4 serve` runs them." if embedded else "Run `s4 migrate`.", cause=DATABASE,
            )
        ]  # fmt: skip
    if missing:
        return [
            warning(
                name, f"The steps {', '.join(step.revision for step in missing)} wait until no process of an older "
                "release is left.", "Then run `s4 migrate`.", cause=DATABASE,
            )
        ]  # fmt: skip
    return [ok(name, "The catalog's schema is this release's.")]


async def clock(bedside: Bedside) -> list[Check]:
    """Against the database; the store's clock is looked at with the store."""
    name = "clock.database"
    async with bedside.any_catalog() as connection:
        if bedside.database.dialect != "postgresql":
            return []
        asked_at = bedside.clock.now()
        theirs = await bedside.database.now(connection)
        answered_at = bedside.clock.now()
    skew = max(asked_at - theirs, theirs - answered_at, timedelta())
    if skew < _SKEW_WARNED:
        return [ok(name, "This machine and the database agree about the time.")]
    ahead = asked_at > theirs
    judge = failed if skew >= _SKEW_FAILED else warning
    return [
        judge(
            name,
            f"This machine is {skew.total_seconds():.0f} s {'ahead of' if ahead else 'behind'} the database: expiry "
            "of keys, months of use and ages of garbage are told by both.",
            "Keep the time of both machines by NTP.",
            cause="clock of this machine, or the database's",
        )
    ]
