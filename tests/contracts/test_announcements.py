"""Windows on every database: each tenant is told once for each occasion, whoever tells; all boards agree."""

import asyncio
import secrets
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from s4.domains.announcements import Board, Contacts, Mailbox, NoticeService, Teller
from s4.domains.announcements.board import HEADER
from s4.domains.announcements.model import Impact, IncidentState, Mode, Window, WindowPlan, WindowState
from s4.domains.audit.models import audit_entries
from s4.domains.events import Events
from s4.domains.events.models import events
from s4.kernel.context import AdminContext, TenantContext
from s4.kernel.errors import Conflict, Forbidden, InvalidRequest, NotFound, Unavailable
from s4.kernel.keys import Collection
from s4.kernel.permissions import TENANT_SCOPES, AdminRole, Permission
from s4.kernel.settings import Settings
from s4.platform.chains import Records
from s4.platform.database import Connection, Database
from s4.platform.jobs import Queue
from s4.platform.objects import ObjectStore, open_store
from tests.factories.process import OWNER, MiniProcess

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
NOBODY = "win_" + "a" * 26


@pytest.fixture
async def store() -> AsyncIterator[ObjectStore]:
    opened = open_store(Settings(store_url="memory://"))
    yield opened
    await opened.aclose()


@pytest.fixture
def process(catalog: Database, store: ObjectStore) -> MiniProcess:
    return MiniProcess(catalog, store)


@pytest.fixture
def records(process: MiniProcess) -> Records:
    return Records(Collection.NOTICES, process.database, process.chains)


@pytest.fixture
def notices(process: MiniProcess, records: Records) -> NoticeService:
    return NoticeService(process.database, records, process.queue, secrets.token_bytes)


@pytest.fixture
def teller(catalog: Database, records: Records) -> Teller:
    return teller_of(catalog, records)


def teller_of(catalog: Database, records: Records) -> Teller:
    """Without a mail server."""
    mailbox = Mailbox(
        catalog, Queue(catalog, secrets.token_bytes), Contacts(catalog, records), secrets.token_bytes, None
    )
    return Teller(catalog, records, Events(catalog, secrets.token_bytes), mailbox)


def plan(starts_in: timedelta = 2 * DAY, length: timedelta = HOUR, **options: Any) -> WindowPlan:
    starts_at = datetime.now(UTC) + starts_in
    return WindowPlan(starts_at=starts_at, ends_at=starts_at + length, **options)


async def told(catalog: Database) -> list[tuple[str, dict[str, Any]]]:
    async with catalog.read() as connection:
        rows = await connection.execute(sa.select(events).order_by(events.c.at))
        return [(row.tenant_id, row.data) for row in rows if row.kind == "maintenance.scheduled"]


async def occasions(catalog: Database) -> Counter[tuple[str, str]]:
    return Counter((tenant_id, data["occasion"]) for tenant_id, data in await told(catalog))


async def test_every_tenant_is_told_once_of_a_window_whoever_tells(
    catalog: Database, records: Records, process: MiniProcess, notices: NoticeService
) -> None:
    tenants = [(await process.tenant()).tenant_id for _ in range(5)]
    window, state = await notices.schedule(OWNER, plan(message="New disks", mode=Mode.READ_ONLY))
    tellers = [teller_of(catalog, records) for _ in range(3)]

    await asyncio.gather(*(teller.tell() for teller in tellers))
    await tellers[0].tell()

    assert state is WindowState.SCHEDULED
    assert await occasions(catalog) == Counter({(tenant_id, "scheduled"): 1 for tenant_id in tenants})
    _, data = (await told(catalog))[0]
    assert (data["window_id"], data["message"], data["mode"]) == (window.id, "New disks", "read_only")
    assert datetime.fromisoformat(data["starts_at"]) == window.plan.starts_at


async def test_only_those_concerned_are_told_and_a_new_tenant_hears_of_what_is_to_come(
    catalog: Database, process: MiniProcess, notices: NoticeService, teller: Teller
) -> None:
    first, second = (await process.tenant()).tenant_id, (await process.tenant()).tenant_id
    await notices.schedule(OWNER, plan(tenants=(first,)))
    await teller.tell()
    assert await occasions(catalog) == {(first, "scheduled"): 1}
    await notices.schedule(OWNER, plan())
    await teller.tell()
    late = (await process.tenant()).tenant_id
    await teller.tell()
    assert await occasions(catalog) == {(first, "scheduled"): 2, (second, "scheduled"): 1, (late, "scheduled"): 1}


