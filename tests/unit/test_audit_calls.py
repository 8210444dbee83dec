"""How calls come into the audit trail: all of them, without a stranger being able to flood or to break it."""

import secrets
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from structlog.testing import capture_logs

from s4.domains.audit import CallRecorder
from s4.domains.audit.models import audit_entries
from s4.kernel.errors import Unavailable
from s4.platform.database import Database
from s4.platform.http.exchange import Exchange
from s4.platform.http.middleware import Finished
from tests.factories.catalog import open_catalog, sqlite_url

PLANS = "/api/v1/admin/plans"
SECOND = timedelta(seconds=1)


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    opened = open_catalog(sqlite_url(tmp_path))
    yield opened
    await opened.aclose()


class Watch:
    """A monotonic clock that a test turns."""

    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def watch() -> Watch:
    return Watch()


@pytest.fixture
def calls(database: Database, watch: Watch) -> CallRecorder:
    return CallRecorder(database, secrets.token_bytes, entries_max=10, monotonic=watch)


def finished(
    path: str = PLANS, status: int = 200, *, method: str = "GET", who: str | None = "ada", address: str = "192.0.2.7"
) -> Finished:
    exchange = Exchange("req_" + secrets.token_hex(4), 1, 1, administrator=who)
    return Finished(exchange, method, PLANS, status, 0.01, address, path)


async def trail(database: Database) -> list[Any]:
    async with database.read() as connection:
        return list(await connection.execute(sa.select(audit_entries).order_by(audit_entries.c.at)))


async def test_every_call_of_an_administrator_is_kept_with_its_moment_by_the_databases_clock(
    database: Database, calls: CallRecorder, watch: Watch
) -> None:
    calls.note(finished())
    watch.seconds += 30
    calls.note(finished(PLANS + "/gold", 204, method="DELETE"))
    await calls.flush()

    first, second = await trail(database)
    assert (first.actor_kind, first.actor, first.action, first.subject, first.status, first.address) == (
        "admin", "ada", "http.get", PLANS, 200, "192.0.2.7",
    )  # fmt: skip
    assert (second.action, second.subject, second.status) == ("http.delete", PLANS + "/gold", 204)
    assert second.at - first.at == timedelta(seconds=30)
    assert abs(datetime.now(UTC) - second.at) < timedelta(minutes=1)


async def test_calls_of_tenants_are_not_in_the_trail_unless_nobody_knows_the_key(
    database: Database, calls: CallRecorder
) -> None:
    calls.note(finished("/api/v1/documents", 200, who=None))
    calls.note(finished("/api/v1/documents", 404, who=None))
    calls.note(finished("/api/v1/administration", 404, who=None))
    calls.note(finished("/api/v1/documents", 401, who=None))
    await calls.flush()
    (entry,) = await trail(database)
    assert (entry.actor_kind, entry.action, entry.status) == ("anonymous", "auth.refused", 401)


async def test_a_tenant_whom_a_path_names_is_whom_the_call_concerns(database: Database, calls: CallRecorder) -> None:
    tenant_id = "ten_" + "a" * 26
    calls.note(finished(f"/api/admin/tenants/{tenant_id}/suspend", method="POST"))
    await calls.flush()
    (entry,) = await trail(database)
    assert entry.tenant_id == tenant_id


async def test_who_is_refused_a_thousand_times_in_a_minute_has_two_entries(
    database: Database, calls: CallRecorder, watch: Watch
) -> None:
    for _ in range(1000):
        calls.note(finished(status=401, who=None))
    await calls.flush()
    assert [entry._mapping["count"] for entry in await trail(database)] == [1], "the first is told at once"
    calls.note(finished(status=401, who=None, address="198.51.100.1"))
    watch.seconds += 61
    calls.note(finished(status=401, who=None))
    await calls.flush()

    counted = [(entry.address, entry._mapping["count"]) for entry in await trail(database)]
    assert sorted(counted) == [("192.0.2.7", 1), ("192.0.2.7", 1), ("192.0.2.7", 999), ("198.51.100.1", 1)]


async def test_a_hostile_path_neither_breaks_the_trail_nor_fills_it(database: Database, calls: CallRecorder) -> None:
    calls.note(finished(PLANS + "/\x00\x1b[2J\ud800" + "x" * 70_000, 400, who=None))
    await calls.flush()
    (entry,) = await trail(database)
    assert entry.subject.startswith(PLANS + "/\N{REPLACEMENT CHARACTER}")
    assert entry.subject.isprintable()
    assert len(entry.subject) == 300


async def test_what_finds_no_room_is_counted_and_the_trail_says_so(database: Database, calls: CallRecorder) -> None:
    with capture_logs() as logs:
        for n in range(25):
            calls.note(finished(f"{PLANS}/{n}"))
    assert [entry["event"] for entry in logs] == ["audit.buffer_full"], "told once, not by the call"
    await calls.flush()
    calls.note(finished())
    await calls.flush()

    entries = await trail(database)
    (overflow,) = [entry for entry in entries if entry.action == "audit.overflow"]
    assert overflow._mapping["count"] == 15
    assert len(entries) == 10 + 1 + 1


async def test_a_catalog_that_is_away_costs_nothing_that_was_noted(
    database: Database, calls: CallRecorder, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls.note(finished())

    async def away(work: object) -> None:
        raise Unavailable("The catalog database does not answer; try again.")

    with monkeypatch.context() as patch:  # the real thing is in tests/contracts; here it is away on demand
        patch.setattr(database, "transact", away)
        with pytest.raises(Unavailable):
            await calls.flush()
    assert await calls.flush() == 1
    assert len(await trail(database)) == 1


async def test_a_graceful_stop_writes_everything(database: Database, calls: CallRecorder) -> None:
    async with calls.running():
        calls.note(finished())
        for _ in range(3):
            calls.note(finished(status=403))
    assert sorted((entry.status, entry._mapping["count"]) for entry in await trail(database)) == [
        (200, 1), (403, 1), (403, 2),
    ]  # fmt: skip