async def test_the_lead_time_is_a_second_occasion_unless_it_had_begun(
    catalog: Database,
    process: MiniProcess,
    notices: NoticeService,
    teller: Teller,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tenant_id = (await process.tenant()).tenant_id
    window, _ = await notices.schedule(OWNER, plan(1.5 * HOUR, lead=HOUR))
    await notices.schedule(OWNER, plan(HOUR, lead=2 * HOUR, message="soon"))
    await teller.tell()
    assert await occasions(catalog) == {(tenant_id, "scheduled"): 2}
    now = catalog.now

    async def later(connection: Connection) -> datetime:
        return await now(connection) + 0.75 * HOUR

    monkeypatch.setattr(catalog, "now", later)
    await teller.tell()
    await teller.tell()
    assert await occasions(catalog) == {(tenant_id, "scheduled"): 2, (tenant_id, "upcoming"): 1}
    assert [data["window_id"] for _, data in await told(catalog) if data["occasion"] == "upcoming"] == [window.id]


async def test_a_window_that_was_moved_is_told_anew_and_one_that_was_cancelled_no_more(
    catalog: Database, process: MiniProcess, notices: NoticeService, teller: Teller
) -> None:
    tenant_id = (await process.tenant()).tenant_id
    window, _ = await notices.schedule(OWNER, plan())
    await teller.tell()
    await notices.replace(OWNER, window.id, plan(3 * DAY))
    await teller.tell()
    assert [data["is_changed"] for _, data in await told(catalog)] == [False, True]
    other, _ = await notices.schedule(OWNER, plan())
    assert (await notices.end(OWNER, other.id))[1] is WindowState.CANCELLED
    await teller.tell()
    assert await occasions(catalog) == {(tenant_id, "scheduled"): 2}


async def test_windows_that_make_no_sense_are_refused(process: MiniProcess, notices: NoticeService) -> None:
    auditor = AdminContext("ines", AdminRole.AUDITOR)
    for odd in (plan(length=-HOUR), plan(length=timedelta(0)), plan(-DAY), plan(tenants=("ten_" + "a" * 26,))):
        with pytest.raises(InvalidRequest):
            await notices.schedule(OWNER, odd)
    with pytest.raises(Forbidden):
        await notices.schedule(auditor, plan())
    for name in (NOBODY, "contacts", "inc_" + "a" * 26):
        with pytest.raises(NotFound):
            await notices.end(OWNER, name)
    window, _ = await notices.schedule(OWNER, plan())
    await notices.end(OWNER, window.id)
    for change in (notices.end(OWNER, window.id), notices.replace(OWNER, window.id, plan())):
        with pytest.raises(Conflict):
            await change
    assert await notices.windows(auditor, past=False) == []
    assert [state for _, state in await notices.windows(auditor, past=True)] == [WindowState.CANCELLED]


# -- the board


class Watch:
    """A monotonic clock that a test turns."""

    seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


async def board_of(catalog: Database, records: Records) -> tuple[Board, Watch]:
    watch = Watch()
    board = Board(catalog, records, monotonic=watch)
    await board.refresh()
    return board, watch


def admitted(board: Board, context: TenantContext, permission: Permission) -> str | None:
    """The header of an answer. Raises `Unavailable`."""
    headers: dict[str, str] = {}
    board.admit(context, permission, headers)
    return headers.get(HEADER)


async def test_a_window_is_announced_runs_and_ends_by_itself_on_every_replica(
    catalog: Database, process: MiniProcess, records: Records, notices: NoticeService
) -> None:
    tenant, other = await process.tenant(), await process.tenant()
    await notices.schedule(OWNER, plan(2 * HOUR, lead=HOUR, mode=Mode.READ_ONLY, tenants=(tenant.tenant_id,)))
    for board, watch in [await board_of(catalog, records) for _ in range(2)]:
        write = Permission.DOCUMENTS_WRITE
        assert admitted(board, tenant, write) is None, "its lead time has not begun"
        watch.seconds = 3660
        header = admitted(board, tenant, write)
        assert header is not None
        assert header.endswith("; mode=read_only")
        assert len(board.for_profile(tenant.tenant_id)) == 1
        assert admitted(board, other, write) is None
        watch.seconds = 2 * 3600 + 60
        for permission in TENANT_SCOPES - {write, Permission.KEYS_MANAGE}:
            assert admitted(board, tenant, permission) == header, "reading goes on"
        for permission in (write, Permission.KEYS_MANAGE):
            with pytest.raises(Unavailable) as refused:
                admitted(board, tenant, permission)
            assert timedelta(minutes=58) < refused.value.retry_after <= timedelta(minutes=59)
        assert admitted(board, other, write) is None
        watch.seconds = 3 * 3600 + 1
        assert admitted(board, tenant, write) is None, "it is over, and nobody had to say so"


async def test_a_wait_is_bounded_and_a_window_that_only_announces_refuses_nothing(
    catalog: Database, process: MiniProcess, records: Records, notices: NoticeService
) -> None:
    tenant = await process.tenant()
    announced, _ = await notices.schedule(OWNER, plan(timedelta(0), DAY))
    board, _ = await board_of(catalog, records)
    assert admitted(board, tenant, Permission.DOCUMENTS_WRITE) is not None
    await notices.replace(OWNER, announced.id, plan(timedelta(0), DAY, mode=Mode.READ_ONLY))
    await board.refresh()
    with pytest.raises(Unavailable) as refused:
        admitted(board, tenant, Permission.DOCUMENTS_WRITE)
    assert refused.value.retry_after == HOUR
    await notices.end(OWNER, announced.id)
    await board.refresh()
    assert admitted(board, tenant, Permission.DOCUMENTS_WRITE) is None


async def test_the_status_says_the_worst_and_nothing_of_a_tenants(
    catalog: Database, process: MiniProcess, records: Records, notices: NoticeService
) -> None:
    tenant = await process.tenant()
    board, watch = await board_of(catalog, records)
    assert board.status()["status"] == "operational"
    await notices.schedule(OWNER, plan(timedelta(0), message="secret of one", tenants=(tenant.tenant_id,)))
    await notices.schedule(OWNER, plan(timedelta(0), message="for all"))
    await board.refresh()
    assert board.status()["status"] == "maintenance"
    assert [window["message"] for window in board.status()["maintenance"]] == ["for all"]
    assert tenant.tenant_id not in str(board.status())
    incident = await notices.open_incident(OWNER, "slow searches", Impact.MINOR, IncidentState.INVESTIGATING, None)
    await board.refresh()
    assert board.status()["status"] == "degraded"
    await notices.open_incident(OWNER, "all is dark", Impact.CRITICAL, IncidentState.IDENTIFIED, "We mend it.")
    await board.refresh()
    said = board.status()
    assert said["status"] == "outage"
    assert {each["title"]: [update["message"] for update in each["updates"]] for each in said["incidents"]} == {
        "slow searches": ["We are looking into a problem: slow searches. We will say more as soon as we know more."],
        "all is dark": ["We mend it."],
    }
    await notices.update_incident(OWNER, incident.id, IncidentState.RESOLVED, None)
    await board.refresh()
    watch.seconds += 25 * 3600
    assert [each["title"] for each in board.status()["incidents"]] == ["all is dark"]


async def test_what_the_operator_says_is_in_the_audit_trail(catalog: Database, notices: NoticeService) -> None:
    window, _ = await notices.schedule(OWNER, plan())
    await notices.end(OWNER, window.id)
    incident = await notices.open_incident(OWNER, "x", Impact.MAJOR, IncidentState.INVESTIGATING, None)
    await notices.update_incident(OWNER, incident.id, IncidentState.RESOLVED, "y")
    async with catalog.read() as connection:
        rows = await connection.execute(sa.select(audit_entries).order_by(audit_entries.c.at))
        recorded = [(row.action, row.subject, row.before is None) for row in rows]
    assert recorded == [
        ("maintenance.schedule", f"maintenance-window/{window.id}", True),
        ("maintenance.end", f"maintenance-window/{window.id}", False),
        ("incident.open", f"incident/{incident.id}", True),
        ("incident.update", f"incident/{incident.id}", False),
    ]


async def test_a_board_that_cannot_read_keeps_what_it_knew(
    catalog: Database, process: MiniProcess, records: Records, notices: NoticeService
) -> None:
    tenant = await process.tenant()
    await notices.schedule(OWNER, plan(timedelta(0)))
    board = Board(process.database, records)
    await board.refresh()
    known: list[Window] = list(board._windows)
    process.database.dead = True
    assert known
    assert admitted(board, tenant, Permission.SEARCH) is not None
